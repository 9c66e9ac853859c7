package grpcbreaker_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker/grpcbreaker"
)

// flaky is gRPC's own health service, until it is told to fail or to hang.
type flaky struct {
	*health.Server
	answer error
	hang   bool
}

func (f *flaky) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if f.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if f.answer != nil {
		return nil, f.answer
	}
	return f.Server.Check(ctx, r)
}

func (f *flaky) Watch(r *healthpb.HealthCheckRequest, s grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	if f.hang {
		<-s.Context().Done()
		return s.Context().Err()
	}
	if f.answer != nil {
		return f.answer
	}
	return f.Server.Watch(r, s)
}

func dial(t *testing.T, f *flaky, b *breaker.Breaker, server ...grpc.ServerOption) healthpb.HealthClient {
	t.Helper()
	f.Server = health.NewServer()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(server...)
	healthpb.RegisterHealthServer(srv, f)
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	opts := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if b != nil {
		opts = append(opts, grpc.WithUnaryInterceptor(grpcbreaker.UnaryClientInterceptor(b)), grpc.WithStreamInterceptor(grpcbreaker.StreamClientInterceptor(b)))
	}
	cc, err := grpc.NewClient("passthrough:///"+l.Addr().String(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return healthpb.NewHealthClient(cc)
}

func newBreaker(t *testing.T, o breaker.Options) *breaker.Breaker {
	t.Helper()
	b, err := breaker.New("health", o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestUnaryClient(t *testing.T) {
	for _, tt := range []struct {
		code codes.Code
		open bool
	}{
		{codes.OK, false}, {codes.NotFound, false}, {codes.InvalidArgument, false}, {codes.Canceled, false},
		{codes.Unavailable, true}, {codes.Internal, true}, {codes.ResourceExhausted, true}, {codes.DeadlineExceeded, true},
	} {
		t.Run(tt.code.String(), func(t *testing.T) {
			b := newBreaker(t, breaker.Options{FailureThreshold: 1})
			f := &flaky{}
			if tt.code != codes.OK {
				f.answer = status.Error(tt.code, "so")
			}
			c := dial(t, f, b)
			if _, err := c.Check(t.Context(), &healthpb.HealthCheckRequest{}); status.Code(err) != tt.code {
				t.Fatalf("check = %v, want the server's %s", err, tt.code)
			}
			_, err := c.Check(t.Context(), &healthpb.HealthCheckRequest{})
			if got := errors.Is(err, breaker.ErrOpen); got != tt.open {
				t.Errorf("the call after = %v, want it rejected: %t", err, tt.open)
			}
			if tt.open && status.Code(err) != codes.Unavailable {
				t.Errorf("the rejection has code %s, want Unavailable", status.Code(err))
			}
		})
	}
}

func TestTimeoutAndCaller(t *testing.T) {
	b := newBreaker(t, breaker.Options{FailureThreshold: 1, Timeout: 50 * time.Millisecond})
	c := dial(t, &flaky{hang: true}, b)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	c.Check(ctx, &healthpb.HealthCheckRequest{})
	if b.State() != api.StateClosed {
		t.Error("a caller who gave up opened it")
	}
	c.Check(t.Context(), &healthpb.HealthCheckRequest{})
	if s := b.Snapshot(); s.State != api.StateOpen || s.Stats.Timeouts != 1 {
		t.Errorf("after its own timeout: %s, %+v", s.State, s.Stats)
	}
}

func TestStreamClient(t *testing.T) {
	b := newBreaker(t, breaker.Options{FailureThreshold: 1, Timeout: 100 * time.Millisecond})
	f := &flaky{}
	c := dial(t, f, b)
	ctx, cancel := context.WithCancel(t.Context())
	s, err := c.Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	if st := b.Snapshot().Stats; st.SuccessfulRequests != 1 || st.InFlight.Value() != 0 {
		t.Errorf("after the first message: %+v, want the call ended", st)
	}
	time.Sleep(150 * time.Millisecond)
	f.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	if m, err := s.Recv(); err != nil || m.Status != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("the stream beyond the call timeout = %v, %v", m, err)
	}
	cancel()
	f.hang = true
	hung, err := c.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hung.Recv(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a stream that never answers = %v", err)
	}
	if st := b.Snapshot(); st.State != api.StateOpen || st.Stats.Timeouts != 1 {
		t.Errorf("%s, %+v; want a timeout", st.State, st.Stats)
	}
	if _, err := c.Watch(t.Context(), &healthpb.HealthCheckRequest{}); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("a stream while it is open = %v", err)
	}
}

func TestServer(t *testing.T) {
	b := newBreaker(t, breaker.Options{FailureThreshold: 2})
	c := dial(t, &flaky{answer: status.Error(codes.Internal, "boom")}, nil,
		grpc.UnaryInterceptor(grpcbreaker.UnaryServerInterceptor(b)), grpc.StreamInterceptor(grpcbreaker.StreamServerInterceptor(b)))
	c.Check(t.Context(), &healthpb.HealthCheckRequest{})
	if s, err := c.Watch(t.Context(), &healthpb.HealthCheckRequest{}); err == nil {
		s.Recv()
	}
	if b.State() != api.StateOpen {
		t.Fatalf("state = %s, %+v", b.State(), b.Snapshot().Stats)
	}
	if _, err := c.Check(t.Context(), &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("while it is open = %v, want Unavailable", err)
	}
}

// A caller whose time was up before the call began says nothing about the
// dependency, which had no chance.
func TestCallerWhoIsLate(t *testing.T) {
	b, err := breaker.New("dep", breaker.Options{FailureThreshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, &flaky{}, b)
	late, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := c.Check(late, &healthpb.HealthCheckRequest{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a late call = %v", err)
	}
	if _, err := c.Watch(late, &healthpb.HealthCheckRequest{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a late stream = %v", err)
	}
	if s := b.Snapshot(); s.State != api.StateClosed || s.Stats.FailedRequests != 0 || s.Stats.InFlight.Value() != 0 {
		t.Errorf("late callers opened the breaker: %s, %+v", s.State, s.Stats)
	}
}
