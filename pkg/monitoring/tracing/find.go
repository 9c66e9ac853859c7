package tracing

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// ErrCursor is in the chain of the error about a cursor that this package did
// not make for the same sort.
var ErrCursor = errors.New("cursor")

// State picks traces by whether a span of theirs still runs.
type State int

// The states of a Query.
const (
	All State = iota
	Active
	Finished
)

// Sort is an order of traces. Each ends with the id, so it is total.
type Sort int

// The orders of a Query, each with the largest first.
const (
	Recent  Sort = iota // by start
	Slowest             // by duration, that of active traces until now
	Errors              // by failed spans, then by start
	Spans               // by spans, then by start
)

// Query says which traces to find. Each field but the zero one narrows it.
type Query struct {
	State        State
	Service      string     // of any span
	Operation    string     // of any span; with Service, of the same span
	Status       api.Status // of the trace
	MinDuration  time.Duration
	MaxDuration  time.Duration // 0 means any
	Since, Until time.Time     // of the trace's start, both included
	Tags         []Tag         // each fits some span, resource or the metadata
	Text         string        // in an operation, a tag's value or a log message, whatever the case
	HasProfile   bool

	Sort   Sort
	Limit  int    // traces on the page; 0 means 10
	Cursor string // Page.Next of the page before
	Spans  bool   // with the spans

	MaxJSON   int   // about the bytes of JSON that the spans may have in all; 0 means any
	MaxSearch int64 // bytes of spans that may be read for Tags and Text; 0 means 1 GiB
}

// Page is an answer to a [Query].
type Page struct {
	Traces    []api.Trace
	Total     int    // matches on all pages
	Active    int    // active traces in the store, matching or not
	Next      string // cursor of the next page; "" on the last
	Truncated bool   // spans were left out to bound the answer, or traces were not looked into to bound the work
}

// hit is a match and where it stands in the order.
type hit struct {
	id    TraceID
	key   int64
	start int64
	view  *view // of an active trace, nil for others
}

// Find returns the traces that match, the largest by q.Sort first. An active
// trace whose place changes meanwhile may be missing on a later page.
//
// What the index tells is looked at for all traces; tags and text for those
// that fit so far, chunk by chunk, the newest first, until MaxSearch bytes of
// spans have been read.
func (s *Store) Find(q Query) (Page, error) {
	after, err := parseCursor(q.Cursor, q.Sort)
	if err != nil {
		return Page{}, err
	}
	m := newMatcher(s, &q)
	found := top{limit: max(cmp.Or(q.Limit, 10), 1), after: after}
	page := Page{Traces: []api.Trace{}}
	page.Active, page.Truncated = m.find(&found)
	hits := found.sort()
	page.Total = found.total
	if found.behind > len(hits) {
		page.Next = cursor(hits[len(hits)-1], q.Sort)
	}
	budget := newBudget(q.MaxJSON)
	for _, v := range s.views(hits) {
		t := s.trace(v, q.Spans, &budget)
		page.Truncated = page.Truncated || t.Truncated
		page.Traces = append(page.Traces, t)
	}
	return page, nil
}

// find gives found the traces that match, and returns how many are active.
func (m *matcher) find(found *top) (active int, truncated bool) {
	running := m.active()
	if m.q.State != Active {
		truncated = m.finished(found)
	}
	for _, v := range running {
		if h, ok := m.match(v); ok {
			found.add(h)
		}
	}
	return len(m.here), truncated
}

// active returns the active traces, none if only finished ones are asked for.
func (m *matcher) active() (running []*view) {
	m.here = map[TraceID]bool{}
	m.store.eachActive(func(r activeRef) bool {
		if m.q.State == Finished {
			m.here[r.id] = true
		} else if v, found := r.view(); found {
			m.here[r.id] = true
			running = append(running, m.store.shown(&v))
		}
		return true
	})
	return running
}

// views returns the traces of hits, without those that have gone meanwhile.
func (s *Store) views(hits []hit) (out []*view) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range hits {
		v := hits[i].view
		if v == nil {
			p, found := s.traces.find(&hits[i].id)
			if !found {
				continue
			}
			v = &view{id: hits[i].id}
			v.kept(s, p)
		}
		out = append(out, v)
	}
	return out
}

func compareHits(a, b hit) int {
	switch {
	case a.key != b.key:
		return cmp.Compare(b.key, a.key)
	case a.start != b.start:
		return cmp.Compare(b.start, a.start)
	default:
		return slices.Compare(a.id[:], b.id[:])
	}
}

const cursorFormat = "%d %d %d %x"

func cursor(h hit, sort Sort) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, cursorFormat, sort, h.key, h.start, h.id[:]))
}

// parseCursor returns nil for no cursor.
func parseCursor(c string, sort Sort) (*hit, error) {
	if c == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(c)
	var of Sort
	var id []byte
	h := &hit{}
	if err == nil {
		_, err = fmt.Sscanf(string(b), cursorFormat, &of, &h.key, &h.start, &id)
	}
	if err != nil || of != sort || len(id) != len(h.id) {
		return nil, fmt.Errorf("%w %q: want next of a page in the same order", ErrCursor, clip(c, 128))
	}
	copy(h.id[:], id)
	return h, nil
}
