// Package exectrace explains where the wall time of a request went.
//
// [Explain] reads snapshots of the runtime's flight recorder (Go execution
// traces) and follows the request's own goroutine through them: every
// nanosecond from [Request].From to To is in one state, and what no snapshot
// covers is [api.StateOther], with a note. [FromSamples] makes do with stacks
// that were seen now and then.
//
// A trace is a row of generations, each about a second long and complete in
// itself. Those of all snapshots are put in order, each once; the ones that
// touch no request are left out, and the rest goes, one by one, through
// golang.org/x/exp/trace. What is wrong with one is a note; what was read
// before and after stands.
//
// How the states are told:
//   - running is time on one of Go's processors outside of system calls.
//   - syscall is all time in system calls, whether or not they block: only what
//     blocks for long gives up its processor, so that is no measure.
//   - network is also a wait, on a channel, for a goroutine that has the
//     connection, as net/http's clients do it.
//   - gc is assisting and sweeping, waiting for the collector, and being ready
//     while it stops the world. Other stops of the world are other.
//   - A wait that began before the first snapshot has no reason in the trace:
//     its stack tells, if there is one; if not it is other.
package exectrace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// The errors of [Explain] and [ExplainAll]. The caller keeps the snapshot.
var (
	ErrFormat   = errors.New("not a Go execution trace")
	ErrVersion  = errors.New("trace of an unknown Go version")
	ErrTooLarge = errors.New("trace too large")
	ErrBroken   = errors.New("trace cannot be read") // by golang.org/x/exp/trace
	ErrUnseen   = errors.New("request not in trace") // of this one request
)

// Request says whose time is explained.
type Request struct {
	// Goroutines are ids as runtime.Stack prints them: first the one that serves
	// the request, then others known to work for it. Those that they start between
	// From and To are found in the trace.
	Goroutines []int64

	// From and To are the request's, read in the process that is traced. Both
	// should have their monotonic readings, or neither.
	From, To time.Time
}

const defaultMaxBytes = 64 << 20

// Window is a stretch of time.
type Window struct{ From, To time.Time }

// Options says what is known of the snapshots. The zero value is ready to use.
type Options struct {
	MaxBytes int // of all snapshots together; 0 means 64 MiB

	// Sampled is when the CPU profiler ran, without gaps, in order; SampleRate at
	// how many samples a second of processor time: 0 means 100. Outside of these
	// windows nothing is concluded from samples that are missing.
	Sampled    []Window
	SampleRate int
}

// Result is the explanation of one request, or why there is none.
type Result struct {
	Explanation *api.Explanation
	Err         error // wraps [ErrUnseen]
}

// Explain explains one request from snapshots of the flight recorder: one
// taken when it became slow, one after it ended. They may overlap, repeat one
// another or leave gaps. Snapshots are not changed and not kept.
//
// A trace can be hostile: give ctx a deadline.
func Explain(ctx context.Context, snapshots [][]byte, r Request, o Options) (*api.Explanation, error) {
	rs, err := ExplainAll(ctx, snapshots, []Request{r}, o)
	if err != nil {
		return nil, err
	}
	return rs[0].Explanation, rs[0].Err
}

// ExplainAll is [Explain] for several requests that the same snapshots show:
// it reads them once. Results are in the order of the requests.
func ExplainAll(ctx context.Context, snapshots [][]byte, rs []Request, o Options) ([]Result, error) {
	size := 0
	for _, snapshot := range snapshots {
		size += len(snapshot)
	}
	if limit := cmp.Or(o.MaxBytes, defaultMaxBytes); size > limit {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrTooLarge, size, limit)
	}
	gens, notes, err := merge(snapshots)
	if err != nil {
		return nil, err
	}
	clock := clockOf(gens)
	requests := make([]*request, len(rs))
	for i, r := range rs {
		to := clock(r.To)
		requests[i] = &request{Request: r, from: to - int64(r.To.Sub(r.From)), to: to}
	}
	w := newWalk(requests)
	broken, err := w.readAll(ctx, gens)
	if err != nil {
		return nil, err
	}
	s := sampling{period: int64(time.Second) / int64(cmp.Or(o.SampleRate, 100))}
	for _, win := range o.Sampled {
		s.windows = append(s.windows, segment{start: clock(win.From), end: clock(win.To)})
	}
	out := make([]Result, len(rs))
	for i, r := range requests {
		out[i] = w.explain(r, s, slices.Concat(notes, broken))
	}
	return out, nil
}

// clockOf converts times of the process to the clock of the trace, by the
// generation that is nearest. The wall clock may have been set since a time was
// read: its distance from now by the monotonic clock, if it has one, tells.
func clockOf(gens []generation) func(time.Time) int64 {
	now := time.Now()
	return func(t time.Time) int64 {
		if set := now.Add(t.Sub(now)).Round(0); set.Sub(t.Round(0)).Abs() > time.Millisecond {
			t = set
		}
		t = t.Round(0)
		nearest := slices.MinFunc(gens, func(a, b generation) int {
			return cmp.Compare(t.Sub(a.wall).Abs(), t.Sub(b.wall).Abs())
		})
		return nearest.traceTime(t)
	}
}

// readAll reads the generations that a request was in. It returns what could
// not be read, and an error if nothing could.
func (w *walk) readAll(ctx context.Context, gens []generation) (notes []string, err error) {
	read := 0
	for i, g := range gens {
		end := int64(math.MaxInt64)
		if i+1 < len(gens) && gens[i+1].follows {
			end = gens[i+1].begin()
		}
		if !w.wanted(g.begin(), end) {
			continue
		}
		e := w.read(ctx, &g)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("read trace: %w", ctx.Err())
		}
		if e != nil {
			notes = append(notes, fmt.Sprintf("generation %d: %v", g.number, e))
			err = cmp.Or(err, e)
			continue
		}
		read++
	}
	w.leave()
	if read == 0 && err != nil {
		return nil, err
	}
	return notes, nil
}

// wanted tells whether a request ran between two times of the trace.
func (w *walk) wanted(begin, end int64) bool {
	return slices.ContainsFunc(w.requests, func(r *request) bool { return r.from < end && begin < r.to })
}

// explain makes the explanation of a request out of what the walk has found.
func (w *walk) explain(r *request, s sampling, notes []string) Result {
	if r.to <= r.from {
		return Result{Err: fmt.Errorf("%w: it took %v", ErrUnseen, time.Duration(r.to-r.from))}
	}
	if r.own == nil {
		return Result{Err: fmt.Errorf("%w: no goroutine is named, or too many are followed", ErrUnseen)}
	}
	a := w.account(r)
	if a.unseen == a.wall {
		return Result{Err: fmt.Errorf("%w: goroutine %d is not there while it ran%s", ErrUnseen, r.Goroutines[0], because(notes))}
	}
	e := &api.Explanation{Wall: api.Seconds(a.wall), Source: SourceTrace, Notes: notes}
	if a.unseen > int64(unseenTolerance) {
		e.Notes = append(e.Notes, fmt.Sprintf("no snapshot covers %s of it: that is in other", seconds(a.unseen)))
	}
	if d := a.unexplained(); d > int64(unseenTolerance) {
		e.Notes = append(e.Notes, fmt.Sprintf("a wait of %s began before the snapshots, so why is not known: that is in other", seconds(d)))
	}
	e.Notes = append(e.Notes, w.processor(r, s, a, e)...)
	e.States, e.Timeline = a.states(&w.stacks), a.timeline()
	if r.spans > 0 && r.allocated > 0 {
		e.Allocated = &api.ExplainedFigure{Value: float64(r.allocated), Source: SourceSpans}
	}
	e.Notes = append(e.Notes, w.dropped...)
	return Result{Explanation: e}
}

func because(notes []string) string {
	if len(notes) == 0 {
		return ""
	}
	return "; " + notes[0]
}

// account adds up the states of a request's own goroutine.
func (w *walk) account(r *request) *account {
	a := &account{wall: r.to - r.from}
	for _, s := range r.own.segments {
		if s.end <= r.from || s.start >= r.to {
			continue
		}
		a.skip(s.start - r.from)
		w.addAround(a, s, r.from)
		a.add(s.end-r.from, s.state, s.stack)
		if s.end >= r.to {
			break
		}
	}
	a.skip(a.wall)
	return a
}

// addAround adds of a segment what is before and in the stops of the world that
// hold it up: all while it is ready to run; while it runs only the collector's,
// which it has called or is about to give way to.
func (w *walk) addAround(a *account, s segment, from int64) {
	if s.state != runnable && s.state != running {
		return
	}
	i, _ := slices.BinarySearchFunc(w.stops, s.start, func(stop segment, t int64) int { return cmp.Compare(stop.end, t) })
	for ; i < len(w.stops) && w.stops[i].start < s.end; i++ {
		stop := w.stops[i]
		if s.state == running && stop.state != gc {
			continue
		}
		a.add(stop.start-from, s.state, s.stack)
		a.add(min(stop.end, s.end)-from, stop.state, stop.stack)
	}
}

// The sources of an explanation's figures, beside "31 samples ±18 %".
const (
	SourceTrace = "exact (trace)"
	SourceSpans = "spans of the heap (trace)" // whole spans that its goroutines took, mostly of 8 KiB; what another goroutine takes at the same moment may be told for it
)
