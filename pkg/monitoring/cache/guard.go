package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrDown is what a call gets while Redis is known not to answer.
var ErrDown = errors.New("redis does not answer")

// The time between two attempts while Redis is down: doubled from least to most.
const (
	leastBackoff = 100 * time.Millisecond
	mostBackoff  = 2 * time.Second
)

// How long a call must have lasted to count against Redis when its caller gave
// it up: impatient by itself, hasty if it is the last of severalGaveUp in a row.
const (
	impatient     = 500 * time.Millisecond
	hasty         = 50 * time.Millisecond
	severalGaveUp = 3
)

// guard spares callers the deadline of a Redis that does not answer: after a
// failure calls fail at once until the back-off is over; then one goes through
// and decides for the others.
type guard struct {
	mu      sync.Mutex
	last    error         // guarded by mu; nil while Redis answers
	since   time.Time     // guarded by mu; the first failure of this outage
	backoff time.Duration // guarded by mu
	until   time.Time     // guarded by mu
	probing bool          // guarded by mu
	gaveUp  int           // guarded by mu; calls in a row that their callers gave up, none answered between
}

// run calls f with a context that ends within timeout, unless Redis is known to
// be down.
func (g *guard) run(ctx context.Context, timeout time.Duration, f func(context.Context) error) (err error) {
	probe, err := g.enter()
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	err = context.Canceled // what a panic of f leaves behind
	defer func() {
		said := err
		if lasted := time.Since(start); givenUp(ctx) && !answered(err) && lasted < min(timeout, impatient) && !g.several(lasted) {
			said = context.Canceled // the caller's time was up: says nothing of Redis
		}
		g.leave(probe, said)
	}()
	err = f(bounded)
	return err
}

// several counts a call that its caller gave up, and tells whether there have
// been so many in a row that it is Redis who does not answer.
func (g *guard) several(lasted time.Duration) bool {
	if lasted < hasty {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gaveUp++
	return g.gaveUp >= severalGaveUp
}

// givenUp tells whether a caller's time is up. A connection's deadline, which is
// the caller's, may pass a moment before the caller's context ends.
func givenUp(ctx context.Context) bool {
	at, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && time.Until(at) < time.Millisecond
}

// enter admits a call, or says why not. Who is admitted must leave.
func (g *guard) enter() (probe bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.last == nil {
		return false, nil
	}
	if g.probing || time.Now().Before(g.until) {
		return false, fmt.Errorf("%w: %w", ErrDown, g.last)
	}
	g.probing = true
	return true, nil
}

// leave takes a call's outcome into account.
func (g *guard) leave(probe bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if probe {
		g.probing = false
	}
	switch {
	case errors.Is(err, context.Canceled): // the caller's doing: says nothing of Redis
	case answered(err):
		g.last, g.backoff, g.since, g.gaveUp = nil, 0, time.Time{}, 0
	default:
		now := time.Now()
		if g.last == nil {
			g.since = now
		}
		g.last = err
		g.backoff = min(max(2*g.backoff, leastBackoff), mostBackoff)
		g.until = now.Add(g.backoff)
	}
}

// down returns since when Redis does not answer, the zero Time if it does.
func (g *guard) down() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.since
}

// answered reports whether err comes from a Redis that answers.
func answered(err error) bool {
	var reply redis.Error
	return err == nil || errors.As(err, &reply)
}
