package scrape

import (
	"math"
	"slices"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Changes gives the series of a family what became of them since an earlier
// read, so long before. A counter that is not there earlier began at nothing;
// one that has fallen began anew, and has gained what it holds now. A gauge
// that was not there has no change.
func Changes(before, now *api.MetricFamily, apart time.Duration) {
	if apart <= 0 {
		return
	}
	interval := api.Seconds(apart)
	now.Interval = &interval
	earlier := make(map[string]*api.MetricSeries, len(before.Series))
	for i := range before.Series {
		earlier[api.SeriesKey(before.Series[i].Labels)] = &before.Series[i]
	}
	for i := range now.Series {
		m := &now.Series[i]
		m.Change = change(earlier[api.SeriesKey(m.Labels)], m, now.Type, apart.Seconds())
	}
}

func change(old, m *api.MetricSeries, kind string, seconds float64) *api.MetricChange {
	if m.Count != nil || m.Buckets != nil || m.Native != nil {
		was := &api.MetricHistogram{}
		if old != nil {
			was = &old.MetricHistogram
		}
		return observed(was, &m.MetricHistogram, seconds)
	}
	if m.Value == nil || math.IsNaN(float64(*m.Value)) {
		return nil
	}
	grows := kind == "counter"
	if old == nil || old.Value == nil {
		if !grows {
			return nil
		}
		old = &api.MetricSeries{Value: new(api.Float)}
	}
	gain, reset := float64(*m.Value-*old.Value), false
	if grows && !(gain >= 0) { // NaN, too
		gain, reset = float64(*m.Value), true
	}
	return &api.MetricChange{Value: number(gain), Rate: api.Float(gain / seconds), Reset: reset}
}

// observed is what a histogram or summary has observed since it was like that.
func observed(was, h *api.MetricHistogram, seconds float64) *api.MetricChange {
	c := &api.MetricChange{Reset: fell(was, h)}
	if c.Reset {
		was = &api.MetricHistogram{}
	}
	c.Count = number(max(valueOf(h.Count)-valueOf(was.Count), 0))
	if h.Sum != nil {
		c.Sum = number(float64(*h.Sum) - valueOf(was.Sum))
	}
	if len(was.Buckets) == 0 || sameBounds(was.Buckets, h.Buckets) {
		c.Buckets = slices.Clone(h.Buckets)
		for i := range was.Buckets {
			c.Buckets[i].Count -= was.Buckets[i].Count
		}
	}
	c.Native = gained(was.Native, h.Native)
	c.Rate = *c.Count / api.Float(seconds)
	Describe(&c.MetricHistogram)
	return c
}

// fell tells whether anything in a histogram that only grows has fallen.
func fell(was, h *api.MetricHistogram) bool {
	if valueOf(h.Count) < valueOf(was.Count) {
		return true
	}
	if !sameBounds(was.Buckets, h.Buckets) {
		return false
	}
	for i := range was.Buckets {
		if h.Buckets[i].Count < was.Buckets[i].Count {
			return true
		}
	}
	return false
}

func sameBounds(a, b []api.MetricBucket) bool {
	return slices.EqualFunc(a, b, func(x, y api.MetricBucket) bool { return x.UpperBound == y.UpperBound })
}

// gained is a native histogram less what it was. One whose resolution has
// changed in between has gained nothing that is known.
func gained(was, n *api.MetricNative) *api.MetricNative {
	if n == nil || was == nil {
		return n
	}
	if was.Schema != n.Schema || was.ZeroThreshold != n.ZeroThreshold {
		return nil
	}
	out := &api.MetricNative{Schema: n.Schema, ZeroThreshold: n.ZeroThreshold, ZeroCount: max(n.ZeroCount-was.ZeroCount, 0)}
	earlier := make(map[api.Float]api.Float, len(was.Buckets))
	for _, b := range was.Buckets {
		earlier[b.Upper] = b.Count
	}
	for _, b := range n.Buckets {
		if b.Count -= earlier[b.Upper]; b.Count > 0 {
			out.Buckets = append(out.Buckets, b)
		}
	}
	return out
}
