package breaker

import (
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Snapshot returns what the API tells of the breaker. The caller owns it.
func (b *Breaker) Snapshot() api.Breaker {
	now := time.Now()
	b.mu.Lock()
	t, moved := b.wake(now)
	out := b.describe(now)
	b.mu.Unlock()
	b.announce(t, moved)
	return out
}

func (b *Breaker) describe(now time.Time) api.Breaker {
	n := &b.n
	s := api.BreakerStats{
		TotalRequests:        api.Count(n.success + n.failure + n.ignored),
		SuccessfulRequests:   api.Count(n.success),
		FailedRequests:       api.Count(n.failure),
		Timeouts:             api.Count(n.timeout),
		CircuitOpens:         api.Count(n.opens),
		CircuitCloses:        api.Count(n.closes),
		ConsecutiveFailures:  api.Count(n.failuresInRow),
		ConsecutiveSuccesses: api.Count(n.successesInRow),
		LastFailureTime:      instant(n.lastFailure),
		LastSuccessTime:      instant(n.lastSuccess),
		Rejected:             api.CountOf(n.rejected),
		SlowCalls:            api.CountOf(n.slow),
		InFlight:             api.CountOf(n.inFlight),
		Window:               b.recent.api(now),
	}
	// The rates are of the window: a breaker that works again is healthy again.
	if s.Window.Calls > 0 {
		s.FailureRate, s.SuccessRate = s.Window.FailureRate, 1-s.Window.FailureRate
	}
	out := api.Breaker{
		Name: b.name, State: b.state, Stats: s,
		Config: api.BreakerConfig{
			FailureThreshold: api.Count(b.opts.FailureThreshold),
			RecoveryTimeout:  api.Seconds(b.opts.RecoveryTimeout),
			SuccessThreshold: api.Count(b.opts.SuccessThreshold),
			Timeout:          api.Seconds(max(b.opts.Timeout, 0)),
		},
		Mode: api.ModeAutomatic, LastError: b.lastError, Scope: "local",
		RetryAt: &api.Time{},
	}
	since := instant(b.since)
	out.Since = &since
	if b.state == api.StateOpen {
		*out.RetryAt = instant(b.retryAt)
	}
	return out
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
	t, moved := b.wake(now)
	s := Sample{Name: b.name, State: b.state, Transitions: make(map[[2]api.State]int64, len(b.n.transitions))}
	s.Calls = map[string]int64{
		"success": b.n.success, "failure": b.n.failure - b.n.timeout, "timeout": b.n.timeout,
		"rejected": b.n.rejected, "ignored": b.n.ignored,
	}
	for k, n := range b.n.transitions {
		s.Transitions[k] = n
	}
	b.mu.Unlock()
	b.announce(t, moved)
	return s
}
