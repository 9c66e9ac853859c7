package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	mnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/pulsectl/pulsectl/pkg/monitoring"
)

// serverNames are what serve knows; the first is what the others are above.
var serverNames = []string{"bare", "pulsectl", "pulsectl-json-log", "promhttp+otelhttp"}

// serve serves until standard input ends, and tells its address on standard
// output.
func serve(name string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/users/{id}", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "user "+r.PathValue("id")) // a client that has gone needs no answer
	})
	h, run, err := monitored(name, mux)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { run(ctx) })
	defer wg.Wait()
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h}
	wg.Go(func() { srv.Serve(l) }) // ends with Close
	fmt.Println(l.Addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	return srvClose(srv, err)
}

func srvClose(srv *http.Server, err error) error {
	if cerr := srv.Close(); err == nil {
		err = cerr
	}
	return err
}

// monitored returns the server of a name, and what it runs beside requests.
func monitored(name string, mux *http.ServeMux) (http.Handler, func(context.Context) error, error) {
	var o monitoring.Options
	switch name {
	case "bare":
		return mux, func(context.Context) error { return nil }, nil
	case "promhttp+otelhttp":
		return peer(mux), func(context.Context) error { return nil }, nil
	case "pulsectl":
	case "pulsectl-json-log":
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return nil, nil, err
		}
		o.Log = slog.New(monitoring.JSONHandler(null, slog.LevelInfo))
	default:
		return nil, nil, fmt.Errorf("server %q: want one of %q", name, serverNames)
	}
	m, err := monitoring.New(o)
	if err != nil {
		return nil, nil, err
	}
	m.Mount(mux)
	return m.Middleware(mux), m.Run, nil
}

// ring is the simplest bounded store behind the SDK: the last ended spans.
type ring struct {
	mu    sync.Mutex
	spans [4096]sdk.ReadOnlySpan
	next  int
}

func (r *ring) OnStart(context.Context, sdk.ReadWriteSpan) {}
func (r *ring) Shutdown(context.Context) error             { return nil }
func (r *ring) ForceFlush(context.Context) error           { return nil }
func (r *ring) OnEnd(s sdk.ReadOnlySpan) {
	r.mu.Lock()
	r.spans[r.next] = s
	r.next = (r.next + 1) % len(r.spans)
	r.mu.Unlock()
}

// peer is what one would put together for the same: it has no label for the
// route, no watch, no request id, and keeps 4,096 spans.
func peer(next http.Handler) http.Handler {
	next = otelhttp.NewHandler(next, "request", otelhttp.WithTracerProvider(sdk.NewTracerProvider(sdk.WithSpanProcessor(new(ring)))),
		otelhttp.WithMeterProvider(mnoop.NewMeterProvider()), otelhttp.WithPropagators(propagation.TraceContext{}))
	labels := []string{"method", "code"}
	inFlight := prometheus.NewGauge(prometheus.GaugeOpts{Name: "in_flight", Help: "h"})
	count := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests_total", Help: "h"}, labels)
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "request_duration_seconds", Help: "h"}, labels)
	return promhttp.InstrumentHandlerInFlight(inFlight, promhttp.InstrumentHandlerDuration(took, promhttp.InstrumentHandlerCounter(count, next)))
}
