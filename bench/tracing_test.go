package bench

import (
	"context"
	"net/http"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// ring is the simplest bounded store behind the OpenTelemetry SDK: the last
// ended spans, as the SDK has them.
type ring struct {
	mu    sync.Mutex
	spans [4096]sdk.ReadOnlySpan
	next  int
}

func (r *ring) OnStart(context.Context, sdk.ReadWriteSpan) {}
func (r *ring) OnEnd(s sdk.ReadOnlySpan) {
	r.mu.Lock()
	r.spans[r.next] = s
	r.next = (r.next + 1) % len(r.spans)
	r.mu.Unlock()
}
func (r *ring) Shutdown(context.Context) error   { return nil }
func (r *ring) ForceFlush(context.Context) error { return nil }

func sdkProvider(tb testing.TB) trace.TracerProvider {
	tp := sdk.NewTracerProvider(sdk.WithSpanProcessor(new(ring)))
	tb.Cleanup(func() { tp.Shutdown(context.Background()) }) // has nothing to flush
	return tp
}

func ourProvider(testing.TB) trace.TracerProvider {
	return must(tracing.New(tracing.Options{MaxBytes: storeBytes})).TracerProvider()
}

// storeBytes is small, for a store that is full is what a service has; it holds
// more than the ring does.
const storeBytes = 4 << 20

// fiveNative sets the attributes that every span here has.
func fiveNative(s tracing.Span, i int) {
	s.SetString("http.request.method", "GET")
	s.SetString("http.route", "/api/v1/users/{id}")
	s.SetInt("http.response.status_code", 200)
	s.SetInt("user.id", int64(i))
	s.SetBool("cache.hit", true)
}

// fiveKeys are the same attributes under keys that a store has prepared.
type fiveKeys struct {
	method, route tracing.TextKey
	status, user  tracing.IntKey
	hit           tracing.BoolKey
}

func keysOf(s *tracing.Store) *fiveKeys {
	return &fiveKeys{
		s.TextKey("http.request.method"), s.TextKey("http.route"),
		s.IntKey("http.response.status_code"), s.IntKey("user.id"), s.BoolKey("cache.hit"),
	}
}

func (k *fiveKeys) set(s tracing.Span, i int) {
	s.Set(k.method.Of("GET"), k.route.Of("/api/v1/users/{id}"), k.status.Of(200), k.user.Of(int64(i)), k.hit.Of(true))
}

func five(s trace.Span, i int) {
	s.SetAttributes(
		attribute.String("http.request.method", "GET"),
		attribute.String("http.route", "/api/v1/users/{id}"),
		attribute.Int("http.response.status_code", 200),
		attribute.Int("user.id", i),
		attribute.Bool("cache.hit", true))
}

func childNative(ctx context.Context, s *tracing.Store, i int) {
	_, sp := s.Start(ctx, "child", tracing.StartOptions{})
	fiveNative(sp, i)
	sp.End()
}

func childPrepared(ctx context.Context, s *tracing.Store, k *fiveKeys, i int) {
	_, sp := s.Start(ctx, "child", tracing.StartOptions{})
	k.set(sp, i)
	sp.End()
}

func child(ctx context.Context, t trace.Tracer, i int) {
	_, sp := t.Start(ctx, "child")
	five(sp, i)
	sp.End()
}

// perRoot is how many children a root has, so that no trace outgrows the limits
// of the store that keeps it.
const perRoot = 1000

func BenchmarkChildSpan(b *testing.B) {
	under := func(provider func(testing.TB) trace.TracerProvider) func(testing.TB) func(int) {
		return func(tb testing.TB) func(int) {
			t := provider(tb).Tracer("bench")
			ctx, root := t.Start(context.Background(), "root")
			return func(i int) {
				if i%perRoot == perRoot-1 {
					root.End()
					ctx, root = t.Start(context.Background(), "root")
				}
				child(ctx, t, i)
			}
		}
	}
	compare(b, []impl{
		{"pulsectl", func(testing.TB) func(int) {
			s := must(tracing.New(tracing.Options{MaxBytes: storeBytes}))
			k := keysOf(s)
			ctx, root := s.Start(context.Background(), "root", tracing.StartOptions{})
			return func(i int) {
				if i%perRoot == perRoot-1 {
					root.End()
					ctx, root = s.Start(context.Background(), "root", tracing.StartOptions{})
				}
				childPrepared(ctx, s, k, i)
			}
		}},
		{"pulsectl-by-name", func(testing.TB) func(int) {
			s := must(tracing.New(tracing.Options{MaxBytes: storeBytes}))
			ctx, root := s.Start(context.Background(), "root", tracing.StartOptions{})
			return func(i int) {
				if i%perRoot == perRoot-1 {
					root.End()
					ctx, root = s.Start(context.Background(), "root", tracing.StartOptions{})
				}
				childNative(ctx, s, i)
			}
		}},
		{"pulsectl-by-otel", under(ourProvider)},
		{"otel-sdk", under(sdkProvider)},
	})
}

// BenchmarkRequestTrace is a root and four children, five attributes each.
func BenchmarkRequestTrace(b *testing.B) {
	under := func(provider func(testing.TB) trace.TracerProvider) func(testing.TB) func(int) {
		return func(tb testing.TB) func(int) {
			t := provider(tb).Tracer("bench")
			return func(i int) {
				ctx, root := t.Start(context.Background(), "GET /api/v1/users/{id}", trace.WithSpanKind(trace.SpanKindServer))
				five(root, i)
				for range 4 {
					child(ctx, t, i)
				}
				root.End()
			}
		}
	}
	compare(b, []impl{
		{"pulsectl", func(testing.TB) func(int) {
			s := must(tracing.New(tracing.Options{MaxBytes: storeBytes}))
			k := keysOf(s)
			return func(i int) {
				ctx, root := s.Start(context.Background(), "GET /api/v1/users/{id}", tracing.StartOptions{Kind: trace.SpanKindServer})
				k.set(root, i)
				for range 4 {
					childPrepared(ctx, s, k, i)
				}
				root.End()
			}
		}},
		{"pulsectl-by-otel", under(ourProvider)},
		{"otel-sdk", under(sdkProvider)},
	})
}

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func BenchmarkTraceparent(b *testing.B) {
	compare(b, []impl{
		{"pulsectl", func(tb testing.TB) func(int) {
			return func(int) {
				if _, err := tracing.ParseTraceparent(traceparent); err != nil {
					tb.Fatal(err)
				}
			}
		}},
		{"otel", func(testing.TB) func(int) {
			h := propagation.HeaderCarrier(http.Header{"Traceparent": {traceparent}})
			ctx := context.Background()
			return func(int) { propagation.TraceContext{}.Extract(ctx, h) }
		}},
	})
}
