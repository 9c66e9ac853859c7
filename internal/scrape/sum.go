package scrape

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// By sums the series of a family over all labels but these, as PromQL's
// `sum by` does, changes included. Summaries lose their quantiles, which do not
// add up; histograms add bucket by bucket where their bounds agree, else their
// counts and sums only.
func By(f *api.MetricFamily, labels []string) {
	at := map[string]int{}
	var out []api.MetricSeries
	for i := range f.Series {
		m := &f.Series[i]
		kept := make(map[string]string, len(labels))
		for _, l := range labels {
			if v := m.Labels[l]; v != "" { // an empty label is none, as in PromQL
				kept[l] = v
			}
		}
		k := api.SeriesKey(kept)
		j, found := at[k]
		if !found {
			at[k] = len(out)
			out = append(out, first(m, kept))
			continue
		}
		add(&out[j], m)
	}
	slices.SortStableFunc(out, func(a, b api.MetricSeries) int {
		return strings.Compare(api.SeriesKey(a.Labels), api.SeriesKey(b.Labels))
	})
	for i := range out {
		Describe(&out[i].MetricHistogram)
		if c := out[i].Change; c != nil {
			Describe(&c.MetricHistogram)
		}
	}
	f.Series, f.SeriesCount = out, len(out)
}

// first is the sum of one series: a copy that adding changes alone.
func first(m *api.MetricSeries, labels map[string]string) api.MetricSeries {
	out := *m
	out.Labels, out.Quantiles = labels, nil
	out.Value = plus(m.Value, nil)
	out.MetricHistogram = own(m.MetricHistogram)
	if m.Change != nil {
		c := *m.Change
		c.Value, c.MetricHistogram = plus(c.Value, nil), own(c.MetricHistogram)
		out.Change = &c
	}
	return out
}

func own(h api.MetricHistogram) api.MetricHistogram {
	h.Count, h.Sum, h.Buckets = plus(h.Count, nil), plus(h.Sum, nil), slices.Clone(h.Buckets)
	return h // native ones are never changed in place
}

func add(to, m *api.MetricSeries) {
	to.Value = plus(to.Value, m.Value)
	addHistogram(&to.MetricHistogram, &m.MetricHistogram)
	switch {
	case m.Change == nil:
	case to.Change == nil:
		to.Change = first(m, nil).Change
	default:
		to.Change.Value = plus(to.Change.Value, m.Change.Value)
		to.Change.Rate += m.Change.Rate
		to.Change.Reset = to.Change.Reset || m.Change.Reset
		addHistogram(&to.Change.MetricHistogram, &m.Change.MetricHistogram)
	}
}

func addHistogram(to, h *api.MetricHistogram) {
	to.Count, to.Sum = plus(to.Count, h.Count), plus(to.Sum, h.Sum)
	if sameBounds(to.Buckets, h.Buckets) {
		for i := range to.Buckets {
			to.Buckets[i].Count += h.Buckets[i].Count
			to.Buckets[i].Exemplar = later(to.Buckets[i].Exemplar, h.Buckets[i].Exemplar)
		}
	} else {
		to.Buckets = nil
	}
	to.Native = merged(to.Native, h.Native)
}

// later is the exemplar seen last.
func later(a, b *api.MetricExemplar) *api.MetricExemplar {
	if a == nil || b != nil && b.Time != nil && (a.Time == nil || b.Time.After(a.Time.Time)) {
		return b
	}
	return a
}

// merged adds two native histograms of one resolution; others do not add up.
func merged(a, b *api.MetricNative) *api.MetricNative {
	if a == nil || b == nil || a.Schema != b.Schema || a.ZeroThreshold != b.ZeroThreshold {
		return nil
	}
	out := &api.MetricNative{Schema: a.Schema, ZeroThreshold: a.ZeroThreshold, ZeroCount: a.ZeroCount + b.ZeroCount}
	at := map[api.Float]int{}
	for _, c := range slices.Concat(a.Buckets, b.Buckets) {
		if i, found := at[c.Upper]; found {
			out.Buckets[i].Count += c.Count
			continue
		}
		at[c.Upper] = len(out.Buckets)
		out.Buckets = append(out.Buckets, c)
	}
	slices.SortFunc(out.Buckets, func(x, y api.MetricNativeBucket) int { return cmp.Compare(x.Upper, y.Upper) })
	return out
}

// plus adds numbers that may not be there, into a new one.
func plus(a, b *api.Float) *api.Float {
	if a == nil && b == nil {
		return nil
	}
	return number(valueOf(a) + valueOf(b))
}

// SeriesOrders are what series can be sorted by.
const SeriesOrders = "labels, value or rate"

// SortSeries sorts by one of [SeriesOrders], the largest first; "" are labels,
// and of histograms the number of observations, of the interval if there is
// one. It tells whether there is such an order.
func SortSeries(f *api.MetricFamily, by string) bool {
	if by == "" {
		by = "labels"
		if f.Type == "histogram" || f.Type == "gauge_histogram" {
			by = "value"
		}
	}
	value := func(m *api.MetricSeries) float64 {
		if m.Value != nil {
			return float64(*m.Value)
		}
		if m.Change != nil {
			return valueOf(m.Change.Count)
		}
		return valueOf(m.Count)
	}
	of := map[string]func(m *api.MetricSeries) float64{
		"labels": func(*api.MetricSeries) float64 { return 0 },
		"value":  value,
		"rate": func(m *api.MetricSeries) float64 {
			if m.Change == nil {
				return 0
			}
			return float64(m.Change.Rate)
		},
	}[by]
	if of == nil {
		return false
	}
	slices.SortStableFunc(f.Series, func(a, b api.MetricSeries) int { return cmp.Compare(of(&b), of(&a)) })
	return true
}
