package tracing

import (
	"math"
	"time"
)

// matcher holds what a query compares with.
type matcher struct {
	store *Store
	q     *Query
	now   time.Time
	here  map[TraceID]bool // the active ones, which the store may have parts of
	door  door
	wants wants
	met   map[string]uint64 // of wants, by resource
	spans []lookup          // used again for each chunk

	since, until int64
	shortest     int64
	longest      int64
	service      uint64            // its bit; 0 for any
	shared       bool              // other services have the same bit
	statuses     [aborted + 1]bool // outcomes that stand for the status
}

func newMatcher(s *Store, q *Query) *matcher {
	m := &matcher{
		store: s, q: q, now: time.Now(), since: math.MinInt64, until: math.MaxInt64, door: door{store: s},
		shortest: int64(q.MinDuration), longest: math.MaxInt64, wants: newWants(q), met: map[string]uint64{},
	}
	for o := range m.statuses {
		m.statuses[o] = outcome(o).status() == q.Status
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

// finished gives found the traces of the store that match. It says whether
// some were not looked into.
func (m *matcher) finished(found *top) (truncated bool) {
	s := m.store
	s.mu.RLock()
	var candidates []candidate
	if m.named() {
		candidates = m.scan(found)
	}
	s.mu.RUnlock()
	if len(candidates) == 0 {
		return false
	}
	return m.search(candidates, found)
}

// scan is one pass over the columns of the index, from the newest place to the
// oldest, so that most traces are passed by a look at their service and their
// key. It gives found the traces that fit, or returns them if they are to be
// looked into. The caller holds mu.
func (m *matcher) scan(found *top) (candidates []candidate) {
	x := &m.store.traces
	skip, only := m.marks()
	service, status, keys := m.service, m.q.Status != "", x.start
	more := m.asksMore() || skip != nil || only != nil
	bar, passed := int64(math.MinInt64), 0
	for i := len(x.services) - 1; i >= 0; i-- {
		if x.services[i]&service != service || x.spans[i] == 0 || status && !m.statuses[x.status[i]] {
			continue
		}
		p := uint32(i)
		if more && (skip.has(p) || only != nil && !only.has(p) || !m.fits(p)) {
			continue
		}
		key := keys[i]
		if m.q.Sort != Recent {
			key = m.keyOf(p)
		}
		if key < bar {
			passed++
			continue
		}
		h := hit{id: x.id[p], start: x.start[p], key: key}
		if !m.wants.none() {
			candidates = append(candidates, candidate{hit: h, place: p, open: m.wants.all})
			continue
		}
		found.add(h)
		bar = found.bar()
	}
	found.pass(passed)
	return candidates
}

// asksMore tells whether the query asks for more of the index than service and
// status.
func (m *matcher) asksMore() bool {
	return m.shortest > 0 || m.longest < math.MaxInt64 || m.since > math.MinInt64 || m.until < math.MaxInt64 || m.q.HasProfile
}

// named finds the service's bit. It says no if no trace of the store has the
// service. The caller holds mu.
func (m *matcher) named() bool {
	m.service, m.shared = 0, false
	if m.q.Service == "" {
		return true
	}
	s := m.store
	if n, found := s.services[m.q.Service]; found {
		m.service = 1 << n
		return true
	}
	m.service, m.shared = 1<<maxServiceBits, true
	return len(s.services) >= maxServiceBits
}

// fits tells whether what the index knows of a trace fits. The caller holds mu.
func (m *matcher) fits(p uint32) bool {
	x := &m.store.traces
	if x.services[p]&m.service != m.service {
		return false
	}
	if m.q.Status != "" && !m.statuses[x.status[p]] {
		return false
	}
	if start := x.start[p]; start < m.since || start > m.until {
		return false
	}
	if m.shortest > 0 || m.longest < math.MaxInt64 {
		if d := x.duration(p); d < m.shortest || d > m.longest {
			return false
		}
	}
	return !m.q.HasProfile || x.flags[p]&profiled != 0
}

func (m *matcher) keyOf(p uint32) int64 {
	x := &m.store.traces
	switch m.q.Sort {
	case Slowest:
		return x.duration(p)
	case Errors:
		return int64(x.errors[p])
	case Spans:
		return int64(x.spans[p])
	default:
		return x.start[p]
	}
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

// places is a set of places in the index.
type places []uint64

func (b places) has(p uint32) bool { return int(p>>6) < len(b) && b[p>>6]&(1<<(p&63)) != 0 }

func (b places) add(p uint32) { b[p>>6] |= 1 << (p & 63) }

// marks returns the traces to leave out, which are active, and those that have
// a span of the operation and the service, nil if nobody asked. The caller
// holds mu.
func (m *matcher) marks() (skip, only places) {
	x := &m.store.traces
	n := len(x.spans)/64 + 1
	if len(m.here) > 0 {
		skip = make(places, n)
		for id := range m.here {
			if p, found := x.find(&id); found {
				skip.add(p)
			}
		}
	}
	if m.q.Operation == "" && !m.shared {
		return skip, nil
	}
	only = make(places, n)
	for i := range m.store.shelves {
		for _, c := range m.store.shelves[i].chunks {
			m.mark(c, only)
		}
	}
	return skip, only
}

// mark adds the traces that have a span in c of the operation and the service.
func (m *matcher) mark(c *chunk, only places) {
	name, found := c.find(m.q.Operation)
	if m.q.Operation != "" && !found {
		return
	}
	service, found := c.find(m.q.Service)
	if m.q.Service != "" && !found {
		return
	}
	for i, p := range c.trace {
		if p != noTrace && (m.q.Operation == "" || c.name[i] == name) && (m.q.Service == "" || c.groups[c.group[i]].service == service) {
			only.add(p)
		}
	}
}

// match looks at a view.
func (m *matcher) match(v *view) (hit, bool) {
	if len(v.spans)+len(v.running) == 0 {
		return hit{}, false
	}
	sum := v.summary(m.store)
	d := int64(v.duration(m.now))
	if m.q.Status != "" && m.q.Status != sum.status || d < m.shortest || d > m.longest || v.start < m.since || v.start > m.until ||
		m.q.HasProfile && len(v.note.profiles) == 0 || !m.operation(v) || !m.deep(v, sum.resource) {
		return hit{}, false
	}
	return hit{id: v.id, start: v.start, key: m.key(v.start, d, int64(sum.errors), int64(sum.spans)), view: v}, true
}

// operation checks the names of services and operations.
func (m *matcher) operation(v *view) bool {
	if m.q.Service == "" && m.q.Operation == "" {
		return true
	}
	found := false
	v.members(m.store.resource, func(s *member) {
		found = found || (m.q.Service == "" || s.service == m.q.Service) && (m.q.Operation == "" || s.name == m.q.Operation)
	})
	return found
}

// deep looks into the spans of a view until each wish has been met.
func (m *matcher) deep(v *view, root []byte) bool {
	open := m.wants.all
	if open == 0 {
		return true
	}
	open = m.wants.root(m.store, m.wants.noted(m.store, open, &v.note), root)
	var u unpacker
	defer u.close()
	for i := range v.spans {
		sp := &v.spans[i]
		if open &^= m.metBy(sp.from.resource); open == 0 {
			return true
		}
		if message := v.bytes(sp, &u); m.wants.maybe(open, message) {
			if read, ok := m.door.open(message); ok {
				open = m.wants.span(open, read)
			}
		}
	}
	if len(v.running) > 0 {
		open &^= m.metBy(m.store.resource.raw)
	}
	for i := range v.running {
		read := v.running[i].Span
		m.door.restrict(&read)
		open = m.wants.span(open, &read)
	}
	return open == 0
}
