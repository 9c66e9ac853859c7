package metric

import (
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Sources are asked at each scrape. A nil function leaves its families out.
// They may be called concurrently, and change nothing that they have returned.
type Sources struct {
	Process  func() ProcessSample
	Breakers func() []BreakerSample
	Caches   func() []CacheSample
	Traces   func() TraceSample
	Profiles func() ProfileSample
}

// ProcessSample is the process's use of the machine.
type ProcessSample struct {
	MemoryBytes uint64  // resident set
	CPUPercent  float64 // of one core
}

// BreakerSample is one circuit breaker.
type BreakerSample struct {
	Name        string
	State       api.State
	Calls       map[string]uint64 // by outcome: success, failure, timeout, rejected, ignored
	Transitions []BreakerTransition
}

// BreakerTransition counts the changes from one state to another.
type BreakerTransition struct {
	From, To api.State
	Count    uint64
}

// CacheSample is one tier of a cache.
type CacheSample struct {
	Name      string            // memory, redis
	Requests  map[string]uint64 // by result: hit, miss, error
	Entries   *int64            // nil where the tier cannot tell
	Evictions map[string]uint64 // by reason: size, expired, cleared
}

// TraceSample is the trace store.
type TraceSample struct {
	Stored   int64
	Received uint64            // spans
	Dropped  map[string]uint64 // spans, by reason
	Unlogged uint64            // spans kept, but not on disk where they should be
}

// ProfileSample is the profile store.
type ProfileSample struct {
	Stored  int64
	Enabled bool
}

type pool func() sql.DBStats

// WatchDB shows a database pool's statistics, read by stats at each scrape:
// the Stats method of a *sql.DB. A name that is taken is an error.
func (m *Metrics) WatchDB(name string, stats func() sql.DBStats) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = clean(name)
	if _, ok := m.pools[name]; ok {
		return fmt.Errorf("database pool %q is watched already", name)
	}
	m.pools[name] = stats
	return nil
}

// ask returns what f says, and whether it said so: not where none of its
// families was asked for, nor where it panics, which fails these alone.
func ask[T any](p *page, f func() T, families ...*desc) (said T, ok bool) {
	if f == nil || !slices.ContainsFunc(families, p.has) {
		return said, false
	}
	defer func() {
		if reason := recover(); reason != nil {
			p.failed = append(p.failed, fmt.Errorf("source of %s: panic: %v", families[0].name, reason))
			ok = false
		}
	}()
	return f(), true
}

func (m *Metrics) exposePools(p *page) {
	m.mu.Lock()
	pools := maps.Clone(m.pools)
	m.mu.Unlock()
	type sample struct {
		name string
		sql.DBStats
	}
	var all []sample
	for _, name := range slices.Sorted(maps.Keys(pools)) {
		if st, ok := ask(p, pools[name], descDBActive, descDBIdle, descDBMax, descDBWait); ok {
			all = append(all, sample{name, st})
		}
	}
	each := func(d *desc, value func(sample) float64) {
		p.family(d, func() {
			for _, s := range all {
				p.number(value(s), s.name)
			}
		})
	}
	each(descDBActive, func(s sample) float64 { return float64(s.InUse) })
	each(descDBIdle, func(s sample) float64 { return float64(s.Idle) })
	each(descDBMax, func(s sample) float64 { return float64(s.MaxOpenConnections) })
	each(descDBWait, func(s sample) float64 { return s.WaitDuration.Seconds() })
}

func (p *page) gauge(d *desc, v float64) { p.family(d, func() { p.number(v) }) }

func (s *Sources) exposeProcess(p *page) {
	if said, ok := ask(p, s.Process, descMemory, descCPU); ok {
		p.gauge(descMemory, float64(said.MemoryBytes))
		p.gauge(descCPU, said.CPUPercent)
	}
}

func (s *Sources) exposeTraces(p *page) {
	said, ok := ask(p, s.Traces, descTracesStored, descSpansReceived, descSpansDropped, descSpansUnlogged)
	if !ok {
		return
	}
	p.gauge(descTracesStored, float64(said.Stored))
	p.family(descSpansReceived, func() { p.count(said.Received) })
	p.family(descSpansDropped, func() { p.counts(said.Dropped) })
	p.family(descSpansUnlogged, func() { p.count(said.Unlogged) })
}

// counts writes a series for each entry of all, whose key is its last label.
func (p *page) counts(all map[string]uint64, values ...string) {
	for _, key := range slices.Sorted(maps.Keys(all)) {
		p.count(all[key], append(values[:len(values):len(values)], clean(key))...)
	}
}

func (s *Sources) exposeProfiles(p *page) {
	if said, ok := ask(p, s.Profiles, descProfilesStored, descProfilingEnabled); ok {
		enabled := 0.0
		if said.Enabled {
			enabled = 1
		}
		p.gauge(descProfilesStored, float64(said.Stored))
		p.gauge(descProfilingEnabled, enabled)
	}
}

// stateValue is a breaker's state as its gauge shows it: alerts say == 1 for open.
func stateValue(s api.State) float64 {
	switch s {
	case api.StateOpen:
		return 1
	case api.StateHalfOpen:
		return 2
	}
	return 0
}

func (s *Sources) exposeBreakers(p *page) {
	all, ok := ask(p, s.Breakers, descBreakerState, descBreakerCalls, descBreakerTransitions)
	if !ok {
		return
	}
	all = distinct(all, func(b *BreakerSample) *string { return &b.Name })
	p.family(descBreakerState, func() {
		for _, b := range all {
			p.number(stateValue(b.State), b.Name)
		}
	})
	p.family(descBreakerCalls, func() {
		for _, b := range all {
			p.counts(b.Calls, b.Name)
		}
	})
	p.family(descBreakerTransitions, func() {
		for _, b := range all {
			for _, t := range b.Transitions {
				p.count(t.Count, b.Name, string(t.From), string(t.To))
			}
		}
	})
}

func (s *Sources) exposeCaches(p *page) {
	all, ok := ask(p, s.Caches, descCacheRequests, descCacheEntries, descCacheEvictions)
	if !ok {
		return
	}
	all = distinct(all, func(c *CacheSample) *string { return &c.Name })
	p.family(descCacheRequests, func() {
		for _, c := range all {
			p.counts(c.Requests, c.Name)
		}
	})
	p.family(descCacheEntries, func() {
		for _, c := range all {
			if c.Entries != nil {
				p.number(float64(*c.Entries), c.Name)
			}
		}
	})
	p.family(descCacheEvictions, func() {
		for _, c := range all {
			p.counts(c.Evictions, c.Name)
		}
	})
}

// distinct returns the samples with clean names, by name, and of those whose
// names have become one the first: a series that is there twice would spoil the
// scrape.
func distinct[T any](all []T, name func(*T) *string) []T {
	out := slices.Clone(all)
	for i := range out {
		*name(&out[i]) = clean(*name(&out[i]))
	}
	slices.SortStableFunc(out, func(a, b T) int { return strings.Compare(*name(&a), *name(&b)) })
	return slices.CompactFunc(out, func(a, b T) bool { return *name(&a) == *name(&b) })
}
