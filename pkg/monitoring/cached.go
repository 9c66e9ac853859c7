package monitoring

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
)

// Cached returns the value of a key from the caches: from memory, then from
// Redis, else from load, whose value is kept in both for ttl (0 means an hour).
// Of several callers who miss, one asks Redis and loads. A load that returns
// [cache.ErrNotFound] is not asked again for ten seconds. A cache that fails is
// skipped. [NewCache] has more to set.
func Cached[T any](ctx context.Context, m *Monitor, key string, ttl time.Duration, load func(context.Context) (T, error)) (T, error) {
	c, err := cachedAs[T](m)
	if err != nil {
		return load(ctx)
	}
	return c.GetOrLoad(ctx, key, ttl, load)
}

// cachedAs returns the cache that Cached uses for values of T.
func cachedAs[T any](m *Monitor) (*cache.Cache[T], error) {
	t := reflect.TypeFor[T]()
	if c, ok := m.cached.Load(t); ok {
		return c.(*cache.Cache[T]), nil
	}
	c, err := cache.New(cache.Options[T]{}, m.tiers()...)
	if err != nil {
		return nil, err
	}
	kept, _ := m.cached.LoadOrStore(t, c)
	return kept.(*cache.Cache[T]), nil
}

// NewCache returns a cache of values of one type in the stack's tiers: in
// memory, and in Redis where there is one. [Monitor.Run] closes it at its end.
// Nonsense in the options is an error.
func NewCache[T any](m *Monitor, o cache.Options[T]) (*cache.Cache[T], error) {
	c, err := cache.New(o, m.tiers()...)
	if err == nil {
		m.closers.add(c.Close)
	}
	return c, err
}

// CacheResponses returns a middleware that keeps whole answers in the stack's
// tiers, as RFC 9111 allows a shared cache: see [cache.Responses]. It never
// keeps an answer of the /monitoring API or of a probe. It belongs inside
// [Monitor.Middleware], so that its hits are counted and have ids of their own.
func (m *Monitor) CacheResponses(o cache.ResponseOptions) (func(http.Handler) http.Handler, error) {
	skip := o.Skip
	o.Skip = func(r *http.Request) bool {
		return m.server.Has(r.URL.Path) || m.besides(r.URL.Path) || skip != nil && skip(r)
	}
	c, err := cache.NewResponses(o, m.tiers()...)
	if err != nil {
		return nil, err
	}
	return c.Middleware, nil
}

// tiers are the stack's caches, the nearest first.
func (m *Monitor) tiers() []cache.Tier {
	if m.Redis == nil {
		return []cache.Tier{m.Memory}
	}
	return []cache.Tier{m.Memory, m.Redis}
}

// closers are what Run closes at its end.
type closers struct {
	mu  sync.Mutex
	all []func() error // guarded by mu
}

func (c *closers) add(f func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, f)
}

// close closes all, the last made first, and returns the first error.
func (c *closers) close() (first error) {
	c.mu.Lock()
	all := c.all
	c.all = nil
	c.mu.Unlock()
	for _, f := range slices.Backward(all) {
		if err := f(); first == nil {
			first = err
		}
	}
	return first
}
