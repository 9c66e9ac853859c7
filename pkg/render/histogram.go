package render

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// quantiles are those that a histogram's screen shows.
var quantiles = []struct {
	name string
	q    float64
}{{"p50", .5}, {"p90", .9}, {"p95", .95}, {"p99", .99}}

// bucket is one bar: how many observations lay between two bounds.
type bucket struct{ low, high, count, cumulative float64 }

// bars makes single counts of cumulative ones. What a hostile server sends out
// of order or falling counts as nothing.
func bars(m api.MetricSeries) []bucket {
	var out []bucket
	low, before := math.Inf(-1), 0.0
	for _, b := range m.Buckets {
		high, n := float64(b.UpperBound), float64(b.Count)
		if math.IsNaN(high) || math.IsNaN(n) || high <= low {
			continue
		}
		n = min(max(n, before), math.MaxInt64/2)
		out = append(out, bucket{low, high, n - before, n})
		low, before = high, n
	}
	if total := float64(deref(m.Count)); len(out) > 0 && !math.IsInf(low, 1) && total > before && total < math.MaxInt64/2 {
		out = append(out, bucket{low, math.Inf(1), total - before, total})
	}
	return out
}

func deref(f *api.Float) api.Float {
	if f == nil {
		return 0
	}
	return *f
}

// quantile interpolates within a bucket as PromQL's histogram_quantile does.
// at is the bucket's index, -1 if there is no observation.
func quantile(bs []bucket, q float64) (v float64, at int) {
	if len(bs) == 0 || bs[len(bs)-1].cumulative == 0 {
		return 0, -1
	}
	rank := q * bs[len(bs)-1].cumulative
	for i, b := range bs {
		if b.cumulative < rank || b.count == 0 {
			continue
		}
		low := b.low
		switch {
		case math.IsInf(b.high, 1):
			return max(b.low, 0), i
		case math.IsInf(low, -1) && b.high <= 0:
			return b.high, i
		case math.IsInf(low, -1):
			low = 0
		}
		return low + (b.high-low)*(rank-(b.cumulative-b.count))/b.count, i
	}
	return 0, -1
}

// histograms draws each series of a family as bars, the most observed first.
func (s *screen) histograms(rs []api.Result[api.MetricFamily]) {
	limit, shown := s.rows(5), 0
	for _, r := range rs {
		if r.Error != nil {
			if len(rs) > 1 {
				s.failed(instance(r.Instance)+blanks(gutter), r.Error)
			}
			continue
		}
		series := slices.Clone(r.Value.Series)
		slices.SortStableFunc(series, func(a, b api.MetricSeries) int { return cmp.Compare(deref(b.Count), deref(a.Count)) })
		for _, m := range series[:min(limit, len(series))] {
			if shown > 0 {
				s.line()
			}
			shown++
			where := ""
			if len(rs) > 1 {
				where = instance(r.Instance)
			}
			s.histogram(r.Value, m, where)
		}
	}
	s.leftOut(shown, seriesCount(rs), "series")
}

func (s *screen) histogram(f api.MetricFamily, m api.MetricSeries, where string) {
	if !s.NoHeaders {
		s.heading(clean(f.Name), s.muted.Render(strings.TrimSpace(where+"  "+count(int64(min(float64(deref(m.Count)), math.MaxInt64/2)))+" observed")))
		s.line(strings.TrimRight(fitMiddle(labelText(m.Labels), min(s.Width, cells(labelText(m.Labels)))), " "))
		s.line()
	}
	bs := bars(m)
	if len(bs) == 0 || bs[len(bs)-1].cumulative == 0 {
		s.line(s.muted.Render("Nothing observed yet."))
		return
	}
	marks := map[int]string{}
	var parts []string
	for _, q := range quantiles {
		v, at := quantile(bs, q.q)
		marks[at] = strings.TrimSpace(marks[at] + " " + q.name)
		parts = append(parts, s.muted.Render(q.name+" ")+quantity(v, f.Unit))
	}
	if n := float64(deref(m.Count)); n > 0 && m.Sum != nil {
		parts = append(parts, s.muted.Render("avg ")+quantity(float64(*m.Sum)/n, f.Unit))
	}
	s.line(strings.Join(parts, "   "))
	s.line()
	s.bars(bs, marks, f.Unit)
}

// bars draws a bar a bucket, from the first to the last that holds anything.
func (s *screen) bars(bs []bucket, marks map[int]string, unit string) {
	first, last, most, total := len(bs), 0, 0.0, bs[len(bs)-1].cumulative
	names, counts := make([]string, len(bs)), make([]string, len(bs))
	for i, b := range bs {
		if b.count > 0 {
			first, last = min(first, i), i
		}
		most = max(most, b.count)
	}
	nameW, countW := 0, 0
	for i := first; i <= last; i++ {
		b := bs[i]
		names[i], counts[i] = "≤ "+quantity(b.high, unit), count(int64(b.count))
		if math.IsInf(b.high, 1) {
			names[i] = "> " + quantity(b.low, unit)
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
		s.line(s.muted.Render(fit(names[i], nameW)), " ", s.faint.Render("│"), s.accent.Render(fit(bar(bs[i].count, most, barW), barW)), "  ",
			right(counts[i], countW), "  ", s.muted.Render(right(fmt.Sprintf("%.1f%%", bs[i].count*100/total), 6)), mark)
	}
}
