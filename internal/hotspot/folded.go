package hotspot

import (
	"bytes"
	"strconv"
)

// parseFolded reads folded stacks, a line each: frames from the root on,
// separated by semicolons, a blank and a number of samples. It wants every line
// to be so.
func parseFolded(b []byte) (*Profile, bool) {
	f := folding{
		p:     &Profile{SampleTypes: []ValueType{{"samples", "count"}}, strings: []string{""}},
		known: map[string]uint32{},
	}
	for text := range bytes.Lines(b) {
		text = bytes.TrimSpace(text)
		if len(text) > 0 && !f.add(text) {
			return nil, false
		}
	}
	return f.p, len(f.p.sampleEnd) > 0
}

type folding struct {
	p     *Profile
	known map[string]uint32 // location by frame
}

func (f *folding) add(text []byte) bool {
	blank := bytes.LastIndexByte(text, ' ')
	if blank <= 0 {
		return false
	}
	n, err := strconv.ParseInt(string(text[blank+1:]), 10, 64)
	if err != nil || n < 0 {
		return false
	}
	for rest := text[:blank]; len(rest) > 0; { // leaf first
		cut := bytes.LastIndexByte(rest, ';')
		if frame := rest[cut+1:]; len(frame) > 0 {
			f.p.stacks = append(f.p.stacks, f.location(frame))
		}
		rest = rest[:max(cut, 0)]
	}
	f.p.values = append(f.p.values, n)
	f.p.sampleEnd = append(f.p.sampleEnd, uint32(len(f.p.stacks)))
	return true
}

func (f *folding) location(frame []byte) uint32 {
	if l, ok := f.known[string(frame)]; ok {
		return l
	}
	p, l := f.p, uint32(len(f.p.locations))
	name := string(frame)
	f.known[name] = l
	p.strings = append(p.strings, name)
	p.functions = append(p.functions, function{name: uint32(len(p.strings) - 1)})
	p.lines = append(p.lines, line{function: int32(l)})
	p.locations = append(p.locations, location{mapping: -1, lineEnd: uint32(len(p.lines))})
	return l
}
