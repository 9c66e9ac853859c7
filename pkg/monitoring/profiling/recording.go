package profiling

import (
	"context"
	"runtime/metrics"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// maxNotes bounds the checkpoints, and the timings, of one recording.
const maxNotes = 64

// Recording is a profile bound to a context: of an operation begun by
// [Profiler.Start], or of a request by [Profiler.Attach]. A nil Recording does
// nothing. It is safe for concurrent use.
type Recording struct {
	p         *Profiler
	operation string // "" for a request
	handle    Handle
	outer     context.Context // whose labels come back at the end

	mu      sync.Mutex
	memory  map[string]api.Count
	timings map[string]api.Seconds
	ended   bool
}

type recordingKey struct{}

// FromContext returns the recording that ctx is bound to, or nil.
func FromContext(ctx context.Context) *Recording {
	r, _ := ctx.Value(recordingKey{}).(*Recording)
	return r
}

// Bound is a context that is bound to a request by [Profiler.Bind]. It is part
// of what its user keeps of the request anyway, so that to bind one costs no
// allocation.
type Bound struct {
	context.Context
	rec Recording
}

// Value returns the recording, the labels that tell the request's goroutines, or
// what the context below has. With the labels in it, those that the request sets
// by [pprof.Do] come beside ours and do not replace them.
func (b *Bound) Value(key any) any {
	if b.rec.p == nil {
		return b.Context.Value(key)
	}
	if key == (recordingKey{}) {
		return &b.rec
	}
	if labels := b.rec.handle.s.label(genOf(b.rec.handle.run)).Value(key); labels != nil {
		return labels
	}
	return b.Context.Value(key)
}

// Bind makes b a context on top of ctx that is bound to the request of h: what
// [Profiler.Attach] returns, in the caller's memory. b is used only once.
func (p *Profiler) Bind(b *Bound, ctx context.Context, h Handle) {
	b.Context = ctx
	if h.s != nil {
		b.rec.p, b.rec.handle = p, h
		h.s.rec.Store(&b.rec)
	}
}

// Attach binds ctx to the request of h, so that checkpoints and timings reach
// its profile and recordings within it count as parts of it.
func (p *Profiler) Attach(ctx context.Context, h Handle) context.Context {
	b := new(Bound)
	p.Bind(b, ctx, h)
	return b
}

// Start begins to profile an operation on this goroutine, which must also call
// End. In mode on its profile is kept; in mode watch only if it turns out slow;
// with profiling off the Recording is nil. Recordings nest: what an inner one
// samples counts for the outer one too. traceID is the trace that the operation
// belongs to, "" for none.
func (p *Profiler) Start(ctx context.Context, operation, traceID string) (context.Context, *Recording) {
	if p.Mode() == ModeOff {
		return ctx, nil
	}
	r := &Recording{p: p, operation: operation, outer: ctx}
	req := Request{Path: operation, TraceID: traceID, Force: p.Mode() == ModeOn}
	if outer := FromContext(ctx); outer != nil {
		req.Parent = outer.handle
		if outer.handle.s != nil {
			r.outer = outer.handle.s.label(genOf(outer.handle.run))
		}
	}
	if r.handle = p.Begin(req); r.handle.s == nil {
		return ctx, nil
	}
	r.handle.s.rec.Store(r)
	p.adopt(r)
	ctx = pprof.WithLabels(ctx, pprof.Labels(labelKey, labelOf(r.handle.s, genOf(r.handle.run))))
	return context.WithValue(ctx, recordingKey{}, r), r
}

// adopt tells a capture that began with the slot whose recording it is.
func (p *Profiler) adopt(r *Recording) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.active[r.handle.key()]; c != nil {
		c.rec, c.trigger = r, api.TriggerManual
	}
}

// Checkpoint records the bytes in use on the heap now, under a name.
func (r *Recording) Checkpoint(name string) {
	if r == nil {
		return
	}
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.memory[name]; known || len(r.memory) < maxNotes {
		if r.memory == nil {
			r.memory = map[string]api.Count{}
		}
		r.memory[cut(name)] = api.Count(sample[0].Value.Uint64())
	}
}

// Timing adds d to what was recorded under a name.
func (r *Recording) Timing(name string, d time.Duration) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.timings[name]; known || len(r.timings) < maxNotes {
		if r.timings == nil {
			r.timings = map[string]api.Seconds{}
		}
		r.timings[cut(name)] += api.Seconds(d)
	}
}

func cut(name string) string { return name[:min(len(name), 128)] }

// End ends the operation and returns the id of its profile if it is kept, else
// "". The recording of a request ends with the request.
func (r *Recording) End() (profileID string) {
	if r == nil || r.operation == "" {
		return ""
	}
	r.mu.Lock()
	ended := r.ended
	r.ended = true
	r.mu.Unlock()
	if ended {
		return ""
	}
	return r.p.End(r.handle, Finish{Context: r.outer, Route: r.operation})
}

// name returns the operation's name, "" for a request.
func (r *Recording) name() string {
	if r == nil {
		return ""
	}
	return r.operation
}

// describe copies what was recorded into a summary.
func (r *Recording) describe(s *api.Profile) {
	if r == nil {
		return
	}
	if r.operation != "" && s.Trigger == api.TriggerRequest { // kept because the mode says so
		s.Trigger = api.TriggerManual
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, v := range r.memory {
		s.MemoryUsage[k] = v
	}
	for k, v := range r.timings {
		s.CustomTimings[k] = v
	}
}
