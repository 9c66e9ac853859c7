package cache

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// overhead is what an entry takes beside its key and value, about.
const overhead = 160

// MemoryOptions configures [NewMemory]. The zero value is ready to use.
type MemoryOptions struct {
	MaxBytes   int64         // keys, values and what they take beside; 0 means 64 MiB
	MaxEntries int64         // 0 means 10,000
	DefaultTTL time.Duration // of values set with ttl 0; 0 means DefaultTTL, below 0 Forever
}

// Memory keeps values in the process. It is bounded in bytes and in entries:
// each entry weighs its bytes, but at least MaxBytes/MaxEntries, so neither
// bound is passed and many tiny values next to large ones are evicted somewhat
// before either. What is used least goes first.
type Memory struct {
	opts     MemoryOptions
	otter    *otter.Cache[string, item]
	prefixes prefixes
	group    flights

	hits, misses             atomic.Int64
	evicted, expired, clears atomic.Int64
	bytes                    atomic.Int64
}

type item struct {
	value []byte
	ttl   time.Duration
}

var _ Cache = (*Memory)(nil)

// NewMemory returns an empty memory tier. Its caller closes it.
func NewMemory(o MemoryOptions) (*Memory, error) {
	if o.MaxBytes < 0 || o.MaxEntries < 0 {
		return nil, fmt.Errorf("memory cache of %d bytes and %d entries: want 0 or more of both", o.MaxBytes, o.MaxEntries)
	}
	o.MaxBytes = cmp.Or(o.MaxBytes, 64<<20)
	o.MaxEntries = cmp.Or(o.MaxEntries, 10_000)
	o.DefaultTTL = cmp.Or(o.DefaultTTL, DefaultTTL)
	m := &Memory{opts: o}
	least := (o.MaxBytes + o.MaxEntries - 1) / o.MaxEntries
	var err error
	m.otter, err = otter.New(&otter.Options[string, item]{
		MaximumWeight: uint64(o.MaxBytes),
		Weigher: func(key string, it item) uint32 {
			return uint32(min(max(size(key, it), least), math.MaxUint32))
		},
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[string, item]) time.Duration { return e.Value.ttl }),
		OnAtomicDeletion: m.deleted,
	})
	if err != nil {
		return nil, fmt.Errorf("memory cache: %w", err)
	}
	return m, nil
}

func size(key string, it item) int64 { return int64(len(key)+len(it.value)) + overhead }

// deleted counts an entry out. It runs under the cache's lock.
func (m *Memory) deleted(e otter.DeletionEvent[string, item]) {
	m.bytes.Add(-size(e.Key, e.Value))
	m.prefixes.of(e.Key).entries.Add(-1)
	switch e.Cause {
	case otter.CauseOverflow:
		m.evicted.Add(1)
	case otter.CauseExpiration:
		m.expired.Add(1)
	}
}

// Get implements [Cache]. Its error is always nil.
func (m *Memory) Get(_ context.Context, key string) ([]byte, bool, error) {
	it, ok := m.otter.GetIfPresent(key)
	if !ok {
		m.misses.Add(1)
		m.prefixes.of(key).misses.Add(1)
		return nil, false, nil
	}
	m.hits.Add(1)
	m.prefixes.of(key).hits.Add(1)
	return it.value, true, nil
}

// Set implements [Cache]. A value larger than MaxBytes is not kept, and counts
// as evicted for its size. Its error is always nil.
func (m *Memory) Set(_ context.Context, key string, value []byte, ttl time.Duration) error {
	if ttl == 0 {
		ttl = m.opts.DefaultTTL
	}
	if ttl < 0 {
		ttl = math.MaxInt64
	}
	if int64(len(key)+len(value))+overhead > m.opts.MaxBytes {
		m.otter.Invalidate(key) // what stands there is out of date
		m.evicted.Add(1)
		return nil
	}
	it := item{bytes.Clone(value), ttl}
	m.bytes.Add(size(key, it))
	m.prefixes.of(key).entries.Add(1)
	m.otter.Set(key, it) // what it replaces is counted out by deleted
	return nil
}

// Delete implements [Cache]. Its error is always nil.
func (m *Memory) Delete(_ context.Context, key string) error {
	m.otter.Invalidate(key)
	return nil
}

// Clear implements [Cache]. Its error is that of ctx.
func (m *Memory) Clear(ctx context.Context, pattern string, dryRun bool) (n int64, err error) {
	for key := range m.otter.Keys() {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		if !match(pattern, key) {
			continue
		}
		if dryRun {
			n++
		} else if _, ok := m.otter.Invalidate(key); ok {
			n++
			m.clears.Add(1)
		}
	}
	return n, nil
}

// Close ends the goroutines. The cache works on, but expires entries only as
// they are asked for.
func (m *Memory) Close() error {
	m.otter.StopAllGoroutines()
	return nil
}

func (m *Memory) flights() *flights { return &m.group }

// Stats returns what the tier holds and counted. It changes nothing.
func (m *Memory) Stats() api.MemoryStats {
	m.otter.CleanUp() // what has expired is no longer there
	hits, misses := m.hits.Load(), m.misses.Load()
	return api.MemoryStats{
		Size: api.Count(m.otter.EstimatedSize()), MaxSize: api.Count(m.opts.MaxEntries),
		Hits: api.Count(hits), Misses: api.Count(misses), HitRate: rate(hits, misses), TotalRequests: api.Count(hits + misses),
		Evictions: api.Count(m.evicted.Load()), ExpiredEvictions: api.Count(m.expired.Load()), Cleared: api.CountOf(m.clears.Load()),
		Bytes: api.CountOf(m.bytes.Load()), MaxBytes: api.CountOf(m.opts.MaxBytes), Prefixes: m.prefixes.list(),
	}
}

// Status returns the tier's statistics with its verdict: memory is healthy.
func (m *Memory) Status() api.MemoryHealth {
	return api.MemoryHealth{Status: api.Healthy, Stats: m.Stats()}
}

// rate is the share of hits, 0 where nothing was asked.
func rate(hits, misses int64) float64 {
	if hits+misses == 0 {
		return 0
	}
	return float64(hits) / float64(hits+misses)
}
