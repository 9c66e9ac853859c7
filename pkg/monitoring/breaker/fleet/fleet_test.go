package fleet_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker/fleet"
	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(replicaOf); addr != "" {
		follower(addr)
		return
	}
	goleak.VerifyTestMain(m)
}

// replica is one process's breakers and its part in a fleet.
type replica struct {
	*breaker.Set
	*fleet.Fleet
	t    testing.TB
	stop context.CancelFunc
	done chan struct{}
	log  *lockedBuffer
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func connectTo(addr string) func() (redis.UniversalClient, error) {
	return func() (redis.UniversalClient, error) {
		return cache.NewClient(cache.RedisOptions{URL: "redis://" + addr + "/0", Timeout: 400 * time.Millisecond})
	}
}

// start starts a replica with a breaker of each name. It ends with the test.
func start(t testing.TB, o fleet.Options, names ...string) *replica {
	t.Helper()
	r := &replica{Set: new(breaker.Set), t: t, done: make(chan struct{}), log: new(lockedBuffer)}
	for _, name := range names {
		r.add(name)
	}
	o.Breakers, o.Log = r.Set, slog.New(slog.NewTextHandler(r.log, nil))
	if o.Fleet == "" {
		o.Fleet = "test"
	}
	if o.Timeout == 0 {
		o.Timeout = 400 * time.Millisecond
	}
	var err error
	if r.Fleet, err = fleet.New(o); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() {
		defer close(r.done)
		if err := r.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	t.Cleanup(r.end)
	return r
}

func (r *replica) end() {
	r.stop()
	<-r.done
}

func (r *replica) add(name string) *breaker.Breaker {
	r.t.Helper()
	b, err := r.Add(name, breaker.Options{FailureThreshold: 3, SuccessThreshold: 1, RecoveryTimeout: 20 * time.Second})
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func (r *replica) get(name string) *breaker.Breaker {
	r.t.Helper()
	b, err := r.Get(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// fail makes so many calls that fail.
func (r *replica) fail(name string, n int) {
	for range n {
		if p, err := r.get(name).Allow(); err == nil {
			p.Done(breaker.Failure, "502 Bad Gateway")
		}
	}
}

// open opens a breaker by failures.
func (r *replica) open(name string) { r.fail(name, 3) }

func (r *replica) reaches(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			now := ""
			for _, b := range r.Set.Snapshot() {
				now += fmt.Sprintf(" %s=%s/%s", b.Name, b.State, b.Mode)
			}
			r.t.Fatalf("not within 10s: %s; now %+v,%.2000s\n%s", what, r.Status(), now, r.log)
		}
	}
}

func (r *replica) is(name string, want api.State) {
	r.t.Helper()
	r.reaches(name+" "+string(want), func() bool { return r.get(name).State() == want })
}

func (r *replica) shares() {
	r.t.Helper()
	r.reaches("shared", func() bool { return r.Status().Shared })
}

func (r *replica) local() {
	r.t.Helper()
	r.reaches("local", func() bool { return !r.Status().Shared })
}

// several starts replicas a, b, c … that share breakers of these names.
func several(t testing.TB, n int, connect func() (redis.UniversalClient, error), names ...string) []*replica {
	t.Helper()
	var all []*replica
	for i := range n {
		all = append(all, start(t, fleet.Options{Connect: connect, Name: string(rune('a' + i))}, names...))
	}
	for _, r := range all {
		r.shares()
	}
	return all
}

func client(t testing.TB, addr string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: addr, DisableIdentity: true})
	t.Cleanup(func() { c.Close() })
	return c
}

// proxy is a way to Redis that can be cut for one replica alone.
type proxy struct {
	t     testing.TB
	l     net.Listener
	to    string
	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]bool
}

func newProxy(t testing.TB, to string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, l: l, to: to, conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.carry(c) })
		}
	})
	t.Cleanup(func() {
		p.cut()
		l.Close()
		wg.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.l.Addr().String() }

func (p *proxy) carry(c net.Conn) {
	defer c.Close()
	up, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer up.Close()
	p.mu.Lock()
	if p.shut {
		p.mu.Unlock()
		return
	}
	p.conns[c], p.conns[up] = true, true
	p.mu.Unlock()
	go func() {
		io.Copy(up, c) // ends as either end does
		up.Close()
	}()
	io.Copy(c, up)
	p.mu.Lock()
	delete(p.conns, c)
	delete(p.conns, up)
	p.mu.Unlock()
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = true
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = false
}

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

// settled waits until nothing has been told for a while.
func settled(t testing.TB, r []*replica) {
	t.Helper()
	var last []fleet.Status
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		var now []fleet.Status
		for _, x := range r {
			now = append(now, x.Status())
		}
		if slices.Equal(now, last) {
			return
		}
		if last = now; time.Now().After(end) {
			t.Fatalf("moves go round: %+v", now)
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
