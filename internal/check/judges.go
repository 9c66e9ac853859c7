package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/internal/condition"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// HealthStates are what health and its checks may be.
var HealthStates = []string{api.Healthy, api.Degraded, api.Unhealthy}

// Health judges the verdict, or where names are given only the checks of those
// names.
func Health(h api.Health, names []string, w Words) Result {
	r := Result{Check: "health"}
	for _, name := range slices.Sorted(maps.Keys(h.Checks)) {
		c := h.Checks[name]
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		r.value(Value{Name: name, Value: api.Float(c.LatencyMS / 1000), Unit: "seconds", min: bound(0)})
		if s := w.of(c.Status); s != OK && len(names) > 0 {
			r.problem(s, name, "%s", ill(c.Status, c.Error))
		}
	}
	if len(names) > 0 {
		for _, name := range names {
			if _, found := h.Checks[name]; !found {
				r.problem(Unknown, name, "there is no such health check")
			}
		}
		return r.done(fmt.Sprintf("%d of %d checks %s", len(names)-len(r.Problems), len(names), api.Healthy))
	}
	if s := w.of(h.Status); s != OK {
		for name, why := range illness(h) {
			r.problem(s, name, "%s", why)
		}
		slices.SortFunc(r.Problems, func(a, b Problem) int { return strings.Compare(a.Name, b.Name) })
		if len(r.Problems) == 0 {
			r.problem(s, "health", "%s", h.Status)
		}
	} else if !slices.Contains(HealthStates, h.Status) {
		r.problem(Unknown, "health", "the server calls itself %q", h.Status)
	}
	return r.done(h.Status)
}

// illness is what makes a server less than healthy, with why.
func illness(h api.Health) map[string]string {
	out := map[string]string{}
	for name, c := range h.Checks {
		if c.Status != api.Healthy {
			out[name] = ill(c.Status, c.Error)
		}
	}
	if h.CircuitBreakers != nil {
		for name, c := range h.CircuitBreakers.Circuits {
			if c.State != api.StateClosed {
				out["breaker/"+name] = dashed(c.State)
			}
		}
	}
	if h.Cache != nil && h.Cache.Redis.Status != api.Healthy && h.Cache.Redis.Status != api.Disabled {
		out["cache/redis"] = ill(h.Cache.Redis.Status, h.Cache.Redis.Reason)
	}
	return out
}

func ill(status, why string) string {
	if why == "" {
		return status
	}
	return status + ": " + why
}

func dashed(s api.State) string { return strings.ReplaceAll(string(s), "_", "-") }

// BreakerStates are what a breaker may be; the last two also say that an
// operator made it so.
var BreakerStates = []string{string(api.StateClosed), "half-open", string(api.StateOpen), "forced-open", "disabled"}

// Breakers judges the breakers whose names are or fit the given ones; all if
// there are none.
func Breakers(all api.Breakers, names []string, w Words) Result {
	r := Result{Check: "breakers"}
	counts, total := map[string]int{}, 0
	missing := slices.Clone(names)
	var rejected api.Count
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fits := func(pattern string) bool { return condition.Matches(pattern, name) }
		if len(names) > 0 && !slices.ContainsFunc(names, fits) {
			continue
		}
		missing = slices.DeleteFunc(missing, fits)
		b := all[name]
		total++
		state, mode := dashed(b.State), strings.ReplaceAll(string(b.Mode), "_", "-")
		counts[state]++
		if b.Stats.Rejected != nil {
			rejected += *b.Stats.Rejected
		}
		if s := w.of(state, mode); s != OK {
			r.problem(s, name, "%s", breakerDetail(b, state))
		}
	}
	var parts []string
	for _, state := range []string{"open", "half-open", "closed"} {
		r.value(Value{Name: strings.ReplaceAll(state, "-", "_"), Value: api.Float(counts[state]), min: bound(0), max: bound(float64(total))})
		if counts[state] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[state], state))
		}
	}
	for _, name := range missing {
		r.problem(Unknown, name, "there is no such circuit breaker")
	}
	r.value(Value{Name: "rejected", Value: api.Float(rejected), Unit: "total", min: bound(0)})
	switch {
	case total == 0 && len(names) > 0:
		return r.done("none of these circuit breakers")
	case total == 0:
		return r.done("no circuit breakers")
	}
	return r.done(strings.Join(parts, ", ") + fmt.Sprintf(" of %d", total))
}

func breakerDetail(b api.Breaker, state string) string {
	out := state
	switch {
	case b.Mode == api.ModeForcedOpen:
		out = "forced open"
	case b.Mode == api.ModeDisabled:
		out = "disabled"
	}
	switch {
	case b.Forced != nil && b.Forced.Actor != "":
		why := strings.TrimPrefix(strings.TrimPrefix(b.Forced.Reason, out), ": ")
		if out += " by " + b.Forced.Actor; why != "" {
			out += ": " + why
		}
	case b.Why != nil && b.Why.Reason != "":
		out += ": " + b.Why.Reason
	case b.LastError != "" && b.State != api.StateClosed:
		out += ": " + b.LastError
	}
	return out
}

// CacheStates are what a cache tier may be.
var CacheStates = []string{api.Healthy, api.Degraded, api.Failed, api.Disabled}

// HitRatio are thresholds of the share of hits among recent reads.
type HitRatio struct{ Warn, Crit *Range }

// Cache judges the cache tiers, or only that of a name. One that is not
// configured is no problem, unless it is the one that was named.
func Cache(c api.CacheStatus, tier string, w Words, hits HitRatio) Result {
	r := Result{Check: "cache"}
	var parts []string
	judge := func(name, status, reason string, reads func()) {
		if tier != "" && tier != name {
			return
		}
		parts = append(parts, name+" "+status)
		s := w.of(status)
		switch {
		case s != OK:
			r.problem(s, name, "%s", ill(status, reason))
		case status == api.Disabled && tier == name:
			r.problem(Unknown, name, "it is not configured")
		case !slices.Contains(CacheStates, status):
			r.problem(Unknown, name, "the server calls it %q", status)
		}
		if status != api.Disabled {
			reads()
		}
	}
	judge("memory", c.Memory.Status, "", func() {
		m := c.Memory.Stats
		r.hits("memory", m.Hits, m.Misses, m.Recent, hits)
		most := Value{Name: "memory_entries", Value: api.Float(m.Size), min: bound(0)}
		if m.MaxSize > 0 {
			most.max = bound(float64(m.MaxSize))
		}
		r.value(most)
		if m.Bytes != nil {
			b := Value{Name: "memory_bytes", Value: api.Float(*m.Bytes), Unit: "bytes", min: bound(0)}
			if m.MaxBytes != nil && *m.MaxBytes > 0 {
				b.max = bound(float64(*m.MaxBytes))
			}
			r.value(b)
		}
		r.value(Value{Name: "memory_evictions", Value: api.Float(m.Evictions), Unit: "total", min: bound(0)})
	})
	judge("redis", c.Redis.Status, c.Redis.Reason, func() {
		s := c.Redis.Stats
		r.hits("redis", s.CacheHits, s.CacheMisses, s.Recent, hits)
		if s.Latency != nil {
			r.value(Value{Name: "redis_latency", Value: api.Float(s.Latency.Duration().Seconds()), Unit: "seconds", min: bound(0)})
		}
		r.value(Value{Name: "redis_errors", Value: api.Float(s.CacheErrors), Unit: "total", min: bound(0)})
	})
	return r.done(strings.Join(parts, ", "))
}

// hits judges the share of hits: of the last minutes where the server tells
// them, else of all time.
func (r *Result) hits(tier string, hits, misses api.Count, recent *api.CacheRecent, t HitRatio) {
	over := "in all"
	if recent != nil {
		hits, misses = recent.Hits, recent.Misses
		over = fmt.Sprintf("in the last %.0f s", recent.Seconds.Duration().Seconds())
	}
	if hits+misses <= 0 {
		return // nothing was read: there is no share
	}
	ratio := float64(hits) / float64(hits+misses)
	v := Value{Name: tier + "_hit_ratio", Value: api.Float(ratio), Unit: "ratio", warn: t.Warn, crit: t.Crit, min: bound(0), max: bound(1)}
	if s := r.judged(v); s != OK {
		r.problem(s, tier, "%s of %d reads were hits %s", percent(ratio), hits+misses, over)
	}
}

func percent(ratio float64) string { return plain(float64(int64(ratio*10000+.5))/100) + "%" }
