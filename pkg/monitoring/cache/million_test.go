package cache_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
)

var million = flag.Bool("million", false, "clear a million keys and measure what others wait meanwhile")

// TestClearingAMillionKeys measures how long commands of others take while a
// million keys are cleared, and beside it by KEYS and one DEL, as the Python
// stack did: go test ./pkg/monitoring/cache -run Million -v -args -million
func TestClearingAMillionKeys(t *testing.T) {
	if !*million {
		t.Skip("-million runs it")
	}
	const keys = 1_000_000
	s := testkit.Redis(t)
	raw := goredis.NewClient(&goredis.Options{Addr: s.Addr(), ReadTimeout: time.Minute})
	defer raw.Close()
	c := open(t, cache.RedisOptions{URL: s.URL()})
	measure := func(name string, f func() int64) time.Duration {
		fillMillion(t, raw, keys)
		config(t, raw, "slowlog-log-slower-than", "500")
		config(t, raw, "slowlog-max-len", "100000")
		raw.Do(t.Context(), "slowlog", "reset")
		quiet := others(t, s.Addr(), func() { time.Sleep(2 * time.Second) })
		var took time.Duration
		var n int64
		waits := others(t, s.Addr(), func() {
			start := time.Now()
			n = f()
			took = time.Since(start)
		})
		t.Logf("%-22s %d keys in %v; GETs of others meanwhile: %5d, p50 %v p99 %v max %v (before: p99 %v max %v)", name, n, took.Round(time.Millisecond),
			len(waits), at(waits, 50), at(waits, 99), at(waits, 100), at(quiet, 99), at(quiet, 100))
		t.Logf("%-22s Redis itself was busy with one command for at most %v", name, slowest(t, raw))
		if n != keys {
			t.Errorf("%s removed %d keys", name, n)
		}
		return at(waits, 99)
	}
	measure("dry run", func() int64 {
		done, err := c.Clear(t.Context(), "*", cache.ClearOptions{DryRun: true})
		if err != nil {
			t.Error(err)
		}
		return done.Keys
	})
	p99 := measure("SCAN and UNLINK", func() int64 {
		done, err := c.Clear(t.Context(), "*", cache.ClearOptions{})
		if err != nil {
			t.Error(err)
		}
		return done.Keys
	})
	if p99 > 10*time.Millisecond {
		t.Errorf("others waited %v at the 99th percentile", p99)
	}
	measure("KEYS and one DEL", func() int64 {
		all, err := raw.Keys(t.Context(), "pulse_api:*").Result()
		if err != nil {
			t.Fatal(err)
		}
		n, err := raw.Del(t.Context(), all...).Result()
		if err != nil {
			t.Error(err)
		}
		return n
	})
}

// slowest is how long Redis was busy with its longest command of late, 0 for
// less than 500µs.
func slowest(t *testing.T, raw *goredis.Client) (most time.Duration) {
	t.Helper()
	log, err := raw.SlowLogGet(t.Context(), -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range log {
		most = max(most, l.Duration)
	}
	return most
}

func fillMillion(t *testing.T, raw *goredis.Client, n int) {
	t.Helper()
	raw.FlushAll(t.Context())
	for i := 0; i < n; i += 10_000 {
		pipe := raw.Pipeline()
		for j := range 10_000 {
			pipe.Set(t.Context(), fmt.Sprintf("pulse_api:user:%d", i+j), "a value of some thirty-two bytes.", time.Hour)
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	raw.Set(t.Context(), "another's", "v", 0)
}

// others reads a key of another application each millisecond while f runs, and
// returns how long that took, sorted.
func others(t *testing.T, addr string, f func()) []time.Duration {
	t.Helper()
	raw := goredis.NewClient(&goredis.Options{Addr: addr, ReadTimeout: time.Minute, PoolSize: 1})
	defer raw.Close()
	raw.Ping(t.Context())
	ctx, stop := context.WithCancel(t.Context())
	waits := make(chan []time.Duration)
	go func() {
		var out []time.Duration
		for ctx.Err() == nil {
			start := time.Now()
			if err := raw.Get(t.Context(), "another's").Err(); err != nil {
				t.Error(err)
			}
			out = append(out, time.Since(start))
			time.Sleep(time.Millisecond)
		}
		waits <- out
	}()
	f()
	stop()
	out := <-waits
	slices.Sort(out)
	return out
}

func at(sorted []time.Duration, percent int) time.Duration {
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)].Round(time.Microsecond)
}
