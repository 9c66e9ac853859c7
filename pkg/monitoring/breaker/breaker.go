// Package breaker stops calls to a dependency that keeps failing.
//
// A [Breaker] is closed while the dependency works. FailureThreshold failures in
// a row open it: calls fail at once with [ErrOpen]. RecoveryTimeout later it is
// half-open: one probe at a time goes through; SuccessThreshold successes close
// it, one failure opens it. After Michael Nygard, Release It!, 2nd ed., ch. 5.
//
// Each call holds a [Permit] of the state it began in. A result that arrives
// after the state has changed is counted, but never moves the new state. A
// [Set] holds a process's breakers by name.
package breaker

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// ErrOpen is wrapped by the error of a call that a breaker rejected: it is
// open, or half-open with its probe under way.
var ErrOpen = errors.New("circuit breaker is open")

// Transition is a change of a breaker's state.
type Transition struct {
	Time     time.Time
	Name     string
	From, To api.State
	Reason   string // in words: "5 failures in a row", "reset"
}

// Breaker guards the calls to one dependency. It is safe for concurrent use.
// Make it with [New] or [Set.Add].
type Breaker struct {
	name string
	opts Options

	mu         sync.Mutex
	state      api.State
	generation uint64       // counts state changes; a permit of an older one is stale
	since      time.Time    // of this state
	retryAt    time.Time    // while open
	probe      *permitState // half-open: the probe that is out
	lastError  string
	n          counters
	recent     window
}

// counters are a breaker's statistics since its start; a reset keeps them, the
// consecutive ones excepted.
type counters struct {
	success, failure, timeout, ignored, rejected, slow int64
	opens, closes                                      int64
	failuresInRow, successesInRow                      int64
	inFlight                                           int64
	lastFailure, lastSuccess                           time.Time
	transitions                                        map[[2]api.State]int64
}

// New returns a closed breaker. It is an error if the name is not 1–128 of
// letters, digits, '_', '.', ':' and '-', or reserved by the API, or if an
// option makes no sense.
func New(name string, o Options) (*Breaker, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("breaker %s: %w", name, err)
	}
	b := &Breaker{name: name, opts: o, state: api.StateClosed, since: time.Now()}
	b.n.transitions = map[[2]api.State]int64{}
	return b, nil
}

// Name returns the breaker's name.
func (b *Breaker) Name() string { return b.name }

// State returns the state that the next call would meet.
func (b *Breaker) State() api.State {
	b.mu.Lock()
	t, moved := b.wake(time.Now())
	state := b.state
	b.mu.Unlock()
	b.announce(t, moved)
	return state
}

// Reset moves the breaker to closed or half-open, forgets the failures in a row
// and the window, and returns the state it left. Moving a closed breaker to
// half-open leaves it closed: there is nothing to probe.
func (b *Breaker) Reset(to api.State) (previous api.State) {
	now := time.Now()
	b.mu.Lock()
	woken, wokenUp := b.wake(now)
	previous = b.state
	if previous == api.StateClosed {
		to = api.StateClosed
	}
	t, moved := b.move(to, now, "reset")
	if previous == api.StateClosed {
		b.generation++ // calls in flight are of the time before the reset
	}
	b.n.failuresInRow, b.n.successesInRow = 0, 0
	b.recent = window{}
	b.mu.Unlock()
	b.announce(woken, wokenUp)
	b.announce(t, moved)
	return previous
}

// wake does what time does: an open breaker whose time is up moves to
// half-open, and a probe whose result never came counts as a timeout.
func (b *Breaker) wake(now time.Time) (Transition, bool) {
	switch {
	case b.state == api.StateOpen && !now.Before(b.retryAt):
		return b.move(api.StateHalfOpen, now, "recovery timeout is over")
	case b.state == api.StateHalfOpen && b.probe != nil && now.Sub(b.probe.begun) > b.opts.patience():
		return b.end(Permit{b, b.generation, b.probe.begun, b.probe}, Timeout, "the probe never ended", now)
	}
	return Transition{}, false
}

// move enters a state; it is false if the breaker is in that state already. The
// caller holds the lock and announces the transition after releasing it.
func (b *Breaker) move(to api.State, now time.Time, reason string) (Transition, bool) {
	from := b.state
	if from == to {
		return Transition{}, false
	}
	b.state, b.since, b.probe = to, now, nil
	b.generation++
	b.n.transitions[[2]api.State{from, to}]++
	b.n.successesInRow = 0
	b.recent.turn()
	switch to {
	case api.StateOpen:
		b.n.opens++
		b.retryAt = now.Add(b.opts.RecoveryTimeout)
	case api.StateClosed:
		b.n.closes++
		b.n.failuresInRow = 0
	}
	return Transition{now, b.name, from, to, reason}, true
}

func (b *Breaker) announce(t Transition, moved bool) {
	if moved && b.opts.OnTransition != nil {
		b.opts.OnTransition(t)
	}
}

func checkName(name string) error {
	if name == "reset-all" || name == "events" || name == "." || name == ".." {
		return fmt.Errorf("breaker name %q is reserved", name)
	}
	if len(name) == 0 || len(name) > 128 {
		return fmt.Errorf("breaker name %.40q: want 1 to 128 characters, got %d", name, len(name))
	}
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		case r == '_', r == '.', r == ':', r == '-':
		default:
			return fmt.Errorf("breaker name %q: want letters, digits and _.:- only, got %q", name, r)
		}
	}
	return nil
}
