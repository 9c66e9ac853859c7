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
	families, series := 0, 0
	for _, r := range rs {
		families += len(r.Value)
		for _, f := range r.Value {
			series += len(f.Series)
		}
	}
	if !o.NoHeaders {
		s.heading("Metrics", s.muted.Render(count(int64(families))+" families  "+count(int64(series))+" series"))
		s.line()
	}
	limit, shown := s.rows(1<<30), 0
	cols := []column{
		{name: "NAME"}, {name: "TYPE"}, {name: "SERIES", right: true}, {name: "UNIT", drop: 2}, {name: "HELP", flex: true, drop: 1},
	}
	err := fleetTable(s, rs, cols, func(fs []api.MetricFamily) (out [][]string) {
		for _, f := range fs[:min(limit, len(fs))] {
			out = append(out, []string{clean(f.Name), clean(f.Type), count(int64(len(f.Series))), clean(f.Unit), s.muted.Render(clean(f.Help))})
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

// Metric draws one family: its series as a table, histograms as bars.
func Metric(w io.Writer, rs []api.Result[api.MetricFamily], o Options) error {
	s := newScreen(w, o)
	var named *api.MetricFamily
	for i := range rs {
		if rs[i].Error == nil {
			named = &rs[i].Value
			break
		}
	}
	if named != nil && named.Type == "histogram" {
		s.histograms(rs)
		return s.flush()
	}
	if named != nil && !o.NoHeaders {
		s.familyHeading(*named, seriesCount(rs))
	}
	limit, shown := s.rows(50), 0
	cols := []column{{name: "SERIES", flex: true}, {name: "VALUE", right: true}}
	err := fleetTable(s, rs, cols, func(f api.MetricFamily) (out [][]string) {
		for _, m := range f.Series[:min(limit, len(f.Series))] {
			out = append(out, []string{labelText(m.Labels), metricValue(m, f.Unit)})
		}
		shown += len(out)
		return out
	})
	s.leftOut(shown, seriesCount(rs), "series")
	if err != nil {
		return err
	}
	return s.flush()
}

func seriesCount(rs []api.Result[api.MetricFamily]) (n int) {
	for _, r := range rs {
		n += len(r.Value.Series)
	}
	return n
}

func (s *screen) familyHeading(f api.MetricFamily, series int) {
	s.heading(clean(f.Name), s.muted.Render(clean(f.Type)+"  "+count(int64(series))+" series"))
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

func metricValue(m api.MetricSeries, unit string) string {
	if m.Value != nil {
		return quantity(float64(*m.Value), unit)
	}
	parts := []string{}
	for _, q := range m.Quantiles {
		parts = append(parts, fmt.Sprintf("p%s %s", number(float64(q.Quantile)*100), quantity(float64(q.Value), unit)))
	}
	if m.Count != nil {
		parts = append(parts, count(int64(*m.Count))+" observed")
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
