package metric_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
)

const openMetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8"
const protobuf = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

// full has every family filled.
func full(t testing.TB) *metric.Metrics {
	t.Helper()
	entries := int64(3)
	m, err := metric.New(metric.Options{
		Service: "pulse-api", Version: "1.2.3", Environment: "test",
		Sources: metric.Sources{
			Process: func() metric.ProcessSample { return metric.ProcessSample{MemoryBytes: 1 << 20, CPUPercent: 12.5} },
			Breakers: func() []metric.BreakerSample {
				return []metric.BreakerSample{
					{
						Name: "github_api", State: api.StateOpen, Calls: map[string]uint64{"success": 2, "rejected": 7},
						Transitions: []metric.BreakerTransition{{From: api.StateClosed, To: api.StateOpen, Count: 1}},
					},
					{Name: "linear_api", State: api.StateHalfOpen}, {Name: "openai_api", State: api.StateClosed},
				}
			},
			Caches: func() []metric.CacheSample {
				return []metric.CacheSample{{Name: "memory", Requests: map[string]uint64{"hit": 4}, Entries: &entries, Evictions: map[string]uint64{"size": 1}}}
			},
			Traces: func() metric.TraceSample {
				return metric.TraceSample{Stored: 9, Received: 80, Unlogged: 7, Dropped: map[string]uint64{"limit": 2}}
			},
			Profiles: func() metric.ProfileSample { return metric.ProfileSample{Stored: 5, Enabled: true} },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	trace := [16]byte{0x4b, 0xf9, 15: 1}
	route := m.Route("POST /priority/generate")
	for _, d := range []time.Duration{0, time.Microsecond, 3 * time.Millisecond, 80 * time.Millisecond, 80 * time.Millisecond, 30 * time.Second, 72 * time.Hour} {
		route.Observe(metric.Request{Method: "POST", Status: 200, Observation: metric.Observation{Duration: d, Trace: trace}})
	}
	route.Observe(metric.Request{Method: "POST", Status: 500, Panic: "runtime.boundsError"})
	m.Route("").Observe(metric.Request{Method: "BREW", Status: 404})
	m.Begin()
	m.DBQuery("select", "events", metric.Observation{Duration: 2 * time.Millisecond})
	m.External("github", "/repos", "200", metric.Observation{Duration: 200 * time.Millisecond})
	m.ExternalError("github", "timeout")
	m.PriorityRecommendation("sprint", "gpt-4")
	m.Feedback("priority", "5")
	m.EventIngested("github", "push")
	stats := func() sql.DBStats {
		return sql.DBStats{InUse: 2, Idle: 1, MaxOpenConnections: 10, WaitDuration: 1500 * time.Millisecond}
	}
	if err := m.WatchDB("main", stats); err != nil {
		t.Fatal(err)
	}
	return m
}

func scrape(t testing.TB, m *metric.Metrics, accept string) ([]byte, http.Header) {
	t.Helper()
	r := httptest.NewRequest("GET", "/monitoring/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("status = %d: %s", w.Code, w.Body)
	}
	return w.Body.Bytes(), w.Result().Header
}

func families(t testing.TB, m *metric.Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	text, _ := scrape(t, m, "text/plain")
	p := expfmt.NewTextParser(model.UTF8Validation)
	got, err := p.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestTextHoldsEveryFamilyWithItsValue(t *testing.T) {
	text, _ := scrape(t, full(t), "text/plain")
	for _, want := range []string{
		fmt.Sprintf(`pulse_api_info{environment="test",go_version=%q,service="pulse-api",version="1.2.3"} 1`, runtime.Version()),
		`pulse_api_requests_total{endpoint="/priority/generate",method="POST",status_code="200"} 7`,
		`pulse_api_requests_total{endpoint="unmatched",method="OTHER",status_code="404"} 1`,
		`pulse_api_request_duration_seconds_bucket{endpoint="/priority/generate",method="POST",le="0.1"} 6`,
		`pulse_api_request_duration_seconds_count{endpoint="/priority/generate",method="POST"} 8`,
		`pulse_api_request_duration_seconds_sum{endpoint="/priority/generate",method="POST"} 259230.163001` + "\n",
		`pulse_api_errors_total{endpoint="/priority/generate",error_type="runtime.boundsError",method="POST"} 1`,
		`pulse_api_errors_total{endpoint="unmatched",error_type="http_404",method="OTHER"} 1`,
		`pulse_api_exceptions_total{endpoint="/priority/generate",exception_type="runtime.boundsError"} 1`,
		`pulse_api_active_connections 1`,
		`pulse_api_db_query_duration_seconds_bucket{query_type="select",table="events",le="0.005"} 1`,
		`pulse_api_db_connections_active{pool="main"} 2`, `pulse_api_db_connections_idle{pool="main"} 1`,
		`pulse_api_db_connections_max{pool="main"} 10`, `pulse_api_db_connections_wait_seconds_total{pool="main"} 1.5`,
		`pulse_api_external_duration_seconds_count{endpoint="/repos",service="github",status_code="200"} 1`,
		`pulse_api_external_errors_total{error_type="timeout",service="github"} 1`,
		`pulse_api_memory_usage_bytes 1048576`, `pulse_api_cpu_usage_percent 12.5`,
		`pulse_api_priority_recommendations_total{context_type="sprint",model_used="gpt-4"} 1`,
		`pulse_api_feedback_submissions_total{feedback_score="5",recommendation_type="priority"} 1`,
		`pulse_api_events_ingested_total{event_type="push",source="github"} 1`,
		`pulse_api_circuit_breaker_state{name="github_api"} 1`, `pulse_api_circuit_breaker_state{name="linear_api"} 2`,
		`pulse_api_circuit_breaker_state{name="openai_api"} 0`, `pulse_api_circuit_breaker_calls_total{name="github_api",outcome="rejected"} 7`,
		`pulse_api_circuit_breaker_transitions_total{from="closed",name="github_api",to="open"} 1`,
		`pulse_api_cache_requests_total{cache="memory",result="hit"} 4`, `pulse_api_cache_entries{cache="memory"} 3`,
		`pulse_api_cache_evictions_total{cache="memory",reason="size"} 1`,
		`pulse_api_traces_stored 9`, `pulse_api_spans_received_total 80`, `pulse_api_spans_dropped_total{reason="limit"} 2`,
		`pulse_api_profiles_stored 5`, `pulse_api_profiling_enabled 1`, `pulse_api_series_refused_total{family="pulse_api_requests_total"} 0`,
		"go_goroutines ", "process_cpu_seconds_total ",
	} {
		if !bytes.Contains(text, []byte("\n"+want)) {
			t.Errorf("no line %s", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", text)
	}
}

// A panic is one error, not one of its own and one of its status.
func TestPanicCountsOnce(t *testing.T) {
	n := 0.0
	for _, s := range families(t, full(t))["pulse_api_errors_total"].Metric {
		n += s.GetCounter().GetValue()
	}
	if n != 2 { // the panic and the 404
		t.Errorf("errors = %v, want 2", n)
	}
}

func TestPromtoolFindsNothing(t *testing.T) {
	tool := testkit.Need(t, "promtool", "prometheus")
	text, _ := scrape(t, full(t), "text/plain")
	cmd := exec.Command(tool, "check", "metrics")
	cmd.Stdin = bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

func TestOpenMetricsCarriesTheTrace(t *testing.T) {
	text, header := scrape(t, full(t), openMetrics)
	if !strings.HasPrefix(header.Get("Content-Type"), "application/openmetrics-text") {
		t.Errorf("content type = %s", header.Get("Content-Type"))
	}
	if !bytes.Contains(text, []byte(`# {trace_id="4bf90000000000000000000000000001"} 0.08`)) || !bytes.HasSuffix(text, []byte("# EOF\n")) {
		t.Errorf("no exemplar, or no end:\n%s", text)
	}
}

// A bucket's exemplar stays for a second, then the next one takes its place.
func TestExemplarsChangeOnceASecond(t *testing.T) {
	m := empty(t, metric.Options{})
	at := time.Unix(1.8e9, 0)
	for i, wait := range []time.Duration{0, 999 * time.Millisecond, time.Millisecond} {
		at = at.Add(wait)
		m.DBQuery("select", "t", metric.Observation{Duration: 80 * time.Millisecond, End: at, Trace: [16]byte{byte(i + 1)}})
		page, _ := scrape(t, m, openMetrics)
		want := []string{"01", "01", "03"}[i]
		if !bytes.Contains(page, []byte(`le="0.1"} `+strconv.Itoa(i+1)+` # {trace_id="`+want+strings.Repeat("0", 30)+`"} 0.08 18000000`)) {
			t.Errorf("after observation %d its exemplar is not the trace %s…", i+1, want)
		}
	}
}

// Statuses of a route stand in order and once, however they come.
func TestStatusesStandInOrder(t *testing.T) {
	m := empty(t, metric.Options{})
	var want []string
	for _, status := range []int{500, 200, 404, 301, 404, 204, 200, 500, 0, 99, 1000} {
		m.Route("GET /a").Observe(metric.Request{Method: "GET", Status: status})
	}
	for _, s := range []string{"200", "204", "301", "404", "500", "999"} {
		want = append(want, `pulse_api_requests_total{endpoint="/a",method="GET",status_code="`+s+`"}`)
	}
	page, _ := scrape(t, m, "text/plain")
	var got []string
	for line := range strings.Lines(string(page)) {
		if name, _, ok := strings.Cut(line, " "); ok && strings.HasPrefix(name, "pulse_api_requests_total") {
			got = append(got, name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("series = %q, want %q", got, want)
	}
}

// Native histograms must add up, else Prometheus refuses the scrape.
func TestProtobufHasNativeHistograms(t *testing.T) {
	body, header := scrape(t, full(t), protobuf)
	dec := expfmt.NewDecoder(bytes.NewReader(body), expfmt.ResponseFormat(header))
	histograms := 0
	for {
		var f dto.MetricFamily
		if err := dec.Decode(&f); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, s := range f.Metric {
			if h := s.Histogram; h != nil && strings.HasPrefix(f.GetName(), "pulse_api_") {
				histograms++
				addsUp(t, f.GetName(), h)
			}
		}
	}
	if histograms != 4 {
		t.Errorf("histograms = %d, want 4", histograms)
	}
}

func addsUp(t *testing.T, name string, h *dto.Histogram) {
	t.Helper()
	total, n := h.GetZeroCount(), int64(0)
	for _, d := range h.PositiveDelta {
		n += d
		total += uint64(n)
	}
	length := uint32(0)
	for _, s := range h.PositiveSpan {
		length += s.GetLength()
	}
	if since := time.Since(h.GetCreatedTimestamp().AsTime()); since < 0 || since > time.Minute {
		t.Errorf("%s: created %v ago", name, since)
	}
	if total != h.GetSampleCount() || int(length) != len(h.PositiveDelta) || h.GetSchema() != 3 {
		t.Errorf("%s: native buckets hold %d in %d of %d, want %d", name, total, len(h.PositiveDelta), length, h.GetSampleCount())
	}
}

// The reference is client_golang's own native histogram.
func TestNativeBucketsAreThoseOfClientGolang(t *testing.T) {
	m, err := metric.New(metric.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ref := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "ref", NativeHistogramBucketFactor: math.Pow(2, 1.0/8), NativeHistogramZeroThreshold: 1.0 / (1 << 20)})
	for d := time.Duration(1); d < 30*time.Hour; d += d/7 + 1 {
		m.DBQuery("q", "t", metric.Observation{Duration: d})
		ref.Observe(d.Seconds())
	}
	for d := time.Second >> 19; d < 1<<15*time.Second; d *= 2 { // on the bounds
		m.DBQuery("q", "t", metric.Observation{Duration: d})
		ref.Observe(d.Seconds())
	}
	var want dto.Metric
	if err := ref.Write(&want); err != nil {
		t.Fatal(err)
	}
	all, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == "pulse_api_db_query_duration_seconds" {
			if got, want := cells(f.Metric[0].Histogram), cells(want.Histogram); !maps.Equal(got, want) {
				t.Errorf("native buckets = %v\nwant %v", got, want)
			}
			return
		}
	}
	t.Error("no db histogram")
}

// cells returns a native histogram's counts by bucket; -1000 is the zero bucket.
func cells(h *dto.Histogram) map[int32]int64 {
	out := map[int32]int64{-1000: int64(h.GetZeroCount())}
	key, n, i := int32(0), int64(0), 0
	for _, s := range h.PositiveSpan {
		key += s.GetOffset()
		for range s.GetLength() {
			n += h.PositiveDelta[i]
			if n != 0 {
				out[key] = n
			}
			key, i = key+1, i+1
		}
	}
	return out
}

type broken struct{ panics bool }

func (broken) Describe(chan<- *prometheus.Desc) {}

func (b broken) Collect(ch chan<- prometheus.Metric) {
	if b.panics {
		panic("out of order")
	}
	ch <- prometheus.NewInvalidMetric(prometheus.NewDesc("x", "x", nil, nil), errors.New("out of order"))
}

func TestBrokenCollectorsDoNotKillTheScrape(t *testing.T) {
	m := full(t)
	mine := prometheus.NewCounter(prometheus.CounterOpts{Name: "orders_total", Help: "Orders."})
	m.Registry().MustRegister(mine, broken{}, broken{panics: true})
	if err := m.WatchDB("sick", func() sql.DBStats { panic("closed") }); err != nil {
		t.Fatal(err)
	}
	got := families(t, m)
	if got["orders_total"] == nil || got["pulse_api_requests_total"] == nil || got["pulse_api_traces_stored"] == nil {
		t.Error("families are missing beside a broken collector")
	}
	if n := failures(t, m, "gathering"); n < 2 { // a source and a gathering of two
		t.Errorf("failures = %v, want at least 2", n)
	}
}

// failures returns how many failures of a cause the scrapes so far counted.
func failures(t testing.TB, m *metric.Metrics, cause string) float64 {
	t.Helper()
	for _, s := range families(t, m)["promhttp_metric_handler_errors_total"].Metric {
		if s.Label[0].GetValue() == cause {
			return s.GetCounter().GetValue()
		}
	}
	t.Fatalf("no failures of cause %s", cause)
	return 0
}

// What a service registers under a name of ours, or under one that a histogram of
// ours goes by, costs that family alone.
func TestNamesOfOursAreTaken(t *testing.T) {
	m := full(t)
	for _, name := range []string{"pulse_api_requests_total", "pulse_api_requests", "pulse_api_request_duration_seconds_count", "mine"} {
		m.Registry().MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: "Of the service."}))
	}
	got := families(t, m)
	if got["mine"] == nil || got["pulse_api_requests"] != nil || got["pulse_api_requests_total"].GetType() != dto.MetricType_COUNTER {
		t.Error("want the family mine and ours, and no other")
	}
	if n := failures(t, m, "gathering"); n == 0 {
		t.Error("nothing was counted as failed")
	}
}

// Breakers whose names become one label are one series.
func TestSourcesWithOneNameAreOneSeries(t *testing.T) {
	m, err := metric.New(metric.Options{Sources: metric.Sources{Breakers: func() []metric.BreakerSample {
		return []metric.BreakerSample{{Name: "b\xff", State: api.StateOpen}, {Name: "b\xfe"}, {Name: "a"}}
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(families(t, m)["pulse_api_circuit_breaker_state"].Metric); n != 2 {
		t.Errorf("series = %d, want 2", n)
	}
}

func TestWatchingOneNameTwiceIsAnError(t *testing.T) {
	if err := full(t).WatchDB("main", func() sql.DBStats { return sql.DBStats{} }); err == nil {
		t.Error("no error")
	}
}

func BenchmarkRequest(b *testing.B) {
	m := full(b)
	end := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		m.Begin()
		m.Route("POST /priority/generate").Observe(metric.Request{Method: "POST", Status: 200, Observation: metric.Observation{Duration: 42 * time.Millisecond, End: end, Trace: [16]byte{1}}})
		m.End()
	}
}
