package cache

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Status asks Redis how it is and adds what the tier counted: healthy; degraded
// where Redis answers but is a replica, which takes no writes; failed, with the
// last error, where it does not answer. It ends within the tier's Timeout.
func (r *Redis) Status(ctx context.Context) api.RedisHealth {
	stats, err := r.Info(ctx)
	out := api.RedisHealth{Status: api.Healthy, Connected: stats.Connected, Stats: stats}
	switch {
	case err != nil:
		out.Status = api.Failed
	case stats.Role == "slave":
		out.Status = api.Degraded
	}
	return out
}

// Info returns what Redis says of itself beside what the tier counted. Where
// Redis does not answer, the latter comes with the error.
func (r *Redis) Info(ctx context.Context) (api.RedisStats, error) {
	hits, misses := r.hits.Load(), r.misses.Load()
	out := api.RedisStats{
		RedisURL: r.shown, KeyPrefix: r.opts.KeyPrefix, DefaultTTL: api.Seconds(max(r.opts.DefaultTTL, 0)),
		CacheHits: api.Count(hits), CacheMisses: api.Count(misses), CacheErrors: api.Count(r.errors.Load()), HitRate: rate(hits, misses),
	}
	var info string
	err := r.do(ctx, func(ctx context.Context) error {
		start := time.Now()
		if err := r.client.Ping(ctx).Err(); err != nil {
			return err
		}
		latency := api.Seconds(time.Since(start))
		out.Latency = &latency
		var err error
		info, err = r.client.Info(ctx, "everything").Result()
		return err
	})
	if err != nil {
		out.Latency, out.LastError = nil, err.Error()
		return out, fmt.Errorf("ask redis how it is: %w", err)
	}
	out.Connected = true
	readInfo(&out, info)
	return out, nil
}

// Counts are what the tier counted since it was made.
type Counts struct{ Hits, Misses, Errors, Cleared int64 }

// Counts returns what the tier counted, without asking Redis.
func (r *Redis) Counts() Counts {
	return Counts{r.hits.Load(), r.misses.Load(), r.errors.Load(), r.clears.Load()}
}

// readInfo fills in the fields of Redis's INFO answer, as far as it has them.
func readInfo(out *api.RedisStats, info string) {
	fields := map[string]string{}
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	number := func(name string) *api.Count {
		n, err := strconv.ParseInt(fields[name], 10, 64)
		if err != nil {
			return nil
		}
		return api.CountOf(n)
	}
	out.RedisMemory, out.RedisVersion, out.Role = fields["used_memory_human"], fields["redis_version"], fields["role"]
	out.RedisConnectedClients = number("connected_clients")
	out.RedisTotalCommands = number("total_commands_processed")
	out.EvictedKeys = number("evicted_keys")
}

// parseURL reads a Redis URL and returns it without credentials too. What is
// wrong with it is said without a word of it that may be secret.
func parseURL(name, text string) (opts *redis.Options, shown string, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, "", fmt.Errorf("%s is not a URL: want redis://[user:password@]host:port/db", name)
	}
	if opts, err = redis.ParseURL(text); err != nil {
		return nil, "", fmt.Errorf("%s: %w", name, describe(u))
	}
	return opts, masked(u), nil
}

// describe says which part of a URL go-redis did not take.
func describe(u *url.URL) error {
	switch u.Scheme {
	case "redis", "rediss", "unix":
	default:
		return errors.New("the scheme is none of redis, rediss and unix")
	}
	if _, err := strconv.Atoi(strings.Trim(u.Path, "/")); u.Scheme != "unix" && u.Path != "" && u.Path != "/" && err != nil {
		return errors.New("the database after the host is not a number")
	}
	return errors.New("an option after the question mark is unknown or has a wrong value")
}

// masked writes u with its credentials as ***.
func masked(u *url.URL) string {
	c := *u
	credentials := c.User != nil
	c.User = nil
	if q := c.Query(); q.Has("password") || q.Has("username") {
		q.Del("password")
		q.Del("username")
		c.RawQuery = q.Encode()
	}
	out := c.String()
	if credentials {
		out = strings.Replace(out, "://", "://***@", 1)
	}
	return out
}
