package breaker

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Permit is the right to make one call, and the duty to say how it ended.
type Permit struct {
	b     *Breaker
	opts  *Options // when the call began
	cell  *atomic.Uint64
	word  uint64 // when the call began
	begun time.Duration
	epoch uint32
	state *permitState // nil where its holder is known to end it once, and it is no probe
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
		return Permit{}, b.reject()
	}
	if guarded || w&wordDetour != 0 {
		return b.enterSlowly(guarded)
	}
	return b.permit(w), nil
}

// reject counts a rejected call and returns its error.
func (b *Breaker) reject() error {
	b.calls.stripes[own()].rejected.Add(1)
	return b.rejection.Load()
}

// begin counts a call in flight.
func (b *Breaker) begin() (*atomic.Uint64, uint32) {
	epoch := b.epoch.Load()
	cell := &b.calls.stripes[own()].cells[epoch%epochs]
	cell.Add(oneInFlight)
	return cell, epoch
}

// plain counts a plain call in flight.
func (b *Breaker) plain() *atomic.Uint64 {
	cell := &b.calls.stripes[own()].plain
	cell.Add(oneInFlight)
	return cell
}

func (b *Breaker) permit(w uint64) Permit {
	p := Permit{b: b, opts: b.opts.Load(), word: w}
	p.cell, p.epoch = b.begin()
	if p.opts.timed() {
		p.begun = time.Since(b.born)
	}
	return p
}

func (b *Breaker) enterSlowly(guarded bool) (Permit, error) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake(now)
	if b.state == api.StateOpen || b.state == api.StateHalfOpen && len(b.probes) >= b.settings().Probes {
		return Permit{}, b.reject()
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
		b.setAlarm(now)
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
	if p.b == nil {
		return false
	}
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
func (p Permit) Timeout() time.Duration {
	if p.opts == nil {
		return 0
	}
	return p.opts.Timeout
}

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
	if p.opts.timed() && !p.b.quick(p.begun, p.opts) {
		return false
	}
	p.cell.Add(oneSuccess - oneInFlight)
	return true
}

// quick enters the latency of a call that succeeded, unless it was slow.
func (b *Breaker) quick(begun time.Duration, o *Options) bool {
	took := time.Since(b.born) - begun
	if took >= o.SlowCall {
		return false
	}
	b.latencies.Load()[own()][step(took)].Add(1)
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
		b.latencies.Load()[own()][step(took)].Add(1)
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
	return slow
}
