package cache_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
)

func typed[T any](t testing.TB, o cache.Options[T], tiers ...cache.Tier) *cache.Cache[T] {
	t.Helper()
	c, err := cache.New(o, tiers...)
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

// stacks runs a test against memory, Redis, and memory before Redis.
func stacks(t *testing.T, f func(*testing.T, ...cache.Tier)) {
	t.Run("memory", func(t *testing.T) { f(t, memory(t, cache.MemoryOptions{})) })
	t.Run("redis", func(t *testing.T) { f(t, open(t, cache.RedisOptions{URL: testkit.Redis(t).URL()})) })
	t.Run("both", func(t *testing.T) {
		f(t, memory(t, cache.MemoryOptions{}), open(t, cache.RedisOptions{URL: testkit.Redis(t).URL()}))
	})
}

type person struct {
	Name string
	Age  int
	Born time.Time
}

func TestValuesOfEveryType(t *testing.T) {
	stacks(t, func(t *testing.T, tiers ...cache.Tier) {
		roundTrip(t, tiers, "", "text", "\x00")
		roundTrip(t, tiers, 0, -7)
		roundTrip(t, tiers, false, true)
		roundTrip(t, tiers, person{}, person{"Ada", 36, time.Unix(1, 0).UTC()})
		roundTrip[*person](t, tiers, nil, &person{Name: "Ada"})
		roundTrip(t, tiers, nil, []string{}, []string{"a"})
		roundTrip(t, tiers, nil, map[string]int{"n": 1})
		roundTrip[any](t, tiers, nil, "text", 1.5)
	})
}

// A hit is a hit: zero values and nil come back like any other.
func roundTrip[T any](t *testing.T, tiers []cache.Tier, values ...T) {
	t.Helper()
	c := typed(t, cache.Options[T]{}, tiers...)
	for i, v := range values {
		key := fmt.Sprintf("%T:%d", v, i)
		if err := c.Set(t.Context(), key, v, 0); err != nil {
			t.Fatal(err)
		}
		got, ok, err := c.Get(t.Context(), key)
		if !ok || err != nil || fmt.Sprint(got) != fmt.Sprint(v) {
			t.Errorf("Get %s = %v, %v, %v, want %v", key, got, ok, err, v)
		}
		if got, err := c.GetOrLoad(t.Context(), key, 0, func(context.Context) (T, error) { return v, errors.New("loaded a hit") }); err != nil {
			t.Errorf("GetOrLoad %s = %v, %v", key, got, err)
		}
	}
}

// What one caller does to its value no other sees, unless Shared promises that
// none does anything.
func TestCallersDoNotShare(t *testing.T) {
	m := memory(t, cache.MemoryOptions{})
	own, shared := typed(t, cache.Options[map[string]int]{Prefix: "own"}, m), typed(t, cache.Options[map[string]int]{Prefix: "shared", Shared: true}, m)
	for name, c := range map[string]*cache.Cache[map[string]int]{"own": own, "shared": shared} {
		first, err := c.GetOrLoad(t.Context(), "k", 0, func(context.Context) (map[string]int, error) { return map[string]int{"n": 1}, nil })
		if err != nil {
			t.Fatal(err)
		}
		first["n"] = 2
		second, _, err := c.Get(t.Context(), "k")
		if want := map[string]int{"own": 1, "shared": 2}[name]; err != nil || second["n"] != want {
			t.Errorf("%s: %v, %v, want %d", name, second, err, want)
		}
	}
}

// Single flight across tiers: 50 callers cost one GET of Redis, one load, one SET.
func TestOneFlightAcrossTiers(t *testing.T) {
	s := testkit.Redis(t)
	r := open(t, cache.RedisOptions{URL: s.URL()})
	c := typed(t, cache.Options[string]{}, memory(t, cache.MemoryOptions{}), r)
	var loads atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			v, err := c.GetOrLoad(t.Context(), "k", time.Minute, func(context.Context) (string, error) {
				loads.Add(1)
				time.Sleep(50 * time.Millisecond)
				return "v", nil
			})
			if v != "v" || err != nil {
				t.Errorf("GetOrLoad = %q, %v", v, err)
			}
		})
	}
	wg.Wait()
	raw := goredis.NewClient(&goredis.Options{Addr: s.Addr()})
	defer raw.Close()
	stats := raw.Info(t.Context(), "commandstats").Val()
	if loads.Load() != 1 || !strings.Contains(stats, "cmdstat_get:calls=1,") || !strings.Contains(stats, "cmdstat_set:calls=1,") {
		t.Errorf("%d loads, and Redis counted %s", loads.Load(), stats)
	}
}

// A nearer tier gets what a farther one had, and keeps it no longer.
func TestRedisFillsMemory(t *testing.T) {
	r := open(t, cache.RedisOptions{URL: testkit.Redis(t).URL()})
	writer := typed(t, cache.Options[string]{}, r)
	if err := writer.Set(t.Context(), "k:1", "v", 300*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	m := memory(t, cache.MemoryOptions{})
	c := typed(t, cache.Options[string]{}, m, r)
	for range 3 {
		if v, ok, err := c.Get(t.Context(), "k:1"); v != "v" || !ok || err != nil {
			t.Errorf("Get = %q, %v, %v", v, ok, err)
		}
	}
	if n := r.Counts(); n.Hits != 1 {
		t.Errorf("redis was asked %d times, want once", n.Hits)
	}
	until(t, "both have dropped it", func() bool { _, ok, _ := c.Get(t.Context(), "k:1"); return !ok })
	if n, err := c.Clear(t.Context(), "*"); n != 0 || err != nil {
		t.Errorf("Clear after that = %d, %v", n, err)
	}
}

// Garbage, other types and other versions under our keys are misses, counted,
// and replaced.
func TestGarbageIsAMiss(t *testing.T) {
	s := testkit.Redis(t)
	r := open(t, cache.RedisOptions{URL: s.URL()})
	raw := goredis.NewClient(&goredis.Options{Addr: s.Addr()})
	defer raw.Close()
	old := typed(t, cache.Options[string]{Version: 1}, r)
	if err := old.Set(t.Context(), "version", "old", 0); err != nil {
		t.Fatal(err)
	}
	numbers := typed(t, cache.Options[[]int]{Version: 2}, r)
	if err := numbers.Set(t.Context(), "type", []int{1}, 0); err != nil {
		t.Fatal(err)
	}
	for key, v := range map[string]string{"empty": "", "text": "hello", "json": `"v"`, "head": "\xc5\x01\x02\x00", "flags": "\xc5\x01\x02\xff" + strings.Repeat("\x00", 20)} {
		raw.Set(t.Context(), "pulse_api:"+key, v, 0)
	}
	c := typed(t, cache.Options[string]{Version: 2, Codec: panicky()}, r)
	keys := []string{"version", "type", "empty", "text", "json", "head", "flags"}
	for _, key := range keys {
		v, err := c.GetOrLoad(t.Context(), key, 0, func(context.Context) (string, error) { return "new", nil })
		if v != "new" || err != nil {
			t.Errorf("%s: %q, %v", key, v, err)
		}
		if v, ok, err := c.Get(t.Context(), key); v != "new" || !ok || err != nil {
			t.Errorf("%s afterwards: %q, %v, %v", key, v, ok, err)
		}
	}
	st, err := r.Info(t.Context())
	if err != nil || st.Garbled.Value() != int64(len(keys)) || int(st.CacheMisses) != len(keys) {
		t.Errorf("garbled %d, misses %d, %v, want %d of both", st.Garbled.Value(), st.CacheMisses, err, len(keys))
	}
	if err := raw.LPush(t.Context(), "pulse_api:list", "x").Err(); err != nil { // another type of Redis's own
		t.Fatal(err)
	}
	if v, err := c.GetOrLoad(t.Context(), "list", 0, func(context.Context) (string, error) { return "new", nil }); v != "new" || err != nil {
		t.Errorf("a list: %q, %v", v, err)
	}
}

// panicky is JSON that panics at what it cannot read.
func panicky() cache.Codec[string] {
	c := cache.JSON[string]()
	decode := c.Decode
	c.Decode = func(b []byte) (string, error) {
		v, err := decode(b)
		if err != nil {
			panic(err)
		}
		return v, nil
	}
	return c
}

func FuzzRecords(f *testing.F) { // property: bytes under a key are a value or a miss, never a failure
	f.Add([]byte("\xc5\x01\x00\x00" + strings.Repeat("\x00", 16) + `"v"`))
	f.Add([]byte("\xc5\x01\x00\x01" + strings.Repeat("\xff", 16)))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := memory(t, cache.MemoryOptions{})
		if err := m.Set(t.Context(), "k", b, 0); err != nil {
			t.Fatal(err)
		}
		c := typed(t, cache.Options[string]{}, m)
		v, ok, err := c.Get(t.Context(), "k")
		if err != nil && !errors.Is(err, cache.ErrNotFound) {
			t.Errorf("Get of %q: %v", b, err)
		}
		if ok && !json.Valid(b[20:]) {
			t.Errorf("Get of %q = %q", b, v)
		}
	})
}

// That there is no such thing is cached for a time of its own.
func TestAbsenceIsCached(t *testing.T) {
	stacks(t, func(t *testing.T, tiers ...cache.Tier) {
		c := typed(t, cache.Options[string]{NotFoundTTL: 400 * time.Millisecond}, tiers...)
		loads := 0
		load := func(context.Context) (string, error) { loads++; return "", fmt.Errorf("user 7: %w", cache.ErrNotFound) }
		for range 3 {
			if _, err := c.GetOrLoad(t.Context(), "k", time.Hour, load); !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("GetOrLoad: %v", err)
			}
		}
		if _, ok, err := c.Get(t.Context(), "k"); ok || !errors.Is(err, cache.ErrNotFound) {
			t.Errorf("Get = %v, %v", ok, err)
		}
		if loads != 1 {
			t.Errorf("%d loads, want 1", loads)
		}
		until(t, "it may exist now", func() bool {
			v, err := c.GetOrLoad(t.Context(), "k", time.Hour, func(context.Context) (string, error) { return "born", nil })
			return v == "born" && err == nil
		})
		never := typed(t, cache.Options[string]{Prefix: "never", NotFoundTTL: -1}, tiers...)
		for range 3 {
			_, _ = never.GetOrLoad(t.Context(), "k", 0, load)
		}
		if loads != 4 {
			t.Errorf("%d loads, want 3 more", loads)
		}
	})
}

// A stale value is served at once while one load renews it; where that fails it
// is served on, and not asked for without a pause.
func TestStaleWhileRevalidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := cache.NewMemory(cache.MemoryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		c, err := cache.New(cache.Options[int64]{Stale: time.Minute}, m)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var loads atomic.Int64
		failing := false
		load := func(ctx context.Context) (int64, error) {
			n := loads.Add(1)
			time.Sleep(100 * time.Millisecond)
			if failing {
				return 0, errors.New("no")
			}
			return n, ctx.Err()
		}
		get := func(want int64) {
			t.Helper()
			ctx, cancel := context.WithCancel(t.Context())
			start := time.Now()
			v, err := c.GetOrLoad(ctx, "k", time.Second, load)
			cancel() // a renewal outlives its caller
			if v != want || err != nil || want > 1 && time.Since(start) > 0 {
				t.Errorf("GetOrLoad = %d, %v after %v, want %d at once", v, err, time.Since(start), want)
			}
		}
		get(1)
		time.Sleep(2 * time.Second)
		for range 20 {
			get(1) // stale
		}
		time.Sleep(200 * time.Millisecond)
		get(2)
		failing = true
		time.Sleep(2 * time.Second)
		for range 20 {
			get(2)
			time.Sleep(10 * time.Millisecond)
		}
		if n := loads.Load(); n != 3 {
			t.Errorf("%d loads, want 3: the first, one renewal, one that failed", n)
		}
		time.Sleep(2 * time.Minute) // past Stale: nothing is served any more
		if _, err := c.GetOrLoad(t.Context(), "k", time.Second, load); err == nil {
			t.Error("a value was served past Stale")
		}
	})
}

// Close ends renewals, also one whose load waits for ever.
func TestCloseEndsRenewals(t *testing.T) {
	m := memory(t, cache.MemoryOptions{})
	c, err := cache.New(cache.Options[int]{Stale: time.Hour}, m)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Set(t.Context(), "k", 1, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Millisecond)
	started := make(chan struct{})
	v, err := c.GetOrLoad(t.Context(), "k", 0, func(ctx context.Context) (int, error) {
		close(started)
		<-ctx.Done()
		return 0, ctx.Err()
	})
	<-started
	if err := errors.Join(err, c.Close()); v != 1 || err != nil {
		t.Errorf("GetOrLoad = %d, %v", v, err)
	}
	if v, err := c.GetOrLoad(t.Context(), "k", 0, func(context.Context) (int, error) { panic("renewed after Close") }); v != 1 || err != nil {
		t.Errorf("after Close: %d, %v", v, err)
	}
}

// A renewal that panics costs the service nothing.
func TestRenewalThatPanics(t *testing.T) {
	m := memory(t, cache.MemoryOptions{})
	c := typed(t, cache.Options[int]{Stale: time.Hour}, m)
	if err := c.Set(t.Context(), "k", 1, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Millisecond)
	if v, err := c.GetOrLoad(t.Context(), "k", 0, func(context.Context) (int, error) { panic("no") }); v != 1 || err != nil {
		t.Errorf("GetOrLoad = %d, %v", v, err)
	}
}

func TestMemoryTTLBoundsTheNearTier(t *testing.T) {
	m, r := memory(t, cache.MemoryOptions{}), open(t, cache.RedisOptions{URL: testkit.Redis(t).URL()})
	c := typed(t, cache.Options[string]{MemoryTTL: 20 * time.Millisecond}, m, r)
	if err := c.Set(t.Context(), "k", "v", time.Hour); err != nil {
		t.Fatal(err)
	}
	until(t, "memory has dropped it", func() bool { return m.Stats().Size == 0 })
	if v, ok, err := c.Get(t.Context(), "k"); v != "v" || !ok || err != nil {
		t.Errorf("Get = %q, %v, %v", v, ok, err)
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	m := memory(t, cache.MemoryOptions{})
	var none *cache.Redis
	for name, err := range map[string]error{
		"no tier":    second(cache.New(cache.Options[int]{})),
		"nil tier":   second(cache.New(cache.Options[int]{}, m, none)),
		"stale":      second(cache.New(cache.Options[int]{Stale: -1}, m)),
		"half codec": second(cache.New(cache.Options[int]{Codec: cache.Codec[int]{Encode: cache.JSON[int]().Encode}}, m)),
	} {
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	c := typed(t, cache.Options[chan int]{}, m)
	if err := c.Set(t.Context(), "k", make(chan int), 0); err == nil {
		t.Error("a channel was encoded")
	}
}

func second[T any](_ T, err error) error { return err }

// Keys come a page at a time, each once, and looking touches none.
func TestKeysByPages(t *testing.T) {
	tiers(t, func(t *testing.T, c cache.Tier) {
		for i := range 2500 {
			set(t, c, fmt.Sprintf("user:%04d", i), strings.Repeat("x", i%7), time.Hour)
		}
		set(t, c, "other", "v", cache.Forever)
		has(t, c, "user:0007")
		seen, pages := map[string]cache.Key{}, 0
		for q := (cache.KeyQuery{Pattern: "user:*", Limit: 99}); ; pages++ {
			page, err := c.Keys(t.Context(), q)
			if err != nil || len(page.Keys) > 99 {
				t.Fatalf("%d keys, %v", len(page.Keys), err)
			}
			for _, k := range page.Keys {
				if _, twice := seen[k.Name]; twice {
					t.Errorf("%s came twice", k.Name)
				}
				seen[k.Name] = k
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
		}
		if len(seen) != 2500 || pages < 25 {
			t.Errorf("%d keys on %d pages", len(seen), pages+1)
		}
		k := seen["user:0007"]
		if k.Size <= 0 || k.TTL <= 59*time.Minute || k.TTL > time.Hour || k.Hits > 1 {
			t.Errorf("key = %+v", k)
		}
		all, err := c.Keys(t.Context(), cache.KeyQuery{Pattern: "other"})
		if err != nil || len(all.Keys) != 1 || all.Keys[0].TTL != cache.Forever {
			t.Errorf("other = %+v, %v", all, err)
		}
		if _, err := c.Keys(t.Context(), cache.KeyQuery{Cursor: "nonsense"}); !errors.Is(err, cache.ErrCursor) {
			t.Errorf("a cursor that is none: %v", err)
		}
	})
}

// Listing must not change what Redis evicts: idle times grow on.
func TestListingTouchesNoKeyOfRedis(t *testing.T) {
	s := testkit.Redis(t, "--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb")
	c := open(t, cache.RedisOptions{URL: s.URL()})
	set(t, c, "k", "v", time.Hour)
	raw := goredis.NewClient(&goredis.Options{Addr: s.Addr()})
	defer raw.Close()
	until(t, "the key has been idle", func() bool {
		page, err := c.Keys(t.Context(), cache.KeyQuery{})
		if err != nil || len(page.Keys) != 1 {
			t.Fatalf("Keys = %+v, %v", page, err)
		}
		return page.Keys[0].Idle >= 2*time.Second && raw.ObjectIdleTime(t.Context(), "pulse_api:k").Val() >= 2*time.Second
	})
}

// A key that is listed again and again counts as one that no one uses.
func TestListingTouchesNoKeyOfMemory(t *testing.T) {
	c := memory(t, cache.MemoryOptions{})
	set(t, c, "k", "v", time.Hour)
	for range 10 {
		page, err := c.Keys(t.Context(), cache.KeyQuery{})
		if err != nil || len(page.Keys) != 1 || page.Keys[0].Hits != 0 {
			t.Fatalf("listed: %+v, %v", page, err)
		}
	}
	if s := c.Stats(); s.Hits+s.Misses != 0 {
		t.Errorf("looking counts as asking: %+v", s)
	}
}
