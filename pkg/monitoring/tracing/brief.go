package tracing

import (
	"math"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// brief is what a list asks of a finished trace. Those of all finished traces
// lie side by side, so that a list is one pass over memory without a lock or
// a span: BenchmarkFind over 10,000 traces of a service took 17.6 ms of
// processor time with a visit to each record, and takes 0.14 ms.
type brief struct {
	rec           *record
	start, end    int64
	services      uint64 // bits by Store.serviceBit
	spans, errors uint32
	status        outcome
	known         bool // whether status is: without a root it takes a look at all spans
	profiled      bool
}

// maxServiceBits is how many services have a bit of their own, the last is
// shared by all others.
const maxServiceBits = 63

// serviceBit returns the bit of a service in briefs. The caller holds mu.
func (s *Store) serviceBit(name string) uint64 {
	n, found := s.services[name]
	if !found {
		if n = len(s.services); n >= maxServiceBits {
			return 1 << maxServiceBits
		}
		s.services[strings.Clone(name)] = n
	}
	return 1 << n
}

// note writes the brief of a finished trace. The caller holds both locks.
func (s *Store) note(rec *record) {
	if rec.slot == 0 {
		s.briefs = append(s.briefs, brief{})
		rec.slot = len(s.briefs)
	}
	b := brief{
		rec: rec, start: rec.start, end: rec.end, profiled: len(rec.profiles) > 0,
		spans: uint32(rec.spans.n), errors: uint32(rec.errors),
	}
	if rec.root != nil {
		b.status, b.known = verdict(rec.root.outcome, rec.worst), true
	}
	for i := range rec.resources {
		b.services |= s.serviceBit(rec.resources[i].service)
	}
	s.briefs[rec.slot-1] = b
}

// forget takes the brief of rec away, if it has one. The caller holds mu.
func (s *Store) forget(rec *record) {
	if rec.slot == 0 {
		return
	}
	last := len(s.briefs) - 1
	moved := s.briefs[last]
	s.briefs[rec.slot-1] = moved
	moved.rec.slot = rec.slot
	rec.slot = 0
	s.briefs[last] = brief{}
	s.briefs = s.briefs[:last]
}

// matcher holds what a query compares with.
type matcher struct {
	store *Store
	q     *Query
	text  string // lower case
	now   time.Time
	span  otlp.Span

	since, until int64
	shortest     int64
	longest      int64
	here         map[TraceID]bool // the active traces: what is kept of them is no finished one
	service      uint64           // its bit; 0 if no finished trace has the service
	resources    map[unique.Handle[string]][]otlp.KeyValue
}

func newMatcher(s *Store, q *Query) *matcher {
	m := &matcher{
		store: s, q: q, text: strings.ToLower(q.Text), now: time.Now(), since: math.MinInt64, until: math.MaxInt64,
		shortest: int64(q.MinDuration), longest: math.MaxInt64, resources: map[unique.Handle[string]][]otlp.KeyValue{},
	}
	if !q.Since.IsZero() {
		m.since = q.Since.UnixNano()
	}
	if !q.Until.IsZero() {
		m.until = q.Until.UnixNano()
	}
	if q.MaxDuration != 0 {
		m.longest = int64(q.MaxDuration)
	}
	return m
}

// looksInside tells whether the query asks what only the spans can tell.
func (m *matcher) looksInside() bool {
	return m.q.Operation != "" || len(m.q.Tags) > 0 || m.text != ""
}

// finished calls f for each finished trace whose brief fits, roughly the
// newest first, so that those after them have no place among the newest and
// are not sorted. The caller holds the store's mu.
func (m *matcher) finished(f func(hit)) {
	s := m.store
	if m.q.Service != "" {
		if _, found := s.services[m.q.Service]; !found && len(s.services) < maxServiceBits {
			return // nor does it get a bit by being asked for
		}
		m.service = s.serviceBit(m.q.Service)
	}
	for i := len(s.briefs) - 1; i >= 0; i-- {
		if b := &s.briefs[i]; m.fits(b) && !m.here[b.rec.id] {
			f(hit{rec: b.rec, start: b.start, key: m.key(b.start, max(b.end-b.start, 0), int64(b.errors), int64(b.spans))})
		}
	}
}

func (m *matcher) fits(b *brief) bool {
	d := max(b.end-b.start, 0)
	if b.spans == 0 || b.services&m.service != m.service || d < m.shortest || d > m.longest ||
		b.start < m.since || b.start > m.until || m.q.HasProfile && !b.profiled {
		return false
	}
	if m.q.Status != "" {
		if !b.known {
			b.status, b.known = m.store.verdict(b.rec), true
		}
		if b.status.status() != m.q.Status {
			return false
		}
	}
	return m.service != 1<<maxServiceBits || b.rec.hasService(m.q.Service)
}

// verdict is how a finished trace without a root ended.
func (s *Store) verdict(rec *record) outcome {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	status := s.summarize(rec).status
	return outcome(max(slices.Index(outcomes[:], status), 0))
}

func (r *record) hasService(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.resources, func(res resource) bool { return res.service == name })
}

func (m *matcher) key(start, duration, errors, spans int64) int64 {
	switch m.q.Sort {
	case Slowest:
		return duration
	case Errors:
		return errors
	case Spans:
		return spans
	default:
		return start
	}
}

// verdict is how a trace ended whose root and worst span ended so: as its
// root did, and if that is well as the worst did.
func verdict(root, worst outcome) outcome {
	if root <= ok && worst != unset {
		return worst
	}
	return root
}

// top keeps the first hits of an order among many, behind a cursor if there
// is one.
type top struct {
	limit  int
	after  *hit // nil for the first page
	total  int  // hits seen
	behind int  // of these behind after
	hits   []hit
	cut    bool // the first limit of hits are in order, and others behind them are gone
}

func (t *top) add(h hit) {
	t.total++
	if t.after != nil && compareHits(h, *t.after) <= 0 {
		return
	}
	t.behind++
	if t.cut && compareHits(h, t.hits[t.limit-1]) > 0 {
		return
	}
	if t.hits = append(t.hits, h); len(t.hits) == 2*t.limit {
		t.sort()
	}
}

// sort brings the hits in order and leaves limit of them at most.
func (t *top) sort() []hit {
	slices.SortFunc(t.hits, compareHits)
	if len(t.hits) >= t.limit {
		t.hits, t.cut = t.hits[:t.limit], true
	}
	return t.hits
}
