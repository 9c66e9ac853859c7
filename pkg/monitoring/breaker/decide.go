package breaker

import (
	"fmt"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

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
		b.gather(now)
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
// lock.
func (b *Breaker) judge(now time.Time, r result) {
	o := b.settings()
	if b.mode != api.ModeAutomatic || b.state != api.StateClosed || o.FailureRate == 0 && o.SlowRate == 0 {
		return
	}
	t := b.exact.sum
	if b.exact.size() == 0 {
		b.roll(now)
		t = b.recent.fresh(now)
	}
	running := b.slowInFlight()
	calls, slow := t.calls+running, t.slow+running
	c := change{now: now, traceID: r.traceID, cause: api.BreakerThreshold{Calls: api.Count(t.calls), Failures: api.Count(t.failures), Slow: api.Count(t.slow)}}
	switch {
	case o.FailureRate > 0 && t.calls >= int64(o.MinCalls) && float64(t.failures) >= o.FailureRate*float64(t.calls):
		c.cause.Kind, c.cause.Limit, c.cause.Value = "failure_rate", o.FailureRate, float64(t.failures)/float64(t.calls)
		c.reason = fmt.Sprintf("%d of %d calls failed: %s", t.failures, t.calls, b.errors.last())
	case o.SlowRate > 0 && calls >= int64(o.MinCalls) && float64(slow) >= o.SlowRate*float64(calls):
		c.cause.Kind, c.cause.Limit, c.cause.Value = "slow_rate", o.SlowRate, float64(slow)/float64(calls)
		c.cause.Calls, c.cause.Slow, c.cause.InFlight = api.Count(calls), api.Count(slow), api.Count(running)
		c.reason = fmt.Sprintf("%d of %d calls took %s or more, %d of them are in flight", slow, calls, o.SlowCall, running)
	default:
		return
	}
	c.cause.Over = o.Window.String()
	if b.exact.size() > 0 {
		c.cause.Over = fmt.Sprintf("the last %d calls", b.exact.sum.calls)
	}
	b.move(api.StateOpen, c)
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
