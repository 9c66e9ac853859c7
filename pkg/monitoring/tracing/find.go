package tracing

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/pulsectl/pulsectl/internal/otlp"
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

	MaxJSON int // about the bytes of JSON that the spans may have in all; 0 means any
}

// Page is an answer to a [Query].
type Page struct {
	Traces    []api.Trace
	Total     int    // matches on all pages
	Active    int    // active traces in the store, matching or not
	Next      string // cursor of the next page; "" on the last
	Truncated bool   // spans were left out to bound the answer
}

// hit is a match and where it stands in the order.
type hit struct {
	rec   *record
	key   int64
	start int64
}

// Find returns the traces that match, the largest by q.Sort first. An active
// trace whose place changes meanwhile may be missing on a later page.
func (s *Store) Find(q Query) (Page, error) {
	after, err := parseCursor(q.Cursor, q.Sort)
	if err != nil {
		return Page{}, err
	}
	m := newMatcher(s, &q)
	found := top{limit: max(cmp.Or(q.Limit, 10), 1), after: after}
	page := Page{Traces: []api.Trace{}}
	page.Active = m.find(&found)
	hits := found.sort()
	page.Total = found.total
	if found.behind > len(hits) {
		page.Next = cursor(hits[len(hits)-1], q.Sort)
	}
	budget := newBudget(q.MaxJSON)
	for _, h := range hits {
		t := s.trace(h.rec, q.Spans, &budget)
		page.Truncated = page.Truncated || t.Truncated
		page.Traces = append(page.Traces, t)
	}
	return page, nil
}

// find gives found the traces that match, and returns how many are active.
// Those that the briefs leave in doubt it looks at when it has let go of mu.
func (m *matcher) find(found *top) (active int) {
	s := m.store
	var running []*record
	var doubtful []hit
	m.here = map[TraceID]bool{}
	s.eachActive(func(r activeRef) bool {
		if m.q.State == Finished {
			m.here[r.id] = true
		} else if v, found := r.view(); found {
			m.here[r.id] = true
			running = append(running, s.shown(&v))
		}
		return true
	})
	active = len(m.here)
	s.mu.Lock()
	switch {
	case m.q.State == Active:
	case m.looksInside():
		m.finished(func(h hit) { doubtful = append(doubtful, h) })
	default:
		m.finished(found.add)
	}
	s.mu.Unlock()
	for _, h := range doubtful {
		if m.inside(h.rec) {
			found.add(h)
		}
	}
	for _, rec := range running {
		if h, ok := m.match(rec); ok {
			found.add(h)
		}
	}
	return active
}

func compareHits(a, b hit) int {
	switch {
	case a.key != b.key:
		return cmp.Compare(b.key, a.key)
	case a.start != b.start:
		return cmp.Compare(b.start, a.start)
	default:
		return slices.Compare(a.rec.id[:], b.rec.id[:])
	}
}

const cursorFormat = "%d %d %d %x"

func cursor(h hit, sort Sort) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, cursorFormat, sort, h.key, h.start, h.rec.id[:]))
}

// parseCursor returns nil for no cursor.
func parseCursor(c string, sort Sort) (*hit, error) {
	if c == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(c)
	var of Sort
	var id []byte
	h := &hit{rec: &record{}}
	if err == nil {
		_, err = fmt.Sscanf(string(b), cursorFormat, &of, &h.key, &h.start, &id)
	}
	if err != nil || of != sort || len(id) != len(h.rec.id) {
		return nil, fmt.Errorf("%w %q: want next of a page in the same order", ErrCursor, clip(c, 128))
	}
	copy(h.rec.id[:], id)
	return h, nil
}

// match looks at a trace that may be running.
func (m *matcher) match(r *record) (hit, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spans.n+r.open == 0 {
		return hit{}, false
	}
	sum := m.store.summarize(r)
	d := int64(sum.duration(m.now))
	if m.q.Status != "" && m.q.Status != sum.status || d < m.shortest || d > m.longest || sum.start < m.since || sum.start > m.until ||
		m.q.HasProfile && len(r.profiles) == 0 || !m.operation(r) || !m.deep(r) {
		return hit{}, false
	}
	return hit{rec: r, start: sum.start, key: m.key(sum.start, d, int64(sum.errors), int64(sum.spans))}, true
}

// inside looks at the spans of a trace whose brief fits.
func (m *matcher) inside(r *record) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return m.operation(r) && m.deep(r)
}

// operation checks the names of services and operations.
func (m *matcher) operation(r *record) bool {
	if m.q.Service == "" && m.q.Operation == "" {
		return true
	}
	found := false
	r.members(m.store.resource, func(s *member) {
		found = found || (m.q.Service == "" || s.service == m.q.Service) && (m.q.Operation == "" || s.name == m.q.Operation)
	})
	return found
}

// deep decodes spans until each tag and the text have been seen.
func (m *matcher) deep(r *record) bool {
	if len(m.q.Tags) == 0 && m.text == "" {
		return true
	}
	open := make([]bool, len(m.q.Tags))
	for i := range open {
		open[i] = true
	}
	w := wanted{m: m, tags: open, n: len(open), text: m.text != ""}
	w.attrs(r.metadata, true)
	if w.text {
		w.attrs(m.store.summarize(r).attrs, true)
	}
	for i := range r.resources {
		w.attrs(m.resource(r.resources[i].raw), false)
	}
	if w.absent(r) {
		return false
	}
	for e := range r.spans.all {
		if !w.missing() {
			return true
		}
		if err := m.span.Decode(r.message(e)); err == nil {
			w.spanOf(m.span.Name)
		}
	}
	for i := range r.running {
		m.span = r.running[i].Span
		w.spanOf(m.span.Name)
		m.span = otlp.Span{} // what is decoded next must not overwrite it
	}
	return !w.missing()
}

// resource returns the attributes of a resource, decoded once for a query.
func (m *matcher) resource(raw unique.Handle[string]) []otlp.KeyValue {
	attrs, found := m.resources[raw]
	if !found {
		if res, err := otlp.DecodeResource([]byte(raw.Value())); err == nil {
			attrs = res.Attrs
		}
		m.resources[raw] = attrs
	}
	return attrs
}

// wanted is what no span has shown yet.
type wanted struct {
	m    *matcher
	tags []bool
	n    int
	text bool
}

func (w *wanted) missing() bool { return w.n > 0 || w.text }

// absent tells by the bytes alone that a tag is on no span of r: its key is
// nowhere. BenchmarkFind, no tag matches: 34 ms of processor time when each
// span was decoded for that, 4 ms now.
func (w *wanted) absent(r *record) bool {
	for t, open := range w.tags {
		key := []byte(w.m.q.Tags[t].key)
		if open && len(r.running) == 0 && !slices.ContainsFunc(r.blocks, func(b []byte) bool { return bytes.Contains(b, key) }) {
			return true
		}
	}
	return false
}

// spanOf looks at the decoded span.
func (w *wanted) spanOf(name string) {
	w.look(name)
	w.attrs(w.m.span.Attrs, true)
	for i := range w.m.span.Events {
		w.look(w.m.span.Events[i].Name)
	}
	w.look(w.m.span.StatusMessage)
}

func (w *wanted) attrs(attrs []otlp.KeyValue, text bool) {
	for i := range attrs {
		for t := range w.tags {
			if w.tags[t] && w.m.q.Tags[t].matches(&attrs[i]) {
				w.tags[t] = false
				w.n--
			}
		}
		if text && w.text && attrs[i].Value.Kind != otlp.KindEmpty {
			w.look(attrs[i].Value.Text())
		}
	}
}

func (w *wanted) look(s string) {
	if w.text && strings.Contains(strings.ToLower(s), w.m.text) {
		w.text = false
	}
}
