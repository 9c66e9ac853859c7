package breaker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
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
	w := b.word.Load()
	if w&wordReject != 0 {
		return v, b.reject()
	}
	if w&wordLong != 0 {
		return whole(ctx, b, f)
	}
	var c shortCall
	c.b, c.word, c.ctx, c.dead = b, w, ctx, ctx.Err() != nil
	c.begin()
	defer c.end()
	v, err = f(ctx)
	c.returned, c.err = true, err
	return v, err
}

// whole is Do with all that a breaker may do.
func whole[T any](ctx context.Context, b *Breaker, f func(context.Context) (T, error)) (v T, err error) {
	p, err := b.enter(false)
	if err != nil {
		return v, err
	}
	callCtx := ctx
	if p.opts.Timeout > 0 {
		var cancel context.CancelFunc
		callCtx, cancel = p.opts.callContext(ctx)
		defer cancel()
	}
	dead, returned := ctx.Err() != nil, false
	defer func() {
		if !returned {
			p.finish(panicked(ctx))
		}
	}()
	v, err = f(callCtx)
	returned = true
	if err != nil || !p.succeeded() {
		p.conclude(ctx, callCtx, dead, err)
	}
	return v, err
}

// shortCall is the permit of a call without a timeout through a closed breaker,
// where a whole one would cost more than all else: 17 ns so, 37 ns otherwise
// (BenchmarkBreakerClosed), timed 72 ns and 100 ns (BenchmarkBreakerWindow).
type shortCall struct {
	b        *Breaker
	opts     *Options
	cell     *atomic.Uint64
	word     uint64
	begun    time.Duration
	epoch    uint32
	dead     bool            // ctx was done before the dependency had its chance
	returned bool            // neither a panic nor runtime.Goexit
	ctx      context.Context // of the call that it stands for, as an argument would be
	err      error
}

// untimed are the settings of calls that are not timed, as far as their end
// asks for them.
var untimed = &Options{}

func (c *shortCall) begin() {
	if c.word&wordTimed == 0 {
		c.opts, c.cell = untimed, c.b.plain()
		return
	}
	c.opts = c.b.opts.Load()
	c.cell, c.epoch = c.b.begin()
	c.begun = time.Since(c.b.born)
}

func (c *shortCall) end() {
	if c.returned && c.err == nil && c.word&wordNotice == 0 && c.b.word.Load() == c.word {
		if c.word&wordTimed == 0 || c.b.quick(c.begun, c.opts) {
			c.cell.Add(oneSuccess - oneInFlight)
			return
		}
	}
	p := Permit{b: c.b, opts: c.opts, word: c.word, cell: c.cell, epoch: c.epoch, begun: c.begun}
	if !c.returned {
		p.finish(panicked(c.ctx))
		return
	}
	p.conclude(c.ctx, c.ctx, c.dead, c.err)
}

func panicked(ctx context.Context) result {
	r := failed(ctx, Failure, nil)
	r.kind, r.why = "panic", "panic"
	return r
}

// conclude ends a call that has returned, by what Classify makes of its error.
// Should Classify panic, that is the call's panic.
func (p *Permit) conclude(ctx, callCtx context.Context, dead bool, err error) {
	r := panicked(ctx)
	defer func() { p.finish(r) }()
	o := p.b.Outcome(ctx, callCtx, err)
	if dead && err != nil {
		o = Ignored
	}
	r = failed(ctx, o, err)
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

var errCallTimeout = fmt.Errorf("circuit breaker's call timeout: %w", context.DeadlineExceeded)

// CallContext returns a context for one call, with the breaker's call timeout
// if it has one. Its cancel function must be called when the call has ended.
func (b *Breaker) CallContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return b.settings().callContext(ctx)
}

func (o *Options) callContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.Timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, o.Timeout, errCallTimeout)
}

// Outcome classifies the error of a call made with callCtx, which
// [Breaker.CallContext] derived from ctx. A timeout always counts, the
// breaker's own whatever error was made of it, and the caller's deadline: a
// dependency that hangs may meet no other. A caller who gives up never does.
func (b *Breaker) Outcome(ctx, callCtx context.Context, err error) Outcome {
	if err == nil {
		return Success
	}
	if errors.Is(context.Cause(callCtx), errCallTimeout) {
		return Timeout
	}
	switch ended := ctx.Err() != nil; {
	case ended && errors.Is(err, context.Canceled):
		return Ignored
	case ended && errors.Is(err, context.DeadlineExceeded):
		return Timeout
	}
	return b.settings().Classify(err)
}
