package breaker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

func forceOpen(t *testing.T, b *breaker.Breaker, c breaker.Control) api.State {
	t.Helper()
	previous, err := b.ForceOpen(c)
	if err != nil {
		t.Fatal(err)
	}
	return previous
}

func TestForcedOpenLapsesIntoHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{SuccessThreshold: 1})
		inFlight, err := b.Allow()
		if err != nil {
			t.Fatal(err)
		}
		if previous := forceOpen(t, b, breaker.Control{For: 10 * time.Minute, Actor: "ada", Reason: "maintenance"}); previous != api.StateClosed {
			t.Errorf("previous = %s, want closed", previous)
		}
		pass(9 * time.Minute) // beyond the recovery timeout, which does not count
		if err := call(b, nil); !errors.Is(err, breaker.ErrOpen) {
			t.Errorf("a call while forced open = %v", err)
		}
		s := b.Snapshot()
		if s.Mode != api.ModeForcedOpen || s.Forced == nil || s.Forced.Actor != "ada" || s.Why == nil || s.Why.Rejected != 1 || s.Why.Threshold.Kind != "forced" {
			t.Errorf("snapshot = %+v, forced %+v, why %+v", s, s.Forced, s.Why)
		}
		inFlight.Done(breaker.Success, "")
		pass(time.Minute)
		want(t, b, api.StateHalfOpen)
		if s := b.Snapshot(); s.Mode != api.ModeAutomatic || s.Forced != nil {
			t.Errorf("mode = %s, forced %+v after the deadline", s.Mode, s.Forced)
		}
		if err := call(b, nil); err != nil {
			t.Errorf("the probe = %v", err)
		}
		want(t, b, api.StateClosed)
	})
}

func TestForcedOpenUntilTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{})
		forceOpen(t, b, breaker.Control{})
		pass(1000 * time.Hour)
		want(t, b, api.StateOpen)
		if err := call(b, nil); err == nil || !strings.Contains(err.Error(), "until told otherwise") {
			t.Errorf("the rejection = %v, want it to say until when", err)
		}
		if previous := b.Automatic(breaker.Control{}); previous != api.StateOpen {
			t.Errorf("previous = %s", previous)
		}
		want(t, b, api.StateHalfOpen)
		if _, err := b.ForceOpen(breaker.Control{For: -1}); err == nil {
			t.Error("forced open for less than no time")
		}
	})
}

func TestDisabledLetsFailuresPassAndLapsesIntoClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{FailureThreshold: 2, FailureRate: 0.1, MinCalls: 1})
		if previous, err := b.Disable(breaker.Control{For: time.Minute}); err != nil || previous != api.StateClosed {
			t.Fatal(previous, err)
		}
		b.Reset(api.StateClosed, breaker.Control{})
		if b.Mode() != api.ModeAutomatic {
			t.Errorf("mode = %s after a reset by name, want automatic", b.Mode())
		}
		if _, err := b.Disable(breaker.Control{For: time.Minute}); err != nil {
			t.Fatal(err)
		}
		fail(t, b, 100)
		want(t, b, api.StateClosed)
		old, err := b.Allow()
		if err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		want(t, b, api.StateClosed)
		if s := b.Snapshot(); s.Mode != api.ModeAutomatic || s.Stats.FailedRequests != 100 || s.Stats.ConsecutiveFailures != 0 {
			t.Errorf("snapshot = %+v: want automatic, the failures counted, none in a row", s)
		}
		old.Done(breaker.Failure, "late") // of the disabled time
		want(t, b, api.StateClosed)
		fail(t, b, 1)
		want(t, b, api.StateOpen) // by its rate: MinCalls is 1
	})
}

func TestConfigureWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set breaker.Set
		b, err := set.Add("github_api", breaker.Options{FailureThreshold: 3})
		if err != nil {
			t.Fatal(err)
		}
		fail(t, b, 2)
		if err := b.Configure(breaker.Options{FailureThreshold: -1}, breaker.Control{}); err == nil || !strings.Contains(err.Error(), "github_api") {
			t.Errorf("nonsense = %v", err)
		}
		if err := b.Configure(breaker.Options{FailureThreshold: 4, RecoveryTimeout: time.Second}, breaker.Control{Actor: "ada"}); err != nil {
			t.Fatal(err)
		}
		fail(t, b, 1)
		want(t, b, api.StateClosed)
		fail(t, b, 1)
		want(t, b, api.StateOpen)
		if err := b.Configure(breaker.Options{RecoveryTimeout: time.Hour}, breaker.Control{}); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		want(t, b, api.StateOpen) // it waits as the new settings say
		pass(time.Hour)
		if err := call(b, nil); err != nil { // by its timer: no one asked for the state
			t.Errorf("a call when the new time is over = %v", err)
		}
		want(t, b, api.StateHalfOpen)
		if _, err := set.Add("github_api", breaker.Options{FailureThreshold: 3}); err == nil {
			t.Error("what it was made with is no clash with what it is now")
		}
	})
}

func TestRecoveryBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{FailureThreshold: 1, RecoveryTimeout: time.Second, Backoff: 2, MaxRecovery: 5 * time.Second, SuccessThreshold: 1})
		for _, wait := range []time.Duration{1, 2, 4, 5, 5} {
			fail(t, b, 1)
			pass(wait*time.Second - time.Nanosecond)
			want(t, b, api.StateOpen)
			pass(time.Nanosecond)
			want(t, b, api.StateHalfOpen)
		}
		call(b, nil)
		fail(t, b, 1)
		if s := b.Snapshot(); time.Until(s.RetryAt.Time) != time.Second {
			t.Errorf("after it closed it waits until %v, want a second again", s.RetryAt)
		}
	})
}

func TestJitterOnlyLengthens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := map[time.Duration]bool{}
		for range 100 {
			b := newBreaker(t, breaker.Options{FailureThreshold: 1, RecoveryTimeout: time.Second, Jitter: 0.5})
			fail(t, b, 1)
			wait := time.Until(b.Snapshot().RetryAt.Time)
			if wait < time.Second || wait > 1500*time.Millisecond {
				t.Fatalf("it waits %s, want 1s to 1.5s", wait)
			}
			waits[wait] = true
		}
		if len(waits) < 90 {
			t.Errorf("%d different waits of 100", len(waits))
		}
	})
}

func TestApplyFollowsAnotherReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set breaker.Set
		b, err := set.Add("github_api", breaker.Options{})
		if err != nil {
			t.Fatal(err)
		}
		events := set.Subscribe(t.Context())
		r := breaker.Remote{State: api.StateOpen, Until: time.Now().Add(10 * time.Second), Reason: "5 failures in a row", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736"}
		for i, wantMoved := range []bool{true, false} {
			if moved, err := b.Apply(r); err != nil || moved != wantMoved {
				t.Fatalf("apply %d = %t, %v", i, moved, err)
			}
		}
		if e := <-events; !e.Remote || e.To != api.StateOpen || e.TraceID != r.TraceID || e.Generation == 0 {
			t.Errorf("event = %+v", e)
		}
		pass(10 * time.Second)
		want(t, b, api.StateHalfOpen) // by its own timer
		if e := <-events; e.Remote {
			t.Errorf("its own move is marked as another's: %+v", e)
		}
		if moved, err := b.Apply(breaker.Remote{State: api.StateOpen, Mode: api.ModeForcedOpen, Until: time.Now().Add(time.Minute), Actor: "ada"}); err != nil || !moved {
			t.Fatal(moved, err)
		}
		if s := b.Snapshot(); s.Mode != api.ModeForcedOpen || s.Forced.Actor != "ada" {
			t.Errorf("snapshot = %+v", s)
		}
		pass(time.Minute)
		want(t, b, api.StateHalfOpen)
		if _, err := b.Apply(breaker.Remote{State: "ajar"}); err == nil {
			t.Error("applied a state that there is not")
		}
		if _, err := b.Apply(breaker.Remote{State: api.StateClosed, Until: time.Now().Add(time.Second)}); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		want(t, b, api.StateClosed)
	})
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set breaker.Set
		var all []*breaker.Breaker
		for _, name := range []string{"a", "b"} {
			b, err := set.Add(name, breaker.Options{FailureThreshold: 1})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b)
		}
		ctx, cancel := context.WithCancel(t.Context())
		reader := set.Subscribe(ctx)
		start := time.Now()
		for range 750 {
			for _, b := range all {
				b.Reset(api.StateClosed, breaker.Control{Actor: "ada"})
			}
			pass(time.Second)
		}
		got, err := set.Events(breaker.EventQuery{})
		if err != nil || len(got) != 1000 || got[0].Name != "b" || got[0].Seq != 750 || got[999].Seq != 251 || got[0].Actor != "ada" {
			t.Fatalf("%d events, %v; first %+v", len(got), err, got[0])
		}
		if got, _ := set.Events(breaker.EventQuery{Name: "a*", Limit: 3}); len(got) != 3 || got[2].Name != "a" || got[2].Seq != 748 {
			t.Errorf("events of a = %+v", got)
		}
		if got, _ := set.Events(breaker.EventQuery{Since: start.Add(740 * time.Second)}); len(got) != 20 {
			t.Errorf("%d events since then, want 20", len(got))
		}
		if _, err := set.Events(breaker.EventQuery{Name: "["}); err == nil {
			t.Error("a malformed glob is taken")
		}
		for range 256 {
			if e := <-reader; e.Lost != 0 {
				t.Fatalf("lost %d before %+v", e.Lost, e)
			}
		}
		all[0].Reset(api.StateClosed, breaker.Control{Actor: "ada"})
		if e := <-reader; e.Lost != 1500-256 {
			t.Errorf("a slow reader is told that it lost %d, want %d", e.Lost, 1500-256)
		}
		cancel()
		synctest.Wait()
		if _, open := <-reader; open {
			t.Error("the stream goes on after its context")
		}
		if !set.Remove("a") || set.Remove("a") {
			t.Error("Remove does not tell whether there was one")
		}
	})
}

// A listener that hangs costs at most 256 events of memory, and learns what it lost.
func TestOnEventIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var told, lost int
		b := newBreaker(t, breaker.Options{OnEvent: func(e breaker.Event) {
			<-release
			told, lost = told+1, lost+e.Lost
		}})
		for range 1000 {
			b.Reset(api.StateClosed, breaker.Control{Actor: "ada"})
		}
		close(release)
		synctest.Wait()
		b.Reset(api.StateClosed, breaker.Control{Actor: "ada"})
		synctest.Wait()
		if told+lost != 1001 || told > 258 {
			t.Errorf("told of %d events, lost %d; want 1001 in all", told, lost)
		}
	})
}
