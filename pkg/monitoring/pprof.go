package monitoring

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
)

const pprofPath = "/debug/pprof/"

// mountPprof serves the process's profiles where Go's tools look for them. It
// shares the CPU profiler among all who read it, as net/http/pprof cannot.
func (m *Monitor) mountPprof(mux *http.ServeMux) {
	if m.opts.NoPprof {
		return
	}
	if _, pattern := mux.Handler(pathRequest(http.MethodGet, "", pprofPath)); strings.HasSuffix(pattern, pprofPath) {
		m.log.Warn("/debug/pprof is the service's own: it refuses a second reader of the CPU profile, and other captures while one reads",
			slog.String("pattern", pattern))
		return
	}
	mux.Handle("GET "+pprofPath, m.server)
}

// patternOf returns the pattern that a request takes on the mux that the API is
// mounted on, "" for none.
func (m *Monitor) patternOf(method, host, path string) string {
	mux := m.mux.Load()
	if mux == nil {
		return ""
	}
	_, pattern := mux.Handler(pathRequest(method, host, path))
	return pattern
}

func pathRequest(method, host, path string) *http.Request {
	return &http.Request{Method: method, Host: host, URL: &url.URL{Path: path}}
}
