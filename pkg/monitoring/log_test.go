package monitoring_test

import (
	"bytes"
	"io"
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

// So does a logger that brings one: a line has no name twice.
func TestIDsOfALoggerStand(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, span := m.StartSpan(t.Context(), "job")
	defer span.End()
	for name, handler := range map[string]func(io.Writer) slog.Handler{
		"ours":  func(w io.Writer) slog.Handler { return monitoring.JSONHandler(w, nil) },
		"slogs": func(w io.Writer) slog.Handler { return monitoring.LogHandler(slog.NewJSONHandler(w, nil)) },
	} {
		var out bytes.Buffer
		log := slog.New(handler(&out)).With("trace_id", "mine")
		log.InfoContext(ctx, "plain")
		log.WithGroup("g").InfoContext(ctx, "grouped", "trace_id", "in the group")
		log.With("a", 1).WithGroup("g").With("b", 2).InfoContext(ctx, "both")
		slog.New(handler(&out)).WithGroup("g").With("trace_id", "in the group").InfoContext(ctx, "others")
		lines := strings.Split(out.String(), "\n")
		for i, want := range []int{1, 2, 1, 2} {
			if got := strings.Count(lines[i], `"trace_id":`); got != want {
				t.Errorf("%s: %d trace ids, want %d: %s", name, got, want, lines[i])
			}
		}
		if !strings.Contains(lines[3], span.SpanContext().TraceID().String()) {
			t.Errorf("%s: no trace id of its own: %s", name, lines[3])
		}
	}
}
