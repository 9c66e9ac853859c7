package cache

import (
	"context"
	"sync"
	"time"
)

// maxRenewals bounds the loads behind stale values.
const maxRenewals = 32

// renewPause is how long after a failed load a stale value is left alone.
const renewPause = time.Second

// renewals are the loads behind stale values: one a key, few at a time, none
// after the cache is closed.
type renewals struct {
	ctx   context.Context // ends with the cache
	end   context.CancelFunc
	slots chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	byKey map[string]bool // guarded by mu; under way, or failed just now
}

func newRenewals() *renewals {
	r := &renewals{slots: make(chan struct{}, maxRenewals), byKey: map[string]bool{}}
	r.ctx, r.end = context.WithCancel(context.Background())
	return r
}

// begin admits one load of a key. Who is admitted must call done.
func (r *renewals) begin(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byKey[key] || r.ctx.Err() != nil {
		return false
	}
	select {
	case r.slots <- struct{}{}:
	default:
		return false // the stale value does for now
	}
	r.byKey[key] = true
	r.wg.Add(1)
	return true
}

func (r *renewals) done(key string) {
	r.mu.Lock()
	delete(r.byKey, key)
	r.mu.Unlock()
	<-r.slots
	r.wg.Done()
}

func (r *renewals) close() {
	r.mu.Lock() // no load may begin between the end and the waiting
	r.end()
	r.mu.Unlock()
	r.wg.Wait()
}

// renew loads a stale key anew behind its callers. The load gets what ctx
// carries, but neither its end nor its deadline. One that fails or panics
// leaves the stale value where it is.
func (c *Cache[T]) renew(ctx context.Context, key string, ttl time.Duration, load func(context.Context) (T, error)) {
	r := c.renewals
	if r == nil || !r.begin(key) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.opts.RefreshTimeout)
	stop := context.AfterFunc(r.ctx, cancel)
	go func() {
		defer r.done(key)
		ok := c.reload(ctx, key, ttl, load)
		stop()
		cancel()
		if ok {
			return
		}
		select {
		case <-time.After(renewPause):
		case <-r.ctx.Done():
		}
	}()
}

func (c *Cache[T]) reload(ctx context.Context, key string, ttl time.Duration, load func(context.Context) (T, error)) (ok bool) {
	full := c.opts.Prefix + key
	fl, leader := c.tiers[0].flights().join(full)
	if !leader {
		return true // someone who found nothing at all computes it
	}
	defer func() {
		if recover() != nil {
			ok = false
		}
		c.tiers[0].flights().leave(full, fl)
	}()
	_, err := c.compute(ctx, key, ttl, fl, 0, load)
	return err == nil
}
