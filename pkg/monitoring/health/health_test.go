package health_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/health"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func register(t *testing.T, c *health.Checks, checks ...health.Check) {
	t.Helper()
	for _, check := range checks {
		if err := c.Register(check); err != nil {
			t.Fatal(err)
		}
	}
}

func ok(context.Context) (map[string]any, error) { return nil, nil }

func TestRegisterRefusesNonsense(t *testing.T) {
	c := health.New(health.Options{})
	register(t, c, health.Check{Name: "redis", Run: ok})
	for _, bad := range []health.Check{
		{Name: "redis", Run: ok}, {Run: ok}, {Name: "x"}, {Name: "x", Run: ok, Timeout: -1},
	} {
		if err := c.Register(bad); err == nil {
			t.Errorf("Register(%q) has no error", bad.Name)
		}
	}
}

func TestOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := health.New(health.Options{})
		register(t, c,
			health.Check{Name: "good", Critical: true, Run: func(context.Context) (map[string]any, error) {
				time.Sleep(3 * time.Millisecond)
				return map[string]any{"pool": 4}, nil
			}},
			health.Check{Name: "bad", Run: func(context.Context) (map[string]any, error) { return nil, errors.New("refused") }},
			health.Check{Name: "slow", Run: func(context.Context) (map[string]any, error) {
				return nil, fmt.Errorf("%w: replica lags", health.ErrDegraded)
			}},
			health.Check{Name: "panics", Run: func(context.Context) (map[string]any, error) { panic("nil map") }},
		)
		got := c.Run(t.Context(), time.Now())
		good := got["good"]
		if good.Status != api.Healthy || !good.Critical || good.LatencyMS != 3 || good.Fields["pool"] != 4 || !good.LastOK.Equal(time.Now()) {
			t.Errorf("good = %+v", good)
		}
		for name, want := range map[string]api.Check{
			"bad":    {Status: api.Unhealthy, Error: "refused"},
			"slow":   {Status: api.Degraded, Error: "degraded: replica lags"},
			"panics": {Status: api.Unhealthy, Error: "panic: nil map"},
		} {
			if c := got[name]; c.Status != want.Status || c.Error != want.Error || !c.LastOK.IsZero() {
				t.Errorf("%s = %+v, want %+v", name, c, want)
			}
		}
	})
}

// A check that ignores its context is reported in time, once, and not run a
// second time beside itself; it recovers when it ends.
func TestHungCheckIsReportedAndDoesNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := health.New(health.Options{})
		release := make(chan struct{})
		var runs atomic.Int64
		register(t, c, health.Check{Name: "hung", Timeout: time.Second, Run: func(context.Context) (map[string]any, error) {
			runs.Add(1)
			<-release
			return nil, nil
		}})
		for range 5 {
			start := time.Now()
			got := c.Run(t.Context(), start)["hung"]
			if got.Status != api.Unhealthy || got.Error != "no answer within 1s" || time.Since(start) > time.Second {
				t.Errorf("after %v: %+v", time.Since(start), got)
			}
			time.Sleep(10 * time.Second)
		}
		if runs.Load() != 1 {
			t.Errorf("runs = %d, want 1", runs.Load())
		}
		close(release)
		synctest.Wait()
		if got := c.Run(t.Context(), time.Now())["hung"]; got.Status != api.Healthy {
			t.Errorf("after its end: %+v", got)
		}
	})
}

func TestProbesShareOneRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := health.New(health.Options{Fresh: time.Second})
		var runs atomic.Int64
		register(t, c, health.Check{Name: "db", Run: func(context.Context) (map[string]any, error) {
			time.Sleep(50 * time.Millisecond)
			return nil, fmt.Errorf("run %d", runs.Add(1))
		}})
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { c.Run(t.Context(), time.Now()) })
		}
		wg.Wait()
		c.Run(t.Context(), time.Now())
		if runs.Load() != 1 {
			t.Errorf("runs = %d, want 1", runs.Load())
		}
		time.Sleep(time.Second)
		if got := c.Run(t.Context(), time.Now())["db"]; got.Error != "run 2" {
			t.Errorf("a second later: %+v", got)
		}
	})
}

func TestCallerWhoCannotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := health.New(health.Options{})
		register(t, c, health.Check{Name: "slow", Critical: true, Run: func(ctx context.Context) (map[string]any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if got := c.Run(ctx, time.Now())["slow"]; got.Status != api.Unhealthy || !got.Critical {
			t.Errorf("slow = %+v", got)
		}
		time.Sleep(10 * time.Second) // the check ends at its own deadline
	})
}

func TestCircuits(t *testing.T) {
	windowed := func(rate float64) api.BreakerStats {
		return api.BreakerStats{FailureRate: 0.9, Window: &api.BreakerWindow{FailureRate: rate}}
	}
	for _, tt := range []struct {
		name string
		in   api.Breaker
		want string
	}{
		{"closed", api.Breaker{State: api.StateClosed}, api.Healthy},
		{"closed, just under 10 %", api.Breaker{State: api.StateClosed, Stats: api.BreakerStats{FailureRate: 0.0999}}, api.Healthy},
		{"closed, 10 %", api.Breaker{State: api.StateClosed, Stats: api.BreakerStats{FailureRate: 0.1}}, api.Degraded},
		{"the window counts, not the life", api.Breaker{State: api.StateClosed, Stats: windowed(0)}, api.Healthy},
		{"closed, 10 % in the window", api.Breaker{State: api.StateClosed, Stats: windowed(0.1)}, api.Degraded},
		{"half-open", api.Breaker{State: api.StateHalfOpen}, api.Degraded},
		{"open", api.Breaker{State: api.StateOpen}, api.Failed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := health.Circuits(api.Breakers{"b": tt.in, "fine": {State: api.StateClosed}})
			if got.Circuits["b"].Status != tt.want || got.Status != tt.want || got.Summary.Total != 2 {
				t.Errorf("Circuits = %+v, want %s", got, tt.want)
			}
		})
	}
}

func TestVerdictAndReady(t *testing.T) {
	check := func(status string, critical bool) map[string]api.Check {
		return map[string]api.Check{"c": {Status: status, Critical: critical}, "fine": {Status: api.Healthy}}
	}
	circuits := func(status string) *api.HealthBreakers { return &api.HealthBreakers{Status: status} }
	caches := func(redis, memory string) *api.CacheStatus {
		return &api.CacheStatus{Redis: api.RedisHealth{Status: redis}, Memory: api.MemoryHealth{Status: memory}}
	}
	for _, tt := range []struct {
		name     string
		checks   map[string]api.Check
		breakers *api.HealthBreakers
		cache    *api.CacheStatus
		want     string
		ready    bool
	}{
		{"nothing to check", nil, nil, nil, api.Healthy, true},
		{"all well", check(api.Healthy, true), circuits(api.Healthy), caches(api.Healthy, api.Healthy), api.Healthy, true},
		{"no redis configured", nil, nil, caches(api.Disabled, api.Healthy), api.Healthy, true},
		{"critical check failed", check(api.Unhealthy, true), nil, nil, api.Unhealthy, false},
		{"critical check degraded", check(api.Degraded, true), nil, nil, api.Degraded, true},
		{"other check failed", check(api.Unhealthy, false), nil, nil, api.Degraded, true},
		{"circuit open", check(api.Healthy, true), circuits(api.Failed), nil, api.Unhealthy, true},
		{"circuit half-open", nil, circuits(api.Degraded), nil, api.Degraded, true},
		{"redis failed", nil, nil, caches(api.Failed, api.Healthy), api.Unhealthy, true},
		{"redis degraded", nil, nil, caches(api.Degraded, api.Healthy), api.Degraded, true},
		{"memory degraded", nil, nil, caches(api.Healthy, api.Degraded), api.Degraded, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := health.Verdict(tt.checks, tt.breakers, tt.cache); got != tt.want {
				t.Errorf("Verdict = %s, want %s", got, tt.want)
			}
			if got := health.Ready(tt.checks); got != tt.ready {
				t.Errorf("Ready = %v, want %v", got, tt.ready)
			}
		})
	}
}
