package breaker

import (
	"fmt"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Control is an operator's order.
type Control struct {
	For    time.Duration // how long a forced state holds; 0 means until told otherwise
	Actor  string        // who gives it, for the events; "" means unknown
	Reason string        // why, in words; "" means none was given
}

const maxWords = 512 // bytes of an actor, a reason or an error that are kept

// words say what was done, and why if that was told.
func (c Control) words(what string) string {
	if c.Reason != "" {
		return clip(what+": "+c.Reason, maxWords)
	}
	return what
}

func (c Control) until(now time.Time) time.Time {
	if c.For == 0 {
		return time.Time{}
	}
	return now.Add(c.For)
}

// ForceOpen rejects every call until c.For is over, or [Breaker.Automatic] or
// [Breaker.Reset] end it. It lapses into half-open: a dependency that was taken
// out shows by a probe that it is back.
func (b *Breaker) ForceOpen(c Control) (previous api.State, err error) {
	return b.force(api.ModeForcedOpen, api.StateOpen, c, "forced open")
}

// Disable lets every call through, whatever comes of them, until c.For is over,
// or [Breaker.Automatic] or [Breaker.Reset] end it. Calls are still counted. It
// lapses into closed.
func (b *Breaker) Disable(c Control) (previous api.State, err error) {
	return b.force(api.ModeDisabled, api.StateClosed, c, "disabled")
}

func (b *Breaker) force(mode api.Mode, to api.State, c Control, what string) (api.State, error) {
	if c.For < 0 {
		return b.State(), fmt.Errorf("breaker %s: %s for %s: want 0s (until told otherwise) or more", b.name, what, c.For)
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake(now)
	previous := b.state
	b.enterMode(mode, to, change{now: now, until: c.until(now), reason: c.words(what), actor: c.Actor, ordered: true, cause: api.BreakerThreshold{Kind: "forced"}})
	return previous, nil
}

// Automatic ends a forced state: one forced open moves to half-open, a disabled
// one is closed. It does nothing to a breaker that is automatic. It returns the
// state that it left.
func (b *Breaker) Automatic(c Control) (previous api.State) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake(now)
	previous = b.state
	if b.mode != api.ModeAutomatic {
		b.enterMode(api.ModeAutomatic, afterForce(b.mode), change{now: now, reason: c.words("automatic again"), actor: c.Actor, ordered: true})
	}
	return previous
}

// afterForce is where a forced state ends.
func afterForce(m api.Mode) api.State {
	if m == api.ModeForcedOpen {
		return api.StateHalfOpen
	}
	return api.StateClosed
}

// Reset moves the breaker to closed or half-open, ends a forced state, forgets
// the failures in a row and the window, and returns the state it left. Moving a
// closed breaker to half-open leaves it closed: there is nothing to probe.
func (b *Breaker) Reset(to api.State, c Control) (previous api.State) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake(now)
	previous = b.state
	if previous == api.StateClosed || to != api.StateHalfOpen {
		to = api.StateClosed
	}
	b.enterMode(api.ModeAutomatic, to, change{now: now, reason: c.words("reset"), actor: c.Actor, ordered: true, reset: true})
	b.forget(now)
	return previous
}

// Configure changes the settings of a running breaker. Its state stays, and
// while it waits to be probed, it waits as the new settings say. Without a
// Classify or an OnEvent it keeps those that it has. Nonsense is an error and
// changes nothing.
func (b *Breaker) Configure(o Options, c Control) error {
	keepClassify := o.Classify == nil
	o, err := o.withDefaults()
	if err != nil {
		return fmt.Errorf("breaker %s: %w", b.name, err)
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake(now)
	b.roll(now)
	before := b.settings()
	if keepClassify {
		o.Classify = before.Classify
	}
	if o.OnEvent == nil {
		o.OnEvent = before.OnEvent
	}
	b.use(o)
	if b.mode == api.ModeAutomatic && b.state == api.StateOpen && before.RecoveryTimeout != o.RecoveryTimeout && b.why.cause.Kind != "retry_after" {
		b.until = b.since.Add(o.recovery(b.failedRecoveries))
		b.rejection.Store(b.openError(now))
	}
	b.publish()
	b.wake(now)
	b.setAlarm(now)
	b.tell(Event{Time: now, From: b.state, To: b.state, Until: b.until, Reason: clip(c.words("configured: "+o.String()), maxWords), Actor: c.Actor})
	return nil
}
