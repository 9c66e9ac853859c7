package monitoring

import (
	"net/http"

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

const receiverPath = "/v1/traces"
