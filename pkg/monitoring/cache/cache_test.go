package cache_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil { // these tests wait for other processes
		panic(err)
	}
	code := m.Run()
	// The Redis client notices within a second that its pool is closed, where it
	// was dialling a server that is down.
	for deadline := time.Now().Add(5 * time.Second); code == 0 && goleak.Find() != nil && time.Now().Before(deadline); {
	}
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, "goroutines left:", err)
		code = 1
	}
	os.Exit(code)
}

func memory(t testing.TB, o cache.MemoryOptions) *cache.Memory {
	t.Helper()
	c, err := cache.NewMemory(o)
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

// tiers runs a test against both tiers: what a user sees must not differ.
func tiers(t *testing.T, f func(*testing.T, cache.Tier)) {
	t.Run("memory", func(t *testing.T) { f(t, memory(t, cache.MemoryOptions{})) })
	t.Run("redis", func(t *testing.T) { f(t, open(t, cache.RedisOptions{URL: testkit.Redis(t).URL()})) })
}

// clear removes keys and returns how many.
func clear(ctx context.Context, c cache.Tier, pattern string, dry bool) (int64, error) {
	done, err := c.Clear(ctx, pattern, cache.ClearOptions{DryRun: dry})
	return done.Keys, err
}

func set(t testing.TB, c cache.Tier, key, value string, ttl time.Duration) {
	t.Helper()
	if err := c.Set(t.Context(), key, []byte(value), ttl); err != nil {
		t.Fatal(err)
	}
}

func has(t testing.TB, c cache.Tier, key string) bool {
	t.Helper()
	_, ok, err := c.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func TestValuesComeBack(t *testing.T) {
	tiers(t, func(t *testing.T, c cache.Tier) {
		for _, v := range []string{"", "v", "\x00\xff", strings.Repeat("x", 1<<20)} {
			set(t, c, "k", v, 0)
			if got, ok, err := c.Get(t.Context(), "k"); !ok || err != nil || string(got) != v {
				t.Errorf("Get = %.20q, %v, %v, want %.20q", got, ok, err, v)
			}
		}
		if err := errors.Join(c.Delete(t.Context(), "k"), c.Delete(t.Context(), "k")); err != nil || has(t, c, "k") {
			t.Errorf("after Delete: %v", err)
		}
	})
}

func TestTTL(t *testing.T) {
	tiers(t, func(t *testing.T, c cache.Tier) {
		set(t, c, "short", "v", 30*time.Millisecond)
		set(t, c, "default", "v", 0)
		set(t, c, "forever", "v", cache.Forever)
		if !has(t, c, "short") {
			t.Error("short is gone at once")
		}
		until(t, "short has expired", func() bool { return !has(t, c, "short") })
		if !has(t, c, "default") || !has(t, c, "forever") {
			t.Error("the others are gone too")
		}
	})
}

// Both tiers take the same patterns to mean the same.
func TestPatterns(t *testing.T) {
	keys := []string{"user:1", "user:2", "user:10", "user:[x]", "user:*", "session:1", "a", "", "a-b", `back\slash`}
	patterns := []string{
		"*", "user:*", "user:?", "user:[12]", "user:[^1]", "user:[1-2]", "user:[2-1]", `user:\[x\]`, `user:\*`, "*:1", "a[-]b", "a[+--]b",
		"", "**1", "user:[", "user:[12", `back\\slash`, `x\`, "u*r*1*", "[]", "[^]", "?",
	}
	got := map[string][]int64{}
	tiers(t, func(t *testing.T, c cache.Tier) {
		for _, k := range keys {
			set(t, c, k, "v", 0)
		}
		for _, p := range patterns {
			n, err := clear(t.Context(), c, p, true)
			if err != nil {
				t.Fatal(err)
			}
			got[p] = append(got[p], n)
		}
	})
	for _, p := range patterns {
		if n := got[p]; len(n) == 2 && n[0] != n[1] {
			t.Errorf("%q: memory matches %d keys, redis %d", p, n[0], n[1])
		}
	}
}

func FuzzPatternsAsText(f *testing.F) { // property: an escaped text matches itself alone
	f.Add("user:*", "user:1")
	f.Add(`a[b]\?`, "x")
	f.Fuzz(func(t *testing.T, text, other string) {
		c := memory(t, cache.MemoryOptions{})
		set(t, c, text, "v", 0)
		set(t, c, other, "v", 0)
		escaped := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(text)
		if n, err := clear(t.Context(), c, escaped, true); n != 1 || err != nil {
			t.Errorf("%q matches %d of %q and %q: %v", escaped, n, text, other, err)
		}
	})
}

func TestMemoryIsBoundedInBytesAndEntries(t *testing.T) {
	c := memory(t, cache.MemoryOptions{MaxBytes: 1 << 20, MaxEntries: 100})
	for i := range 10_000 {
		set(t, c, fmt.Sprintf("small:%d", i), "v", 0)
	}
	if s := c.Stats(); s.Size > 100 || s.Size < 50 || s.Evictions < 9_800 {
		t.Errorf("after 10,000 small values: %+v", s)
	}
	for i := range 100 {
		set(t, c, fmt.Sprintf("large:%d", i), strings.Repeat("x", 100_000), 0)
	}
	set(t, c, "huge", strings.Repeat("x", 2<<20), 0)
	if s := c.Stats(); s.Bytes.Value() > 1<<20 || s.Bytes.Value() <= 0 {
		t.Errorf("after large values: %d bytes, want at most 1 MiB", s.Bytes.Value())
	}
}

func TestMemoryStatistics(t *testing.T) {
	c := memory(t, cache.MemoryOptions{})
	set(t, c, "user:1", "v", 0)
	set(t, c, "user:1", "w", 0)
	set(t, c, "plain", "v", 0)
	set(t, c, "gone:1", "v", time.Millisecond)
	has(t, c, "user:1")
	has(t, c, "user:2")
	until(t, "an entry expires", func() bool { return c.Stats().ExpiredEvictions == 1 })
	if n, err := clear(t.Context(), c, "user:*", false); n != 1 || err != nil {
		t.Errorf("Clear = %d, %v", n, err)
	}
	s := c.Stats()
	if s.Size != 1 || s.Hits != 1 || s.Misses != 1 || s.HitRate != 0.5 || s.TotalRequests != 2 || s.Cleared.Value() != 1 || s.Evictions != 0 {
		t.Errorf("stats = %+v", s)
	}
	if p := s.Prefixes[0]; p.Prefix != "user" || p.Entries != 0 || p.Hits != 1 || p.Misses != 1 {
		t.Errorf("prefixes = %+v", s.Prefixes)
	}
	for i := range 1000 {
		has(t, c, fmt.Sprintf("made-up-%d:x", i))
	}
	if n := len(c.Stats().Prefixes); n > 65 {
		t.Errorf("%d prefixes, want at most 65", n)
	}
}

// Looking at the statistics and counting keys must not make a key look used.
func TestLookingChangesNothing(t *testing.T) {
	c := memory(t, cache.MemoryOptions{})
	set(t, c, "k:1", "v", 0)
	before := c.Stats()
	for range 10 {
		if _, err := clear(t.Context(), c, "*", true); err != nil {
			t.Fatal(err)
		}
	}
	after := c.Stats()
	if before.TotalRequests != after.TotalRequests || before.Size != after.Size || after.Prefixes[0].Hits != 0 {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

func TestLoadComputesOnce(t *testing.T) {
	tiers(t, func(t *testing.T, c cache.Tier) {
		var calls atomic.Int64
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				v, err := cache.Load(t.Context(), c, "k", time.Minute, func(context.Context) (map[string]int, error) {
					calls.Add(1)
					time.Sleep(20 * time.Millisecond)
					return map[string]int{"n": 7}, nil
				})
				if err != nil || v["n"] != 7 {
					t.Errorf("Load = %v, %v", v, err)
				}
				v["n"]++ // each caller has a value of its own
			})
		}
		wg.Wait()
		if calls.Load() != 1 {
			t.Errorf("computed %d times, want once", calls.Load())
		}
	})
}

// C7: nil and zero are values; an error is not.
func TestLoadKeepsNilAndZeroButNoError(t *testing.T) {
	tiers(t, func(t *testing.T, c cache.Tier) {
		calls := 0
		for range 3 {
			v, err := cache.Load(t.Context(), c, "nil", 0, func(context.Context) (*int, error) { calls++; return nil, nil })
			if v != nil || err != nil {
				t.Errorf("Load = %v, %v", v, err)
			}
		}
		broken := errors.New("no")
		for range 3 {
			_, err := cache.Load(t.Context(), c, "bad", 0, func(context.Context) (int, error) { calls++; return 0, broken })
			if !errors.Is(err, broken) {
				t.Error(err)
			}
		}
		if calls != 1+3 {
			t.Errorf("computed %d times, want 4", calls)
		}
	})
}

func TestLoadOutlivesItsLeader(t *testing.T) {
	c := memory(t, cache.MemoryOptions{})
	leader, cancel := context.WithCancel(t.Context())
	started := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := cache.Load(leader, c, "k", 0, func(ctx context.Context) (int, error) {
			close(started)
			<-ctx.Done()
			return 0, ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("leader: %v", err)
		}
	})
	<-started
	wg.Go(func() {
		if v, err := cache.Load(t.Context(), c, "k", 0, func(context.Context) (int, error) { return 2, nil }); v != 2 || err != nil {
			t.Errorf("follower: %v, %v", v, err)
		}
	})
	cancel()
	wg.Wait()
}

func TestLoadWithoutRedis(t *testing.T) {
	c := open(t, cache.RedisOptions{URL: "redis://" + testkit.FreeAddr(t), Timeout: 200 * time.Millisecond})
	v, err := cache.Load(t.Context(), c, "k", 0, func(context.Context) (string, error) { return "computed", nil })
	if v != "computed" || err != nil || c.Counts().Errors == 0 {
		t.Errorf("Load = %q, %v, counted %+v", v, err, c.Counts())
	}
}

func TestSetCopies(t *testing.T) {
	c := memory(t, cache.MemoryOptions{})
	v := []byte("abc")
	if err := c.Set(t.Context(), "k", v, 0); err != nil {
		t.Fatal(err)
	}
	v[0] = 'x'
	if got, _, _ := c.Get(t.Context(), "k"); !bytes.Equal(got, []byte("abc")) {
		t.Errorf("Get = %q", got)
	}
}
