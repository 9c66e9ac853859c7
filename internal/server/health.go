package server

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/health"
)

const healthPath = "/monitoring/health"

// isoTime is ISO 8601 as a Python server writes it.
const isoTime = "2006-01-02T15:04:05.000000-07:00"

func (s *Server) healthRoutes() []route {
	all := []route{s.get(healthPath+"/detailed", "every dependency, and the verdict", s.healthDetailed)}
	for _, prefix := range []string{"/health", healthPath} {
		all = append(all,
			s.probe(prefix, "the verdict and the checks", s.healthProbe),
			s.probe(prefix+"/ready", "whether the critical checks pass", s.ready),
			s.probe(prefix+"/live", "that the process answers", s.live),
		)
	}
	return all
}

// probe is a route that a load balancer reads without a token.
func (s *Server) probe(path, summary string, f func(*http.Request) (any, error)) route {
	rt := s.get(path, summary, f)
	rt.Role = public
	return rt
}

func (s *Server) healthDetailed(r *http.Request) (any, error) {
	h := s.health(r)
	return answer{statusOf(h.Status), h}, nil
}

func (s *Server) healthProbe(r *http.Request) (any, error) {
	h := s.health(r)
	return answer{statusOf(h.Status), api.Probe{
		Status: h.Status, Timestamp: h.Timestamp, Version: h.Version, Environment: h.Environment, Checks: h.Checks,
	}}, nil
}

// statusOf is 503 for unhealthy alone: who is degraded serves on.
func statusOf(verdict string) int {
	if verdict == api.Unhealthy {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

// health asks every dependency at once and sums them up. Callers without a
// token are not told the texts of errors.
func (s *Server) health(r *http.Request) api.Health {
	start := time.Now()
	var caches api.CacheStatus
	var wg sync.WaitGroup
	wg.Go(func() { caches = s.caches(r.Context()) })
	checks := s.opts.Checks.Run(r.Context(), start)
	wg.Wait()
	circuits := health.Circuits(s.opts.Breakers.Snapshot())
	features, uptime := s.features(), api.Seconds(time.Since(s.opts.Started))
	out := api.Health{
		Status: health.Verdict(checks, &circuits, &caches), Timestamp: start.UTC().Format(isoTime),
		Version: s.opts.Version, Environment: s.opts.Environment, TotalCheckTimeMS: milliseconds(time.Since(start)),
		Uptime: &uptime, Checks: checks, CircuitBreakers: &circuits, Cache: &caches, Monitoring: &features,
	}
	if caller(r).Role == "" {
		hideErrors(&out)
	}
	return out
}

// hideErrors leaves out what may tell a stranger about the inside.
func hideErrors(h *api.Health) {
	for name, c := range h.Checks {
		c.Error = ""
		h.Checks[name] = c
	}
	h.Cache.Redis.Reason, h.Cache.Redis.Stats.LastError, h.Cache.Redis.Stats.Nodes = "", "", nil
}

func (s *Server) features() api.HealthFeatures {
	if s.opts.Features == nil {
		return api.HealthFeatures{MetricsEnabled: true}
	}
	return s.opts.Features()
}

// ready runs the checks alone: neither an open breaker nor a cache takes a
// replica out of the balancer.
func (s *Server) ready(r *http.Request) (any, error) {
	start := time.Now()
	out := api.Ready{Ready: health.Ready(s.opts.Checks.Run(r.Context(), start)), Timestamp: start.UTC().Format(isoTime)}
	out.CheckTimeMS = milliseconds(time.Since(start))
	if !out.Ready {
		return answer{http.StatusServiceUnavailable, out}, nil
	}
	return out, nil
}

func (s *Server) live(*http.Request) (any, error) {
	return api.Live{Alive: true, Timestamp: time.Now().UTC().Format(isoTime), Version: s.opts.Version}, nil
}

// caches asks both tiers how they are.
func (s *Server) caches(ctx context.Context) api.CacheStatus {
	out := api.CacheStatus{Redis: api.RedisHealth{Status: api.Disabled}, Memory: api.MemoryHealth{Status: api.Disabled}}
	if s.opts.Redis != nil {
		out.Redis = s.opts.Redis.Status(ctx)
	}
	if s.opts.Memory != nil {
		out.Memory = s.opts.Memory.Status()
	}
	return out
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
