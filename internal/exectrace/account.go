package exectrace

import (
	"cmp"
	"slices"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	maxStretches    = 512 // of a timeline
	stacksPerState  = 8
	fewSamples      = 5 // fewer say nothing: ±50 % and more
	unseenTolerance = 100 * time.Microsecond
)

// sum is the time in one state, while it is being added up.
type sum struct {
	duration int64
	count    int64
	places   map[int32]*place // by stack
}

type place struct {
	stack           int32
	duration, count int64
}

// at adds to a place in the state, not to its sum.
func (s *sum) at(stack int32, duration, count int64) {
	if stack == noStack {
		return
	}
	if s.places == nil {
		s.places = map[int32]*place{}
	}
	p := s.places[stack]
	if p == nil {
		p = &place{stack: stack}
		s.places[stack] = p
	}
	p.duration += duration
	p.count += count
}

// account adds up the pieces of a wall time that was told apart.
type account struct {
	wall   int64
	sums   [states]sum
	pieces []segment // without gaps, from 0 to wall
	unseen int64     // of other, because nobody looked
}

// add appends a piece that begins where the last one ended and ends at end, or
// with the wall time.
func (a *account) add(end int64, s state, stack int32) {
	start := a.end()
	if end = min(end, a.wall); end <= start {
		return
	}
	a.sums[s].duration += end - start
	a.sums[s].count++
	a.sums[s].at(stack, end-start, 1)
	a.pieces = append(a.pieces, segment{start: start, end: end, stack: stack, state: s})
}

// skip fills up to end with what was not seen.
func (a *account) skip(end int64) {
	if start := a.end(); min(end, a.wall) > start {
		a.unseen += min(end, a.wall) - start
		a.add(end, other, noStack)
	}
}

// unexplained returns how much of other was seen, but has no place.
func (a *account) unexplained() int64 {
	d := a.sums[other].duration - a.unseen
	for _, p := range a.sums[other].places {
		d -= p.duration
	}
	return d
}

func (a *account) end() int64 {
	if n := len(a.pieces); n > 0 {
		return a.pieces[n-1].end
	}
	return 0
}

// states returns the sums, the longest first.
func (a *account) states(stacks *stacks) []api.ExplainedState {
	out := []api.ExplainedState{}
	for s, sum := range a.sums {
		if sum.duration == 0 {
			continue
		}
		out = append(out, api.ExplainedState{
			State: stateNames[s], Duration: api.Seconds(sum.duration), Ratio: float64(sum.duration) / float64(a.wall),
			Count: api.Count(sum.count), Stacks: topStacks(sum.places, stacks),
		})
	}
	slices.SortStableFunc(out, func(x, y api.ExplainedState) int { return cmp.Compare(y.Duration, x.Duration) })
	return out
}

func topStacks(places map[int32]*place, stacks *stacks) []api.ExplainedStack {
	ps := make([]*place, 0, len(places))
	for _, p := range places {
		ps = append(ps, p)
	}
	slices.SortFunc(ps, func(x, y *place) int {
		return cmp.Or(cmp.Compare(y.duration, x.duration), cmp.Compare(y.count, x.count), cmp.Compare(x.stack, y.stack))
	})
	var out []api.ExplainedStack
	for _, p := range ps[:min(len(ps), stacksPerState)] {
		out = append(out, api.ExplainedStack{
			Duration: api.Seconds(p.duration), Count: api.Count(p.count),
			Function: userFunction(stacks.functions(p.stack)), Frames: stacks.texts(p.stack),
		})
	}
	return out
}

// timeline returns the pieces in order, neighbours of one state merged. Of more
// than fit, the shorter ones are drawn together: a stretch of them has the
// state that most of it is in.
func (a *account) timeline() []api.ExplainedStretch {
	line := joined(a.pieces)
	for shortest := a.wall/(16*maxStretches) + 1; len(line) > maxStretches; shortest *= 2 {
		line = joined(coarser(line, shortest))
	}
	out := make([]api.ExplainedStretch, len(line))
	for i, p := range line {
		out[i] = api.ExplainedStretch{State: stateNames[p.state], Start: api.Seconds(p.start), Duration: api.Seconds(p.end - p.start)}
	}
	return out
}

func joined(pieces []segment) []segment {
	var out []segment
	for _, p := range pieces {
		if n := len(out); n > 0 && out[n-1].state == p.state {
			out[n-1].end = p.end
			continue
		}
		out = append(out, p)
	}
	return out
}

// coarser draws neighbours that are shorter than shortest together, until they
// are not.
func coarser(line []segment, shortest int64) []segment {
	var out []segment
	for i := 0; i < len(line); {
		if line[i].end-line[i].start >= shortest {
			out = append(out, line[i])
			i++
			continue
		}
		group := line[i]
		var in [states]int64
		for ; i < len(line) && line[i].end-line[i].start < shortest && line[i].start-group.start < shortest; i++ {
			group.end = line[i].end
			in[line[i].state] += line[i].end - line[i].start
		}
		for s := range in {
			if in[s] > in[group.state] {
				group.state = state(s)
			}
		}
		out = append(out, group)
	}
	return out
}

func seconds(ns int64) string {
	d := time.Duration(ns)
	if d >= time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
