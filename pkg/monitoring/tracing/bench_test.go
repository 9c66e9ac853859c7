package tracing_test

import (
	"context"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/pkg/api"
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

// BenchmarkAddOTLP takes requests in until the store is full and beyond, so that
// packing and eviction are a part of it.
func BenchmarkAddOTLP(b *testing.B) {
	b.Run("memory", func(b *testing.B) { addMany(b, newStore(b, tracing.Options{MaxBytes: 64 << 20})) })
	b.Run("log", func(b *testing.B) {
		log := &sink{}
		s := newStore(b, tracing.Options{MaxBytes: 64 << 20, Log: log})
		spans := addMany(b, s)
		b.ReportMetric(float64(log.bytes.Load())/float64(spans), "written-B/span")
	})
}

func addMany(b *testing.B, s *tracing.Store) (spans int) {
	shop := templates(16)
	var body []byte
	used := time.Duration(0)
	b.ReportAllocs()
	for n := uint32(1); b.Loop(); n++ {
		b.StopTimer()
		t := shop[n%16]
		body = t.request(body, n)
		b.StartTimer()
		start := processorTime(b)
		if _, rejected, err := s.AddOTLP(body); err != nil || rejected > 0 {
			b.Fatal(rejected, err)
		}
		used += processorTime(b) - start
		spans += t.spans
	}
	st := s.Stats()
	b.ReportMetric(float64(used.Nanoseconds())/float64(spans), "cpu-ns/span")
	b.ReportMetric(float64(st.Bytes)/float64(st.Spans), "kept-B/span")
	return spans
}

// sink is a log that counts what it is given and keeps nothing.
type sink struct{ bytes atomic.Int64 }

func (k *sink) Record(r tracing.Record) error { k.bytes.Add(int64(len(r.Data))); return nil }
func (k *sink) Chunk(c tracing.Chunk) error   { k.bytes.Add(int64(len(c.Data))); return nil }
func (k *sink) Drop(uint64) error             { return nil }
func (k *sink) Replay(func([]byte) error, func(tracing.Record) error) error {
	return nil
}

// BenchmarkReplay begins a store with a log of 100,000 spans, most of them in
// chunks.
func BenchmarkReplay(b *testing.B) {
	log := newNotebook()
	s := newStore(b, tracing.Options{Log: log})
	shop := templates(16)
	var body []byte
	for n := uint32(1); s.Stats().Spans < 100_000; n++ {
		body = shop[n%16].request(body, n)
		add(b, s, body)
	}
	spans := s.Stats().Spans
	size := 0
	for _, c := range log.chunks {
		size += len(c.Data)
	}
	defer track(b, spans)()
	for b.Loop() {
		if n := newStore(b, tracing.Options{Log: log}).Stats().Spans; n != spans {
			b.Fatalf("%d spans, want %d", n, spans)
		}
	}
	b.ReportMetric(float64(size)/float64(spans), "chunk-B/span")
}

// BenchmarkFind asks a store of a million spans in 100,000 traces.
func BenchmarkFind(b *testing.B) {
	s := newStore(b, tracing.Options{})
	shop := templates(16)
	var body []byte
	for n := uint32(1); s.Stats().Spans < 1_000_000; n++ {
		body = shop[n%16].request(body, n)
		add(b, s, body)
	}
	tag := func(text string) []tracing.Tag {
		tag, err := tracing.ParseTag(text)
		if err != nil {
			b.Fatal(err)
		}
		return []tracing.Tag{tag}
	}
	for _, tt := range []struct {
		name string
		q    tracing.Query
	}{
		{"newest of a service", tracing.Query{Service: "payments"}},
		{"service and duration", tracing.Query{Service: "payments", MinDuration: 50 * time.Millisecond}},
		{"errors", tracing.Query{Status: api.StatusError}},
		{"nothing matches", tracing.Query{Service: "payments", MinDuration: time.Hour}},
		{"operation", tracing.Query{Operation: "GET /api/v1/payments/{id}/3"}},
		{"no such attribute", tracing.Query{Tags: tag("nothing=1")}},
		{"no such value", tracing.Query{Tags: tag("http.response.status_code=999")}},
		{"no such text", tracing.Query{Text: "nowhere at all"}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			defer track(b, 1)()
			tt.q.Limit = 20
			for b.Loop() {
				if _, err := s.Find(tt.q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	page, err := s.Find(tracing.Query{})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("by id", func(b *testing.B) {
		defer track(b, 1)()
		for b.Loop() {
			if _, err := s.Get(page.Traces[0].TraceID); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("statistics", func(b *testing.B) {
		defer track(b, 1)()
		for b.Loop() {
			s.Operations(tracing.StatsQuery{})
		}
	})
	b.Run("graph", func(b *testing.B) {
		defer track(b, 1)()
		for b.Loop() {
			s.Graph(tracing.StatsQuery{})
		}
	})
}
