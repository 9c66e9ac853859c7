package tracing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// ErrChunk is in the chain of each error about bytes that are no chunk.
var ErrChunk = errors.New("chunk")

// The form of a chunk outside of memory, version 1. Numbers are little-endian,
// counts and lengths varints; a column is its values one behind the other.
//
//	"PTC" 1                         what it is, and the version
//	shelf, number, arrived          byte, varint, varint (Unix nanoseconds)
//	traces                          count; 16 bytes of id each
//	texts                           count; length each; the texts
//	groups                          count; resource, scope, service, name: 2 bytes each
//	keys                            128 bytes: otlp.KeySet of the spans' attributes
//	rows                            count; columns: trace 4 (all ones: none), id 8, parent 8,
//	                                start 8, took 8, at 4, length 4, name 2, group 2, kind 1
//	notes                           count; trace varint, length, the note each
//	messages                        count of blocks; end of each in the packed bytes 4 (highest bit:
//	                                not compressed), in the messages 4; length, the packed bytes (S2)
//	checksum                        CRC-32C of all before it, 4 bytes
const formHead = "PTC\x01"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// noted is a trace's note, as a chunk takes it along.
type notedTrace struct {
	trace uint32 // among the chunk's
	note  string
}

// form is a chunk outside of a store: its column trace counts in ids.
type form struct {
	chunk
	shelf int
	ids   []TraceID
	notes []notedTrace
}

// append appends the form. The messages must be packed.
func (f *form) append(dst []byte) []byte {
	from := len(dst)
	le, varint := binary.LittleEndian, binary.AppendUvarint
	dst = append(dst, formHead...)
	dst = append(dst, byte(f.shelf))
	dst = varint(varint(dst, f.number), uint64(f.arrived))
	dst = varint(dst, uint64(len(f.ids)))
	for i := range f.ids {
		dst = append(dst, f.ids[i][:]...)
	}
	dst = varint(dst, uint64(len(f.ends)))
	for i := range f.ends {
		dst = varint(dst, uint64(len(f.get(uint16(i)))))
	}
	dst = append(dst, f.texts.bytes...)
	dst = varint(dst, uint64(len(f.groups)))
	for _, g := range f.groups {
		dst = le.AppendUint16(le.AppendUint16(dst, g.resource), g.scope)
		dst = le.AppendUint16(le.AppendUint16(dst, g.service), g.name)
	}
	dst = column(dst, f.keys[:], le.AppendUint64)
	dst = f.rows.append(dst)
	dst = varint(dst, uint64(len(f.notes)))
	for _, n := range f.notes {
		dst = append(varint(varint(dst, uint64(n.trace)), uint64(len(n.note))), n.note...)
	}
	dst = varint(dst, uint64(len(f.packed.ends)))
	dst = column(dst, f.packed.ends, le.AppendUint32)
	dst = column(dst, f.packed.until, le.AppendUint32)
	dst = append(varint(dst, uint64(len(f.packed.blocks))), f.packed.blocks...)
	return le.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

func (r *rows) append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = binary.AppendUvarint(dst, uint64(r.n()))
	dst = column(dst, r.trace, le.AppendUint32)
	bytes := func(dst []byte, id SpanID) []byte { return append(dst, id[:]...) }
	dst = column(column(dst, r.id, bytes), r.parent, bytes)
	number := func(dst []byte, n int64) []byte { return le.AppendUint64(dst, uint64(n)) }
	dst = column(column(dst, r.start, number), r.took, number)
	dst = column(column(dst, r.at, le.AppendUint32), r.length, le.AppendUint32)
	dst = column(column(dst, r.name, le.AppendUint16), r.group, le.AppendUint16)
	return append(dst, r.kind...)
}

func column[T any](dst []byte, values []T, add func([]byte, T) []byte) []byte {
	for _, v := range values {
		dst = add(dst, v)
	}
	return dst
}

// readForm reads what append wrote, and checks all of it: each number in it is
// in its bounds, each message in its block. What it returns shares no memory
// with src.
func readForm(src []byte) (*form, error) {
	if len(src) < len(formHead)+4 || string(src[:3]) != formHead[:3] {
		return nil, fmt.Errorf("%w: %d bytes that do not begin as one", ErrChunk, len(src))
	}
	if src[3] != formHead[3] {
		return nil, fmt.Errorf("%w: version %d, want %d", ErrChunk, src[3], formHead[3])
	}
	body, sum := src[:len(src)-4], binary.LittleEndian.Uint32(src[len(src)-4:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return nil, fmt.Errorf("%w: checksum %08x, want %08x", ErrChunk, got, sum)
	}
	in := formReader{src: body[len(formHead):]}
	f := in.form()
	if in.bad == "" && len(in.src) > 0 {
		in.bad = "end"
	}
	if in.bad == "" {
		in.check(f)
	}
	if in.bad != "" {
		return nil, fmt.Errorf("%w: %s out of bounds", ErrChunk, in.bad)
	}
	return f, nil
}

// formReader reads a form from the front. After something that is out of
// bounds it reads nothing more.
type formReader struct {
	src []byte
	bad string // what was
}

func (in *formReader) form() *form {
	f := &form{}
	f.full = true
	f.shelf = int(in.bytes(1, "shelf")[0])
	f.number, f.arrived = in.varint("number"), int64(in.varint("arrival"))
	f.ids = readColumn(in, in.count(16, "traces"), 16, "traces", func(b []byte) TraceID { return TraceID(b) })
	in.texts(f)
	f.groups = readColumn(in, in.count(8, "groups"), 8, "groups", func(b []byte) group {
		le := binary.LittleEndian
		return group{le.Uint16(b), le.Uint16(b[2:]), le.Uint16(b[4:]), le.Uint16(b[6:])}
	})
	copy(f.keys[:], readColumn(in, len(f.keys), 8, "keys", binary.LittleEndian.Uint64))
	in.rows(f)
	for n := in.count(2, "notes"); n > 0 && in.bad == ""; n-- {
		trace := in.varint("note")
		if trace >= uint64(len(f.ids)) {
			in.bad = "note"
			break
		}
		f.notes = append(f.notes, notedTrace{uint32(trace), string(in.bytes(in.count(1, "note"), "note"))})
	}
	n := in.count(8, "blocks")
	f.packed = &packed{ends: readColumn(in, n, 4, "blocks", binary.LittleEndian.Uint32), until: readColumn(in, n, 4, "blocks", binary.LittleEndian.Uint32)}
	f.packed.blocks = slices.Clone(in.bytes(in.count(1, "messages"), "messages"))
	return f
}

func (in *formReader) texts(f *form) {
	total := uint64(0)
	for n := in.count(1, "texts"); n > 0 && in.bad == ""; n-- {
		if total += in.varint("text"); total > uint64(len(in.src)) {
			in.bad = "text"
		}
		f.ends = append(f.ends, uint32(total))
	}
	f.texts.bytes = slices.Clone(in.bytes(int(min(total, 1<<31)), "texts"))
}

func (in *formReader) rows(f *form) {
	le := binary.LittleEndian
	n := in.count(rowBytes-4, "rows")
	f.trace = readColumn(in, n, 4, "rows", le.Uint32)
	id := func(b []byte) SpanID { return SpanID(b) }
	f.id, f.parent = readColumn(in, n, 8, "rows", id), readColumn(in, n, 8, "rows", id)
	number := func(b []byte) int64 { return int64(le.Uint64(b)) }
	f.start, f.took = readColumn(in, n, 8, "rows", number), readColumn(in, n, 8, "rows", number)
	f.at, f.length = readColumn(in, n, 4, "rows", le.Uint32), readColumn(in, n, 4, "rows", le.Uint32)
	f.name, f.group = readColumn(in, n, 2, "rows", le.Uint16), readColumn(in, n, 2, "rows", le.Uint16)
	f.kind = slices.Clone(in.bytes(n, "rows"))
	f.back = make([]uint32, n)
}

func readColumn[T any](in *formReader, n, size int, what string, read func([]byte) T) []T {
	b := in.bytes(n*size, what)
	if in.bad != "" {
		return nil
	}
	out := make([]T, n)
	for i := range out {
		out[i] = read(b[i*size:])
	}
	return out
}

// bytes returns the next n bytes; zeros if there are not so many.
func (in *formReader) bytes(n int, what string) []byte {
	if in.bad == "" && (n < 0 || n > len(in.src)) {
		in.bad = what
	}
	if in.bad != "" {
		return make([]byte, 1)
	}
	b := in.src[:n]
	in.src = in.src[n:]
	return b
}

func (in *formReader) varint(what string) uint64 {
	n, size := binary.Uvarint(in.src)
	if in.bad == "" && size <= 0 {
		in.bad = what
	}
	if in.bad != "" {
		return 0
	}
	in.src = in.src[size:]
	return n
}

// count returns a number of things that take size bytes each at least.
func (in *formReader) count(size int, what string) int {
	n := in.varint(what)
	if in.bad == "" && n > uint64(len(in.src)/size) {
		in.bad = what
	}
	if in.bad != "" {
		return 0
	}
	return int(n)
}

// check looks at what only the whole tells.
func (in *formReader) check(f *form) {
	texts, groups := len(f.ends), len(f.groups)
	if f.shelf >= numShelves || texts > 1<<16 || groups > 1<<16 || f.n() > 1<<16 {
		in.bad = "size"
	}
	for _, g := range f.groups {
		if int(max(g.resource, g.scope, g.service, g.name)) >= texts {
			in.bad = "group"
		}
	}
	for i := range f.packed.ends {
		end, until := f.packed.ends[i]&^plainBlock, f.packed.until[i]
		if int(end) > len(f.packed.blocks) || i > 0 && (end < f.packed.ends[i-1]&^plainBlock || until < f.packed.until[i-1]) {
			in.bad = "block"
		}
	}
	if in.bad != "" {
		return
	}
	size := uint64(f.packed.rawSize())
	for i := range f.trace {
		switch {
		case f.trace[i] != noTrace && int(f.trace[i]) >= len(f.ids):
			in.bad = "trace of a row"
		case int(f.name[i]) >= texts || int(f.group[i]) >= groups:
			in.bad = "text of a row"
		case f.length[i] == 0 || uint64(f.at[i])+uint64(f.length[i]) > size:
			in.bad = "message of a row"
		case f.start[i] < 0 || f.start[i]+f.took[i] < 0 || f.kind[i]&15 > 5 || f.kind[i]>>4 > uint8(aborted) || !f.id[i].IsValid():
			in.bad = "row"
		}
	}
}
