package breaker

import (
	"fmt"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Remote is what another replica's breaker of the same name did.
type Remote struct {
	State   api.State
	Mode    api.Mode  // "" means automatic
	Until   time.Time // as in [Event], by this process's clock; zero for an open, automatic one means its own recovery time
	Reason  string
	Actor   string
	TraceID string

	Generation uint64 // apply it only to the state of this generation, as [Event] tells it; 0 means to whichever
	Reset      bool   // forget the failures in a row and the window too, even if the breaker is there already
	Wait       bool   // open for as long as another probes: why it opened stays
}

// Apply moves the breaker to where another replica's is, as if it had moved by
// itself: generation, timers and log included. The event it makes has Remote
// set, so that who spreads events does not send it back. It is false if the
// breaker is there already, or of another generation than r asks for.
func (b *Breaker) Apply(r Remote) (moved bool, err error) {
	if r.Mode == "" {
		r.Mode = api.ModeAutomatic
	}
	if !r.Possible() {
		return false, fmt.Errorf("breaker %s: apply state %q, mode %q: no breaker is so", b.name, r.State, r.Mode)
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake(now)
	if r.Generation != 0 && r.Generation != b.generation {
		return false, nil
	}
	if r.Mode == api.ModeAutomatic && r.State != api.StateOpen {
		r.Until = time.Time{}
	}
	there := b.mode == r.Mode && b.state == r.State
	if there && !r.Reset && (r.Until.IsZero() || r.Until.Equal(b.until)) {
		return false, nil
	}
	if there && r.Wait && r.State == api.StateOpen && r.Mode == api.ModeAutomatic {
		b.postpone(r, now)
		return true, nil
	}
	b.enterMode(r.Mode, r.State, change{
		now: now, until: r.until(now), reason: clip(r.Reason, maxWords), actor: r.Actor, traceID: clip(r.TraceID, 64),
		remote: true, reset: r.Reset, wait: r.Wait, cause: api.BreakerThreshold{Kind: "remote"},
	})
	if r.Reset {
		b.forget(now)
	}
	return true, nil
}

// postpone leaves an open breaker open for longer. The caller holds the lock.
func (b *Breaker) postpone(r Remote, now time.Time) {
	b.until = r.until(now)
	b.rejection.Store(b.openError(now))
	b.setAlarm(now)
	b.tell(Event{Time: now, From: b.state, To: b.state, Until: b.until, Reason: clip(r.Reason, maxWords), Actor: clip(r.Actor, maxWords), Remote: true})
}

// Possible tells whether a breaker can be in this mode and state.
func (r Remote) Possible() bool {
	switch r.Mode {
	case api.ModeForcedOpen:
		return r.State == api.StateOpen
	case api.ModeDisabled:
		return r.State == api.StateClosed
	case api.ModeAutomatic:
		return r.State == api.StateClosed || r.State == api.StateOpen || r.State == api.StateHalfOpen
	}
	return false
}

// until is r.Until on the monotonic clock, which no one sets.
func (r Remote) until(now time.Time) time.Time {
	if r.Until.IsZero() {
		return time.Time{}
	}
	return now.Add(r.Until.Sub(now))
}
