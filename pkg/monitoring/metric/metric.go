// Package metric keeps the pulse_api_* families in a Prometheus registry.
//
// What happens often is counted in structs of atomics, one a series, that a
// lock-free lookup finds: a request costs two lookups and five atomic adds, and
// allocates nothing. What others count already, breakers, caches, traces,
// pools, is asked for when a scrape comes, through the functions in [Sources]:
// this package knows no other.
//
// Label values may come from outside, so each family has a limit of series;
// what is refused is counted in pulse_api_series_refused_total.
package metric

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	_ "github.com/prometheus/client_golang/prometheus/promhttp/zstd" // lets promhttp answer with zstd
	dto "github.com/prometheus/client_model/go"
)

// Options configures [New]. The zero value is ready to use.
type Options struct {
	Service     string // label of pulse_api_info
	Version     string // label of pulse_api_info
	Environment string // label of pulse_api_info
	SeriesLimit int    // series a family may have; 0 means 2000
	Sources     Sources
}

// Metrics holds the families. Its methods may be called by any goroutine.
type Metrics struct {
	own  *prometheus.Registry // ours and the standard collectors
	user *prometheus.Registry // what the service registers

	active atomic.Int64
	routes routes

	errors, exceptions *family[counter]
	externalErrors     *family[counter]
	priority, feedback *family[counter]
	ingested           *family[counter]
	dbDuration         *family[histogram]
	externalDuration   *family[histogram]
	families           []*familyInfo
	sources            Sources
	info               prometheus.Metric
	mu                 sync.Mutex
	pools              map[string]pool // guarded by mu
}

// New returns the families of one service, all empty. It starts nothing.
func New(o Options) (*Metrics, error) {
	if o.SeriesLimit < 0 {
		return nil, fmt.Errorf("series limit %d: want 0 or more", o.SeriesLimit)
	}
	limit := cmp.Or(o.SeriesLimit, 2000)
	m := &Metrics{
		own: prometheus.NewRegistry(), user: prometheus.NewRegistry(),
		sources: o.Sources, pools: map[string]pool{},
	}
	m.routes.init(m, limit)
	m.errors = newFamily[counter](m, descErrors, limit)
	m.exceptions = newFamily[counter](m, descExceptions, limit)
	m.externalErrors = newFamily[counter](m, descExternalErrors, limit)
	m.priority = newFamily[counter](m, descPriority, limit)
	m.feedback = newFamily[counter](m, descFeedback, limit)
	m.ingested = newFamily[counter](m, descIngested, limit)
	m.dbDuration = newHistograms(m, descDBDuration, dbBounds, limit)
	m.externalDuration = newHistograms(m, descExternalDuration, externalBounds, limit)
	m.info = prometheus.MustNewConstMetric(descInfo.desc, prometheus.GaugeValue, 1,
		clean(o.Version), clean(o.Environment), runtime.Version(), clean(o.Service))
	return m, m.register()
}

func (m *Metrics) register() error {
	return errors.Join(
		m.own.Register(collector{m}),
		m.own.Register(collectors.NewGoCollector()),
		m.own.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
	)
}

// Registry returns the registry in which the service registers collectors of
// its own. They are scraped after the families of this package and cannot
// displace them. A collector that panics there ends the process, as it does
// with any Prometheus registry; [Metrics.Register] guards against that.
func (m *Metrics) Registry() *prometheus.Registry { return m.user }

// Register registers c so that a panic in it fails c alone: the scrape goes on
// without it, and its text is in the handler's error count.
func (m *Metrics) Register(c prometheus.Collector) error { return m.user.Register(guarded{c}) }

// Gather collects all families, ours first. An error comes beside what could
// be collected, as prometheus.Gatherer says.
func (m *Metrics) Gather() ([]*dto.MetricFamily, error) {
	return prometheus.Gatherers{m.own, m.user}.Gather()
}

// Handler serves a scrape as text, OpenMetrics with exemplars, or protobuf with
// native histograms, as the request's Accept asks; compressed if it may be.
// Families that cannot be collected are left out and counted in
// promhttp_metric_handler_errors_total.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m, promhttp.HandlerOpts{
		ErrorHandling:     promhttp.ContinueOnError,
		Registry:          m.own,
		EnableOpenMetrics: true,
		ProcessStartTime:  time.Now(),
	})
}

// guarded turns a panic of a collector into a metric that reports it.
type guarded struct{ prometheus.Collector }

func (g guarded) Collect(ch chan<- prometheus.Metric) {
	defer func() {
		if p := recover(); p != nil {
			desc := prometheus.NewDesc("pulse_api_broken_collector", "A collector panicked.", nil, nil)
			ch <- prometheus.NewInvalidMetric(desc, fmt.Errorf("collector %T: panic: %v", g.Collector, p))
		}
	}()
	g.Collector.Collect(ch)
}
