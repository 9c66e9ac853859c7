package breaker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Permit is the right to make one call, and the duty to say how it ended.
type Permit struct {
	b      *Breaker
	opts   *Options // when the call began
	stripe uint8
	word   uint64 // when the call began
	begun  time.Duration
	epoch  uint32
	state  *permitState // nil where its holder is known to end it once, and it is no probe
}

type permitState struct {
	begun  time.Time
	permit Permit
	done   bool // guarded by Breaker.mu
	kept   bool // guarded by Breaker.mu: its holder notices if it never ends
}

// result is how a call ended.
type result struct {
	outcome    Outcome
	kind, why  string // of an error
	traceID    string
	retryAfter time.Duration // the dependency wants to be left alone for so long; 0 if it does not
}

// Allow asks for a permit to make one call, for callers that [Do] does not
// suit. Its error is an [OpenError]. A permit must be ended by Done or End.
func (b *Breaker) Allow() (Permit, error) { return b.enter(true) }

// enter gives a permit; a guarded one may be ended more than once by mistake.
func (b *Breaker) enter(guarded bool) (Permit, error) {
	w := b.word.Load()
	if w&wordReject != 0 {
		b.calls.stripes[own()].rejected.Add(1)
		return Permit{}, b.rejection.Load()
	}
	if guarded || w&wordDetour != 0 {
		return b.enterSlowly(guarded)
	}
	return b.permit(w), nil
}

// permit counts a call in flight.
func (b *Breaker) permit(w uint64) Permit {
	p := Permit{b: b, opts: b.opts.Load(), stripe: own(), word: w, epoch: b.epoch.Load()}
	if p.opts.timed() {
		p.begun = time.Since(b.born)
	}
	p.b.calls.stripes[p.stripe].cells[p.epoch%epochs].Add(oneInFlight)
	return p
}

func (b *Breaker) enterSlowly(guarded bool) (Permit, error) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake(now)
	if b.state == api.StateOpen || b.state == api.StateHalfOpen && len(b.probes) >= b.settings().Probes {
		b.calls.stripes[own()].rejected.Add(1)
		return Permit{}, b.rejection.Load()
	}
	b.rouse(now)
	p := b.permit(b.word.Load())
	if guarded || b.state == api.StateHalfOpen {
		p.state = &permitState{begun: now}
		p.state.permit = p
	}
	if b.state == api.StateHalfOpen {
		b.probes = append(b.probes, p.state)
		b.publish()
		if len(b.probes) == 1 {
			b.setAlarm(now)
		}
	}
	return p, nil
}

// Done says how the call ended; why is kept as the breaker's last error unless
// the call succeeded. It is false, and does nothing, if the permit was ended
// before, and for a probe that the breaker gave up: see [Options].Timeout.
func (p Permit) Done(o Outcome, why string) bool {
	return p.finish(result{outcome: o, kind: o.kind(), why: why})
}

// End is as [Permit.Done], of an error whose kind is told apart, in the trace
// of ctx.
func (p Permit) End(ctx context.Context, o Outcome, err error) bool {
	return p.finish(failed(ctx, o, err))
}

// Throttled ends a call that the dependency answered with the wish to be left
// alone for a while, as by 429 Too Many Requests with Retry-After. The call is
// ignored, and the breaker opens for so long, Options.MaxRetryAfter at most.
func (p Permit) Throttled(ctx context.Context, retryAfter time.Duration, err error) bool {
	r := failed(ctx, Ignored, err)
	r.retryAfter = min(retryAfter, p.opts.MaxRetryAfter)
	return p.finish(r)
}

// Keep leaves it to the permit's holder to notice that its call never ends: the
// breaker gives up no probe that is kept. It is for permits of [Breaker.Allow]
// with a time of their own, as a lease has.
func (p Permit) Keep() {
	if p.state == nil {
		return
	}
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	p.state.kept = true
	p.b.setAlarm(time.Now())
}

// watched is the probe that has been out longest of those that nobody keeps,
// nil if there is none. The caller holds the lock.
func (b *Breaker) watched() *permitState {
	for _, p := range b.probes {
		if !p.kept {
			return p
		}
	}
	return nil
}

// Timeout is the call timeout of this permit; 0 means none.
func (p Permit) Timeout() time.Duration { return p.opts.Timeout }

func failed(ctx context.Context, o Outcome, err error) result {
	r := result{outcome: o, kind: kind(o, err), why: message(err)}
	if o != Success {
		if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
			r.traceID = sc.TraceID().String()
		}
	}
	return r
}

// kind is the outcome's, where no error tells more.
func (o Outcome) kind() string {
	if o == Timeout {
		return "timeout"
	}
	return "error"
}

// succeeded ends the call if it succeeded and there is nothing else to do about
// that. This is the end of nearly every call.
func (p *Permit) succeeded() bool {
	if p.state != nil || p.word&wordNotice != 0 || p.b.word.Load() != p.word {
		return false
	}
	if p.opts.timed() {
		took := time.Since(p.b.born) - p.begun
		if took >= p.opts.SlowCall {
			return false
		}
		p.b.latencies.Load()[p.stripe][step(took)].Add(1)
	}
	p.b.calls.stripes[p.stripe].cells[p.epoch%epochs].Add(oneSuccess - oneInFlight)
	return true
}

func (p Permit) finish(r result) bool {
	if p.b == nil {
		return false
	}
	if r.outcome < Success || r.outcome > Ignored {
		r.outcome = Failure // of a Classify that knows more than we do
	}
	now := time.Now()
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	return p.b.end(p, r, now)
}

// end takes a call's result. The caller holds the lock.
func (b *Breaker) end(p Permit, r result, now time.Time) bool {
	if p.state != nil {
		if p.state.done {
			return false
		}
		p.state.done = true
		if i := slices.Index(b.probes, p.state); i >= 0 {
			b.probes = slices.Delete(b.probes, i, i+1)
			b.setAlarm(now)
		}
	}
	b.calls.leave(&p, b.epoch.Load())
	stale := p.word>>wordShift != b.generation
	slow := b.count(p, r, now, stale)
	if !stale {
		b.decide(r, slow, now)
	}
	b.publish()
	return true
}

// count enters a result into the statistics, stale or not. It is true if the
// call was slow.
func (b *Breaker) count(p Permit, r result, now time.Time, stale bool) (slow bool) {
	switch r.outcome {
	case Success:
		b.n.success++
		b.n.lastSuccess = now
		if stale {
			b.n.rowStart++
		}
	case Failure, Timeout:
		b.n.failure++
		if r.outcome == Timeout {
			b.n.timeout++
		}
		b.n.lastFailure = now
		b.errors.add(r, now)
	case Ignored:
		b.n.ignored++
		return false
	}
	if p.opts.timed() {
		took := now.Sub(b.born) - p.begun
		slow = took >= p.opts.SlowCall
		b.latencies.Load()[p.stripe][step(took)].Add(1)
	}
	one := tally{calls: 1}
	if r.outcome != Success {
		one.failures = 1
	}
	if slow {
		b.n.slow++
		one.slow = 1
	}
	if stale {
		b.n.stale = b.n.stale.plus(one)
	} else {
		b.exact.add(one.failures > 0, slow)
	}
	b.roll(now)
	return slow
}

// decide moves the state by a result that began in it.
func (b *Breaker) decide(r result, slow bool, now time.Time) {
	o := b.settings()
	probe := b.state == api.StateHalfOpen
	good := r.outcome == Success && !(probe && slow && o.SlowRate > 0)
	switch {
	case r.retryAfter > 0 && b.mode == api.ModeAutomatic:
		b.move(api.StateOpen, change{
			now: now, until: now.Add(r.retryAfter), reason: fmt.Sprintf("%s: retry after %s", r.why, r.retryAfter.Round(time.Millisecond)), traceID: r.traceID,
			cause: api.BreakerThreshold{Kind: "retry_after", Value: r.retryAfter.Seconds(), Limit: o.MaxRetryAfter.Seconds()},
		})
		return
	case r.outcome == Ignored:
		return
	case r.outcome == Success:
		b.failuresInRow = 0
	default:
		b.n.rowStart = b.n.success
		b.failuresInRow++
	}
	switch {
	case b.mode != api.ModeAutomatic:
	case probe && good:
		if b.probesPassed++; b.probesPassed >= o.SuccessThreshold {
			b.move(api.StateClosed, change{now: now, reason: fmt.Sprintf("%d probes succeeded", b.probesPassed)})
		}
	case probe:
		b.failedRecoveries++
		reason := "the probe failed: " + r.why
		if r.outcome == Success {
			reason = "the probe was slow"
		}
		b.move(api.StateOpen, change{now: now, reason: reason, traceID: r.traceID, cause: api.BreakerThreshold{Kind: "probe", Limit: float64(o.SuccessThreshold), Value: float64(b.probesPassed)}})
	case b.failuresInRow >= o.FailureThreshold:
		b.move(api.StateOpen, change{
			now: now, reason: fmt.Sprintf("%d failures in a row: %s", b.failuresInRow, r.why), traceID: r.traceID,
			cause: api.BreakerThreshold{Kind: "failures_in_row", Limit: float64(o.FailureThreshold), Value: float64(b.failuresInRow)},
		})
	case r.outcome != Success || slow || b.exact.size() > 0:
		b.judge(now, r)
	}
}

// judge opens a closed breaker whose rates are too high. The caller holds the
// lock and has brought the window up to date.
func (b *Breaker) judge(now time.Time, r result) {
	o := b.settings()
	if b.mode != api.ModeAutomatic || b.state != api.StateClosed || o.FailureRate == 0 && o.SlowRate == 0 {
		return
	}
	t, over := b.exact.sum, fmt.Sprintf("the last %d calls", b.exact.sum.calls)
	if b.exact.size() == 0 {
		t, over = b.recent.fresh(now), o.Window.String()
	}
	cause := api.BreakerThreshold{Calls: api.Count(t.calls), Failures: api.Count(t.failures), Slow: api.Count(t.slow), Over: over}
	if o.FailureRate > 0 && t.calls >= int64(o.MinCalls) && float64(t.failures) >= o.FailureRate*float64(t.calls) {
		cause.Kind, cause.Limit, cause.Value = "failure_rate", o.FailureRate, float64(t.failures)/float64(t.calls)
		reason := fmt.Sprintf("%d of %d calls failed", t.failures, t.calls)
		if why := b.errors.last(); why != "" {
			reason += ": " + why
		}
		b.move(api.StateOpen, change{now: now, reason: reason, traceID: r.traceID, cause: cause})
		return
	}
	running := b.slowInFlight()
	calls, slow := t.calls+running, t.slow+running
	if o.SlowRate > 0 && calls >= int64(o.MinCalls) && float64(slow) >= o.SlowRate*float64(calls) {
		cause.Kind, cause.Limit, cause.Value = "slow_rate", o.SlowRate, float64(slow)/float64(calls)
		cause.Calls, cause.Slow, cause.InFlight = api.Count(calls), api.Count(slow), api.Count(running)
		reason := fmt.Sprintf("%d of %d calls took %s or more, %d of them are in flight", slow, calls, o.SlowCall, running)
		b.move(api.StateOpen, change{now: now, reason: reason, traceID: r.traceID, cause: cause})
	}
}

// forget empties the window and ends what is in a row. The caller holds the lock.
func (b *Breaker) forget(now time.Time) {
	b.roll(now)
	b.failuresInRow, b.n.rowStart = 0, b.n.success
	if h := b.latencies.Load(); h != nil {
		b.recent.collect(h)
	}
	b.recent.forget()
	b.exact.clear()
	b.roll(now)
	b.publish()
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
