package tracing

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// When a trace counts as finished, though spans of it may still come from
// elsewhere: no span of it runs here, and nothing has arrived for QuietTime, or
// for QuietIncomplete while its root or a parent is missing.
const (
	QuietTime       = time.Second
	QuietIncomplete = 10 * time.Second
)

const (
	pollEvery = 250 * time.Millisecond
	beatEvery = 10 * time.Second
	maxBatch  = 1000 // traces of one batch
	maxTold   = 4096 // ids that a subscription remembers
)

// Batch is what has finished since the batch before.
type Batch struct {
	Traces []FinishedTrace // the one that finished first is first
	Lost   int             // traces that finished before these and fit, but were too many for one batch
	Cursor string          // of Query.Cursor, for a subscription that goes on after this batch
}

// FinishedTrace is a trace of a [Batch].
type FinishedTrace struct {
	Trace  api.Trace
	Cursor string // of Query.Cursor, for a subscription that goes on after this trace
}

// Subscribe tells the traces that finish from now on, or after q.Cursor, and fit
// q; its state, order and limit do not count. A batch comes when there are some,
// and an empty one each ten seconds otherwise, so that whoever writes them on
// knows that he still can. A trace is told once, also if more spans of it come
// later. The sequence ends when ctx is done. Nothing is kept for a slow reader
// beside the store itself: he misses what is evicted meanwhile, and of more than
// a thousand between two batches the first ones, which Batch.Lost counts. The error wraps [ErrCursor].
func (s *Store) Subscribe(ctx context.Context, q Query) (iter.Seq[Batch], error) {
	sub := subscription{store: s, q: q, at: mark{due: time.Now().UnixNano(), id: lastID}, told: map[TraceID]struct{}{}}
	if q.Cursor != "" {
		var err error
		if sub.at, err = parseMark(q.Cursor); err != nil {
			return nil, err
		}
	}
	return func(yield func(Batch) bool) { sub.run(ctx, yield) }, nil
}

// mark is a place in the order in which traces finish.
type mark struct {
	due int64 // when the trace was finished
	id  TraceID
}

func (m mark) String() string { return fmt.Sprintf("%d-%x", m.due, m.id[:]) }

func (m mark) compare(o mark) int {
	return cmp.Or(cmp.Compare(m.due, o.due), bytes.Compare(m.id[:], o.id[:]))
}

func parseMark(s string) (mark, error) {
	due, id, _ := strings.Cut(s, "-")
	var m mark
	var err error
	b, bad := hex.DecodeString(id)
	if m.due, err = strconv.ParseInt(due, 10, 64); err != nil || bad != nil || len(b) != len(m.id) {
		return mark{}, fmt.Errorf("%w %q: want the id of an event of this stream", ErrCursor, clip(s, 128))
	}
	copy(m.id[:], b)
	return m, nil
}

type subscription struct {
	store *Store
	q     Query
	at    mark // the last that was told, or looked at
	told  map[TraceID]struct{}
	order []TraceID // of told, a ring once it is full
	next  int       // in order
}

func (sub *subscription) run(ctx context.Context, yield func(Batch) bool) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		b := sub.poll(time.Now())
		if len(b.Traces) == 0 && b.Lost == 0 && time.Since(last) < beatEvery {
			continue
		}
		if last = time.Now(); !yield(b) {
			return
		}
	}
}

// poll returns what has finished until now.
func (sub *subscription) poll(now time.Time) Batch {
	var b Batch
	m := newMatcher(sub.store, &sub.q)
	type fit struct {
		view *view
		mark
	}
	var fitting []fit
	for _, at := range sub.finished(m, now) {
		if _, again := sub.told[at.id]; again {
			continue
		}
		v, err := sub.store.view(at.id)
		if err != nil || len(v.running) > 0 {
			continue // gone, or active again
		}
		if _, fits := m.match(v); fits { // else it may when more of it has come
			sub.remember(at.id)
			fitting = append(fitting, fit{v, at})
		}
	}
	if n := len(fitting) - maxBatch; n > 0 {
		b.Lost, fitting = n, fitting[n:]
	}
	budget := newBudget(sub.q.MaxJSON)
	for _, f := range fitting {
		b.Traces = append(b.Traces, FinishedTrace{sub.store.trace(f.view, sub.q.Spans, &budget), f.String()})
	}
	sub.at = mark{due: max(sub.at.due, now.UnixNano()), id: lastID}
	b.Cursor = sub.at.String()
	return b
}

// lastID stands behind all others.
var lastID = TraceID(bytes.Repeat([]byte{0xff}, 16))

// finished returns the traces that finished after sub.at and until now and whose
// index fits, in that order.
func (sub *subscription) finished(m *matcher, now time.Time) (out []mark) {
	s := sub.store
	since := sub.at.due - int64(QuietIncomplete) - int64(time.Second)
	s.mu.RLock()
	if m.named() {
		s.traces.places(func(p uint32) bool {
			if s.traces.arrived[p] < since || !m.fits(p) {
				return true
			}
			at := mark{s.traces.quietFrom(p), s.traces.id[p]}
			if at.due <= now.UnixNano() && at.compare(sub.at) > 0 && s.table.find(at.id) == nil {
				out = append(out, at)
			}
			return true
		})
	}
	s.mu.RUnlock()
	slices.SortFunc(out, mark.compare)
	return out
}

// quietFrom returns when a trace that nothing more comes for is finished.
func (x *index) quietFrom(p uint32) int64 {
	if x.flags[p]&hasRoot == 0 || x.orphans[p] > 0 || x.lost[p] > 0 {
		return x.arrived[p] + int64(QuietIncomplete)
	}
	return x.arrived[p] + int64(QuietTime)
}

// remember notes that a trace is told.
func (sub *subscription) remember(id TraceID) {
	sub.told[id] = struct{}{}
	if len(sub.order) < maxTold {
		sub.order = append(sub.order, id)
		return
	}
	delete(sub.told, sub.order[sub.next])
	sub.order[sub.next] = id
	sub.next = (sub.next + 1) % maxTold
}
