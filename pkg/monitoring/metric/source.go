package metric

import (
	"database/sql"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Sources are asked at each scrape. A nil function leaves its families out.
// They may be called concurrently.
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

// sender shortens the sending of constant samples.
type sender chan<- prometheus.Metric

func (ch sender) gauge(d described, v float64, values ...string) {
	ch.send(d, prometheus.GaugeValue, v, values)
}

func (ch sender) counter(d described, v uint64, values ...string) {
	ch.send(d, prometheus.CounterValue, float64(v), values)
}

func (ch sender) send(d described, t prometheus.ValueType, v float64, values []string) {
	for i := range values {
		values[i] = clean(values[i])
	}
	ch <- prometheus.MustNewConstMetric(d.desc, t, v, values...)
}

func (m *Metrics) collectPools(ch sender) {
	m.mu.Lock()
	pools := make(map[string]pool, len(m.pools))
	for name, p := range m.pools {
		pools[name] = p
	}
	m.mu.Unlock()
	for name, stats := range pools {
		ch.guard(descDBActive, func() {
			s := stats()
			ch.gauge(descDBActive, float64(s.InUse), name)
			ch.gauge(descDBIdle, float64(s.Idle), name)
			ch.gauge(descDBMax, float64(s.MaxOpenConnections), name)
			ch.send(descDBWait, prometheus.CounterValue, s.WaitDuration.Seconds(), []string{name})
		})
	}
}

// guard calls f; a panic of the function it asks fails that family alone.
func (ch sender) guard(d described, f func()) {
	defer func() {
		if p := recover(); p != nil {
			ch <- prometheus.NewInvalidMetric(d.desc, fmt.Errorf("source of %s: panic: %v", d.name, p))
		}
	}()
	f()
}

func (s Sources) collect(ch sender) {
	if s.Process != nil {
		ch.guard(descMemory, func() { s.Process().collect(ch) })
	}
	if s.Breakers != nil {
		ch.guard(descBreakerState, func() {
			for _, b := range s.Breakers() {
				b.collect(ch)
			}
		})
	}
	if s.Caches != nil {
		ch.guard(descCacheRequests, func() {
			for _, c := range s.Caches() {
				c.collect(ch)
			}
		})
	}
	if s.Traces != nil {
		ch.guard(descTracesStored, func() { s.Traces().collect(ch) })
	}
	if s.Profiles != nil {
		ch.guard(descProfilesStored, func() { s.Profiles().collect(ch) })
	}
}

func (p ProcessSample) collect(ch sender) {
	ch.gauge(descMemory, float64(p.MemoryBytes))
	ch.gauge(descCPU, p.CPUPercent)
}

func (t TraceSample) collect(ch sender) {
	ch.gauge(descTracesStored, float64(t.Stored))
	ch.counter(descSpansReceived, t.Received)
	ch.counter(descSpansUnlogged, t.Unlogged)
	for reason, n := range t.Dropped {
		ch.counter(descSpansDropped, n, reason)
	}
}

func (p ProfileSample) collect(ch sender) {
	ch.gauge(descProfilesStored, float64(p.Stored))
	enabled := 0.0
	if p.Enabled {
		enabled = 1
	}
	ch.gauge(descProfilingEnabled, enabled)
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

func (b BreakerSample) collect(ch sender) {
	ch.gauge(descBreakerState, stateValue(b.State), b.Name)
	for outcome, n := range b.Calls {
		ch.counter(descBreakerCalls, n, b.Name, outcome)
	}
	for _, t := range b.Transitions {
		ch.counter(descBreakerTransitions, t.Count, b.Name, string(t.From), string(t.To))
	}
}

func (c CacheSample) collect(ch sender) {
	for result, n := range c.Requests {
		ch.counter(descCacheRequests, n, c.Name, result)
	}
	if c.Entries != nil {
		ch.gauge(descCacheEntries, float64(*c.Entries), c.Name)
	}
	for reason, n := range c.Evictions {
		ch.counter(descCacheEvictions, n, c.Name, reason)
	}
}
