package scrape

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// The families that tell of routes.
const (
	Requests  = "pulse_api_requests_total"
	Durations = "pulse_api_request_duration_seconds"
	InFlight  = "pulse_api_active_connections"
)

type route struct{ method, endpoint string }

// Routes are what a server's routes served between two reads, so long apart,
// the busiest first.
func Routes(before, now []api.MetricFamily, apart time.Duration) api.RouteRates {
	requests, durations := changed(before, now, Requests, apart), changed(before, now, Durations, apart)
	rates := map[route]*api.RouteRate{}
	total := api.RouteRate{Interval: api.Seconds(apart)}
	for i := range requests.Series {
		m := &requests.Series[i]
		k := route{m.Labels["method"], m.Labels["endpoint"]}
		if rates[k] == nil {
			rates[k] = &api.RouteRate{Method: k.method, Endpoint: k.endpoint, Interval: total.Interval}
		}
		if m.Change != nil {
			served(rates[k], m.Change, m.Labels["status_code"])
			served(&total, m.Change, m.Labels["status_code"])
		}
	}
	for i := range durations.Series {
		m := &durations.Series[i]
		if r := rates[route{m.Labels["method"], m.Labels["endpoint"]}]; r != nil && m.Change != nil {
			timed(r, &m.Change.MetricHistogram)
		}
	}
	By(&durations, nil)
	if len(durations.Series) == 1 && durations.Series[0].Change != nil {
		timed(&total, &durations.Series[0].Change.MetricHistogram)
	}
	out := api.RouteRates{Total: shares(total), InFlight: gauge(now, InFlight), Routes: []api.RouteRate{}}
	for _, r := range rates {
		if r.Requests == 0 {
			out.Idle++
			continue
		}
		out.Routes = append(out.Routes, shares(*r))
	}
	SortRoutes(out.Routes, "rate")
	return out
}

// changed is a family with what became of it; empty if there is none.
func changed(before, now []api.MetricFamily, name string, apart time.Duration) api.MetricFamily {
	old, f := Find(before, name), Find(now, name)
	if f == nil {
		return api.MetricFamily{}
	}
	if old == nil {
		old = &api.MetricFamily{}
	}
	out := *f
	out.Series = slices.Clone(f.Series)
	Changes(old, &out, apart)
	return out
}

// Find is the family of a name, nil if there is none.
func Find(all []api.MetricFamily, name string) *api.MetricFamily {
	if i := slices.IndexFunc(all, func(f api.MetricFamily) bool { return f.Name == name }); i >= 0 {
		return &all[i]
	}
	return nil
}

func gauge(all []api.MetricFamily, name string) *api.Float {
	if f := Find(all, name); f != nil && len(f.Series) > 0 {
		return f.Series[0].Value
	}
	return nil
}

// served counts answers of one status.
func served(r *api.RouteRate, c *api.MetricChange, status string) {
	if c.Value == nil || math.IsNaN(float64(*c.Value)) || math.IsInf(float64(*c.Value), 0) {
		return
	}
	r.Requests += *c.Value
	r.Rate += c.Rate
	r.Reset = r.Reset || c.Reset
	switch {
	case strings.HasPrefix(status, "5"):
		r.Errors += *c.Value
	case strings.HasPrefix(status, "4"):
		r.ClientRate += *c.Value // a count until shares
	}
}

func timed(r *api.RouteRate, h *api.MetricHistogram) {
	r.Avg, r.P50, r.P95, r.P99 = h.Avg, h.P50, h.P95, h.P99
}

func shares(r api.RouteRate) api.RouteRate {
	if r.Requests > 0 {
		r.ErrorRate, r.ClientRate = r.Errors/r.Requests, r.ClientRate/r.Requests
	}
	return r
}

// RouteOrders are what routes can be sorted by.
const RouteOrders = "rate, errors, p50, p95, p99, avg or name"

// SortRoutes sorts by one of [RouteOrders], the largest first. It tells whether
// there is such an order.
func SortRoutes(rs []api.RouteRate, by string) bool {
	of := map[string]func(r *api.RouteRate) api.Float{
		"rate":   func(r *api.RouteRate) api.Float { return r.Rate },
		"errors": func(r *api.RouteRate) api.Float { return r.Errors },
		"p50":    func(r *api.RouteRate) api.Float { return api.Float(valueOf(r.P50)) },
		"p95":    func(r *api.RouteRate) api.Float { return api.Float(valueOf(r.P95)) },
		"p99":    func(r *api.RouteRate) api.Float { return api.Float(valueOf(r.P99)) },
		"avg":    func(r *api.RouteRate) api.Float { return api.Float(valueOf(r.Avg)) },
		"name":   func(r *api.RouteRate) api.Float { return 0 },
	}[by]
	if of == nil {
		return false
	}
	slices.SortStableFunc(rs, func(a, b api.RouteRate) int {
		return cmp.Or(cmp.Compare(of(&b), of(&a)), strings.Compare(a.Endpoint, b.Endpoint), strings.Compare(a.Method, b.Method))
	})
	return true
}

// Rates are the counters that grew between two reads, and the histograms and
// summaries that observed anything, the fastest first.
func Rates(before, now []api.MetricFamily, apart time.Duration) []api.MetricRate {
	out := []api.MetricRate{}
	for i := range now {
		if now[i].Type == "gauge" || now[i].Type == "untyped" || now[i].Type == "gauge_histogram" {
			continue
		}
		f := changed(before, now, now[i].Name, apart)
		for j := range f.Series {
			m := &f.Series[j]
			if m.Change == nil || !(m.Change.Rate > 0) {
				continue
			}
			r := api.MetricRate{Name: f.Name, Type: f.Type, Labels: m.Labels, Interval: api.Seconds(apart), Rate: m.Change.Rate, Reset: m.Change.Reset}
			if m.Value != nil {
				r.Value, r.Increase, r.Unit = *m.Value, *m.Change.Value, f.Unit
			} else { // observations have no unit
				r.Value, r.Increase = api.Float(valueOf(m.Count)), *m.Change.Count
			}
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b api.MetricRate) int {
		return cmp.Or(cmp.Compare(b.Rate, a.Rate), strings.Compare(a.Name, b.Name), strings.Compare(api.SeriesKey(a.Labels), api.SeriesKey(b.Labels)))
	})
	return out
}
