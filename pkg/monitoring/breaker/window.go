package breaker

import (
	"math/bits"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	windowSeconds = 60
	epochSeconds  = 10 // latencies are kept by tens of seconds, to keep them small
	epochs        = windowSeconds/epochSeconds + 1
	buckets       = 128 // of latency: four to the doubling, from 1µs to about an hour
)

// window is what a breaker saw in the last minute, about 5 KB. The zero value
// is empty.
type window struct {
	seconds [windowSeconds]second
	epochs  [epochs]epoch
}

type second struct {
	at                    int64 // Unix seconds; others are stale
	calls, failures, slow uint32
	oldCalls, oldFailures uint32 // of them, those that belong to a state before
}

type epoch struct {
	at     int64 // Unix seconds / epochSeconds
	counts [buckets]uint32
}

// add enters a call; old ones began before the last change of state.
func (w *window) add(now time.Time, failed, slow, old bool, took time.Duration) {
	at := now.Unix()
	s := &w.seconds[at%windowSeconds]
	if s.at != at {
		*s = second{at: at}
	}
	s.calls++
	if failed {
		s.failures++
	}
	if old {
		s.oldCalls++
		if failed {
			s.oldFailures++
		}
	}
	if slow {
		s.slow++
	}
	e := &w.epochs[at/epochSeconds%epochs]
	if e.at != at/epochSeconds {
		*e = epoch{at: at / epochSeconds}
	}
	e.counts[bucket(took)]++
}

// turn begins a new state: what is here belongs to one before.
func (w *window) turn() {
	for i := range w.seconds {
		s := &w.seconds[i]
		s.oldCalls, s.oldFailures = s.calls, s.failures
	}
}

// totals counts what came in the last minute of calls that began in this
// state: what opened a breaker says nothing about the state it is in now.
func (w *window) totals(now time.Time) (calls, failures int64) {
	for _, s := range w.seconds {
		if s.at > now.Unix()-windowSeconds {
			calls += int64(s.calls - s.oldCalls)
			failures += int64(s.failures - s.oldFailures)
		}
	}
	return calls, failures
}

func (w *window) api(now time.Time) *api.BreakerWindow {
	out := &api.BreakerWindow{Seconds: api.Seconds(windowSeconds * time.Second), FailuresPerSecond: make([]float64, windowSeconds)}
	for i := range out.FailuresPerSecond {
		at := now.Unix() - windowSeconds + 1 + int64(i)
		s := w.seconds[at%windowSeconds]
		if s.at != at {
			continue
		}
		out.Calls += api.Count(s.calls)
		out.Failures += api.Count(s.failures)
		out.Slow += api.Count(s.slow)
		out.FailuresPerSecond[i] = float64(s.failures)
	}
	if out.Calls > 0 {
		out.FailureRate = float64(out.Failures) / float64(out.Calls)
		out.SlowRate = float64(out.Slow) / float64(out.Calls)
	}
	out.P95 = api.Seconds(w.quantile(now, 0.95))
	return out
}

// quantile returns the middle of the bucket that holds the q-quantile, at most
// 10 % off, and 0 without calls.
func (w *window) quantile(now time.Time, q float64) time.Duration {
	var sum [buckets]uint64
	var total uint64
	for _, e := range w.epochs {
		if e.at <= now.Unix()/epochSeconds-epochs {
			continue
		}
		for i, n := range e.counts {
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
			return bucketMiddle(i)
		}
		rank -= n
	}
	return bucketMiddle(buckets - 1)
}

// bucket gives each doubling of a duration four buckets: the two bits behind
// the leading one choose among them.
func bucket(d time.Duration) int {
	us := uint64(max(d, time.Microsecond) / time.Microsecond)
	top := bits.Len64(us) - 1
	quarter := us << 2 >> top & 3
	return min(top*4+int(quarter), buckets-1)
}

func bucketMiddle(i int) time.Duration {
	low := float64(uint64(1)<<(i/4)) * (1 + float64(i%4)/4)
	width := float64(uint64(1)<<(i/4)) / 4
	return time.Duration((low + width/2) * float64(time.Microsecond))
}
