package fleet_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker/fleet"
)

func TestRedisIsKilledAndComesBackEmpty(t *testing.T) {
	t.Parallel()
	server := testkit.Redis(t)
	r := several(t, 2, connectTo(server.Addr()), "before", "during")
	r[0].open("before")
	r[1].is("before", api.StateOpen)
	server.Kill()
	for _, x := range r {
		x.local()
		if s := x.get("before").Snapshot(); s.Scope != api.ScopeLocal || !strings.Contains(s.ScopeNote, "decides alone") {
			t.Errorf("scope %q, note %q", s.Scope, s.ScopeNote)
		}
	}
	r[0].open("during")
	r[1].get("during").Snapshot()
	if st := r[1].get("during").State(); st != api.StateClosed {
		t.Errorf("without Redis another replica's breaker is %s", st)
	}
	time.Sleep(600 * time.Millisecond) // some attempts
	server.Restart()
	for _, x := range r {
		x.shares()
		x.is("before", api.StateOpen)
		x.is("during", api.StateOpen)
		if n := strings.Count(x.log.String(), "circuit breakers are local"); n != 1 {
			t.Errorf("one outage is logged %d times:\n%s", n, x.log)
		}
	}
	late := start(t, fleet.Options{Connect: connectTo(server.Addr())}, "before", "during")
	late.is("before", api.StateOpen)
	late.is("during", api.StateOpen)
}

func TestRedisHangs(t *testing.T) {
	t.Parallel()
	server := testkit.Redis(t)
	r := several(t, 2, connectTo(server.Addr()), "api")
	server.Stop()
	begun := time.Now()
	r[0].open("api")
	if took := time.Since(begun); took > 100*time.Millisecond {
		t.Errorf("to open took %v while Redis hangs", took)
	}
	r[0].local()
	r[1].local()
	server.Cont()
	r[1].is("api", api.StateOpen)
	r[0].shares()
	r[1].shares()
}

func TestFlushHeals(t *testing.T) {
	t.Parallel()
	server := testkit.Redis(t)
	r := several(t, 3, connectTo(server.Addr()), "api", "forced", "fine")
	r[0].open("api")
	r[1].get("forced").ForceOpen(breaker.Control{For: time.Hour, Actor: "ops"})
	r[2].is("api", api.StateOpen)
	r[2].is("forced", api.StateOpen)
	c := client(t, server.Addr())
	c.FlushAll(context.Background())
	r[2].reaches("both are told again", func() bool { return c.HLen(context.Background(), "{test}:table").Val() == 4 })
	late := start(t, fleet.Options{Connect: connectTo(server.Addr())}, "api", "forced", "fine")
	late.is("api", api.StateOpen)
	late.reaches("forced", func() bool {
		s := late.get("forced").Snapshot()
		return s.Mode == api.ModeForcedOpen && s.Forced.Actor == "ops" && time.Until(s.Forced.Until.Time) > 59*time.Minute
	})
	late.get("api").Reset(api.StateClosed, breaker.Control{})
	for _, x := range r {
		x.is("api", api.StateClosed)
		if st := x.get("fine").State(); st != api.StateClosed {
			t.Errorf("fine is %s", st)
		}
	}
	settled(t, r)
}

// What the fleet did while a replica was away counts; what the replica did
// alone counts where the fleet did nothing; its operator's orders arrive.
func TestOneReplicaIsCutOff(t *testing.T) {
	t.Parallel()
	server := testkit.Redis(t)
	way := newProxy(t, server.Addr())
	names := []string{"alone", "both", "order", "newer", "theirs"}
	a := several(t, 1, connectTo(server.Addr()), names...)[0]
	b := start(t, fleet.Options{Connect: connectTo(way.addr()), Name: "b"}, names...)
	b.shares()
	b.open("both")
	a.is("both", api.StateOpen)
	way.cut()
	b.local()
	if !a.Status().Shared {
		t.Error("the other replica is local too")
	}
	b.open("alone")
	b.get("both").ForceOpen(breaker.Control{Actor: "ops at b"}) // an order against …
	a.get("both").Reset(api.StateClosed, breaker.Control{Actor: "ops at a"})
	b.get("order").ForceOpen(breaker.Control{Actor: "ops at b"})
	a.open("order") // … and one against a move by itself
	b.open("newer")
	a.open("newer")
	a.get("newer").Reset(api.StateClosed, breaker.Control{})
	a.open("theirs")
	time.Sleep(2100 * time.Millisecond) // the orders are late by now
	a.reaches("its moves told", func() bool { return a.Status().Sent >= 4 })
	way.heal()
	b.shares()
	for _, x := range []*replica{a, b} {
		x.is("alone", api.StateOpen)
		x.is("newer", api.StateClosed)
		x.is("both", api.StateClosed)
		x.is("theirs", api.StateOpen)
		x.reaches("the order", func() bool { return x.get("order").Mode() == api.ModeForcedOpen })
	}
	settled(t, []*replica{a, b})
}

// A replica that the log has left behind reads the table.
func TestTrimmedLogIsReadFromTheTable(t *testing.T) {
	t.Parallel()
	server := testkit.Redis(t)
	way := newProxy(t, server.Addr())
	var names []string
	for i := range 400 {
		names = append(names, fmt.Sprintf("dep%d", i))
	}
	a := start(t, fleet.Options{Connect: connectTo(server.Addr()), MaxLog: 100}, names...)
	b := start(t, fleet.Options{Connect: connectTo(way.addr()), MaxLog: 100}, names...)
	a.shares()
	b.shares()
	way.cut()
	b.local()
	for i, name := range names {
		if i%100 == 0 { // with the log trimmed midway, not in one batch
			a.reaches("told", func() bool { return a.Status().Sent == int64(i) })
		}
		a.open(name)
	}
	a.reaches("all told", func() bool { return a.Status().Sent == int64(len(names)) })
	if n := client(t, server.Addr()).XLen(context.Background(), "{test}:log").Val(); n > 300 {
		t.Errorf("the log has %d moves, want about 100", n)
	}
	way.heal()
	for _, name := range names {
		b.is(name, api.StateOpen)
	}
}

// A gap in the log's numbers, while it is followed.
func TestGapInTheLog(t *testing.T) {
	t.Parallel()
	server := testkit.Redis(t)
	r := several(t, 2, connectTo(server.Addr()), "api")
	syncs := r[1].Status().Syncs
	if err := client(t, server.Addr()).HIncrBy(context.Background(), "{test}:table", "/seq", 5).Err(); err != nil {
		t.Fatal(err)
	}
	r[0].open("api")
	r[1].is("api", api.StateOpen)
	r[1].reaches("the table read again", func() bool { return r[1].Status().Syncs > syncs })
}

// A failover may lose moves: the numbers go back, and come again with others.
func TestNumbersGoBack(t *testing.T) {
	t.Parallel()
	server := testkit.Redis(t)
	r := several(t, 3, connectTo(server.Addr()), "kept", "lost", "next")
	r[0].open("kept")
	r[1].is("kept", api.StateOpen)
	r[0].open("lost")
	for _, x := range r[1:] {
		x.is("lost", api.StateOpen)
	}
	c, ctx := client(t, server.Addr()), context.Background()
	c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HDel(ctx, "{test}:table", "lost")
		p.HSet(ctx, "{test}:table", "/seq", 1)
		p.XDel(ctx, "{test}:log", "2-0")
		return nil
	})
	r[2].reaches("what was lost is told again", func() bool { return c.HExists(ctx, "{test}:table", "lost").Val() })
	r[0].open("next")
	for _, x := range r {
		x.is("next", api.StateOpen)
		x.is("lost", api.StateOpen)
		x.is("kept", api.StateOpen)
	}
	settled(t, r)
}

// What is in Redis and is none of ours harms nothing, and is counted.
func TestHostileContent(t *testing.T) {
	t.Parallel()
	server := testkit.Redis(t)
	c, ctx := client(t, server.Addr()), context.Background()
	long := strings.Repeat("x", 1<<20)
	for field, value := range map[string]string{
		"api":      `7 1 ab {"n":"api","s":"sideways","m":"automatic","o":"x","g":"1"}`,
		"plain":    "nonsense",
		"long":     long,
		"../../up": `1 1 ab {"n":"../../up","s":"open","m":"automatic","o":"x","g":"1"}`,
		"future":   `999999999 1 ab {"n":"future","s":"open","m":"automatic","o":"x","g":"1"}`,
		"other":    `1 1 ab {"n":"api","s":"open","m":"automatic","o":"x","g":"1"}`,
		"/seq":     "7", "/epoch": "ab",
	} {
		c.HSet(ctx, "{test}:table", field, value)
	}
	r := several(t, 2, connectTo(server.Addr()), "api", "plain", "long", "future")
	if n := r[0].Status().Ignored; n != 6 {
		t.Errorf("%d fields ignored, want 6", n)
	}
	for _, m := range []string{"", "nonsense", long, `8 1 ab {}`} {
		c.XAdd(ctx, &redis.XAddArgs{Stream: "{test}:log", Values: []string{"m", m}})
	}
	c.XAdd(ctx, &redis.XAddArgs{Stream: "{test}:log", Values: []string{"other", "x"}})
	r[1].reaches("five entries ignored", func() bool { return r[1].Status().Ignored >= 11 })
	for _, name := range []string{"api", "plain", "long", "future"} {
		if st := r[0].get(name).State(); st != api.StateClosed {
			t.Errorf("%s is %s", name, st)
		}
		r[0].open(name)
		r[1].is(name, api.StateOpen)
	}
	c.Del(ctx, "{test}:table", "{test}:log")
	c.Set(ctx, "{test}:table", "a string", 0)
	r[1].local()
	if note := r[1].get("api").Snapshot().ScopeNote; !strings.Contains(note, "WRONGTYPE") {
		t.Errorf("note %q", note)
	}
	c.Del(ctx, "{test}:table")
	r[1].shares()
}

// A move that comes again, later and in another order, does nothing.
func TestReplayedMoves(t *testing.T) {
	t.Parallel()
	server := testkit.Redis(t)
	r := several(t, 2, connectTo(server.Addr()), "api")
	r[0].open("api")
	r[1].is("api", api.StateOpen)
	r[1].get("api").Reset(api.StateClosed, breaker.Control{})
	r[0].is("api", api.StateClosed)
	c, ctx := client(t, server.Addr()), context.Background()
	seen := c.XRange(ctx, "{test}:log", "-", "+").Val()
	if len(seen) != 2 {
		t.Fatalf("the log has %d moves, want 2", len(seen))
	}
	for _, m := range []redis.XMessage{seen[1], seen[0], seen[0]} {
		c.XAdd(ctx, &redis.XAddArgs{Stream: "{test}:log", Values: []any{"m", m.Values["m"]}})
	}
	for _, x := range r {
		x.reaches("three ignored", func() bool { return x.Status().Ignored >= 3 })
		if st := x.get("api").State(); st != api.StateClosed {
			t.Errorf("replayed, it is %s", st)
		}
	}
	r[1].open("api")
	r[0].is("api", api.StateOpen)
}

// A table of ten thousand breakers takes no more, and says so.
func TestTableIsFull(t *testing.T) {
	t.Parallel()
	server := testkit.Redis(t)
	c, ctx := client(t, server.Addr()), context.Background()
	fields := []any{"/seq", "10000", "/epoch", "ab"}
	for i := range breaker.MaxBreakers {
		name := fmt.Sprintf("old%d", i)
		fields = append(fields, name, fmt.Sprintf(`%d 1 ab {"n":%q,"s":"closed","m":"automatic","o":"x","g":"1"}`, i+1, name))
	}
	c.HSet(ctx, "{test}:table", fields...)
	r := several(t, 2, connectTo(server.Addr()), "api")
	r[0].open("api")
	r[1].is("api", api.StateOpen)
	if n := c.HLen(ctx, "{test}:table").Val(); n != breaker.MaxBreakers+2 || r[0].Status().Unkept != 1 {
		t.Errorf("the table has %d fields; %+v", n, r[0].Status())
	}
}

func TestRedisIsFull(t *testing.T) {
	t.Parallel()
	server := testkit.Redis(t)
	r := several(t, 2, connectTo(server.Addr()), "api")
	c, ctx := client(t, server.Addr()), context.Background()
	c.ConfigSet(ctx, "maxmemory", "1mb")
	r[0].open("api")
	r[0].local()
	if note := r[0].get("api").Snapshot().ScopeNote; !strings.Contains(note, "OOM") {
		t.Errorf("note %q", note)
	}
	c.ConfigSet(ctx, "maxmemory", "0")
	r[1].is("api", api.StateOpen)
	r[0].shares()
}

func TestCluster(t *testing.T) {
	t.Parallel()
	nodes := testkit.RedisCluster(t, 3, 0)
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.Addr())
	}
	connect := func() (redis.UniversalClient, error) {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, DisableIdentity: true, MaxRetries: -1, ContextTimeoutEnabled: true}), nil
	}
	r := several(t, 3, connect, "api", "other")
	r[0].open("api")
	r[1].get("other").Disable(breaker.Control{})
	for _, x := range r {
		x.is("api", api.StateOpen)
		x.reaches("disabled", func() bool { return x.get("other").Mode() == api.ModeDisabled })
	}
	late := start(t, fleet.Options{Connect: connect}, "api")
	late.is("api", api.StateOpen)
}

func TestSentinelFailsOver(t *testing.T) {
	t.Parallel()
	sentinel, master, _ := testkit.RedisSentinel(t)
	connect := func() (redis.UniversalClient, error) {
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: "mymaster", SentinelAddrs: []string{sentinel.Addr()}, DisableIdentity: true, MaxRetries: -1, ContextTimeoutEnabled: true,
		}), nil
	}
	r := several(t, 2, connect, "before", "after")
	r[0].open("before")
	r[1].is("before", api.StateOpen)
	master.Kill()
	r[0].local()
	r[1].open("after")
	r[0].is("after", api.StateOpen) // through the new master
	r[0].get("before").Reset(api.StateClosed, breaker.Control{})
	r[1].is("before", api.StateClosed)
	r[0].shares()
	r[1].shares()
}
