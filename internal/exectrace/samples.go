package exectrace

import (
	"fmt"
	"strconv"
	"time"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// Sample is where a request's own goroutine stood in one goroutine profile.
// Goroutines that it started carry its label, too, but are not a part of its
// wall time: the own one is the one whose stack has the middleware in it.
type Sample struct {
	At    time.Duration   // since the request began; samples are in order
	Stack []hotspot.Frame // innermost call first
}

// FromSamples explains a request from the goroutine profiles that were taken
// while it ran. Each sample stands for the time that is nearer to it than to
// the others; the time before the first is [api.StateOther]. Such a profile
// cannot tell running from ready to run: both are [api.StateRunning]. With
// fewer than five samples all is other, and its stacks say what was seen.
func FromSamples(samples []Sample, wall time.Duration) *api.Explanation {
	a, t := &account{wall: int64(wall)}, &stacks{}
	e := &api.Explanation{Wall: api.Seconds(wall), Source: sampleSource(len(samples)), States: []api.ExplainedState{}}
	if few := len(samples) < fewSamples; few {
		a.skip(a.wall)
		for _, s := range samples {
			a.sums[other].at(s.place(t, false), 0, 1)
		}
		e.Notes = []string{fmt.Sprintf("%s: too few to say where the time went", counted(len(samples), "sample"))}
	} else {
		a.skip(int64(samples[0].At))
		e.Notes = []string{
			fmt.Sprintf("nothing was watched before the first sample, %s in: that is in other", seconds(a.unseen)),
			"running may be waiting for a processor: goroutine profiles do not tell",
		}
		for i, s := range samples {
			end := a.wall
			if i+1 < len(samples) {
				end = int64(s.At+samples[i+1].At) / 2
			}
			is := stateOfStack(s.functions)
			a.add(end, is, s.place(t, is != running))
		}
		e.Timeline = a.timeline()
	}
	e.States = a.states(t)
	for i := range e.States {
		s := &e.States[i]
		if s.State == api.StateOther && a.unseen > 0 {
			s.Count-- // no sample
		}
		if s.Count > 0 {
			s.ErrorRatio = sampleError(int(s.Count))
		}
	}
	return e
}

func (s Sample) functions(yield func(string) bool) {
	for _, f := range s.Stack {
		if !yield(f.Function) {
			return
		}
	}
}

// place returns the number of the sample's stack.
func (s Sample) place(t *stacks, lines bool) int32 {
	return t.numberOf(func(yield func(frame) bool) {
		for _, f := range s.Stack {
			if !yield(frame{f.Function, f.Function + " " + f.File + ":" + strconv.FormatInt(f.Line, 10)}) {
				return
			}
		}
	}, lines)
}
