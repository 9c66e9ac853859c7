package monitoring

import (
	"time"

	"database/sql"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
)

// sources are what the metrics ask the other rooms at each scrape.
func (m *Monitor) sources() metric.Sources {
	return metric.Sources{
		Process: func() metric.ProcessSample {
			return metric.ProcessSample{MemoryBytes: m.Process.RSS(), CPUPercent: m.Process.CPUPercent()}
		},
		Breakers: m.breakerSamples,
		Caches:   m.cacheSamples,
		Traces:   m.traceSample,
		Profiles: m.profileSample,
	}
}

func (m *Monitor) breakerSamples() []metric.BreakerSample {
	all := m.Breakers.Samples()
	out := make([]metric.BreakerSample, len(all))
	for i, b := range all {
		out[i] = metric.BreakerSample{Name: b.Name, State: b.State, Calls: map[string]uint64{}}
		for outcome, n := range b.Calls {
			out[i].Calls[outcome] = uint64(n)
		}
		for move, n := range b.Transitions {
			out[i].Transitions = append(out[i].Transitions, metric.BreakerTransition{From: move[0], To: move[1], Count: uint64(n)})
		}
		slices.SortFunc(out[i].Transitions, func(a, b metric.BreakerTransition) int {
			return strings.Compare(string(a.From+a.To), string(b.From+b.To))
		})
	}
	return out
}

func (m *Monitor) cacheSamples() []metric.CacheSample {
	st := m.Memory.Stats()
	entries := int64(st.Size)
	out := []metric.CacheSample{{
		Name:     "memory",
		Requests: map[string]uint64{"hit": uint64(st.Hits), "miss": uint64(st.Misses)},
		Entries:  &entries,
		Evictions: map[string]uint64{
			"size": uint64(st.Evictions), "expired": uint64(st.ExpiredEvictions), "cleared": uint64(st.Cleared.Value()),
		},
	}}
	if m.Redis != nil {
		n := m.Redis.Counts()
		out = append(out, metric.CacheSample{
			Name:      "redis",
			Requests:  map[string]uint64{"hit": uint64(n.Hits), "miss": uint64(n.Misses), "error": uint64(n.Errors)},
			Evictions: map[string]uint64{"cleared": uint64(n.Cleared)},
		})
	}
	return out
}

func (m *Monitor) traceSample() metric.TraceSample {
	st := m.Traces.Stats()
	out := metric.TraceSample{Stored: int64(st.Traces), Received: uint64(st.Received), Unlogged: uint64(st.Unlogged), Dropped: map[string]uint64{}}
	for reason, n := range st.Dropped {
		out.Dropped[reason] = uint64(n)
	}
	return out
}

func (m *Monitor) profileSample() metric.ProfileSample {
	return metric.ProfileSample{Stored: int64(m.Profiles.Stats().CompletedProfiles), Enabled: m.Profiles.Mode() == profiling.ModeOn}
}

// config is the effective configuration, without secrets. The groups app,
// database, security and external_apis are those of a Python server.
func (m *Monitor) config() api.Config {
	o := m.opts
	out := api.Config{
		"app": map[string]any{
			"title": o.Service, "version": o.Version, "environment": o.Environment, "debug": o.Debug,
		},
		"database": map[string]any{"pools": m.dbs.describe()},
		"security": map[string]any{
			"tokens": len(o.Access.Tokens), "anonymous": o.Access.Anonymous, "allow_anonymous": o.Access.AllowAnonymous,
		},
		"external_apis": m.externalAPIs(),
		"tracing":       map[string]any{"max_bytes": o.TraceMaxBytes, "max_age": api.Seconds(o.TraceMaxAge)},
		"profiling": map[string]any{
			"slow_threshold": api.Seconds(m.Profiles.SlowThreshold()), "slow_thresholds": seconds(o.SlowThresholds), "targets": m.Profiles.Targets(),
		},
		"cache": map[string]any{
			"redis_enabled": m.Redis != nil, "redis_timeout": api.Seconds(o.RedisTimeout), "memory_max_bytes": o.CacheMaxBytes,
		},
		"circuit_breakers": map[string]any{"shared": o.SharedBreakers},
		"sources":          o.Sources,
	}
	if o.Sources == nil {
		out["sources"] = map[string]string{}
	}
	for group, v := range o.Config {
		if ask, ok := v.(func() map[string]any); ok {
			v = ask()
		}
		merged, isMap := out[group].(map[string]any)
		more, moreMap := v.(map[string]any)
		if isMap && moreMap {
			maps.Copy(merged, more)
			continue
		}
		out[group] = v
	}
	return out
}

// externalAPIs tells of each breaker named NAME_api whether it is there, and
// the call timeouts that were set.
func (m *Monitor) externalAPIs() map[string]any {
	out := map[string]any{"github_enabled": false, "linear_enabled": false, "openai_enabled": false}
	for name, b := range m.Breakers.Snapshot() {
		short := strings.TrimSuffix(name, "_api")
		if short == name {
			continue
		}
		out[short+"_enabled"] = true
		out[short+"_timeout"] = b.Config.Timeout
	}
	return out
}

// pools remembers the watched databases, to tell their bounds.
type pools struct {
	mu  sync.Mutex
	all map[string]*sql.DB
}

func (p *pools) add(name string, db *sql.DB) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[string]*sql.DB{}
	}
	p.all[name] = db
}

func (p *pools) describe() map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]any{}
	for name, db := range p.all {
		out[name] = map[string]any{"max_connections": db.Stats().MaxOpenConnections}
	}
	return out
}

func seconds(ds map[string]time.Duration) map[string]api.Seconds {
	out := make(map[string]api.Seconds, len(ds))
	for k, d := range ds {
		out[k] = api.Seconds(d)
	}
	return out
}
