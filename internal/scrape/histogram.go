// Package scrape reads out of metrics what a person asks of them: the quantiles
// of a histogram, sums by label, what changed between two reads and how fast,
// the routes that serve most.
//
// It is pure: families in, families or rows out. What a hostile server sends,
// out of order, falling, not a number, counts as nothing.
package scrape

import (
	"math"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Bucket is how many observations lay above one bound and up to another.
type Bucket struct {
	Low, High         float64 // Low is -Inf in the first classic one, High +Inf in the last
	Count, Cumulative float64
	Exponential       bool // the observations are spread as a native bucket's are
	Exemplar          *api.MetricExemplar
}

// most bounds what a bucket or a histogram may claim to hold.
const most = math.MaxInt64 / 2

// Buckets are the buckets of a histogram: the classic ones, or the native ones
// where it has no others.
func Buckets(h *api.MetricHistogram) []Bucket {
	if len(h.Buckets) > 0 {
		return classic(h)
	}
	return native(h.Native)
}

// finest are the buckets that quantiles are taken from: the native ones, if
// they hold as much as the histogram does.
func finest(h *api.MetricHistogram) []Bucket {
	bs := native(h.Native)
	if n := len(bs); n > 0 && (h.Count == nil || bs[n-1].Cumulative >= float64(*h.Count)*.999) {
		return bs
	}
	return Buckets(h)
}

func classic(h *api.MetricHistogram) []Bucket {
	var out []Bucket
	low, before := math.Inf(-1), 0.0
	for _, b := range h.Buckets {
		high, n := float64(b.UpperBound), float64(b.Count)
		if math.IsNaN(high) || math.IsNaN(n) || high <= low {
			continue
		}
		n = min(max(n, before), most)
		out = append(out, Bucket{Low: low, High: high, Count: n - before, Cumulative: n, Exemplar: b.Exemplar})
		low, before = high, n
	}
	if total := valueOf(h.Count); len(out) > 0 && !math.IsInf(low, 1) && total > before && total < most {
		out = append(out, Bucket{Low: low, High: math.Inf(1), Count: total - before, Cumulative: total})
	}
	return out
}

func native(n *api.MetricNative) []Bucket {
	if n == nil {
		return nil
	}
	var out []Bucket
	cumulative, low := 0.0, math.Inf(-1)
	add := func(b Bucket) {
		b.Low, b.High = max(b.Low, low), min(b.High, math.MaxFloat64)
		if !(b.High > b.Low && b.Count >= 0) {
			return
		}
		b.Count = min(b.Count, most-cumulative)
		cumulative, low = cumulative+b.Count, b.High
		b.Cumulative = cumulative
		out = append(out, b)
	}
	zero := n.ZeroCount > 0
	around := func() {
		if w := float64(n.ZeroThreshold); zero {
			add(Bucket{Low: -w, High: max(w, math.SmallestNonzeroFloat64), Count: float64(n.ZeroCount)})
			zero = false
		}
	}
	for _, b := range n.Buckets {
		if b.Lower >= 0 {
			around()
		}
		add(Bucket{Low: float64(b.Lower), High: float64(b.Upper), Count: float64(b.Count), Exponential: true})
	}
	around()
	return out
}

// valueOf is a number that may not be there, 0 then.
func valueOf(f *api.Float) float64 {
	if f == nil {
		return 0
	}
	return float64(*f)
}

// Quantile interpolates within a bucket as PromQL's histogram_quantile does.
// ok is false if there is no observation.
func Quantile(bs []Bucket, q float64) (v float64, ok bool) {
	if len(bs) == 0 || bs[len(bs)-1].Cumulative == 0 {
		return 0, false
	}
	rank := q * bs[len(bs)-1].Cumulative
	for i, b := range bs {
		if b.Cumulative < rank || b.Count == 0 {
			continue
		}
		part := (rank - (b.Cumulative - b.Count)) / b.Count
		switch {
		case math.IsInf(b.High, 1):
			if math.IsInf(b.Low, -1) { // one bucket for everything tells nothing
				return 0, false
			}
			return b.Low, true
		case math.IsInf(b.Low, -1) && b.High <= 0:
			return b.High, true
		case math.IsInf(b.Low, -1):
			return b.High * part, true
		case b.Exponential && (b.Low > 0 || b.High < 0):
			return b.Low * math.Pow(b.High/b.Low, part), true
		case !b.Exponential && b.Low < 0 && b.Low == -b.High && i == 0: // the zero bucket of what is never negative
			return b.High * part, true
		}
		return b.Low + (b.High-b.Low)*part, true
	}
	return 0, false
}

// At is the index of the bucket that a value lies in, -1 for none.
func At(bs []Bucket, v float64) int {
	for i, b := range bs {
		if v <= b.High && b.Count > 0 {
			return i
		}
	}
	return -1
}

// Coarse brings native buckets to at most about n without gaps, whose bounds
// grow by the same factor, a power of two or a root of two. What is negative
// becomes one bucket.
func Coarse(bs []Bucket, n int) []Bucket {
	var below, out []Bucket
	for len(bs) > 0 && !(bs[0].Exponential && bs[0].Low > 0) {
		below, bs = append(below, bs[0]), bs[1:]
	}
	if k := len(below) - 1; k > 0 { // the zero bucket stands last, if there is one
		neg := Bucket{Low: below[0].Low, High: below[k-1].High, Cumulative: below[k-1].Cumulative, Count: below[k-1].Cumulative}
		out = append(out, neg)
		below = below[k:]
	}
	out = append(out, below...)
	if len(bs) == 0 {
		return out
	}
	for schema := 3; ; schema-- {
		perTwo := math.Pow(2, float64(schema))
		key := func(b Bucket) int { return int(math.Ceil(math.Log2(b.High)*perTwo - 1e-6)) }
		first, last := key(bs[0]), key(bs[len(bs)-1])
		if last-first >= n && schema > -8 {
			continue
		}
		grown := make([]Bucket, last-first+1)
		for i := range grown {
			grown[i] = Bucket{Low: math.Pow(2, float64(first+i-1)/perTwo), High: math.Pow(2, float64(first+i)/perTwo), Exponential: true}
		}
		for _, b := range bs {
			grown[key(b)-first].Count += b.Count
		}
		for i := range grown {
			if k := len(out); k > 0 {
				grown[i].Cumulative = out[k-1].Cumulative
			}
			grown[i].Cumulative += grown[i].Count
			out = append(out, grown[i])
		}
		return out
	}
}

// Describe fills in average and percentiles of a histogram.
func Describe(h *api.MetricHistogram) {
	if n := valueOf(h.Count); n > 0 && h.Sum != nil {
		h.Avg = number(float64(*h.Sum) / n)
	}
	bs := finest(h)
	for _, p := range []struct {
		q  float64
		to **api.Float
	}{{.5, &h.P50}, {.9, &h.P90}, {.95, &h.P95}, {.99, &h.P99}} {
		*p.to = nil
		if v, ok := Quantile(bs, p.q); ok {
			*p.to = number(v)
		}
	}
}

func number(v float64) *api.Float { f := api.Float(v); return &f }
