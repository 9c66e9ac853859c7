package client

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const cachePath = "/monitoring/cache"

// CacheStatus says how both caches are.
func (c *Client) CacheStatus(ctx context.Context) (api.CacheStatus, error) {
	var out api.CacheStatus
	err := c.get(ctx, cachePath+"/status", nil, &out)
	correctRedis(&out.Redis)
	return out, err
}

// ClearCache removes the keys that match a glob pattern from a tier, "redis" or
// "memory"; "" means every key. A Python server's memory cache knows no
// patterns and would clear all: that is refused.
func (c *Client) ClearCache(ctx context.Context, tier, pattern string, a Action) (api.CacheCleared, error) {
	var out api.CacheCleared
	q := url.Values{}
	if pattern != "" && pattern != "*" {
		if tier == "memory" {
			if err := c.refusePython(ctx, "a Python server knows no patterns for its memory cache and would clear all of it"); err != nil {
				return out, err
			}
		}
		q.Set("pattern", pattern)
	}
	err := c.act(ctx, cachePath+"/"+url.PathEscape(tier)+"/clear", q, a, &out)
	if err == nil && out.Cleared == nil {
		out.Cleared = clearedIn(out.Message)
		if tier == "redis" && out.Cleared.Value() == 0 {
			err = c.checkRedis(ctx)
		}
	}
	return out, err
}

// checkRedis tells a Redis that holds nothing from one that does not answer: a
// Python server says of both that it cleared 0 entries.
func (c *Client) checkRedis(ctx context.Context) error {
	st, err := c.CacheStatus(ctx)
	if err == nil && st.Redis.Status != api.Healthy && st.Redis.Status != api.Degraded {
		err = api.Errorf(http.StatusBadGateway, "nothing was cleared: Redis is %s on this server", st.Redis.Status)
	}
	return err
}

var clearedMessage = regexp.MustCompile(`Cleared (\d+) (?:memory )?cache entries`)

// clearedIn finds the count in a Python server's message, nil if there is none.
func clearedIn(message string) *api.Count {
	m := clearedMessage.FindStringSubmatch(message)
	if m == nil {
		return nil
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return nil
	}
	return api.CountOf(n)
}
