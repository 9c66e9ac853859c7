package bench

import (
	"context"
	"math/rand"
	"strconv"
	"testing"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/hashicorp/golang-lru/v2/expirable"
	"github.com/maypok86/otter/v2"
	"github.com/maypok86/otter/v2/stats"

	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
)

// Keys and values of the caches' benchmarks: 10,000 keys asked for as a web is,
// by a Zipf of 1.01, with an hour to live each.
const (
	cacheKeys = 10_000
	cacheTTL  = time.Hour
)

var (
	cacheNames = func() (out []string) {
		for i := range cacheKeys {
			out = append(out, "user:"+strconv.Itoa(i))
		}
		return out
	}()
	cacheValue = string(make([]byte, 64))
	cacheOrder = func() (out []int) {
		z := rand.NewZipf(rand.New(rand.NewSource(1)), 1.01, 1, cacheKeys-1)
		for range 1 << 16 {
			out = append(out, int(z.Uint64()))
		}
		return out
	}()
)

func keyAt(i int) string { return cacheNames[cacheOrder[i&(len(cacheOrder)-1)]] }

// kept is a cache that holds every key. ristretto and golang-lru load nothing;
// golang-lru keeps no statistics; only ours has a bound in bytes.
type kept struct {
	get  func(string) bool
	set  func(string)
	load func(string) bool // nil for one that does not
}

func memoryTier(tb testing.TB) *cache.Memory {
	m := must(cache.NewMemory(cache.MemoryOptions{MaxEntries: 4 * cacheKeys}))
	tb.Cleanup(func() { _ = m.Close() }) // never an error
	return m
}

func loadText(context.Context, string) (string, error) { return cacheValue, nil }

func newOurs(tb testing.TB) kept {
	ctx := context.Background()
	c := must(cache.New(cache.Options[string]{TTL: cacheTTL}, memoryTier(tb)))
	return kept{
		get: func(k string) bool { _, ok, _ := c.Get(ctx, k); return ok },
		set: func(k string) { _ = c.Set(ctx, k, cacheValue, 0) },
		load: func(k string) bool {
			_, err := c.GetOrLoad(ctx, k, 0, func(ctx context.Context) (string, error) { return loadText(ctx, k) })
			return err == nil
		},
	}
}

// newOursBytes is the tier alone, which copies what it keeps.
func newOursBytes(tb testing.TB) kept {
	ctx, m, b := context.Background(), memoryTier(tb), []byte(cacheValue)
	return kept{
		get: func(k string) bool { _, ok, _ := m.Get(ctx, k); return ok },
		set: func(k string) { _ = m.Set(ctx, k, b, cacheTTL) },
	}
}

func newOtter(tb testing.TB, o *otter.Options[string, string]) kept {
	o.MaximumSize, o.ExpiryCalculator = 4*cacheKeys, otter.ExpiryWriting[string, string](cacheTTL)
	c := must(otter.New(o))
	tb.Cleanup(func() { c.StopAllGoroutines() })
	loader := otter.LoaderFunc[string, string](loadText)
	return kept{
		get:  func(k string) bool { _, ok := c.GetIfPresent(k); return ok },
		set:  func(k string) { c.Set(k, cacheValue) },
		load: func(k string) bool { _, err := c.Get(context.Background(), k, loader); return err == nil },
	}
}

func newRistretto(tb testing.TB) kept {
	c := must(ristretto.NewCache(&ristretto.Config[string, string]{
		NumCounters: 40 * cacheKeys, MaxCost: 4 * cacheKeys, BufferItems: 64, Metrics: true, IgnoreInternalCost: true,
	}))
	tb.Cleanup(c.Close)
	return kept{
		get: func(k string) bool { c.Get(k); return true }, // it may have dropped the set
		set: func(k string) { c.SetWithTTL(k, cacheValue, 1, cacheTTL) },
	}
}

func newLRU(testing.TB) kept {
	c := expirable.NewLRU[string, string](4*cacheKeys, nil, cacheTTL)
	return kept{
		get: func(k string) bool { _, ok := c.Get(k); return ok },
		set: func(k string) { c.Add(k, cacheValue) },
	}
}

var caches = []struct {
	name  string
	loads bool
	make  func(testing.TB) kept
}{
	{"pulsectl", true, newOurs},
	{"pulsectl-bytes", false, newOursBytes},
	{"otter", true, func(tb testing.TB) kept { return newOtter(tb, &otter.Options[string, string]{}) }},
	{"otter-stats", true, func(tb testing.TB) kept {
		return newOtter(tb, &otter.Options[string, string]{StatsRecorder: stats.NewCounter()})
	}},
	{"ristretto", false, newRistretto},
	{"golang-lru", false, newLRU},
}

// filled measures an operation on each cache that has it, all keys being there.
func filled(loading bool, op func(kept, string) bool) (out []impl) {
	for _, c := range caches {
		if loading && !c.loads {
			continue
		}
		out = append(out, impl{c.name, func(tb testing.TB) func(int) {
			k := c.make(tb)
			for _, name := range cacheNames {
				k.set(name)
			}
			return func(i int) {
				if !op(k, keyAt(i)) {
					tb.Error("a key is not there")
				}
			}
		}})
	}
	return out
}

func hitKey(k kept, name string) bool  { return k.get(name) }
func setKey(k kept, name string) bool  { k.set(name); return true }
func loadKey(k kept, name string) bool { return k.load(name) }

// missing measures a load of a key that is not there, a new one each time.
func missing() (out []impl) {
	for _, c := range caches {
		if !c.loads {
			continue
		}
		out = append(out, impl{c.name, func(tb testing.TB) func(int) {
			k := c.make(tb)
			return func(i int) { k.load("new:" + strconv.Itoa(i)) }
		}})
	}
	return out
}

func BenchmarkCacheHit(b *testing.B)         { compare(b, filled(false, hitKey)) }
func BenchmarkCacheHitParallel(b *testing.B) { compareParallel(b, filled(false, hitKey)) }
func BenchmarkCacheSet(b *testing.B)         { compare(b, filled(false, setKey)) }
func BenchmarkCacheLoadHit(b *testing.B)     { compare(b, filled(true, loadKey)) }
func BenchmarkCacheLoadMiss(b *testing.B)    { compare(b, missing()) }
