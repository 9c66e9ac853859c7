package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// RedisOptions configures [NewRedis].
type RedisOptions struct {
	URL        string        // redis://[user:password@]host:port/db, rediss://, unix://, redis+sentinel://hosts/master/db, redis+cluster://hosts
	URLName    string        // how errors call the URL's variable; "" means REDIS_URL
	KeyPrefix  string        // before each key, with a colon; "" means pulse_api
	Timeout    time.Duration // of one call, connecting included; 0 means 5s
	DefaultTTL time.Duration // of values set with ttl 0; 0 means DefaultTTL, below 0 Forever
}

// Redis keeps values in a Redis server, behind Sentinel, or in a Cluster. It
// connects when it is first used and again whenever it must. Each call ends
// within Timeout; while Redis does not answer most end at once with an error
// that wraps [ErrDown]. Of a Cluster each master is watched by itself: the keys
// of one that is down cost nothing, the others are served.
type Redis struct {
	opts     RedisOptions
	target   target
	client   redis.UniversalClient
	one      *redis.Client        // nil of a Cluster
	cluster  *redis.ClusterClient // nil of others
	guard    guard                // of the server; of a Cluster, of knowing its masters
	nodes    nodes
	prefixes prefixes
	recent   recent
	refused  atomic.Pointer[refusal]
	group    flights
}

// refusal is a write that Redis answered with an error, and none since that it
// took.
type refusal struct {
	err error
	at  time.Time
}

// nodes are the guards of a Cluster's masters, by address.
type nodes struct {
	mu     sync.Mutex
	guards map[string]*guard // guarded by mu
}

// maxNodes bounds the guards; a Cluster whose addresses changed more often than
// that begins anew.
const maxNodes = 1024

func (n *nodes) of(addr string) *guard {
	n.mu.Lock()
	defer n.mu.Unlock()
	if g, ok := n.guards[addr]; ok {
		return g
	}
	if n.guards == nil || len(n.guards) >= maxNodes {
		n.guards = map[string]*guard{}
	}
	g := new(guard)
	n.guards[addr] = g
	return g
}

var _ Tier = (*Redis)(nil)

// NewRedis returns a tier in the Redis at o.URL. It does not connect; its
// caller closes it. The error is about the URL, without what is secret in it.
func NewRedis(o RedisOptions) (*Redis, error) {
	o.URLName = cmp.Or(o.URLName, "REDIS_URL")
	o.KeyPrefix = cmp.Or(o.KeyPrefix, "pulse_api")
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	o.DefaultTTL = cmp.Or(o.DefaultTTL, DefaultTTL)
	if o.Timeout < 0 {
		return nil, fmt.Errorf("redis timeout %v: want more than 0", o.Timeout)
	}
	t, err := parseURL(o.URLName, o.URL)
	if err != nil {
		return nil, err
	}
	r := &Redis{opts: o, target: t}
	r.connect()
	return r, nil
}

// connect makes the client: without retries of its own, so that one deadline
// bounds a call with its connecting, and without asking a server for notices of
// maintenance, which costs a command on each connection.
func (r *Redis) connect() {
	timeout := r.opts.Timeout
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	switch r.target.kind {
	case sentinel:
		o := r.target.failover
		o.ContextTimeoutEnabled, o.DisableIdentity, o.MaxRetries, o.DialerRetries = true, true, -1, 1
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = timeout, timeout, timeout, timeout
		r.one = redis.NewFailoverClient(o)
	case cluster:
		o := r.target.cluster
		o.ContextTimeoutEnabled, o.DisableIdentity, o.MaxRetries, o.DialerRetries = true, true, -1, 1
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = timeout, timeout, timeout, timeout
		o.MaintNotificationsConfig = quiet
		r.cluster = redis.NewClusterClient(o)
		r.client = r.cluster
		return
	default:
		o := r.target.one
		o.ContextTimeoutEnabled, o.DisableIdentity, o.MaxRetries, o.DialerRetries = true, true, -1, 1
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = timeout, timeout, timeout, timeout
		o.MaintNotificationsConfig = quiet
		r.one = redis.NewClient(o)
	}
	r.client = r.one
}

// do calls f for a key under the tier's deadline, unless the Redis that has it
// is known to be down.
func (r *Redis) do(ctx context.Context, key string, f func(context.Context) error) error {
	if err := ctx.Err(); err != nil { // says nothing of Redis
		return err
	}
	if r.cluster == nil {
		return r.guard.run(ctx, r.opts.Timeout, f)
	}
	start := time.Now()
	var master *redis.Client
	err := r.guard.run(ctx, r.opts.Timeout, func(ctx context.Context) (err error) {
		master, err = r.cluster.MasterForKey(ctx, key) // known already, but at first and after a failover
		return err
	})
	if err != nil {
		return err
	}
	err = r.nodes.of(master.Options().Addr).run(ctx, max(r.opts.Timeout-time.Since(start), 1), f)
	if err != nil && !answered(err) {
		r.cluster.ReloadState(ctx) // behind us: another may be master there by now
	}
	return err
}

// call is do with its errors counted and told what was being done.
func (r *Redis) call(ctx context.Context, verb, key string, f func(context.Context, string) error) error {
	full := r.opts.KeyPrefix + ":" + key
	err := r.do(ctx, full, func(ctx context.Context) error { return f(ctx, full) })
	if err == nil || errors.Is(err, redis.Nil) {
		return err
	}
	r.prefixes.of(key).errors.Add(1)
	return fmt.Errorf("%s %q in redis: %w", verb, key, err)
}

// Get implements [Tier].
func (r *Redis) Get(ctx context.Context, key string) ([]byte, bool, error) {
	it, err := r.fetch(ctx, key)
	if err != nil {
		return nil, false, err
	}
	if it == nil {
		r.note(key, nil, miss)
		return nil, false, nil
	}
	r.note(key, it, hit)
	return it.data, true, nil
}

func (r *Redis) fetch(ctx context.Context, key string) (*item, error) {
	var it item
	err := r.call(ctx, "get", key, func(ctx context.Context, full string) (err error) {
		it.data, err = r.client.Get(ctx, full).Bytes()
		return err
	})
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &it, nil
}

// Set implements [Tier]. Redis counts in milliseconds: a shorter ttl is one.
func (r *Redis) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return r.store(ctx, key, &item{data: value}, ttl)
}

func (r *Redis) store(ctx context.Context, key string, it *item, ttl time.Duration) error {
	if ttl == 0 {
		ttl = r.opts.DefaultTTL
	}
	switch {
	case ttl < 0:
		ttl = 0 // which go-redis takes for no expiry
	case ttl < time.Millisecond:
		ttl = time.Millisecond
	}
	err := r.call(ctx, "set", key, func(ctx context.Context, full string) error {
		return r.client.Set(ctx, full, it.data, ttl).Err()
	})
	switch {
	case err == nil && r.refused.Load() != nil:
		r.refused.Store(nil)
	case err != nil && answered(err):
		r.refused.Store(&refusal{err, time.Now()})
	}
	return err
}

// Delete implements [Tier].
func (r *Redis) Delete(ctx context.Context, key string) error {
	return r.call(ctx, "delete", key, func(ctx context.Context, full string) error {
		return r.client.Unlink(ctx, full).Err()
	})
}

func (r *Redis) note(key string, _ *item, o outcome) { r.prefixes.of(key).note(o) }

func (r *Redis) deadline() time.Duration { return r.opts.Timeout }

func (r *Redis) flights() *flights { return &r.group }

// Close closes the connections.
func (r *Redis) Close() error { return r.client.Close() }
