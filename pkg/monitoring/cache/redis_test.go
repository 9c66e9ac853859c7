package cache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
)

func open(t testing.TB, o cache.RedisOptions) *cache.Redis {
	t.Helper()
	c, err := cache.NewRedis(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// until waits for what another process has to bring about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10s: %s", what)
		}
	}
}

// C1 and C2: what is down is reported, and found again when it is back.
func TestRedisDownAtStartKilledAndBack(t *testing.T) {
	s := testkit.Redis(t)
	s.Kill()
	c := open(t, cache.RedisOptions{URL: s.URL(), Timeout: time.Second})
	failed := func() bool {
		h := c.Status(t.Context())
		return h.Status == api.Failed && !h.Connected && h.Stats.LastError != ""
	}
	healthy := func() bool {
		h := c.Status(t.Context())
		return h.Status == api.Healthy && h.Connected && h.Stats.RedisVersion != ""
	}
	if !failed() {
		t.Errorf("down at start: %+v", c.Status(t.Context()))
	}
	for range 2 {
		s.Restart()
		until(t, "healthy after the start", healthy)
		if err := c.Set(t.Context(), "k", []byte("v"), time.Minute); err != nil {
			t.Error(err)
		}
		s.Kill()
		if !failed() {
			t.Errorf("killed: %+v", c.Status(t.Context()))
		}
		if n, err := clear(t.Context(), c, "*", false); err == nil || n != 0 {
			t.Errorf("Clear of a dead Redis = %d, %v, want an error", n, err)
		}
	}
}

// C3: a hung Redis costs one deadline, and then next to nothing.
func TestRedisHungIsBounded(t *testing.T) {
	for _, connected := range []bool{true, false} {
		t.Run(fmt.Sprintf("connected before %v", connected), func(t *testing.T) {
			s := testkit.Redis(t)
			c := open(t, cache.RedisOptions{URL: s.URL(), Timeout: 300 * time.Millisecond})
			if connected {
				if err := c.Set(t.Context(), "k", nil, 0); err != nil {
					t.Fatal(err)
				}
			}
			s.Stop()
			defer s.Cont()
			start := time.Now()
			if _, _, err := c.Get(t.Context(), "k"); err == nil {
				t.Error("Get of a hung Redis has no error")
			}
			if d := time.Since(start); d > 900*time.Millisecond {
				t.Errorf("the first call took %v, want about 300ms", d)
			}
			start = time.Now()
			_, _, err := c.Get(t.Context(), "k")
			if d := time.Since(start); d > 300*time.Millisecond || !errors.Is(err, cache.ErrDown) {
				t.Errorf("the second call took %v: %v", d, err)
			}
			if h := c.Status(t.Context()); h.Status != api.Failed || h.Stats.CacheErrors < 2 {
				t.Errorf("status = %+v", h)
			}
			s.Cont()
			until(t, "healthy again", func() bool { return c.Status(t.Context()).Status == api.Healthy })
		})
	}
}

// C4: clearing takes the own prefix only, glob characters in it or not.
func TestClearOfManyKeysSparesOthers(t *testing.T) {
	s := testkit.Redis(t)
	c := open(t, cache.RedisOptions{URL: s.URL(), KeyPrefix: "app[*]"})
	raw := goredis.NewClient(&goredis.Options{Addr: s.Addr()})
	defer raw.Close()
	pipe := raw.Pipeline()
	for i := range 20_000 {
		pipe.Set(t.Context(), fmt.Sprintf("app[*]:user:%d", i), "v", 0)
	}
	pipe.Set(t.Context(), "app[*]:session:1", "v", 0)
	pipe.Set(t.Context(), "appX:user:1", "another's", 0)
	pipe.Set(t.Context(), "user:1", "another's", 0)
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := clear(t.Context(), c, "user:*", true); n != 20_000 || err != nil {
		t.Errorf("dry run = %d, %v", n, err)
	}
	if n, err := clear(t.Context(), c, "user:*", false); n != 20_000 || err != nil {
		t.Errorf("Clear = %d, %v", n, err)
	}
	left, err := raw.Keys(t.Context(), "*").Result()
	if len(left) != 3 || err != nil {
		t.Errorf("left = %v, %v, want 3 keys", left, err)
	}
	for _, cmd := range []string{"keys", "flushdb", "del"} {
		stats := raw.Info(t.Context(), "commandstats").Val()
		if n := strings.Count(stats, "cmdstat_"+cmd+":"); n > 0 && cmd != "keys" { // keys is the test's own
			t.Errorf("clearing used %s", cmd)
		}
	}
}

// A clearing that Redis does not live through says how far it came.
func TestClearMidwayReturnsTheCount(t *testing.T) {
	s := testkit.Redis(t)
	c := open(t, cache.RedisOptions{URL: s.URL(), Timeout: time.Second})
	raw := goredis.NewClient(&goredis.Options{Addr: s.Addr()})
	defer raw.Close()
	for range 10 { // a clearing may be quicker than the signal
		if n, err := clearMidway(t, s, c, raw); err != nil {
			if n == 0 || n >= 200_000 {
				t.Errorf("cleared %d with %v, want a part of 200,000", n, err)
			}
			return
		}
	}
	t.Fatal("no clearing was stopped midway")
}

// clearMidway clears 200,000 keys of a Redis that is stopped meanwhile.
func clearMidway(t *testing.T, s *testkit.RedisServer, c *cache.Redis, raw *goredis.Client) (int64, error) {
	t.Helper()
	pipe := raw.Pipeline()
	for i := range 200_000 {
		pipe.Set(t.Context(), fmt.Sprintf("pulse_api:k:%d", i), "v", 0)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		until(t, "some keys are gone", func() bool { return raw.DBSize(context.Background()).Val() < 199_000 })
		s.Stop()
	}()
	n, err := clear(t.Context(), c, "*", false)
	<-done
	s.Cont()
	return n, err
}

// C5: no secret in what is shown, nor in errors.
func TestCredentialsAreMasked(t *testing.T) {
	s := testkit.Redis(t, "--requirepass", "s3cret")
	c := open(t, cache.RedisOptions{URL: "redis://:s3cret@" + s.Addr() + "/0"})
	h := c.Status(t.Context())
	if want := "redis://***@" + s.Addr() + "/0"; h.Status != api.Healthy || h.Stats.RedisURL != want {
		t.Errorf("status = %+v, want the URL %s", h, want)
	}
	for _, url := range []string{
		"redis://:s3cret@host:port:x/0", "redis://:s3cret@host/zero", "s3cret://host", "redis://u:s3cret@host/0?what=1", "://s3cret", "redis://host:s3cret", "",
	} {
		_, err := cache.NewRedis(cache.RedisOptions{URL: url})
		if err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "REDIS_URL") {
			t.Errorf("NewRedis(%q): %v", url, err)
		}
	}
}

func TestReplicaIsDegraded(t *testing.T) {
	main := testkit.Redis(t)
	host, port, _ := strings.Cut(main.Addr(), ":")
	c := open(t, cache.RedisOptions{URL: testkit.Redis(t, "--replicaof", host+" "+port).URL()})
	if h := c.Status(t.Context()); h.Status != api.Degraded || h.Stats.Role != "slave" {
		t.Errorf("status = %+v", h)
	}
}
