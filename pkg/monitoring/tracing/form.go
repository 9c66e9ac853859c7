package tracing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// ErrChunk is in the chain of each error about bytes that are no chunk.
var ErrChunk = errors.New("chunk")

// The form of spans outside of memory, version 2. It has the messages and what
// they do not tell; their index is made again when they are read. Numbers are
// varints.
//
//	"PTC" 2                 what it is, and the version
//	pressed                 byte: 0 the body is as it is, 1 it is a frame of zstd
//	body, messages          bytes of both when they are unpacked
//	the body
//	checksum                CRC-32C of all before it, 4 bytes, little-endian
//
// The body:
//
//	messages                one behind the other
//	spans                   count; group each; length of the message each
//	groups                  count; resource, scope, service, name each: numbers of texts
//	texts                   count; length each; the texts
//	outcomes                count; span, outcome each: those that OTLP has no code for
//	notes                   count; span, length, the note each: of the trace that the span is of
//	shelf, number, arrived  byte, number, Unix nanoseconds
const formHead = "PTC\x02"

const (
	plainBody byte = iota
	zstdBody
)

// maxBody is how large a body is at most. A chunk has 1 MiB of messages or one
// message, and texts of about 4 MiB.
const maxBody = 64 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// form is spans outside of a store: a chunk, or a record.
type form struct {
	shelf   int
	number  uint64 // of the chunk; 0 for a record
	arrived int64
	texts   // those of the groups
	groups  []group
	group   []uint16 // of each span
	length  []uint32 // of each span's message
	finer   []finerOutcome
	notes   []notedSpan
	raw     []byte // the messages; while it is put together with room for the rest of the body

	// While it is put together.
	places map[group]uint16
	from   *sender              // of the last span
	told   map[TraceID]struct{} // that have a note
	buf    *[]byte              // whose memory raw began with
}

// finerOutcome is how a span ended, where OTLP knows only that it failed.
type finerOutcome struct {
	span    uint32
	outcome outcome
}

// notedSpan is the first span of a trace that has a note, as it is encoded.
type notedSpan struct {
	span uint32
	note string
}

func newForm(shelf int) *form { return &form{shelf: shelf, places: map[group]uint16{}} }

func (f *form) n() int { return len(f.group) }

// put adds a span.
func (f *form) put(message []byte, o outcome, from *sender) {
	if o > failed {
		f.finer = append(f.finer, finerOutcome{uint32(f.n()), o})
	}
	if f.from == from {
		f.group = append(f.group, f.group[f.n()-1])
	} else {
		f.from = from
		f.group = append(f.group, f.groupOf(from).number(&f.groups, f.places))
	}
	f.length = append(f.length, uint32(len(message)))
	f.raw = append(f.raw, message...)
}

// note says once what is known of the trace of the last span.
func (f *form) note(id TraceID, encoded string) {
	if _, told := f.told[id]; told || encoded == "" {
		return
	}
	if f.told == nil {
		f.told = map[TraceID]struct{}{}
	}
	f.told[id] = struct{}{}
	f.notes = append(f.notes, notedSpan{uint32(f.n() - 1), encoded})
}

// body returns the whole body, in the memory of raw if it is large enough.
func (f *form) body() []byte {
	varint, dst := binary.AppendUvarint, f.raw
	dst = varint(dst, uint64(f.n()))
	for _, g := range f.group {
		dst = varint(dst, uint64(g))
	}
	for _, n := range f.length {
		dst = varint(dst, uint64(n))
	}
	dst = varint(dst, uint64(len(f.groups)))
	for _, g := range f.groups {
		dst = varint(varint(dst, uint64(g.resource)), uint64(g.scope))
		dst = varint(varint(dst, uint64(g.service)), uint64(g.name))
	}
	dst = varint(dst, uint64(len(f.ends)))
	for i := range f.ends {
		dst = varint(dst, uint64(len(f.get(uint16(i)))))
	}
	dst = append(dst, f.texts.bytes...)
	dst = varint(dst, uint64(len(f.finer)))
	for _, o := range f.finer {
		dst = append(varint(dst, uint64(o.span)), byte(o.outcome))
	}
	dst = varint(dst, uint64(len(f.notes)))
	for _, n := range f.notes {
		dst = append(varint(varint(dst, uint64(n.span)), uint64(len(n.note))), n.note...)
	}
	return varint(varint(append(dst, byte(f.shelf)), f.number), uint64(f.arrived))
}

// DescribeChunk checks a chunk's data as a whole, its checksum too, and says
// what it is. The error wraps [ErrChunk].
func DescribeChunk(data []byte) (ChunkInfo, error) {
	f, done, err := openForm(data)
	if err != nil {
		return ChunkInfo{}, err
	}
	defer done()
	c := ChunkInfo{Shelf: f.shelf, Number: f.number, Spans: f.n(), Arrived: f.arrived}
	traces := map[TraceID]struct{}{}
	err = f.each(func(a *arrival) {
		traces[a.trace] = struct{}{}
		if c.Start == 0 || a.row.start < c.Start {
			c.Start = a.row.start
		}
		c.End = max(c.End, a.row.start+a.row.took)
	})
	c.Traces = len(traces)
	return c, err
}

// each scans the messages and calls do for each span, with all that a store
// must know of it. An error means that one is none, and do was not called.
func (f *form) each(do func(a *arrival)) error {
	in := intakes.Get().(*intake)
	defer in.release()
	if err := in.scanner.ScanSpans(f.raw, f.length); err != nil {
		return fmt.Errorf("%w: %w", ErrChunk, err)
	}
	if n := in.scanner.Invalid; n > 0 {
		return fmt.Errorf("%w: %d of %d spans without ids", ErrChunk, n, f.n())
	}
	for _, g := range f.groups {
		in.senders = append(in.senders, f.sender(g, &in.scanner.Keys))
	}
	finer, a := f.finer, &in.arrival
	for i := range in.scanner.Spans {
		a.enter(f.raw, &in.scanner.Spans[i])
		if a.from = &in.senders[f.group[i]]; len(finer) > 0 && int(finer[0].span) == i {
			a.row.outcome, finer = finer[0].outcome, finer[1:]
		}
		do(a)
	}
	return nil
}
