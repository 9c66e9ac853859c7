package profiling

import (
	"sync/atomic"
	"unique"
	"unsafe"

	"github.com/pulsectl/pulsectl/internal/exectrace"
	"github.com/pulsectl/pulsectl/internal/hotspot"
)

// The bounds of what the captures keep while their requests run.
const (
	maxCaptureBytes = 4 << 20  // of stacks, one capture
	maxStackBytes   = 64 << 20 // of stacks, all captures
	maxSightings    = 4096     // of one capture; then every second goes
)

// stacks counts stacks and remembers when they were seen. Their strings are
// shared by all that have them.
type stacks struct {
	all   *atomic.Int64 // bytes of all captures
	index map[string]int32
	list  []stack
	seen  []sighting
	every int // only every so many snapshots is a sighting kept
	turn  int
	bytes int64
	lost  int64 // samples of stacks for which there was no room
	key   []byte
}

type stack struct {
	frames []hotspot.Frame
	count  int64
}

// sighting is a stack in a snapshot.
type sighting struct {
	at    int64 // nanoseconds since the Profiler's base
	stack int32
}

func newStacks(all *atomic.Int64) *stacks {
	return &stacks{all: all, index: map[string]int32{}, every: 1}
}

// add counts n goroutines that stood at frames.
func (s *stacks) add(at int64, frames []hotspot.Frame, n int64) {
	s.key = s.key[:0]
	for _, f := range frames {
		s.key = append(append(s.key, f.Function...), 0)
		s.key = append(append(s.key, f.File...), byte(f.Line), byte(f.Line>>8), byte(f.Line>>16))
	}
	i, known := s.index[string(s.key)]
	if !known {
		size := int64(len(s.key)) + int64(len(frames))*int64(unsafe.Sizeof(hotspot.Frame{})) + 64
		if !s.reserve(size) {
			s.lost += n
			return
		}
		own := make([]hotspot.Frame, len(frames))
		for j, f := range frames {
			f.Function, f.File = unique.Make(f.Function).Value(), unique.Make(f.File).Value()
			own[j] = f
		}
		i = int32(len(s.list))
		s.index[string(s.key)] = i
		s.list = append(s.list, stack{frames: own})
	}
	s.list[i].count += n
	s.see(sighting{at, i})
}

// reserve takes room for size bytes, if there is some.
func (s *stacks) reserve(size int64) bool {
	if s.bytes+size > maxCaptureBytes {
		return false
	}
	if s.all.Add(size) > maxStackBytes {
		s.all.Add(-size)
		return false
	}
	s.bytes += size
	return true
}

func (s *stacks) see(one sighting) {
	if len(s.seen) > 0 && s.seen[len(s.seen)-1].at != one.at {
		s.turn++
	}
	if s.turn%s.every != 0 {
		return
	}
	if len(s.seen) >= maxSightings {
		s.thin()
	}
	s.seen = append(s.seen, one)
}

// thin drops the sightings of every second snapshot.
func (s *stacks) thin() {
	keep, drop := s.seen[:0], true
	var at int64
	for _, one := range s.seen {
		if one.at != at {
			at, drop = one.at, !drop
		}
		if !drop {
			keep = append(keep, one)
		}
	}
	s.seen = keep
	s.every *= 2
}

// free gives the room back.
func (s *stacks) free() {
	s.all.Add(-s.bytes)
	s.bytes, s.list, s.seen, s.index = 0, nil, nil, nil
}

// own returns where the request's own goroutine stood, of all that carry its
// label: outer are the functions that it had yet to return to when it ended,
// and no goroutine that it started has as many of them.
func (s *stacks) own(start int64, outer []string) []exectrace.Sample {
	depth, most := make([]int, len(s.list)), 1
	for i, st := range s.list {
		depth[i] = shared(st.frames, outer)
		most = max(most, depth[i])
	}
	var out []exectrace.Sample
	last := int64(-1)
	for _, one := range s.seen {
		if depth[one.stack] == most && one.at != last {
			last = one.at
			out = append(out, exectrace.Sample{At: duration(max(one.at-start, 0)), Stack: s.list[one.stack].frames})
		}
	}
	return out
}

// shared counts the outermost calls that a stack has in common with outer.
func shared(frames []hotspot.Frame, outer []string) (n int) {
	for len(frames) > 0 && frames[len(frames)-1].Function == goexit {
		frames = frames[:len(frames)-1]
	}
	for n < len(frames) && n < len(outer) && frames[len(frames)-1-n].Function == outer[len(outer)-1-n] {
		n++
	}
	return n
}
