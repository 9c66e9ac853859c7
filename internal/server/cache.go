package server

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
)

const cachePath = "/monitoring/cache"

// maxPattern bounds a pattern: matching costs its length times the key's.
const maxPattern = 512

func (s *Server) cacheRoutes() []route {
	return []route{
		s.get(cachePath+"/status", "both caches", s.cacheStatus),
		s.get(cachePath+"/redis/info", "the Redis cache", s.redisInfo),
		s.get(cachePath+"/redis/keys", "keys of the Redis cache, without their values", s.redisKeys),
		s.get(cachePath+"/memory/stats", "the memory cache", s.memoryStats),
		s.get(cachePath+"/memory/keys", "keys of the memory cache, without their values", s.memoryKeys),
		s.action("cache.redis.clear", cachePath+"/redis/clear", "remove keys from the Redis cache", s.clearRedis),
		s.action("cache.memory.clear", cachePath+"/memory/clear", "remove keys from the memory cache", s.clearMemory),
	}
}

func (s *Server) cacheStatus(r *http.Request) (any, error) { return s.caches(r.Context()), nil }

func (s *Server) redisInfo(r *http.Request) (any, error) {
	if s.opts.Redis == nil {
		return nil, errNoRedis()
	}
	stats, err := s.opts.Redis.Info(r.Context())
	if err != nil {
		return nil, api.Errorf(http.StatusServiceUnavailable, "redis at %s does not answer: %v", stats.RedisURL, err)
	}
	return stats, nil
}

func (s *Server) memoryStats(*http.Request) (any, error) {
	if s.opts.Memory == nil {
		return nil, errNoMemory()
	}
	return s.opts.Memory.Stats(), nil
}

func (s *Server) redisKeys(r *http.Request) (any, error) {
	if s.opts.Redis == nil {
		return nil, errNoRedis()
	}
	return listKeys(r, s.opts.Redis)
}

func (s *Server) memoryKeys(r *http.Request) (any, error) {
	if s.opts.Memory == nil {
		return nil, errNoMemory()
	}
	return listKeys(r, s.opts.Memory)
}

// listKeys answers with one page of a tier's keys.
func listKeys(r *http.Request, c cache.Tier) (any, error) {
	p := query(r)
	q := cache.KeyQuery{Pattern: p.keyPattern(), Limit: p.integer("limit", 100, 1, 1000), Cursor: p.text("cursor")}
	if err := p.problem(); err != nil {
		return nil, err
	}
	page, err := c.Keys(r.Context(), q)
	if err != nil {
		return nil, cacheProblem(err, "%v", err)
	}
	out := api.CacheKeys{Pattern: q.Pattern, Keys: make([]api.CacheKey, len(page.Keys))}
	for i, k := range page.Keys {
		out.Keys[i] = apiKey(k)
	}
	if page.Next != "" {
		out.Next = &page.Next
	}
	return out, nil
}

func apiKey(k cache.Key) api.CacheKey {
	out := api.CacheKey{Key: k.Name, Size: api.Count(k.Size)}
	if !utf8.ValidString(k.Name) { // JSON would make several of them the same
		out.Key = strconv.QuoteToASCII(k.Name)
	}
	if k.TTL >= 0 {
		ttl := api.Seconds(k.TTL)
		out.TTL = &ttl
	}
	if k.Hits >= 0 {
		out.Hits = api.CountOf(k.Hits)
	}
	if k.Idle >= 0 {
		idle := api.Seconds(k.Idle)
		out.Idle = &idle
	}
	return out
}

func (s *Server) clearRedis(r *http.Request, dry bool) (change, error) {
	if s.opts.Redis == nil {
		return change{}, errNoRedis()
	}
	return clearCache(r, s.opts.Redis, "cache entries", dry)
}

func (s *Server) clearMemory(r *http.Request, dry bool) (change, error) {
	if s.opts.Memory == nil {
		return change{}, errNoMemory()
	}
	return clearCache(r, s.opts.Memory, "memory cache entries", dry)
}

// clearCache removes what the parameter pattern selects: to the end, or for as
// long as the parameter budget says, from where the parameter cursor says.
// Where the cache fails midway the answer is 502 and says how far it came.
func clearCache(r *http.Request, c cache.Tier, what string, dry bool) (change, error) {
	p := query(r)
	pattern := p.keyPattern()
	o := cache.ClearOptions{DryRun: dry, Cursor: p.text("cursor"), Budget: p.duration("budget", 0, 10*time.Millisecond, time.Minute)}
	if err := p.problem(); err != nil {
		return change{}, err
	}
	verb, soFar := "Cleared", "cleared"
	if dry {
		verb, soFar = "Would clear", "counted"
	}
	done, err := c.Clear(r.Context(), pattern, o)
	out := change{Target: pattern, After: map[string]int64{"cleared": done.Keys}}
	if err != nil {
		problem := cacheProblem(err, "%s %d %s, then: %v", soFar, done.Keys, what, err)
		if problem.Status == http.StatusServiceUnavailable && done.Keys > 0 {
			problem.Status = http.StatusBadGateway
		}
		if problem.Status != http.StatusUnprocessableEntity {
			problem.Cleared, problem.Next = api.CountOf(done.Keys), done.Cursor
		}
		return out, problem
	}
	body := api.CacheCleared{
		Message: fmt.Sprintf("%s %d %s", verb, done.Keys, what), Pattern: pattern, Cleared: api.CountOf(done.Keys), DryRun: dry, Next: done.Cursor,
	}
	if done.Cursor != "" {
		body.Progress = &done.Progress
	}
	out.Body = body
	return out, nil
}

// cacheProblem is the problem of a tier's error: of a cursor that is none 422,
// of a Redis that is known to be down 503, else 502.
func cacheProblem(err error, format string, args ...any) *api.Error {
	status := http.StatusBadGateway
	switch {
	case errors.Is(err, cache.ErrCursor):
		return api.Invalid("cursor", "want one that an earlier answer gave")
	case errors.Is(err, cache.ErrDown):
		status = http.StatusServiceUnavailable
	}
	return api.Errorf(status, format, args...)
}

// keyPattern reads the pattern of keys, * where there is none.
func (p *params) keyPattern() string {
	pattern := p.text("pattern")
	if len(pattern) > maxPattern {
		p.wrong("pattern", fmt.Sprintf("want at most %d bytes, got %d", maxPattern, len(pattern)))
	}
	return cmp.Or(pattern, "*")
}

func errNoRedis() error {
	return api.Errorf(http.StatusServiceUnavailable, "no Redis cache is configured; set REDIS_URL")
}

func errNoMemory() error {
	return api.Errorf(http.StatusServiceUnavailable, "no memory cache is configured")
}
