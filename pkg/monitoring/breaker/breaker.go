// Package breaker stops calls to a dependency that keeps failing.
//
// A [Breaker] is closed while the dependency works. FailureThreshold failures in
// a row, or a share of failures or of slow calls in a window, open it: calls
// fail at once with [ErrOpen]. RecoveryTimeout later it is half-open: one probe
// at a time goes through; SuccessThreshold successes close it, one failure opens
// it. After Michael Nygard, Release It!, 2nd ed., ch. 5.
//
// Each call holds a [Permit] of the state it began in. A result that arrives
// after the state has changed is counted, but never moves the new state. Timers,
// not callers, end the time open, so that the state is true without traffic. A
// [Set] holds a process's breakers by name.
//
// How the parts move: what a call has to know is one atomic word, what it has to
// leave are counters spread over cache lines. A call through a closed breaker
// that succeeds touches no more; all else happens under one lock.
package breaker

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// ErrOpen is wrapped by the error of a call that a breaker rejected: it is
// open, or half-open with its probes under way.
var ErrOpen = errors.New("circuit breaker is open")

// Breaker guards the calls to one dependency. It is safe for concurrent use.
// Make it with [New] or [Set.Add]. It starts nothing until the first call; its
// timers end by themselves when there is nothing to wait for.
type Breaker struct {
	name  string
	born  time.Time              // calls are timed from here
	log   *events                // of its Set; nil alone
	scope *atomic.Pointer[Scope] // of its Set; nil alone

	word      atomic.Uint64              // state, flags and generation, see the word constants; written under mu
	epoch     atomic.Uint32              // of the calls that begin now, see counters; written under mu
	opts      atomic.Pointer[Options]    // replaced under mu, never changed
	rejection atomic.Pointer[OpenError]  // of this episode; stored before the word that rejects
	latencies atomic.Pointer[histograms] // nil until calls are timed
	calls     counters

	mu         sync.Mutex
	state      api.State
	mode       api.Mode
	generation uint64    // counts changes of state and mode; a permit of an older one is stale
	seq        uint64    // of the last event
	since      time.Time // of this state
	until      time.Time // open: of the next probe; forced: of its end, zero if it has none
	asleep     bool      // the sampler waits for a call
	ticks      uint32    // of the sampler

	probes           []*permitState // half-open: those that are out
	probesPassed     int            // half-open: successes in a row
	failuresInRow    int
	failedRecoveries int // since it was last closed
	n                totals
	recent           window
	exact            countWindow
	errors           errorLog
	why              episode
	entered          change // into this state and mode
	hook             hook
	alarm            *time.Timer // ends the time open, a forced state, the wait for a probe
	sampler          *time.Timer // while there are calls: moves the window on
}

// The word: everything a call must know. Bits that are zero while all is well
// come first; the generation is above them.
const (
	wordOpen     uint64 = 1 << iota // reject
	wordHalfOpen                    // ask under the lock for a probe
	wordFull                        // half-open with its probes out: reject
	wordAsleep                      // the sampler must be woken
	wordStreak                      // a success ends failures in a row
	wordExact                       // every result goes into the window of calls
	wordTimed                       // calls are timed
	wordLimited                     // calls have a timeout
	wordShift    = iota

	wordReject = wordOpen | wordFull
	wordDetour = wordOpen | wordHalfOpen | wordAsleep  // calls begin under the lock
	wordNotice = wordHalfOpen | wordStreak | wordExact // calls end under the lock
	wordLong   = wordDetour | wordLimited              // of calls that are no shortCall
)

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
	now := time.Now()
	b := &Breaker{name: name, born: now, state: api.StateClosed, mode: api.ModeAutomatic, since: now, asleep: true, generation: 1}
	b.n.transitions = map[[2]api.State]int64{}
	b.use(o)
	b.publish()
	return b, nil
}

// Name returns the breaker's name.
func (b *Breaker) Name() string { return b.name }

// State returns the state that the next call would meet.
func (b *Breaker) State() api.State {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake(time.Now())
	return b.state
}

// Mode says who decides the state.
func (b *Breaker) Mode() api.Mode {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake(time.Now())
	return b.mode
}

// Options returns the settings in effect, with the defaults filled in.
func (b *Breaker) Options() Options { return *b.settings() }

func (b *Breaker) settings() *Options { return b.opts.Load() }

// use takes settings over. The caller holds the lock, or is New.
func (b *Breaker) use(o Options) {
	if o.timed() && b.latencies.Load() == nil {
		b.latencies.Store(new(histograms))
	}
	b.recent.resize(o.Window)
	b.exact.resize(o.WindowCalls)
	b.opts.Store(&o)
}

// publish writes the word that calls read. The caller holds the lock, under
// which all that the word tells has changed.
func (b *Breaker) publish() {
	w := b.generation << wordShift
	switch {
	case b.state == api.StateOpen:
		w |= wordOpen
	case b.state == api.StateHalfOpen && len(b.probes) >= b.settings().Probes:
		w |= wordHalfOpen | wordFull
	case b.state == api.StateHalfOpen:
		w |= wordHalfOpen
	}
	if b.asleep {
		w |= wordAsleep
	}
	if b.failuresInRow > 0 {
		w |= wordStreak
	}
	if b.exact.size() > 0 {
		w |= wordExact
	}
	if b.settings().timed() {
		w |= wordTimed
	}
	if b.settings().Timeout > 0 {
		w |= wordLimited
	}
	if b.word.Load() != w { // an unchanged line stays in the callers' caches
		b.word.Store(w)
	}
}

// change is why and by whom a state is entered.
type change struct {
	now     time.Time
	until   time.Time // zero: what the settings say
	reason  string
	actor   string
	traceID string
	remote  bool
	ordered bool                 // by an operator
	reset   bool                 // and all that was counted against the dependency is forgotten
	wait    bool                 // open again, for the reason that is known already
	cause   api.BreakerThreshold // of an opening
}

// move enters a state by the breaker's own rules; it does nothing if the breaker
// is in it. The caller holds the lock.
func (b *Breaker) move(to api.State, c change) {
	if b.state != to {
		b.enterMode(b.mode, to, c)
	}
}

// enterMode enters a mode and a state, even those that it is in: calls that
// began before are stale then. The caller holds the lock.
func (b *Breaker) enterMode(mode api.Mode, to api.State, c change) {
	from, fromMode := b.state, b.mode
	c.actor = clip(c.actor, maxWords)
	b.roll(c.now) // what came until now belongs to the state it came in
	b.recent.turn()
	b.exact.clear()
	b.generation++
	b.mode, b.state, b.until, b.entered = mode, to, c.until, c
	b.probes, b.probesPassed = nil, 0
	b.n.rowStart = b.n.success
	if from != to {
		b.since = c.now
		b.n.transitions[[2]api.State{from, to}]++
	}
	switch to {
	case api.StateOpen:
		if mode == api.ModeAutomatic && b.until.IsZero() {
			b.until = c.now.Add(b.settings().recovery(b.failedRecoveries))
		}
		if from != to {
			b.n.opens++
		}
		if !c.wait || from == api.StateClosed {
			b.why = episode{cause: c.cause, reason: c.reason, actor: c.actor, traceID: c.traceID, openedAt: c.now, rejectedBefore: b.calls.rejected()}
		}
	case api.StateClosed:
		if from != to {
			b.n.closes++
		}
		b.failedRecoveries, b.failuresInRow = 0, 0
	}
	if mode == api.ModeAutomatic && to != api.StateOpen {
		b.until = time.Time{} // only an open breaker and a forced one wait for something
	}
	if to != api.StateClosed {
		b.rejection.Store(b.openError(c.now))
	}
	b.publish()
	b.setAlarm(c.now)
	if from != to || fromMode != mode || mode != api.ModeAutomatic || c.ordered || c.remote {
		b.tell(b.event(from))
	}
}

// openError is the error of the calls that this episode rejects, made once.
func (b *Breaker) openError(now time.Time) *OpenError {
	e := &OpenError{Name: b.name, State: b.state, RetryAt: b.until}
	if b.state == api.StateHalfOpen {
		e.RetryAt = now
	}
	return e
}

// wake does what time does: it ends a forced state and the time open, and gives
// up a probe whose result never came. The caller holds the lock.
func (b *Breaker) wake(now time.Time) {
	switch {
	case b.mode != api.ModeAutomatic && !b.until.IsZero() && !now.Before(b.until):
		b.enterMode(api.ModeAutomatic, afterForce(b.mode), change{now: now, reason: "the time of its forced state is over"})
	case b.mode != api.ModeAutomatic:
	case b.state == api.StateOpen && !now.Before(b.until):
		b.move(api.StateHalfOpen, change{now: now, reason: "recovery timeout is over"})
	case b.state == api.StateHalfOpen:
		for p := b.watched(); p != nil && now.Sub(p.begun) >= b.settings().patience(); p = b.watched() {
			b.end(p.permit, result{outcome: Timeout, kind: "lost", why: "the probe never ended"}, now)
			if b.state != api.StateHalfOpen {
				return
			}
		}
	}
}

// setAlarm sets the timer to the next instant at which wake has something to do.
// The caller holds the lock.
func (b *Breaker) setAlarm(now time.Time) {
	if b.alarm != nil {
		b.alarm.Stop()
	}
	due := b.until
	if p := b.watched(); p != nil && b.mode == api.ModeAutomatic && b.state == api.StateHalfOpen {
		due = p.begun.Add(b.settings().patience())
	}
	if due.IsZero() {
		return
	}
	wait := max(due.Sub(now), 0)
	if b.alarm == nil {
		b.alarm = time.AfterFunc(wait, b.ring)
		return
	}
	b.alarm.Reset(wait)
}

// ring is the alarm's: too early, if it was set anew meanwhile, it does no harm.
func (b *Breaker) ring() {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake(now)
	b.setAlarm(now)
}

// ValidName tells whether a breaker may have this name.
func ValidName(name string) bool { return checkName(name) == nil }

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
