package breaker_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

func TestRateOfTheLastCalls(t *testing.T) {
	b := newBreaker(t, breaker.Options{FailureThreshold: 100, FailureRate: 0.5, WindowCalls: 10, MinCalls: 10, Timeout: -1})
	for i := range 9 {
		call(b, map[bool]error{true: errDown}[i >= 4])
	}
	want(t, b, api.StateClosed) // 5 of 9: not enough calls yet
	call(b, nil)
	want(t, b, api.StateOpen) // 5 of 10
	if w := b.Snapshot().Why; w.Threshold.Kind != "failure_rate" || w.Threshold.Value != 0.5 || w.Threshold.Calls != 10 || w.Threshold.Over != "the last 10 calls" {
		t.Errorf("why = %+v, threshold %+v", w, w.Threshold)
	}
	b.Reset(api.StateClosed, breaker.Control{})
	for range 10 {
		call(b, nil)
	}
	fail(t, b, 4)
	want(t, b, api.StateClosed)
	fail(t, b, 1)
	want(t, b, api.StateOpen)
}

func TestSlowCallsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{SlowRate: 0.5, SlowCall: time.Second, MinCalls: 4, SuccessThreshold: 1})
		take := func(d time.Duration) {
			breaker.Do(t.Context(), b, func(context.Context) (int, error) { time.Sleep(d); return 0, nil })
		}
		take(time.Second)
		take(0)
		take(0)
		want(t, b, api.StateClosed)
		take(time.Second)
		want(t, b, api.StateOpen)
		if w := b.Snapshot().Why.Threshold; w.Kind != "slow_rate" || w.Slow != 2 || w.Calls != 4 {
			t.Errorf("threshold = %+v", w)
		}
		pass(time.Minute)
		take(time.Second) // a slow probe is no recovery
		want(t, b, api.StateOpen)
		pass(time.Minute)
		take(0)
		want(t, b, api.StateClosed)
	})
}

// A dependency that hangs is noticed before its first call returns.
func TestSlowCallsInFlightOpen(t *testing.T) {
	for _, slow := range []time.Duration{100 * time.Millisecond, time.Second, 30 * time.Second} {
		t.Run(slow.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBreaker(t, breaker.Options{SlowRate: 0.5, SlowCall: slow, MinCalls: 10, Timeout: -1})
				release := make(chan struct{})
				var wg sync.WaitGroup
				for range 10 {
					wg.Go(func() {
						breaker.Do(t.Context(), b, func(context.Context) (int, error) { <-release; return 0, nil })
					})
				}
				pass(slow)
				want(t, b, api.StateClosed)
				pass(slow / 2)
				want(t, b, api.StateOpen)
				if w := b.Snapshot().Why.Threshold; w.InFlight != 10 || w.Value != 1 {
					t.Errorf("threshold = %+v", w)
				}
				pass(20 * slow) // far beyond the epochs that are told apart
				close(release)
				wg.Wait()
				if s := b.Snapshot().Stats; s.InFlight.Value() != 0 || s.SlowCalls.Value() != 10 || s.SuccessfulRequests != 10 {
					t.Errorf("stats = %+v, want ten slow successes, none in flight", s)
				}
			})
		})
	}
}

// Quick calls in great number are never taken for slow ones.
func TestQuickCallsAreNotSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{SlowRate: 0.01, SlowCall: time.Second, MinCalls: 1, Timeout: -1})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 200 {
					breaker.Do(t.Context(), b, func(context.Context) (int, error) { time.Sleep(999 * time.Millisecond); return 0, nil })
				}
			})
		}
		wg.Wait()
		want(t, b, api.StateClosed)
		if s := b.Snapshot().Stats; s.SuccessfulRequests != 4000 || s.InFlight.Value() != 0 || s.SlowCalls.Value() != 0 {
			t.Errorf("stats = %+v", s)
		}
	})
}

// A rate that is crossed by a success is seen at the next tick.
func TestRateIsJudgedWithoutAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{FailureThreshold: 100, FailureRate: 0.5, MinCalls: 10, Timeout: -1})
		fail(t, b, 9)
		call(b, nil)
		pass(1100 * time.Millisecond)
		want(t, b, api.StateOpen)
	})
}

func TestWindowOfItsOwnWidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{FailureThreshold: 100, FailureRate: 0.5, MinCalls: 10, Window: 5 * time.Minute})
		fail(t, b, 9)
		pass(4 * time.Minute)
		fail(t, b, 1)
		want(t, b, api.StateOpen)
		pass(6 * time.Minute)
		if w := b.Snapshot().Stats.Window; w.Seconds.Duration() != 5*time.Minute || w.Calls != 0 || len(w.FailuresPerSecond) != 60 {
			t.Errorf("window = %+v", w)
		}
	})
}

func TestWhy(t *testing.T) {
	b := newBreaker(t, breaker.Options{FailureThreshold: 3})
	id, span := trace.TraceID{0x4b, 0xf9}, trace.SpanID{1}
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span}))
	for _, err := range []error{breaker.StatusError{Status: 503}, context.DeadlineExceeded, breaker.StatusError{Status: 503}} {
		breaker.Do(ctx, b, func(context.Context) (int, error) { return 0, err })
	}
	for range 7 {
		call(b, nil)
	}
	s := b.Snapshot()
	w := s.Why
	if w == nil || w.TraceID != id.String() || w.Rejected != 7 || w.OpenedAt.IsZero() || w.Threshold.Kind != "failures_in_row" || w.Threshold.Limit != 3 || w.Threshold.Value != 3 {
		t.Fatalf("why = %+v", w)
	}
	if len(s.Errors) != 2 || s.Errors[0].Kind != "http_503" || s.Errors[0].Count != 2 || s.Errors[1].Kind != "timeout" {
		t.Errorf("errors = %+v", s.Errors)
	}
	for i := range 20 {
		breaker.Do(ctx, newOpenable(t, b), func(context.Context) (int, error) { return 0, breaker.StatusError{Status: 500 + i} })
	}
	if n := len(b.Snapshot().Errors); n > 8 {
		t.Errorf("%d kinds of errors are kept, want 8 at most", n)
	}
}

// newOpenable closes b, so that a call goes through.
func newOpenable(t *testing.T, b *breaker.Breaker) *breaker.Breaker {
	t.Helper()
	b.Reset(api.StateClosed, breaker.Control{})
	return b
}

func TestSeveralProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{FailureThreshold: 1, Probes: 3, SuccessThreshold: 5})
		fail(t, b, 1)
		pass(time.Minute)
		var out []breaker.Permit
		for range 10 {
			if p, err := b.Allow(); err == nil {
				out = append(out, p)
			}
		}
		if len(out) != 3 {
			t.Fatalf("%d probes at once, want 3", len(out))
		}
		for _, p := range out {
			if !p.Done(breaker.Success, "") || p.Done(breaker.Success, "") {
				t.Error("Done does not tell the first time from the second")
			}
		}
		want(t, b, api.StateHalfOpen)
		call(b, nil)
		call(b, nil)
		want(t, b, api.StateClosed)
	})
}

func TestFallback(t *testing.T) {
	b := newBreaker(t, breaker.Options{FailureThreshold: 1})
	ask := func() (string, error) {
		return breaker.DoOr(t.Context(), b, func(context.Context) (string, error) { return "", errDown },
			func(_ context.Context, err error) (string, error) { return "cached, for " + err.Error(), nil })
	}
	if got, err := ask(); err != nil || got != "cached, for 502 Bad Gateway" {
		t.Errorf("a failed call = %q, %v", got, err)
	}
	if got, err := ask(); err != nil || !strings.Contains(got, "is open") {
		t.Errorf("a rejected call = %q, %v", got, err)
	}
}

func TestDetached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{Timeout: time.Second})
		start := time.Now()
		hang := func(context.Context) (int, error) { time.Sleep(time.Hour); return 1, nil }
		if _, err := breaker.DoDetached(t.Context(), b, hang); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("a call that hangs = %v after %s", err, time.Since(start))
		}
		if v, err := breaker.DoDetached(t.Context(), b, func(context.Context) (int, error) { return 7, nil }); v != 7 || err != nil {
			t.Errorf("a quick one = %d, %v", v, err)
		}
		func() {
			defer func() {
				if recover() != "boom" {
					t.Error("the panic did not reach the caller")
				}
			}()
			breaker.DoDetached(t.Context(), b, func(context.Context) (int, error) { panic("boom") })
		}()
		if s := b.Snapshot().Stats; s.Timeouts != 1 || s.SuccessfulRequests != 1 || s.FailedRequests != 2 || s.InFlight.Value() != 0 {
			t.Errorf("stats = %+v", s)
		}
		time.Sleep(time.Hour) // the leaked one ends
	})
}
