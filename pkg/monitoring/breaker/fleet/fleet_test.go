package fleet_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker/fleet"
)

func TestOpenAndCloseReachEveryReplica(t *testing.T) {
	t.Parallel()
	r := several(t, 3, connectTo(testkit.Redis(t).Addr()), "api", "other")
	r[0].open("api")
	here := r[0].get("api").Snapshot()
	for _, x := range r[1:] {
		x.is("api", api.StateOpen)
		s := x.get("api").Snapshot()
		if wait := s.RetryAt.Sub(here.RetryAt.Time); wait < 100*time.Millisecond || wait > 1500*time.Millisecond {
			t.Errorf("retry at %v, the one that opened at %v: want a little later", s.RetryAt, here.RetryAt)
		}
		if s.Scope != api.ScopeShared || s.ScopeNote != "" || s.Why.Reason != "a: 3 failures in a row: 502 Bad Gateway" || s.Why.Threshold.Kind != "remote" {
			t.Errorf("snapshot: %+v, why %+v", s, s.Why)
		}
		if st := x.get("other").State(); st != api.StateClosed {
			t.Errorf("other is %s", st)
		}
	}
	r[2].get("api").Reset(api.StateClosed, breaker.Control{Actor: "ops"})
	for _, x := range r {
		x.is("api", api.StateClosed)
	}
	events, _ := r[1].Events(breaker.EventQuery{Name: "api", Limit: 1})
	if e := events[0]; !e.Remote || e.Actor != "ops" || e.Reason != "c: reset" {
		t.Errorf("the reset, elsewhere: %+v", e)
	}
}

// Nothing comes back to the one that sent it, and once nobody moves any more all
// replicas are the same.
func TestReplicasAgreeAfterAStorm(t *testing.T) {
	t.Parallel()
	const n, names = 4, 20
	var all []string
	for i := range names {
		all = append(all, fmt.Sprintf("dep%d", i))
	}
	r := several(t, n, connectTo(testkit.Redis(t).Addr()), all...)
	var wg sync.WaitGroup
	for i, x := range r {
		wg.Go(func() {
			for k := range 600 {
				name := all[(k*7+i*3)%names]
				switch (k + i) % 5 {
				case 0:
					x.get(name).Reset(api.StateClosed, breaker.Control{})
				case 1:
					x.get(name).ForceOpen(breaker.Control{Actor: "ops"})
				case 2:
					x.get(name).Automatic(breaker.Control{})
				default:
					x.open(name)
				}
				time.Sleep(200 * time.Microsecond)
			}
		})
	}
	wg.Wait()
	settled(t, r)
	moves := int64(0)
	for _, x := range r {
		moves += x.Status().Sent
		for _, name := range all {
			if got, want := x.get(name).Latest(), r[0].get(name).Latest(); got.To != want.To && (got.To == api.StateClosed || want.To == api.StateClosed) || got.Mode != want.Mode {
				t.Errorf("%s is %s, %s here and %s, %s there", name, got.To, got.Mode, want.To, want.Mode)
			}
		}
	}
	for _, x := range r {
		if s := x.Status(); s.Sent+s.Received != moves || s.Sent == 0 || s.Ignored != 0 {
			t.Errorf("of %d moves one has sent %d and received %d", moves, s.Sent, s.Received)
		}
	}
}

func TestLateStartLearnsTheState(t *testing.T) {
	t.Parallel()
	connect := connectTo(testkit.Redis(t).Addr())
	a := several(t, 1, connect, "api", "forced", "off")[0]
	a.open("api")
	a.get("forced").ForceOpen(breaker.Control{For: time.Hour, Actor: "ops", Reason: "maintenance"})
	a.get("off").Disable(breaker.Control{Actor: "ops"})
	a.reaches("three moves told", func() bool { return a.Status().Sent == 3 })
	b := start(t, fleet.Options{Connect: connect, Name: "b"}, "api")
	b.is("api", api.StateOpen)
	b.add("forced") // later still: it is so before its first call
	if s := b.get("forced").Snapshot(); s.Mode != api.ModeForcedOpen || s.Forced.Actor != "ops" || time.Until(s.Forced.Until.Time) < 59*time.Minute {
		t.Errorf("a breaker made later: %+v, forced %+v", s, s.Forced)
	}
	b.add("off")
	if s := b.get("off").Snapshot(); s.Mode != api.ModeDisabled || !s.Forced.Until.IsZero() {
		t.Errorf("disabled for ever: %+v", s.Forced)
	}
	b.get("forced").Automatic(breaker.Control{})
	a.reaches("automatic", func() bool { return a.get("forced").Mode() == api.ModeAutomatic })
}

func TestResetAllResetsEveryReplica(t *testing.T) {
	t.Parallel()
	names := []string{"one", "two", "three", "four"}
	r := several(t, 3, connectTo(testkit.Redis(t).Addr()), names...)
	r[0].open("one")
	r[1].get("two").ForceOpen(breaker.Control{})
	r[2].fail("three", 2) // closed, and one failure from open
	for _, x := range r {
		x.is("one", api.StateOpen)
		x.is("two", api.StateOpen)
	}
	for _, name := range names {
		r[1].get(name).Reset(api.StateClosed, breaker.Control{})
	}
	for _, x := range r {
		for _, name := range names {
			x.is(name, api.StateClosed)
		}
	}
	r[2].reaches("its failures in a row are forgotten", func() bool {
		return r[2].get("three").Snapshot().Stats.ConsecutiveFailures == 0
	})
	r[2].fail("three", 1)
	if st := r[2].get("three").State(); st != api.StateClosed {
		t.Errorf("after a reset elsewhere and one failure it is %s", st)
	}
}

// One replica probes; the others wait, and do as it does.
func TestOneReplicaProbes(t *testing.T) {
	t.Parallel()
	connect := connectTo(testkit.Redis(t).Addr())
	var r []*replica
	for i := range 3 {
		x := start(t, fleet.Options{Connect: connect, Name: string(rune('a' + i))})
		if _, err := x.Add("api", breaker.Options{FailureThreshold: 3, SuccessThreshold: 1, RecoveryTimeout: 300 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		x.shares()
		r = append(r, x)
	}
	r[1].open("api")
	r[1].is("api", api.StateHalfOpen)
	for end := time.Now().Add(800 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, i := range []int{0, 2} {
			if st := r[i].get("api").State(); st != api.StateOpen {
				t.Fatalf("replica %d is %s while another probes", i, st)
			}
		}
	}
	if s := r[0].get("api").Snapshot(); s.Why.Reason != "b: 3 failures in a row: 502 Bad Gateway" {
		t.Errorf("why it is open is lost while another probes: %+v", s.Why)
	}
	r[1].fail("api", 1) // the probe
	r[1].is("api", api.StateOpen)
	r[1].is("api", api.StateHalfOpen)
	p, err := r[1].get("api").Allow()
	if err != nil {
		t.Fatal(err)
	}
	p.Done(breaker.Success, "")
	for _, x := range r {
		x.is("api", api.StateClosed)
	}
	r[1].open("api")
	r[0].is("api", api.StateOpen)
	r[1].end() // without its probing another takes over
	r[1].get("api")
	for end := time.Now().Add(10 * time.Second); r[0].get("api").State() != api.StateHalfOpen && r[2].get("api").State() != api.StateHalfOpen; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody probes in place of the one that has gone")
		}
	}
}

func TestForcedStateEndsEverywhere(t *testing.T) {
	t.Parallel()
	r := several(t, 2, connectTo(testkit.Redis(t).Addr()), "api", "off")
	r[0].get("api").ForceOpen(breaker.Control{For: 400 * time.Millisecond, Actor: "ops", Reason: "switch-over"})
	r[0].get("off").Disable(breaker.Control{For: 400 * time.Millisecond, Actor: "ops"})
	r[1].reaches("forced", func() bool {
		s := r[1].get("api").Snapshot()
		return s.Mode == api.ModeForcedOpen && s.Forced.Actor == "ops" && s.Forced.Reason == "a: forced open: switch-over" && r[1].get("off").Mode() == api.ModeDisabled
	})
	r[0].is("api", api.StateHalfOpen)
	r[1].reaches("open by itself while another probes", func() bool {
		b := r[1].get("api")
		return b.Mode() == api.ModeAutomatic && b.State() == api.StateOpen
	})
	for _, x := range r {
		x.reaches("automatic", func() bool { return x.get("off").Mode() == api.ModeAutomatic })
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	good := fleet.Options{Breakers: new(breaker.Set), Connect: connectTo("127.0.0.1:1"), Fleet: "x"}
	for want, spoil := range map[string]func(*fleet.Options){
		"it needs breakers": func(o *fleet.Options) { o.Breakers = nil },
		"a way to connect":  func(o *fleet.Options) { o.Connect = nil },
		"has no name":       func(o *fleet.Options) { o.Fleet = "" },
		"want more than 0s": func(o *fleet.Options) { o.Timeout = -1 },
		"want 100 or more":  func(o *fleet.Options) { o.MaxLog = 1 },
	} {
		o := good
		spoil(&o)
		if _, err := fleet.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
