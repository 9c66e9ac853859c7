package render

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	queryRows   = 50 // series shown unless more are asked for
	chartRows   = 10 // lines of the chart of one series
	sparkColumn = 24 // cells of a line of many, at least
)

// QueryResult draws the series of a query of each server with their values.
func QueryResult(w io.Writer, rs []api.Result[api.QueryResult], o Options) error {
	return screens(w, rs, o, func(s *screen, where string, q api.QueryResult) error {
		shown := q.Data.Series[:min(len(q.Data.Series), o.rowsOf(queryRows, len(q.Data.Series)))]
		if !s.NoHeaders {
			s.heading(titled("Query", where), s.muted.Render(count(int64(len(q.Data.Series)))+" series"))
			s.line()
		}
		defer s.history(&q)
		if q.Data.Text != nil {
			s.line(clean(q.Data.Text.Text))
			return nil
		}
		if len(shown) == 0 {
			s.line(s.muted.Render("No series match."))
			return nil
		}
		cols := []column{{name: "VALUE", right: true}, {name: "SERIES", flex: true}, {name: "SAMPLES", right: true, drop: 2}, {name: "OVER TIME", drop: 1}}
		var rows [][]string
		for _, one := range shown {
			rows = append(rows, s.queryRow(one))
		}
		if err := s.table(cols, rows); err != nil {
			return err
		}
		s.leftOut(len(shown), len(q.Data.Series), "series")
		return nil
	})
}

// rowsOf is how many of n rows are shown where a screen shows def by itself.
func (o Options) rowsOf(def, n int) int {
	switch {
	case o.Limit < 0 || o.Wide && o.Limit == 0:
		return n
	case o.Limit == 0:
		return def
	}
	return o.Limit
}

func (s *screen) queryRow(one api.QuerySeries) []string {
	name := seriesText(one.Metric)
	if name == "" {
		name = s.muted.Render("{}")
	}
	if one.Value != nil {
		return []string{sampleText(float64(one.Value.Value)), name, "", ""}
	}
	last, vs := math.NaN(), make([]float64, 0, len(one.Values))
	for _, p := range one.Values {
		last = float64(p.Value)
		vs = append(vs, last)
	}
	return []string{sampleText(last), name, count(int64(len(vs))), s.spark(fold(vs, sparkColumn), s.accent)}
}

// history says what warnings there are, and since when there are samples.
func (s *screen) history(q *api.QueryResult) {
	for i, text := range slices.Concat(q.Warnings, q.Infos) {
		if i == 0 {
			s.line()
		}
		s.paragraph(s.warn.Render("! "), clean(text))
	}
}

// seriesText writes labels as PromQL does.
func seriesText(ls map[string]string) string {
	var parts []string
	for name, v := range ls {
		if name != "__name__" {
			parts = append(parts, clean(name)+"="+`"`+clean(v)+`"`)
		}
	}
	slices.Sort(parts)
	text := clean(ls["__name__"])
	if len(parts) > 0 {
		text += "{" + strings.Join(parts, ",") + "}"
	}
	return text
}

// sampleText writes a number of any size in few characters.
func sampleText(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 0):
		return strings.TrimSuffix(fmt.Sprintf("%+f", v), "f")
	case v == math.Trunc(v) && math.Abs(v) < 1e15:
		return count(int64(v))
	case math.Abs(v) >= 1e9 || math.Abs(v) < 1e-4:
		return fmt.Sprintf("%.4g", v)
	}
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.*f", max(0, 4-int(math.Floor(math.Log10(math.Abs(v))))-1), v), "0"), ".")
}

// fold brings values into at most n, the largest of those that fall together.
func fold(vs []float64, n int) []float64 {
	if len(vs) <= n {
		return vs
	}
	out := make([]float64, n)
	for i := range out {
		from, to := i*len(vs)/n, (i+1)*len(vs)/n
		out[i] = slices.MaxFunc(vs[from:to], func(a, b float64) int { return cmp.Compare(a, b) })
	}
	return out
}

// QueryGraph draws the series of a range query: one as a chart, several as a
// line each.
func QueryGraph(w io.Writer, rs []api.Result[api.QueryResult], from, to time.Time, o Options) error {
	return screens(w, rs, o, func(s *screen, where string, q api.QueryResult) error {
		if !s.NoHeaders {
			s.heading(titled("Graph", where), s.muted.Render(s.clock(from)+" to "+s.clock(to)))
			s.line()
		}
		defer s.history(&q)
		switch len(q.Data.Series) {
		case 0:
			s.line(s.muted.Render("No series match."))
			return nil
		case 1:
			s.chart(&q.Data.Series[0], from, to)
			return nil
		}
		return s.sparks(q.Data.Series, from, to)
	})
}

// sparks draws a line a series, the largest last value first.
func (s *screen) sparks(all []api.QuerySeries, from, to time.Time) error {
	all = slices.Clone(all)
	last := func(q api.QuerySeries) float64 {
		if len(q.Values) == 0 {
			return math.Inf(-1)
		}
		return float64(q.Values[len(q.Values)-1].Value)
	}
	slices.SortStableFunc(all, func(a, b api.QuerySeries) int { return cmp.Compare(last(b), last(a)) })
	shown := all[:min(len(all), s.rowsOf(20, len(all)))]
	cells := min(max(sparkColumn, s.Width/3), 80)
	cols := []column{{name: "OVER TIME"}, {name: "LAST", right: true}, {name: "MIN", right: true, drop: 2}, {name: "MAX", right: true, drop: 1}, {name: "SERIES", flex: true}}
	var rows [][]string
	for _, one := range shown {
		vs := placed(one.Values, from, to, cells)
		low, high := bounds(vs)
		line := make([]float64, len(vs))
		for i, v := range vs {
			if line[i] = v - min(low, 0); math.IsNaN(v) {
				line[i] = -1
			}
		}
		rows = append(rows, []string{s.spark(line, s.accent), sampleText(last(one)), sampleText(low), sampleText(high), cmp.Or(seriesText(one.Metric), "{}")})
	}
	if err := s.table(cols, rows); err != nil {
		return err
	}
	s.leftOut(len(shown), len(all), "series")
	return nil
}

// placed puts values where they belong in time, NaN where there is none. With
// fewer values than cells each lasts until the next is due.
func placed(ps []api.QueryPoint, from, to time.Time, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = math.NaN()
	}
	span := max(to.Sub(from), 1)
	step := span
	for i, p := range ps {
		at := min(int(float64(p.Time.Sub(from))/float64(span)*float64(n)), n-1)
		if at >= 0 && !math.IsInf(float64(p.Value), 0) && !(out[at] >= float64(p.Value)) {
			out[at] = float64(p.Value)
		}
		if i > 0 {
			step = min(step, max(p.Time.Sub(ps[i-1].Time.Time), 1))
		}
	}
	if len(ps) < 2 {
		return out
	}
	lasts := int(math.Ceil(float64(n) * float64(step) / float64(span))) // cells until the next value
	for i, since := 0, n; i < n; i++ {
		if since++; !math.IsNaN(out[i]) {
			since = 0
		} else if since < lasts && since <= i {
			out[i] = out[i-since]
		}
	}
	return out
}

func bounds(vs []float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, v := range vs {
		if !math.IsNaN(v) {
			low, high = min(low, v), max(high, v)
		}
	}
	if low > high {
		return math.NaN(), math.NaN()
	}
	return low, high
}

// chart draws one series as an area over a time line.
func (s *screen) chart(one *api.QuerySeries, from, to time.Time) {
	room := max(s.Width-14, 10)
	vs := placed(one.Values, from, to, room)
	low, high := bounds(vs)
	base := min(low, 0)
	top := high
	if !(top > base) {
		top = base + 1
	}
	for row := chartRows - 1; row >= 0; row-- {
		label := ""
		switch row {
		case chartRows - 1:
			label = sampleText(top)
		case chartRows / 2:
			label = sampleText(base + (top-base)*float64(row)/chartRows)
		case 0:
			label = sampleText(base)
		}
		var line strings.Builder
		for _, v := range vs {
			line.WriteRune(chartCell((v-base)/(top-base)*chartRows - float64(row)))
		}
		s.line(s.muted.Render(right(label, 10)), " ", s.faint.Render("│"), s.accent.Render(strings.TrimRight(line.String(), " ")))
	}
	s.line(blanks(11), s.faint.Render("└"+strings.Repeat("─", room)))
	s.line(blanks(12), s.muted.Render(ends(s.clock(from), s.clock(to), room)))
	s.line()
	if name := seriesText(one.Metric); name != "" {
		s.line(fitMiddle(name, s.Width))
	}
	last := math.NaN()
	if n := len(one.Values); n > 0 {
		last = float64(one.Values[n-1].Value)
	}
	s.line(s.muted.Render("last "), sampleText(last), s.muted.Render("  min "), sampleText(low), s.muted.Render("  max "), sampleText(high))
}

// chartCell fills a cell from below by a share of it.
func chartCell(share float64) rune {
	switch {
	case !(share > 0): // no value among them
		return ' '
	case share >= 1:
		return '█'
	}
	return ticks[min(int(share*8), 7)]
}

// Exemplars draws the requests that a metric points to, newest first.
func Exemplars(w io.Writer, rs []api.Result[api.Exemplars], o Options) error {
	return screens(w, rs, o, func(s *screen, where string, x api.Exemplars) error {
		if !s.NoHeaders {
			s.heading(titled("Exemplars "+clean(x.Name), where), s.muted.Render(Plural(len(x.Exemplars), "request")))
			s.line()
		}
		if len(x.Exemplars) == 0 {
			s.line(s.muted.Render("No series of this metric points to a request."))
			return nil
		}
		shown := x.Exemplars[:min(len(x.Exemplars), o.rowsOf(20, len(x.Exemplars)))]
		cols := []column{{name: "AGE", right: true}, {name: "VALUE", right: true}, {name: "TRACE"}, {name: "PROFILE", drop: 2}, {name: "SERIES", flex: true, drop: 1}}
		var rows [][]string
		for _, e := range shown {
			rows = append(rows, s.exemplarRow(x.Name, e))
		}
		if err := s.table(cols, rows); err != nil {
			return err
		}
		s.leftOut(len(shown), len(x.Exemplars), "requests")
		s.nextOf(x.Exemplars)
		return nil
	})
}

func (s *screen) exemplarRow(name string, e api.Exemplar) []string {
	id := clean(e.TraceID)
	if !s.Wide && len(id) > 16 {
		id = id[:16]
	}
	trace := s.ok.Render("●") + " " + id
	switch {
	case e.TraceID == "":
		trace = s.muted.Render("–")
	case !e.TraceKept:
		trace = s.muted.Render("○ " + id + " gone")
	}
	profile := "–"
	if len(e.ProfileIDs) > 0 {
		profile = clean(e.ProfileIDs[0])
	}
	value := sampleText(float64(e.Value))
	if strings.HasSuffix(name, "_seconds") {
		value = duration(time.Duration(float64(e.Value) * float64(time.Second)))
	}
	return []string{age(s.Now.Sub(e.Time.Time)), value, trace, profile, exemplarSeries(e.Series)}
}

// exemplarSeries is a series without what all of a screen have in common.
func exemplarSeries(ls map[string]string) string {
	short := map[string]string{}
	for name, v := range ls {
		if name != "__name__" && name != "job" && name != "instance" {
			short[name] = v
		}
	}
	return alertLabels(short)
}

// nextOf says what to type next: the trace, or the profile, of the largest
// value whose trace is kept.
func (s *screen) nextOf(all []api.Exemplar) {
	var largest *api.Exemplar
	for i := range all {
		if all[i].TraceKept && (largest == nil || all[i].Value > largest.Value) {
			largest = &all[i]
		}
	}
	if largest == nil {
		return
	}
	s.line()
	s.line(s.muted.Render("next  "), "pulsectl traces show "+clean(largest.TraceID))
	if len(largest.ProfileIDs) > 0 {
		s.line(blanks(6), "pulsectl profiles show "+clean(largest.ProfileIDs[0]))
	}
}
