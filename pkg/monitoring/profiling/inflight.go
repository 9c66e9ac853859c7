package profiling

import (
	"context"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
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
	gen uint64
	id  string
}

// ProfileID returns the id of the profile that a forced request will have, or "".
func (h Handle) ProfileID() string { return h.id }

// Finish is what is known of a request when it ends.
type Finish struct {
	Context context.Context // whose pprof labels the goroutine goes back to; nil means none
	Route   string          // the pattern; "" means Path
}

// The phases of a slot, the low bits of its state.
const (
	phaseFree uint64 = iota
	phaseRunning
	phaseMarked // followed by a capture; ends under Profiler.mu
	phaseMissed // slow or forced, but too many are followed already
)

// stateOf packs a slot's generation and phase.
func stateOf(gen, phase uint64) uint64 { return gen<<2 | phase }

// labelsPerSlot is how many labels a slot uses in turn, so that a goroutine
// which outlives its request is not taken for a part of the next.
const labelsPerSlot = 16

// labelKey is the pprof label that tells a request's goroutines.
const labelKey = "pulsectl_slot"

type slot struct {
	number uint32
	state  atomic.Uint64 // generation<<2 | phase
	start  atomic.Int64  // nanoseconds since the Profiler's base
	parent atomic.Uint64 // key of the parent's slot; 0 for none
	next   atomic.Uint32 // in the free list: slot number + 1
	req    Request       // written by Begin before state, read by who moved state to marked
	rec    atomic.Pointer[Recording]
	labels [labelsPerSlot]atomic.Pointer[labelContext]
	began  [labelsPerSlot]atomic.Int64 // when each label was last taken
}

type labelContext struct{ context.Context }

// key names a slot's use for the map of captures.
func (s *slot) key(gen uint64) uint64 { return gen<<17 | uint64(s.number)<<1 | 1 }

// label returns the context that carries the label of a generation. It is made
// at the first use: few slots are in use unless many requests are in flight.
func (s *slot) label(gen uint64) context.Context {
	at := &s.labels[gen%labelsPerSlot]
	if c := at.Load(); c != nil {
		return c.Context
	}
	value := strconv.Itoa(int(s.number)) + "." + strconv.Itoa(int(gen%labelsPerSlot))
	c := &labelContext{pprof.WithLabels(context.Background(), pprof.Labels(labelKey, value))}
	at.Store(c)
	return c.Context
}

// table holds the requests in flight: slots, and a list of the free ones whose
// head carries a counter against the ABA problem.
type table struct {
	slots     []slot
	free      atomic.Uint64 // counter<<32 | slot number + 1
	high      atomic.Uint32 // slots ever used: those below this number
	overflows atomic.Int64
}

func newTable(n int) *table {
	t := &table{slots: make([]slot, n)}
	for i := range t.slots {
		t.slots[i].number = uint32(i)
		if i+1 < n {
			t.slots[i].next.Store(uint32(i + 2))
		}
	}
	t.free.Store(1)
	return t
}

// take returns a free slot, the one freed last first, or nil.
func (t *table) take() *slot {
	for {
		head := t.free.Load()
		if uint32(head) == 0 {
			t.overflows.Add(1)
			return nil
		}
		s := &t.slots[uint32(head)-1]
		if t.free.CompareAndSwap(head, (head>>32+1)<<32|uint64(s.next.Load())) {
			for high := t.high.Load(); s.number >= high && !t.high.CompareAndSwap(high, s.number+1); high = t.high.Load() {
			}
			return s
		}
	}
}

func (t *table) give(s *slot) {
	s.req = Request{} // keeps no text alive
	s.rec.Store(nil)
	for {
		head := t.free.Load()
		s.next.Store(uint32(head))
		if t.free.CompareAndSwap(head, (head>>32+1)<<32|uint64(s.number+1)) {
			return
		}
	}
}

// find returns the slot and its generation that a label names, if that use of
// the slot still goes on.
func (t *table) find(label string) (*slot, uint64) {
	number, turn, _ := strings.Cut(label, ".")
	n, err := strconv.Atoi(number)
	g, err2 := strconv.Atoi(turn)
	if err != nil || err2 != nil || n < 0 || n >= len(t.slots) {
		return nil, 0
	}
	s := &t.slots[n]
	state := s.state.Load()
	if gen := state >> 2; state&3 != phaseFree && gen%labelsPerSlot == uint64(g) {
		return s, gen
	}
	return nil, 0
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
	h := Handle{s: s, gen: s.state.Load()>>2 + 1}
	s.req = r
	s.parent.Store(0)
	if r.Parent.s != nil {
		s.parent.Store(r.Parent.s.key(r.Parent.gen))
	}
	now := int64(r.Start.Sub(p.base))
	if r.Start.IsZero() {
		now = p.now()
	}
	s.start.Store(now)
	s.began[h.gen%labelsPerSlot].Store(now)
	s.state.Store(stateOf(h.gen, phaseRunning))
	pprof.SetGoroutineLabels(s.label(h.gen))
	if r.Force && p.running.Load() {
		h.id = p.force(h)
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
	if h.s.state.CompareAndSwap(stateOf(h.gen, phaseRunning), stateOf(h.gen, phaseFree)) {
		p.table.give(h.s)
		return ""
	}
	return p.endMarked(h, f)
}
