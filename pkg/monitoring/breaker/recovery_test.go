package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// B5: a permit that is never given back does not stick the breaker half-open.
func TestLostProbe(t *testing.T) {
	for _, tt := range []struct {
		name    string
		timeout time.Duration
		after   time.Duration
	}{{"with a call timeout", 10 * time.Second, 12 * time.Second}, {"without", -1, 5*time.Minute + 30*time.Second}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBreaker(t, breaker.Options{FailureThreshold: 1, SuccessThreshold: 1, Timeout: tt.timeout})
				fail(t, b, 1)
				pass(time.Minute)
				lost, err := b.Allow()
				if err != nil {
					t.Fatal(err)
				}
				pass(tt.after)
				want(t, b, api.StateOpen)
				if s := b.Snapshot(); s.Stats.Timeouts != 1 || s.Stats.InFlight.Value() != 0 || s.LastError != "the probe never ended" {
					t.Errorf("snapshot = %+v, want the lost probe as a timeout", s)
				}
				pass(time.Minute)
				lost.Done(breaker.Success, "") // at last; no one waits for it
				want(t, b, api.StateHalfOpen)
				if err := call(b, nil); err != nil {
					t.Errorf("the next probe = %v", err)
				}
				want(t, b, api.StateClosed)
			})
		})
	}
}

// B3: results that began before the state they meet do not open it by their
// rate either, nor do those of the same second.
func TestOldResultsDoNotCountInTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{
			FailureRate: 0.5, MinCalls: 10, FailureThreshold: 1000, SuccessThreshold: 1, RecoveryTimeout: 10 * time.Millisecond,
		})
		var old []breaker.Permit
		for range 20 {
			p, err := b.Allow()
			if err != nil {
				t.Fatal(err)
			}
			old = append(old, p)
		}
		fail(t, b, 10)
		want(t, b, api.StateOpen)
		pass(10 * time.Millisecond)
		call(b, nil)
		want(t, b, api.StateClosed)
		for _, p := range old {
			p.Done(breaker.Failure, "late")
		}
		fail(t, b, 1)
		want(t, b, api.StateClosed)
		if w := b.Snapshot().Stats.Window; w.Failures != 31 {
			t.Errorf("failures shown = %d, want all 31", w.Failures)
		}
	})
}

func TestResetForgetsCallsInFlight(t *testing.T) {
	b := newBreaker(t, breaker.Options{FailureThreshold: 2})
	var old []breaker.Permit
	for range 5 {
		p, err := b.Allow()
		if err != nil {
			t.Fatal(err)
		}
		old = append(old, p)
	}
	b.Reset(api.StateClosed, breaker.Control{})
	for _, p := range old {
		p.Done(breaker.Failure, "late")
	}
	want(t, b, api.StateClosed)
	if s := b.Snapshot().Stats; s.InFlight.Value() != 0 || s.FailedRequests != 5 {
		t.Errorf("stats = %+v, want the five failures, none in flight", s)
	}
	fail(t, b, 2)
	want(t, b, api.StateOpen)
}

func TestResetWhileCallsRun(t *testing.T) {
	b := newBreaker(t, breaker.Options{FailureThreshold: 1, RecoveryTimeout: time.Nanosecond})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 500 {
				if i == 0 {
					b.Reset(api.StateClosed, breaker.Control{})
					b.Snapshot()
					continue
				}
				call(b, map[bool]error{true: errDown}[i%2 == 0])
			}
		})
	}
	wg.Wait()
	if n := b.Snapshot().Stats.InFlight.Value(); n != 0 {
		t.Errorf("%d in flight after all have ended", n)
	}
}

// B5, B6: a deadline counts whosever it is, a caller who leaves does not.
func TestCallersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{FailureThreshold: 3})
		hang := func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, fmt.Errorf("get: %w", ctx.Err()) }
		for range 3 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			breaker.Do(ctx, b, hang)
			breaker.Do(ctx, b, hang) // whose time was over before it began: says nothing
			cancel()
		}
		want(t, b, api.StateOpen)
		if got := b.Sample().Calls; got["timeout"] != 3 || got["ignored"] != 2 {
			t.Errorf("calls = %v, want 3 timeouts and 2 ignored", got)
		}
	})
}

func TestEveryCallHasAnOutcome(t *testing.T) {
	b := newBreaker(t, breaker.Options{Classify: func(err error) breaker.Outcome {
		if err != nil && err.Error() == "panic" {
			panic("in Classify")
		}
		return breaker.Outcome(42)
	}})
	call(b, errDown)
	func() {
		defer func() { _ = recover() }()
		call(b, errors.New("panic"))
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		breaker.Do(context.Background(), b, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
	}()
	<-done
	if s := b.Snapshot().Stats; s.FailedRequests != 3 || s.InFlight.Value() != 0 {
		t.Errorf("stats = %+v, want three failures, none in flight", s)
	}
}

func TestLastErrorHoldsNoSecret(t *testing.T) {
	b := newBreaker(t, breaker.Options{})
	call(b, fmt.Errorf("fetch: %w", &url.Error{Op: "Get", URL: "https://user:hunter2@api.example.com/v1/x?api_key=s3cret", Err: errDown}))
	got := b.Snapshot().LastError
	if strings.Contains(got, "s3cret") || strings.Contains(got, "hunter2") || !strings.Contains(got, "https://api.example.com/v1/x") || !strings.Contains(got, errDown.Error()) {
		t.Errorf("last error = %q, want it without user and query", got)
	}
}

// B4: exactly one probe, across threads, also while stale calls return.
func TestExactlyOneProbeAcrossThreads(t *testing.T) {
	for range 200 {
		b := newBreaker(t, breaker.Options{FailureThreshold: 1, SuccessThreshold: 100, RecoveryTimeout: time.Nanosecond})
		var stale []breaker.Permit
		for range 4 {
			p, err := b.Allow()
			if err != nil {
				t.Fatal(err)
			}
			stale = append(stale, p)
		}
		fail(t, b, 1)
		want(t, b, api.StateHalfOpen)
		start := make(chan struct{})
		probes := make(chan breaker.Permit, 16)
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				<-start
				if i < len(stale) {
					stale[i].Done(breaker.Success, "")
				}
				if p, err := b.Allow(); err == nil {
					probes <- p
				}
			})
		}
		close(start)
		wg.Wait()
		if n := len(probes); n != 1 {
			t.Fatalf("%d probes at once, want exactly one", n)
		}
	}
}
