package profiling

import (
	"bytes"
	"context"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	scanPeriod     = 25 * time.Millisecond // the table is looked at so often
	snapshotPeriod = 10 * time.Millisecond // between goroutine snapshots, if the budget allows
)

// Run watches the requests in flight, runs the CPU windows and stores what they
// give, until ctx is done. It returns when its goroutines have ended. A
// Profiler runs once at a time.
func (p *Profiler) Run(ctx context.Context) error {
	if !p.running.CompareAndSwap(false, true) {
		return nil // one Run is enough
	}
	defer p.running.Store(false)
	var wg sync.WaitGroup
	wg.Go(func() { p.cpu.run(ctx) })
	wg.Go(func() { p.storeFinished(ctx) })
	p.watch(ctx)
	wg.Wait()
	p.mu.Lock()
	p.ended = nil
	p.mu.Unlock()
	return nil
}

// storeFinished writes the profiles of requests that have ended, those that
// ended before ctx was done among them.
func (p *Profiler) storeFinished(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			for len(p.finished) > 0 {
				p.storeWall(<-p.finished)
			}
			return
		case c := <-p.finished:
			p.storeWall(c)
		}
	}
}

func (p *Profiler) watch(ctx context.Context) {
	scan := time.NewTicker(scanPeriod)
	defer scan.Stop()
	snapshot := time.NewTimer(time.Hour)
	defer snapshot.Stop()
	var notBefore time.Time // the budget forbids a snapshot until then
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-scan.C:
			p.lapse(now)
			p.scan()
		case <-snapshot.C:
		case <-p.sampleNow:
		}
		if now := time.Now(); !now.Before(notBefore) && p.following() {
			cost := p.snapshot()
			notBefore = now.Add(cost + max(snapshotPeriod, time.Duration(float64(cost)/p.opts.Budget)))
		}
		if p.following() {
			snapshot.Reset(max(time.Until(notBefore), time.Millisecond))
		}
	}
}

func (p *Profiler) following() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.active) > 0
}

// scan marks the requests that have become slow.
func (p *Profiler) scan() {
	if p.Mode() == ModeOff {
		return
	}
	since := p.now() - p.threshold.Load()
	for i := range p.table.high.Load() {
		s := &p.table.slots[i]
		state := s.state.Load()
		if state&3 != phaseRunning || s.start.Load() > since || s.state.Load() != state {
			continue
		}
		p.mark(s, state>>2, api.TriggerSlow)
	}
}

// snapshot samples every request that is followed with one goroutine profile.
// It returns what it cost.
func (p *Profiler) snapshot() time.Duration {
	begin := time.Now()
	defer p.cost.measure(begin)
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 0); err != nil {
		p.store.Drop("unreadable")
		return time.Since(begin)
	}
	parsed, err := hotspot.Parse(b.Bytes(), uploadLimits)
	if err != nil {
		p.store.Drop("unreadable")
		return time.Since(begin)
	}
	seen := map[*capture]bool{}
	var stack []hotspot.Frame
	parsed.EachLabelled(labelKey, func(i int, label string) {
		for _, c := range p.capturesOf(label) {
			stack = parsed.Stack(stack[:0], i)
			c.addWall(stack, parsed.Values(i)[0])
			seen[c] = true
		}
	})
	for c := range seen {
		c.mu.Lock()
		c.snapshots++
		c.mu.Unlock()
	}
	return time.Since(begin)
}

// addWall counts n goroutines that stood at stack.
func (c *capture) addWall(stack []hotspot.Frame, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall.Add(stack, n, 0)
	c.samples += n
}

// capturesOf returns who is followed of the request or recording that a label
// names and of those it is part of.
func (p *Profiler) capturesOf(label string) []*capture {
	s, gen := p.table.find(label)
	var out []*capture
	for depth := 0; s != nil && depth < 32; depth++ {
		p.mu.Lock()
		c := p.active[s.key(gen)]
		p.mu.Unlock()
		if c != nil {
			out = append(out, c)
		}
		parent := s.parent.Load()
		if parent == 0 {
			break
		}
		s, gen = &p.table.slots[parent>>1&(1<<16-1)], parent>>17
		if s.state.Load()>>2 != gen {
			break
		}
	}
	return out
}

func labelOf(s *slot, gen uint64) string {
	return strconv.Itoa(int(s.number)) + "." + strconv.Itoa(int(gen%labelsPerSlot))
}

func sortNewest(ps []api.Profile) {
	slices.SortStableFunc(ps, func(a, b api.Profile) int { return b.StartTime.Compare(a.StartTime.Time) })
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
