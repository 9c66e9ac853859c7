package breaker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// What another replica did is applied to the state that it was meant for alone.
func TestApplyToAGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := new(breaker.Set)
		b, err := set.Add("api", breaker.Options{FailureThreshold: 2})
		if err != nil {
			t.Fatal(err)
		}
		known := b.Latest()
		if known.Generation == 0 || known.To != api.StateClosed || known.Mode != api.ModeAutomatic {
			t.Errorf("a new breaker: %+v", known)
		}
		b.ForceOpen(breaker.Control{Actor: "ops", For: time.Minute})
		if moved, err := b.Apply(breaker.Remote{State: api.StateClosed, Generation: known.Generation}); moved || err != nil {
			t.Errorf("applied to a state that is over: %t, %v", moved, err)
		}
		now := b.Latest()
		if now.Generation == known.Generation || !now.Ordered || now.Remote || now.Actor != "ops" || now.Mode != api.ModeForcedOpen || time.Until(now.Until) != time.Minute {
			t.Errorf("forced open: %+v", now)
		}
		if moved, _ := b.Apply(breaker.Remote{State: api.StateClosed, Generation: now.Generation}); !moved || b.State() != api.StateClosed {
			t.Error("not applied to the state that it was meant for")
		}
		if e := b.Latest(); !e.Remote || e.Ordered {
			t.Errorf("applied: %+v", e)
		}
	})
}

// A reset elsewhere forgets what a closed breaker had counted.
func TestApplyReset(t *testing.T) {
	set := new(breaker.Set)
	b, err := set.Add("api", breaker.Options{FailureThreshold: 2})
	if err != nil {
		t.Fatal(err)
	}
	fail := func() {
		p, err := b.Allow()
		if err != nil {
			t.Fatal(err)
		}
		p.Done(breaker.Failure, "502")
	}
	fail()
	if moved, _ := b.Apply(breaker.Remote{State: api.StateClosed}); moved {
		t.Error("a closed breaker moved to closed")
	}
	if moved, _ := b.Apply(breaker.Remote{State: api.StateClosed, Reset: true}); !moved {
		t.Error("the reset was not applied")
	}
	if fail(); b.State() != api.StateClosed {
		t.Error("it remembers the failure before the reset")
	}
	events := set.Subscribe(t.Context())
	b.Reset(api.StateClosed, breaker.Control{})
	if e := <-events; !e.Reset || !e.Ordered || e.From != e.To {
		t.Errorf("the reset of a closed breaker: %+v", e)
	}
}

// To wait for another's probe keeps why the breaker opened.
func TestApplyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := breaker.New("api", breaker.Options{FailureThreshold: 1, RecoveryTimeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		p, err := b.Allow()
		if err != nil {
			t.Fatal(err)
		}
		p.Done(breaker.Failure, "502")
		before := b.Snapshot()
		for _, state := range []api.State{api.StateOpen, api.StateHalfOpen} { // that it is in when it is told
			if b.State() != state {
				t.Fatalf("it is %s, want %s", b.State(), state)
			}
			if moved, err := b.Apply(breaker.Remote{State: api.StateOpen, Wait: true, Until: time.Now().Add(10 * time.Second), Reason: "web-1 probes"}); !moved || err != nil {
				t.Fatal(moved, err)
			}
			s := b.Snapshot()
			if s.State != api.StateOpen || s.Why.Reason != before.Why.Reason || time.Until(s.RetryAt.Time) != 10*time.Second || s.Stats.LastFailureTime != before.Stats.LastFailureTime {
				t.Errorf("%s, it waits: %+v, why %+v", state, s, s.Why)
			}
			time.Sleep(9 * time.Second)
			if _, err := b.Allow(); err == nil {
				t.Error("it let a call through while another probes")
			}
			time.Sleep(time.Second)
		}
		if b.State() != api.StateHalfOpen {
			t.Errorf("after the wait it is %s", b.State())
		}
	})
}

func TestSetTellsOfNewBreakersAndItsScope(t *testing.T) {
	set := new(breaker.Set)
	var told []string
	set.OnAdd(func(b *breaker.Breaker) {
		told = append(told, b.Name())
		set.SetScope(breaker.Scope{Name: api.ScopeShared}) // no lock is held
	})
	for range 2 {
		if _, err := set.Add("api", breaker.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	set.OnAdd(nil)
	b, err := set.Add("other", breaker.Options{})
	if err != nil || len(told) != 1 || told[0] != "api" {
		t.Errorf("told of %v, %v", told, err)
	}
	if s := b.Snapshot(); s.Scope != api.ScopeShared {
		t.Errorf("scope %q", s.Scope)
	}
	set.SetScope(breaker.Scope{Name: api.ScopeLocal, Note: "no Redis"})
	if s := b.Snapshot(); s.Scope != api.ScopeLocal || s.ScopeNote != "no Redis" {
		t.Errorf("scope %q, %q", s.Scope, s.ScopeNote)
	}
}
