package client

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Metrics returns the families of one scrape, by name.
func (c *Client) Metrics(ctx context.Context) ([]api.MetricFamily, error) {
	var text []byte
	if err := c.get(ctx, "/monitoring/metrics", nil, &text); err != nil {
		return nil, err
	}
	out, err := ParseMetrics(text)
	if err != nil {
		return nil, unreadable(0, "GET /monitoring/metrics: the answer is no exposition: %v", err)
	}
	return out, nil
}

// ParseMetrics reads an exposition in Prometheus's text form. Its families are
// in the order of their names, their series in that of their labels.
func ParseMetrics(text []byte) ([]api.MetricFamily, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation) // the zero parser panics
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	out := make([]api.MetricFamily, 0, len(families))
	for _, f := range families {
		out = append(out, family(f))
	}
	slices.SortFunc(out, func(a, b api.MetricFamily) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func family(f *dto.MetricFamily) api.MetricFamily {
	out := api.MetricFamily{
		Name: f.GetName(), Type: strings.ToLower(f.GetType().String()), Help: f.GetHelp(), Unit: unitOf(f.GetName()),
		Series: make([]api.MetricSeries, 0, len(f.Metric)),
	}
	for _, m := range f.Metric {
		out.Series = append(out.Series, series(m))
	}
	keys := func(s api.MetricSeries) string { return labelKey(s.Labels) }
	slices.SortStableFunc(out.Series, func(a, b api.MetricSeries) int { return strings.Compare(keys(a), keys(b)) })
	return out
}

func series(m *dto.Metric) api.MetricSeries {
	out := api.MetricSeries{Labels: make(map[string]string, len(m.Label))}
	for _, l := range m.Label {
		out.Labels[l.GetName()] = l.GetValue()
	}
	number := func(v float64) *api.Float { f := api.Float(v); return &f }
	switch {
	case m.Histogram != nil:
		h := m.Histogram
		out.Count, out.Sum = number(float64(h.GetSampleCount())), number(h.GetSampleSum())
		for _, b := range h.Bucket {
			n := cmp.Or(b.GetCumulativeCountFloat(), float64(b.GetCumulativeCount()))
			out.Buckets = append(out.Buckets, api.MetricBucket{UpperBound: api.Float(b.GetUpperBound()), Count: api.Float(n)})
		}
		slices.SortStableFunc(out.Buckets, func(a, b api.MetricBucket) int { return cmp.Compare(a.UpperBound, b.UpperBound) })
	case m.Summary != nil:
		out.Count, out.Sum = number(float64(m.Summary.GetSampleCount())), number(m.Summary.GetSampleSum())
		for _, q := range m.Summary.Quantile {
			out.Quantiles = append(out.Quantiles, api.MetricQuantile{Quantile: api.Float(q.GetQuantile()), Value: api.Float(q.GetValue())})
		}
	case m.Counter != nil:
		out.Value = number(m.Counter.GetValue())
	case m.Gauge != nil:
		out.Value = number(m.Gauge.GetValue())
	default:
		out.Value = number(m.Untyped.GetValue())
	}
	return out
}

// labelKey orders series by their labels.
func labelKey(labels map[string]string) string {
	pairs := make([]string, 0, len(labels))
	for name, value := range labels {
		pairs = append(pairs, name+"\x00"+value)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "\x01")
}

// unitOf is the unit that a metric's name ends in, "" if none.
func unitOf(name string) string {
	name = strings.TrimSuffix(name, "_total")
	for _, unit := range []string{"seconds", "bytes", "percent", "ratio"} {
		if strings.HasSuffix(name, "_"+unit) {
			return unit
		}
	}
	return ""
}
