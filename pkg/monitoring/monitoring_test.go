package monitoring_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// logBuffer is a log that tests may read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) lines(t *testing.T, message string) (out []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("log line is no JSON: %q", line)
		}
		if m["message"] == message {
			out = append(out, m)
		}
	}
	return out
}

// service is a monitored service on a real port, with the stack running.
type service struct {
	*httptest.Server
	m   *monitoring.Monitor
	mux *http.ServeMux
	log *logBuffer
}

func newService(t *testing.T, o monitoring.Options) *service {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	s := &service{mux: http.NewServeMux(), log: new(logBuffer)}
	o.Service, o.Log = "pulse-api", slog.New(monitoring.JSONHandler(s.log, slog.LevelInfo))
	var err error
	if s.m, err = monitoring.New(o); err != nil {
		t.Fatal(err)
	}
	s.m.Mount(s.mux)
	s.Server = httptest.NewServer(s.m.Middleware(s.mux))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.m.Run(ctx) }()
	t.Cleanup(func() {
		s.Client().CloseIdleConnections()
		s.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		goleak.VerifyNone(t, leaks)
	})
	return s
}

func (s *service) get(t *testing.T, path string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// trace waits for the trace that a response named: a request's end is recorded
// after its last byte was sent.
func (s *service) trace(t *testing.T, resp *http.Response) api.Trace {
	t.Helper()
	for range 200 {
		tr, err := s.m.Traces.Get(resp.Header.Get("X-Trace-ID"))
		if err == nil && tr.Status != api.StatusActive {
			return tr
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("trace %q did not end", resp.Header.Get("X-Trace-ID"))
	return api.Trace{}
}

func (s *service) wantMetric(t *testing.T, line string) {
	t.Helper()
	rec := httptest.NewRecorder()
	for range 200 {
		rec = httptest.NewRecorder()
		s.m.Metrics.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
		if strings.Contains(rec.Body.String(), line+"\n") {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("metrics lack %s:\n%s", line, ours(rec.Body.String()))
}

func ours(exposition string) string {
	var out strings.Builder
	for line := range strings.Lines(exposition) {
		if strings.HasPrefix(line, "pulse_api_") && !strings.Contains(line, "_bucket") {
			out.WriteString(line)
		}
	}
	return out.String()
}

func TestRequestIsRecorded(t *testing.T) {
	s := newService(t, monitoring.Options{})
	s.mux.HandleFunc("GET /priority/{id}", func(w http.ResponseWriter, r *http.Request) {
		slog.New(monitoring.JSONHandler(s.log, slog.LevelInfo)).InfoContext(r.Context(), "in the handler")
		monitoring.Trace(r.Context(), s.m, "load", func(ctx context.Context) (int, error) { return 0, errors.New("no row") })
		w.WriteHeader(http.StatusNotFound)
	})
	resp, _ := s.get(t, "/priority/7?api_key=s3cret", "X-Request-ID", "req-abc", "Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if got := resp.Header.Get("X-Request-ID"); got != "req-abc" {
		t.Errorf("X-Request-ID = %q, want the caller's", got)
	}
	tr := s.trace(t, resp)
	if tr.TraceID != "4bf92f3577b34da6a3ce929d0e0e4736" || tr.RequestID != "req-abc" || len(tr.Spans) != 2 {
		t.Fatalf("trace = %+v, want the caller's id, the request's id and two spans", tr)
	}
	root, child := tr.Spans[0], tr.Spans[1]
	if root.OperationName != "GET /priority/{id}" || child.ParentSpanID == nil || *child.ParentSpanID != root.SpanID || child.Status != api.StatusError {
		t.Errorf("spans = %+v", tr.Spans)
	}
	if url := fmt.Sprint(tr.Metadata["http.url"]); strings.Contains(url, "s3cret") {
		t.Errorf("the trace shows a secret: %s", url)
	}
	s.wantMetric(t, `pulse_api_requests_total{endpoint="/priority/{id}",method="GET",status_code="404"} 1`)
	s.wantMetric(t, `pulse_api_errors_total{endpoint="/priority/{id}",error_type="http_404",method="GET"} 1`)
	for _, message := range []string{"request completed", "in the handler"} {
		lines := s.log.lines(t, message)
		if len(lines) != 1 || lines[0]["request_id"] != "req-abc" || lines[0]["trace_id"] != tr.TraceID || lines[0]["level"] != "INFO" {
			t.Errorf("%q lines = %v, want one with the ids", message, lines)
		}
	}
	line := s.log.lines(t, "request completed")[0]
	if at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(line["timestamp"])); err != nil || at.Location() != time.UTC {
		t.Errorf("timestamp = %v, want RFC 3339 in UTC", line["timestamp"])
	}
	if line["status_code"] != 404.0 || line["duration_ms"] == nil {
		t.Errorf("line = %v", line)
	}
}

func TestPanicIsAnsweredAndCountedOnce(t *testing.T) {
	s := newService(t, monitoring.Options{})
	s.mux.HandleFunc("GET /boom", func(http.ResponseWriter, *http.Request) { panic(errors.New("boom")) })
	resp, body := s.get(t, "/boom")
	var p api.Error
	if err := json.Unmarshal([]byte(body), &p); err != nil || resp.StatusCode != 500 || p.RequestID != resp.Header.Get("X-Request-ID") || p.RequestID == "" {
		t.Errorf("answer = %d %s, want a 500 problem with the request id", resp.StatusCode, body)
	}
	if tr := s.trace(t, resp); tr.Status != api.StatusError {
		t.Errorf("trace status = %s, want error", tr.Status)
	}
	s.wantMetric(t, `pulse_api_errors_total{endpoint="/boom",error_type="*errors.errorString",method="GET"} 1`)
	s.wantMetric(t, `pulse_api_exceptions_total{endpoint="/boom",exception_type="*errors.errorString"} 1`)
}

func TestTraceEndsAfterTheBody(t *testing.T) {
	s := newService(t, monitoring.Options{})
	s.mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "first")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		time.Sleep(50 * time.Millisecond)
		io.WriteString(w, "last")
	})
	resp, _ := s.get(t, "/slow")
	if d := s.trace(t, resp).Duration; d == nil || d.Duration() < 50*time.Millisecond {
		t.Errorf("duration = %v, want the body's 50ms in it", d)
	}
}

func TestWriterKeepsItsAbilities(t *testing.T) {
	s := newService(t, monitoring.Options{})
	s.mux.HandleFunc("GET /hijack", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := w.(http.Flusher); !ok {
			t.Error("the writer is no Flusher")
		}
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
		conn, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: close\r\n\r\nhello")
		buf.Flush()
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /hijack HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	all, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil || !strings.HasSuffix(string(all), "hello") {
		t.Errorf("hijacked = %q, %v", all, err)
	}
}

func TestTransport(t *testing.T) {
	s := newService(t, monitoring.Options{})
	var got string
	status := http.StatusOK
	dependency := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Traceparent")
		w.WriteHeader(status)
	}))
	defer dependency.Close()
	b, err := s.m.Breaker("github_api", breaker.Options{FailureThreshold: 2})
	if err != nil {
		t.Fatal(err)
	}
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	c := http.Client{Transport: s.m.Transport(b, base)}
	call := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, dependency.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	ctx, span := s.m.StartSpan(context.Background(), "job")
	if err := call(monitoring.WithEndpoint(ctx, "/repos/{owner}")); err != nil {
		t.Fatal(err)
	}
	if id := span.SpanContext().TraceID().String(); !strings.Contains(got, id) {
		t.Errorf("traceparent at the dependency = %q, want trace %s", got, id)
	}
	status = http.StatusBadGateway
	call(ctx)
	call(ctx)
	if err := call(ctx); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("after two 502 = %v, want ErrOpen", err)
	}
	span.End()
	s.wantMetric(t, `pulse_api_external_duration_seconds_count{endpoint="/repos/{owner}",service="github_api",status_code="200"} 1`)
	s.wantMetric(t, `pulse_api_external_duration_seconds_count{endpoint="unmatched",service="github_api",status_code="502"} 2`)
	s.wantMetric(t, `pulse_api_external_errors_total{error_type="http_502",service="github_api"} 2`)
	s.wantMetric(t, `pulse_api_circuit_breaker_state{name="github_api"} 1`)
	s.wantMetric(t, `pulse_api_circuit_breaker_calls_total{name="github_api",outcome="rejected"} 1`)
}

func TestWrappers(t *testing.T) {
	s := newService(t, monitoring.Options{})
	ctx, span := s.m.StartSpan(context.Background(), "job")
	rows, err := monitoring.TrackDBQuery(ctx, s.m, "select", "events", func(context.Context) ([]string, error) { return []string{"a"}, nil })
	if err != nil || len(rows) != 1 {
		t.Errorf("TrackDBQuery = %v, %v", rows, err)
	}
	if _, err := monitoring.TrackExternalAPI(ctx, s.m, "linear", "issues", func(context.Context) (int, error) { return 0, context.DeadlineExceeded }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("TrackExternalAPI = %v", err)
	}
	loads := 0
	for range 3 {
		v, err := monitoring.Cached(ctx, s.m, "user:1", time.Minute, func(context.Context) (*int, error) { loads++; return nil, nil })
		if v != nil || err != nil {
			t.Errorf("Cached = %v, %v", v, err)
		}
	}
	if loads != 1 {
		t.Errorf("a nil value was loaded %d times, want once", loads)
	}
	span.End()
	tr, err := s.m.Traces.Get(span.SpanContext().TraceID().String())
	if err != nil || len(tr.Spans) != 3 || tr.Complete == nil || !*tr.Complete {
		t.Fatalf("trace = %+v, %v; want three spans", tr, err)
	}
	if st := tr.Spans[2].Status; st != api.StatusTimeout {
		t.Errorf("status of the call that ran out of time = %s, want timeout", st)
	}
	s.m.PriorityRecommendation("sprint", "gpt-4")
	s.m.Feedback("priority", "5")
	s.m.EventIngested("github", "push")
	s.m.ObserveRequest("CONSUME", "queue", 200, time.Second)
	s.wantMetric(t, `pulse_api_priority_recommendations_total{context_type="sprint",model_used="gpt-4"} 1`)
	s.wantMetric(t, `pulse_api_feedback_submissions_total{feedback_score="5",recommendation_type="priority"} 1`)
	s.wantMetric(t, `pulse_api_events_ingested_total{event_type="push",source="github"} 1`)
	s.wantMetric(t, `pulse_api_requests_total{endpoint="queue",method="OTHER",status_code="200"} 1`)
	s.wantMetric(t, `pulse_api_external_errors_total{error_type="timeout",service="linear"} 1`)
	s.wantMetric(t, `pulse_api_db_query_duration_seconds_count{query_type="select",table="events"} 1`)
}

func TestProfileOnRequestNeedsAnOperator(t *testing.T) {
	s := newService(t, monitoring.Options{})
	s.mux.HandleFunc("GET /work", func(w http.ResponseWriter, r *http.Request) { time.Sleep(20 * time.Millisecond) })
	resp, _ := s.get(t, "/work", "X-Enable-Profiling", "true")
	for range 100 { // Run may not have begun yet
		if resp.Header.Get("X-Profile-ID") != "" {
			break
		}
		resp, _ = s.get(t, "/work", "X-Enable-Profiling", "true")
	}
	id := resp.Header.Get("X-Profile-ID")
	if id == "" {
		t.Fatal("no X-Profile-ID for a local operator")
	}
	for range 200 {
		if p, err := s.m.Profiles.Get(id); err == nil && p.State != "active" {
			if p.TraceID != resp.Header.Get("X-Trace-ID") || p.Trigger != api.TriggerRequest {
				t.Errorf("profile = %+v", p)
			}
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if tr := s.trace(t, resp); len(tr.ProfileIDs) != 1 || tr.ProfileIDs[0] != id {
		t.Errorf("the trace's profiles = %v, want %s", tr.ProfileIDs, id)
	}
	guarded := newService(t, monitoring.Options{Access: monitoring.Access{Tokens: []monitoring.Token{{Name: "ops", Role: "operator"}}}})
	guarded.mux.HandleFunc("GET /work", func(http.ResponseWriter, *http.Request) {})
	if resp, _ := guarded.get(t, "/work?profile=true"); resp.Header.Get("X-Profile-ID") != "" || resp.StatusCode != 200 {
		t.Errorf("without a token: %d, profile %q; want it served and unprofiled", resp.StatusCode, resp.Header.Get("X-Profile-ID"))
	}
}

func TestMonitoringIsCountedButNotTraced(t *testing.T) {
	s := newService(t, monitoring.Options{})
	resp, _ := s.get(t, "/monitoring/circuit-breakers")
	if resp.StatusCode != 200 || resp.Header.Get("X-Request-ID") == "" || len(resp.Header.Get("X-Trace-ID")) != 32 {
		t.Errorf("answer = %d %v", resp.StatusCode, resp.Header)
	}
	s.wantMetric(t, `pulse_api_requests_total{endpoint="/monitoring/circuit-breakers",method="GET",status_code="200"} 1`)
}

func TestOpenTelemetryJoinsTheSameTrace(t *testing.T) {
	s := newService(t, monitoring.Options{})
	s.mux.HandleFunc("GET /otel", func(w http.ResponseWriter, r *http.Request) {
		_, span := s.m.TracerProvider().Tracer("lib").Start(r.Context(), "lib call", trace.WithSpanKind(trace.SpanKindClient))
		span.End()
	})
	resp, _ := s.get(t, "/otel")
	tr := s.trace(t, resp)
	if len(tr.Spans) != 2 || tr.Spans[1].Scope != "lib" || *tr.Spans[1].ParentSpanID != tr.Spans[0].SpanID {
		t.Errorf("spans = %+v", tr.Spans)
	}
}

func TestFromEnvironment(t *testing.T) {
	env := map[string]string{"DEBUG": "true", "REDIS_TIMEOUT": "2", "GITHUB_TIMEOUT": "1500ms", "LINEAR_TIMEOUT": "9", "PULSECTL_LINEAR_TIMEOUT": "4"}
	o, err := monitoring.FromEnvironment(func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	if !o.Debug || o.RedisTimeout != 2*time.Second || o.BreakerTimeouts["github_api"] != 1500*time.Millisecond ||
		o.BreakerTimeouts["linear_api"] != 4*time.Second || o.BreakerTimeouts["openai_api"] != time.Minute {
		t.Errorf("options = %+v", o)
	}
	for _, name := range []string{"DEBUG", "REDIS_TIMEOUT", "OPENAI_TIMEOUT", "PULSECTL_GITHUB_TIMEOUT"} {
		if _, err := monitoring.FromEnvironment(func(k string) string { return map[string]string{name: "soon"}[k] }); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=soon: %v, want an error that names it", name, err)
		}
	}
	if _, err := monitoring.New(monitoring.Options{RedisURL: "http://:hunter2@x"}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a bad REDIS_URL: %v, want an error without the password", err)
	}
}

func TestStateOfDisabledSampling(t *testing.T) {
	var sp tracing.Span // a zero span takes everything and keeps nothing
	sp.SetString("a", "b")
	sp.End()
}
