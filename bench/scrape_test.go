package bench

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
	"time"

	vm "github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
)

// A scrape of 100,000 time series is one of histograms, as services have them,
// each with two labels, its buckets, sum and count.
const (
	histograms = 100_000 / (len(bounds) + 3)
	counters   = 5_000
)

// bounds are those that ours has for database queries. Peers hold that family
// and nothing else, so ours is asked for it alone.
var bounds = [...]float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5}

func BenchmarkScrape(b *testing.B) {
	b.Run("of=histograms", func(b *testing.B) {
		compare(b, []impl{
			{"pulsectl", ourHistograms}, {"client_golang", theirHistograms}, {"victoriametrics-counters", victoriaCounters(100_000)},
		})
	})
	b.Run("of=counters", func(b *testing.B) {
		compare(b, []impl{
			{"pulsectl", ourCounters}, {"client_golang", theirCounters}, {"victoriametrics", victoriaCounters(counters)},
		})
	})
}

// scrape asks for text, uncompressed.
func scrape(h http.Handler, names ...string) func(int) {
	r := httptest.NewRequest(http.MethodGet, "/metrics?"+url.Values{"name[]": names}.Encode(), nil)
	return func(int) { h.ServeHTTP(&discard{http.Header{}}, r) }
}

func ourHistograms(testing.TB) func(int) {
	m := must(metric.New(metric.Options{SeriesLimit: 3 * histograms}))
	for i := range histograms {
		m.DBQuery("select", strconv.Itoa(i), metric.Observation{Duration: 7 * time.Millisecond})
	}
	return scrape(m.Handler(), "pulse_api_db_query_duration_seconds")
}

func theirHistograms(testing.TB) func(int) {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "query_duration_seconds", Help: "h", Buckets: bounds[:]}, []string{"query_type", "table"})
	for i := range histograms {
		v.WithLabelValues("select", strconv.Itoa(i)).Observe(.007)
	}
	return scrapeOf(v)
}

func ourCounters(testing.TB) func(int) {
	m := must(metric.New(metric.Options{SeriesLimit: counters}))
	for i := range counters {
		m.EventIngested("github", strconv.Itoa(i))
	}
	return scrape(m.Handler(), "pulse_api_events_ingested_total")
}

func theirCounters(testing.TB) func(int) {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "events_total", Help: "h"}, []string{"source", "event_type"})
	for i := range counters {
		v.WithLabelValues("github", strconv.Itoa(i)).Inc()
	}
	return scrapeOf(v)
}

func scrapeOf(c prometheus.Collector) func(int) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	return scrape(promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
}

func victoriaCounters(n int) func(testing.TB) func(int) {
	return func(testing.TB) func(int) {
		set := vm.NewSet()
		for i := range n {
			set.NewCounter(`events_total{source="github",event_type="` + strconv.Itoa(i) + `"}`).Inc()
		}
		return func(int) { set.WritePrometheus(io.Discard) }
	}
}
