package check

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Route is what a route served in an interval.
type Route struct {
	Name      string // "GET /items/{id}"; of operations also the service
	Calls     float64
	Errors    float64
	Quantiles map[string]float64 // seconds by name: p50, p95; only those that are known
}

// OfRates are the routes of two reads of the metrics.
func OfRates(v api.RouteRates) (out []Route) {
	for _, r := range v.Routes {
		q := map[string]float64{}
		for name, f := range map[string]*api.Float{"avg": r.Avg, "p50": r.P50, "p95": r.P95, "p99": r.P99} {
			if f != nil {
				q[name] = float64(*f)
			}
		}
		out = append(out, Route{r.Method + " " + r.Endpoint, float64(r.Requests), float64(r.Errors), q})
	}
	return out
}

// OfSpans are the operations that serve requests, by the statistics of traces.
func OfSpans(v api.TraceStats) (out []Route) {
	for _, o := range v.Operations {
		if !slices.ContainsFunc(o.Kinds, func(k string) bool { return k == "server" || k == "consumer" }) {
			continue
		}
		seconds := func(s api.Seconds) float64 { return s.Duration().Seconds() }
		out = append(out, Route{o.Service + " " + o.Operation, float64(o.Count), float64(o.Errors), map[string]float64{
			"p50": seconds(o.P50), "p90": seconds(o.P90), "p95": seconds(o.P95), "p99": seconds(o.P99), "max": seconds(o.Max),
		}})
	}
	return out
}

// Limits are the thresholds of routes.
type Limits struct {
	Warn, Crit *Range
	About      func(name string) bool // the routes that are judged
	MinCalls   float64                // in the interval, before a route is judged
	Over       time.Duration          // the interval
}

// pick leaves the routes that are judged, the one with most calls first.
func (l *Limits) pick(all []Route) (judged []Route, few int) {
	for _, r := range all {
		switch {
		case !l.About(r.Name) || r.Calls <= 0:
		case r.Calls < l.MinCalls:
			few++
		default:
			judged = append(judged, r)
		}
	}
	slices.SortFunc(judged, func(a, b Route) int { return cmp.Or(cmp.Compare(b.Calls, a.Calls), strings.Compare(a.Name, b.Name)) })
	return judged, few
}

// idle is the summary where no route was judged.
func (l *Limits) idle(few int) string {
	if few > 0 {
		return fmt.Sprintf("no route had %s requests in %v", plain(l.MinCalls), l.Over)
	}
	return fmt.Sprintf("no requests in %v", l.Over)
}

// Latency judges a quantile of each route's durations.
func Latency(all []Route, quantile string, l Limits) Result {
	r := Result{Check: "latency"}
	routes, few := l.pick(all)
	worst, timed := Route{}, 0
	for _, route := range routes {
		v, known := route.Quantiles[quantile]
		if !known {
			continue
		}
		if timed++; timed == 1 || v > worst.Quantiles[quantile] {
			worst = route
		}
		if s := r.judged(Value{Name: route.Name + " " + quantile, Value: api.Float(v), Unit: "seconds", warn: l.Warn, crit: l.Crit, min: bound(0)}); s != OK {
			r.problem(s, route.Name, "%s %s of %s requests", quantile, brief(v), plain(route.Calls))
		}
	}
	switch {
	case len(routes) == 0:
		return r.done(l.idle(few))
	case timed == 0:
		return r.done(fmt.Sprintf("no route was timed for a %s in %v", quantile, l.Over))
	}
	return r.done(fmt.Sprintf("%s of %d routes at most %s (%s)", quantile, timed, brief(worst.Quantiles[quantile]), worst.Name))
}

// Errors judges the share of failed requests of each route.
func Errors(all []Route, l Limits) Result {
	r := Result{Check: "errors"}
	routes, few := l.pick(all)
	var calls, errors float64
	for _, route := range routes {
		calls, errors = calls+route.Calls, errors+route.Errors
		ratio := route.Errors / route.Calls
		v := Value{Name: route.Name, Value: api.Float(ratio), Unit: "ratio", warn: l.Warn, crit: l.Crit, min: bound(0), max: bound(1)}
		if s := r.judged(v); s != OK {
			r.problem(s, route.Name, "%s of %s requests failed", percent(ratio), plain(route.Calls))
		}
	}
	if calls == 0 {
		return r.done(l.idle(few))
	}
	r.value(Value{Name: "requests", Value: api.Float(calls), min: bound(0)})
	return r.done(fmt.Sprintf("%s of %s requests failed in %v", percent(errors/calls), plain(calls), l.Over))
}

// brief writes seconds with a unit and three digits.
func brief(seconds float64) string {
	if !(math.Abs(seconds) < 1e9) {
		return fmt.Sprintf("%v s", seconds)
	}
	d := time.Duration(seconds * float64(time.Second))
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}
