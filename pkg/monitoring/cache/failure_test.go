package cache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
)

// deadline is REDIS_TIMEOUT in the tests of failures; slack is what a busy
// machine may add to it.
const (
	deadline = 300 * time.Millisecond
	slack    = 300 * time.Millisecond
)

// crowd are callers of a cache in memory and Redis who note what they saw.
type crowd struct {
	cache *cache.Cache[string]
	redis *cache.Redis

	mu     sync.Mutex
	took   []time.Duration // guarded by mu
	errs   []error         // guarded by mu
	loaded int             // guarded by mu
}

func newCrowd(t *testing.T, url string) *crowd {
	t.Helper()
	r := open(t, cache.RedisOptions{URL: url, Timeout: deadline})
	m := memory(t, cache.MemoryOptions{})
	return &crowd{redis: r, cache: typed(t, cache.Options[string]{MemoryTTL: 30 * time.Millisecond}, m, r)}
}

// run lets eight callers ask for 64 keys for so long, and tells what they saw.
func (c *crowd) run(t *testing.T, what string, d time.Duration) {
	t.Helper()
	c.took, c.errs, c.loaded = nil, nil, 0
	before := c.redis.Counts()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				c.one(t.Context())
				time.Sleep(time.Millisecond)
			}
		})
	}
	wg.Wait()
	after := c.redis.Counts()
	slices.Sort(c.took)
	h := c.redis.Status(t.Context())
	t.Logf("%-28s %5d calls, %d failed, p50 %7v p99 %7v max %7v; %4d loads, redis: %4d hits %4d errors; %s %s", what, len(c.took), len(c.errs),
		c.took[len(c.took)/2].Round(time.Microsecond), c.took[len(c.took)*99/100].Round(time.Microsecond), c.took[len(c.took)-1].Round(time.Microsecond),
		c.loaded, after.Hits-before.Hits, after.Errors-before.Errors, h.Status, h.Reason)
	if len(c.errs) > 0 {
		t.Errorf("%s: callers saw %v", what, c.errs[0])
	}
	if worst := c.took[len(c.took)-1]; worst > deadline+slack {
		t.Errorf("%s: a caller waited %v, the deadline is %v", what, worst, deadline)
	}
}

func (c *crowd) one(ctx context.Context) {
	key := fmt.Sprintf("user:%d", rand.IntN(64))
	start := time.Now()
	v, err := c.cache.GetOrLoad(ctx, key, time.Minute, func(context.Context) (string, error) {
		c.mu.Lock()
		c.loaded++
		c.mu.Unlock()
		return "value of " + key, nil
	})
	took := time.Since(start)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took = append(c.took, took)
	if err == nil && v != "value of "+key {
		err = fmt.Errorf("%s has the value %q", key, v)
	}
	if err != nil {
		c.errs = append(c.errs, err)
	}
}

// What callers see of a Redis that fails in each of the ways it has: never an
// error, never more than one deadline; the status says why; and when it is well
// again the status says that, too.
func TestCallersOfAFailingRedis(t *testing.T) {
	for _, tt := range []struct {
		name   string
		break_ func(*testing.T, *testkit.RedisServer, *goredis.Client)
		mend   func(*testing.T, *testkit.RedisServer, *goredis.Client)
		status string
		reason string
	}{
		{"killed", func(_ *testing.T, s *testkit.RedisServer, _ *goredis.Client) { s.Kill() },
			func(_ *testing.T, s *testkit.RedisServer, _ *goredis.Client) { s.Restart() }, api.Failed, ""},
		{"stopped", func(_ *testing.T, s *testkit.RedisServer, _ *goredis.Client) { s.Stop() },
			func(_ *testing.T, s *testkit.RedisServer, _ *goredis.Client) { s.Cont() }, api.Failed, ""},
		{"out of memory", func(t *testing.T, _ *testkit.RedisServer, raw *goredis.Client) {
			config(t, raw, "maxmemory-policy", "noeviction")
			config(t, raw, "maxmemory", "1mb")
			raw.FlushAll(t.Context()) // nothing is there any more, and nothing goes in
			config(t, raw, "maxmemory", "100kb")
		}, func(t *testing.T, _ *testkit.RedisServer, raw *goredis.Client) { config(t, raw, "maxmemory", "0") }, api.Degraded, "out of memory"},
		{"read-only", func(t *testing.T, _ *testkit.RedisServer, raw *goredis.Client) {
			config(t, raw, "replica-read-only", "yes")
			raw.Do(t.Context(), "replicaof", "127.0.0.1", "1")
		}, func(t *testing.T, _ *testkit.RedisServer, raw *goredis.Client) {
			raw.Do(t.Context(), "replicaof", "no", "one")
		}, api.Degraded, "replica"},
		{"busy with a slow command", func(_ *testing.T, s *testkit.RedisServer, _ *goredis.Client) {
			raw := goredis.NewClient(&goredis.Options{Addr: s.Addr(), MaxRetries: -1, ReadTimeout: 10 * time.Second})
			go func() { // DEBUG is off by default: a script that runs long is as good
				defer raw.Close()
				raw.Eval(context.Background(), "local t = redis.call('time')[1] while redis.call('time')[1] - t < 3 do end", nil)
			}()
			time.Sleep(50 * time.Millisecond)
		}, func(*testing.T, *testkit.RedisServer, *goredis.Client) {}, api.Failed, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := testkit.Redis(t)
			raw := goredis.NewClient(&goredis.Options{Addr: s.Addr(), MaxRetries: -1})
			defer raw.Close()
			c := newCrowd(t, s.URL())
			c.run(t, "healthy", 200*time.Millisecond)
			tt.break_(t, s, raw)
			c.run(t, tt.name, time.Second)
			if h := c.redis.Status(t.Context()); h.Status != tt.status || !strings.Contains(h.Reason, tt.reason) || h.Reason == "" {
				t.Errorf("status = %s: %s", h.Status, h.Reason)
			}
			tt.mend(t, s, raw)
			until(t, "healthy again", func() bool {
				c.one(t.Context()) // a write that Redis takes is what heals a refused one
				time.Sleep(30 * time.Millisecond)
				return c.redis.Status(t.Context()).Status == api.Healthy
			})
			c.run(t, "mended", 200*time.Millisecond)
		})
	}
}

func config(t *testing.T, raw *goredis.Client, name, value string) {
	t.Helper()
	if err := raw.ConfigSet(t.Context(), name, value).Err(); err != nil {
		t.Fatal(err)
	}
}

// One master of a Cluster that hangs or dies costs the keys of the others
// nothing, and a clearing says how far it came and goes on from there.
func TestCallersOfAClusterThatLosesAMaster(t *testing.T) {
	t.Parallel()
	nodes := testkit.RedisCluster(t, 3, 0)
	c := newCrowd(t, "redis+cluster://"+nodes[0].Addr()+","+nodes[1].Addr())
	c.run(t, "healthy", 300*time.Millisecond)
	if h := c.redis.Status(t.Context()); h.Status != api.Healthy || h.Stats.Mode != "cluster" || len(h.Stats.Nodes) != 3 || h.Stats.Keys.Value() == 0 {
		t.Errorf("status = %+v", h)
	}
	nodes[2].Stop()
	c.run(t, "one master stopped", time.Second)
	hits := c.redis.Counts().Hits
	c.run(t, "and later", 300*time.Millisecond)
	h := c.redis.Status(t.Context())
	if h.Status != api.Degraded || !strings.Contains(h.Reason, nodes[2].Addr()) || c.redis.Counts().Hits == hits {
		t.Errorf("status = %s: %s, %d hits", h.Status, h.Reason, c.redis.Counts().Hits-hits)
	}
	done, err := c.redis.Clear(t.Context(), "*", cache.ClearOptions{})
	if err == nil {
		t.Errorf("Clear with a master stopped = %+v", done)
	}
	nodes[2].Cont()
	until(t, "healthy again", func() bool { return c.redis.Status(t.Context()).Status == api.Healthy })
	fill(t, c.redis, 3000)
	rest := cleared(t, c.redis, "*", cache.ClearOptions{Budget: time.Nanosecond, Cursor: done.Cursor})
	if again, err := c.redis.Clear(t.Context(), "*", cache.ClearOptions{DryRun: true}); again.Keys != 0 || err != nil || rest < 3000 {
		t.Errorf("cleared %d in steps, then %d are left: %v", rest, again.Keys, err)
	}
	if err := errors.Join(c.redis.Set(t.Context(), "{a}:1", nil, 0), c.redis.Set(t.Context(), "{b}:1", nil, 0)); err != nil {
		t.Error(err)
	}
	page, err := c.redis.Keys(t.Context(), cache.KeyQuery{})
	if len(page.Keys) != 2 || err != nil {
		t.Errorf("Keys of all masters = %+v, %v", page, err)
	}
}

func fill(t *testing.T, c cache.Tier, n int) {
	t.Helper()
	for i := range n {
		set(t, c, fmt.Sprintf("fill:%d", i), "v", time.Hour)
	}
}

// cleared clears in as many steps as it takes, each as short as it can be.
func cleared(t *testing.T, c cache.Tier, pattern string, o cache.ClearOptions) (n int64) {
	t.Helper()
	for last := -1.0; ; {
		done, err := c.Clear(t.Context(), pattern, o)
		if err != nil {
			t.Fatal(err)
		}
		if n += done.Keys; done.Cursor == "" {
			return n
		}
		if done.Progress < last || done.Progress > 1 {
			t.Errorf("progress went from %v to %v", last, done.Progress)
		}
		last, o.Cursor = done.Progress, done.Cursor
	}
}

// A master that dies is replaced by its replica; callers see misses, no errors.
func TestCallersOfAClusterThatFailsOver(t *testing.T) {
	t.Parallel()
	nodes := testkit.RedisCluster(t, 3, 1)
	c := newCrowd(t, "redis+cluster://"+nodes[0].Addr()+","+nodes[1].Addr())
	c.run(t, "healthy", 200*time.Millisecond)
	nodes[0].Kill()
	c.run(t, "a master killed", time.Second)
	testkit.Until(t, "its replica serves", func() bool {
		c.one(t.Context())
		h := c.redis.Status(t.Context())
		return h.Status == api.Healthy && len(h.Stats.Nodes) == 3
	})
	c.run(t, "failed over", 300*time.Millisecond)
}

// Behind Sentinel a failover looks the same; a cursor of before begins anew, for
// the new master counts its keys in another order.
func TestCallersOfASentinelThatFailsOver(t *testing.T) {
	t.Parallel()
	sentinel, master, replica := testkit.RedisSentinel(t)
	c := newCrowd(t, "redis+sentinel://"+sentinel.Addr()+"/mymaster/0")
	c.run(t, "healthy", 200*time.Millisecond)
	fill(t, c.redis, 3000)
	raw := goredis.NewClient(&goredis.Options{Addr: replica.Addr()})
	defer raw.Close()
	until(t, "the replica has all", func() bool { return raw.DBSize(t.Context()).Val() >= 3000 })
	part, err := c.redis.Clear(t.Context(), "fill:*", cache.ClearOptions{Budget: time.Nanosecond})
	if part.Cursor == "" || part.Keys == 0 || err != nil {
		t.Fatalf("the first part = %+v, %v", part, err)
	}
	until(t, "the replica knows", func() bool { return raw.DBSize(t.Context()).Val() < 3064-part.Keys+1 })
	master.Kill()
	c.run(t, "the master killed", time.Second)
	testkit.Until(t, "the replica is master", func() bool {
		h := c.redis.Status(t.Context())
		return h.Status == api.Healthy && h.Stats.Role == "master"
	})
	c.run(t, "failed over", 300*time.Millisecond)
	rest := cleared(t, c.redis, "fill:*", cache.ClearOptions{Cursor: part.Cursor})
	if part.Keys+rest != 3000 {
		t.Errorf("cleared %d before and %d after the failover, want 3000", part.Keys, rest)
	}
}

// A caller who gives up soon says nothing of Redis.
func TestImpatientCallersDoNotTripTheGuard(t *testing.T) {
	var delay atomic.Int64
	r := open(t, cache.RedisOptions{URL: "redis://" + slowProxy(t, testkit.Redis(t).Addr(), &delay), Timeout: 5 * time.Second})
	set(t, r, "k", "v", 0)
	delay.Store(int64(50 * time.Millisecond))
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		if _, _, err := r.Get(ctx, "k"); err == nil {
			t.Error("a caller in a hurry waited")
		}
		cancel()
		if _, ok, err := r.Get(t.Context(), "k"); !ok || err != nil {
			t.Fatalf("Get of the next = %v, %v", ok, err)
		}
	}
}

// Callers with less time than the deadline do not all spend it on a Redis that
// hangs.
func TestCallersWithLittleTime(t *testing.T) {
	s := testkit.Redis(t)
	r := open(t, cache.RedisOptions{URL: s.URL(), Timeout: 10 * time.Second})
	set(t, r, "k", "v", 0)
	s.Stop()
	defer s.Cont()
	for i := range 6 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, _, err := r.Get(ctx, "k")
		cancel()
		if err == nil || errors.Is(err, cache.ErrDown) != (i > 2) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// A slow Redis costs one caller one deadline, not one for reading and another
// for writing.
func TestSlowRedisCostsOneDeadline(t *testing.T) {
	const timeout, answer = time.Second, 700 * time.Millisecond
	var delay atomic.Int64
	r := open(t, cache.RedisOptions{URL: "redis://" + slowProxy(t, testkit.Redis(t).Addr(), &delay), Timeout: timeout})
	set(t, r, "k", "v", 0) // connected
	delay.Store(int64(answer))
	c := typed(t, cache.Options[string]{}, memory(t, cache.MemoryOptions{}), r)
	start := time.Now()
	v, err := c.GetOrLoad(t.Context(), "new", 0, func(context.Context) (string, error) { return "v", nil })
	if took := time.Since(start); v != "v" || err != nil || took < answer || took > timeout+300*time.Millisecond {
		t.Errorf("GetOrLoad = %q, %v after %v, want %v at most", v, err, took, timeout)
	}
}

func TestURLs(t *testing.T) {
	for url, want := range map[string]string{
		"redis://h:1/2":                     "redis://h:1/2",
		"redis://u:s3cret@h:1":              "redis://***@h:1",
		"rediss://:s3cret@h/0":              "rediss://***@h/0",
		"unix://u:s3cret@/a/b":              "unix://***@/a/b",
		"redis+cluster://a:1,b":             "redis+cluster://a:1,b",
		"rediss+cluster://u:s3cret@a:1,b:2": "rediss+cluster://***@a:1,b:2",
		"redis-cluster://[::1]:7000,b:2/0":  "redis-cluster://[::1]:7000,b:2/0",
		"redis+sentinel://u:s3cret@a:1,b/main/3?sentinel_password=s3cret": "redis+sentinel://***@a:1,b/main/3",
	} {
		r, err := cache.NewRedis(cache.RedisOptions{URL: url, Timeout: time.Millisecond})
		if err != nil {
			t.Errorf("NewRedis(%q): %v", url, err)
			continue
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel() // nothing is asked
		if st, _ := r.Info(ended); st.RedisURL != want {
			t.Errorf("%q is shown as %q, want %q", url, st.RedisURL, want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, url := range []string{
		"redis://s3cret@a,b", "redis+sentinel://a:1", "redis+sentinel://a:1/m/x", "redis+sentinel://a/m/0/1", "redis+cluster://a/3", "redis+s3cret://a", "http+cluster://a",
	} {
		if _, err := cache.NewRedis(cache.RedisOptions{URL: url}); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("NewRedis(%q): %v", url, err)
		}
	}
}

func FuzzURLs(f *testing.F) { // property: no password reaches what is shown or an error
	f.Add("redis://user:", "@host:6379/0")
	f.Add("redis+sentinel://:", "@a:1,b:2/main/0?x=1")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "pAsSwOrD"
		r, err := cache.NewRedis(cache.RedisOptions{URL: before + secret + after, Timeout: time.Nanosecond})
		if !strings.HasSuffix(before, ":") || !strings.Contains(before, "://") || !strings.HasPrefix(after, "@") || strings.ContainsAny(before[strings.Index(before, "://")+3:], "@/?#") {
			if err == nil {
				_ = r.Close()
			}
			return // there it is no password
		}
		if err != nil {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error shows it: %v", err)
			}
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if st, err := r.Info(ctx); strings.Contains(st.RedisURL, secret) || err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("shown as %q, %v", st.RedisURL, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}
