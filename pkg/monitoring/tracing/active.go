package tracing

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// active is a trace of this process with running spans. It comes from a pool
// and goes back when it has landed, with all its memory; what users hold, a
// [Span] or a context, knows its slot by a generation and finds nothing in the
// next trace.
//
// Its mu is above the table's and the store's: who holds one of those takes no
// active's.
type active struct {
	store *Store

	mu      sync.Mutex
	local             // the spans that ended since it landed last, and what was said of the trace
	clock   time.Time // when it began; never changed then
	base    int64     // clock in Unix nanoseconds
	open    int       // running spans; 0 only while nobody else can find it
	landed  int       // spans the store has already
	used    int64     // bytes
	charged int64     // of these the store has counted
	grown   bool      // charged has, since mu was taken
	shared  bool      // a reader aliases buf and spans: they are not used again
	slots   []*slot   // in use or on the free list
	free    int32     // the first free slot, from 1; 0 for none
	handles []span    // for the next spans

	// Guarded by its shard.
	chain      *active
	prev, next *active // in the order of their start
}

const (
	activeBytes = 1024    // an active trace without its spans
	slotBytes   = 384     // a running span without its buffer
	endedBytes  = 64      // an ended span without its message
	chargeStep  = 4 << 10 // the store counts an active trace's bytes in steps
	landAt      = 64 << 10
)

// activeRef is an active trace that has been found; it may have ended since.
type activeRef struct {
	a  *active
	id TraceID
}

// lock takes the trace's mu if it is active still.
func (r activeRef) lock() bool {
	if r.a == nil {
		return false
	}
	r.a.mu.Lock()
	if r.a.trace == r.id && r.a.open > 0 {
		return true
	}
	r.a.mu.Unlock()
	return false
}

// eachActive calls f for the active traces until it returns false. It holds no
// lock meanwhile.
func (s *Store) eachActive(f func(activeRef) bool) {
	var refs []activeRef
	for i := range s.table.shards {
		sh := &s.table.shards[i]
		refs = refs[:0]
		sh.mu.Lock()
		for a := sh.first; a != nil; a = a.next {
			refs = append(refs, activeRef{a, a.trace})
		}
		sh.mu.Unlock()
		for _, r := range refs {
			if !f(r) {
				return
			}
		}
	}
}

// activeTrace returns the active trace of this id; its view is not ok if there
// is none.
func (s *Store) activeTrace(id TraceID) activeRef { return activeRef{s.table.find(id), id} }

// activeView is an active trace at one moment.
type activeView struct {
	local   // the ended spans that the store does not have; not to be changed
	start   int64
	running []runningSpan
}

// runningSpan is a span without an end.
type runningSpan struct {
	otlp.Span
	outcome outcome
	scope   string
}

// view copies what runs and aliases what has ended, which is not changed. It
// says whether the trace was active still. The caller holds no lock.
func (r activeRef) view() (v activeView, ok bool) {
	if !r.lock() {
		return activeView{}, false
	}
	defer r.a.mu.Unlock()
	a := r.a
	a.shared = true
	v = activeView{local: a.local, start: math.MaxInt64, running: make([]runningSpan, 0, a.open)}
	v.metadata, v.scopes = slices.Clone(a.metadata), slices.Clone(a.scopes)
	for _, sl := range a.slots {
		if sl.running() {
			v.running = append(v.running, runningSpan{sl.decode(), sl.outcome, a.scopes[sl.scope]})
			v.start = min(v.start, nanos(sl.head.Start))
		}
	}
	for i := range v.spans {
		v.start = min(v.start, v.spans[i].start)
	}
	return v, true
}

// extent returns how many spans of the trace ended, without those the store
// has, and how many run.
func (r activeRef) extent() (ended, running int) {
	if !r.lock() {
		return 0, 0
	}
	defer r.a.mu.Unlock()
	return len(r.a.spans), r.a.open
}

// ended returns the spans that ended and have not landed, without what was said
// of the trace; they are not to be changed.
func (r activeRef) ended() local {
	if !r.lock() {
		return local{}
	}
	defer r.a.mu.Unlock()
	r.a.shared = true
	return local{trace: r.a.trace, spans: r.a.spans, buf: r.a.buf}
}

// earliest returns the first start of those spans, 0 if there is none.
func (r activeRef) earliest() (start int64) {
	if !r.lock() {
		return 0
	}
	defer r.a.mu.Unlock()
	for i := range r.a.spans {
		if at := r.a.spans[i].start; at > 0 && (start == 0 || at < start) {
			start = at
		}
	}
	return start
}

// link notes a profile if the trace is active still; the last 16 stay.
func (r activeRef) link(profileID string) bool {
	if !r.lock() {
		return false
	}
	defer r.a.mu.Unlock()
	l := &r.a.local
	l.profiles = append(slices.Clone(l.profiles[max(0, len(l.profiles)-maxProfiles+1):]), profileID)
	return true
}

// now returns the time in Unix nanoseconds by the clock that the trace started:
// one reading of the monotonic clock where time.Now takes two of clocks, and a
// trace's times agree when somebody sets the system's.
func (a *active) now() int64 { return a.base + int64(time.Since(a.clock)) }

// enter returns the active trace that a span is of with its mu held, begun at
// now if there was none. A fresh id is in no other's hands, and that of a span
// whose parent is elsewhere hardly ever: for it nothing is looked up before it is
// put in.
func (s *Store) enter(from *origin, fresh bool, now time.Time) *active {
	for known := from.local != nil; ; known = true {
		if known {
			if r := s.activeTrace(from.id); r.lock() {
				return r.a
			}
		}
		a := s.pool.Get().(*active)
		a.mu.Lock()
		a.trace, a.clock, a.base = from.id, now, now.UnixNano()
		if s.table.insert(a, fresh) {
			s.running.Add(1)
			a.use(activeBytes)
			return a
		}
		a.trace = TraceID{}
		a.mu.Unlock()
		s.pool.Put(a)
	}
}

// use counts n more bytes. The caller holds mu.
func (a *active) use(n int64) {
	a.used += n
	if a.used > a.charged {
		more := (a.used - a.charged + chargeStep - 1) / chargeStep * chargeStep
		a.charged += more
		a.grown = true
		a.store.bytes.Add(more)
	}
}

// unlock lets go of mu, and sees to it that the store stays within its bytes if
// the trace has grown meanwhile.
func (a *active) unlock() {
	grown := a.grown
	a.grown = false
	a.mu.Unlock()
	if grown {
		a.store.shrink()
	}
}

// take returns a free slot. The caller holds mu.
func (a *active) take() *slot {
	if a.free == 0 {
		sl := &slot{a: a, at: int32(len(a.slots) + 1)}
		a.slots = append(a.slots, sl)
		return sl
	}
	sl := a.slots[a.free-1]
	a.free, sl.next = sl.next, 0
	return sl
}

// handle returns a zero span. Those of one trace come four to an allocation
// after the first, so that a request's five take two; what is kept longer by it
// is of the same request.
func (a *active) handle() *span {
	if len(a.handles) == 0 {
		if len(a.slots) == 0 || a.open == 0 {
			return new(span)
		}
		a.handles = make([]span, 4)
	}
	sp := &a.handles[0]
	a.handles = a.handles[1:]
	return sp
}

// leave lets go of a, whose mu is held, once no span of it runs: it lands, and
// the memory serves the next. The store may be too large then.
func (a *active) leave() {
	s := a.store
	a.land()
	s.table.remove(a)
	s.running.Add(-1)
	s.bytes.Add(-a.charged)
	a.reset()
	a.grown = false
	a.mu.Unlock()
	s.pool.Put(a)
}

// land hands the ended spans to the store. The caller holds mu.
func (a *active) land() {
	n := len(a.spans)
	a.store.received.Add(int64(n))
	if n > 0 {
		a.store.land(&a.local)
	}
	a.landed += n
	a.grown = true
	a.used -= int64(len(a.buf) + n*endedBytes)
	if a.shared {
		a.buf, a.spans, a.shared = nil, nil, false
		return
	}
	a.buf, a.spans = a.buf[:0], a.spans[:0]
}

// reset empties a that has landed. What has become large is not kept.
func (a *active) reset() {
	l := &a.local
	clear(l.scopes)
	*l = local{metadata: l.metadata[:0], scopes: l.scopes[:0], buf: l.buf, spans: l.spans}
	if cap(l.buf) > 2*landAt {
		l.buf = nil
	}
	if len(a.slots) > 32 || cap(l.metadata) > 4<<10 || len(l.scopes) > 64 {
		a.slots, a.free, l.metadata, l.scopes = nil, 0, nil, nil
	}
	a.clock, a.base, a.landed, a.used, a.charged, a.handles = time.Time{}, 0, 0, 0, 0, nil
}

// abandon ends what runs of the trace without keeping it; what had ended stays.
func (r activeRef) abandon(why reason) {
	if !r.lock() {
		return
	}
	a := r.a
	for _, sl := range a.slots {
		if sl.running() {
			a.store.dropped[why].Add(1)
			sl.finish()
		}
	}
	a.leave()
}

// limitActive gives up the oldest traces with running spans beyond MaxActive:
// their spans that ended stay as a finished trace, the others are dropped.
func (s *Store) limitActive() {
	for s.running.Load() > int64(s.opts.MaxActive) {
		r, ok := s.table.oldest()
		if !ok {
			return
		}
		r.abandon(leaked)
	}
}

func (s *Store) initActive() {
	s.table.seed = rand.Uint64()
	s.pool.New = func() any { return &active{store: s} }
	s.silent = slot{a: &active{store: s}}
}

// alias returns b as a string without copying, for as long as b is not changed:
// what has been written of a buffer stays.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
