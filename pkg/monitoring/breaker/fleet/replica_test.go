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
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

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
