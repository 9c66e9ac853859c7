package breaker

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	windowBuckets = 60
	latencySpans  = 6                // latencies are kept by sixths of the window, to keep them small
	latencySteps  = 32 * 4           // four to the doubling, from 1µs to about an hour
	latencyKept   = latencySpans + 1 // one is under way
)

// window is what a breaker saw of late, about 7 KB. The sampler brings it what
// the counters grew by since last time, so calls need not touch it: they appear
// in it up to a sixtieth of its width late.
type window struct {
	width   time.Duration // of a bucket
	seen    tally         // the totals when it was last brought something
	stale   tally         // of them
	buckets [windowBuckets]bucket
	spans   [latencyKept]span
	summed  histogram // the latencies when the last span ended
}

type bucket struct {
	at       int64 // of the instant / width; others are stale
	all, old tally // old: of calls that began before the state we are in
}

type span struct {
	at     int64
	counts [latencySteps]uint32
}

// resize sets the width of the window. Another width than before forgets what
// the old one held.
func (w *window) resize(whole time.Duration) {
	if width := whole / windowBuckets; width != w.width {
		seen, stale, summed := w.seen, w.stale, w.summed
		*w = window{width: width, seen: seen, stale: stale, summed: summed}
	}
}

func (w *window) index(now time.Time) int64 { return now.UnixNano() / int64(w.width) }

// add enters what came since the last add, from the totals.
func (w *window) add(now time.Time, all, stale tally) {
	if all == w.seen {
		return
	}
	at := w.index(now)
	b := &w.buckets[at%windowBuckets]
	if b.at != at {
		*b = bucket{at: at}
	}
	b.all = b.all.plus(all.minus(w.seen))
	b.old = b.old.plus(stale.minus(w.stale))
	w.seen, w.stale = all, stale
}

// turn begins a new state: what is here belongs to one before.
func (w *window) turn() {
	for i := range w.buckets {
		w.buckets[i].old = w.buckets[i].all
	}
}

// forget empties the window.
func (w *window) forget() {
	w.buckets, w.spans = [windowBuckets]bucket{}, [latencyKept]span{}
}

// fresh counts what came within the window of calls that began in this state:
// what opened a breaker says nothing about the state it is in now.
func (w *window) fresh(now time.Time) (sum tally) {
	at := w.index(now)
	for _, b := range w.buckets {
		if b.at > at-windowBuckets {
			sum = sum.plus(b.all.minus(b.old))
		}
	}
	return sum
}

func (w *window) api(now time.Time, h *histograms) *api.BreakerWindow {
	out := &api.BreakerWindow{Seconds: api.Seconds(w.width * windowBuckets), FailuresPerSecond: make([]float64, windowBuckets)}
	at := w.index(now)
	for i := range out.FailuresPerSecond {
		b := w.buckets[(at+1+int64(i))%windowBuckets]
		if b.at != at+1+int64(i)-windowBuckets {
			continue
		}
		out.Calls += api.Count(b.all.calls)
		out.Failures += api.Count(b.all.failures)
		out.Slow += api.Count(b.all.slow)
		out.FailuresPerSecond[i] = float64(b.all.failures) / w.width.Seconds()
	}
	if out.Calls > 0 {
		out.FailureRate = float64(out.Failures) / float64(out.Calls)
		out.SlowRate = float64(out.Slow) / float64(out.Calls)
	}
	if h != nil {
		out.P95 = api.Seconds(w.quantile(now, 0.95))
	}
	return out
}

// histograms are the latencies of calls since the start, by stripe.
type histograms [stripes]histogramStripe

type histogramStripe [latencySteps]atomic.Uint32

type histogram [latencySteps]uint32 // counts wrap around; differences of them do not mind

func (h *histograms) sum() (sum histogram) {
	for i := range h {
		for j := range h[i] {
			sum[j] += h[i][j].Load()
		}
	}
	return sum
}

// roll enters the latencies that came since it was called last into the span
// that is under way. Counting them at each tick would cost more than they do.
func (w *window) roll(now time.Time, h *histograms) {
	at := w.index(now) / (windowBuckets / latencySpans)
	s := &w.spans[at%latencyKept]
	if s.at == at {
		return // brought up to date when it ends, or is looked at
	}
	w.collect(h)
	*s = span{at: at}
}

// collect brings the newest span up to date.
func (w *window) collect(h *histograms) {
	newest := &w.spans[0]
	for i := range w.spans {
		if w.spans[i].at > newest.at {
			newest = &w.spans[i]
		}
	}
	sum := h.sum()
	for i := range sum {
		newest.counts[i] += sum[i] - w.summed[i]
	}
	w.summed = sum
}

// quantile returns the middle of the step that holds the q-quantile, at most
// 10 % off, and 0 without calls.
func (w *window) quantile(now time.Time, q float64) time.Duration {
	var sum [latencySteps]uint64
	var total uint64
	at := w.index(now) / (windowBuckets / latencySpans)
	for _, s := range w.spans {
		if s.at <= at-latencyKept {
			continue
		}
		for i, n := range s.counts {
			sum[i] += uint64(n)
			total += uint64(n)
		}
	}
	if total == 0 {
		return 0
	}
	rank := uint64(q*float64(total-1)) + 1
	for i, n := range sum {
		if rank <= n {
			return stepMiddle(i)
		}
		rank -= n
	}
	return stepMiddle(latencySteps - 1)
}

// step gives each doubling of a duration four steps: the two bits behind the
// leading one choose among them.
func step(d time.Duration) int {
	us := uint64(max(d, time.Microsecond) / time.Microsecond)
	top := bits.Len64(us) - 1
	quarter := us << 2 >> top & 3
	return min(top*4+int(quarter), latencySteps-1)
}

func stepMiddle(i int) time.Duration {
	low := float64(uint64(1)<<(i/4)) * (1 + float64(i%4)/4)
	width := float64(uint64(1)<<(i/4)) / 4
	return time.Duration((low + width/2) * float64(time.Microsecond))
}

// countWindow is the last so many results, one byte each. The zero value counts
// nothing.
type countWindow struct {
	ring []byte // calls, failed and slow as bits; 0 has not come yet
	next int
	sum  tally
}

const (
	resultCame byte = 1 << iota
	resultFailed
	resultSlow
)

func (w *countWindow) size() int { return len(w.ring) }

func (w *countWindow) resize(n int) {
	if n != len(w.ring) {
		*w = countWindow{ring: make([]byte, n)}
	}
}

func (w *countWindow) clear() {
	clear(w.ring)
	w.next, w.sum = 0, tally{}
}

func (w *countWindow) add(failed, slow bool) {
	if len(w.ring) == 0 {
		return
	}
	r := resultCame
	if failed {
		r |= resultFailed
	}
	if slow {
		r |= resultSlow
	}
	w.sum = w.sum.minus(unpack(w.ring[w.next])).plus(unpack(r))
	w.ring[w.next] = r
	w.next = (w.next + 1) % len(w.ring)
}

func unpack(r byte) tally {
	return tally{int64(r & resultCame), int64(r & resultFailed >> 1), int64(r & resultSlow >> 2)}
}
