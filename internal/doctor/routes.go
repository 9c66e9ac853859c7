package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/internal/scrape"
	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	// recentSpan is what counts as now: long enough for a few requests of a
	// quiet service, short enough that an outage fills it.
	recentSpan = 2 * time.Minute
	// fewestRequests of a share of errors, and fewestErrors: fewer tell nothing,
	// whatever their share.
	fewestRequests = 10
	fewestErrors   = 3
	// errorShare is what a user notices; a share that is certain to be above half
	// of it and is above it counts.
	errorShare    = 0.05
	criticalShare = 0.25
	// risen is by how much a smaller share must have risen, surely.
	risen      = 3
	leastShare = 0.01
	// fewestTimed requests make a p95: one in twenty is above it.
	fewestTimed = 30
	usualTimed  = 100 // before, in at least fewestIntervals
	// fewestIntervals: of two minutes nobody can tell what is usual.
	fewestIntervals = 4
	// slower is how much a p95 must have grown, and by how much at least:
	// a doubling of 5 ms is nobody's trouble.
	slower      = 2.0
	leastSlower = 50 * time.Millisecond
)

var routeRules = []Rule{
	{ID: "route-errors", About: "a route answers with errors, or with more than before", Looks: 1, judge: routeErrors},
	{ID: "route-slower", About: "a route has become slower", Looks: 1, judge: routeSlower},
}

// traffic is what a route served lately and before that.
type traffic struct {
	route           string
	recent, earlier tally
	source          string
	over            time.Duration // the recent part
	example         string        // trace id of an error
	slowest         string        // trace id
}

type tally struct {
	calls, errors    int64
	p95, highest     time.Duration // highest of an interval with enough calls
	lowest           time.Duration // the same
	intervals, timed int
}

// routes are from trace statistics, which have a past, else from the metrics.
func (j *judge) routes() (out []traffic, ok bool) {
	if j.Stats != nil {
		for i := range j.Stats.Operations {
			if o := &j.Stats.Operations[i]; slices.Contains(o.Kinds, "server") {
				out = append(out, j.fromStats(o))
			}
		}
		if len(out) > 0 {
			return out, true
		}
	}
	if j.Before.At.IsZero() || scrape.Find(j.Now.Metrics, scrape.Requests) == nil {
		return nil, j.Stats != nil
	}
	return j.fromMetrics(), true
}

func (j *judge) fromStats(o *api.OperationStats) traffic {
	t := traffic{route: o.Operation, source: "traces/stats", over: recentSpan, example: o.LastErrorTraceID, slowest: o.SlowestTraceID}
	border := j.Stats.To.Add(-recentSpan - StatsInterval/2) // of whole intervals
	var now, before []api.StatsPoint
	for _, p := range o.Series {
		if p.Start.Before(border) {
			before = append(before, p)
		} else {
			now = append(now, p)
		}
	}
	t.recent, t.earlier = sum(now), sum(before)
	return t
}

// sum adds up intervals. Their p95 is the median one, by calls.
func sum(points []api.StatsPoint) (t tally) {
	points = slices.Clone(points)
	slices.SortStableFunc(points, func(a, b api.StatsPoint) int { return cmp.Compare(a.P95, b.P95) })
	for _, p := range points {
		t.calls += int64(p.Count)
		t.errors += int64(p.Errors)
		t.intervals++
		if p.Count >= 5 {
			if t.timed == 0 {
				t.lowest = p.P95.Duration()
			}
			t.timed++
			t.highest = p.P95.Duration()
		}
	}
	half := int64(0)
	for _, p := range points {
		if half += int64(p.Count); 2*half >= t.calls {
			t.p95 = p.P95.Duration()
			break
		}
	}
	return t
}

// fromMetrics takes what a server counted up to the first look for what is
// usual, and what it counted since for now.
func (j *judge) fromMetrics() (out []traffic) {
	now := scrape.Routes(j.Before.Metrics, j.Now.Metrics, j.apart())
	for _, r := range now.Routes {
		if r.Reset {
			continue
		}
		t := traffic{route: strings.TrimSpace(r.Method + " " + r.Endpoint), source: "metrics", over: j.apart()}
		t.recent = tally{calls: int64(r.Requests), errors: int64(r.Errors), timed: 1}
		t.recent.p95 = time.Duration(value(r.P95) * float64(time.Second))
		t.recent.lowest, t.recent.highest = t.recent.p95, t.recent.p95
		t.earlier = usual(j.Before.Metrics, r.Method, r.Endpoint)
		out = append(out, t)
	}
	return out
}

func usual(families []api.MetricFamily, method, endpoint string) (t tally) {
	of := func(s *api.MetricSeries) bool {
		return s.Labels["method"] == method && s.Labels["endpoint"] == endpoint
	}
	if f := scrape.Find(families, scrape.Requests); f != nil {
		for i := range f.Series {
			if s := &f.Series[i]; of(s) {
				t.calls += int64(value(s.Value))
				if strings.HasPrefix(s.Labels["status_code"], "5") {
					t.errors += int64(value(s.Value))
				}
			}
		}
	}
	if f := scrape.Find(families, scrape.Durations); f != nil {
		for i := range f.Series {
			if s := &f.Series[i]; of(s) {
				t.p95 = time.Duration(value(s.P95) * float64(time.Second))
				t.highest, t.timed, t.intervals = t.p95, fewestIntervals, fewestIntervals
			}
		}
	}
	return t
}

// callsOf are the requests of a route within a time, 0 if that is not known.
func (j *judge) callsOf(route string, within time.Duration) (n int64) {
	if j.Stats == nil {
		return 0
	}
	for _, o := range j.Stats.Operations {
		for _, p := range o.Series {
			if o.Operation == route && slices.Contains(o.Kinds, "server") && p.Start.After(j.Stats.To.Add(-within-StatsInterval)) {
				n += int64(p.Count)
			}
		}
	}
	return n
}

func routeErrors(j *judge) {
	all, ok := j.routes()
	if !ok {
		j.lacks(PartStats)
		return
	}
	few := int64(0)
	for _, t := range all {
		if t.recent.calls < fewestRequests {
			few++
			continue
		}
		now := float64(t.recent.errors) / float64(t.recent.calls)
		low, _ := sure(t.recent.errors, t.recent.calls)
		_, usually := sure(t.earlier.errors, t.earlier.calls)
		grown := t.earlier.calls >= usualTimed && low > risen*usually && now >= leastShare
		if t.recent.errors < fewestErrors || !grown && (now < errorShare || low < errorShare/2) {
			continue
		}
		f := finding{Finding: api.Finding{
			Subject: t.route, Severity: api.SeverityWarning, Confidence: 0.95,
			Cause:    fmt.Sprintf("%s fails for %s of its requests.", t.route, share(now)),
			Evidence: []api.Evidence{observed(t.source, "%d of %s failed in the last %s", t.recent.errors, plural(t.recent.calls, "request"), short(t.over))},
			Next:     "pulsectl traces list --status error --operation " + argument(t.route),
		}, routes: []string{t.route}}
		if low >= criticalShare {
			f.Severity = api.SeverityCritical
		}
		if t.earlier.calls > 0 {
			f.Evidence = append(f.Evidence, observed(t.source, "before that %d of %d (%s)", t.earlier.errors, t.earlier.calls, share(float64(t.earlier.errors)/float64(t.earlier.calls))))
		}
		if t.source == "metrics" {
			f.Next = "pulsectl metrics top --sort-by errors"
		}
		j.blameFailures(&f, t.route)
		j.find(f)
	}
	if few > 0 {
		j.cannot("%s with fewer than %d requests", plural(few, "route"), fewestRequests)
	}
}

// blameFailures names the dependencies that failed in a route's failed traces.
func (j *judge) blameFailures(f *finding, route string) {
	of, by := 0, map[string]int{}
	for i := range j.Failed {
		t := &j.Failed[i]
		if t.Root != route || len(t.Spans) == 0 || !rootFailed(t) {
			continue
		}
		of++
		for _, d := range j.failedIn(t) {
			by[d]++
		}
	}
	if d, n := most(by); n > 0 && 2*n >= of {
		f.dependencies = append(f.dependencies, d)
		f.Evidence = append(f.Evidence, observed("traces", "in %d of the last %d failed ones the call to %s failed", n, of, d))
	}
}

func rootFailed(t *api.Trace) bool {
	return slices.ContainsFunc(t.Spans, func(s api.Span) bool {
		return s.Status.Failed() && s.Kind == "server" && s.OperationName == t.Root
	})
}

// failedIn are the dependencies whose calls failed in a trace, rejected ones
// too: those have no span, but an error that names the breaker.
func (j *judge) failedIn(t *api.Trace) (out []string) {
	for i := range t.Spans {
		s := &t.Spans[i]
		if s.Status.Failed() && dependencyOf(s) != "" {
			out = append(out, dependencyOf(s))
		}
		text := s.StatusMessage
		for _, l := range s.Logs {
			if name, ok := l.Fields["breaker"].(string); ok {
				out = append(out, name)
			}
			text += " " + l.Message
		}
		for name := range j.breakers {
			if s.Status.Failed() && strings.Contains(text, name+":") {
				out = append(out, name)
			}
		}
	}
	return union(out, nil)
}

func routeSlower(j *judge) {
	all, ok := j.routes()
	if !ok {
		j.lacks(PartStats)
		return
	}
	few, young := int64(0), int64(0)
	for _, t := range all {
		switch {
		case t.recent.calls < fewestTimed || t.recent.timed == 0:
			few++
			continue
		case t.earlier.calls < usualTimed || t.earlier.timed < fewestIntervals:
			young++
			continue
		}
		now, before := t.recent.p95, t.earlier.p95
		if before <= 0 || float64(now) < slower*float64(before) || now-before < leastSlower || now <= t.earlier.highest ||
			float64(t.recent.lowest) < (1+slower)/2*float64(before) {
			continue
		}
		f := finding{Finding: api.Finding{
			Subject: t.route, Severity: api.SeverityWarning, Confidence: 0.8,
			Cause: fmt.Sprintf("%s has become slower: p95 %s, before %s.", t.route, short(now), short(before)),
			Evidence: []api.Evidence{observed(t.source, "p95 %s of %s in the last %s; before that %s of %d, never above %s", short(now),
				plural(t.recent.calls, "request"), short(t.over), short(before), t.earlier.calls, short(t.earlier.highest))},
			Next: "pulsectl traces list --sort slowest --operation " + argument(t.route),
		}, routes: []string{t.route}}
		if t.source == "metrics" {
			f.Confidence, f.Next = 0.7, "pulsectl metrics top --sort-by p95"
			f.Evidence = []api.Evidence{observed(t.source, "p95 %s of %s in %s; since the server began %s of %d", short(now), plural(t.recent.calls, "request"),
				short(t.over), short(before), t.earlier.calls)}
		}
		j.find(f)
	}
	if few > 0 {
		j.cannot("%s with fewer than %d requests now", plural(few, "route"), fewestTimed)
	}
	if young > 0 {
		j.cannot("%s without enough of a past: fewer than %d requests in %s", plural(young, "route"), usualTimed, short(fewestIntervals*StatsInterval))
	}
}
