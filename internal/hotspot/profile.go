// Package hotspot reads profiles and finds where the time, or the memory, went.
//
// [Parse] takes a pprof profile, gzipped or not, into flat arrays: a sample is
// a range of dense location numbers, a location a range of lines, so that
// walking it needs no maps and no pointers. The legacy formats that pprof still
// reads (gperftools, Java) and folded stacks come out as the same [Profile].
//
// A [Selection] says what of a profile counts. [Top], [Peek], [Tree] and [Tags]
// then have the numbers of `go tool pprof`, and [Diff] those of its -diff_base;
// [Flame] is a call tree to draw, [Compare] what an operator asks of two
// profiles. Each works the selection out for the tables once and then passes
// over the samples.
//
// Input is hostile: no length in it is trusted, inflation is bounded, and what
// is not a profile is a one-line error.
package hotspot

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
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

	// Samples stay in their message, which takes less memory than any form that
	// a pass could read faster: a pass over 100 MB costs 0.2 s.
	raw         string
	sampleAt    []uint32 // of sample i: where its length stands in raw, which its message follows
	frames      int      // in all stacks
	locationIDs index
	hasBase     bool // some sample may be of the base of a difference
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
func Parse(b []byte, lim Limits) (*Profile, error) { return ParseReader(bytes.NewReader(b), lim) }

// ParseReader reads all of r, up to the limits, and parses it. Of compressed
// input it holds only what it inflates to.
func ParseReader(r io.Reader, lim Limits) (*Profile, error) {
	lim.MaxInput, lim.MaxRaw = cmp.Or(lim.MaxInput, 512<<20), cmp.Or(lim.MaxRaw, 512<<20)
	raw, err := read(r, lim)
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrFormat)
	}
	p, err := parseProto(raw, lim)
	if err == nil || !errors.Is(err, ErrFormat) {
		return p, err
	}
	switch {
	case isText(raw):
		if p, ferr := parseFolded(raw, lim); ferr == nil || errors.Is(ferr, ErrTooLarge) {
			return p, ferr
		}
	case !isLegacyCPU(raw):
		return nil, err
	}
	if p, lerr := parseLegacy(raw, lim); lerr == nil || errors.Is(lerr, ErrTooLarge) {
		return p, lerr
	}
	return nil, err
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
	found := false
	p.eachSample(false, func(_ int, s *sample) {
		if found || len(s.stack) == 0 {
			return
		}
		found = slices.ContainsFunc(p.linesOf(s.stack[0]), func(ln line) bool {
			return ln.function >= 0 && strings.Contains(p.strings[p.functions[ln.function].name], part)
		})
	})
	return found
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
