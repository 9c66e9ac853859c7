package exectrace

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/exp/trace"
)

// What a walk keeps at most. Beyond that it goes on, keeps no more and says so.
const (
	maxSegments   = 2 << 20 // 24 bytes each
	maxGoroutines = 16 << 10

	// pause is the longest one between generations of different snapshots that
	// one recording makes; there may be one of a millisecond between two recordings.
	pause = time.Millisecond
)

// segment is a goroutine's stay in a state.
type segment struct {
	start, end int64 // by the clock of the trace
	stack      int32 // in walk.stacks; noStack for none
	state      state
	busy       bool // on one of Go's processors
}

// sample is a CPU sample.
type sample struct {
	time  int64
	stack int32
}

// goroutine is one that works for a request.
type goroutine struct {
	requests []*request
	own      bool // of one request, so that all its states are kept; else only its time on a processor
	from, to int64

	known         bool // what it does since `since`
	state         state
	since         int64
	stack         int32
	assist, sweep bool  // within these while it runs
	gcStack       int32 // where that began

	segments []segment
	samples  []sample
}

// request is a Request in the clock of the trace.
type request struct {
	Request
	from, to   int64
	goroutines []*goroutine // that work for it, the own one among them
	own        *goroutine   // nil if too many are followed
	allocated  int64        // bytes of heap spans
	spans      int          // events that told so
}

// walk follows goroutines through generations.
type walk struct {
	goroutines map[trace.GoID]*goroutine
	requests   []*request

	stops    []segment // of the world, with the state of who waits for their end
	stopping bool      // the last of them has no end yet
	heap     uint64    // bytes, at the last event that told; 0 for unknown
	last     int64     // time of the last event
	number   uint64    // of the last generation, if all of it was read

	stacks stacks
	inGen  map[stackKey]int32 // numbers of this generation's stacks

	segments int      // kept in all goroutines
	dropped  []string // what was too much
}

type stackKey struct {
	trace.Stack
	lines bool
}

func newWalk(rs []*request) *walk {
	w := &walk{goroutines: map[trace.GoID]*goroutine{}, requests: rs}
	for _, r := range rs {
		if len(r.Goroutines) > 0 {
			if r.own = w.join(trace.GoID(r.Goroutines[0]), r); r.own != nil {
				r.own.own = true
			}
		}
	}
	for _, r := range rs {
		for _, id := range r.Goroutines[min(1, len(r.Goroutines)):] {
			w.join(trace.GoID(id), r)
		}
	}
	return w
}

// join has a goroutine work for a request.
func (w *walk) join(id trace.GoID, r *request) *goroutine {
	g := w.goroutines[id]
	if g == nil {
		if len(w.goroutines) >= maxGoroutines {
			w.drop(fmt.Sprintf("only the first %d goroutines are followed", maxGoroutines))
			return nil
		}
		g = &goroutine{from: r.from, to: r.to, stack: noStack}
		w.goroutines[id] = g
	}
	if slices.Contains(g.requests, r) {
		return g
	}
	g.from, g.to = min(g.from, r.from), max(g.to, r.to)
	g.requests = append(g.requests, r)
	r.goroutines = append(r.goroutines, g)
	return g
}

func (w *walk) drop(what string) {
	if !slices.Contains(w.dropped, what) {
		w.dropped = append(w.dropped, what)
	}
}

// read follows the goroutines through one generation. Whatever its events are,
// it ends with an error at worst.
func (w *walk) read(ctx context.Context, g *generation) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the reader gave up: %v", ErrBroken, p)
		}
		w.inGen = nil
	}()
	w.inGen = map[stackKey]int32{}
	begin := g.begin()
	if w.number+1 != g.number || !g.follows && begin-w.last > int64(pause) {
		w.leave()
	}
	w.number = 0 // until it is read
	r, err := trace.NewReader(io.MultiReader(bytes.NewReader(g.header), bytes.NewReader(g.data)))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	for n := 0; ; n++ {
		if n%16 == 0 && ctx.Err() != nil { // an event of a hostile trace can take long
			return ctx.Err()
		}
		e, err := r.ReadEvent()
		if err == io.EOF {
			w.number = g.number
			return nil
		}
		if err != nil {
			line, _, _ := strings.Cut(err.Error(), "\n")
			return fmt.Errorf("%w: %.200s", ErrBroken, line)
		}
		w.event(&e, begin)
	}
}

// leave ends what is known of every goroutine: events are missing from here on.
func (w *walk) leave() {
	for _, g := range w.goroutines {
		w.close(g, w.last)
		g.known, g.assist, g.sweep = false, false, false
	}
	if w.stopping {
		w.stops[len(w.stops)-1].end, w.stopping = w.last, false
	}
	w.heap = 0
}

// event takes one event of a generation that began at begin.
func (w *walk) event(e *trace.Event, begin int64) {
	w.last = max(w.last, int64(e.Time()))
	switch e.Kind() {
	case trace.EventStateTransition:
		w.transition(e, begin)
	case trace.EventRangeBegin, trace.EventRangeActive, trace.EventRangeEnd:
		w.span(e)
	case trace.EventMetric:
		w.metric(e)
	case trace.EventStackSample:
		g := w.goroutines[e.Goroutine()]
		if g != nil && w.room() {
			g.samples = append(g.samples, sample{int64(e.Time()), w.stackOf(e.Stack(), false)})
		}
	}
}

func (w *walk) room() bool {
	if w.segments >= maxSegments {
		w.drop(fmt.Sprintf("only the first %d changes of state are counted", maxSegments))
		return false
	}
	w.segments++
	return true
}

func (w *walk) transition(e *trace.Event, begin int64) {
	t := e.StateTransition()
	if t.Resource.Kind != trace.ResourceGoroutine {
		return
	}
	id := t.Resource.Goroutine()
	g := w.goroutines[id]
	from, to := t.Goroutine()
	if from == trace.GoNotExist && g == nil {
		if g = w.born(id, e); g == nil {
			return
		}
	}
	if g == nil {
		return
	}
	now := w.last
	s, stack := w.stateOf(from, to, &t)
	switch {
	case from == trace.GoUndetermined && g.known && (s == g.state || to == trace.GoWaiting && g.waits()):
		return // the record of a state that goes on
	case from == trace.GoUndetermined: // and so since the generation began
		now = begin
	case to == trace.GoRunnable && stack == noStack:
		stack = g.stack // where it waited
	}
	w.close(g, now)
	g.known, g.state, g.since, g.stack = to != trace.GoNotExist, s, now, stack
}

// waits tells whether a goroutine is blocked.
func (g *goroutine) waits() bool {
	return g.state != running && g.state != runnable && g.state != syscall
}

// born follows a goroutine that one of a request's has started.
func (w *walk) born(id trace.GoID, e *trace.Event) (g *goroutine) {
	parent := w.goroutines[e.Goroutine()]
	if parent == nil {
		return nil
	}
	for _, r := range parent.requests {
		if r.from <= w.last && w.last <= r.to {
			g = w.join(id, r)
		}
	}
	return g
}

// stateOf tells the state that a transition leads to, and where. Where a
// goroutine is made to stop does not depend on the line, where it waits does.
func (w *walk) stateOf(from, to trace.GoState, t *trace.StateTransition) (state, int32) {
	switch to {
	case trace.GoRunning:
		return running, noStack
	case trace.GoRunnable:
		return runnable, w.stackOf(t.Stack, false)
	case trace.GoSyscall:
		return syscall, w.stackOf(t.Stack, true)
	case trace.GoWaiting:
		if from == trace.GoRunning && t.Reason == "" && t.Stack == trace.NoStack { // the one wait of which the runtime does not say where
			return other, w.stacks.numberOf(slices.Values([]frame{{coroutine, coroutine}}), false)
		}
		stack := w.stackOf(t.Stack, true)
		return stateOfWait(t.Reason, w.stacks.functions(stack)), stack
	}
	return other, noStack
}

// coroutine stands for the stack of a goroutine that has switched to the one
// that iter.Pull runs for it.
const coroutine = "iter.Pull"

// close keeps the stay of a goroutine that ends now.
func (w *walk) close(g *goroutine, now int64) {
	if !g.known || now <= g.since || now <= g.from || g.since >= g.to {
		return
	}
	s := segment{start: g.since, end: now, state: g.state, stack: g.stack, busy: g.state == running}
	if s.busy && (g.assist || g.sweep) {
		s.state, s.stack = gc, g.gcStack
	} else if !s.busy && !g.own {
		return
	}
	if w.room() {
		g.segments = append(g.segments, s)
	}
}

// span follows what the collector does in a goroutine, and when the world stops.
func (w *walk) span(e *trace.Event) {
	r := e.Range()
	begins := e.Kind() != trace.EventRangeEnd
	if strings.HasPrefix(r.Name, "stop-the-world") {
		w.stop(e, r.Name, begins)
		return
	}
	id := e.Goroutine()
	if r.Scope.Kind == trace.ResourceGoroutine {
		id = r.Scope.Goroutine()
	}
	g := w.goroutines[id]
	if g == nil {
		return
	}
	flag := &g.assist
	switch r.Name {
	case "GC mark assist":
	case "GC incremental sweep":
		flag = &g.sweep
	default:
		return
	}
	if *flag == begins {
		return
	}
	if g.state == running {
		w.close(g, w.last)
		g.since = w.last
	}
	*flag = begins
	if begins {
		g.gcStack = w.stackOf(e.Stack(), false)
	}
}

func (w *walk) stop(e *trace.Event, name string, begins bool) {
	if w.stopping {
		w.stops[len(w.stops)-1].end, w.stopping = w.last, false
	}
	if !begins || !w.room() {
		return
	}
	s := segment{start: w.last, state: other, stack: w.stacks.numberOf(slices.Values([]frame{{name, name}}), false)}
	if strings.Contains(name, "(GC ") {
		s.state = gc
	}
	w.stops, w.stopping = append(w.stops, s), true
}

// metric adds what the heap grew by to the requests whose goroutine did it. The
// runtime tells the live heap whenever a processor takes a span, in the context
// of the goroutine that needed it; what it tells while the world is stopped is
// the collector's.
func (w *walk) metric(e *trace.Event) {
	m := e.Metric()
	if m.Name != "/memory/classes/heap/objects:bytes" {
		return
	}
	now := m.Value.Uint64()
	grew := int64(now - w.heap)
	known := w.heap != 0
	w.heap = now
	g := w.goroutines[e.Goroutine()]
	if g == nil || !known || w.stopping {
		return
	}
	for _, r := range g.requests {
		if r.from <= w.last && w.last <= r.to {
			r.allocated += grew
			r.spans++
		}
	}
}

// stackOf returns the number of a stack, with or without a difference between
// the lines of a function.
func (w *walk) stackOf(s trace.Stack, lines bool) int32 {
	if s == trace.NoStack {
		return noStack
	}
	id, ok := w.inGen[stackKey{s, lines}]
	if !ok {
		id = w.stacks.numberOf(func(yield func(frame) bool) {
			for f := range s.Frames() {
				if !yield(frame{f.Func, f.Func + " " + f.File + ":" + strconv.FormatUint(f.Line, 10)}) {
					return
				}
			}
		}, lines)
		w.inGen[stackKey{s, lines}] = id
	}
	if id == noStack {
		w.drop(fmt.Sprintf("only the first %d places are told apart", maxStacks))
	}
	return id
}
