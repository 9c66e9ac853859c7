// Package metric keeps the pulse_api_* families and answers scrapes.
//
// What happens often is counted in structs of atomics, one a series, that a
// lock-free lookup or a handle finds: a request costs four atomic adds and
// allocates nothing. What others count already, breakers, caches, traces,
// pools, is asked for when a scrape comes, through the functions in [Sources]:
// this package knows no other.
//
// A series keeps its labels rendered, so that a scrape appends bytes: its own
// families first, by this package, then those of the service's registry and the
// standard ones, by client_golang's encoder. It takes no lock that a request
// waits for.
//
// Label values may come from outside, so each family has a limit of series;
// what is refused is counted in pulse_api_series_refused_total. A series that has been
// idle for an hour makes room; see [Metrics.Run].
package metric

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Options configures [New]. The zero value is ready to use.
type Options struct {
	Service     string // label of pulse_api_info
	Version     string // label of pulse_api_info
	Environment string // label of pulse_api_info

	// SeriesLimit is how many combinations of label values a family may have; 0
	// means 1000. Histograms other than the requests' have a third of it, for
	// each of theirs is a dozen lines; the requests, by route, method and status,
	// have twice as many.
	SeriesLimit int

	// SeriesIdle is how long a series of labels other than the requests' may
	// stay unchanged before it is dropped; 0 means an hour, below 0 for ever.
	SeriesIdle time.Duration

	Sources Sources
}

// Metrics holds the families. Its methods may be called by any goroutine.
type Metrics struct {
	own  *prometheus.Registry // the standard collectors
	user *prometheus.Registry // what the service registers

	active atomic.Int64
	routes routes

	errors, exceptions *counters
	externalErrors     *counters
	priority, feedback *counters
	ingested           *counters
	dbDuration         *histograms
	externalDuration   *histograms

	limited  []*limited
	sweeps   []func(now time.Time, idle time.Duration)
	idle     time.Duration
	sources  Sources
	info     []string // label values
	taken    map[string]bool
	failures *prometheus.CounterVec
	gathers  chan struct{} // a place for each that runs over user
	started  time.Time
	mu       sync.Mutex
	pools    map[string]pool // guarded by mu
}

// New returns the families of one service, all empty. It starts nothing.
func New(o Options) (*Metrics, error) {
	if o.SeriesLimit < 0 {
		return nil, fmt.Errorf("series limit %d: want 0 or more", o.SeriesLimit)
	}
	limit := cmp.Or(o.SeriesLimit, 1000)
	m := &Metrics{
		own: prometheus.NewRegistry(), user: prometheus.NewRegistry(),
		sources: o.Sources, pools: map[string]pool{}, idle: cmp.Or(o.SeriesIdle, time.Hour),
		info:  []string{clean(o.Version), clean(o.Environment), runtime.Version(), clean(o.Service)},
		taken: map[string]bool{}, started: time.Now(), gathers: make(chan struct{}, maxScrapes),
	}
	m.routes.init(m, 2*limit)
	m.errors = newCounters(m, descErrors, limit)
	m.exceptions = newCounters(m, descExceptions, limit)
	m.dbDuration = newHistograms(m, descDBDuration, max(limit/3, 1))
	m.externalDuration = newHistograms(m, descExternalDuration, max(limit/3, 1))
	m.externalErrors = newCounters(m, descExternalErrors, limit)
	m.priority = newCounters(m, descPriority, limit)
	m.feedback = newCounters(m, descFeedback, limit)
	m.ingested = newCounters(m, descIngested, limit)
	for _, d := range allDescs() {
		for _, name := range d.names() {
			m.taken[name] = true
		}
	}
	return m, m.register()
}

// The causes of failures, of which client_golang's handler has both.
const (
	gathering = "gathering"
	encoding  = "encoding"
)

func (m *Metrics) register() error {
	m.failures = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "promhttp_metric_handler_errors_total",
		Help: "Total number of internal errors encountered by the promhttp metric handler.",
	}, []string{"cause"})
	m.failures.WithLabelValues(gathering)
	m.failures.WithLabelValues(encoding)
	return errors.Join(
		m.own.Register(collectors.NewGoCollector()),
		m.own.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
		m.own.Register(m.failures),
	)
}

// Registry returns the registry in which the service registers collectors of
// its own. They are scraped after the families of this package and cannot
// displace them: a family with a name of these is left out and counted in
// promhttp_metric_handler_errors_total, as is one that cannot be collected. So
// are all of them where one collector takes longer than the scrape can wait. One
// that panics ends the process: client_golang runs it in a goroutine of its own.
func (m *Metrics) Registry() *prometheus.Registry { return m.user }

// Register registers c in [Metrics.Registry].
func (m *Metrics) Register(c prometheus.Collector) error { return m.user.Register(c) }

// Run drops the series that have been idle for too long, until ctx is done. A
// series is dropped at the earliest a sweep after it was found idle. Should its
// labels come back, they begin at zero, with a creation time of their own: to
// rate() that is a restart of the counter, which it knows how to count.
func (m *Metrics) Run(ctx context.Context) error {
	if m.idle < 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(min(max(m.idle/10, time.Second), time.Minute))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			for _, sweep := range m.sweeps {
				sweep(now, m.idle)
			}
		}
	}
}

// expose writes the families of this package, in the order of desc.go.
func (m *Metrics) expose(p *page) {
	p.family(descInfo, func() { p.number(1, m.info...) })
	m.routes.expose(p)
	exposeCounters(p, m.errors)
	exposeCounters(p, m.exceptions)
	p.gauge(descActive, float64(m.active.Load()))
	exposeHistograms(p, m.dbDuration)
	m.exposePools(p)
	exposeHistograms(p, m.externalDuration)
	exposeCounters(p, m.externalErrors)
	m.sources.exposeProcess(p)
	for _, f := range []*counters{m.priority, m.feedback, m.ingested} {
		exposeCounters(p, f)
	}
	m.sources.exposeBreakers(p)
	m.sources.exposeCaches(p)
	m.sources.exposeTraces(p)
	m.sources.exposeProfiles(p)
	p.family(descRefused, func() {
		for _, f := range m.limited {
			p.count(f.refused.Load(), f.name)
		}
	})
}

func exposeCounters(p *page, f *counters) {
	p.family(f.desc, func() {
		for _, s := range f.sorted() {
			p.counter(s.text, s.labels[:len(f.labels)], s.data.n.Load(), s.created)
		}
	})
}

func exposeHistograms(p *page, f *histograms) {
	p.family(f.desc, func() {
		for _, s := range f.sorted() {
			p.startHistogram()
			p.addHistogram(s.data)
			p.endHistogram(s.text, s.labels[:len(f.labels)])
		}
	})
}
