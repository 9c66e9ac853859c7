package main

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// startShop starts $SHOP, which holds finished traces to choose from and to
// compare: GET /cart took 10, 20, 30, 40 and 50 ms, POST /order 200, 240 and 900
// ms; the last reads the stock 20 times, waits longer for the payment and fails.
// The order of their starts is that of their durations. The slowest has a
// profile.
func startShop(ctx context.Context, env *testscript.Env, t *testing.T) {
	t.Helper()
	traces, err := tracing.New(tracing.Options{Service: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	shop := shopTraces{traces, time.Now().Add(-time.Minute)}
	for i := range 5 {
		shop.record(i, "GET /cart", (i+1)*10, nil)
	}
	shop.record(5, "POST /order", 200, func(ctx context.Context, at func(int) time.Time) { shop.order(ctx, at, 1, 100) })
	shop.record(6, "POST /order", 240, func(ctx context.Context, at func(int) time.Time) { shop.order(ctx, at, 1, 130) })
	shop.record(7, "POST /order", 900, func(ctx context.Context, at func(int) time.Time) { shop.order(ctx, at, 20, 600) })
	s, err := server.New(server.Options{Service: "shop", Traces: traces, Profiler: shopProfiler(ctx, t, traces)})
	if err != nil {
		t.Fatal(err)
	}
	served := httptest.NewServer(s)
	env.Setenv("SHOP", served.URL)
	env.Defer(served.Close)
}

type shopTraces struct {
	store *tracing.Store
	begun time.Time
}

// record makes the n-th trace, of so many milliseconds.
func (s shopTraces) record(n int, name string, took int, inside func(context.Context, func(int) time.Time)) {
	at := func(ms int) time.Time {
		return s.begun.Add(time.Duration(n)*time.Second + time.Duration(ms)*time.Millisecond)
	}
	ctx, root := s.store.Start(context.Background(), name, tracing.StartOptions{Time: at(0)})
	if inside != nil {
		inside(ctx, at)
	}
	root.EndAt(at(took))
}

// order reads the stock some times and then pays; a payment of half a second
// fails.
func (s shopTraces) order(ctx context.Context, at func(int) time.Time, reads, paying int) {
	for i := range reads {
		_, read := s.store.Start(ctx, "SELECT stock", tracing.StartOptions{Time: at(10 + i*10)})
		read.SetInt("item", int64(i))
		read.EndAt(at(18 + i*10))
	}
	begun := 10 + reads*10
	ctx, pay := s.store.Start(ctx, "pay", tracing.StartOptions{Time: at(begun)})
	_, call := s.store.Start(ctx, "POST /charge", tracing.StartOptions{Time: at(begun + 5)})
	if paying > 500 {
		call.Fail(errors.New("503 from the bank"))
	}
	call.EndAt(at(begun + paying - 5))
	pay.EndAt(at(begun + paying))
}

// shopProfiler holds a profile of the slowest trace.
func shopProfiler(ctx context.Context, t *testing.T, traces *tracing.Store) *profiling.Profiler {
	t.Helper()
	p, err := profiling.New(profiling.Options{Service: "shop", SlowThreshold: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	go p.Run(ctx)
	found, err := traces.Find(tracing.Query{State: tracing.Finished, Sort: tracing.Slowest, Limit: 1})
	if err != nil || len(found.Traces) != 1 {
		t.Fatalf("the slowest trace: %+v, %v", found, err)
	}
	for len(p.List(profiling.Query{Limit: 1})) == 0 { // until it was slow enough to be seen
		_, rec := p.Start(ctx, "POST /order", found.Traces[0].TraceID)
		rec.Checkpoint("parsed")
		time.Sleep(200 * time.Millisecond)
		rec.Timing("pay", 100*time.Millisecond)
		rec.End()
		time.Sleep(50 * time.Millisecond)
	}
	return p
}
