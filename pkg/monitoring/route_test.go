package monitoring_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// pathRouter is a router that says nothing of its routes, as most outside of the
// standard library do.
type pathRouter map[string]http.Handler

func (p pathRouter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p[r.URL.Path].ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), pathRouter{}.key(), 1)))
}

func (pathRouter) key() any { return "router" }

// exposition returns what a scrape says of the requests.
func exposition(t *testing.T, m *monitoring.Monitor) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// A route that is named counts under its name: below the middleware, without it,
// and for each method.
func TestHandleNamesTheRoute(t *testing.T) {
	for _, middleware := range []bool{true, false} {
		m, err := monitoring.New(monitoring.Options{})
		if err != nil {
			t.Fatal(err)
		}
		user := m.Handle("/users/{id}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete {
				panic("no")
			}
			io.WriteString(w, "ada") // a recorder takes everything
		}))
		var h http.Handler = pathRouter{"/users/7": user, "/items/7": m.Handle("GET /items/{id}", user)} // one within the other: the inner is nearer to the work
		if middleware {
			h = m.Middleware(h)
		}
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, "/users/7", nil))
			if w.Header().Get("X-Request-ID") == "" || method == "DELETE" && w.Code != http.StatusInternalServerError {
				t.Errorf("%s: status %d, header %v", method, w.Code, w.Header())
			}
		}
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/items/7", nil))
		text := exposition(t, m)
		for _, want := range []string{
			`pulse_api_requests_total{endpoint="/users/{id}",method="GET",status_code="200"} 2`,
			`pulse_api_requests_total{endpoint="/users/{id}",method="PUT",status_code="200"} 1`,
			`pulse_api_requests_total{endpoint="/users/{id}",method="DELETE",status_code="500"} 1`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("middleware %v: no %s", middleware, want)
			}
		}
		if strings.Contains(text, `endpoint="unmatched"`) {
			t.Errorf("middleware %v: a request is unmatched", middleware)
		}
		page, err := m.Traces.Find(tracing.Query{Spans: true})
		if err != nil || page.Total != 4 {
			t.Fatalf("%d traces, %v", page.Total, err)
		}
		for _, tr := range page.Traces {
			if sp := tr.Spans[0]; sp.Tags["http.route"] != "/users/{id}" || !strings.HasSuffix(tr.Root, " /users/{id}") || len(tr.Spans) != 1 {
				t.Errorf("middleware %v: span %+v", middleware, sp)
			}
		}
	}
}

// A pattern with a method names the span of that method's requests.
func TestHandleWithMethod(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := m.Handle("GET /users/{id}", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/users/7", nil))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("HEAD", "/users/7", nil))
	page, err := m.Traces.Find(tracing.Query{})
	if err != nil || page.Total != 2 {
		t.Fatalf("%+v, %v", page, err)
	}
	if a, b := page.Traces[0].Root, page.Traces[1].Root; a+b != "GET /users/{id}HEAD /users/{id}" && b+a != "GET /users/{id}HEAD /users/{id}" {
		t.Errorf("roots %q and %q", a, b)
	}
}

type statusError int

func (e statusError) Error() string   { return "answered" }
func (e statusError) StatusCode() int { return int(e) }

// What a pair of labels has in common is worked out once, and nothing else.
func TestTrackedCalls(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	one := func(context.Context) (int, error) { return 1, nil }
	for range 2 {
		monitoring.TrackDBQuery(t.Context(), m, "select", "events", one)
		monitoring.TrackDBQuery(t.Context(), m, "select", "users", one)
		monitoring.TrackExternalAPI(t.Context(), m, "github", "/pulls", one)
	}
	_, err = monitoring.TrackExternalAPI(t.Context(), m, "github", "/pulls", func(context.Context) (int, error) { return 0, statusError(503) })
	if !errors.Is(err, statusError(503)) {
		t.Errorf("error %v", err)
	}
	text := exposition(t, m)
	for _, want := range []string{
		`pulse_api_db_query_duration_seconds_count{query_type="select",table="events"} 2`,
		`pulse_api_db_query_duration_seconds_count{query_type="select",table="users"} 2`,
		`endpoint="/pulls",service="github",status_code="200"} 2`,
		`endpoint="/pulls",service="github",status_code="503"} 1`,
		`pulse_api_external_errors_total{error_type="http_503",service="github"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	page, err := m.Traces.Find(tracing.Query{Operation: "db.select", Spans: true})
	if err != nil || page.Total != 4 || page.Traces[0].Spans[0].Tags["db.collection.name"] == nil || page.Traces[0].Spans[0].Kind != "client" {
		t.Errorf("%+v, %v", page, err)
	}
}

// BenchmarkTrackDBQuery is what it costs to track a query that costs nothing, in a
// request's trace.
func BenchmarkTrackDBQuery(b *testing.B) {
	m, err := monitoring.New(monitoring.Options{TraceMaxBytes: 8 << 20})
	if err != nil {
		b.Fatal(err)
	}
	one := func(context.Context) (int, error) { return 1, nil }
	for name, track := range map[string]func(context.Context){
		"query":    func(ctx context.Context) { monitoring.TrackDBQuery(ctx, m, "select", "events", one) },
		"external": func(ctx context.Context) { monitoring.TrackExternalAPI(ctx, m, "github", "/pulls", one) },
		"span":     func(ctx context.Context) { monitoring.Trace(ctx, m, "work", one) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			ctx, root := m.StartSpan(context.Background(), "root")
			for i := 0; b.Loop(); i++ {
				if i%1000 == 999 {
					root.End()
					ctx, root = m.StartSpan(context.Background(), "root")
				}
				track(ctx)
			}
			root.End()
		})
	}
}

// Rules thin out the lines of what went well, say how many are missing, and leave
// each error and each slow request its line.
func TestLogRules(t *testing.T) {
	s := newService(t, monitoring.Options{SlowThreshold: 30 * time.Millisecond, LogRules: []monitoring.LogRule{
		{Endpoint: "/fast", Every: 4}, {Status: 404, Every: 2}, {Endpoint: "/each"}, {Every: 100},
	}})
	status := map[string]int{"/fast": 200, "/each": 200, "/other": 200, "/broken": 503, "/slow": 200, "/denied": 403}
	for path, code := range status {
		s.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			if path == "/slow" {
				time.Sleep(40 * time.Millisecond)
			}
			w.WriteHeader(code)
		})
	}
	s.mux.HandleFunc("GET /panics", func(http.ResponseWriter, *http.Request) { panic("no") })
	for range 9 {
		for path := range status {
			if path != "/slow" {
				s.get(t, path)
			}
		}
		s.get(t, "/missing")
	}
	for range 2 {
		s.get(t, "/slow")
		s.get(t, "/panics")
	}
	lines, skipped := map[string]int{}, map[string]float64{}
	for _, l := range s.log.lines(t, "request completed") {
		path := l["endpoint"].(string)
		lines[path]++
		if n, ok := l["lines_skipped"].(float64); ok {
			skipped[path] += n
		}
	}
	for path, want := range map[string]int{"/fast": 3, "/each": 9, "/other": 1, "/broken": 9, "/denied": 9, "/slow": 2, "/panics": 2, "unmatched": 5} {
		if lines[path] != want {
			t.Errorf("%d lines of %s, want %d", lines[path], path, want)
		}
	}
	if skipped["/fast"] != 6 || skipped["unmatched"] != 4 || len(skipped) != 2 {
		t.Errorf("skipped %v, want 6 of /fast and 4 of unmatched", skipped)
	}
	if want := "pulse_api_log_lines_skipped_total 18\n"; !strings.Contains(exposition(t, s.m), want) { // 6, 4 and 8 of /other
		t.Errorf("no %s", want)
	}
}

func TestLogRulesAreChecked(t *testing.T) {
	for _, r := range []monitoring.LogRule{{Every: -1}, {Status: 6}, {Status: 99}, {Status: 600}, {Status: -1}} {
		if _, err := monitoring.New(monitoring.Options{LogRules: []monitoring.LogRule{r}}); err == nil {
			t.Errorf("no error for %+v", r)
		}
	}
}

// A secret in a URL does not get out by way of a panic, a query or a header.
func TestSecretsStayOut(t *testing.T) {
	s := newService(t, monitoring.Options{SecretNames: []string{"sesame"}})
	s.mux.HandleFunc("GET /panics", func(_ http.ResponseWriter, r *http.Request) {
		panic(`Get "https://user:hush@api.example.com/?open_sesame=hush&page=2": refused`)
	})
	s.get(t, "/panics?sesame=hush&api_key=hush&page=3")
	s.log.mu.Lock()
	text := s.log.b.String()
	s.log.mu.Unlock()
	if strings.Contains(text, "hush") || !strings.Contains(text, "page=2") {
		t.Errorf("log: %s", text)
	}
	page, err := s.m.Traces.Find(tracing.Query{Spans: true})
	if err != nil || page.Total != 1 {
		t.Fatalf("%+v, %v", page, err)
	}
	tr := page.Traces[0]
	if url := tr.Metadata["http.url"].(string); strings.Contains(url, "hush") || !strings.Contains(url, "page=3") {
		t.Errorf("url %s", url)
	}
	if m := tr.Spans[0].StatusMessage; m == "" || strings.Contains(m, "hush") {
		t.Errorf("status %q", m)
	}
	if text := exposition(t, s.m); strings.Contains(text, "hush") {
		t.Error("a secret is in the metrics")
	}
}

// A handler that is too late for its time notes its route while the request ends
// already. The race detector tells whether that is safe.
func TestHandleBelowATimeout(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var late sync.WaitGroup
	slow := m.Handle("/slow", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	h := m.Middleware(http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer late.Done()
		<-r.Context().Done()
		slow.ServeHTTP(w, r)
	}), time.Millisecond, "late"))
	for range 20 {
		late.Add(1)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest("GET", "/slow", nil)); w.Code != http.StatusServiceUnavailable {
			t.Errorf("status %d, want 503", w.Code)
		}
	}
	late.Wait()
	if text := exposition(t, m); !strings.Contains(text, "pulse_api_active_connections 0\n") {
		t.Error("a request is still in flight")
	}
}

// A pattern may have any method, with any blanks behind it: the label, the line
// and the span tell the same path.
func TestPatternsWithOddMethods(t *testing.T) {
	s := newService(t, monitoring.Options{})
	for _, tt := range []struct{ pattern, method, path, endpoint string }{
		{"GET  /two/{id}", "GET", "/two/1", "/two/{id}"},
		{"GET\t/tab/{id}", "GET", "/tab/1", "/tab/{id}"},
		{"PURGE /cache/{id}", "PURGE", "/cache/1", "/cache/{id}"},
		{"M-SEARCH /devices", "M-SEARCH", "/devices", "/devices"},
	} {
		s.mux.HandleFunc(tt.pattern, func(http.ResponseWriter, *http.Request) {})
		s.raw(t, tt.method+" "+tt.path+" HTTP/1.0\r\n\r\n")
		s.completed(t, tt.endpoint)
		label := tt.method
		if label != "GET" {
			label = "OTHER"
		}
		s.wantMetric(t, `pulse_api_requests_total{endpoint="`+tt.endpoint+`",method="`+label+`",status_code="200"} 1`)
		page, err := s.m.Traces.Find(tracing.Query{Operation: tt.method + " " + tt.endpoint})
		if err != nil || page.Total != 1 {
			t.Errorf("%q: %d traces of %s %s, %v", tt.pattern, page.Total, tt.method, tt.endpoint, err)
		}
	}
}
