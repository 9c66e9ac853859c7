package profiling

import (
	"sync"
	"time"
)

// budget is the share of a core that a kind of work may take. What is not used
// is saved up for a burst; what a piece of work takes beyond it is paid back
// before the next begins.
type budget struct {
	share float64
	burst time.Duration

	mu    sync.Mutex
	saved time.Duration
	last  time.Time
}

func newBudget(share float64, burst time.Duration) *budget {
	return &budget{share: share, burst: burst, saved: burst}
}

// spend takes what a piece of work that began then has cost.
func (b *budget) spend(begin time.Time) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.save(now)
	b.saved -= now.Sub(begin)
}

// wait returns how long the next piece of work must wait; 0 means it need not.
func (b *budget) wait(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.save(now)
	if b.saved >= 0 {
		return 0
	}
	return time.Duration(float64(-b.saved) / b.share)
}

func (b *budget) save(now time.Time) {
	if !b.last.IsZero() {
		b.saved = min(b.saved+time.Duration(float64(now.Sub(b.last))*b.share), b.burst)
	}
	b.last = now
}

// cost adds up what profiling took, by minute.
type cost struct {
	mu             sync.Mutex
	since          time.Time
	spent, earlier time.Duration // in this minute, and per minute before it
}

// measure adds the time since begin. Use it with defer.
func (c *cost) measure(begin time.Time) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	c.spent += now.Sub(begin)
}

func (c *cost) turn(now time.Time) {
	if c.since.IsZero() {
		c.since = now
	}
	if d := now.Sub(c.since); d >= time.Minute {
		c.earlier = time.Duration(float64(c.spent) / d.Minutes())
		c.spent, c.since = 0, now
	}
}

// share returns the share of a core over about the last minute.
func (c *cost) share(now time.Time) float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	elapsed := now.Sub(c.since)
	spent := c.spent + time.Duration(float64(c.earlier)*(1-elapsed.Minutes()))
	over := time.Minute
	if c.earlier == 0 {
		over = max(elapsed, time.Second)
	}
	return float64(spent) / float64(over)
}
