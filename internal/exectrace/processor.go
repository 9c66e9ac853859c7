package exectrace

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// sampling says when the CPU profiler ran, in the clock of the trace.
type sampling struct {
	windows []segment
	period  int64 // processor time that a sample stands for
}

// within returns how much of the stretch from…to was sampled.
func (s *sampling) within(from, to int64) (covered int64) {
	for _, w := range s.windows {
		covered += max(0, min(to, w.end)-max(from, w.start))
	}
	return covered
}

func (s *sampling) at(t int64) bool {
	return slices.ContainsFunc(s.windows, func(w segment) bool { return w.start <= t && t <= w.end })
}

// usage is what the goroutines of a request had of the processors.
type usage struct {
	busy, busySampled int64 // time on Go's processors, and how much of it was sampled
	n, nBusy          int   // samples while the profiler ran, and those on Go's processors
}

// usage adds up the goroutines of a request.
func (s *sampling) usage(r *request) (u usage) {
	for _, g := range r.goroutines {
		for _, p := range g.segments {
			from, to := max(p.start, r.from), min(p.end, r.to)
			if p.busy && from < to {
				u.busy += to - from
				u.busySampled += s.within(from, to)
			}
		}
		for _, p := range g.samples {
			if r.from <= p.time && p.time <= r.to && s.at(p.time) {
				u.n++
				if at := g.at(p.time); at != nil && at.busy {
					u.nBusy++
				}
			}
		}
	}
	return u
}

// at returns what a goroutine did at a time, or nil if that is not kept.
func (g *goroutine) at(t int64) *segment {
	i, _ := slices.BinarySearchFunc(g.segments, t, func(s segment, t int64) int {
		if s.end <= t {
			return -1
		}
		return 1
	})
	if i < len(g.segments) && g.segments[i].start <= t {
		return &g.segments[i]
	}
	return nil
}

// processor fills in the figures of the processors and the stacks of what ran.
//
// With CPU samples, cpu is what they stand for, and what Go's processors were
// busy for while nothing was sampled. Without, it is the latter alone: time in
// which the host may have run something else. The two are compared where both
// are known: if the samples are fewer than that time would give, beyond what
// chance does in 97 of 100 cases, the host has withheld the difference.
func (w *walk) processor(r *request, s sampling, a *account, e *api.Explanation) (notes []string) {
	u := s.usage(r)
	if mostLikely(u.nBusy)*float64(s.period) < float64(u.busySampled) {
		withheld := float64(u.busySampled - int64(u.nBusy)*s.period)
		ratio := math.Sqrt(float64(max(u.nBusy, 1))) * float64(s.period) / withheld
		e.Withheld = &api.ExplainedFigure{Value: withheld / 1e9, ErrorRatio: ratio,
			Source: fmt.Sprintf("%s ±%.0f %%", counted(u.nBusy, "sample"), 100*ratio)}
	}
	switch few := u.n < fewSamples; {
	case !few || u.n > 0 && e.Withheld != nil:
		cpu := time.Duration(int64(u.n)*s.period + u.busy - u.busySampled).Round(time.Microsecond)
		e.CPU = &api.ExplainedFigure{Value: cpu.Seconds(), Source: sampleSource(u.n), ErrorRatio: sampleError(u.n)}
	case e.Withheld != nil:
		notes = append(notes, "no CPU samples: too few to say what it had of a processor")
	default:
		e.CPU = &api.ExplainedFigure{Value: float64(u.busy) / 1e9, Source: SourceTrace}
		if u.busySampled >= s.period {
			notes = append(notes, fmt.Sprintf("%s: too few to say what the host withheld", counted(u.n, "CPU sample")))
		}
	}
	return append(notes, placeSamples(r, a)...)
}

// mostLikely is the number that chance makes n of in more than 2.5 of 100
// cases: the upper end of the 95 % interval of a Poisson count.
func mostLikely(n int) float64 {
	root := math.Sqrt(float64(n)+1) + 0.98
	return root * root
}

// placeSamples has the samples of a request's own goroutine say where its
// running time went.
func placeSamples(r *request, a *account) []string {
	ran := &a.sums[running]
	var in []sample
	for _, p := range r.own.samples {
		at := r.own.at(p.time)
		if r.from <= p.time && p.time <= r.to && at != nil && at.state == running {
			in = append(in, p)
		}
	}
	if len(in) < fewSamples {
		return nil
	}
	for _, p := range in {
		ran.at(p.stack, ran.duration/int64(len(in)), 1)
	}
	return []string{fmt.Sprintf("where it ran is from %s", sampleSource(len(in)))}
}

// sampleError is the standard error of a count, as a share of it.
func sampleError(n int) float64 { return 1 / math.Sqrt(float64(max(n, 1))) }

func sampleSource(n int) string {
	return fmt.Sprintf("%s ±%.0f %%", counted(n, "sample"), 100*sampleError(n))
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
