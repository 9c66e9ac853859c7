package monitoring_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
)

// raw sends a request as text and returns all that comes back.
func (s *service) raw(t *testing.T, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, request)
	all, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// completed waits for the request lines of a path's endpoint.
func (s *service) completed(t *testing.T, endpoint string) map[string]any {
	t.Helper()
	for range 200 {
		for _, line := range s.log.lines(t, "request completed") {
			if line["endpoint"] == endpoint {
				return line
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("no request line of %s", endpoint)
	return nil
}

func TestPanicAfterTheHeaderBreaksTheAnswerOff(t *testing.T) {
	s := newService(t, monitoring.Options{})
	s.mux.HandleFunc("GET /half", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "the first half")
		http.NewResponseController(w).Flush()
		panic("no second half")
	})
	resp, err := http.Get(s.URL + "/half")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the half answer %q looks complete", body)
	}
	if line := s.completed(t, "/half"); line["status_code"] != 500.0 {
		t.Errorf("line = %v, want status 500", line)
	}
	s.wantMetric(t, `pulse_api_exceptions_total{endpoint="/half",exception_type="string"} 1`)
	s.wantMetric(t, `pulse_api_active_connections 0`)
}

func TestHandlersThatGiveUp(t *testing.T) {
	s := newService(t, monitoring.Options{})
	s.mux.HandleFunc("GET /abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	s.mux.HandleFunc("GET /exit", func(http.ResponseWriter, *http.Request) { runtime.Goexit() })
	for _, path := range []string{"/abort", "/exit"} {
		if resp, err := http.Get(s.URL + path); err == nil {
			resp.Body.Close()
			t.Errorf("%s was answered %s", path, resp.Status)
		}
		line := s.completed(t, path)
		if line["status_code"] != 500.0 {
			t.Errorf("line = %v, want status 500: there was no answer", line)
		}
		if tr, err := s.m.Traces.Get(fmt.Sprint(line["trace_id"])); err != nil || tr.Status != api.StatusAborted {
			t.Errorf("%s: trace = %s, %v; want aborted", path, tr.Status, err)
		}
		s.wantMetric(t, fmt.Sprintf(`pulse_api_errors_total{endpoint=%q,error_type="aborted",method="GET"} 1`, path))
	}
	if n := len(s.log.lines(t, "handler panicked")); n != 0 {
		t.Errorf("%d panics in the log, want none", n)
	}
}

func TestImpossibleStatusIsAPanic(t *testing.T) {
	s := newService(t, monitoring.Options{})
	s.mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(1000) })
	if resp, body := s.get(t, "/status"); resp.StatusCode != 500 || !strings.Contains(body, "request_id") {
		t.Errorf("answer = %d %s, want a 500 problem", resp.StatusCode, body)
	}
}

// M2 of an API handler's panic: one error, by its class.
func TestPanicOfTheAPICountsOnce(t *testing.T) {
	s := newService(t, monitoring.Options{Config: map[string]any{"bad": panicking{}}})
	if resp, body := s.get(t, "/monitoring/debug/config"); resp.StatusCode != 500 || !strings.Contains(body, resp.Header.Get("X-Request-ID")) {
		t.Errorf("answer = %d %s", resp.StatusCode, body)
	}
	s.wantMetric(t, `pulse_api_requests_total{endpoint="/monitoring/debug/config",method="GET",status_code="500"} 1`)
	s.wantMetric(t, `pulse_api_errors_total{endpoint="/monitoring/debug/config",error_type="*errors.errorString",method="GET"} 1`)
	s.wantMetric(t, `pulse_api_exceptions_total{endpoint="/monitoring/debug/config",exception_type="*errors.errorString"} 1`)
}

type panicking struct{}

func (panicking) MarshalJSON() ([]byte, error) { panic(errors.New("boom")) }

// M1: what a client makes up never becomes a label.
func TestEndpointsAreAClosedSet(t *testing.T) {
	s := newService(t, monitoring.Options{})
	s.mux.HandleFunc("GET /item/{id}", func(http.ResponseWriter, *http.Request) {})
	s.mux.HandleFunc("/tree/{id}/", func(http.ResponseWriter, *http.Request) {})
	h := s.m.Middleware(s.mux)
	serve := func(method, target string) {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		r.Method = method
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	for i := range 3000 {
		serve("GET", fmt.Sprintf("/item/%d", i))
		serve("GET", fmt.Sprintf("/nothing/here/%d", i))
		serve(fmt.Sprintf("MADE%d", i), fmt.Sprintf("/%d", i))
		serve("CONNECT", fmt.Sprintf("/tree/%d", i)) // redirected; the mux's pattern is its path
		serve("GET", fmt.Sprintf("//item/%d", i))
	}
	serve("GET", "/nothing/"+strings.Repeat("long", 100_000))
	rec := httptest.NewRecorder()
	s.m.Metrics.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	endpoints := map[string]bool{}
	for line := range strings.Lines(rec.Body.String()) {
		if _, rest, ok := strings.Cut(line, `endpoint="`); ok {
			name, _, _ := strings.Cut(rest, `"`)
			endpoints[name] = true
		}
	}
	for name := range endpoints {
		if name != "/item/{id}" && name != "unmatched" {
			t.Errorf("endpoint %q", name)
		}
	}
}

func TestRouteIsKnownThroughAnotherMiddleware(t *testing.T) {
	s := newService(t, monitoring.Options{})
	s.mux.HandleFunc("GET /item/{id}", func(http.ResponseWriter, *http.Request) {})
	type key struct{}
	h := s.m.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, 1)))
	}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/item/7", nil))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/other/7", nil))
	s.wantMetric(t, `pulse_api_requests_total{endpoint="/item/{id}",method="GET",status_code="200"} 1`)
	s.wantMetric(t, `pulse_api_requests_total{endpoint="unmatched",method="GET",status_code="404"} 1`)
}

func TestMountBesideACatchAll(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /{path...}", func(http.ResponseWriter, *http.Request) {})
	m.Mount(mux) // would panic, were its patterns without a method
	for _, tt := range []struct {
		method, path string
		want         int
	}{{"GET", "/health/live", 200}, {"HEAD", "/health", 200}, {"PUT", "/monitoring/circuit-breakers", 405}, {"DELETE", "/monitoring/", 405}, {"GET", "/other", 200}} {
		rec := httptest.NewRecorder()
		r := httptest.NewRequest(tt.method, tt.path, nil)
		r.RemoteAddr = "127.0.0.1:4711"
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80})))
		r.Host = "127.0.0.1"
		mux.ServeHTTP(rec, r)
		if rec.Code != tt.want {
			t.Errorf("%s %s = %d %s, want %d", tt.method, tt.path, rec.Code, rec.Body, tt.want)
		}
	}
}

// T5: work that the client no longer waits for is aborted, work whose time is
// up is a timeout, whatever status the handler makes of it.
func TestCutOffRequests(t *testing.T) {
	s := newService(t, monitoring.Options{})
	gone := make(chan struct{})
	s.mux.HandleFunc("GET /gone", func(w http.ResponseWriter, r *http.Request) {
		close(gone)
		<-r.Context().Done()
		w.WriteHeader(http.StatusInternalServerError)
	})
	s.mux.HandleFunc("GET /upstream", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusGatewayTimeout) })
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-gone; cancel() }()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/gone", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client().Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("the client got %v", err)
	}
	s.get(t, "/upstream")
	deadline, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	s.mux.HandleFunc("GET /late", func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	s.m.Middleware(s.mux).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/late", nil).WithContext(deadline))
	for path, want := range map[string]api.Status{"/gone": api.StatusAborted, "/late": api.StatusTimeout, "/upstream": api.StatusTimeout} {
		if tr, err := s.m.Traces.Get(fmt.Sprint(s.completed(t, path)["trace_id"])); err != nil || tr.Status != want {
			t.Errorf("%s: trace status = %s, %v; want %s", path, tr.Status, err, want)
		}
	}
}

func TestResponsesPassUnchanged(t *testing.T) {
	s := newService(t, monitoring.Options{})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(strings.Repeat("x", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.mux.HandleFunc("GET /file", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := w.(io.ReaderFrom); !ok {
			t.Error("the writer is no ReaderFrom: no sendfile")
		}
		http.ServeFile(w, r, file)
	})
	s.mux.HandleFunc("GET /hints", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusAccepted)
		io.WriteString(w, "done")
	})
	s.mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done() // the reader leaves
	})
	if resp, body := s.get(t, "/file", "Range", "bytes=0-9"); resp.StatusCode != 206 || body != "xxxxxxxxxx" {
		t.Errorf("range = %d %q", resp.StatusCode, body)
	}
	if resp, body := s.get(t, "/file"); resp.StatusCode != 200 || len(body) != 1<<20 {
		t.Errorf("file = %d, %d bytes", resp.StatusCode, len(body))
	}
	if got := s.raw(t, "HEAD /file HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"); !strings.Contains(got, "Content-Length: 1048576\r\n") || !strings.HasSuffix(got, "\r\n\r\n") {
		t.Errorf("HEAD = %q, want the length and no body", got)
	}
	got := s.raw(t, "GET /hints HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 103 ") || !strings.Contains(got, "HTTP/1.1 202 ") {
		t.Errorf("hints = %q, want 103 and then 202", got)
	}
	s.wantMetric(t, `pulse_api_requests_total{endpoint="/hints",method="GET",status_code="202"} 1`)
	resp, err := http.Get(s.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(resp.Body)
	for i := 0; i < 3 && in.Scan(); in.Scan() {
		if want := fmt.Sprintf("data: %d", i); in.Text() != want {
			t.Errorf("event = %q, want %q while the answer is open", in.Text(), want)
		}
		i++
	}
	resp.Body.Close()
	s.completed(t, "/events")
}

// noFlush is a writer that cannot.
type noFlush struct{ http.ResponseWriter }

func TestFlushSaysWhatItCannot(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := m.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).Flush(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("Flush = %v, want ErrNotSupported", err)
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	rec := httptest.NewRecorder()
	h.ServeHTTP(noFlush{rec}, httptest.NewRequest(http.MethodGet, "/", nil))
	if rec.Code != http.StatusTeapot {
		t.Errorf("status = %d", rec.Code)
	}
}

// Every line of a request has the same fields, the API's own requests too; S2:
// and no secret.
func TestRequestLines(t *testing.T) {
	s := newService(t, monitoring.Options{})
	s.mux.HandleFunc("GET /work", func(http.ResponseWriter, *http.Request) {})
	secrets := []string{"Authorization", "Bearer s3cret-1", "X-API-Key", "s3cret-2", "Cookie", "session=s3cret-3"}
	s.get(t, "/work?api_key=s3cret-4&token=s3cret-5", secrets...)
	s.get(t, "/monitoring/circuit-breakers?api_key=s3cret-6", append(secrets, "Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")...)
	s.get(t, "/health/live")
	for _, endpoint := range []string{"/work", "/monitoring/circuit-breakers", "/health/live"} {
		line := s.completed(t, endpoint)
		for _, field := range []string{"timestamp", "level", "message", "request_id", "trace_id", "duration_ms", "status_code"} {
			if v, ok := line[field]; !ok || v == "" {
				t.Errorf("%s: the line lacks %s: %v", endpoint, field, line)
			}
		}
		if line["level"] != "INFO" || !strings.HasSuffix(fmt.Sprint(line["timestamp"]), "Z") {
			t.Errorf("%s: line = %v", endpoint, line)
		}
	}
	if got := s.completed(t, "/monitoring/circuit-breakers")["trace_id"]; got != "4bf92f3577b34da6a3ce929d0e0e4736" {
		t.Errorf("trace id = %v, want the caller's", got)
	}
	if _, err := s.m.Traces.Get("4bf92f3577b34da6a3ce929d0e0e4736"); err == nil {
		t.Error("a request of the API's own was traced")
	}
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	if strings.Contains(s.log.b.String(), "s3cret") {
		t.Errorf("the log has a secret: %s", s.log.b.String())
	}
}

// T2: one id through header, logs and trace, in whatever group the service logs.
func TestLogRecordsOfAService(t *testing.T) {
	s := newService(t, monitoring.Options{})
	s.mux.HandleFunc("GET /log", func(_ http.ResponseWriter, r *http.Request) {
		log := slog.New(monitoring.JSONHandler(s.log, slog.LevelInfo))
		log.InfoContext(r.Context(), "plain", "time", "5s", "msg", "x")
		log.With("a", 1).WithGroup("http").With("b", 2).WithGroup("").InfoContext(r.Context(), "grouped", "c", 3)
		log.InfoContext(r.Context(), "own id", "request_id", "mine")
	})
	s.get(t, "/log", "X-Request-ID", "req-1")
	if lines := s.log.lines(t, "grouped"); len(lines) != 1 || lines[0]["request_id"] != "req-1" || lines[0]["trace_id"] == nil ||
		fmt.Sprint(lines[0]["http"]) != "map[b:2 c:3]" || lines[0]["a"] != 1.0 {
		t.Errorf("lines = %v, want the ids outside the group", lines)
	}
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	for line := range strings.Lines(s.log.b.String()) {
		if n := strings.Count(line, `"request_id":`); n != 1 {
			t.Errorf("%d request ids in %s", n, line)
		}
	}
}

// pusher is a connection of HTTP/2 whose client takes what is pushed, as
// net/http's own does not.
type pusher struct {
	http.ResponseWriter
	pushed []string
}

func (p *pusher) Push(target string, _ *http.PushOptions) error {
	p.pushed = append(p.pushed, target)
	return nil
}

func TestPushPassesThrough(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var said error
	h := m.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		said = w.(http.Pusher).Push("/style.css", nil)
	}))
	w := &pusher{ResponseWriter: httptest.NewRecorder()}
	if h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil)); said != nil || len(w.pushed) != 1 || w.pushed[0] != "/style.css" {
		t.Errorf("pushed %q, %v", w.pushed, said)
	}
	if h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)); !errors.Is(said, http.ErrNotSupported) {
		t.Errorf("without a connection that can: %v", said)
	}
}
