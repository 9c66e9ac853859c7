package hotspot

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// parseFolded reads folded stacks, a line each: frames from the root on,
// separated by semicolons, a blank and a number of samples. It wants every line
// to be so.
func parseFolded(text string, lim Limits) (*Profile, error) {
	f := folding{e: newEncoder(), known: map[string]uint64{}, most: lim.MaxRaw / maxTable}
	samples := ValueType{"samples", "count"}
	f.e.valueType(1, samples)
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := f.add(line); err != nil {
			return nil, err
		}
	}
	if f.lines == 0 {
		return nil, bad("no folded stacks")
	}
	p, err := parseProto(string(f.e.finish()), lim)
	if err == nil {
		p.form = formFolded
	}
	return p, err
}

// folding turns lines into a profile message.
type folding struct {
	e     *encoder
	known map[string]uint64 // location by frame
	most  int
	lines int
	stack []byte
}

func (f *folding) add(line string) error {
	blank := strings.LastIndexByte(line, ' ')
	if blank <= 0 {
		return bad("line %d has no number", f.lines+1)
	}
	n, err := strconv.ParseInt(line[blank+1:], 10, 64)
	if err != nil || n < 0 {
		return bad("line %d ends with %.20q, want a number", f.lines+1, line[blank+1:])
	}
	f.lines++
	if strings.Count(line, ";") >= maxDepth {
		return bad("line %d is deeper than %d", f.lines, maxDepth)
	}
	f.stack = f.stack[:0]
	for rest := line[:blank]; len(rest) > 0; { // leaf first
		cut := strings.LastIndexByte(rest, ';')
		if frame := rest[cut+1:]; len(frame) > 0 {
			f.stack = binary.AppendUvarint(f.stack, f.location(frame))
		}
		rest = rest[:max(cut, 0)]
	}
	if len(f.known) > f.most {
		return fmt.Errorf("%w: more than %d different frames", ErrTooLarge, f.most)
	}
	f.e.message(2, func() {
		f.e.bytes(1, string(f.stack))
		f.e.b = append(f.e.b, 2<<3|wireVarint) // a value is there even if it is 0
		f.e.b = binary.AppendUvarint(f.e.b, uint64(n))
	})
	return nil
}

func (f *folding) location(frame string) uint64 {
	if l, ok := f.known[frame]; ok {
		return l
	}
	e, l := f.e, uint64(len(f.known)+1)
	f.known[frame] = l
	name := e.str(frame)
	e.message(5, func() {
		e.uint(1, l)
		e.uint(2, name)
		e.uint(3, name)
	})
	e.message(4, func() {
		e.uint(1, l)
		e.message(4, func() { e.uint(1, l) })
	})
	return l
}
