package monitoring_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

func answer(t *testing.T, h http.Handler, r *http.Request) http.Header {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Header()
}

// The trace begins where the request comes from: the caller's headers, an
// instrumentation before ours, or here.
func TestWhereATraceBegins(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /item/{id}", func(http.ResponseWriter, *http.Request) {})
	h := m.Middleware(mux)
	octx, outer := m.TracerProvider().Tracer("outer").Start(context.Background(), "outer")
	defer outer.End()
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, tt := range []struct {
		name    string
		ctx     context.Context
		headers http.Header
		trace   string // "" means a fresh one
		parent  string // "" means none
	}{
		{"here", context.Background(), nil, "", ""},
		{"in the caller", context.Background(), http.Header{"Traceparent": {parent}, "Tracestate": {"a=1", "b=2"}}, parent[3:35], parent[36:52]},
		{"around us", octx, nil, outer.SpanContext().TraceID().String(), outer.SpanContext().SpanID().String()},
		{"in the caller, though something is around us", octx, http.Header{"Traceparent": {strings.Replace(parent, "4bf9", "5bf9", 1)}}, "5" + parent[4:35], parent[36:52]},
		{"here, for the header is broken", context.Background(), http.Header{"Traceparent": {"00-" + parent}}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(tt.ctx, http.MethodGet, "/item/7?a=1&api_key=s3cret", nil)
			r.TLS = &tls.ConnectionState{}
			for name, values := range tt.headers {
				r.Header[name] = values
			}
			got := answer(t, h, r)
			id := got.Get("X-Trace-ID")
			if len(got["X-Trace-Id"]) != 1 || len(got["X-Request-Id"]) != 1 || len(got.Get("X-Request-ID")) != 32 || tt.trace != "" && id != tt.trace {
				t.Fatalf("headers %v, want trace %q", got, tt.trace)
			}
			tr, err := m.Traces.Get(id)
			if err != nil {
				t.Fatal(err)
			}
			sp := tr.Spans[len(tr.Spans)-1]
			if sp.OperationName != "GET /item/{id}" || sp.Tags["http.route"] != "/item/{id}" || sp.Tags["url.path"] != "/item/7" || sp.Kind != "server" ||
				tr.Metadata["http.url"] != "https://example.com/item/7?a=1&api_key=***" || tr.RequestID != got.Get("X-Request-ID") {
				t.Errorf("trace %+v", tr)
			}
			if tt.parent == "" && sp.ParentSpanID != nil || tt.parent != "" && (sp.ParentSpanID == nil || *sp.ParentSpanID != tt.parent) {
				t.Errorf("parent %v, want %q", sp.ParentSpanID, tt.parent)
			}
		})
	}
}

// While a request runs, it is seen by its method and path.
func TestRunningRequest(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/item/{id}", func(_ http.ResponseWriter, r *http.Request) {
		page, err := m.Traces.Find(tracing.Query{State: tracing.Active, Spans: true})
		if err != nil || page.Total != 1 || page.Traces[0].Root != "PUT /item/7" || page.Traces[0].Metadata["http.method"] != "PUT" {
			t.Errorf("%+v, %v", page, err)
		}
		m.Traces.Describe(r.Context(), "", "ada")
		panic(http.ErrAbortHandler)
	})
	func() {
		defer func() {
			if reason := recover(); reason != http.ErrAbortHandler {
				t.Errorf("recovered %v", reason)
			}
		}()
		answer(t, m.Middleware(mux), httptest.NewRequest(http.MethodPut, "/item/7", nil))
	}()
	page, err := m.Traces.Find(tracing.Query{})
	if err != nil || page.Total != 1 || page.Traces[0].Status != "aborted" || page.Traces[0].Root != "PUT /item/{id}" || *page.Traces[0].UserID != "ada" {
		t.Errorf("%+v, %v", page, err)
	}
}

// A request's times are the clock's, however long ago the last one was.
func TestRequestsBeginByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := monitoring.New(monitoring.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { // ends what the caches run
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := m.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		h := m.Handle("/x", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Millisecond) }))
		for i, pause := range []time.Duration{0, 300 * time.Millisecond, 999 * time.Millisecond, time.Second, time.Hour} {
			time.Sleep(pause)
			want := time.Now()
			w := answer(t, h, httptest.NewRequest(http.MethodGet, "/x", nil))
			tr, err := m.Traces.Get(w.Get("X-Trace-ID"))
			if err != nil || !tr.StartTime.Time.Equal(want) || tr.Duration == nil || time.Duration(*tr.Duration) != 20*time.Millisecond {
				t.Errorf("request %d began at %v and took %v, want %v and 20ms; %v", i, tr.StartTime, tr.Duration, want, err)
			}
		}
	})
}

// Five allocations are the middleware's: the request, its ids, its name and URL,
// its span, and the copy of the request that carries them. What the store takes
// to keep the trace comes on top.
func TestMiddlewareAllocations(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /item/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	h := m.Middleware(mux)
	r := httptest.NewRequest(http.MethodGet, "/item/7", nil)
	// A sampled parent would be a trace that lands; this one is not recorded.
	r.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
	w := discard{http.Header{}}
	bare := testing.AllocsPerRun(200, func() { mux.ServeHTTP(w, r) })
	if n := testing.AllocsPerRun(200, func() { h.ServeHTTP(w, r) }); n-bare > 5 {
		t.Errorf("%v allocations above the handler's %v, want 5", n-bare, bare)
	}
}
