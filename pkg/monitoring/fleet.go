package monitoring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker/fleet"
	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
	"github.com/pulsectl/pulsectl/pkg/monitoring/health"
)

// mostFleetTimeout bounds a command of the fleet: no caller waits for it, and a
// Redis that hangs is to be noticed soon.
const mostFleetTimeout = 2 * time.Second

// buildFleet joins the breakers to those of the other replicas.
func (m *Monitor) buildFleet() (err error) {
	o := m.opts
	if !o.SharedBreakers {
		return nil
	}
	if o.RedisURL == "" {
		return errors.New("shared breakers: they need a Redis URL")
	}
	timeout := min(o.RedisTimeout, mostFleetTimeout)
	m.Fleet, err = fleet.New(fleet.Options{
		Breakers: m.Breakers, Fleet: m.fleetName(), Timeout: timeout, Log: o.Log,
		Connect: func() (redis.UniversalClient, error) {
			return cache.NewClient(cache.RedisOptions{URL: o.RedisURL, Timeout: timeout})
		},
	})
	if err != nil {
		return err
	}
	// Not critical: breakers that are alone protect all the same.
	return m.Health.Register(health.Check{Name: "breaker_fleet", Run: m.checkFleet})
}

// fleetName tells the service's fleet from those of other services and
// environments in the same Redis. It is not below the cache's prefix: clearing
// the cache leaves the breakers alone.
func (m *Monitor) fleetName() string {
	return cmp.Or(m.opts.CacheKeyPrefix, "pulse_api") + "-breakers/" + m.opts.Environment + "/" + m.opts.Service
}

func (m *Monitor) checkFleet(context.Context) (map[string]any, error) {
	s := m.Fleet.Status()
	fields := map[string]any{
		"scope": api.ScopeLocal, "since": api.Unix(s.Since.UnixNano()), "sent": s.Sent, "unkept": s.Unkept, "refused": s.Refused, "received": s.Received,
		"applied": s.Applied, "ignored": s.Ignored, "lost": s.Lost, "syncs": s.Syncs,
	}
	switch {
	case s.Shared:
		fields["scope"] = api.ScopeShared
		return fields, nil
	case s.Why == nil:
		return fields, fmt.Errorf("%w: redis has not answered yet", health.ErrDegraded)
	}
	return fields, fmt.Errorf("%w: this replica's breakers are alone: %w", health.ErrDegraded, s.Why)
}
