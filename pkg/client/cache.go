package client

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

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

// RedisInfo says how the Redis tier is. One that is not configured or does not
// answer is a 503: of a Python server that is seen by what it leaves out.
func (c *Client) RedisInfo(ctx context.Context) (api.RedisStats, error) {
	var out api.RedisStats
	if err := c.get(ctx, cachePath+"/redis/info", nil, &out); err != nil {
		return out, err
	}
	h := api.RedisHealth{Status: api.Healthy, Connected: out.Connected, Stats: out}
	correctRedis(&h)
	if h.Status != api.Healthy || !h.Connected {
		return h.Stats, api.Errorf(http.StatusServiceUnavailable, "redis at %s does not answer", h.Stats.RedisURL)
	}
	return h.Stats, nil
}

// KeyQuery selects keys of a cache tier.
type KeyQuery struct {
	Pattern string // "" means *
	Limit   int    // 0 means all
	Cursor  string // next of an earlier answer
}

// maxKeyPage is the largest page that the API gives.
const maxKeyPage = 1000

// CacheKeys lists keys of a tier, "redis" or "memory", over as many pages as it
// takes. Next is not null where the limit cut it off. A Python server lists none.
func (c *Client) CacheKeys(ctx context.Context, tier string, kq KeyQuery) (api.CacheKeys, error) {
	out := api.CacheKeys{Pattern: cmp.Or(kq.Pattern, "*"), Keys: []api.CacheKey{}}
	for cursor := kq.Cursor; ; {
		want := maxKeyPage
		if kq.Limit > 0 {
			want = min(want, kq.Limit-len(out.Keys))
		}
		q := url.Values{"pattern": {out.Pattern}, "limit": {strconv.Itoa(want)}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		var page api.CacheKeys
		if err := c.get(ctx, cachePath+"/"+url.PathEscape(tier)+"/keys", q, &page); err != nil {
			return out, err
		}
		out.Keys, out.Next = append(out.Keys, page.Keys...), page.Next
		if page.Next == nil || *page.Next == cursor || kq.Limit > 0 && len(out.Keys) >= kq.Limit {
			return out, nil
		}
		cursor = *page.Next
	}
}

// Clearing says what of a cache tier is cleared.
type Clearing struct {
	Action
	Pattern string                 // "" means *
	Cursor  string                 // next of one that broke off; "" begins
	Tell    func(api.CacheCleared) // told now and then how far it is, with the sums so far; nil for no one
}

// clearBudget is how long one request of a clearing lasts, about.
const clearBudget = time.Second

// ClearCache removes the keys that match a glob pattern from a tier, "redis" or
// "memory"; "" means every key. A Python server's memory cache knows no
// patterns and would clear all: that is refused.
func (c *Client) ClearCache(ctx context.Context, tier, pattern string, a Action) (api.CacheCleared, error) {
	return c.Clear(ctx, tier, Clearing{Pattern: pattern, Action: a})
}

// Clear is [Client.ClearCache] that tells how far it is and can go on where an
// earlier one broke off. A server that can is asked for a second of work at a
// time, so that no number of keys outlasts the client's Timeout. Of an error
// Cleared and Next tell how far it came in all.
func (c *Client) Clear(ctx context.Context, tier string, how Clearing) (api.CacheCleared, error) {
	q := url.Values{}
	if how.Pattern != "" && how.Pattern != "*" {
		if tier == "memory" {
			if err := c.refusePython(ctx, "a Python server knows no patterns for its memory cache and would clear all of it"); err != nil {
				return api.CacheCleared{}, err
			}
		}
		q.Set("pattern", how.Pattern)
	}
	ix, err := c.Index(ctx)
	if err != nil {
		return api.CacheCleared{}, err
	}
	if tier == "redis" && slices.Contains(ix.Capabilities, "cache_cursor") {
		return c.clearSlices(ctx, tier, q, how)
	}
	if how.Cursor != "" {
		return api.CacheCleared{}, unsupported("this server cannot go on with a clearing and would begin anew; nothing was sent")
	}
	var out api.CacheCleared
	err = c.act(ctx, cachePath+"/"+url.PathEscape(tier)+"/clear", q, how.Action, &out)
	if err == nil && out.Cleared == nil {
		out.Cleared = clearedIn(out.Message)
		if tier == "redis" && out.Cleared.Value() == 0 {
			err = c.checkRedis(ctx)
		}
	}
	return out, err
}

// clearSlices clears a second at a time, until there is nothing to go on with.
func (c *Client) clearSlices(ctx context.Context, tier string, q url.Values, how Clearing) (api.CacheCleared, error) {
	q.Set("budget", min(clearBudget, max(c.opts.Timeout/4, 10*time.Millisecond)).String())
	sum := int64(0)
	for cursor := how.Cursor; ; {
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		var out api.CacheCleared
		err := c.act(ctx, cachePath+"/"+url.PathEscape(tier)+"/clear", q, how.Action, &out)
		if err != nil {
			return out, brokeOff(err, sum, cursor)
		}
		sum += out.Cleared.Value()
		out.Cleared = api.CountOf(sum)
		if how.Tell != nil {
			how.Tell(out)
		}
		if out.Next == "" || out.Next == cursor {
			return out, nil
		}
		cursor = out.Next
	}
}

// brokeOff adds to an error how far the requests before it came.
func brokeOff(err error, sum int64, cursor string) error {
	e := *asError(err)
	if sum > 0 {
		e.Detail = fmt.Sprintf("%s; %d were cleared before", e.Error(), sum)
		e.Cleared = api.CountOf(sum + e.Cleared.Value())
	}
	e.Next = cmp.Or(e.Next, cursor)
	return &e
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
