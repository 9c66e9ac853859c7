package monitoring

import (
	"net/http"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/internal/server"
)

// Mount serves the API on mux: below /monitoring, the health probes /health,
// /health/live and /health/ready, and the profiles of the process at
// /debug/pprof, unless Options.NoPprof is set or mux has that page already, as
// [http.DefaultServeMux] has where net/http/pprof is imported. Its patterns name their method, so
// that they stand beside a service's own like "GET /"; a path of these that the
// service serves itself makes the mux panic, as any pattern does twice.
func (m *Monitor) Mount(mux *http.ServeMux) {
	for _, path := range []string{"/monitoring", "/monitoring/", "/health", "/health/live", "/health/ready"} {
		for _, method := range methods {
			mux.Handle(method+" "+path, m.server)
		}
	}
	m.mux.Store(mux)
	m.mountPprof(mux)
}

// methods are those whose requests the API answers, if only to say that they
// are wrong; GET stands for HEAD too.
var methods = []string{
	http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace, http.MethodConnect,
}

// Handler serves the API alone, for routers other than [http.ServeMux].
func (m *Monitor) Handler() http.Handler { return m.server }

// EndStreams ends the answers of the API that last as long as somebody reads
// them. A server that is shut down waits for them otherwise:
//
//	srv.RegisterOnShutdown(m.EndStreams)
func (m *Monitor) EndStreams() { m.server.EndStreams() }

// Receive mounts a handler that takes in spans, for callers that may bring data:
// with a token of the role writer or operator, or over loopback where there are
// no tokens. Its pattern names a method and a path, like "POST /v1/traces". Its
// requests are counted like the API's own, and not traced: each batch would
// leave a trace of itself. A handler with a method Refuse(http.ResponseWriter,
// *http.Request, *api.Error) tells a caller that may not in its own form.
func (m *Monitor) Receive(mux *http.ServeMux, pattern string, h http.Handler) {
	mux.Handle(pattern, m.server.Protect(server.Writer, false, h))
	path := pattern[strings.Index(pattern, " ")+1:]
	for old := m.intakes.Load(); !m.takesIn(path); old = m.intakes.Load() {
		all := []string{path}
		if old != nil {
			all = append(all, *old...)
		}
		m.intakes.CompareAndSwap(old, &all)
	}
}

// takesIn tells whether spans come in at a path.
func (m *Monitor) takesIn(path string) bool {
	all := m.intakes.Load()
	return all != nil && slices.Contains(*all, path)
}

// ServeJaeger mounts at its patterns, all of them below /api/, a handler that
// answers as Jaeger's query service does, for callers that may read. Its
// requests are counted, and not traced.
func (m *Monitor) ServeJaeger(mux *http.ServeMux, patterns []string, h http.Handler) {
	for _, p := range patterns {
		mux.Handle(p, m.server.Protect(server.Viewer, false, h))
	}
	m.jaeger.Store(true)
}

// besides tells whether a path is one of those beside the API.
func (m *Monitor) besides(path string) bool {
	return m.takesIn(path) || m.jaeger.Load() && strings.HasPrefix(path, "/api/")
}
