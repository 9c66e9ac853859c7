package monitoring

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
)

// Handle returns h as the handler of a route: a request that reaches it counts
// as one of this pattern, whatever router has brought it there, and the route's
// metrics and its span's name are resolved here, once. Below [Monitor.Middleware]
// it names the request that the middleware records; without one it records the
// request itself, as the middleware does.
//
//	mux.Handle("GET /users/{id}", m.Handle("GET /users/{id}", users))
//	chi.Get("/users/{id}", m.Handle("/users/{id}", users).ServeHTTP)
func (m *Monitor) Handle(pattern string, h http.Handler) http.Handler {
	out := &handled{m: m, next: h, route: m.route(pattern)}
	out.alone = m.record(h, m.traces, out.route)
	return out
}

type handled struct {
	m     *Monitor
	route *route
	next  http.Handler
	alone http.Handler // records the request, too
}

func (h *handled) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rq, _ := r.Context().Value(requestKey{}).(*request)
	if rq == nil || rq.m != h.m {
		h.alone.ServeHTTP(w, r)
		return
	}
	rq.route.Store(h.route)
	h.next.ServeHTTP(w, r)
}

// route is what is known of a pattern.
type route struct {
	pattern  string
	metrics  *metric.Route
	method   string // that the pattern names; "" for any
	endpoint string // label and http.route
	name     string // of the span of a request with that method
}

func (m *Monitor) route(pattern string) *route {
	pattern = strings.Clone(pattern)
	method, path := metric.CutMethod(pattern)
	rt := &route{pattern: pattern, metrics: m.Metrics.Route(pattern), method: method, endpoint: cmp.Or(path, metric.Unmatched)}
	if method != "" {
		rt.name = method + " " + rt.endpoint
	}
	return rt
}

// spanName returns what the span of a request of this method is called.
func (rt *route) spanName(method string) string {
	if rt.name != "" && rt.method == method {
		return rt.name
	}
	return method + " " + rt.endpoint
}

// found returns the route that the request took: the one that a handler of
// [Monitor.Handle] noted, or by the pattern that a mux left.
func (rq *request) found(status int) *route {
	if rt := rq.route.Load(); rt != nil {
		return rt
	}
	return rq.m.routes.get(rq.pattern(status), func(pattern string) (string, *route) {
		rt := rq.m.route(pattern)
		return rt.pattern, rt
	})
}

// pattern returns the pattern of the request's route, "" for none. Where
// something before the mux has handed on another request than it got, the mux
// that the API is mounted on is asked again.
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
