// Package grpcbreaker puts gRPC calls under a circuit breaker: a client's calls
// to a dependency, or a server's own handlers, to shed load.
//
// It is a module of its own, so that nobody else links gRPC.
//
// The codes Unknown, DeadlineExceeded, ResourceExhausted, Internal, Unavailable
// and DataLoss count as failures, Canceled is ignored, and any other says that
// the dependency works. A rejected call fails with Unavailable; its error wraps
// [breaker.ErrOpen].
package grpcbreaker

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// Classify decides what the error of a gRPC call means, for
// [breaker.Options].Classify of a breaker that guards such calls otherwise.
func Classify(err error) breaker.Outcome {
	switch {
	case errors.Is(err, io.EOF):
		return breaker.Success // the end of a stream
	case errors.Is(err, context.Canceled):
		return breaker.Ignored
	case errors.Is(err, context.DeadlineExceeded):
		return breaker.Timeout
	}
	switch status.Code(err) {
	case codes.Unknown, codes.ResourceExhausted, codes.Internal, codes.Unavailable, codes.DataLoss:
		return breaker.Failure
	case codes.DeadlineExceeded:
		return breaker.Timeout
	case codes.Canceled:
		return breaker.Ignored
	}
	return breaker.Success
}

// UnaryClientInterceptor guards a client's unary calls, with the breaker's call
// timeout on each.
func UnaryClientInterceptor(b *breaker.Breaker) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return guard(ctx, b, func(ctx context.Context) error { return invoke(ctx, method, req, reply, cc, opts...) })
	}
}

// UnaryServerInterceptor guards a server's unary handlers: while the breaker is
// open they are not called.
func UnaryServerInterceptor(b *breaker.Breaker) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (resp any, err error) {
		err = guard(ctx, b, func(ctx context.Context) error {
			resp, err = handle(ctx, req)
			return err
		})
		return resp, err
	}
}

func guard(ctx context.Context, b *breaker.Breaker, f func(context.Context) error) error {
	p, err := b.Allow()
	if err != nil {
		return rejected{err}
	}
	callCtx, cancel := b.CallContext(ctx)
	defer cancel()
	dead, returned := ctx.Err() != nil, false
	defer func() {
		if !returned {
			p.Done(breaker.Failure, "panic")
		}
	}()
	err = f(callCtx)
	returned = true
	end(ctx, callCtx, p, dead, err)
	return err
}

// end ends a call by its error. That of a caller who gave up is ignored even if
// the dependency made another code of it, and so is that of one whose ctx was
// dead before the call began; the breaker's own timeout never is.
func end(ctx, callCtx context.Context, p breaker.Permit, dead bool, err error) {
	switch o := Classify(err); {
	case err == nil || errors.Is(err, io.EOF):
		p.Done(breaker.Success, "")
	case dead:
		p.End(ctx, breaker.Ignored, err)
	case callCtx.Err() != nil && ctx.Err() == nil:
		p.End(ctx, breaker.Timeout, err)
	case errors.Is(ctx.Err(), context.Canceled):
		p.End(ctx, breaker.Ignored, err)
	default:
		p.End(ctx, o, err)
	}
}

// rejected is the error of a rejected call, as gRPC knows it and as breakers do.
type rejected struct{ error }

// GRPCStatus tells gRPC the code.
func (r rejected) GRPCStatus() *status.Status { return status.New(codes.Unavailable, r.Error()) }

// Unwrap returns the [breaker.OpenError].
func (r rejected) Unwrap() error { return r.error }

// StreamClientInterceptor guards the opening of a client's streams: a stream's
// call ends with the first message that comes, or with the stream's end or
// error before one. A stream may live for hours; that it answers says that the
// dependency works, and what happens to it later is not counted. The breaker's
// call timeout ends a stream that has not answered by then.
func StreamClientInterceptor(b *breaker.Breaker) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		p, err := b.Allow()
		if err != nil {
			return nil, rejected{err}
		}
		callCtx, cancel := context.WithCancel(ctx)
		s := &stream{permit: p, ctx: ctx, callCtx: callCtx, cancel: cancel, dead: ctx.Err() != nil}
		if d := p.Timeout(); d > 0 {
			s.timer = time.AfterFunc(d, cancel)
		}
		context.AfterFunc(callCtx, func() { s.end(status.FromContextError(callCtx.Err()).Err()) })
		returned := false
		defer func() {
			if !returned {
				s.end(errPanicked)
				cancel()
			}
		}()
		s.ClientStream, err = open(callCtx, desc, cc, method, opts...)
		returned = true
		if err != nil {
			s.end(err)
			cancel()
			return nil, err
		}
		return s, nil
	}
}

var errPanicked = errors.New("panic")

// StreamServerInterceptor guards a server's streaming handlers: while the
// breaker is open they are not called. The call ends with the handler; the
// breaker's call timeout does not apply.
func StreamServerInterceptor(b *breaker.Breaker) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		p, err := b.Allow()
		if err != nil {
			return rejected{err}
		}
		dead := ss.Context().Err() != nil
		err = errPanicked // until it has returned
		defer func() { end(ss.Context(), ss.Context(), p, dead, err) }()
		err = handle(srv, ss)
		return err
	}
}

// stream ends its call with the first message, and its context with itself.
type stream struct {
	grpc.ClientStream
	permit       breaker.Permit
	ctx, callCtx context.Context // of the caller; with the timeout
	cancel       context.CancelFunc
	dead         bool        // ctx was done before the call began
	timer        *time.Timer // nil without a timeout
	once         sync.Once
}

// RecvMsg receives a message.
func (s *stream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	s.end(err)
	if err != nil {
		s.cancel() // the stream is over; nothing else would free its context
	}
	return err
}

func (s *stream) end(err error) {
	s.once.Do(func() {
		if s.timer != nil {
			s.timer.Stop()
		}
		end(s.ctx, s.callCtx, s.permit, s.dead, err)
	})
}
