package breaker

import (
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	stripes = 8  // of the counters: callers on several cores seldom meet
	epochs  = 16 // of begin that are told apart; see counters.slowInFlight

	oneInFlight = 1       // low bits of a cell
	oneSuccess  = 1 << 24 // the bits above
	inFlight    = oneSuccess - 1
)

// counters are what calls leave behind without a lock: how many are in flight
// and how many succeeded, in one number, so that the end of a call is one
// addition. They are spread over stripes by caller, and over epochs by the time
// a call began. Only sums mean something: of all cells the successes and the
// calls in flight, of the cells of an epoch the calls in flight.
type counters struct {
	stripes [stripes]stripe
	older   uint64 // in flight from before all epochs; guarded by Breaker.mu
}

type stripe struct {
	cells    [epochs]atomic.Uint64
	plain    atomic.Uint64 // a cell of no epoch, for calls that are not timed
	rejected atomic.Uint64
	_        [48]byte // so that no two stripes share a cache line
}

// own picks the stripe of this goroutine: goroutines have stacks of their own,
// so that the address of a local variable tells them apart at the price of a
// multiplication. Two idle cores that call at once took 7 ns a call on lines
// apart and 15 ns on one (BenchmarkBreakerClosedParallel, elapsed); on cores
// that are busy with other work the two do not differ.
func own() uint8 {
	var here byte
	return uint8(uint64(uintptr(unsafe.Pointer(&here))>>11) * 0x9E3779B97F4A7C15 >> 61)
}

// gather takes the successes out of the cells and returns how many there were.
// The caller holds the lock; calls go on meanwhile.
func (c *counters) gather() (successes int64) {
	sum := c.sum()
	n := sum >> 24
	if n > 0 {
		c.stripes[0].plain.Add(-n << 24) // the sum is what counts, so any cell will do
	}
	return int64(n)
}

func (c *counters) sum() uint64 {
	sum := c.older
	for i := range c.stripes {
		sum += c.stripes[i].plain.Load()
		for j := range c.stripes[i].cells {
			sum += c.stripes[i].cells[j].Load()
		}
	}
	return sum
}

func (c *counters) inFlight() int64 { return int64(c.sum() & inFlight) }

func (c *counters) rejected() (n int64) {
	for i := range c.stripes {
		n += int64(c.stripes[i].rejected.Load())
	}
	return n
}

// advance makes the cells of an epoch's predecessor, epochs ago, its own: calls
// that are still in flight from then move to older.
func (c *counters) advance(epoch uint32) {
	for i := range c.stripes {
		cell := &c.stripes[i].cells[epoch%epochs]
		n := cell.Load() & inFlight
		cell.Add(-n)
		c.older += n
	}
}

// begunBy counts the calls in flight that began in the given epoch or before,
// as seen from the current one. A quick call that was held up for most of
// SlowCall just before its end leaves its epoch one short and older one over:
// so the sum has a sign, and no more are slow than are in flight.
func (c *counters) begunBy(epoch, current uint32) int64 {
	sum := c.older
	for e := epoch; current-e < epochs; e-- {
		for i := range c.stripes {
			sum += c.stripes[i].cells[e%epochs].Load()
		}
	}
	return min(max(int64(int32(sum<<8)>>8), 0), c.inFlight())
}

// leave takes a call out of flight that was not a quick success. The caller
// holds the lock.
func (c *counters) leave(p *Permit, current uint32) {
	if p.opts != untimed && current-p.epoch >= epochs {
		c.older--
		return
	}
	p.cell.Add(^uint64(0))
}

// totals are a breaker's statistics since its start, which a reset keeps.
type totals struct {
	success, failure, timeout, ignored, slow int64
	opens, closes                            int64
	rowStart                                 int64 // success when the last row of them began
	stale                                    tally // of those above, results that came after the state they began in
	lastFailure, lastSuccess                 time.Time
	transitions                              map[[2]api.State]int64
}

// tally is what a window counts.
type tally struct{ calls, failures, slow int64 }

func (t tally) minus(u tally) tally {
	return tally{t.calls - u.calls, t.failures - u.failures, t.slow - u.slow}
}

func (t tally) plus(u tally) tally {
	return tally{t.calls + u.calls, t.failures + u.failures, t.slow + u.slow}
}

// roll gathers what calls left and enters what is new into the window. The
// caller holds the lock.
func (b *Breaker) roll(now time.Time) {
	b.gather(now)
	all := tally{b.n.success + b.n.failure, b.n.failure, b.n.slow}
	b.recent.add(now, all, b.n.stale)
	if h := b.latencies.Load(); h != nil {
		b.recent.roll(now, h)
	}
}

func (b *Breaker) gather(now time.Time) {
	if n := b.calls.gather(); n > 0 {
		b.n.success += n
		b.n.lastSuccess = now
	}
}

// rouse starts the sampler, for the first call after a while without.
func (b *Breaker) rouse(now time.Time) {
	if !b.asleep {
		return
	}
	b.roll(now)
	b.asleep = false
	b.publish()
	every, _ := b.tick()
	if b.sampler == nil {
		b.sampler = time.AfterFunc(every, b.sample)
		return
	}
	b.sampler.Reset(every)
}

// tick is how often the sampler runs while there are calls, and how many ticks
// an epoch lasts: an eighth of SlowCall, where slow calls in flight count.
func (b *Breaker) tick() (every time.Duration, perEpoch uint32) {
	o := b.settings()
	every = o.Window / windowBuckets
	if o.SlowRate == 0 {
		return every, 0
	}
	epoch := max(o.SlowCall/slowEpochs, time.Millisecond)
	perEpoch = uint32((epoch + every - 1) / every)
	return epoch / time.Duration(perEpoch), perEpoch
}

// slowEpochs is how many epochs a call may take before it is slow. A cell is
// used again after 16, when no quick call of its epoch is left.
const slowEpochs = 8

// sample moves the window on, and opens the breaker if the rates say so. It goes
// to sleep when there was no call since it ran last.
func (b *Breaker) sample() {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake(now)
	before := b.recent.seen
	b.roll(now)
	busy := b.recent.seen != before
	every, perEpoch := b.tick()
	if perEpoch > 0 {
		busy = busy || b.calls.inFlight() > 0
		if b.ticks++; b.ticks%perEpoch == 0 {
			epoch := b.epoch.Load() + 1
			b.calls.advance(epoch)
			b.epoch.Store(epoch)
		}
	}
	b.judge(now, result{})
	if !busy {
		b.asleep = true
		b.publish()
		return
	}
	b.sampler.Reset(every)
}

// slowInFlight counts the calls that run for longer than SlowCall already, to an
// eighth of it.
func (b *Breaker) slowInFlight() int64 {
	if b.settings().SlowRate == 0 {
		return 0
	}
	now := b.epoch.Load()
	return b.calls.begunBy(now-slowEpochs-1, now)
}
