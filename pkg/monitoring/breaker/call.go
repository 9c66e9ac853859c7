package breaker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// OpenError is the error of a rejected call; it wraps [ErrOpen]. All calls that
// one episode rejects get the same one.
type OpenError struct {
	Name    string
	State   api.State
	RetryAt time.Time // when to try again; half-open: when that began; zero if it is forced open until told otherwise
}

// Error names the breaker and when it lets a call through again.
func (e *OpenError) Error() string {
	switch {
	case e.State == api.StateHalfOpen:
		return fmt.Sprintf("%s: %v: a probe is under way", e.Name, ErrOpen)
	case e.RetryAt.IsZero():
		return fmt.Sprintf("%s: %v until told otherwise", e.Name, ErrOpen)
	}
	return fmt.Sprintf("%s: %v until %s", e.Name, ErrOpen, e.RetryAt.UTC().Format(time.RFC3339))
}

// Unwrap returns [ErrOpen].
func (e *OpenError) Unwrap() error { return ErrOpen }

// Do calls f under the breaker: not at all if it is open, and with the
// breaker's call timeout on f's context. It returns what f returns, or an
// [OpenError]. A panic in f counts as a failure and goes on.
//
// f must heed its context: Do waits for it to return. See [DoDetached] for one
// that does not.
func Do[T any](ctx context.Context, b *Breaker, f func(context.Context) (T, error)) (v T, err error) {
	p, err := b.enter(false)
	if err != nil {
		return v, err
	}
	if p.opts.Timeout == 0 {
		return run(ctx, ctx, p, f)
	}
	callCtx, cancel := p.opts.callContext(ctx)
	defer cancel()
	return run(ctx, callCtx, p, f)
}

func run[T any](ctx, callCtx context.Context, p Permit, f func(context.Context) (T, error)) (v T, err error) {
	dead := ctx.Err() != nil // before the dependency had its chance
	told := false
	defer func() {
		if !told { // a panic, of f or of Classify, or runtime.Goexit
			p.finish(panicked(ctx))
		}
	}()
	v, err = f(callCtx)
	if err != nil || !p.succeeded() {
		p.finish(p.judge(ctx, callCtx, dead, err))
	}
	told = true
	return v, err
}

func panicked(ctx context.Context) result {
	r := failed(ctx, Failure, nil)
	r.kind, r.why = "panic", "panic"
	return r
}

// judge classifies how the call ended.
func (p *Permit) judge(ctx, callCtx context.Context, dead bool, err error) result {
	o := p.b.Outcome(ctx, callCtx, err)
	if dead && err != nil {
		o = Ignored
	}
	return failed(ctx, o, err)
}

// DoOr is as [Do], and asks fallback when the call was rejected or went wrong.
// The breaker counts the call itself, not its fallback.
func DoOr[T any](ctx context.Context, b *Breaker, f func(context.Context) (T, error), fallback func(context.Context, error) (T, error)) (T, error) {
	v, err := Do(ctx, b, f)
	if err != nil {
		return fallback(ctx, err)
	}
	return v, nil
}

// DoDetached is as [Do] for an f that does not heed its context: it returns
// when the call timeout or ctx is over, whether f has returned or not. f goes
// on in a goroutine of its own then, which lasts until f returns: a dependency
// that hangs for ever leaks one for each call until the breaker opens. What f
// returns then is dropped; a panic then is counted and dropped as well, while
// one in time goes on in the caller.
func DoDetached[T any](ctx context.Context, b *Breaker, f func(context.Context) (T, error)) (v T, err error) {
	type answer struct {
		v        T
		err      error
		panicked any
		returned bool // neither a panic nor runtime.Goexit
	}
	return Do(ctx, b, func(callCtx context.Context) (T, error) {
		answers := make(chan answer, 1)
		go func() {
			var a answer
			defer func() {
				if !a.returned {
					a.panicked = recover()
				}
				answers <- a
			}()
			a.v, a.err = f(callCtx)
			a.returned = true
		}()
		select {
		case a := <-answers:
			switch {
			case a.panicked != nil:
				panic(a.panicked)
			case !a.returned:
				return v, errors.New("the call ended its goroutine")
			}
			return a.v, a.err
		case <-callCtx.Done():
			return v, context.Cause(callCtx)
		}
	})
}
