package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// GetOrLoad returns the value of key, computed by load where no tier has it,
// and then kept for ttl (0 means Options.TTL, below 0 [Forever]).
//
// Of several callers who miss one key one asks the far tiers and computes; the
// others wait for it, or for their own ctx. An error of load is returned to all
// and not kept, but for one that wraps [ErrNotFound]. Errors of tiers are
// counted by them and cost only the computation; together they never cost one
// caller more than one deadline of the slowest. With Options.Stale a value past
// its ttl is returned at once, while one load behind the callers renews it: if
// that fails the value is served until Stale is over.
func (c *Cache[T]) GetOrLoad(ctx context.Context, key string, ttl time.Duration, load func(context.Context) (T, error)) (T, error) {
	full := c.opts.Prefix + key
	near := c.near()
	for counted := true; ; counted = false {
		f := c.find(ctx, full, 0, near, counted)
		if f.state != missing {
			return c.serve(ctx, key, ttl, f, load)
		}
		fl, leader := c.tiers[0].flights().join(full)
		if leader {
			return c.lead(ctx, key, ttl, fl, load)
		}
		v, done, err := c.follow(ctx, key, fl, load)
		if done {
			return v, err
		}
	}
}

// Load is [Cache.GetOrLoad] of a cache over one tier, with the options' zero
// value.
func Load[T any](ctx context.Context, t Tier, key string, ttl time.Duration, load func(context.Context) (T, error)) (T, error) {
	return build(Options[T]{}, []Tier{t}).GetOrLoad(ctx, key, ttl, load)
}

// near is how many tiers are looked into before a caller joins others.
func (c *Cache[T]) near() int {
	if remote(c.tiers[0]) {
		return 0
	}
	return 1
}

// serve returns what was found, and has it renewed if it is stale.
func (c *Cache[T]) serve(ctx context.Context, key string, ttl time.Duration, f finding[T], load func(context.Context) (T, error)) (T, error) {
	switch f.state {
	case absent:
		var none T
		return none, notFound(key)
	case stale:
		c.renew(ctx, key, ttl, load)
	}
	return f.value, nil
}

// follow waits for another caller's flight. done is false where that caller
// gave up and this one need not.
func (c *Cache[T]) follow(ctx context.Context, key string, fl *flight, load func(context.Context) (T, error)) (v T, done bool, err error) {
	select {
	case <-ctx.Done():
		return v, true, ctx.Err()
	case <-fl.done:
	}
	switch {
	case fl.err == nil && fl.item == nil: // its caller never got that far
		return v, true, fmt.Errorf("load %q: the computation panicked", key)
	case fl.err == nil:
		f, how := c.unwrap(fl.item)
		if how == hit {
			return f.value, true, nil
		}
		v, err = load(ctx) // another type under the same key: not what we want
		return v, true, err
	case !fl.left:
		return v, true, fl.err
	}
	return v, ctx.Err() != nil, ctx.Err()
}

// lead looks into the far tiers, and computes, for all who wait on fl.
func (c *Cache[T]) lead(ctx context.Context, key string, ttl time.Duration, fl *flight, load func(context.Context) (T, error)) (T, error) {
	full, near := c.opts.Prefix+key, c.near()
	defer c.tiers[0].flights().leave(full, fl)
	f := c.find(ctx, full, 0, near, false) // again: another flight may have just ended
	start := time.Now()
	if f.state == missing {
		f = c.find(ctx, full, near, len(c.tiers), true)
	}
	if f.state == missing {
		return c.compute(ctx, key, ttl, fl, time.Since(start), load)
	}
	if fl.item = f.item; f.state == absent {
		fl.err = notFound(key)
	}
	return c.serve(ctx, key, ttl, f, load)
}

// compute loads a value and keeps it. spent is the time that the far tiers took
// already.
func (c *Cache[T]) compute(ctx context.Context, key string, ttl time.Duration, fl *flight, spent time.Duration, load func(context.Context) (T, error)) (T, error) {
	full := c.opts.Prefix + key
	v, err := load(ctx)
	if err != nil {
		fl.err, fl.left = err, ctx.Err() != nil
		if errors.Is(err, ErrNotFound) && c.opts.NotFoundTTL > 0 {
			_ = c.put(ctx, full, c.wrapAbsent(), len(c.tiers), spent) // counted by the tier
		}
		return v, err
	}
	w, err := c.wrap(v, cmp.Or(ttl, c.opts.TTL))
	if err != nil {
		fl.err = fmt.Errorf("cache %q: %w", key, err)
		return v, fl.err
	}
	fl.item = &item{head: w.head, obj: w.obj, data: w.payload, typed: true}
	_ = c.put(ctx, full, w, len(c.tiers), spent) // counted by the tier; the caller has its value
	return v, nil
}

func (c *Cache[T]) wrapAbsent() written {
	ttl := c.opts.NotFoundTTL
	return written{head: head{version: c.opts.Version, absent: true, ends: until(time.Now(), ttl)}, payload: []byte{}, ttl: ttl}
}

// flights are the computations under way, by key.
type flights struct {
	mu    sync.Mutex
	byKey map[string]*flight // guarded by mu
}

// flight is one computation; the rest is written before done closes. One that
// ends with neither an item nor an error panicked.
type flight struct {
	done chan struct{}
	item *item
	err  error
	left bool // the leader's ctx ended: that err need not be the next one's
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
