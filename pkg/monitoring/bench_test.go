package monitoring_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pulsectl/pulsectl/pkg/monitoring"
)

// discard is a response that goes nowhere.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) WriteHeader(int)             {}
func (d discard) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkMiddleware is what a request costs with the stack around it: its
// metrics, its trace, its place among those in flight, its line.
func BenchmarkMiddleware(b *testing.B) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /item/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	silent, err := monitoring.New(monitoring.Options{})
	if err != nil {
		b.Fatal(err)
	}
	logging, err := monitoring.New(monitoring.Options{Log: slog.New(monitoring.JSONHandler(writerOnly{}, slog.LevelInfo))})
	if err != nil {
		b.Fatal(err)
	}
	for _, bb := range []struct {
		name, path string
		h          http.Handler
	}{
		{"bare", "/item/7", mux},
		{"monitored", "/item/7", silent.Middleware(mux)},
		{"monitored with a line", "/item/7", logging.Middleware(mux)},
		{"untraced", "/health/x", silent.Middleware(mux)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, bb.path, nil)
			r.Header.Set("X-Request-ID", "req-1")
			b.ReportAllocs()
			for b.Loop() {
				bb.h.ServeHTTP(discard{http.Header{}}, r)
			}
		})
	}
}

type writerOnly struct{}

func (writerOnly) Write(p []byte) (int, error) { return len(p), nil }
