package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/internal/rules"
	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
	"github.com/pulsectl/pulsectl/pkg/monitoring/health"
	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
	"github.com/pulsectl/pulsectl/pkg/monitoring/process"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// fixture is a server's rooms with real data in them.
type fixture struct {
	server.Options
	log   *recorder
	ended string // id of a trace that has ended
}

func newServer(t testing.TB, f *fixture) *server.Server {
	t.Helper()
	s, err := server.New(f.Options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// filled makes a fixture whose rooms have something to tell: breakers in two
// states, a check that fails, cached values, a profile. It runs until t ends.
func filled(t testing.TB) *fixture {
	t.Helper()
	f := bare(t)
	f.Service, f.Version, f.Commit, f.Environment = "contract", "1.2.3", "abcdef0", "test"
	f.Checks = health.New(health.Options{})
	must(t, f.Checks.Register(health.Check{Name: "database", Critical: true, Run: func(context.Context) (map[string]any, error) {
		return map[string]any{"pool": map[string]int{"idle": 3}}, nil
	}}))
	must(t, f.Checks.Register(health.Check{Name: "mail", Run: func(context.Context) (map[string]any, error) {
		return nil, errors.New("dial mail.internal: connection refused")
	}}))
	f.Traces = value(tracing.New(tracing.Options{Service: f.Service}))(t)
	f.trace(t)
	f.Metrics = value(metric.New(metric.Options{Service: f.Service, Version: f.Version, Environment: f.Environment}))(t)
	f.Query = value(rules.New(rules.Options{}))(t)
	f.Process = value(process.New(process.Options{}))(t)
	f.Profiler = value(profiling.New(profiling.Options{Service: f.Service}))(t)
	f.Memory = value(cache.NewMemory(cache.MemoryOptions{}))(t)
	f.Redis = value(cache.NewRedis(cache.RedisOptions{URL: testkit.Redis(t).URL()}))(t)
	for _, c := range []cache.Tier{f.Memory, f.Redis} {
		must(t, c.Set(t.Context(), "user:1", []byte("Ada"), time.Minute))
		if _, ok, err := c.Get(t.Context(), "user:1"); err != nil || !ok {
			t.Fatalf("get what was set: %v, %v", ok, err)
		}
	}
	f.Features = func() api.HealthFeatures { return api.HealthFeatures{TracingEnabled: true, MetricsEnabled: true} }
	run(t, f.Profiler.Run)
	run(t, f.Process.Run)
	run(t, f.Traces.Run)
	t.Cleanup(func() {
		must(t, f.Memory.Close())
		must(t, f.Redis.Close())
	})
	return f
}

// bare makes a fixture of two breakers, openai_api open and github_api closed.
func bare(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{log: &recorder{}}
	f.Log = slog.New(slog.NewJSONHandler(f.log, nil))
	f.Breakers = new(breaker.Set)
	for _, name := range []string{"github_api", "openai_api"} {
		b := value(f.Breakers.Add(name, breaker.Options{FailureThreshold: 1}))(t)
		breaker.Do(t.Context(), b, func(context.Context) (int, error) {
			if name == "openai_api" {
				return 0, errors.New("502 Bad Gateway")
			}
			return 0, nil
		})
	}
	f.Config = func() api.Config {
		return api.Config{
			"app": map[string]any{
				"title": "contract", "version": "1.2.3", "environment": "test", "debug": false, "host": "127.0.0.1", "port": 8000, "log_level": "INFO",
			},
			"database": map[string]any{}, "security": map[string]any{}, "external_apis": map[string]any{"github_enabled": true},
			"sources": map[string]string{"app.port": "flag"},
		}
	}
	return f
}

// trace records a trace that has ended, with all that a span can hold, and one
// that is running.
func (f *fixture) trace(t testing.TB) {
	t.Helper()
	ctx, root := f.Traces.Start(t.Context(), "GET /priority", tracing.StartOptions{
		Kind: trace.SpanKindServer, RequestID: "req-1", UserID: "ada", Metadata: []attribute.KeyValue{attribute.String("http.method", "GET")},
	})
	_, child := f.Traces.Start(ctx, "db.select", tracing.StartOptions{Kind: trace.SpanKindClient, Scope: "sql", Links: []trace.Link{{SpanContext: root.SpanContext()}}})
	child.SetString("db.system", "postgresql")
	child.SetFloat("ratio", math.Inf(1)) // no JSON number
	child.AddLog("error", "retry", attribute.Int("attempt", 2))
	child.Fail(errors.New("deadlock"))
	child.End()
	root.End()
	f.ended = root.SpanContext().TraceID().String()
	_, running := f.Traces.Start(t.Context(), "GET /report", tracing.StartOptions{NewRoot: true})
	t.Cleanup(running.End)
}

// upload keeps a profile and returns its id.
func (f *fixture) upload(t testing.TB) string {
	t.Helper()
	return value(f.Profiler.AddUpload(heapProfile(t), "job", "batch", map[string]string{"host": "a"}))(t).ProfileID
}

func heapProfile(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, pprof.Lookup("goroutine").WriteTo(&b, 0))
	return b.Bytes()
}

// run runs a room's loop until t ends.
func run(t testing.TB, loop func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- loop(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// value is must for what comes with an error.
func value[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return v
	}
}

// recorder keeps the log lines that are written to it.
type recorder struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *recorder) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.b.Reset()
	return r.b.String()
}

func unzstd(r io.Reader) ([]byte, error) {
	z, err := zstd.NewReader(r)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return io.ReadAll(z)
}

// stranger makes h see its requests come from another machine.
func stranger(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = "192.0.2.7:40000"
		h.ServeHTTP(w, r)
	})
}
