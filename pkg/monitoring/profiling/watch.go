package profiling

import (
	"bytes"
	"context"
	"runtime/pprof"
	"slices"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	scanPeriod     = 25 * time.Millisecond  // the table is looked at so often
	snapshotPeriod = 10 * time.Millisecond  // between goroutine snapshots, if the budget allows
	snapshotBurst  = 100 * time.Millisecond // of the budget that is saved up
)

// Run watches the requests in flight, runs the CPU windows and the flight
// recorder and stores what they give, until ctx is done. It returns when its
// goroutines have ended. A Profiler runs once at a time.
func (p *Profiler) Run(ctx context.Context) error {
	if !p.running.CompareAndSwap(false, true) {
		return nil // one Run is enough
	}
	defer p.running.Store(false)
	p.cpu.open()
	var wg sync.WaitGroup
	wg.Go(func() { p.cpu.run(ctx) })
	wg.Go(func() { p.storeFinished(ctx) })
	wg.Go(func() { p.explainTraces(ctx) })
	wg.Go(func() { p.poll(ctx) })
	wg.Go(func() { p.work(ctx) })
	p.watch(ctx)
	wg.Wait()
	for len(p.traced) > 0 { // handed over after the recorder had gone
		p.storeWall(<-p.traced, nil, "")
	}
	p.mu.Lock()
	p.ended = nil
	p.mu.Unlock()
	return nil
}

// storeFinished writes the profiles of requests that have ended, those that
// ended before ctx was done among them. What the flight recorder may have seen
// waits for it.
func (p *Profiler) storeFinished(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			for len(p.finished) > 0 {
				p.storeWall(<-p.finished, nil, "")
			}
			return
		case c := <-p.finished:
			switch {
			case c.goroutine == 0 && p.traceBusy.Load():
				p.storeWall(c, nil, "there is no trace: "+errTraceBusy.Error())
			case c.goroutine == 0 || !p.awaitTrace(c):
				p.storeWall(c, nil, "")
			}
		}
	}
}

func (p *Profiler) watch(ctx context.Context) {
	scan := time.NewTicker(scanPeriod)
	defer scan.Stop()
	snapshot := time.NewTimer(time.Hour)
	defer snapshot.Stop()
	due := make([]judgement, len(p.table.slots))
	var notBefore time.Time // of the next snapshot
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-scan.C:
			p.lapse(now)
			p.scan(due)
		case <-snapshot.C:
		case <-p.sampleNow:
		}
		if now := time.Now(); !now.Before(notBefore) && p.following() && p.budget.wait(now) == 0 {
			p.snapshot()
			now = time.Now()
			notBefore = now.Add(max(snapshotPeriod, p.budget.wait(now)))
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

// judgement is what the watchdog knows of a slot's request once it has looked.
type judgement struct {
	run   uint64
	start int64
	route string
}

// scan marks the requests that have become slow. due is its memory, by slot.
func (p *Profiler) scan(due []judgement) {
	if p.Mode() == ModeOff {
		return
	}
	now, lowest := p.now(), p.lowestThreshold()
	for i := range p.table.high.Load() {
		s := &p.table.slots[i]
		run := s.state.Load()
		if phaseOf(run) != phaseRunning || began(run) > now-lowest {
			continue
		}
		j := &due[i]
		if j.run != run {
			w, start, ok := p.peek(s, run)
			if !ok {
				continue
			}
			*j = judgement{run, start, p.route(w)}
		}
		if j.start+int64(p.thresholdOf(j.route)) <= now {
			p.mark(s, run, api.TriggerSlow, j.route)
		}
	}
}

// snapshot samples every request that is followed with one goroutine profile.
func (p *Profiler) snapshot() {
	begin := time.Now()
	defer p.budget.spend(begin)
	defer p.cost.measure(begin)
	at := p.now()
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 0); err != nil {
		p.store.Drop("unreadable")
		return
	}
	parsed, err := hotspot.Parse(b.Bytes(), uploadLimits)
	if err != nil {
		p.store.Drop("unreadable")
		return
	}
	seen := map[*capture]bool{}
	var stack []hotspot.Frame
	parsed.EachLabelled(labelKey, func(i int, label string) {
		for _, c := range p.capturesOf(label) {
			stack = parsed.Stack(stack[:0], i)
			c.addWall(at, stack, parsed.Values(i)[0])
			seen[c] = true
		}
	})
	for c := range seen {
		c.mu.Lock()
		c.snapshots++
		c.mu.Unlock()
	}
}

// addWall counts n goroutines that stood at stack.
func (c *capture) addWall(at int64, stack []hotspot.Frame, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stored {
		return
	}
	c.wall.add(at, stack, n)
	c.samples += n
}

// capturesOf returns who is followed of the request or recording that a label
// names and of those it is part of.
func (p *Profiler) capturesOf(label string) []*capture {
	s, state := p.table.find(label)
	if s == nil {
		return nil
	}
	var out []*capture
	key := s.key(genOf(state))
	p.mu.Lock()
	defer p.mu.Unlock()
	for depth := 0; depth < 32; depth++ {
		if c := p.active[key]; c != nil {
			out = append(out, c)
		}
		parent := s.parent.Load()
		if parent == 0 {
			break
		}
		s, key = p.table.byKey(parent), parent
		if genOf(s.state.Load()) != key>>17 {
			break
		}
	}
	return out
}

func sortNewest(ps []api.Profile) {
	slices.SortStableFunc(ps, func(a, b api.Profile) int { return b.StartTime.Compare(a.StartTime.Time) })
}
