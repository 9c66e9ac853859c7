package metric_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
)

// counted is an answer of which only the length is kept.
type counted struct {
	h http.Header
	n int
}

func (c *counted) Header() http.Header {
	if c.h == nil {
		c.h = http.Header{}
	}
	clear(c.h)
	return c.h
}
func (c *counted) WriteHeader(int)             {}
func (c *counted) Write(p []byte) (int, error) { c.n += len(p); return len(p), nil }

func request(accept string, names ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/?"+url.Values{"name[]": names}.Encode(), nil)
	r.Header.Set("Accept", accept)
	return r
}

// Made-up methods, routes and labels stop at the limit and are counted.
func TestCardinalityAttackStaysFlat(t *testing.T) {
	const limit, tries = 200, 30_000
	m := empty(t, metric.Options{SeriesLimit: limit})
	heap := func() uint64 {
		var st runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&st)
		return st.HeapAlloc
	}
	var full uint64
	for i := range tries {
		made := fmt.Sprintf("made-up-%d", i)
		m.Route(made).Observe(metric.Request{Method: made, Status: i % 700})
		m.Route("").Observe(metric.Request{Method: made, Status: 404, Kind: made})
		m.EventIngested(made, strings.Repeat("x", i%300)+"\xff")
		m.DBQuery(made, "t", metric.Observation{})
		if i == 10*limit {
			full = heap()
		}
	}
	if grown := int64(heap()) - int64(full); grown > 64<<10 {
		t.Errorf("the heap grew by %d B after the limits were reached", grown)
	}
	if text, _ := scrape(t, m, "text/plain"); len(text) > 1<<20 {
		t.Errorf("scrape = %d bytes, want under 1 MiB", len(text))
	}
	want := map[string]float64{
		"pulse_api_events_ingested_total": tries - limit, "pulse_api_db_query_duration_seconds": tries - limit/3,
		"pulse_api_priority_recommendations_total": 0,
	}
	for _, f := range families(t, m)["pulse_api_series_refused_total"].Metric {
		if n, ok := want[f.Label[0].GetValue()]; ok && f.GetCounter().GetValue() != n {
			t.Errorf("refused of %s = %v, want %v", f.Label[0].GetValue(), f.GetCounter().GetValue(), n)
		}
	}
}
