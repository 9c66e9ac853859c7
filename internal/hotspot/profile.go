// Package hotspot reads profiles and finds where the time, or the memory, went.
//
// [Parse] takes a pprof profile, gzipped or not, into flat arrays: a sample is
// a range of dense location numbers, a location a range of lines, so that
// walking it needs no maps and no pointers. The legacy formats that pprof still
// reads (gperftools, Java) and folded stacks come out as the same [Profile].
// [Top] aggregates by function with the numbers of `go tool pprof -top`.
//
// Input is hostile: no length in it is trusted, inflation is bounded, and what
// is not a profile is a one-line error.
package hotspot

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// ErrFormat is wrapped by the error of [Parse] for input that is no profile.
var ErrFormat = errors.New("not a profile")

// ErrTooLarge is wrapped by the error of [Parse] for input beyond the limits.
var ErrTooLarge = errors.New("profile too large")

// Limits bounds what [Parse] reads. The zero value is ready to use. The memory
// it needs stays within a small multiple of MaxRaw even for hostile input.
type Limits struct {
	MaxInput int // bytes as they come, compressed or not; 0 means 512 MiB
	MaxRaw   int // bytes after inflation; 0 means 512 MiB
}

// ValueType names what a value counts and in which unit.
type ValueType struct{ Type, Unit string }

// Label is a key and a value that a sample carries: a string, or a number with
// an optional unit.
type Label struct {
	Key, Str string
	Num      int64
	Unit     string
}

// Profile is a parsed profile. It is read-only and safe for concurrent use.
type Profile struct {
	SampleTypes       []ValueType
	DefaultSampleType string // "" where the profile names none
	PeriodType        ValueType
	Period            int64
	Time              time.Time     // when the collection began; zero if not told
	Duration          time.Duration // that it covers; 0 if not told

	form       form
	strings    []string
	dropFrames string // frames that pprof leaves out with all they call
	keepFrames string // exceptions from dropFrames

	functions []function
	mappings  []mapping
	locations []location
	lines     []line

	sampleEnd []uint32 // of sample i: its locations end here and begin at the previous end
	stacks    []uint32 // indices into locations, leaf first
	values    []int64  // len(SampleTypes) a sample
	labelEnd  []uint32 // as sampleEnd, for labels; nil if no sample has one
	labels    []label
	hasBase   bool // some sample may be of the base of a difference
}

// form is the encoding a profile came in.
type form uint8

const (
	formProto form = iota
	formLegacy
	formFolded
)

type function struct {
	name, system, file uint32 // in strings
	startLine          int64
}

type mapping struct {
	start, limit, offset uint64
	file, buildID        string
}

type location struct {
	address uint64
	mapping int32  // in mappings; -1 for none
	folded  bool   // several functions share its address
	lineEnd uint32 // its lines end here and begin at the previous location's end
}

type line struct {
	function     int32 // in functions; -1 where none is known
	line, column int64
}

type label struct {
	key, str, unit uint32 // in strings; it is a number where str is 0
	num            int64
}

// Parse reads a profile from b, which it does not keep. The error wraps
// [ErrFormat] or [ErrTooLarge].
func Parse(b []byte, lim Limits) (*Profile, error) {
	if limit := cmp.Or(lim.MaxInput, 512<<20); len(b) > limit {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrTooLarge, len(b), limit)
	}
	if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		raw, err := inflate(b, cmp.Or(lim.MaxRaw, 512<<20))
		if err != nil {
			return nil, err
		}
		b = raw
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrFormat)
	}
	p, err := parseProto(b)
	if err == nil || !errors.Is(err, ErrFormat) {
		return p, err
	}
	switch {
	case isText(b):
		if p, ok := parseFolded(b); ok {
			p.form = formFolded
			return p, nil
		}
	case !isLegacyCPU(b):
		return nil, err
	}
	if p, lerr := parseLegacy(b); lerr == nil {
		p.form = formLegacy
		return p, nil
	}
	return nil, err
}

// ParseReader reads all of r, up to the limits, and parses it.
func ParseReader(r io.Reader, lim Limits) (*Profile, error) {
	limit := cmp.Or(lim.MaxInput, 512<<20)
	var b bytes.Buffer
	if f, ok := r.(interface{ Stat() (fs.FileInfo, error) }); ok {
		if info, err := f.Stat(); err == nil && info.Size() <= int64(limit) {
			b.Grow(int(info.Size()) + bytes.MinRead)
		}
	}
	if _, err := io.Copy(&b, io.LimitReader(r, int64(limit)+1)); err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	return Parse(b.Bytes(), lim)
}

// Samples returns the number of stack records.
func (p *Profile) Samples() int { return len(p.sampleEnd) }

// sample is one stack record as a pass hands it out: until the next one.
type sample struct {
	stack  []uint32 // locations, leaf first
	values []int64
	labels []label
}

// eachSample calls f with every sample, its labels where asked for.
func (p *Profile) eachSample(labels bool, f func(i int, s *sample)) {
	var s sample
	for i, end := range p.sampleEnd {
		s.stack = p.stacks[begin(p.sampleEnd, i):end]
		s.values = p.Values(i)
		if labels && p.labelEnd != nil {
			s.labels = p.labels[begin(p.labelEnd, i):p.labelEnd[i]]
		}
		f(i, &s)
	}
}

// Labels returns the labels of sample i.
func (p *Profile) Labels(i int) []Label {
	if p.labelEnd == nil {
		return nil
	}
	var out []Label
	for _, l := range p.labels[begin(p.labelEnd, i):p.labelEnd[i]] {
		out = append(out, Label{p.strings[l.key], p.strings[l.str], l.num, p.strings[l.unit]})
	}
	return out
}

// Type returns the kind of the profile in one word: cpu, wall, heap, allocs,
// goroutine, block, mutex, threadcreate, or what its last sample type is called.
func (p *Profile) Type() string {
	last := p.SampleTypes[len(p.SampleTypes)-1].Type
	switch kind := cmp.Or(p.PeriodType.Type, last); {
	case last == "cpu" || last == "wall":
		return last
	case kind == "space" || last == "inuse_space":
		if p.DefaultSampleType == "alloc_space" {
			return "allocs"
		}
		return "heap"
	case kind == "contentions" || last == "delay":
		if p.anyLeaf("nlock") { // a mutex profile blames who unlocks late
			return "mutex"
		}
		return "block"
	case kind == "goroutine" || kind == "threadcreate":
		return kind
	}
	return last
}

func (p *Profile) anyLeaf(part string) bool {
	for i := range p.sampleEnd {
		at := begin(p.sampleEnd, i)
		if at == p.sampleEnd[i] {
			continue
		}
		for _, ln := range p.linesOf(p.stacks[at]) {
			if ln.function >= 0 && strings.Contains(p.strings[p.functions[ln.function].name], part) {
				return true
			}
		}
	}
	return false
}

// linesOf returns the lines of location l, innermost inlined call first.
func (p *Profile) linesOf(l uint32) []line {
	var from uint32
	if l > 0 {
		from = p.locations[l-1].lineEnd
	}
	return p.lines[from:p.locations[l].lineEnd]
}

// begin returns where range i begins in a list of ends.
func begin(ends []uint32, i int) uint32 {
	if i == 0 {
		return 0
	}
	return ends[i-1]
}

// inflatedSize guesses how much b inflates to: what its trailer says, as far as
// that is possible. Pages that stay untouched cost no memory.
func inflatedSize(b []byte, limit int) int {
	if len(b) < 18 {
		return 0
	}
	said := int64(binary.LittleEndian.Uint32(b[len(b)-4:]))
	return int(min(said, int64(limit), 32*int64(len(b))))
}

// inflate unpacks gzip up to limit bytes.
func inflate(b []byte, limit int) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: gzip: %w", ErrFormat, err)
	}
	var out bytes.Buffer
	out.Grow(inflatedSize(b, limit) + bytes.MinRead)
	n, err := io.Copy(&out, io.LimitReader(z, int64(limit)+1))
	switch {
	case n > int64(limit):
		return nil, fmt.Errorf("%w: inflates to more than %d bytes", ErrTooLarge, limit)
	case err != nil:
		return nil, fmt.Errorf("%w: gzip: %w", ErrFormat, err)
	}
	return out.Bytes(), nil
}
