package profiling

import (
	"context"
	"runtime/pprof"
	"time"
)

// Request is what the table keeps of a request in flight.
type Request struct {
	Method, Host, Path string
	TraceID, RequestID string
	Start              time.Time // zero means now
	Parent             Handle    // of the request or recording that this is part of; zero for none
	Force              bool      // sample from the start and keep the profile however fast it was
}

// Handle is a place in the table of requests in flight. The zero Handle is no
// place; ending it does nothing.
type Handle struct {
	s   *slot
	run uint64 // the state while nobody follows it
	c   *capture
}

func (h Handle) key() uint64 { return h.s.key(genOf(h.run)) }

// ProfileID returns the id of the profile that a forced request will have, or "".
func (h Handle) ProfileID() string {
	if h.c == nil {
		return ""
	}
	return h.c.id
}

// Finish is what is known of a request when it ends.
type Finish struct {
	Context context.Context // whose pprof labels the goroutine goes back to; nil means none
	Route   string          // the pattern; "" means Path
}

func (p *Profiler) now() int64 { return int64(time.Since(p.base)) }

// Begin takes a slot for a request and labels the goroutine, which must be the
// one that calls [Profiler.End]. It does not allocate, except for a forced one.
// With profiling off or the table full it returns the zero Handle.
func (p *Profiler) Begin(r Request) Handle {
	if p.mode.Load() == 0 {
		return Handle{}
	}
	s := p.table.take()
	if s == nil {
		return Handle{}
	}
	if r.Start.IsZero() {
		s.start = p.now()
	} else {
		s.start = int64(r.Start.Sub(p.base))
	}
	s.who = who{r.Method, r.Host, r.Path, r.TraceID, r.RequestID}
	if r.Parent.s != nil {
		s.parent.Store(r.Parent.key())
	} else if s.parent.Load() != 0 {
		s.parent.Store(0)
	}
	gen := (genOf(s.state.Load()) + 1) & (1<<genBits - 1)
	h := Handle{s: s, run: stateOf(gen, phaseRunning, s.start)}
	s.state.Store(h.run)
	pprof.SetGoroutineLabels(s.label(gen))
	if r.Force && p.running.Load() {
		h.c = p.force(h)
	}
	return h
}

// End gives a request's slot back and restores the goroutine's labels. If the
// request was followed it returns the id of the profile that will be kept, else
// "".
func (p *Profiler) End(h Handle, f Finish) (profileID string) {
	if h.s == nil {
		return ""
	}
	ctx := f.Context
	if ctx == nil {
		ctx = context.Background()
	}
	pprof.SetGoroutineLabels(ctx)
	if p.cpu.profiling.Load() {
		return p.endProfiled(h, f)
	}
	if h.s.state.CompareAndSwap(h.run, withPhase(h.run, phaseFree)) {
		p.table.give(h.s, false)
		return ""
	}
	return p.endMarked(h, f)
}

// endProfiled ends a request while CPU windows are taken: who had its label is
// written into them afterwards.
func (p *Profiler) endProfiled(h Handle, f Finish) (profileID string) {
	state := h.s.state.Load()
	if genOf(state) != genOf(h.run) || phaseOf(state) == phaseFree {
		return "" // it has ended before
	}
	h.s.remember(genOf(h.run), f.Route, p.now())
	if h.s.state.CompareAndSwap(h.run, withPhase(h.run, phaseFree)) {
		p.table.give(h.s, true)
		return ""
	}
	return p.endMarked(h, f)
}

// peek reads whose a running slot is, without keeping it: for that moment it is
// marked, and an End that comes in it waits for the lock.
func (p *Profiler) peek(s *slot, run uint64) (w who, start int64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ok = s.state.CompareAndSwap(run, withPhase(run, phaseMarked)); ok {
		w, start = s.who, s.start
		s.state.Store(run)
	}
	return w, start, ok
}
