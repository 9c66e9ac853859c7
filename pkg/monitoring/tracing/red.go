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

func (o *opSum) add(id TraceID, e *entry) {
	d := max(e.end-e.start, 0)
	if d >= o.sketch.max || o.sketch.n == 0 {
		o.slowest = id
	}
	o.sketch.add(d)
	o.kinds |= 1 << e.kind
	if e.outcome == failed || e.outcome == timedOut {
		o.errors++
		if e.end >= o.failed {
			o.failed, o.failure = e.end, id
		}
	}
}

// Operations returns the statistics of each operation that fits, by service
// and name.
func (s *Store) Operations(q StatsQuery) []api.OperationStats {
	now := time.Now()
	sums := map[opKey]*opSum{}
	oldest := s.eachEnded(q.Since, func(rec *record, e *entry) {
		service := rec.resources[e.resource].service
		if q.Service != "" && q.Service != service || q.Operation != "" && q.Operation != alias(rec.name(e)) {
			return
		}
		sum := operationOf(sums, service, alias(rec.name(e)))
		sum.add(rec.id, e)
		if q.Interval > 0 && now.UnixNano()-e.start < int64(q.Interval)*MaxIntervals {
			sum.interval(e.start-e.start%int64(q.Interval)).add(rec.id, e)
		}
	})
	seconds := window(q.Since, oldest, now).To.Sub(window(q.Since, oldest, now).From.Time).Seconds()
	out := make([]api.OperationStats, 0, len(sums))
	for key, sum := range sums {
		out = append(out, sum.stats(key, seconds))
	}
	slices.SortFunc(out, func(a, b api.OperationStats) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Operation, b.Operation))
	})
	return out
}

// operationOf returns the sum of an operation, made if it is not there. name
// aliases a block and is copied only then.
func operationOf(sums map[opKey]*opSum, service, name string) *opSum {
	if sum := sums[opKey{service, name}]; sum != nil {
		return sum
	}
	key := opKey{service, strings.Clone(name)}
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
		Service: key.service, Operation: strings.ToValidUTF8(key.operation, "\uFFFD"), Kinds: kindNames(o.kinds), Count: api.Count(o.sketch.n), Errors: api.Count(o.errors),
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
	return window(q.Since, s.eachEnded(q.Since, func(*record, *entry) {}), time.Now())
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

// eachEnded calls f for each ended span that began since then, with its
// record's mu held, and returns the earliest start of any span kept.
func (s *Store) eachEnded(since time.Time, f func(*record, *entry)) (oldest int64) {
	from := int64(0)
	if !since.IsZero() {
		from = since.UnixNano()
	}
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.traces))
	s.mu.Unlock()
	for _, rec := range all {
		rec.mu.Lock()
		if rec.start > 0 && (oldest == 0 || rec.start < oldest) {
			oldest = rec.start
		}
		for e := range rec.spans.all {
			if e.start >= from {
				f(rec, e)
			}
		}
		rec.mu.Unlock()
	}
	return oldest
}
