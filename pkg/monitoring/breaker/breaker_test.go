package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

var errDown = errors.New("502 Bad Gateway")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newBreaker(t *testing.T, o breaker.Options) *breaker.Breaker {
	t.Helper()
	b, err := breaker.New("github_api", o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func call(b *breaker.Breaker, err error) error {
	_, got := breaker.Do(context.Background(), b, func(context.Context) (int, error) { return 0, err })
	return got
}

func fail(t *testing.T, b *breaker.Breaker, times int) {
	t.Helper()
	for range times {
		if err := call(b, errDown); !errors.Is(err, errDown) {
			t.Fatalf("call = %v, want %v", err, errDown)
		}
	}
}

// pass lets time pass, and all that waited for it act.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func want(t *testing.T, b *breaker.Breaker, st api.State) {
	t.Helper()
	if got := b.State(); got != st {
		t.Fatalf("state = %s, want %s", got, st)
	}
}

func TestOpensProbesAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{})
		fail(t, b, 4)
		want(t, b, api.StateClosed)
		fail(t, b, 1)
		want(t, b, api.StateOpen)
		if err := call(b, nil); !errors.Is(err, breaker.ErrOpen) {
			t.Errorf("call while open = %v, want ErrOpen", err)
		}
		s := b.Snapshot()
		if s.RetryAt.IsZero() || s.Stats.Rejected.Value() != 1 || s.LastError != errDown.Error() {
			t.Errorf("snapshot while open = %+v: want retry_at, one rejected call and the last error", s)
		}
		pass(time.Minute) // no call comes: the state shows all the same
		want(t, b, api.StateHalfOpen)
		for range 3 {
			if err := call(b, nil); err != nil {
				t.Fatal(err)
			}
		}
		want(t, b, api.StateClosed)
	})
}

func TestFailedProbeReopensForAWholeRecoveryTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{FailureThreshold: 1})
		fail(t, b, 1)
		pass(time.Minute)
		fail(t, b, 1)
		want(t, b, api.StateOpen)
		pass(59 * time.Second)
		want(t, b, api.StateOpen)
		pass(time.Second)
		want(t, b, api.StateHalfOpen)
	})
}

func TestOneProbeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{FailureThreshold: 1})
		fail(t, b, 1)
		pass(time.Minute)
		var running, most, passed atomic.Int64
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				_, err := breaker.Do(context.Background(), b, func(context.Context) (int, error) {
					passed.Add(1)
					if n := running.Add(1); n > most.Load() {
						most.Store(n)
					}
					time.Sleep(time.Second)
					running.Add(-1)
					return 0, nil
				})
				if err != nil && !errors.Is(err, breaker.ErrOpen) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if most.Load() != 1 || passed.Load() != 1 {
			t.Errorf("%d calls passed, %d at once; want one probe", passed.Load(), most.Load())
		}
	})
}

// B3: a call from before the outage says nothing about the state it returns to.
func TestStaleResultsNeverMoveTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{FailureThreshold: 1, SuccessThreshold: 1})
		old, err := b.Allow()
		if err != nil {
			t.Fatal(err)
		}
		late, _ := b.Allow()
		fail(t, b, 1)
		late.Done(breaker.Failure, "late") // must not push the retry further
		pass(time.Minute)
		want(t, b, api.StateHalfOpen)
		old.Done(breaker.Success, "")
		want(t, b, api.StateHalfOpen)
		old.Done(breaker.Success, "") // twice counts once
		if n := b.Snapshot().Stats.SuccessfulRequests; n != 1 {
			t.Errorf("successes = %d, want 1", n)
		}
	})
}

func TestOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{Timeout: time.Second})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		breaker.Do(ctx, b, func(ctx context.Context) (int, error) { return 0, ctx.Err() }) // the caller gave up
		breaker.Do(context.Background(), b, func(ctx context.Context) (int, error) {       // the breaker's own timeout
			<-ctx.Done()
			return 0, errors.New("read: i/o timeout")
		})
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic did not go on")
				}
			}()
			breaker.Do(context.Background(), b, func(context.Context) (int, error) { panic("boom") })
		}()
		s := b.Snapshot().Stats
		if s.TotalRequests != 3 || s.FailedRequests != 2 || s.Timeouts != 1 || s.InFlight.Value() != 0 {
			t.Errorf("stats = %+v, want 3 calls, 2 failures with one timeout among them, none in flight", s)
		}
		if got := b.Sample().Calls; got["ignored"] != 1 || got["timeout"] != 1 || got["failure"] != 1 {
			t.Errorf("calls = %v", got)
		}
	})
}

// B5: a probe that is cancelled leaves room for the next one.
func TestIgnoredProbeDoesNotStick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{FailureThreshold: 1})
		fail(t, b, 1)
		pass(time.Minute)
		call(b, context.Canceled)
		if err := call(b, nil); err != nil {
			t.Errorf("probe after a cancelled one = %v", err)
		}
	})
}

// B7: four failures in five calls open it by rate.
func TestFailureRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{FailureRate: 0.5, MinCalls: 20})
		for i := range 20 {
			var err error
			if i%5 != 0 {
				err = errDown
			}
			call(b, err)
		}
		want(t, b, api.StateOpen)
	})
}

// A breaker that closed again shows its bad minute, but does not reopen for it.
func TestRateCountsFromTheLastClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{FailureRate: 0.5, MinCalls: 10, FailureThreshold: 100, RecoveryTimeout: 5 * time.Second, SuccessThreshold: 1})
		fail(t, b, 10)
		want(t, b, api.StateOpen)
		pass(5 * time.Second)
		call(b, nil)
		want(t, b, api.StateClosed)
		pass(time.Second)
		fail(t, b, 1)
		want(t, b, api.StateClosed)
		if w := b.Snapshot().Stats.Window; w.Failures != 11 {
			t.Errorf("failures in the window = %d, want 11", w.Failures)
		}
	})
}

// B8: rates are of the last minute, and a reset forgets them.
func TestRatesRecover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{FailureThreshold: 100})
		fail(t, b, 10)
		if r := b.Snapshot().Stats.FailureRate; r != 1 {
			t.Errorf("failure rate = %g, want 1", r)
		}
		pass(61 * time.Second)
		if r := b.Snapshot().Stats.FailureRate; r != 0 {
			t.Errorf("failure rate a minute later = %g, want 0", r)
		}
		fail(t, b, 10)
		b.Reset(api.StateClosed, breaker.Control{})
		if s := b.Snapshot().Stats; s.FailureRate != 0 || s.ConsecutiveFailures != 0 || s.FailedRequests != 20 {
			t.Errorf("after a reset: %+v, want no rate, no failures in a row, 20 in all", s)
		}
	})
}

func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{FailureThreshold: 1})
		if prev := b.Reset(api.StateHalfOpen, breaker.Control{}); prev != api.StateClosed || b.State() != api.StateClosed {
			t.Errorf("half-open reset of a closed breaker: left %s, is %s; want it to stay closed", prev, b.State())
		}
		fail(t, b, 1)
		if prev := b.Reset(api.StateHalfOpen, breaker.Control{}); prev != api.StateOpen {
			t.Errorf("previous state = %s, want open", prev)
		}
		want(t, b, api.StateHalfOpen)
		b.Reset(api.StateClosed, breaker.Control{})
		want(t, b, api.StateClosed)
	})
}

// Who listens may ask the breaker, and be slow: no call waits.
func TestEventsAreToldUnlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *breaker.Breaker
		var seen []string
		b = newBreaker(t, breaker.Options{FailureThreshold: 1, OnEvent: func(e breaker.Event) {
			b.State() // would deadlock under the lock
			time.Sleep(time.Second)
			seen = append(seen, fmt.Sprint(e.Seq, " ", e.From, ">", e.To, " ", e.Lost))
		}})
		start := time.Now()
		fail(t, b, 1)
		b.Reset(api.StateClosed, breaker.Control{})
		if waited := time.Since(start); waited != 0 {
			t.Errorf("the calls waited %s for the listener", waited)
		}
		pass(time.Minute)
		if got := strings.Join(seen, ", "); got != "1 closed>open 0, 2 open>closed 0" {
			t.Errorf("events = %q", got)
		}
	})
}

func TestP95(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{})
		for i := range 100 {
			p, _ := b.Allow()
			if i < 90 {
				pass(10 * time.Millisecond)
			} else {
				pass(time.Second)
			}
			p.Done(breaker.Success, "")
		}
		if p95 := b.Snapshot().Stats.Window.P95.Duration(); p95 < 900*time.Millisecond || p95 > 1100*time.Millisecond {
			t.Errorf("p95 = %s, want 1s within 10 %%", p95)
		}
	})
}

func TestNonsenseIsRefused(t *testing.T) {
	for _, o := range []breaker.Options{{FailureThreshold: -1}, {SuccessThreshold: -1}, {RecoveryTimeout: -1}, {FailureRate: 2}, {SlowCall: -1}} {
		if _, err := breaker.New("x", o); err == nil {
			t.Errorf("New(%+v) took it", o)
		}
	}
	for _, name := range []string{"", ".", "..", "a/b", "reset-all", "events", "ü", strings.Repeat("x", 129), "a\nb"} {
		if _, err := breaker.New(name, breaker.Options{}); err == nil {
			t.Errorf("New(%q) took it", name)
		}
	}
}

func TestSet(t *testing.T) {
	var set breaker.Set
	a, err := set.Add("github_api", breaker.Options{FailureThreshold: 3})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := set.Add("github_api", breaker.Options{FailureThreshold: 3}); err != nil || again != a {
		t.Errorf("the same again = %v, %v; want the first one", again, err)
	}
	if _, err := set.Add("github_api", breaker.Options{FailureThreshold: 4}); err == nil ||
		!strings.Contains(err.Error(), "threshold 3") || !strings.Contains(err.Error(), "threshold 4") {
		t.Errorf("another configuration: %v, want an error that names both", err)
	}
	for _, o := range []breaker.Options{
		{FailureThreshold: 3, SuccessThreshold: 1}, {FailureThreshold: 3, RecoveryTimeout: time.Second}, {FailureThreshold: 3, Probes: 2},
		{FailureThreshold: 3, Timeout: -1}, {FailureThreshold: 3, FailureRate: 0.5}, {FailureThreshold: 3, SlowRate: 0.5},
		{FailureThreshold: 3, SlowCall: time.Second}, {FailureThreshold: 3, MinCalls: 7}, {FailureThreshold: 3, Window: time.Hour},
		{FailureThreshold: 3, WindowCalls: 100}, {FailureThreshold: 3, Backoff: 2}, {FailureThreshold: 3, Backoff: 2, MaxRecovery: time.Hour},
		{FailureThreshold: 3, Jitter: 0.1}, {FailureThreshold: 3, MaxRetryAfter: time.Second}, {FailureThreshold: 3, MaxRetryAfter: -1},
	} {
		if _, err := set.Add("github_api", o); err == nil {
			t.Errorf("another configuration was taken for the same: %+v", o)
		}
	}
	if _, err := set.Get("nope"); !errors.Is(err, breaker.ErrNotFound) {
		t.Errorf("Get(nope) = %v, want ErrNotFound", err)
	}
	if m, _ := set.Match("git*"); len(m) != 1 {
		t.Errorf("Match(git*) = %v", m)
	}
	if _, err := set.Match("["); err == nil {
		t.Error("Match([) took it")
	}
}

func TestClosedCallsAllocateNothing(t *testing.T) {
	b := newBreaker(t, breaker.Options{Timeout: -1})
	ctx := context.Background()
	f := func(context.Context) (int, error) { return 1, nil }
	if n := testing.AllocsPerRun(1000, func() { breaker.Do(ctx, b, f) }); n != 0 {
		t.Errorf("a call through a closed breaker allocates %g times", n)
	}
}

func TestTimedCallsAllocateNothing(t *testing.T) {
	b := newBreaker(t, breaker.Options{Timeout: -1, FailureRate: 0.5, SlowRate: 0.5})
	ctx := context.Background()
	f := func(context.Context) (int, error) { return 1, nil }
	if n := testing.AllocsPerRun(1000, func() { breaker.Do(ctx, b, f) }); n != 0 {
		t.Errorf("a timed call allocates %g times", n)
	}
	b.ForceOpen(breaker.Control{})
	if n := testing.AllocsPerRun(1000, func() { breaker.Do(ctx, b, f) }); n != 0 {
		t.Errorf("a rejected call allocates %g times", n)
	}
}

// What callers leave without a lock adds up, whatever the breaker does meanwhile.
func TestCountsAreExact(t *testing.T) {
	for _, o := range []breaker.Options{
		{Timeout: -1, FailureThreshold: 1000},
		{Timeout: -1, FailureThreshold: 1000, SlowRate: 0.9, SlowCall: 10 * time.Millisecond},
		{FailureThreshold: 1000, FailureRate: 1, WindowCalls: 100, MinCalls: 100},
	} {
		b := newBreaker(t, o)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 2000 {
					switch {
					case i == 0 && j%100 == 0:
						b.Snapshot()
						b.Configure(o, breaker.Control{})
					case j%10 == 0:
						call(b, errDown)
					default:
						call(b, nil)
					}
				}
			})
		}
		wg.Wait()
		s := b.Snapshot().Stats
		if s.SuccessfulRequests != 8*1800 || s.FailedRequests != 8*200-20 || s.InFlight.Value() != 0 || s.Window.Calls != s.TotalRequests {
			t.Errorf("%s: %+v, window %+v", b.Options(), s, s.Window)
		}
	}
}

func TestInARow(t *testing.T) {
	for _, timeout := range []time.Duration{-1, time.Second} {
		b := newBreaker(t, breaker.Options{Timeout: timeout})
		for _, err := range []error{nil, nil, nil, errDown, nil, nil} {
			call(b, err)
		}
		if s := b.Snapshot().Stats; s.ConsecutiveSuccesses != 2 || s.ConsecutiveFailures != 0 {
			t.Errorf("%d successes and %d failures in a row, want 2 and 0", s.ConsecutiveSuccesses, s.ConsecutiveFailures)
		}
		fail(t, b, 2)
		if s := b.Snapshot().Stats; s.ConsecutiveSuccesses != 0 || s.ConsecutiveFailures != 2 {
			t.Errorf("%d successes and %d failures in a row, want 0 and 2", s.ConsecutiveSuccesses, s.ConsecutiveFailures)
		}
	}
}

func BenchmarkDo(b *testing.B) {
	br, err := breaker.New("bench", breaker.Options{Timeout: -1})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		breaker.Do(ctx, br, func(context.Context) (int, error) { return 1, nil })
	}
}
