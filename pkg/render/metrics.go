package render

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// MetricFamilies draws a table of families.
func MetricFamilies(w io.Writer, rs []api.Result[[]api.MetricFamily], o Options) error {
	s := newScreen(w, o)
	families, series, watched := 0, 0, false
	for _, r := range rs {
		families += len(r.Value)
		for _, f := range r.Value {
			series += f.SeriesCount
			watched = watched || f.SeriesChange != nil
		}
	}
	if !o.NoHeaders {
		s.heading("Metrics", s.muted.Render(count(int64(families))+" families  "+count(int64(series))+" series"))
		s.line()
	}
	cols := []column{{name: "NAME"}, {name: "TYPE", drop: 1}, {name: "SERIES", right: true}, {name: "UNIT", drop: 4}, {name: "HELP", flex: true, drop: 3}}
	if watched {
		cols = slices.Insert(cols, 3, column{name: "CHANGE", right: true, drop: 2})
	}
	limit, shown := s.rows(1<<30), 0
	err := fleetTable(s, rs, cols, func(fs []api.MetricFamily) (out [][]string) {
		for _, f := range fs[:min(limit, len(fs))] {
			row := []string{clean(f.Name), clean(f.Type), count(int64(f.SeriesCount)), clean(f.Unit), s.muted.Render(clean(f.Help))}
			if watched {
				row = slices.Insert(row, 3, seriesChange(f.SeriesChange))
			}
			out = append(out, row)
		}
		shown += len(out)
		return out
	})
	if err != nil {
		return err
	}
	if families == 0 && answered(rs) > 0 {
		s.line(s.muted.Render("No metric matches."))
	}
	s.leftOut(shown, families, "families")
	return s.flush()
}

// seriesChange is how many series there are more, or fewer, than at the look before.
func seriesChange(n *int) string {
	if n == nil || *n == 0 {
		return "–"
	}
	return signed(float64(*n), "")
}

// signed writes a difference with its sign.
func signed(v float64, unit string) string {
	switch {
	case v == 0:
		return "–"
	case v > 0:
		return "+" + quantity(v, unit)
	case math.IsNaN(v):
		return "NaN"
	}
	return "-" + quantity(-v, unit)
}

// Metric draws one family: its series as a table, histograms as bars.
func Metric(w io.Writer, rs []api.Result[api.MetricFamily], o Options) error {
	s := newScreen(w, o)
	var named *api.MetricFamily
	for i := range rs {
		if rs[i].Error == nil && (named == nil || named.Interval == nil) {
			named = &rs[i].Value
		}
	}
	if named != nil && (named.Type == "histogram" || named.Type == "gauge_histogram") && seriesCount(rs) > 0 {
		s.histograms(rs)
		return s.flush()
	}
	if named != nil && !o.NoHeaders {
		s.familyHeading(*named, seriesCount(rs))
	}
	if err := s.seriesTable(rs, named); err != nil {
		return err
	}
	return s.flush()
}

// seriesTable draws the series of a family; named is that of an instance that
// answered, nil if none did.
func (s *screen) seriesTable(rs []api.Result[api.MetricFamily], named *api.MetricFamily) error {
	cols := []column{{name: "SERIES", flex: true}, {name: "VALUE", right: true}}
	watched := named != nil && named.Interval != nil
	if watched && named.Type != "gauge" && named.Type != "untyped" {
		cols = append(cols, column{name: "RATE", right: true})
	} else if watched {
		cols = append(cols, column{name: "CHANGE", right: true})
	}
	limit, shown, reset := s.rows(50), 0, false
	err := fleetTable(s, rs, cols, func(f api.MetricFamily) (out [][]string) {
		for i := range f.Series[:min(limit, len(f.Series))] {
			m := &f.Series[i]
			reset = reset || m.Change != nil && m.Change.Reset
			row := []string{labelText(m.Labels), metricValue(m, f.Unit)}
			if watched {
				row = append(row, s.became(m, named))
			}
			out = append(out, row)
		}
		shown += len(out)
		return out
	})
	if err != nil {
		return err
	}
	if named != nil && seriesCount(rs) == 0 {
		s.line(s.muted.Render("No series has such labels."))
	}
	s.resetNote(reset && !s.NoHeaders)
	s.leftOut(shown, seriesCount(rs), "series")
	return nil
}

// became says what became of a series between two reads.
func (s *screen) became(m *api.MetricSeries, f *api.MetricFamily) string {
	c := m.Change
	switch {
	case c == nil:
		return "–"
	case c.Value == nil: // of observations, which have no unit
		return s.rateText(float64(c.Rate), "", c.Reset)
	case f.Type == "counter":
		return s.rateText(float64(c.Rate), f.Unit, c.Reset)
	}
	return signed(float64(*c.Value), f.Unit)
}

// rateText writes how fast something grew, and that it began anew.
func (s *screen) rateText(v float64, unit string, reset bool) string {
	if reset {
		return s.warn.Render("◐ " + perSecond(v, unit))
	}
	return perSecond(v, unit)
}

// perSecond writes how much a second.
func perSecond(v float64, unit string) string {
	switch {
	case v == 0:
		return "–"
	case unit != "":
		return quantity(v, unit) + "/s"
	case math.Abs(v) >= 999.5 || math.IsNaN(v):
		return number(math.Round(v)) + "/s"
	case math.Abs(v) < .01:
		return number(v) + "/s"
	}
	return digits(v) + "/s"
}

func seriesCount(rs []api.Result[api.MetricFamily]) (n int) {
	for _, r := range rs {
		n += len(r.Value.Series)
	}
	return n
}

func (s *screen) familyHeading(f api.MetricFamily, series int) {
	scope := clean(f.Type) + "  " + count(int64(series)) + " series"
	if f.Interval != nil {
		scope = "last " + duration(f.Interval.Duration()) + "  " + scope
	}
	s.heading(clean(f.Name), s.muted.Render(scope))
	if f.Help != "" {
		s.line(s.muted.Render(strings.TrimRight(fit(clean(f.Help), min(s.Width, cells(clean(f.Help)))), " ")))
	}
	s.line()
}

// labelText writes labels as Prometheus does.
func labelText(labels map[string]string) string {
	if len(labels) == 0 {
		return "{}"
	}
	parts := make([]string, 0, len(labels))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, clean(k)+"="+strconv.Quote(clean(labels[k])))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func metricValue(m *api.MetricSeries, unit string) string {
	if m.Value != nil {
		return quantity(float64(*m.Value), unit)
	}
	parts := []string{}
	for _, q := range m.Quantiles {
		parts = append(parts, fmt.Sprintf("p%s %s", number(float64(q.Quantile)*100), quantity(float64(q.Value), unit)))
	}
	if m.Count != nil {
		parts = append(parts, count(int64(min(float64(*m.Count), math.MaxInt64/2)))+" observed")
	}
	return strings.Join(parts, "  ")
}

// quantity writes a value in its unit.
func quantity(v float64, unit string) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return number(v)
	case unit == "seconds" && math.Abs(v) < 1e8: // beyond three years it is an instant
		return duration(time.Duration(v * float64(time.Second)))
	case unit == "bytes" && math.Abs(v) < 1<<60:
		return size(int64(v))
	case unit == "percent":
		return number(v) + "%"
	}
	return number(v)
}

// number writes whole numbers with commas, others with up to four digits after
// the point.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 0):
		return strconv.FormatFloat(v, 'g', -1, 64)
	case v == math.Trunc(v) && math.Abs(v) < 1e15:
		return count(int64(v))
	case math.Abs(v) >= 1e15 || math.Abs(v) < 1e-4:
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
	return strings.TrimRight(strings.TrimRight(strconv.FormatFloat(v, 'f', 4, 64), "0"), ".")
}
