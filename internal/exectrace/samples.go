package exectrace

import (
	"fmt"
	"math"
	"slices"
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
// the others; the time before the first is [api.StateOther]. The ± of a state is
// that of its samples, more than 1/√n if they stand for unequal times. Such a
// profile cannot tell running from ready to run: both are [api.StateRunning].
// With fewer than five samples all is other, and its stacks say what was seen.
func FromSamples(samples []Sample, wall time.Duration) *api.Explanation {
	a, t := &account{wall: int64(wall)}, &stacks{}
	e := &api.Explanation{Wall: api.Seconds(wall), Source: sampleSource(len(samples))}
	if len(samples) < fewSamples {
		a.skip(a.wall)
		for _, s := range samples {
			a.sums[other].at(s.place(t, false), 0, 1)
		}
		e.Notes = []string{fmt.Sprintf("%s: too few to say where the time went", counted(len(samples), "sample"))}
		e.States = a.states(t)
		e.States[0].Count = 0 // none that told a state
		return e
	}
	a.skip(int64(samples[0].At))
	if a.unseen > int64(unseenTolerance) {
		e.Notes = append(e.Notes, fmt.Sprintf("nothing was watched before the first sample, %s in: that is in other", seconds(a.unseen)))
	}
	e.Notes = append(e.Notes, "running may be waiting for a processor: goroutine profiles do not tell")
	ratios := a.addSamples(samples, t)
	e.Source = fmt.Sprintf("%s ±%.0f %%", counted(len(samples), "sample"), 100*ratios[states])
	e.States, e.Timeline = a.states(t), a.timeline()
	for i := range e.States {
		s := &e.States[i]
		if s.State == api.StateOther && a.unseen > 0 {
			s.Count-- // no sample
		}
		s.ErrorRatio = ratios[slices.Index(stateNames[:], s.State)]
	}
	return e
}

// addSamples adds what each sample stands for. It returns the standard error of
// each state, and of all of them as the last.
func (a *account) addSamples(samples []Sample, t *stacks) (ratios [states + 1]float64) {
	var sums, squares [states + 1]float64
	for i, s := range samples {
		end := a.wall
		if i+1 < len(samples) {
			end = int64(s.At+samples[i+1].At) / 2
		}
		begin, is := a.end(), stateOfStack(s.functions)
		a.add(end, is, s.place(t, is != running))
		d := float64(a.end() - begin)
		for _, k := range []state{is, states} {
			sums[k] += d
			squares[k] += d * d
		}
	}
	for k := range ratios {
		if sums[k] > 0 {
			ratios[k] = math.Sqrt(squares[k]) / sums[k]
		}
	}
	return ratios
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
