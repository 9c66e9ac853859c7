package profiling

import (
	"context"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// The phases of a slot, the low bits of its state.
const (
	phaseFree uint64 = iota
	phaseRunning
	phaseMarked // followed by a capture, or being read; ends under Profiler.mu
	phaseMissed // slow or forced, but too many are followed already
)

// A slot's state is one word, so that one store publishes all that the watchdog
// looks at: when the request began, in steps of a quarter millisecond, the
// generation, which tells the uses of a slot apart, and the phase.
const (
	genShift, genBits = 2, 22
	startShift        = genShift + genBits
	startStep         = 18 // bits of nanoseconds that a step has
)

func stateOf(gen, phase uint64, start int64) uint64 {
	return uint64(max(start, 0))>>startStep<<startShift | gen<<genShift | phase
}

func phaseOf(state uint64) uint64 { return state & (1<<genShift - 1) }
func genOf(state uint64) uint64   { return state >> genShift & (1<<genBits - 1) }

// began returns when the request of a state began, rounded down to a step.
func began(state uint64) int64 { return int64(state >> startShift << startStep) }

// withPhase is a state in another phase of the same use.
func withPhase(state, phase uint64) uint64 { return state&^(1<<genShift-1) | phase }

// labelsPerSlot is how many labels a slot uses in turn, so that a goroutine
// which outlives its request is not taken for a part of the next.
const labelsPerSlot = 16

// labelKey is the pprof label that tells a request's goroutines.
const labelKey = "pulsectl_slot"

// who says whose a slot is. Its owner writes it before it publishes the state;
// others read it only while they hold the slot in phaseMarked.
type who struct {
	Method, Host, Path string
	TraceID, RequestID string
}

type slot struct {
	state  atomic.Uint64
	next   atomic.Uint32 // in the free list: slot number + 1
	number uint32
	parent atomic.Uint64 // key of the parent's slot; 0 for none
	rec    atomic.Pointer[Recording]
	start  int64 // nanoseconds since the Profiler's base; guarded as who is
	who    who
	labels [labelsPerSlot]atomic.Pointer[labelContext]

	mu   sync.Mutex
	past *[labelsPerSlot]tenant // of each label; nil until the CPU profiler first ran
}

// tenant is the last request that had a label, as far as CPU windows want it.
type tenant struct {
	gen, key, parent   uint64
	route, method      string
	traceID, requestID string
	from, to           int64 // nanoseconds since the Profiler's base
	before             int64 // when the one before it ended
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
	c := &labelContext{pprof.WithLabels(context.Background(), pprof.Labels(labelKey, labelOf(s, gen)))}
	at.Store(c)
	return c.Context
}

func labelOf(s *slot, gen uint64) string {
	return strconv.Itoa(int(s.number)) + "." + strconv.Itoa(int(gen%labelsPerSlot))
}

// remember keeps who had a label, for the CPU window that is being taken. The
// caller owns the slot.
func (s *slot) remember(gen uint64, route string, to int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.past == nil {
		s.past = new([labelsPerSlot]tenant)
	}
	t := &s.past[gen%labelsPerSlot]
	*t = tenant{
		gen: gen, key: s.key(gen), parent: s.parent.Load(), route: route, method: s.who.Method,
		traceID: s.who.TraceID, requestID: s.who.RequestID, from: s.start, to: to, before: t.to,
	}
}

// lastTenant returns who had the label of a generation last and has ended.
func (s *slot) lastTenant(gen uint64) (t tenant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.past != nil {
		t = s.past[gen%labelsPerSlot]
	}
	return t
}

// table holds the requests in flight: slots, and those of them that are free.
//
// The free ones are a stack whose head carries a counter against the ABA
// problem: what was freed last is taken first, and its memory is warm. While
// the CPU profiler runs they are given back to a queue instead, so that a label
// comes round again as late as can be: the samples of a window have no time,
// and only a label that one request had in it tells whose they are.
type table struct {
	slots     []slot
	free      atomic.Uint64 // counter<<32 | slot number + 1
	high      atomic.Uint32 // slots ever used: those below this number
	overflows atomic.Int64

	mu    sync.Mutex
	queue []uint32 // a ring of slot numbers + 1, made at its first use
	first int
	count atomic.Int32 // in the queue; written under mu
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

// take returns a free slot, or nil.
func (t *table) take() *slot {
	for {
		head := t.free.Load()
		if uint32(head) == 0 {
			return t.takeQueued()
		}
		s := &t.slots[uint32(head)-1]
		if t.free.CompareAndSwap(head, (head>>32+1)<<32|uint64(s.next.Load())) {
			if s.number >= t.high.Load() {
				t.raise(s.number + 1)
			}
			return s
		}
	}
}

func (t *table) raise(to uint32) {
	for high := t.high.Load(); to > high && !t.high.CompareAndSwap(high, to); high = t.high.Load() {
	}
}

func (t *table) takeQueued() *slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.count.Load()
	if n == 0 {
		t.overflows.Add(1)
		return nil
	}
	s := &t.slots[t.queue[t.first]-1]
	t.first = (t.first + 1) % len(t.queue)
	t.count.Store(n - 1)
	return s
}

// give takes a slot back; late puts it at the end of the queue.
func (t *table) give(s *slot, late bool) {
	s.who = who{} // keeps no text alive
	if s.rec.Load() != nil {
		s.rec.Store(nil)
	}
	if late {
		t.giveQueued(s)
		return
	}
	for {
		head := t.free.Load()
		s.next.Store(uint32(head))
		if t.free.CompareAndSwap(head, (head>>32+1)<<32|uint64(s.number+1)) {
			return
		}
	}
}

func (t *table) giveQueued(s *slot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.queue == nil {
		t.queue = make([]uint32, len(t.slots))
	}
	n := t.count.Load()
	t.queue[(t.first+int(n))%len(t.queue)] = s.number + 1
	t.count.Store(n + 1)
}

// bySlot returns the slot that a label names and which of its labels it is.
func (t *table) bySlot(label string) (s *slot, turn uint64) {
	number, rest, _ := strings.Cut(label, ".")
	n, err := strconv.Atoi(number)
	g, err2 := strconv.Atoi(rest)
	if err != nil || err2 != nil || n < 0 || n >= len(t.slots) || g < 0 || g >= labelsPerSlot {
		return nil, 0
	}
	return &t.slots[n], uint64(g)
}

// find returns the slot and its state that a label names, if that use of the
// slot still goes on.
func (t *table) find(label string) (s *slot, state uint64) {
	s, turn := t.bySlot(label)
	if s == nil {
		return nil, 0
	}
	state = s.state.Load()
	if phaseOf(state) != phaseFree && genOf(state)%labelsPerSlot == turn {
		return s, state
	}
	return nil, 0
}

// byKey returns the slot that a key names.
func (t *table) byKey(key uint64) *slot { return &t.slots[key>>1&(1<<16-1)] }
