package render

import (
	"fmt"
	"math"
	"strings"

	"github.com/pulsectl/pulsectl/internal/scrape"
	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	histogramsShown = 5  // series of a histogram that a screen holds
	nativeRows      = 20 // bars of a histogram that has native buckets only
)

// histograms draws each series of a family as bars, in the order they come.
func (s *screen) histograms(rs []api.Result[api.MetricFamily]) {
	limit, shown := s.rows(histogramsShown), 0
	for _, r := range rs {
		if r.Error != nil {
			if len(rs) > 1 {
				s.failed(instance(r.Instance)+blanks(gutter), r.Error)
			}
			continue
		}
		where := ""
		if len(rs) > 1 {
			where = instance(r.Instance)
		}
		for i := range r.Value.Series[:min(limit, len(r.Value.Series))] {
			if shown > 0 {
				s.line()
			}
			shown++
			s.histogram(&r.Value, &r.Value.Series[i], where)
		}
	}
	s.leftOut(shown, seriesCount(rs), "series")
}

// histogram draws what a series has observed, between two reads where there
// were two.
func (s *screen) histogram(f *api.MetricFamily, m *api.MetricSeries, where string) {
	h := &m.MetricHistogram
	if m.Change != nil {
		h = &m.Change.MetricHistogram
	}
	if !s.NoHeaders {
		s.heading(clean(f.Name), s.muted.Render(strings.TrimSpace(where+"  "+observedIn(f, m, h))))
		labels := labelText(m.Labels)
		s.line(strings.TrimRight(fitMiddle(labels, min(s.Width, cells(labels))), " "))
		s.line()
	}
	bs := scrape.Buckets(h)
	if len(h.Buckets) == 0 {
		bs = scrape.Coarse(bs, nativeRows)
	}
	if len(bs) == 0 || bs[len(bs)-1].Cumulative == 0 {
		s.line(s.muted.Render(nothingObserved(m, h)))
		return
	}
	marks := map[int]string{}
	var parts []string
	for _, q := range []struct {
		name string
		v    *api.Float
	}{{"p50", h.P50}, {"p90", h.P90}, {"p95", h.P95}, {"p99", h.P99}, {"avg", h.Avg}} {
		if q.v == nil {
			continue
		}
		if q.name != "avg" {
			at := scrape.At(bs, float64(*q.v))
			marks[at] = strings.TrimSpace(marks[at] + " " + q.name)
		}
		parts = append(parts, s.muted.Render(q.name+" ")+quantity(float64(*q.v), f.Unit))
	}
	s.line(strings.Join(parts, "   "))
	s.line()
	s.bars(bs, marks, f.Unit)
}

// observedIn says how much a histogram has observed, and when.
func observedIn(f *api.MetricFamily, m *api.MetricSeries, h *api.MetricHistogram) string {
	text := count(int64(min(float64(deref(h.Count)), math.MaxInt64/2))) + " observed"
	if m.Change == nil || f.Interval == nil {
		return text
	}
	if m.Change.Reset {
		return "began anew  " + text
	}
	return "last " + duration(f.Interval.Duration()) + "  " + text + "  " + perSecond(float64(m.Change.Rate), "")
}

func nothingObserved(m *api.MetricSeries, h *api.MetricHistogram) string {
	switch {
	case deref(h.Count) > 0:
		return "No buckets."
	case m.Change != nil:
		return "Nothing observed in between."
	}
	return "Nothing observed yet."
}

func deref(f *api.Float) api.Float {
	if f == nil {
		return 0
	}
	return *f
}

// bars draws a bar a bucket, from the first to the last that holds anything.
func (s *screen) bars(bs []scrape.Bucket, marks map[int]string, unit string) {
	first, last, most, total := len(bs), 0, 0.0, bs[len(bs)-1].Cumulative
	names, counts := make([]string, len(bs)), make([]string, len(bs))
	for i, b := range bs {
		if b.Count > 0 {
			first, last = min(first, i), i
		}
		most = max(most, b.Count)
	}
	nameW, countW := 0, 0
	for i := first; i <= last; i++ {
		b := bs[i]
		names[i], counts[i] = "≤ "+quantity(b.High, unit), count(int64(b.Count))
		if math.IsInf(b.High, 1) {
			names[i] = "> " + quantity(b.Low, unit)
		}
		nameW, countW = max(nameW, cells(names[i])), max(countW, cells(counts[i]))
	}
	markW := 0
	for _, m := range marks {
		markW = max(markW, cells(m)+2)
	}
	barW := max(s.Width-nameW-2-2-countW-2-6-markW, 4)
	for i := first; i <= last; i++ {
		mark := ""
		if marks[i] != "" {
			mark = "  " + s.accent.Render(marks[i])
		}
		if trace := traceOf(bs[i].Exemplar); s.Wide && trace != "" {
			mark = fit(mark, markW) + "  " + s.muted.Render("trace ") + trace
		}
		s.line(s.muted.Render(fit(names[i], nameW)), " ", s.faint.Render("│"), s.accent.Render(fit(bar(bs[i].Count, most, barW), barW)), "  ",
			right(counts[i], countW), "  ", s.muted.Render(right(fmt.Sprintf("%.1f%%", bs[i].Count*100/total), 6)), mark)
	}
}

// traceOf is the trace that an exemplar names, "" if none.
func traceOf(e *api.MetricExemplar) string {
	if e == nil {
		return ""
	}
	return clean(e.Labels["trace_id"])
}
