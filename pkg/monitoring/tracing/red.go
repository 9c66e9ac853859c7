package tracing

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// StatsQuery says which spans a statistic is of. The zero value is all that
// have ended.
type StatsQuery struct {
	Since     time.Time // of the span's start; zero means since the oldest
	Service   string
	Operation string
	Interval  time.Duration // of the series of each operation; 0 means none, at most MaxIntervals of them fit
}

// MaxIntervals is how many points a series has at most. An older span than that
// counts in the sums alone.
const MaxIntervals = 1000

// maxOperations bounds what made-up names can take; the spans of others are
// counted as one operation.
const maxOperations = 10_000

// otherOperations is the name of what is beyond maxOperations.
const otherOperations = "(others)"

// opKey names one operation.
type opKey struct{ service, operation string }

// opSum is what is added up of one operation, or of one interval of it.
type opSum struct {
	sketch  sketch
	errors  int64
	kinds   uint8 // a bit a kind
	failed  int64 // the end of the last failed span
	failure TraceID
	slowest TraceID
	series  map[int64]*opSum // by the start of the interval
}

func (o *opSum) add(id TraceID, r *row) {
	d := max(r.took, 0)
	if d >= o.sketch.max || o.sketch.n == 0 {
		o.slowest = id
	}
	o.sketch.add(d)
	o.kinds |= 1 << r.kind
	if r.outcome == failed || r.outcome == timedOut {
		o.errors++
		if end := r.start + r.took; end >= o.failed {
			o.failed, o.failure = end, id
		}
	}
}

// Operations returns the statistics of each operation that fits, by service
// and name.
func (s *Store) Operations(q StatsQuery) []api.OperationStats {
	now := time.Now()
	sums := map[opKey]*opSum{}
	s.eachEnded(&q, func(id TraceID, r *row, service, name string) {
		sum := operationOf(sums, service, name)
		sum.add(id, r)
		if q.Interval > 0 && now.UnixNano()-r.start < int64(q.Interval)*MaxIntervals {
			sum.interval(r.start-r.start%int64(q.Interval)).add(id, r)
		}
	})
	w := window(q.Since, s.oldest(), now)
	seconds := w.To.Sub(w.From.Time).Seconds()
	out := make([]api.OperationStats, 0, len(sums))
	for key, sum := range sums {
		out = append(out, sum.stats(key, seconds))
	}
	slices.SortFunc(out, func(a, b api.OperationStats) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Operation, b.Operation))
	})
	return out
}

// operationOf returns the sum of an operation, made if it is not there. The
// names alias a chunk and are copied only then.
func operationOf(sums map[opKey]*opSum, service, name string) *opSum {
	if sum := sums[opKey{service, name}]; sum != nil {
		return sum
	}
	key := opKey{strings.Clone(service), strings.Clone(name)}
	if len(sums) >= maxOperations {
		key = opKey{"", otherOperations}
	}
	if sums[key] == nil {
		sums[key] = &opSum{}
	}
	return sums[key]
}

func (o *opSum) interval(start int64) *opSum {
	if o.series == nil {
		o.series = map[int64]*opSum{}
	}
	if o.series[start] == nil {
		o.series[start] = &opSum{}
	}
	return o.series[start]
}

func (o *opSum) stats(key opKey, seconds float64) api.OperationStats {
	q := func(p float64) api.Seconds { return api.Seconds(o.sketch.quantile(p)) }
	out := api.OperationStats{
		Service: strings.ToValidUTF8(key.service, "\uFFFD"), Operation: strings.ToValidUTF8(key.operation, "\uFFFD"), Kinds: kindNames(o.kinds), Count: api.Count(o.sketch.n), Errors: api.Count(o.errors),
		ErrorRate: float64(o.errors) / float64(o.sketch.n), P50: q(.5), P90: q(.9), P95: q(.95), P99: q(.99), Max: api.Seconds(o.sketch.max),
		SlowestTraceID: o.slowest.String(),
	}
	if seconds > 0 {
		out.Rate = float64(o.sketch.n) / seconds
	}
	if o.errors > 0 {
		out.LastErrorTraceID = o.failure.String()
	}
	for _, start := range slices.Sorted(maps.Keys(o.series)) {
		p := o.series[start]
		out.Series = append(out.Series, api.StatsPoint{
			Start: api.Unix(start), Count: api.Count(p.sketch.n), Errors: api.Count(p.errors),
			P50: api.Seconds(p.sketch.quantile(.5)), P95: api.Seconds(p.sketch.quantile(.95)),
		})
	}
	return out
}

func kindNames(set uint8) []string {
	names := []string{}
	for k, name := range kinds {
		if set&(1<<k) != 0 && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Window returns the time that a statistic of q covers: from q.Since, or from
// the start of the oldest span that has ended if that is later, to now.
func (s *Store) Window(q StatsQuery) api.StatsWindow {
	return window(q.Since, s.oldest(), time.Now())
}

func window(since time.Time, oldest int64, now time.Time) api.StatsWindow {
	w := api.StatsWindow{From: api.Time{Time: now.UTC()}, To: api.Time{Time: now.UTC()}}
	if oldest > 0 && oldest < now.UnixNano() {
		w.From = api.Unix(oldest)
	}
	if since.After(w.From.Time) || oldest == 0 && !since.IsZero() {
		w.From = api.Time{Time: since.UTC()}
	}
	return w
}

// oldest returns the earliest start of any span kept, 0 if there is none.
func (s *Store) oldest() (oldest int64) {
	s.mu.RLock()
	for p, start := range s.traces.start {
		if s.traces.spans[p] > 0 && start > 0 && (oldest == 0 || start < oldest) {
			oldest = start
		}
	}
	s.mu.RUnlock()
	s.eachActive(func(r activeRef) bool {
		if start := r.earliest(); start > 0 && (oldest == 0 || start < oldest) {
			oldest = start
		}
		return true
	})
	return oldest
}

// eachEnded calls f for each ended span that q is about: those of the store by
// reading columns, a chunk at a time, with mu held for reading; then those of
// active traces that have not landed.
func (s *Store) eachEnded(q *StatsQuery, f func(id TraceID, r *row, service, name string)) {
	from := int64(0)
	if !q.Since.IsZero() {
		from = q.Since.UnixNano()
	}
	wanted := func(service, name string) bool {
		return (q.Service == "" || q.Service == service) && (q.Operation == "" || q.Operation == name)
	}
	s.eachChunk(func(c *chunk) {
		if q.Operation != "" {
			if _, found := c.find(q.Operation); !found {
				return
			}
		}
		var r row
		for i, p := range c.trace {
			if p == noTrace || c.start[i] < from || !wanted(c.service(i), c.operation(i)) {
				continue
			}
			r.start, r.took, r.kind, r.outcome = c.start[i], c.took[i], c.kind[i]&15, c.outcome(i)
			f(s.traces.id[p], &r, c.service(i), c.operation(i))
		}
	})
	s.eachActive(func(a activeRef) bool {
		v := a.ended()
		for i := range v.spans {
			sp := &v.spans[i]
			if name := alias(v.name(sp)); sp.start >= from && wanted(s.resource.service, name) {
				f(v.trace, &row{start: sp.start, took: sp.end - sp.start, kind: sp.kind, outcome: sp.outcome}, s.resource.service, name)
			}
		}
		return true
	})
}

// eachChunk calls f for each chunk with mu held for reading, and lets go of it
// from one to the next, so that nobody waits for long.
func (s *Store) eachChunk(f func(c *chunk)) {
	s.mu.RLock()
	var all []*chunk
	for i := range s.shelves {
		all = append(all, s.shelves[i].chunks...)
	}
	s.mu.RUnlock()
	for _, c := range all {
		s.mu.RLock()
		if !c.gone {
			f(c)
		}
		s.mu.RUnlock()
	}
}
