package monitoring_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/pkg/monitoring"
)

// A record that brings its request's id keeps that one alone.
func TestLogHandlerAddsNoSecondID(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log := slog.New(monitoring.JSONHandler(&out, slog.LevelInfo))
	h := m.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		log.InfoContext(r.Context(), "audit", "request_id", "req-1")
		log.InfoContext(r.Context(), "other")
	}))
	r := httptest.NewRequest(http.MethodGet, "/monitoring/x", nil)
	r.Header.Set("X-Request-ID", "req-1")
	h.ServeHTTP(httptest.NewRecorder(), r)
	for line := range strings.Lines(out.String()) {
		if strings.Count(line, `"request_id":"req-1"`) != 1 {
			t.Errorf("line %s: want one request_id", line)
		}
	}
	if strings.Count(out.String(), "\n") != 2 {
		t.Errorf("log:\n%s", out.String())
	}
}
