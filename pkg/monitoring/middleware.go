package monitoring

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// Middleware records every request that passes: its metrics by route, a trace
// that ends after the body, a profile if it is slow, one log line. It answers
// 500 where next panics. The requests of the /monitoring API and of a receiver
// of traces are counted, but neither traced nor profiled.
//
// Routes are known by [http.Request.Pattern]. Where next hands on another
// request than it is given, as with WithContext, they are asked of the mux that
// [Monitor.Mount] got; a request without either counts as unmatched.
func (m *Monitor) Middleware(next http.Handler) http.Handler {
	return m.record(next, func(path string) bool { return !m.server.Has(path) && !m.takesIn(path) })
}

// Quiet is Middleware without traces and profiles, for a listener at which
// nothing but data comes in: a stray request there is worth no trace.
func (m *Monitor) Quiet(next http.Handler) http.Handler {
	return m.record(next, func(string) bool { return false })
}

// record is the middleware; traced tells which paths leave a trace.
func (m *Monitor) record(next http.Handler, traced func(path string) bool) http.Handler {
	_, routes := next.(*http.ServeMux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rq := request{m: m, start: time.Now(), id: api.RequestID(r), routed: routes}
		rq.rw = responseWriter{ResponseWriter: w}
		w.Header().Set(api.RequestIDHeader, rq.id)
		m.Metrics.Begin()
		ctx := context.WithValue(r.Context(), requestKey{}, &rq)
		if traced(r.URL.Path) {
			rq.r = rq.begin(ctx, r)
		} else {
			rq.r = rq.pass(ctx, r)
		}
		defer rq.end()
		next.ServeHTTP(&rq.rw, rq.r)
		rq.returned = true
	})
}

// request is one request on its way through the middleware.
type request struct {
	m        *Monitor
	r        *http.Request // the one that next gets, so that its Pattern can be read afterwards
	rw       responseWriter
	start    time.Time
	id       string
	span     tracing.Span
	handle   profiling.Handle
	parent   context.Context // the labels the goroutine goes back to
	traced   bool
	routed   bool   // next is a mux: a request without a pattern has no route
	returned bool   // next has, without a panic
	panicked string // the type of a panic that the API's own handler recovered
}

type requestKey struct{}

// remote returns the span in another process that the request came from, if
// its headers tell one.
func remote(r *http.Request) trace.SpanContext {
	sc, err := tracing.ParseTraceparent(r.Header.Get("Traceparent"))
	if err != nil {
		return trace.SpanContext{}
	}
	if state, err := trace.ParseTraceState(r.Header.Get("Tracestate")); err == nil {
		sc = sc.WithTraceState(state)
	}
	return sc
}

// pass lets a request of the API's own through untraced: in a span context that
// is not sampled, so that neither it nor what it calls is recorded, and its log
// lines have a trace id all the same.
func (rq *request) pass(ctx context.Context, r *http.Request) *http.Request {
	from := remote(r)
	id := from.TraceID()
	if !from.IsValid() {
		id = tracing.NewTraceID()
	}
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: tracing.NewSpanID(), TraceState: from.TraceState()})
	rq.rw.Header().Set(traceIDHeader, id.String())
	return r.WithContext(trace.ContextWithSpanContext(ctx, sc))
}

const traceIDHeader = "X-Trace-ID"

// begin starts the trace and takes a place in the table of requests in flight.
func (rq *request) begin(ctx context.Context, r *http.Request) *http.Request {
	m := rq.m
	ctx, rq.span = m.Traces.Start(ctx, r.Method+" "+r.URL.Path, tracing.StartOptions{
		Kind: trace.SpanKindServer, Time: rq.start, Remote: remote(r), RequestID: rq.id,
		Metadata: []attribute.KeyValue{
			attribute.String("http.method", r.Method), attribute.String("http.url", requestURL(r)),
			attribute.String("http.user_agent", r.UserAgent()), attribute.String("http.remote_addr", r.RemoteAddr),
		},
	})
	rq.traced = true
	id := rq.span.SpanContext().TraceID().String()
	rq.rw.Header().Set(traceIDHeader, id)
	rq.parent = ctx
	rq.handle = m.Profiles.Begin(profiling.Request{
		Method: r.Method, Host: r.Host, Path: r.URL.Path, TraceID: id, RequestID: rq.id, Force: m.wantsProfile(r),
	})
	if pid := rq.handle.ProfileID(); pid != "" {
		rq.rw.Header().Set("X-Profile-ID", pid)
	}
	return r.WithContext(m.Profiles.Attach(ctx, rq.handle))
}

// wantsProfile tells whether an operator asks for this request's profile.
func (m *Monitor) wantsProfile(r *http.Request) bool {
	asked := strings.EqualFold(r.Header.Get("X-Enable-Profiling"), "true") ||
		strings.Contains(r.URL.RawQuery, "profile=true") && r.URL.Query().Get("profile") == "true"
	return asked && m.server.Trusted(r, "X-Pulsectl-Token")
}

// end records the request, whatever became of it. What had begun and then
// panicked is broken off, for a proper end would be taken for its own.
func (rq *request) end() {
	reason := recover()
	aborted := reason == http.ErrAbortHandler || reason == nil && !rq.returned // the latter is a runtime.Goexit
	panicked, begun := reason != nil && !aborted, rq.rw.status != 0
	if panicked {
		rq.panicked = typeName(reason)
		rq.m.log.LogAttrs(rq.r.Context(), slog.LevelError, "handler panicked", slog.String("panic", fmt.Sprint(reason)), slog.String("stack", string(debug.Stack())))
	}
	status := rq.rw.finish(rq.panicked != "", aborted, rq.id)
	took := time.Since(rq.start)
	q := metric.Request{Method: rq.r.Method, Status: status, Panic: rq.panicked, Observation: metric.Observation{Duration: took, End: rq.start.Add(took)}}
	if aborted {
		q.Kind = "aborted"
	}
	pattern := rq.pattern(status)
	if rq.traced {
		q.Trace = rq.span.SpanContext().TraceID()
		rq.endTrace(pattern, status, reason, aborted)
	}
	rq.m.Metrics.End()
	rq.m.Metrics.Route(pattern).Observe(q)
	level := slog.LevelInfo
	if !rq.traced && status < 400 && rq.m.takesIn(rq.r.URL.Path) {
		level = slog.LevelDebug // of batches there may be thousands a second
	}
	rq.m.log.LogAttrs(rq.r.Context(), level, "request completed",
		slog.String("method", method(rq.r)), slog.String("endpoint", endpoint(pattern)),
		slog.Int("status_code", status), slog.Float64("duration_ms", float64(took.Microseconds())/1e3))
	if reason != nil && aborted || panicked && begun && !rq.rw.hijacked {
		panic(http.ErrAbortHandler)
	}
}

func (rq *request) endTrace(pattern string, status int, reason any, aborted bool) {
	pid := rq.m.Profiles.End(rq.handle, profiling.Finish{Context: rq.parent, Route: pattern})
	if pid != "" {
		rq.m.Traces.Link(rq.span.SpanContext().TraceID(), pid)
	}
	name := endpoint(pattern)
	rq.span.SetName(method(rq.r) + " " + name)
	rq.span.SetString("http.request.method", rq.r.Method)
	rq.span.SetString("http.route", name)
	rq.span.SetString("url.path", rq.r.URL.Path)
	rq.span.SetInt("http.response.status_code", int64(status))
	switch {
	case aborted:
		rq.span.SetStatus(api.StatusAborted, "the handler broke the answer off")
	case reason != nil:
		rq.span.SetStatus(api.StatusError, fmt.Sprint(reason))
	case rq.parent.Err() != nil: // the client has gone, or the time is up: the span says which
	case status == http.StatusGatewayTimeout:
		rq.span.SetStatus(api.StatusTimeout, http.StatusText(status))
	case status >= 500:
		rq.span.SetStatus(api.StatusError, http.StatusText(status))
	}
	rq.span.End()
}

// pattern returns the route that the request took, "" for none. Where something
// before the mux has handed on another request than it got, the mux that the
// API is mounted on is asked again.
func (rq *request) pattern(status int) string {
	pattern := rq.r.Pattern
	if mux := rq.m.mux.Load(); pattern == "" && mux != nil && !rq.routed {
		_, pattern = mux.Handler(rq.r)
	}
	if rq.r.Method == http.MethodConnect && status == http.StatusTemporaryRedirect {
		return "" // here the mux gives the path of its redirection for a pattern
	}
	return pattern
}

// method cuts what a client may make up to the length of a method.
func method(r *http.Request) string { return r.Method[:min(len(r.Method), 16)] }

func typeName(v any) string { return fmt.Sprintf("%T", v) }

// countPanic counts a panic that the API's own handlers recovered: with the
// request, where the middleware sees it.
func (m *Monitor) countPanic(r *http.Request, reason any) {
	if rq, ok := r.Context().Value(requestKey{}).(*request); ok && rq.m == m {
		rq.panicked = typeName(reason)
		return
	}
	m.Metrics.Route(r.Pattern).Observe(metric.Request{Method: r.Method, Status: http.StatusInternalServerError, Panic: typeName(reason)})
}

// endpoint is a route pattern as label and span name: without its method, and
// "unmatched" where there is none.
func endpoint(pattern string) string {
	if _, path, ok := strings.Cut(pattern, " "); ok {
		pattern = path
	}
	if pattern == "" {
		return metric.Unmatched
	}
	return pattern
}

func requestURL(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host + r.URL.RequestURI()
}

// ObserveRequest counts and times a request that no middleware sees: of a
// queue, a socket, another protocol. endpoint must be of a closed set.
func (m *Monitor) ObserveRequest(method, endpoint string, status int, took time.Duration) {
	m.Metrics.Route(endpoint).Observe(metric.Request{Method: method, Status: status, Observation: metric.Observation{Duration: took}})
}
