package monitoring

import (
	"net/http"
	"strings"

	"github.com/pulsectl/pulsectl/internal/server"
)

// Mount serves the API on mux: below /monitoring, and the health probes
// /health, /health/live and /health/ready. Its patterns name their method, so
// that they stand beside a service's own like "GET /"; a path of these that the
// service serves itself makes the mux panic, as any pattern does twice.
func (m *Monitor) Mount(mux *http.ServeMux) {
	for _, path := range []string{"/monitoring", "/monitoring/", "/health", "/health/live", "/health/ready"} {
		for _, method := range methods {
			mux.Handle(method+" "+path, m.server)
		}
	}
	m.mux.Store(mux)
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

// Receive mounts a receiver of traces at /v1/traces, for callers that may bring
// data: with a token of the role writer or operator, or over loopback where
// there are no tokens. Its requests are counted like the API's own, and not
// traced: each batch would leave a trace of itself.
func (m *Monitor) Receive(mux *http.ServeMux, h http.Handler) {
	mux.Handle("POST "+receiverPath, m.server.Protect(server.Writer, false, h))
}

// ReceiveZipkin mounts a receiver of Zipkin's spans at /api/v2/spans, as Receive
// does for OTLP.
func (m *Monitor) ReceiveZipkin(mux *http.ServeMux, h http.Handler) {
	mux.Handle("POST "+zipkinPath, m.server.Protect(server.Writer, false, h))
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
	return path == receiverPath || path == zipkinPath || m.jaeger.Load() && strings.HasPrefix(path, "/api/")
}

const (
	receiverPath = "/v1/traces"
	zipkinPath   = "/api/v2/spans"
)
