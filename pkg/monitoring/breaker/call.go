package breaker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// OpenError is the error of a rejected call; it wraps [ErrOpen].
type OpenError struct {
	Name    string
	State   api.State
	RetryAt time.Time // when to try again; now, if a probe is under way
}

// Error names the breaker and when it lets a call through again.
func (e *OpenError) Error() string {
	if e.State == api.StateHalfOpen {
		return fmt.Sprintf("%s: %v: a probe is under way", e.Name, ErrOpen)
	}
	return fmt.Sprintf("%s: %v until %s", e.Name, ErrOpen, e.RetryAt.UTC().Format(time.RFC3339))
}

// Unwrap returns [ErrOpen].
func (e *OpenError) Unwrap() error { return ErrOpen }

// Do calls f under the breaker: not at all if it is open, and with the
// breaker's call timeout on f's context. It returns what f returns, or an
// [OpenError]. A panic in f counts as a failure and goes on.
//
// f must heed its context: Do waits for it to return.
func Do[T any](ctx context.Context, b *Breaker, f func(context.Context) (T, error)) (v T, err error) {
	p, err := b.enter(false)
	if err != nil {
		return v, err
	}
	dead := ctx.Err() != nil // before the dependency had its chance
	callCtx, cancel := b.CallContext(ctx)
	defer cancel()
	returned := false
	defer func() {
		if !returned {
			p.Done(Failure, "panic")
		}
	}()
	v, err = f(callCtx)
	outcome := b.Outcome(ctx, callCtx, err)
	if dead && err != nil {
		outcome = Ignored
	}
	returned = true
	p.Done(outcome, message(err))
	return v, err
}

var errCallTimeout = fmt.Errorf("circuit breaker's call timeout: %w", context.DeadlineExceeded)

// CallContext returns a context for one call, with the breaker's call timeout
// if it has one. Its cancel function must be called when the call has ended.
func (b *Breaker) CallContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if b.opts.Timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, b.opts.Timeout, errCallTimeout)
}

// Outcome classifies the error of a call made with callCtx, which
// [Breaker.CallContext] derived from ctx. A timeout always counts, the
// breaker's own whatever error was made of it, and the caller's deadline: a
// dependency that hangs may meet no other. A caller who gives up never does.
func (b *Breaker) Outcome(ctx, callCtx context.Context, err error) Outcome {
	if err == nil {
		return b.opts.Classify(nil)
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
	return b.opts.Classify(err)
}

// message is the text of err for the breaker's last error. The query and the
// user of a URL in it are left out: they hold keys, and a viewer reads this.
func message(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	var ue *url.Error
	if errors.As(err, &ue) && ue.URL != "" {
		text = strings.ReplaceAll(text, ue.URL, bare(ue.URL))
		text = strings.ReplaceAll(text, strconv.Quote(ue.URL), strconv.Quote(bare(ue.URL)))
	}
	return text
}

func bare(address string) string {
	address, _, _ = strings.Cut(address, "?")
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return address
	}
	host, path, _ := strings.Cut(rest, "/")
	return scheme + "://" + host[strings.LastIndexByte(host, '@')+1:] + "/" + path
}

// Permit is the right to make one call, and the duty to say how it ended.
type Permit struct {
	b          *Breaker
	generation uint64
	begun      time.Time
	state      *permitState // nil where its holder is known to end it once, and it is no probe
}

type permitState struct {
	begun time.Time
	done  bool // guarded by Breaker.mu
}

// Allow asks for a permit to make one call, for callers that [Do] does not
// suit. Its error is an [OpenError].
func (b *Breaker) Allow() (Permit, error) { return b.enter(true) }

// enter gives a permit; a guarded one may be ended more than once by mistake.
func (b *Breaker) enter(guarded bool) (Permit, error) {
	now := time.Now()
	b.mu.Lock()
	t, moved := b.wake(now)
	open := b.state == api.StateOpen || b.state == api.StateHalfOpen && b.probe != nil
	p := Permit{b, b.generation, now, nil}
	state, retryAt := b.state, b.retryAt
	if open {
		b.n.rejected++
	} else {
		b.n.inFlight++
		if guarded || b.state == api.StateHalfOpen {
			p.state = &permitState{begun: now}
		}
		if b.state == api.StateHalfOpen {
			b.probe = p.state
		}
	}
	b.mu.Unlock()
	b.announce(t, moved)
	if open {
		if state == api.StateHalfOpen {
			retryAt = now
		}
		return Permit{}, &OpenError{b.name, state, retryAt}
	}
	return p, nil
}

// Done says how the call ended; why is kept as the breaker's last error unless
// the call succeeded. A second Done of the same permit is ignored, and so is
// that of a probe which the breaker gave up: see [Options].Timeout.
func (p Permit) Done(o Outcome, why string) {
	if p.b == nil {
		return
	}
	if o < Success || o > Ignored {
		o = Failure // of a Classify that knows more than we do
	}
	b, now := p.b, time.Now()
	b.mu.Lock()
	t, moved := b.end(p, o, why, now)
	b.mu.Unlock()
	b.announce(t, moved)
}

// end takes a call's result. The caller holds the lock.
func (b *Breaker) end(p Permit, o Outcome, why string, now time.Time) (Transition, bool) {
	if p.state != nil && p.state.done {
		return Transition{}, false
	}
	if p.state != nil {
		p.state.done = true
	}
	b.n.inFlight--
	stale := p.generation != b.generation
	b.count(o, why, now, now.Sub(p.begun), stale)
	if stale {
		return Transition{}, false
	}
	return b.decide(o, now)
}

// count enters a result into the statistics, stale or not.
func (b *Breaker) count(o Outcome, why string, now time.Time, took time.Duration, stale bool) {
	switch o {
	case Success:
		b.n.success++
		b.n.lastSuccess = now
	case Failure, Timeout:
		b.n.failure++
		if o == Timeout {
			b.n.timeout++
		}
		b.n.lastFailure = now
		b.lastError = clip(why, 512)
	case Ignored:
		b.n.ignored++
		return
	}
	slow := took >= b.opts.SlowCall
	if slow {
		b.n.slow++
	}
	b.recent.add(now, o != Success, slow, stale, took)
}

// decide moves the state by a result that began in it.
func (b *Breaker) decide(o Outcome, now time.Time) (Transition, bool) {
	probe := b.state == api.StateHalfOpen
	if probe {
		b.probe = nil
	}
	switch o {
	case Ignored:
		return Transition{}, false
	case Success:
		b.n.failuresInRow = 0
		b.n.successesInRow++
		if probe && b.n.successesInRow >= int64(b.opts.SuccessThreshold) {
			return b.move(api.StateClosed, now, fmt.Sprintf("%d probes succeeded", b.opts.SuccessThreshold))
		}
		return Transition{}, false
	}
	b.n.successesInRow = 0
	b.n.failuresInRow++
	if probe {
		return b.move(api.StateOpen, now, "the probe failed: "+b.lastError)
	}
	if b.n.failuresInRow >= int64(b.opts.FailureThreshold) {
		return b.move(api.StateOpen, now, fmt.Sprintf("%d failures in a row: %s", b.n.failuresInRow, b.lastError))
	}
	if b.opts.FailureRate > 0 {
		calls, failures := b.recent.totals(now)
		if calls >= int64(b.opts.MinCalls) && float64(failures) >= b.opts.FailureRate*float64(calls) {
			return b.move(api.StateOpen, now, fmt.Sprintf("%d of %d calls failed: %s", failures, calls, b.lastError))
		}
	}
	return Transition{}, false
}

// clip cuts s to at most n bytes at a character's border.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}
