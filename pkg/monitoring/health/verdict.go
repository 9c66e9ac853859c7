package health

import "github.com/pulsectl/pulsectl/pkg/api"

// degradedRate is the failure rate from which a closed circuit is degraded.
const degradedRate = 0.10

// Circuits sums up the circuit breakers: an open one has failed, a half-open
// one is degraded, and so is a closed one that fails at 10 % or more. The rate
// is that of the breaker's window where it has one.
func Circuits(breakers api.Breakers) api.HealthBreakers {
	out := api.HealthBreakers{Status: api.Healthy, Circuits: make(map[string]api.HealthCircuit, len(breakers))}
	for name, b := range breakers {
		c := circuit(b)
		out.Circuits[name] = c
		switch c.Status {
		case api.Failed:
			out.Summary.Failed++
		case api.Degraded:
			out.Summary.Degraded++
		default:
			out.Summary.Healthy++
		}
	}
	out.Summary.Total = api.Count(len(breakers))
	switch {
	case out.Summary.Failed > 0:
		out.Status = api.Failed
	case out.Summary.Degraded > 0:
		out.Status = api.Degraded
	}
	return out
}

func circuit(b api.Breaker) api.HealthCircuit {
	rate := b.Stats.FailureRate
	if b.Stats.Window != nil {
		rate = b.Stats.Window.FailureRate
	}
	out := api.HealthCircuit{
		Status: api.Healthy, State: b.State, FailureRate: rate,
		TotalRequests: b.Stats.TotalRequests, ConsecutiveFailures: b.Stats.ConsecutiveFailures,
	}
	switch {
	case b.State == api.StateOpen:
		out.Status = api.Failed
	case b.State == api.StateHalfOpen, rate >= degradedRate:
		out.Status = api.Degraded
	}
	return out
}

// Verdict sums everything up: unhealthy if a critical check, any circuit or
// Redis failed, degraded if any part is degraded or a check that is not
// critical failed. breakers and cache may be nil where there are none.
func Verdict(checks map[string]api.Check, breakers *api.HealthBreakers, cache *api.CacheStatus) string {
	verdict := api.Healthy
	for _, c := range checks {
		switch {
		case failed(c.Status) && c.Critical:
			return api.Unhealthy
		case c.Status != api.Healthy:
			verdict = api.Degraded
		}
	}
	if breakers != nil {
		switch {
		case failed(breakers.Status):
			return api.Unhealthy
		case breakers.Status == api.Degraded:
			verdict = api.Degraded
		}
	}
	if cache == nil {
		return verdict
	}
	switch {
	case failed(cache.Redis.Status):
		return api.Unhealthy
	case cache.Redis.Status == api.Degraded, cache.Memory.Status == api.Degraded, failed(cache.Memory.Status):
		return api.Degraded
	}
	return verdict
}

// Ready reports whether the critical checks pass. Breakers and caches do not
// count: an open breaker never takes a replica out of the balancer.
func Ready(checks map[string]api.Check) bool {
	for _, c := range checks {
		if c.Critical && failed(c.Status) {
			return false
		}
	}
	return true
}

func failed(status string) bool { return status == api.Unhealthy || status == api.Failed }
