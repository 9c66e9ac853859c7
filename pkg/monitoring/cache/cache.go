// Package cache keeps answers that are dear to compute: in memory, or in Redis.
//
// Both tiers are a [Cache]: keys are text, values bytes, each with a time to
// live of its own. [Load] puts typed values on top and lets one caller compute
// what many ask for. A cache is never a reason to fail: where Redis does not
// answer Load computes, and the tier counts the error and says so in its status.
package cache

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// DefaultTTL is how long a value is kept that was set with ttl 0.
const DefaultTTL = time.Hour

// Forever as a ttl keeps a value until it is evicted, deleted or cleared.
const Forever time.Duration = -1

// Cache is one tier. Its methods may be called by any goroutine.
type Cache interface {
	// Get returns the value of key and whether there is one. The caller must
	// not change it. Empty values are values.
	Get(ctx context.Context, key string) ([]byte, bool, error)

	// Set keeps value, which it copies, for ttl: 0 means [DefaultTTL] or what
	// the tier's options say, below 0 [Forever].
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error

	// Delete removes key; one that is not there is no error.
	Delete(ctx context.Context, key string) error

	// Clear removes the keys that match a glob pattern as Redis has them
	// (* ? [a-z] [^a] \), and returns how many. With dryRun it only counts. On
	// an error the count is of what was removed before.
	Clear(ctx context.Context, pattern string, dryRun bool) (int64, error)

	// Close ends the tier's goroutines and connections.
	Close() error

	flights() *flights
}

// Load returns the value of key, computed by load where it is not cached, and
// then kept for ttl. Of several callers who miss one key one computes; the
// others wait for it, or for their own ctx. Values are kept as JSON: nil and
// zero values like any other. Errors of load are returned and not kept; errors
// of the cache are counted by it and otherwise only cost the computation.
func Load[T any](ctx context.Context, c Cache, key string, ttl time.Duration, load func(context.Context) (T, error)) (T, error) {
	for {
		if v, ok := cached[T](ctx, c, key); ok {
			return v, nil
		}
		f, leader := c.flights().join(key)
		if leader {
			return lead(ctx, c, key, ttl, f, load)
		}
		var none T
		select {
		case <-ctx.Done():
			return none, ctx.Err()
		case <-f.done:
		}
		if f.err == nil {
			var v T
			if json.Unmarshal(f.value, &v) == nil {
				return v, nil
			}
			return load(ctx) // another type under the same key: not what we want
		}
		if !f.left {
			return none, f.err
		}
		if err := ctx.Err(); err != nil { // the leader gave up; we need not
			return none, err
		}
	}
}

// cached returns a value from the cache. One that is no T counts as missing.
func cached[T any](ctx context.Context, c Cache, key string) (v T, ok bool) {
	b, ok, err := c.Get(ctx, key)
	if err != nil || !ok {
		return v, false
	}
	if json.Unmarshal(b, &v) != nil {
		var none T
		return none, false
	}
	return v, true
}

// lead computes for all who wait on f.
func lead[T any](ctx context.Context, c Cache, key string, ttl time.Duration, f *flight, load func(context.Context) (T, error)) (v T, err error) {
	f.err = fmt.Errorf("load %q: the computation panicked", key) // until it has not
	defer c.flights().leave(key, f)
	if v, err = load(ctx); err != nil {
		f.err, f.left = err, ctx.Err() != nil
		return v, err
	}
	if f.value, err = json.Marshal(v); err != nil {
		f.err = fmt.Errorf("cache %q: %w", key, err)
		return v, f.err
	}
	f.err = nil
	_ = c.Set(ctx, key, f.value, ttl) // counted by the tier; the caller has its value
	return v, nil
}

// flights are the computations under way, by key.
type flights struct {
	mu    sync.Mutex
	byKey map[string]*flight // guarded by mu
}

// flight is one computation; the rest is written before done closes.
type flight struct {
	done  chan struct{}
	value []byte
	err   error
	left  bool // the leader's ctx ended: that err need not be the next one's
}

// join returns the key's flight, and true to the caller who has to fly it.
func (fs *flights) join(key string) (*flight, bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f, ok := fs.byKey[key]; ok {
		return f, false
	}
	f := &flight{done: make(chan struct{})}
	if fs.byKey == nil {
		fs.byKey = map[string]*flight{}
	}
	fs.byKey[key] = f
	return f, true
}

func (fs *flights) leave(key string, f *flight) {
	fs.mu.Lock()
	delete(fs.byKey, key)
	fs.mu.Unlock()
	close(f.done)
}
