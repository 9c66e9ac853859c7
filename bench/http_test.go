package bench

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	vm "github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sony/gobreaker/v2"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	mnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// discard is a response without a buffer. Its header is used again.
type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

// routes is a service with one route.
func routes(h http.HandlerFunc) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/users/{id}", h)
	return mux
}

func hello(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusOK)
	w.Write([]byte("ok")) // a discard takes everything
}

// parents are headers of different traces, one after the other.
var parents = func() string {
	var out []byte
	for range parentCount {
		sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: tracing.NewTraceID(), SpanID: tracing.NewSpanID(), TraceFlags: trace.FlagsSampled})
		out = tracing.AppendTraceparent(out, sc)
	}
	return string(out)
}()

const parentCount = 1 << 18

// serve sends h requests that continue traces of other services.
func serve(h http.Handler) func(int) {
	r := httptest.NewRequest(http.MethodGet, "/api/v1/users/7", nil)
	r.Header.Set("User-Agent", "bench/1.0")
	parent := []string{""}
	r.Header["Traceparent"] = parent
	w := &discard{http.Header{}}
	return func(i int) {
		at := i % parentCount * len(traceparent)
		parent[0] = parents[at : at+len(traceparent)]
		clear(w.h)
		h.ServeHTTP(w, r)
	}
}

func serving(build func(testing.TB) http.Handler) func(testing.TB) func(int) {
	return func(tb testing.TB) func(int) { return serve(build(tb)) }
}

func bare(testing.TB) http.Handler { return routes(hello) }

// statusWriter is what a middleware needs to know the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

var statusWriters = sync.Pool{New: func() any { return new(statusWriter) }}

// ourMetrics is the part of Monitor.Middleware that is about metrics: its clock
// adds what has passed to a time that was read before, and the writer is a part of
// what it has for a request, which here comes from a pool.
func ourMetrics(testing.TB) http.Handler {
	m, next, base := must(metric.New(metric.Options{})), routes(hello), time.Now()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := base.Add(time.Since(base))
		m.Begin()
		sw := statusWriters.Get().(*statusWriter)
		sw.ResponseWriter, sw.status = w, 0
		defer statusWriters.Put(sw)
		next.ServeHTTP(sw, r)
		took := time.Since(start)
		m.End()
		m.Route(r.Pattern).Observe(metric.Request{Method: r.Method, Status: sw.status, Observation: metric.Observation{Duration: took, End: start.Add(took)}})
	})
}

// promChain is promhttp's instrumentation with what ours counts, but for the route.
func promChain(next http.Handler) http.Handler {
	labels := []string{"method", "code"}
	inFlight := prometheus.NewGauge(prometheus.GaugeOpts{Name: "in_flight", Help: "h"})
	count := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests_total", Help: "h"}, labels)
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "request_duration_seconds", Help: "h"}, labels)
	return promhttp.InstrumentHandlerInFlight(inFlight, promhttp.InstrumentHandlerDuration(took, promhttp.InstrumentHandlerCounter(count, next)))
}

// victoria is a middleware as users of VictoriaMetrics/metrics write it: a
// series is known by its full name.
func victoria(testing.TB) http.Handler {
	set, next := vm.NewSet(), routes(hello)
	inFlight := set.NewCounter("in_flight")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		inFlight.Inc()
		sw := statusWriter{ResponseWriter: w}
		next.ServeHTTP(&sw, r)
		inFlight.Dec()
		labels := `{method="` + r.Method + `",route="` + r.Pattern + `",code="` + strconv.Itoa(sw.status) + `"}`
		set.GetOrCreateCounter("requests_total" + labels).Inc()
		set.GetOrCreateHistogram("request_duration_seconds" + labels).UpdateDuration(start)
	})
}

func BenchmarkMetricsMiddleware(b *testing.B) {
	compare(b, []impl{
		{"bare", serving(bare)},
		{"pulsectl", serving(ourMetrics)},
		{"promhttp", serving(func(testing.TB) http.Handler { return promChain(routes(hello)) })},
		{"victoriametrics", serving(victoria)},
	})
}

func monitor(o monitoring.Options) func(testing.TB) http.Handler {
	return func(testing.TB) http.Handler { return must(monitoring.New(o)).Middleware(routes(hello)) }
}

func otel(tb testing.TB, tp trace.TracerProvider, next http.Handler) http.Handler {
	return otelhttp.NewHandler(next, "request", otelhttp.WithTracerProvider(tp),
		otelhttp.WithMeterProvider(mnoop.NewMeterProvider()), otelhttp.WithPropagators(propagation.TraceContext{}))
}

// BenchmarkHTTPMiddleware sets the whole of Monitor.Middleware, metrics, trace,
// watch and log line, beside otelhttp, which only traces.
func BenchmarkHTTPMiddleware(b *testing.B) {
	compare(b, []impl{
		{"bare", serving(bare)},
		{"pulsectl", serving(monitor(monitoring.Options{TraceMaxBytes: storeBytes}))},
		{"pulsectl-json-log", serving(monitor(monitoring.Options{TraceMaxBytes: storeBytes, Log: slog.New(monitoring.JSONHandler(io.Discard, slog.LevelInfo))}))},
		{"otelhttp", serving(func(tb testing.TB) http.Handler { return otel(tb, sdkProvider(tb), routes(hello)) })},
		{"promhttp+otelhttp", serving(func(tb testing.TB) http.Handler { return promChain(otel(tb, sdkProvider(tb), routes(hello))) })},
	})
}

// BenchmarkWholeRequest is a request with metrics, five spans of five
// attributes or more, and a breaker around one of them; ours is watched too.
func BenchmarkWholeRequest(b *testing.B) {
	compare(b, []impl{
		{"bare", serving(bare)},
		{"pulsectl", serving(ourWhole)},
		{"promhttp+otelhttp+gobreaker", serving(peerWhole)},
	})
}

func ourWhole(testing.TB) http.Handler {
	m := must(monitoring.New(monitoring.Options{TraceMaxBytes: storeBytes}))
	br, k := must(m.Breaker("bench", breaker.Options{Timeout: -1})), keysOf(m.Traces)
	return m.Middleware(routes(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		for i := range 3 {
			childPrepared(ctx, m.Traces, k, i)
		}
		monitoring.Guard(ctx, br, func(ctx context.Context) (struct{}, error) {
			childPrepared(ctx, m.Traces, k, 3)
			return struct{}{}, nil
		}) // a closed breaker around what cannot fail
		hello(w, r)
	}))
}

func peerWhole(tb testing.TB) http.Handler {
	tp := sdkProvider(tb)
	t := tp.Tracer("bench")
	br := gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{})
	return promChain(otel(tb, tp, routes(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		for i := range 3 {
			child(ctx, t, i)
		}
		br.Execute(func() (struct{}, error) {
			child(ctx, t, 3)
			return struct{}{}, nil
		}) // as above
		hello(w, r)
	})))
}

// BenchmarkWatch is what it costs to notice a request that takes too long
// while it still runs. No peer does it.
func BenchmarkWatch(b *testing.B) {
	compare(b, []impl{{"pulsectl", func(testing.TB) func(int) {
		p := must(profiling.New(profiling.Options{}))
		r := profiling.Request{Method: "GET", Host: "localhost", Path: "/api/v1/users/7", TraceID: traceparent[3:35], RequestID: "7"}
		return func(int) { p.End(p.Begin(r), profiling.Finish{Route: "GET /api/v1/users/{id}"}) }
	}}})
}
