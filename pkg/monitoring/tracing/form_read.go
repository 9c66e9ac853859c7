package tracing

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// openForm reads what press wrote, and checks all of it but the messages: each
// number in it is in its bounds. The form is good until done is called.
func openForm(src []byte) (f *form, done func(), err error) {
	if len(src) < len(formHead)+5 || string(src[:3]) != formHead[:3] {
		return nil, nil, fmt.Errorf("%w: %d bytes that do not begin as one", ErrChunk, len(src))
	}
	if src[3] != formHead[3] {
		return nil, nil, fmt.Errorf("%w: version %d, want %d", ErrChunk, src[3], formHead[3])
	}
	body, sum := src[:len(src)-4], binary.LittleEndian.Uint32(src[len(src)-4:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return nil, nil, fmt.Errorf("%w: checksum %08x, want %08x", ErrChunk, got, sum)
	}
	body, messages, done, err := unpress(body[len(formHead):])
	if err != nil {
		return nil, nil, err
	}
	in := formReader{src: body[messages:]}
	f = in.form()
	f.raw = body[:messages]
	total := 0
	for _, n := range f.length {
		total += int(n)
	}
	if in.bad == "" && total != messages {
		in.bad = "messages"
	}
	if in.bad != "" {
		done()
		return nil, nil, fmt.Errorf("%w: %s out of bounds", ErrChunk, in.bad)
	}
	return f, done, nil
}

// formReader reads a body from the front. After something that is out of
// bounds it reads nothing more.
type formReader struct {
	src []byte
	bad string // what was
}

func (in *formReader) form() *form {
	f := &form{}
	in.spans(f)
	in.groups(f)
	in.texts(f)
	in.outcomes(f)
	in.notes(f)
	f.shelf = int(in.bytes(1, "shelf")[0])
	f.number, f.arrived = in.varint("number"), int64(in.varint("arrival"))
	if in.bad == "" && (f.shelf >= numShelves || f.arrived < 0 || len(in.src) > 0) {
		in.bad = "end"
	}
	return f
}

func (in *formReader) spans(f *form) {
	n := in.count(2, "spans")
	if n > maxRows {
		in.bad = "spans"
	}
	if in.bad != "" {
		return
	}
	f.group, f.length = make([]uint16, n), make([]uint32, n)
	for i := range f.group {
		f.group[i] = uint16(in.below(maxRows, "group of a span"))
	}
	for i := range f.length {
		f.length[i] = uint32(in.below(maxBody, "message"))
	}
}

func (in *formReader) groups(f *form) {
	n := in.count(4, "groups")
	if n > maxRows {
		in.bad = "groups"
	}
	for ; n > 0 && in.bad == ""; n-- {
		text := func() uint16 { return uint16(in.below(mostTexts, "group")) }
		f.groups = append(f.groups, group{text(), text(), text(), text()})
	}
	for _, g := range f.group {
		if in.bad == "" && int(g) >= len(f.groups) {
			in.bad = "group of a span"
		}
	}
}

// mostTexts is how many texts a form has: the last span of a chunk may bring
// four more than it takes.
const mostTexts = maxTexts + 4

func (in *formReader) texts(f *form) {
	n := in.count(1, "texts")
	if n > mostTexts {
		in.bad = "texts"
	}
	total := uint64(0)
	for ; n > 0 && in.bad == ""; n-- {
		total += uint64(in.below(maxBody, "text"))
		f.ends = append(f.ends, uint32(min(total, maxBody)))
	}
	f.texts.bytes = in.bytes(int(min(total, maxBody)), "texts")
	for _, g := range f.groups {
		if in.bad == "" && int(max(g.resource, g.scope, g.service, g.name)) >= len(f.ends) {
			in.bad = "group"
		}
	}
}

func (in *formReader) outcomes(f *form) {
	next := 0
	for n := in.count(2, "outcomes"); n > 0 && in.bad == ""; n-- {
		o := finerOutcome{uint32(in.below(f.n(), "outcome")), outcome(in.bytes(1, "outcome")[0])}
		if int(o.span) < next || o.outcome <= failed || o.outcome > aborted {
			in.bad = "outcome"
		}
		next = int(o.span) + 1
		f.finer = append(f.finer, o)
	}
}

func (in *formReader) notes(f *form) {
	for n := in.count(2, "notes"); n > 0 && in.bad == ""; n-- {
		span := uint32(in.below(f.n(), "note"))
		f.notes = append(f.notes, notedSpan{span, string(in.bytes(in.count(1, "note"), "note"))})
	}
}

// bytes returns the next n bytes; a zero if there are not so many.
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

// below returns a number below n.
func (in *formReader) below(n int, what string) int {
	v := in.varint(what)
	if in.bad == "" && v >= uint64(n) {
		in.bad = what
	}
	if in.bad != "" {
		return 0
	}
	return int(v)
}

// count returns a number of things that take size bytes each at least.
func (in *formReader) count(size int, what string) int {
	return in.below(len(in.src)/size+1, what)
}
