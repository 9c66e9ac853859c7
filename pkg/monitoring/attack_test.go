package monitoring_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
)

// A million made-up paths, methods and tenants, or as many as four seconds
// allow, leave the memory flat and the scrape below a megabyte.
func TestMadeUpLabelsLeaveMemoryFlat(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{Service: "attacked", TraceMaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	m.Mount(mux)
	mux.HandleFunc("/tenant/{id}", func(_ http.ResponseWriter, r *http.Request) { // any method
		m.EventIngested(r.PathValue("id"), "push")
		m.Metrics.DBQuery("select", r.PathValue("id"), metric.Observation{Duration: time.Millisecond})
	})
	h := m.Middleware(mux)
	w := discard{http.Header{}}
	send := func(i int) {
		r := httptest.NewRequest("MADE-UP", "/made/up", nil)
		if i%2 == 0 {
			r.URL.Path = fmt.Sprintf("/tenant/a-name-of-a-tenant-%d", i)
		} else {
			r.URL.Path = fmt.Sprintf("/made/up/%d", i)
		}
		if i%4 < 2 {
			r.Method = fmt.Sprintf("MADE%d", i)
		}
		clear(w.h)
		h.ServeHTTP(w, r)
	}
	for i := range 10_000 { // until everything that fills up is full
		send(i)
	}
	before := heap()
	n := 10_000
	for end := time.Now().Add(4 * time.Second); n < 1_000_000 && (n%1000 != 0 || time.Now().Before(end)); n++ {
		send(n)
	}
	t.Logf("%d requests", n)
	if grown := heap() - before; grown > 512<<10 {
		t.Errorf("the heap grew by %d B in %d requests", grown, n)
	}
	rec := httptest.NewRecorder()
	m.Metrics.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	if rec.Body.Len() > 1<<20 {
		t.Errorf("scrape = %d B, want at most a megabyte", rec.Body.Len())
	}
	for _, line := range []string{
		fmt.Sprintf(`pulse_api_requests_total{endpoint="unmatched",method="OTHER",status_code="404"} %d`, n/2),
		fmt.Sprintf(`pulse_api_series_refused_total{family="pulse_api_events_ingested_total"} %d`, (n+1)/2-1000),
	} {
		if !bytes.Contains(rec.Body.Bytes(), []byte("\n"+line+"\n")) {
			t.Errorf("no line %s", line)
		}
	}
}

// Labels that are a part of something large, as a table's name of a query's
// text, do not keep it.
func TestTrackedLabelsKeepNothingElse(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	nothing := func(context.Context) (int, error) { return 0, nil }
	before := heap()
	for i := range 50 {
		text := fmt.Sprintf("table%02d %s", i, strings.Repeat("x", 1<<20))
		monitoring.TrackDBQuery(t.Context(), m, "select", text[:7], nothing)
		monitoring.TrackExternalAPI(t.Context(), m, "service", text[:7], nothing)
	}
	if grown := heap() - before; grown > 10<<20 {
		t.Errorf("the heap grew by %d B with 50 labels", grown)
	}
	runtime.KeepAlive(m)
}

func heap() int64 {
	var st runtime.MemStats
	runtime.GC()
	runtime.GC() // a second time for what the first one's finalizers and pools let go
	runtime.ReadMemStats(&st)
	return int64(st.HeapAlloc)
}
