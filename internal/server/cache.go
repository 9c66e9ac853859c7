package server

import (
	"errors"
	"fmt"
	"net/http"

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
		s.get(cachePath+"/memory/stats", "the memory cache", s.memoryStats),
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

// clearCache removes what the parameter pattern selects. Where the cache fails
// midway the answer is 502 and says how far it came.
func clearCache(r *http.Request, c cache.Cache, what string, dry bool) (change, error) {
	p := query(r)
	pattern := p.text("pattern")
	if pattern == "" {
		pattern = "*"
	}
	if len(pattern) > maxPattern {
		p.wrong("pattern", fmt.Sprintf("want at most %d bytes, got %d", maxPattern, len(pattern)))
	}
	if err := p.problem(); err != nil {
		return change{}, err
	}
	n, err := c.Clear(r.Context(), pattern, dry)
	out := change{Target: pattern, After: map[string]int64{"cleared": n}}
	if err != nil {
		status := http.StatusBadGateway
		if errors.Is(err, cache.ErrDown) && n == 0 {
			status = http.StatusServiceUnavailable
		}
		problem := api.Errorf(status, "cleared %d %s, then: %v", n, what, err)
		problem.Cleared = api.CountOf(n)
		return out, problem
	}
	verb := "Cleared"
	if dry {
		verb = "Would clear"
	}
	out.Body = api.CacheCleared{Message: fmt.Sprintf("%s %d %s", verb, n, what), Pattern: pattern, Cleared: api.CountOf(n), DryRun: dry}
	return out, nil
}

func errNoRedis() error {
	return api.Errorf(http.StatusServiceUnavailable, "no Redis cache is configured; set REDIS_URL")
}

func errNoMemory() error {
	return api.Errorf(http.StatusServiceUnavailable, "no memory cache is configured")
}
