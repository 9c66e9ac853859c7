package client

import (
	"cmp"
	"math"
	"slices"

	dto "github.com/prometheus/client_model/go"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// series reads one series out of an exposition.
func series(m *dto.Metric) api.MetricSeries {
	out := api.MetricSeries{Labels: labels(m.Label)}
	switch {
	case m.Histogram != nil:
		out.MetricHistogram = histogram(m.Histogram)
	case m.Summary != nil:
		out.Count, out.Sum = counted(m.Summary.SampleCount, nil), summed(m.Summary.SampleSum)
		for _, q := range m.Summary.Quantile {
			out.Quantiles = append(out.Quantiles, api.MetricQuantile{Quantile: api.Float(q.GetQuantile()), Value: api.Float(q.GetValue())})
		}
	case m.Counter != nil:
		out.Value = float(m.Counter.GetValue())
	case m.Gauge != nil:
		out.Value = float(m.Gauge.GetValue())
	default:
		out.Value = float(m.Untyped.GetValue())
	}
	return out
}

func labels(pairs []*dto.LabelPair) map[string]string {
	out := make(map[string]string, len(pairs))
	for _, l := range pairs {
		out[l.GetName()] = l.GetValue()
	}
	return out
}

func histogram(h *dto.Histogram) api.MetricHistogram {
	out := api.MetricHistogram{Count: counted(h.SampleCount, h.SampleCountFloat), Sum: summed(h.SampleSum), Native: native(h)}
	for _, b := range h.Bucket {
		n := cmp.Or(b.GetCumulativeCountFloat(), float64(b.GetCumulativeCount()))
		out.Buckets = append(out.Buckets, api.MetricBucket{UpperBound: api.Float(b.GetUpperBound()), Count: api.Float(n), Exemplar: exemplar(b.Exemplar)})
	}
	return out
}

func exemplar(e *dto.Exemplar) *api.MetricExemplar {
	if e == nil {
		return nil
	}
	out := &api.MetricExemplar{Labels: labels(e.Label), Value: api.Float(e.GetValue())}
	if e.Timestamp != nil {
		at := api.Unix(e.Timestamp.AsTime().UnixNano())
		out.Time = &at
	}
	return out
}

// maxNative bounds the native buckets that are read of one histogram, and the
// gaps between them the indexes that are believed.
const maxNative, maxNativeIndex = 4096, 1 << 20

// native reads the native buckets of a histogram, nil where it has none. Their
// bounds are the powers of 2^(2^-schema); schemas are -4 to 8.
func native(h *dto.Histogram) *api.MetricNative {
	if h.Schema == nil || h.GetSchema() < -4 || h.GetSchema() > 8 || len(h.PositiveSpan)+len(h.NegativeSpan) == 0 && h.GetZeroThreshold() == 0 && h.ZeroCount == nil {
		return nil
	}
	out := &api.MetricNative{
		Schema: int(h.GetSchema()), ZeroThreshold: api.Float(h.GetZeroThreshold()),
		ZeroCount: api.Float(cmp.Or(h.GetZeroCountFloat(), float64(h.GetZeroCount()))), Buckets: []api.MetricNativeBucket{},
	}
	bound := func(i int) api.Float { return api.Float(math.Exp2(math.Ldexp(float64(i), -out.Schema))) }
	spans(h.NegativeSpan, h.NegativeDelta, h.NegativeCount, func(i int, n float64) {
		out.Buckets = append(out.Buckets, api.MetricNativeBucket{Lower: -bound(i), Upper: -bound(i - 1), Count: api.Float(n)})
	})
	slices.Reverse(out.Buckets)
	spans(h.PositiveSpan, h.PositiveDelta, h.PositiveCount, func(i int, n float64) {
		out.Buckets = append(out.Buckets, api.MetricNativeBucket{Lower: bound(i - 1), Upper: bound(i), Count: api.Float(n)})
	})
	return out
}

// spans calls f with the index and the count of each bucket that holds anything.
func spans(ss []*dto.BucketSpan, deltas []int64, counts []float64, f func(i int, n float64)) {
	index, at, n := 0, 0, int64(0)
	for _, s := range ss {
		index += int(s.GetOffset())
		for range s.GetLength() {
			v := 0.0
			switch {
			case at >= maxNative || index > maxNativeIndex || index < -maxNativeIndex:
				return
			case at < len(deltas):
				n += deltas[at]
				v = float64(n)
			case at < len(counts):
				v = counts[at]
			default:
				return
			}
			if v > 0 {
				f(index, v)
			}
			index, at = index+1, at+1
		}
	}
}

func float(v float64) *api.Float { f := api.Float(v); return &f }

// counted is a number of observations, nil where none was told.
func counted(whole *uint64, broken *float64) *api.Float {
	switch {
	case broken != nil && *broken != 0:
		return float(*broken)
	case whole != nil:
		return float(float64(*whole))
	}
	return nil
}

func summed(v *float64) *api.Float {
	if v == nil {
		return nil
	}
	return float(*v)
}

// finish puts a series together of which chunks had parts: sorts its buckets,
// and counts what is in the last one where the count itself was not told.
func finish(m *api.MetricSeries) {
	slices.SortStableFunc(m.Buckets, func(a, b api.MetricBucket) int { return cmp.Compare(a.UpperBound, b.UpperBound) })
	if n := len(m.Buckets); m.Count == nil && n > 0 && math.IsInf(float64(m.Buckets[n-1].UpperBound), 1) {
		m.Count = float(float64(m.Buckets[n-1].Count))
	}
}

// join adds to a series what another chunk had of it.
func join(m, more *api.MetricSeries) {
	m.Buckets = append(m.Buckets, more.Buckets...)
	m.Quantiles = append(m.Quantiles, more.Quantiles...)
	if more.Count != nil {
		m.Count = more.Count
	}
	if more.Sum != nil {
		m.Sum = more.Sum
	}
}
