package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// batch is how many keys a clearing asks for and removes at a time.
const batch = 500

// RedisOptions configures [NewRedis].
type RedisOptions struct {
	URL        string        // redis://[user:password@]host:port/db, rediss:// or unix://
	URLName    string        // how errors call the URL's variable; "" means REDIS_URL
	KeyPrefix  string        // before each key, with a colon; "" means pulse_api
	Timeout    time.Duration // of one call, connecting included; 0 means 5s
	DefaultTTL time.Duration // of values set with ttl 0; 0 means DefaultTTL, below 0 Forever
}

// Redis keeps values in a Redis server. It connects when it is first used and
// again whenever it must. Each call ends within Timeout; while Redis does not
// answer most end at once with an error that wraps [ErrDown].
type Redis struct {
	opts   RedisOptions
	shown  string // the URL without credentials
	client *redis.Client
	guard  guard
	group  flights

	hits, misses, errors, clears atomic.Int64
}

var _ Cache = (*Redis)(nil)

// NewRedis returns a tier in the server at o.URL. It neither connects nor
// starts anything; its caller closes it. The error is about the URL, without
// what is secret in it.
func NewRedis(o RedisOptions) (*Redis, error) {
	o.URLName = cmp.Or(o.URLName, "REDIS_URL")
	o.KeyPrefix = cmp.Or(o.KeyPrefix, "pulse_api")
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	o.DefaultTTL = cmp.Or(o.DefaultTTL, DefaultTTL)
	if o.Timeout < 0 {
		return nil, fmt.Errorf("redis timeout %v: want more than 0", o.Timeout)
	}
	opts, shown, err := parseURL(o.URLName, o.URL)
	if err != nil {
		return nil, err
	}
	opts.ContextTimeoutEnabled = true
	opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout, opts.PoolTimeout = o.Timeout, o.Timeout, o.Timeout, o.Timeout
	opts.MaxRetries, opts.DialerRetries = -1, 1
	opts.DisableIdentity = true
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return &Redis{opts: o, shown: shown, client: redis.NewClient(opts)}, nil
}

// do calls f under the tier's deadline, unless Redis is known to be down.
func (r *Redis) do(ctx context.Context, f func(context.Context) error) error {
	if err := ctx.Err(); err != nil { // says nothing of Redis
		return err
	}
	probe, err := r.guard.enter()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	err = context.Canceled // what a panic of f leaves behind
	defer func() { r.guard.leave(probe, err) }()
	err = f(ctx)
	return err
}

// call is do with its errors counted and told what was being done.
func (r *Redis) call(ctx context.Context, verb, key string, f func(context.Context) error) error {
	err := r.do(ctx, f)
	if err == nil || errors.Is(err, redis.Nil) {
		return err
	}
	r.errors.Add(1)
	return fmt.Errorf("%s %q in redis: %w", verb, key, err)
}

func (r *Redis) key(key string) string { return r.opts.KeyPrefix + ":" + key }

// Get implements [Cache].
func (r *Redis) Get(ctx context.Context, key string) (value []byte, ok bool, err error) {
	err = r.call(ctx, "get", key, func(ctx context.Context) error {
		value, err = r.client.Get(ctx, r.key(key)).Bytes()
		return err
	})
	switch {
	case err == nil:
		r.hits.Add(1)
		return value, true, nil
	case errors.Is(err, redis.Nil):
		r.misses.Add(1)
		return nil, false, nil
	}
	return nil, false, err
}

// Set implements [Cache]. Redis counts in milliseconds: a shorter ttl is one.
func (r *Redis) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if ttl == 0 {
		ttl = r.opts.DefaultTTL
	}
	switch {
	case ttl < 0:
		ttl = 0 // which go-redis takes for no expiry
	case ttl < time.Millisecond:
		ttl = time.Millisecond
	}
	return r.call(ctx, "set", key, func(ctx context.Context) error {
		return r.client.Set(ctx, r.key(key), value, ttl).Err()
	})
}

// Delete implements [Cache].
func (r *Redis) Delete(ctx context.Context, key string) error {
	return r.call(ctx, "delete", key, func(ctx context.Context) error {
		return r.client.Unlink(ctx, r.key(key)).Err()
	})
}

// Clear implements [Cache]. It looks at keys under its own prefix only, in
// batches, each under a deadline of its own, so Redis serves others in between.
// A dry run may count a key twice that Redis moves meanwhile.
func (r *Redis) Clear(ctx context.Context, pattern string, dryRun bool) (n int64, err error) {
	glob, cursor := escape(r.opts.KeyPrefix)+":"+pattern, uint64(0)
	for {
		err = r.call(ctx, "clear", pattern, func(ctx context.Context) error {
			keys, next, err := r.client.Scan(ctx, cursor, glob, batch).Result()
			if err != nil {
				return err
			}
			removed := int64(len(keys))
			if !dryRun && len(keys) > 0 {
				if removed, err = r.client.Unlink(ctx, keys...).Result(); err != nil {
					return err
				}
				r.clears.Add(removed)
			}
			n, cursor = n+removed, next
			return nil
		})
		if err != nil || cursor == 0 {
			return n, err
		}
	}
}

// Close closes the connections.
func (r *Redis) Close() error { return r.client.Close() }

func (r *Redis) flights() *flights { return &r.group }
