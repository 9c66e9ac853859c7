package breaker

import (
	"maps"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Snapshot returns what the API tells of the breaker. The caller owns it.
func (b *Breaker) Snapshot() api.Breaker {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake(now)
	b.roll(now)
	out := api.Breaker{
		Name: b.name, State: b.state, Stats: b.describeStats(now), Config: b.settings().api(),
		Mode: b.mode, LastError: b.errors.last(), Scope: api.ScopeLocal,
		RetryAt: &api.Time{}, Why: b.describeWhy(), Errors: b.errors.api(),
	}
	if b.scope != nil {
		if s := b.scope.Load(); s != nil {
			out.Scope, out.ScopeNote = s.Name, s.Note
		}
	}
	since := instant(b.since)
	out.Since = &since
	if b.state == api.StateOpen {
		*out.RetryAt = instant(b.until)
	}
	if b.mode != api.ModeAutomatic {
		until := instant(b.until)
		out.Forced = &api.BreakerForced{Until: &until, Actor: b.entered.actor, Reason: b.entered.reason, Since: instant(b.entered.now)}
	}
	return out
}

func (b *Breaker) describeStats(now time.Time) api.BreakerStats {
	n, latencies := &b.n, b.latencies.Load()
	if latencies != nil {
		b.recent.collect(latencies)
	}
	s := api.BreakerStats{
		TotalRequests:        api.Count(n.success + n.failure + n.ignored),
		SuccessfulRequests:   api.Count(n.success),
		FailedRequests:       api.Count(n.failure),
		Timeouts:             api.Count(n.timeout),
		CircuitOpens:         api.Count(n.opens),
		CircuitCloses:        api.Count(n.closes),
		ConsecutiveFailures:  api.Count(b.failuresInRow),
		ConsecutiveSuccesses: api.Count(n.success - n.rowStart),
		LastFailureTime:      instant(n.lastFailure),
		LastSuccessTime:      instant(n.lastSuccess),
		Rejected:             api.CountOf(b.calls.rejected()),
		InFlight:             api.CountOf(b.calls.inFlight()),
		Window:               b.recent.api(now, latencies),
	}
	if latencies != nil {
		s.SlowCalls = api.CountOf(n.slow)
	}
	// The rates are of the window: a breaker that works again is healthy again.
	if s.Window.Calls > 0 {
		s.FailureRate, s.SuccessRate = s.Window.FailureRate, 1-s.Window.FailureRate
	}
	return s
}

func (o *Options) api() api.BreakerConfig {
	c := api.BreakerConfig{
		FailureThreshold: api.Count(o.FailureThreshold),
		RecoveryTimeout:  api.Seconds(o.RecoveryTimeout),
		SuccessThreshold: api.Count(o.SuccessThreshold),
		Timeout:          api.Seconds(o.Timeout),
		Probes:           api.Count(o.Probes),
		FailureRate:      o.FailureRate,
		SlowRate:         o.SlowRate,
		SlowCall:         api.Seconds(o.SlowCall),
		WindowCalls:      api.Count(o.WindowCalls),
		MaxRetryAfter:    api.Seconds(max(o.MaxRetryAfter, 0)),
	}
	if o.FailureRate > 0 || o.SlowRate > 0 {
		c.MinCalls = api.Count(o.MinCalls)
	}
	if o.Backoff > 1 {
		c.Backoff, c.MaxRecovery = o.Backoff, api.Seconds(o.MaxRecovery)
	}
	c.Jitter = o.Jitter
	return c
}

// instant drops the monotonic reading, so that equal instants are equal values.
func instant(t time.Time) api.Time {
	if t.IsZero() {
		return api.Time{}
	}
	return api.Unix(t.UnixNano())
}

// Sample is a breaker's state and counters, for metrics.
type Sample struct {
	Name        string
	State       api.State
	Calls       map[string]int64       // by outcome, "rejected" among them
	Transitions map[[2]api.State]int64 // by from and to
}

// Sample returns the counters that never go down. The caller owns the maps.
func (b *Breaker) Sample() Sample {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake(now)
	b.roll(now)
	return Sample{
		Name: b.name, State: b.state, Transitions: maps.Clone(b.n.transitions),
		Calls: map[string]int64{
			"success": b.n.success, "failure": b.n.failure - b.n.timeout, "timeout": b.n.timeout,
			"rejected": b.calls.rejected(), "ignored": b.n.ignored,
		},
	}
}
