package rules_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/pulsectl/pulsectl/internal/rules"
	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func value[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// fill appends samples of a number of series, one each 5 s, and tells how many.
func fill(r *rules.Ring, series, scrapes int, from time.Time, v func(series, scrape int) float64) {
	sets := make([]labels.Labels, series)
	for i := range sets {
		sets[i] = labels.FromStrings("__name__", "pulse_api_requests_total", "endpoint", fmt.Sprintf("/route/%d/{id}", i), "instance", "127.0.0.1:8000",
			"job", "pulse-api", "method", "GET", "status_code", "200")
	}
	for n := range scrapes {
		b := r.Scrape(from.Add(time.Duration(n) * 5 * time.Second))
		for i, ls := range sets {
			b.Add(ls, v(i, n))
		}
		b.Done()
	}
}

// The ring says of its memory what the runtime says of it, and keeps to its
// bound, whatever the samples are like.
func TestRingIsBounded(t *testing.T) {
	counter := func(i, n int) float64 { return float64(n * (i%7 + 1)) }
	noise := func(int, int) float64 { return rand.Float64() }
	for _, tt := range []struct {
		name            string
		series, scrapes int
		max             int64
		value           func(int, int) float64
	}{
		{"counters of an hour", 1000, 720, 64 << 20, counter},
		{"noise", 1000, 720, 4 << 20, noise},
		{"more series than there is room for", 20_000, 30, 4 << 20, counter},
		{"much more of all", 20_000, 100, 2 << 20, noise},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := heap()
			r := rules.NewRing(rules.RingOptions{MaxBytes: tt.max})
			fill(r, tt.series, tt.scrapes, noon, tt.value)
			took := heap() - before
			st := r.Stats()
			t.Logf("%d series, %d samples: %d bytes by its own count, %d by the runtime's: %.2f a sample; refused %d, dropped %d",
				st.Series, st.Samples, st.Bytes, took, float64(took)/float64(st.Samples), st.Refused, st.Dropped)
			if st.Bytes > tt.max || took > tt.max*5/4 {
				t.Errorf("the ring takes %d bytes, by the runtime's count %d; want at most %d", st.Bytes, took, tt.max)
			}
			if math.Abs(float64(took-st.Bytes)) > 0.25*float64(took) {
				t.Errorf("the ring counts %d bytes, the runtime %d", st.Bytes, took)
			}
			if full := int64(tt.series * tt.scrapes); st.Samples+st.Refused+st.Dropped < full {
				t.Errorf("%d samples of %d, %d refused, %d dropped: some went without a word", st.Samples, full, st.Refused, st.Dropped)
			}
			runtime.KeepAlive(r)
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// After an hour the oldest samples go, and the start says since when all are
// there.
func TestRingKeepsAnHour(t *testing.T) {
	e := value(rules.New(rules.Options{}))(t)
	fill(e.Ring(), 3, 2*720, noon, func(_, n int) float64 { return float64(n) })
	end := noon.Add(2*time.Hour - 5*time.Second)
	st := e.Ring().Stats()
	if kept := end.Sub(st.Start); kept < time.Hour || kept > 62*time.Minute {
		t.Errorf("all samples of the last %s are there, want of an hour", kept)
	}
	if per := st.Samples / 3; per < 720 || per > 720+2*120 {
		t.Errorf("%d samples a series, want about 720", per)
	}
	res := value(e.Query(t.Context(), "count_over_time(pulse_api_requests_total[1h])", end))(t)
	for _, s := range res.Data.Series {
		if s.Value.Value != 720 {
			t.Errorf("%v has %v samples in an hour, want 720", s.Metric, s.Value.Value)
		}
	}
	if len(res.Data.Series) != 3 || res.MissingHistory > 0 {
		t.Errorf("%d series, missing %s", len(res.Data.Series), res.MissingHistory.Duration())
	}
	// Series that ended are gone with their last sample.
	fill(e.Ring(), 1, 800, end.Add(5*time.Second), func(_, n int) float64 { return float64(n) })
	if st := e.Ring().Stats(); st.Series != 1 {
		t.Errorf("%d series an hour after all but one have ended", st.Series)
	}
}

// What a registry gathers comes back as Prometheus would store it.
func TestScrape(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "took_seconds", Buckets: []float64{0.1, 1}}, []string{"job"})
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "load"})
	reg.MustRegister(h, g)
	h.WithLabelValues("batch").Observe(0.05)
	h.WithLabelValues("batch").(prometheus.ExemplarObserver).ObserveWithExemplar(3, prometheus.Labels{"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"})
	e := value(rules.New(rules.Options{Labels: map[string]string{"job": "pulse-api", "instance": "a:1"}}))(t)
	e.Scrape(reg, noon)
	for expr, want := range map[string]float64{
		`took_seconds_bucket{le="0.1",exported_job="batch",job="pulse-api"}`: 1,
		`took_seconds_bucket{le="1.0"}`:                                      1,
		`took_seconds_bucket{le="+Inf"}`:                                     2,
		`took_seconds_count{instance="a:1"}`:                                 2,
		`took_seconds_sum`:                                                   3.05,
		`up{job="pulse-api"}`:                                                1,
		`scrape_samples_scraped`:                                             6,
	} {
		if got := one(t, e, expr, noon); got != want {
			t.Errorf("%s = %v, want %v", expr, got, want)
		}
	}
	x := e.Exemplars("took_seconds", time.Time{})
	if len(x.Exemplars) != 1 || x.Exemplars[0].TraceID != "4bf92f3577b34da6a3ce929d0e0e4736" || x.Exemplars[0].Series["le"] != "+Inf" || x.Exemplars[0].Value != 3 {
		t.Errorf("exemplars = %+v", x)
	}
	// A series that is no longer there is not found, though its samples are.
	h.Reset()
	e.Scrape(reg, noon.Add(5*time.Second))
	if res := value(e.Query(t.Context(), "took_seconds_count", noon.Add(6*time.Second)))(t); len(res.Data.Series) != 0 {
		t.Errorf("a series that ended: %+v", res.Data.Series)
	}
	if got := one(t, e, "count_over_time(took_seconds_count[1m])", noon.Add(6*time.Second)); got != 1 {
		t.Errorf("its samples: %v", got)
	}
}

// one asks for a single value.
func one(t testing.TB, e *rules.Engine, expr string, at time.Time) float64 {
	t.Helper()
	res, err := e.Query(context.Background(), expr, at)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	if len(res.Data.Series) != 1 {
		t.Fatalf("%s: %d series, want 1: %+v", expr, len(res.Data.Series), res.Data)
	}
	return float64(res.Data.Series[0].Value.Value)
}

// gatherer gives the metrics of a service with a number of routes.
func gatherer(t testing.TB, routes int) *metric.Metrics {
	m := value(metric.New(metric.Options{Service: "pulse-api", SeriesLimit: 100_000}))(t)
	for i := range routes {
		m.External(fmt.Sprintf("service%d", i), "/v1/chat", "200", metric.Observation{Duration: 300 * time.Millisecond})
	}
	return m
}

func BenchmarkScrape(b *testing.B) {
	for _, routes := range []int{10, 1000} {
		b.Run(fmt.Sprintf("routes=%d", routes), func(b *testing.B) {
			m := gatherer(b, routes)
			e := value(rules.New(rules.Options{}))(b)
			at := noon
			b.ReportAllocs()
			for b.Loop() {
				at = at.Add(5 * time.Second)
				e.Scrape(m, at)
			}
			b.ReportMetric(float64(e.Ring().Stats().Series), "series")
		})
	}
}

// BenchmarkAppend is a scrape of 1,000 series without the gathering.
func BenchmarkAppend(b *testing.B) {
	for _, routes := range []int{1000} {
		fs := value(gatherer(b, routes).Gather())(b)
		r := rules.NewRing(rules.RingOptions{})
		at, n := noon, 0
		b.ReportAllocs()
		for b.Loop() {
			at = at.Add(5 * time.Second)
			batch := r.Scrape(at)
			n = batch.AddFamilies(fs, nil)
			batch.Done()
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/sample")
	}
}

func BenchmarkQuery(b *testing.B) {
	e := value(rules.New(rules.Options{}))(b)
	fill(e.Ring(), 1000, 720, noon, func(i, n int) float64 { return float64(n * i) })
	end := noon.Add(time.Hour - 5*time.Second)
	for _, expr := range []string{"pulse_api_requests_total", "sum(rate(pulse_api_requests_total[5m]))", `rate(pulse_api_requests_total{endpoint="/route/7/{id}"}[5m])`} {
		b.Run(expr, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Query(b.Context(), expr, end); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("range of an hour", func(b *testing.B) {
		for b.Loop() {
			if _, err := e.QueryRange(b.Context(), "sum(rate(pulse_api_requests_total[5m]))", noon, end, 15*time.Second); err != nil {
				b.Fatal(err)
			}
		}
	})
}
