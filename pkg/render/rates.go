package render

import (
	"fmt"
	"io"
	"slices"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	ratesShown = 20 // rows of a top
	trendCells = 16
)

// RouteRates draws the routes that served anything between two reads.
func RouteRates(w io.Writer, rs []api.Result[api.RouteRates], o Options) error {
	s := newScreen(w, o)
	routes, idle, trend, reset := 0, 0, false, false
	for _, r := range rs {
		routes, idle, reset = routes+len(r.Value.Routes), idle+r.Value.Idle, reset || r.Value.Total.Reset
		trend = trend || slices.ContainsFunc(r.Value.Routes, func(r api.RouteRate) bool { return len(r.RecentRates) > 1 })
	}
	s.routesHeading(rs)
	shown, err := rateTable(s, rs, routeColumns(), trend, func(v api.RouteRates) (rows [][]string) {
		for i := range v.Routes {
			rows = append(rows, s.routeRow(&v.Routes[i]))
		}
		return rows
	})
	switch {
	case err != nil:
		return err
	case answered(rs) > 0 && routes+idle == 0:
		s.quiet("No route has served a request. `pulsectl metrics top '*'` shows the counters that grow most.")
	case answered(rs) > 0 && routes == 0:
		s.line(s.muted.Render("No route has served a request in between."))
	}
	if !o.NoHeaders {
		s.resetNote(reset)
		s.leftOut(shown, routes, "routes")
		if idle > 0 {
			s.line()
			s.line(s.muted.Render(Plural(idle, "more route") + " idle"))
		}
	}
	return s.flush()
}

func routeColumns() []column {
	return []column{
		{name: "ROUTE", flex: true}, {name: "REQUESTS", right: true, drop: 5}, {name: "RATE", right: true}, {name: "TREND", drop: 4}, {name: "ERRORS", right: true},
		{name: "4XX", right: true, drop: 3}, {name: "P50", right: true, drop: 2}, {name: "P95", right: true}, {name: "P99", right: true, drop: 1}, {name: "AVG", right: true, drop: 6},
	}
}

// rateTable draws the rows of a top as far as a screen holds them, with their
// TREND if there is any, and tells how many those are.
func rateTable[T any](s *screen, rs []api.Result[T], cols []column, trend bool, rows func(T) [][]string) (shown int, err error) {
	at := slices.IndexFunc(cols, func(c column) bool { return c.name == "TREND" })
	if !trend {
		cols = slices.Delete(cols, at, at+1)
	}
	limit := s.rows(ratesShown)
	err = fleetTable(s, rs, cols, func(v T) [][]string {
		out := rows(v)
		out = out[:min(limit, len(out))]
		for i := range out {
			if !trend {
				out[i] = slices.Delete(out[i], at, at+1)
			}
		}
		shown += len(out)
		return out
	})
	return shown, err
}

// routesHeading says over which time, and what all routes of each instance
// served together.
func (s *screen) routesHeading(rs []api.Result[api.RouteRates]) {
	if s.NoHeaders {
		return
	}
	var interval api.Seconds
	requests := 0.0
	for _, r := range rs {
		interval = max(interval, r.Value.Total.Interval)
		requests += float64(r.Value.Total.Requests)
	}
	scope := ""
	if interval > 0 {
		scope = s.muted.Render("last " + duration(interval.Duration()) + "  " + number(requests) + " requests")
	}
	s.heading("Routes", scope)
	for _, r := range rs {
		if r.Error != nil {
			continue
		}
		parts := s.routesTotal(&r.Value)
		if len(rs) > 1 {
			parts = append([]string{instance(r.Instance)}, parts...)
		}
		s.line(wrap(s.Width, parts...))
	}
	s.line()
}

func (s *screen) routesTotal(v *api.RouteRates) []string {
	t := &v.Total
	failed := "–"
	if t.Errors > 0 {
		failed = s.bad.Render(share(float64(t.ErrorRate)))
	}
	parts := []string{perSecond(float64(t.Rate), ""), s.muted.Render("errors ") + failed}
	for _, q := range []struct {
		name string
		v    *api.Float
	}{{"p50", t.P50}, {"p95", t.P95}, {"p99", t.P99}} {
		if q.v != nil {
			parts = append(parts, s.muted.Render(q.name+" ")+quantity(float64(*q.v), "seconds"))
		}
	}
	if v.InFlight != nil {
		parts = append(parts, s.muted.Render("in flight ")+number(float64(*v.InFlight)))
	}
	return parts
}

func (s *screen) routeRow(r *api.RouteRate) []string {
	part := func(v api.Float) string {
		if v == 0 {
			return "–"
		}
		return share(float64(v))
	}
	d := func(v *api.Float) string {
		if v == nil {
			return "–"
		}
		return quantity(float64(*v), "seconds")
	}
	failed := part(r.ErrorRate)
	if r.Errors > 0 {
		failed = s.bad.Render(failed)
	}
	return []string{
		clean(r.Method) + " " + clean(r.Endpoint), number(float64(r.Requests)), s.rateText(float64(r.Rate), "", r.Reset), s.trend(r.RecentRates), failed,
		part(r.ClientRate), d(r.P50), d(r.P95), d(r.P99), d(r.Avg),
	}
}

// trend draws the last rates, from zero to the largest.
func (s *screen) trend(rates []api.Float) string {
	if len(rates) < 2 {
		return ""
	}
	vs := make([]float64, 0, trendCells)
	for _, v := range rates[max(len(rates)-trendCells, 0):] {
		vs = append(vs, float64(v))
	}
	return blanks(trendCells-len(vs)) + s.spark(vs, s.accent)
}

// MetricRates draws the counters that grew most between two reads.
func MetricRates(w io.Writer, rs []api.Result[[]api.MetricRate], o Options) error {
	s := newScreen(w, o)
	var interval api.Seconds
	all, trend, reset := 0, false, false
	for _, r := range rs {
		all += len(r.Value)
		for i := range r.Value {
			reset = reset || r.Value[i].Reset
			interval = max(interval, r.Value[i].Interval)
			trend = trend || len(r.Value[i].RecentRates) > 1
		}
	}
	if !o.NoHeaders {
		scope := ""
		if interval > 0 {
			scope = s.muted.Render(fmt.Sprintf("last %s  %s series grew", duration(interval.Duration()), count(int64(all))))
		}
		s.heading("Counters by rate", scope)
		s.line()
	}
	cols := []column{
		{name: "NAME", flex: true}, {name: "LABELS", flex: true}, {name: "TYPE", drop: 3}, {name: "VALUE", right: true, drop: 1}, {name: "RATE", right: true}, {name: "TREND", drop: 2},
	}
	narrow := s.Width < 80 && !s.Wide // name and labels share what there is
	if narrow {
		cols = slices.Delete(cols, 1, 2)
	}
	shown, err := rateTable(s, rs, cols, trend, func(v []api.MetricRate) (rows [][]string) {
		for i := range v {
			rows = append(rows, s.metricRateRow(&v[i], narrow))
		}
		return rows
	})
	if err != nil {
		return err
	}
	if all == 0 && answered(rs) > 0 {
		s.line(s.muted.Render("No counter has grown in between."))
	}
	if !o.NoHeaders {
		s.resetNote(reset)
		s.leftOut(shown, all, "series")
	}
	return s.flush()
}

func (s *screen) metricRateRow(m *api.MetricRate, narrow bool) []string {
	labels := ""
	if len(m.Labels) > 0 {
		labels = labelText(m.Labels)
	}
	row := []string{clean(m.Name), labels, clean(m.Type), quantity(float64(m.Value), m.Unit), s.rateText(float64(m.Rate), m.Unit, m.Reset), s.trend(m.RecentRates)}
	if narrow {
		row = slices.Replace(row, 0, 2, row[0]+labels)
	}
	return row
}

// resetNote says what the mark in front of a rate means, where there is one.
func (s *screen) resetNote(reset bool) {
	if reset {
		s.line()
		s.quiet("◐ began anew in between: what it gained is what it holds now")
	}
}
