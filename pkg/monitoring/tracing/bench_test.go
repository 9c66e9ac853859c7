package tracing_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// track starts measuring the process's processor time; the returned function
// reports it for each operation, which other people's load hardly changes.
func track(b *testing.B, operations int) func() {
	b.ReportAllocs()
	start := processorTime(b)
	return func() {
		b.ReportMetric(float64(processorTime(b)-start)/float64(max(b.N, 1)*operations), "cpu-ns/op")
	}
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func child(ctx context.Context, s *tracing.Store, i int) {
	_, sp := s.Start(ctx, "child", tracing.StartOptions{})
	sp.SetString("http.request.method", "GET")
	sp.SetString("http.route", "/api/v1/users/{id}")
	sp.SetInt("http.response.status_code", 200)
	sp.SetInt("user.id", int64(i))
	sp.SetBool("cache.hit", true)
	sp.End()
}

// childAtOnce gives the same attributes in one call.
func childAtOnce(ctx context.Context, s *tracing.Store, i int) {
	_, sp := s.Start(ctx, "child", tracing.StartOptions{})
	sp.SetAttributes(attribute.String("http.request.method", "GET"), attribute.String("http.route", "/api/v1/users/{id}"),
		attribute.Int("http.response.status_code", 200), attribute.Int("user.id", i), attribute.Bool("cache.hit", true))
	sp.End()
}

// perRoot is how many children a root has: a trace grows like one of a
// long job, and never up to the span limit.
const perRoot = 1000

func BenchmarkChildSpan(b *testing.B) {
	for name, child := range map[string]func(context.Context, *tracing.Store, int){"native": childAtOnce, "one by one": child} {
		b.Run(name, func(b *testing.B) {
			s := newStore(b, tracing.Options{})
			ctx, root := s.Start(context.Background(), "root", tracing.StartOptions{})
			defer track(b, 1)()
			for i := 0; b.Loop(); i++ {
				if i%perRoot == 0 {
					root.End()
					ctx, root = s.Start(context.Background(), "root", tracing.StartOptions{})
				}
				child(ctx, s, i)
			}
			root.End()
		})
	}
	b.Run("before it lands", func(b *testing.B) { // the tracer's share: the store gets them while the clock stands
		s := newStore(b, tracing.Options{})
		ctx, root := s.Start(context.Background(), "root", tracing.StartOptions{})
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if i%200 == 199 {
				b.StopTimer()
				root.End()
				ctx, root = s.Start(context.Background(), "root", tracing.StartOptions{})
				b.StartTimer()
			}
			childAtOnce(ctx, s, i)
		}
		root.End()
	})
	b.Run("otel", func(b *testing.B) {
		s := newStore(b, tracing.Options{})
		tracer := s.TracerProvider().Tracer("bench")
		ctx, root := tracer.Start(context.Background(), "root")
		defer track(b, 1)()
		for i := 0; b.Loop(); i++ {
			if i%perRoot == 0 {
				root.End()
				ctx, root = tracer.Start(context.Background(), "root")
			}
			_, sp := tracer.Start(ctx, "child")
			sp.SetAttributes(attribute.String("http.request.method", "GET"), attribute.String("http.route", "/api/v1/users/{id}"),
				attribute.Int("http.response.status_code", 200), attribute.Int("user.id", i), attribute.Bool("cache.hit", true))
			sp.End()
		}
		root.End()
	})
}

func BenchmarkRequestTrace(b *testing.B) {
	s := newStore(b, tracing.Options{})
	defer track(b, 1)()
	for i := 0; b.Loop(); i++ {
		ctx, root := s.Start(context.Background(), "GET /api/v1/users/{id}", tracing.StartOptions{Kind: trace.SpanKindServer})
		for range 4 {
			child(ctx, s, i)
		}
		root.SetInt("http.response.status_code", 200)
		root.End()
	}
}

func BenchmarkParseTraceparent(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tracing.ParseTraceparent(traceparent); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAddOTLP(b *testing.B) {
	s := newStore(b, tracing.Options{})
	body := batch(b, 50, 10, func(tr int, sp *otlp.Span) {
		for _, key := range []string{"http.request.method", "http.route", "server.address", "user.id", "request.id"} {
			sp.Attrs = append(sp.Attrs, otlp.KeyValue{Key: key, Value: otlp.String("some text")})
		}
		sp.Attrs = append(sp.Attrs, otlp.KeyValue{Key: "http.response.status_code", Value: otlp.Int(200)}, otlp.KeyValue{Key: "cache.hit", Value: otlp.Bool(true)})
	})
	b.ReportAllocs()
	used := time.Duration(0)
	for b.Loop() {
		start := processorTime(b)
		if _, _, err := s.AddOTLP(body); err != nil {
			b.Fatal(err)
		}
		used += processorTime(b) - start
		b.StopTimer()
		s.Cleanup(0, false)
		b.StartTimer()
	}
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N*500), "cpu-ns/span")
}

func BenchmarkFind(b *testing.B) {
	s := newStore(b, tracing.Options{})
	add(b, s, batch(b, 10_000, 10))
	b.Run("newest of a service", func(b *testing.B) {
		defer track(b, 1)()
		for b.Loop() {
			if _, err := s.Find(tracing.Query{Service: "shop"}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("no tag matches", func(b *testing.B) {
		tag, err := tracing.ParseTag("nothing=1")
		if err != nil {
			b.Fatal(err)
		}
		defer track(b, 1)()
		for b.Loop() {
			if _, err := s.Find(tracing.Query{Tags: []tracing.Tag{tag}}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
