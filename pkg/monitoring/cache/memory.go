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
const overhead = 224

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
	otter    *otter.Cache[string, *entry]
	prefixes prefixes
	recent   recent
	group    flights
}

// entry is an item in memory, with its counters at hand.
type entry struct {
	item
	ttl  time.Duration
	hits atomic.Int64
}

var _ Tier = (*Memory)(nil)

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
	m.otter, err = otter.New(&otter.Options[string, *entry]{
		MaximumWeight: uint64(o.MaxBytes),
		Weigher: func(_ string, e *entry) uint32 {
			return uint32(min(max(e.size, least), math.MaxUint32))
		},
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[string, *entry]) time.Duration { return e.Value.ttl }),
		OnAtomicDeletion: deleted,
	})
	if err != nil {
		return nil, fmt.Errorf("memory cache: %w", err)
	}
	return m, nil
}

// deleted counts an entry out. It runs under the cache's lock.
func deleted(e otter.DeletionEvent[string, *entry]) {
	p := e.Value.prefix
	p.bytes.Add(-e.Value.size)
	p.entries.Add(-1)
	switch e.Cause {
	case otter.CauseOverflow:
		p.evicted.Add(1)
	case otter.CauseExpiration:
		p.expired.Add(1)
	}
}

// Get implements [Tier]. Its error is always nil. A value that a [Cache] keeps
// as it is has no bytes: it counts as missing.
func (m *Memory) Get(_ context.Context, key string) ([]byte, bool, error) {
	e, ok := m.otter.GetIfPresent(key)
	if !ok || e.obj != nil {
		m.prefixes.of(key).note(miss)
		return nil, false, nil
	}
	e.hits.Add(1)
	e.prefix.note(hit)
	return e.data, true, nil
}

// Set implements [Tier]. A value larger than MaxBytes is not kept, and counts
// as evicted for its size. Its error is always nil.
func (m *Memory) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return m.store(ctx, key, &item{data: bytes.Clone(value), size: int64(len(value))}, ttl)
}

func (m *Memory) store(_ context.Context, key string, it *item, ttl time.Duration) error {
	if ttl == 0 {
		ttl = m.opts.DefaultTTL
	}
	if ttl < 0 {
		ttl = math.MaxInt64
	}
	e := &entry{item: *it, ttl: ttl}
	e.prefix = m.prefixes.of(key)
	e.size += int64(len(key)) + overhead
	if e.size > m.opts.MaxBytes {
		m.otter.Invalidate(key) // what stands there is out of date
		e.prefix.evicted.Add(1)
		return nil
	}
	e.prefix.bytes.Add(e.size)
	e.prefix.entries.Add(1)
	m.otter.Set(key, e) // what it replaces is counted out by deleted
	return nil
}

func (m *Memory) fetch(_ context.Context, key string) (*item, error) {
	e, ok := m.otter.GetIfPresent(key)
	if !ok {
		return nil, nil
	}
	e.hits.Add(1)
	return &e.item, nil
}

func (m *Memory) note(key string, it *item, o outcome) {
	p := (*prefix)(nil)
	if it != nil {
		p = it.prefix
	}
	if p == nil {
		p = m.prefixes.of(key)
	}
	p.note(o)
}

func (m *Memory) deadline() time.Duration { return 0 }

func (m *Memory) flights() *flights { return &m.group }

// Delete implements [Tier]. Its error is always nil.
func (m *Memory) Delete(_ context.Context, key string) error {
	m.otter.Invalidate(key)
	return nil
}

// Clear implements [Tier]. Its error is that of ctx. It takes so little time
// that it knows neither Budget nor Cursor.
func (m *Memory) Clear(ctx context.Context, pattern string, o ClearOptions) (done Cleared, err error) {
	for key := range m.otter.Keys() {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		if !match(pattern, key) {
			continue
		}
		if o.DryRun {
			done.Keys++
		} else if e, ok := m.otter.Invalidate(key); ok {
			done.Keys++
			e.prefix.cleared.Add(1)
		}
	}
	done.Progress = 1
	if o.Tell != nil {
		o.Tell(done)
	}
	return done, nil
}

// Close ends the goroutines. The cache works on, but expires entries only as
// they are asked for.
func (m *Memory) Close() error {
	m.otter.StopAllGoroutines()
	return nil
}

// Stats returns what the tier holds and counted. It changes nothing.
func (m *Memory) Stats() api.MemoryStats {
	m.otter.CleanUp() // what has expired is no longer there
	s := m.prefixes.sum()
	return api.MemoryStats{
		Size: api.Count(m.otter.EstimatedSize()), MaxSize: api.Count(m.opts.MaxEntries),
		Hits: api.Count(s.Hits), Misses: api.Count(s.Misses), HitRate: rate(s.Hits, s.Misses), TotalRequests: api.Count(s.Hits + s.Misses),
		Evictions: api.Count(s.Evicted), ExpiredEvictions: api.Count(s.Expired), Cleared: api.CountOf(s.Cleared),
		Bytes: api.CountOf(s.Bytes), MaxBytes: api.CountOf(m.opts.MaxBytes),
		Recent: m.recent.since(time.Now(), s.Hits, s.Misses), Prefixes: m.prefixes.list(true),
	}
}

// Status returns the tier's statistics with its verdict: memory is healthy.
func (m *Memory) Status() api.MemoryHealth {
	return api.MemoryHealth{Status: api.Healthy, Stats: m.Stats()}
}
