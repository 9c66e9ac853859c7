package monitoring

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

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
	return m.record(next, m.traces, nil)
}

// traces tells whether requests for a path leave a trace.
func (m *Monitor) traces(path string) bool { return !m.server.Has(path) && !m.besides(path) }

// Quiet is Middleware without traces and profiles, for a listener at which
// nothing but data comes in: a stray request there is worth no trace.
func (m *Monitor) Quiet(next http.Handler) http.Handler {
	return m.record(next, func(string) bool { return false }, nil)
}

// record is the middleware; traced tells which paths leave a trace. A nil route is
// to be found.
func (m *Monitor) record(next http.Handler, traced func(path string) bool, rt *route) http.Handler {
	_, routes := next.(*http.ServeMux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rq := &request{m: m, start: m.clock.now(), routed: routes}
		rq.route.Store(rt)
		rq.rw.ResponseWriter = w
		m.Metrics.Begin()
		if traced(r.URL.Path) {
			rq.r = rq.begin(r)
		} else {
			rq.r = rq.pass(r)
		}
		defer rq.end()
		next.ServeHTTP(&rq.rw, rq.r)
		rq.returned = true
	})
}

// request is one request on its way through the middleware, and the context
// that knows it.
type request struct {
	profiling.Bound
	m        *Monitor
	r        *http.Request // the one that next gets, so that its Pattern can be read afterwards
	rw       responseWriter
	start    time.Time
	id       string
	trace    tracing.TraceID
	headers  [2]string // the values of those that the answer gets
	span     tracing.Span
	handle   profiling.Handle
	traced   bool
	routed   bool   // next is a mux: a request without a pattern has no route
	returned bool   // next has, without a panic
	panicked string // the type of a panic that the API's own handler recovered

	// route is nil until it is known. It is atomic because a handler that was too
	// late for an [http.TimeoutHandler] may note it while the request ends.
	route atomic.Pointer[route]
}

type requestKey struct{}

// Value returns the request, its recording, or what the server's context has.
func (rq *request) Value(key any) any {
	if key == (requestKey{}) {
		return rq
	}
	return rq.Bound.Value(key)
}

// The headers that the middleware sets, as [http.Header] keeps them.
var (
	requestIDHeader = http.CanonicalHeaderKey(api.RequestIDHeader)
	traceIDHeader   = http.CanonicalHeaderKey("X-Trace-ID")
)

// identify gives the request its id, its own or a fresh one, and both ids to the
// answer. It returns the trace's as text.
func (rq *request) identify(r *http.Request, trace tracing.TraceID) string {
	var b [64]byte
	ids := hex.AppendEncode(b[:0], trace[:])
	rq.id = api.GivenRequestID(r)
	if rq.id == "" {
		ids = api.AppendRequestID(ids)
	}
	text := string(ids)
	if rq.id == "" {
		rq.id = text[32:]
	}
	rq.headers = [2]string{rq.id, text[:32]}
	h := rq.rw.Header()
	h[requestIDHeader], h[traceIDHeader] = rq.headers[:1:1], rq.headers[1:]
	return text[:32]
}

// remote returns the span in another process that the request came from, if
// its headers tell one.
func remote(h http.Header) trace.SpanContext {
	parents := h["Traceparent"]
	if len(parents) == 0 {
		return trace.SpanContext{} // before the parser words an error
	}
	sc, err := tracing.ParseTraceparent(parents[0])
	if err != nil {
		return sc
	}
	states := h["Tracestate"]
	if len(states) == 0 {
		return sc
	}
	if state, err := trace.ParseTraceState(strings.Join(states, ",")); err == nil {
		sc = sc.WithTraceState(state)
	}
	return sc
}

// pass lets a request of the API's own through untraced: in a span context that
// is not sampled, so that neither it nor what it calls is recorded, and its log
// lines have a trace id all the same.
func (rq *request) pass(r *http.Request) *http.Request {
	from := remote(r.Header)
	id := from.TraceID()
	if !from.IsValid() {
		id = tracing.NewTraceID()
	}
	rq.identify(r, id)
	rq.Bound.Context = r.Context()
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: tracing.NewSpanID(), TraceState: from.TraceState()})
	return r.WithContext(trace.ContextWithSpanContext(rq, sc))
}

// begin takes a place in the table of requests in flight and starts the trace.
func (rq *request) begin(r *http.Request) *http.Request {
	m, from := rq.m, remote(r.Header)
	id := from.TraceID()
	if !from.IsValid() {
		if outer := trace.SpanContextFromContext(r.Context()); outer.IsValid() { // of another instrumentation before this one
			id = outer.TraceID()
		} else {
			id = tracing.NewTraceID()
		}
	}
	text := rq.identify(r, id)
	rq.handle = m.Profiles.Begin(profiling.Request{
		Method: r.Method, Host: r.Host, Path: r.URL.Path, TraceID: text, RequestID: rq.id, Force: m.wantsProfile(r), Start: rq.start,
	})
	if pid := rq.handle.ProfileID(); pid != "" {
		rq.rw.Header().Set("X-Profile-ID", pid)
	}
	m.Profiles.Bind(&rq.Bound, r.Context(), rq.handle)
	name, url := described(r)
	ctx, span := m.Traces.Start(rq, name, tracing.StartOptions{Kind: trace.SpanKindServer, Time: rq.start, Remote: from, TraceID: id})
	span.Describe(rq.id, "",
		m.keys.method.Of(r.Method), m.keys.url.Of(url), m.keys.userAgent.Of(first(r.Header, "User-Agent")), m.keys.remoteAddr.Of(r.RemoteAddr))
	rq.traced, rq.span, rq.trace = true, span, id
	return r.WithContext(ctx)
}

// described returns what a request is called until its route is known, and its
// URL: two texts in one allocation.
func described(r *http.Request) (name, url string) {
	var b [256]byte
	text := append(append(append(b[:0], r.Method...), ' '), r.URL.Path...)
	n := len(text)
	if r.TLS != nil {
		text = append(text, "https://"...)
	} else {
		text = append(text, "http://"...)
	}
	text = append(text, r.Host...)
	if strings.HasPrefix(r.RequestURI, "/") {
		text = append(text, r.RequestURI...) // as it was sent
	} else {
		text = append(text, r.URL.RequestURI()...)
	}
	whole := string(text)
	return whole[:n], whole[n:]
}

// first is [http.Header.Get] of a name that is in the form that a header keeps:
// Get has to see to that at each call, which makes it 20 ns of 15.
func first(h http.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// wantsProfile tells whether an operator asks for this request's profile.
func (m *Monitor) wantsProfile(r *http.Request) bool {
	asked := strings.EqualFold(first(r.Header, "X-Enable-Profiling"), "true") ||
		r.URL.RawQuery != "" && strings.Contains(r.URL.RawQuery, "profile=true") && r.URL.Query().Get("profile") == "true"
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
		rq.m.log.LogAttrs(rq.r.Context(), slog.LevelError, "handler panicked", slog.String("panic", rq.m.Traces.MaskText(fmt.Sprint(reason))), slog.String("stack", string(debug.Stack())))
	}
	status := rq.rw.finish(rq.panicked != "", aborted, rq.id)
	took := time.Since(rq.start)
	q := metric.Request{Method: rq.r.Method, Status: status, Panic: rq.panicked, Observation: metric.Observation{Duration: took, End: rq.start.Add(took)}}
	if aborted {
		q.Kind = "aborted"
	}
	rt := rq.found(status)
	if rq.traced {
		q.Trace = rq.trace
		rq.endTrace(rt, status, q.End, reason, aborted)
	}
	rq.m.Metrics.End()
	rt.metrics.Observe(q)
	rq.logLine(rt, status, took, aborted || panicked)
	if rq.panicked != "" {
		rq.m.tellPanic(rq.r.Pattern, rq.panicked)
	}
	if reason != nil && aborted || panicked && begun && !rq.rw.hijacked {
		panic(http.ErrAbortHandler)
	}
}

func (rq *request) endTrace(rt *route, status int, at time.Time, reason any, aborted bool) {
	ctx := rq.r.Context()
	pid := rq.m.Profiles.End(rq.handle, profiling.Finish{Context: rq.Bound.Context, Route: rt.pattern})
	if pid != "" {
		rq.m.Traces.Link(rq.trace, pid)
	}
	o := tracing.EndOptions{Time: at, Name: rt.spanName(method(rq.r))}
	switch {
	case aborted:
		o.Status, o.Message = api.StatusAborted, "the handler broke the answer off"
	case reason != nil:
		o.Status, o.Message = api.StatusError, fmt.Sprint(reason)
	case ctx.Err() != nil: // the client has gone, or the time is up: the span says which
	case status == http.StatusGatewayTimeout:
		o.Status, o.Message = api.StatusTimeout, http.StatusText(status)
	case status >= 500:
		o.Status, o.Message = api.StatusError, http.StatusText(status)
	}
	keys := &rq.m.keys
	rq.span.EndWith(o, keys.requestMethod.Of(rq.r.Method), keys.route.Of(rt.endpoint),
		keys.path.Of(rq.r.URL.Path), keys.status.Of(int64(status)))
}

func typeName(v any) string { return fmt.Sprintf("%T", v) }

// countPanic counts a panic that the API's own handlers recovered: with the
// request, where the middleware sees it.
func (m *Monitor) countPanic(r *http.Request, reason any) {
	if rq, ok := r.Context().Value(requestKey{}).(*request); ok && rq.m == m {
		rq.panicked = typeName(reason)
		return
	}
	m.Metrics.Route(r.Pattern).Observe(metric.Request{Method: r.Method, Status: http.StatusInternalServerError, Panic: typeName(reason)})
	m.tellPanic(r.Pattern, typeName(reason))
}

func (m *Monitor) tellPanic(route, kind string) {
	if m.opts.OnPanic != nil {
		m.opts.OnPanic(fmt.Sprintf("panic of type %s in %s", kind, cmp.Or(route, "an unmatched route")))
	}
}

// requestKeys are the attributes of a request's trace and of its span.
type requestKeys struct {
	method, url, userAgent, remoteAddr tracing.TextKey
	requestMethod, route, path         tracing.TextKey
	status                             tracing.IntKey
}

func newRequestKeys(s *tracing.Store) requestKeys {
	return requestKeys{
		method: s.TextKey("http.method"), url: s.TextKey("http.url"),
		userAgent: s.TextKey("http.user_agent"), remoteAddr: s.TextKey("http.remote_addr"),
		requestMethod: s.TextKey("http.request.method"), route: s.TextKey("http.route"),
		path: s.TextKey("url.path"), status: s.IntKey("http.response.status_code"),
	}
}

// ObserveRequest counts and times a request that no middleware sees: of a
// queue, a socket, another protocol. endpoint must be of a closed set.
func (m *Monitor) ObserveRequest(method, endpoint string, status int, took time.Duration) {
	m.Metrics.Route(endpoint).Observe(metric.Request{Method: method, Status: status, Observation: metric.Observation{Duration: took}})
}
