package scrape_test

import (
	"math"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/scrape"
	"github.com/pulsectl/pulsectl/pkg/api"
)

func num(v float64) *api.Float { f := api.Float(v); return &f }

// classic makes a histogram of pairs of bound and cumulative count.
func classic(pairs ...float64) api.MetricHistogram {
	h := api.MetricHistogram{}
	for i := 0; i < len(pairs); i += 2 {
		h.Buckets = append(h.Buckets, api.MetricBucket{UpperBound: api.Float(pairs[i]), Count: api.Float(pairs[i+1])})
		h.Count = num(pairs[i+1])
	}
	return h
}

// native makes a native histogram of schema 0 of pairs of upper bound and count.
func native(zero float64, pairs ...float64) api.MetricHistogram {
	n := &api.MetricNative{ZeroThreshold: .001, ZeroCount: api.Float(zero)}
	total := zero
	for i := 0; i < len(pairs); i += 2 {
		b := api.MetricNativeBucket{Lower: api.Float(pairs[i] / 2), Upper: api.Float(pairs[i]), Count: api.Float(pairs[i+1])}
		if pairs[i] < 0 {
			b.Lower, b.Upper = api.Float(pairs[i]), api.Float(pairs[i]/2)
		}
		n.Buckets = append(n.Buckets, b)
		total += pairs[i+1]
	}
	return api.MetricHistogram{Native: n, Count: num(total)}
}

func near(got *api.Float, want float64) bool {
	return got != nil && math.Abs(float64(*got)-want) <= 1e-9*max(1, math.Abs(want))
}

// The values are those that PromQL's histogram_quantile gives.
func TestQuantiles(t *testing.T) {
	inf := math.Inf(1)
	both := classic(1, 0, 10, 100, inf, 100)
	both.Native = native(0, 4, 100).Native
	stale := classic(1, 0, 10, 100, inf, 100)
	stale.Native = native(0, 4, 10).Native
	for _, tt := range []struct {
		name          string
		h             api.MetricHistogram
		p50, p99, avg float64
	}{
		{"between two bounds", classic(1, 0, 2, 100, inf, 100), 1.5, 1.99, 0},
		{"from zero in the first", classic(4, 100, inf, 100), 2, 3.96, 0},
		{"a first bound below zero", classic(-4, 100, 0, 100), -4, -4, 0},
		{"above all bounds the last of them", classic(1, 10, 2, 40, inf, 100), 2, 2, 0},
		{"native: by the logarithm", native(0, 4, 100), 2 * math.Sqrt2, 2 * math.Pow(2, .99), 0},
		{"native: zeros of what is never negative", native(100, 4, 0), .0005, .00099, 0},
		{"native: below zero", native(0, -4, 100), -2 * math.Sqrt2, -4 * math.Pow(.5, .99), 0},
		{"native before classic", both, 2 * math.Sqrt2, 2 * math.Pow(2, .99), 0},
		{"native that lacks some gives way", stale, 5.5, 9.91, 0},
	} {
		scrape.Describe(&tt.h)
		if !near(tt.h.P50, tt.p50) || !near(tt.h.P99, tt.p99) {
			t.Errorf("%s: p50 %v, p99 %v, want %v, %v", tt.name, *tt.h.P50, *tt.h.P99, tt.p50, tt.p99)
		}
	}
	for name, h := range map[string]api.MetricHistogram{
		"empty": classic(1, 0, inf, 0), "no buckets": {Count: num(3)}, "one bucket for all": classic(inf, 9), "not numbers": classic(math.NaN(), 3, 1, math.NaN()),
	} {
		if scrape.Describe(&h); h.P50 != nil {
			t.Errorf("%s: p50 = %v, want none", name, *h.P50)
		}
	}
}

// Native buckets are made few without losing an observation, and without gaps.
func TestCoarse(t *testing.T) {
	h := native(7, -8, 2, -1, 3, 1.0/512, 5, 1, 11, 2, 13, 1<<30, 17)
	all := scrape.Buckets(&h)
	bs := scrape.Coarse(all, 20)
	if len(bs) > 23 || bs[len(bs)-1].Cumulative != 58 || bs[0].Count != 5 || bs[1].Count != 7 {
		t.Errorf("%d buckets: %+v", len(bs), bs)
	}
	for i := 3; i < len(bs); i++ {
		if bs[i].Low != bs[i-1].High || bs[i].Cumulative != bs[i-1].Cumulative+bs[i].Count {
			t.Errorf("bucket %d does not go on where the one before ends: %+v, %+v", i, bs[i-1], bs[i])
		}
	}
}

func counter(v float64, labels ...string) api.MetricSeries {
	m := api.MetricSeries{Labels: map[string]string{}, Value: num(v)}
	for i := 0; i < len(labels); i += 2 {
		m.Labels[labels[i]] = labels[i+1]
	}
	return m
}

func TestChanges(t *testing.T) {
	for _, tt := range []struct {
		name, kind  string
		before, now []api.MetricSeries
		gain, rate  float64
		reset, none bool
	}{
		{"a counter", "counter", []api.MetricSeries{counter(10)}, []api.MetricSeries{counter(30)}, 20, 4, false, false},
		{"a counter that began anew", "counter", []api.MetricSeries{counter(10)}, []api.MetricSeries{counter(5)}, 5, 1, true, false},
		{"a counter that was not there", "counter", nil, []api.MetricSeries{counter(5)}, 5, 1, false, false},
		{"a counter that is no number", "counter", []api.MetricSeries{counter(5)}, []api.MetricSeries{counter(math.NaN())}, 0, 0, false, true},
		{"another series", "counter", []api.MetricSeries{counter(7, "a", "b")}, []api.MetricSeries{counter(5, "a", "c")}, 5, 1, false, false},
		{"a gauge", "gauge", []api.MetricSeries{counter(10)}, []api.MetricSeries{counter(5)}, -5, -1, false, false},
		{"a gauge that was not there", "gauge", nil, []api.MetricSeries{counter(5)}, 0, 0, false, true},
	} {
		f := api.MetricFamily{Type: tt.kind, Series: tt.now}
		scrape.Changes(&api.MetricFamily{Series: tt.before}, &f, 5*time.Second)
		c := f.Series[0].Change
		switch {
		case tt.none != (c == nil):
			t.Errorf("%s: change = %+v", tt.name, c)
		case c != nil && (float64(*c.Value) != tt.gain || float64(c.Rate) != tt.rate || c.Reset != tt.reset):
			t.Errorf("%s: gained %v, %v/s, reset %v", tt.name, *c.Value, c.Rate, c.Reset)
		}
	}
}

func TestChangesOfHistograms(t *testing.T) {
	inf := math.Inf(1)
	was, is := classic(1, 10, 2, 20, inf, 20), classic(1, 10, 2, 120, inf, 120)
	was.Native, is.Native = native(3, 1, 5, 2, 5).Native, native(3, 1, 5, 2, 105).Native
	was.Sum, is.Sum = num(15), num(215)
	change := func(was, is api.MetricHistogram) *api.MetricChange {
		f := api.MetricFamily{Type: "histogram", Series: []api.MetricSeries{{MetricHistogram: is}}}
		scrape.Changes(&api.MetricFamily{Series: []api.MetricSeries{{MetricHistogram: was}}}, &f, 10*time.Second)
		return f.Series[0].Change
	}
	c := change(was, is)
	if *c.Count != 100 || c.Rate != 10 || c.Reset || !near(c.Avg, 2) || !near(c.P50, math.Sqrt2) || c.Buckets[1].Count != 100 || len(c.Native.Buckets) != 1 {
		t.Errorf("change = %+v", c)
	}
	if is.Buckets[1].Count != 120 {
		t.Error("the histogram itself was changed")
	}
	if c := change(is, was); !c.Reset || *c.Count != 20 || c.Buckets[1].Count != 20 {
		t.Errorf("of one that began anew = %+v", c)
	}
	if c := change(classic(1, 50, 2, 60), classic(1, 10, 2, 120)); !c.Reset { // its count alone would not tell
		t.Errorf("of one whose bucket fell = %+v", c)
	}
	if c := change(classic(5, 10, inf, 10), is); c.Reset || c.Buckets != nil || *c.Count != 110 {
		t.Errorf("with other bounds = %+v", c)
	}
}

func TestBy(t *testing.T) {
	inf := math.Inf(1)
	f := api.MetricFamily{Series: []api.MetricSeries{
		counter(1, "a", "x", "b", "1"), counter(2, "a", "x", "b", "2"), counter(4, "a", "y"), counter(8, "b", "1"),
	}}
	scrape.Changes(&api.MetricFamily{}, &f, time.Second)
	f.Series[0].Change = &api.MetricChange{Value: num(1), Rate: 1}
	f.Series[1].Change = &api.MetricChange{Value: num(2), Rate: 2, Reset: true}
	one := f.Series[0].Value
	scrape.By(&f, []string{"a"})
	if f.SeriesCount != 3 || *f.Series[0].Value != 8 || *f.Series[1].Value != 3 || f.Series[1].Change.Rate != 3 || !f.Series[1].Change.Reset || *f.Series[2].Value != 4 {
		t.Errorf("by a = %+v", f.Series)
	}
	if *one != 1 {
		t.Error("a series that was summed was changed")
	}
	h := api.MetricFamily{Series: []api.MetricSeries{
		{MetricHistogram: classic(1, 10, inf, 10)}, {MetricHistogram: classic(1, 0, inf, 10)},
	}}
	h.Series[0].Native, h.Series[1].Native = native(1, 1, 9).Native, native(0, 1, 1, 4, 9).Native
	scrape.By(&h, nil)
	if s := h.Series[0]; len(h.Series) != 1 || *s.Count != 20 || s.Buckets[0].Count != 10 || s.Native.ZeroCount != 1 || s.Native.Buckets[0].Count != 10 || s.Native.Buckets[1].Count != 9 || s.P50 == nil {
		t.Errorf("histograms = %+v", s)
	}
	odd := api.MetricFamily{Series: []api.MetricSeries{{MetricHistogram: classic(1, 10)}, {MetricHistogram: classic(2, 10)}}}
	if scrape.By(&odd, nil); odd.Series[0].Buckets != nil || *odd.Series[0].Count != 20 {
		t.Errorf("of other bounds = %+v", odd.Series[0])
	}
}

func TestRoutes(t *testing.T) {
	inf := math.Inf(1)
	requests := func(values ...float64) api.MetricFamily {
		f := api.MetricFamily{Name: scrape.Requests, Type: "counter"}
		for i, labels := range [][]string{{"GET", "/a", "200"}, {"GET", "/a", "500"}, {"GET", "/a", "404"}, {"POST", "/b", "200"}, {"GET", "/idle", "200"}} {
			f.Series = append(f.Series, counter(values[i], "method", labels[0], "endpoint", labels[1], "status_code", labels[2]))
		}
		return f
	}
	durations := func(a, b float64) api.MetricFamily {
		f := api.MetricFamily{Name: scrape.Durations, Type: "histogram"}
		for i, labels := range [][]string{{"GET", "/a"}, {"POST", "/b"}} {
			n := []float64{a, b}[i]
			m := counter(0, "method", labels[0], "endpoint", labels[1])
			m.Value, m.MetricHistogram = nil, classic(1, 0, 2, n, inf, n)
			m.Sum = num(n * 1.5)
			f.Series = append(f.Series, m)
		}
		return f
	}
	before := []api.MetricFamily{requests(10, 0, 0, 0, 5), durations(10, 0)}
	now := []api.MetricFamily{requests(16, 2, 2, 30, 5), durations(20, 30), {Name: scrape.InFlight, Series: []api.MetricSeries{counter(3)}}}
	got := scrape.Routes(before, now, 2*time.Second)
	if len(got.Routes) != 2 || got.Idle != 1 || *got.InFlight != 3 || got.Total.Requests != 40 || got.Total.Rate != 20 || got.Total.ErrorRate != .05 {
		t.Fatalf("routes = %+v", got)
	}
	b, a := got.Routes[0], got.Routes[1]
	if b.Endpoint != "/b" || b.Rate != 15 || a.Rate != 5 || a.ErrorRate != .2 || a.ClientRate != .2 || a.Errors != 2 || !near(a.P50, 1.5) || !near(a.Avg, 1.5) {
		t.Errorf("routes = %+v", got.Routes)
	}
	if scrape.SortRoutes(got.Routes, "errors"); got.Routes[0].Endpoint != "/a" {
		t.Errorf("by errors = %+v", got.Routes)
	}
	if scrape.SortRoutes(nil, "nonsense") {
		t.Error("an unknown order is one")
	}
	rates := scrape.Rates(before, now, 2*time.Second)
	if len(rates) != 6 || rates[0].Rate != 15 || rates[0].Name != scrape.Durations || rates[0].Increase != 30 || rates[1].Name != scrape.Requests {
		t.Errorf("rates = %+v", rates)
	}
	if again := scrape.Routes(now, before, time.Second); !again.Total.Reset || again.Total.Requests != 10 {
		t.Errorf("after a restart = %+v", again.Total)
	}
}
