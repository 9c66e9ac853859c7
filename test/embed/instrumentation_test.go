package embed

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
)

func newMonitor(t *testing.T) *monitoring.Monitor {
	t.Helper()
	m, err := monitoring.New(monitoring.Options{Service: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// job runs f in a span of ours and returns its trace, once it has ended, with
// its spans by their names.
func job(t *testing.T, m *monitoring.Monitor, f func(context.Context) error) (api.Trace, map[string]api.Span) {
	t.Helper()
	id, err := monitoring.Trace(context.Background(), m, "job", func(ctx context.Context) (string, error) {
		return trace.SpanContextFromContext(ctx).TraceID().String(), f(ctx)
	})
	if err != nil {
		t.Error(err)
	}
	for range 200 { // the server's span may end after the client's
		tr, err := m.Traces.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		if tr.Status != api.StatusActive {
			byName := map[string]api.Span{}
			for _, sp := range tr.Spans {
				byName[sp.Kind+" "+sp.OperationName] = sp
			}
			return tr, byName
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the trace does not end")
	return api.Trace{}, nil
}

// TestGRPC is a call between a client and a server of gRPC, both instrumented
// by OpenTelemetry's otelgrpc, under a span of ours.
func TestGRPC(t *testing.T) {
	m := newMonitor(t)
	provider, propagate := otelgrpc.WithTracerProvider(m.TracerProvider()), otelgrpc.WithPropagators(propagation.TraceContext{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.StatsHandler(otelgrpc.NewServerHandler(provider, propagate)))
	checks := health.NewServer()
	checks.SetServingStatus("shop", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(srv, checks)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler(provider, propagate)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		srv.Stop()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	const call = "grpc.health.v1.Health/Check"
	tr, spans := job(t, m, func(ctx context.Context) error {
		_, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: "shop"})
		return err
	})
	client, server := spans["client "+call], spans["server "+call]
	if len(tr.Spans) != 3 || !*tr.Complete || tr.Status != api.StatusOK || client.ParentSpanID == nil || *client.ParentSpanID != spans["internal job"].SpanID ||
		server.ParentSpanID == nil || *server.ParentSpanID != client.SpanID {
		t.Fatalf("trace %+v", tr)
	}
	if server.Tags["rpc.method"] == nil || client.Scope != "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc" {
		t.Errorf("server's span %+v, client's scope %q", server, client.Scope)
	}
	tr, spans = job(t, m, func(ctx context.Context) error {
		if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: "nobody"}); err == nil {
			t.Error("an unknown service is healthy")
		}
		return nil
	})
	if sp := spans["client "+call]; sp.Status != api.StatusError || len(tr.Spans) != 3 {
		t.Errorf("a call that failed: %+v", sp)
	}
}

// TestRedis sends commands to a real Redis by a client that redisotel instruments.
func TestRedis(t *testing.T) {
	m := newMonitor(t)
	rdb := redis.NewClient(&redis.Options{Addr: testkit.Redis(t).Addr()})
	defer rdb.Close()
	if err := redisotel.InstrumentTracing(rdb, redisotel.WithTracerProvider(m.TracerProvider())); err != nil {
		t.Fatal(err)
	}
	tr, spans := job(t, m, func(ctx context.Context) error {
		if err := rdb.Set(ctx, "k", "v", 0).Err(); err != nil {
			return err
		}
		if err := rdb.LPush(ctx, "k", "v").Err(); err == nil {
			t.Error("a text takes what a list does")
		}
		_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.Get(ctx, "k")
			p.Incr(ctx, "n")
			return nil
		})
		return err
	})
	set, failed, pipe := spans["client set"], spans["client lpush"], spans["client redis.pipeline get incr"]
	for _, sp := range []api.Span{set, failed, pipe} {
		if sp.ParentSpanID == nil || *sp.ParentSpanID != spans["internal job"].SpanID || sp.Tags["db.system"] != "redis" {
			t.Errorf("span %+v", sp)
		}
	}
	if set.Status != api.StatusOK || failed.Status != api.StatusError || len(failed.Logs) != 1 || failed.Logs[0].Level != "error" || tr.Status != api.StatusError {
		t.Errorf("set %+v, lpush %+v", set, failed)
	}
	if t.Failed() {
		for name := range spans {
			t.Log(name)
		}
	}
}
