// Package monitoring is the monitoring stack for a Go service: metrics, traces,
// profiles of slow requests, circuit breakers, caches and health checks, and
// the /monitoring API that shows and steers them.
//
// A [Monitor] owns one of each room and joins them: the breakers' states reach
// the metrics, a slow request's profile its trace. [Monitor.Middleware] records
// every request, [Monitor.Mount] serves the API, [Monitor.Run] does the work in
// the background. The generic functions [Trace], [Profile], [TrackDBQuery],
// [TrackExternalAPI], [Guard] and [Cached] wrap a piece of work and keep its
// types; [NewCache] and [Monitor.CacheResponses] are the caches with all there is
// to set.
package monitoring

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker/fleet"
	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
	"github.com/pulsectl/pulsectl/pkg/monitoring/health"
	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
	"github.com/pulsectl/pulsectl/pkg/monitoring/process"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// Options configures a [Monitor]. The zero value works: everything on, in
// memory, the API open to callers over loopback.
type Options struct {
	Service     string // names the service in traces and metrics; "" means the program's name
	Version     string
	Commit      string
	Environment string // "" means development
	Debug       bool   // starts with profiling on, until it is disabled

	TraceMaxBytes int64         // memory for traces; 0 means 256 MiB
	TraceMaxAge   time.Duration // how long traces are kept; 0 means 24h
	SlowThreshold time.Duration // from when on a request is slow; 0 means 1s

	// SlowThresholds are those of routes that differ, by pattern, with or without
	// its method: "GET /export". They count on the mux that Mount gets.
	SlowThresholds map[string]time.Duration
	ProfileTargets []profiling.Target // whose /debug/pprof profiles can be pulled from
	NoPprof        bool               // leaves /debug/pprof to the service

	SecretNames []string // parts of attribute and parameter names whose values are masked, beside the usual ones

	MetricSeriesLimit int           // label combinations a metric family may have, see metric.Options; 0 means 1000
	MetricSeriesIdle  time.Duration // how long they stay without a change; 0 means 1h, below 0 for ever

	RedisURL       string        // of the Redis cache, see cache.RedisOptions; "" means none
	RedisTimeout   time.Duration // of one call to it; 0 means 5s
	CacheMaxBytes  int64         // memory for the memory cache; 0 means 64 MiB
	CacheKeyPrefix string        // of the keys in Redis; "" means pulse_api

	// SharedBreakers has all replicas of the service in the environment share
	// the state of their breakers through RedisURL; see package fleet.
	SharedBreakers bool

	// BreakerTimeouts are call timeouts by breaker name, for breakers that are
	// made without one.
	BreakerTimeouts map[string]time.Duration

	TraceLog   tracing.Log        // keeps traces across restarts; nil means they are gone with the process
	ProfileLog profiling.Log      // the same for profiles
	AuditLog   server.AuditKeeper // the same for audit records
	Query      server.QueryEngine // answers PromQL and evaluates alert rules over samples of Monitor.Metrics; nil means the API has neither

	Access server.Access // who may use the API; the zero value: callers over loopback
	Log    *slog.Logger  // request lines, audit records, failures; nil discards

	LogRules []LogRule // which request lines may be left out; nil writes each

	// OnPanic is told of each panic of a handler that was recovered: its type and
	// the route. It is called on the request's goroutine and must not wait; nil
	// means no one.
	OnPanic func(what string)

	// Config are settings of the service's own for /monitoring/debug/config, by
	// group; they must hold no secrets. A func() map[string]any is asked each
	// time. Sources say where settings came from.
	Config  map[string]any
	Sources map[string]string

	// Capabilities are told by GET /monitoring/ beside the API's own: what the
	// service mounts that clients of the API may use. Listeners are the addresses
	// it serves on, by what they are for.
	Capabilities []string
	Listeners    map[string]string
}

// Access says who may use the API; see [LoadTokens] for its tokens.
type Access = server.Access

// Token is the right to a role on the API.
type Token = server.Token

// Monitor is the monitoring stack of one process. It is safe for concurrent
// use. Its users may reach into the rooms that have a field here.
type Monitor struct {
	Traces   *tracing.Store
	Profiles *profiling.Profiler
	Metrics  *metric.Metrics
	Breakers *breaker.Set
	Health   *health.Checks
	Memory   *cache.Memory
	Redis    *cache.Redis // nil without Options.RedisURL
	Fleet    *fleet.Fleet // nil without Options.SharedBreakers
	Process  *process.Reader

	opts    Options
	log     *slog.Logger
	server  *server.Server
	tracer  trace.TracerProvider
	started time.Time
	clock   clock
	keys    requestKeys
	lines   requestLog
	routes  known[string, route]
	queries known[[2]string, query]
	calls   known[[2]string, externalCall]
	mux     atomic.Pointer[http.ServeMux] // that Mount got last
	intakes atomic.Pointer[[]string]      // the paths that Receive got
	jaeger  atomic.Bool                   // whether ServeJaeger has been called
	ran     atomic.Bool
	dbs     pools
	cached  sync.Map // reflect.Type of T to *cache.Cache[T], for Cached
	closers closers
}

// New builds the stack. It starts nothing: see [Monitor.Run]. Nonsense in the
// options is an error.
func New(o Options) (*Monitor, error) {
	o.Service = cmp.Or(o.Service, programName())
	o.Environment = cmp.Or(o.Environment, "development")
	o.TraceMaxBytes = cmp.Or(o.TraceMaxBytes, 256<<20) // here, so that /debug/config tells them
	o.TraceMaxAge = cmp.Or(o.TraceMaxAge, 24*time.Hour)
	o.CacheMaxBytes = cmp.Or(o.CacheMaxBytes, 64<<20)
	o.RedisTimeout = cmp.Or(o.RedisTimeout, 5*time.Second)
	o.Access.Anonymous = cmp.Or(o.Access.Anonymous, "none")
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = slog.New(LogHandler(o.Log.Handler())) // so that our own lines carry the ids
	m := &Monitor{opts: o, log: o.Log, started: time.Now(), Breakers: new(breaker.Set), Health: health.New(health.Options{})}
	for _, build := range []func() error{m.buildStores, m.buildCaches, m.buildFleet, m.buildMetrics, m.buildLog, m.buildServer} {
		if err := build(); err != nil {
			return nil, fmt.Errorf("monitoring: %w", err)
		}
	}
	m.linkProfiles()
	return m, nil
}

// linkProfiles tells the traces that a log brought back of the profiles that it
// brought back.
func (m *Monitor) linkProfiles() {
	for _, p := range m.Profiles.List(profiling.Query{Limit: math.MaxInt}) {
		if id, err := tracing.ParseTraceID(p.TraceID); err == nil {
			m.Traces.Link(id, p.ProfileID)
		}
	}
}

func programName() string {
	name := os.Args[0]
	return name[strings.LastIndexAny(name, `/\`)+1:]
}

func (m *Monitor) buildStores() (err error) {
	o := m.opts
	m.Traces, err = tracing.New(tracing.Options{
		Service: o.Service, MaxBytes: o.TraceMaxBytes, MaxAge: o.TraceMaxAge, Slow: o.SlowThreshold, Mask: secretNames(o.SecretNames), Log: o.TraceLog,
	})
	if err != nil {
		return err
	}
	m.tracer, m.keys = m.Traces.TracerProvider(), newRequestKeys(m.Traces)
	mode := profiling.ModeWatch
	if o.Debug {
		mode = profiling.ModeOn
	}
	m.Profiles, err = profiling.New(profiling.Options{
		Service: o.Service, Mode: mode, SlowThreshold: o.SlowThreshold, Thresholds: o.SlowThresholds, Route: m.patternOf,
		Targets: o.ProfileTargets, Log: o.Log, Store: profiling.StoreOptions{Log: o.ProfileLog},
	})
	if err != nil {
		return err
	}
	m.Process, err = process.New(process.Options{})
	return err
}

func (m *Monitor) buildCaches() (err error) {
	m.Memory, err = cache.NewMemory(cache.MemoryOptions{MaxBytes: m.opts.CacheMaxBytes})
	if err != nil {
		return err
	}
	m.closers.add(m.Memory.Close)
	if m.opts.RedisURL == "" {
		return nil
	}
	m.Redis, err = cache.NewRedis(cache.RedisOptions{
		URL: m.opts.RedisURL, Timeout: m.opts.RedisTimeout, KeyPrefix: m.opts.CacheKeyPrefix,
	})
	if err != nil {
		return err
	}
	m.closers.add(m.Redis.Close)
	// Not critical: a service without its cache is slow, not down.
	return m.Health.Register(health.Check{Name: "redis", Timeout: m.opts.RedisTimeout, Run: m.checkRedis})
}

func (m *Monitor) checkRedis(ctx context.Context) (map[string]any, error) {
	st, err := m.Redis.Info(ctx)
	if err != nil {
		return nil, err
	}
	return map[string]any{"version": st.RedisVersion, "role": st.Role}, nil
}

func (m *Monitor) buildMetrics() (err error) {
	m.Metrics, err = metric.New(metric.Options{
		Service: m.opts.Service, Version: m.opts.Version, Environment: m.opts.Environment, Sources: m.sources(),
		SeriesLimit: m.opts.MetricSeriesLimit, SeriesIdle: m.opts.MetricSeriesIdle,
	})
	return err
}

func (m *Monitor) buildServer() (err error) {
	m.server, err = server.New(server.Options{
		Service: m.opts.Service, Version: m.opts.Version, Commit: m.opts.Commit, Environment: m.opts.Environment,
		Started: m.started, Breakers: m.Breakers, Profiler: m.Profiles, Traces: m.Traces,
		Metrics: m.Metrics, Checks: m.Health, Memory: m.Memory, Redis: m.Redis, Process: m.Process, Config: m.config,
		Features: func() api.HealthFeatures {
			return api.HealthFeatures{TracingEnabled: true, MetricsEnabled: true, ProfilingEnabled: m.Profiles.Mode() == profiling.ModeOn}
		},
		Secret: secretNames(m.opts.SecretNames), Secrets: []string{m.opts.RedisURL},
		Audit: m.opts.AuditLog, Query: m.opts.Query, Capabilities: m.opts.Capabilities, Listeners: m.opts.Listeners,
		Access: m.opts.Access, Log: m.log, OnBreaker: m.logBreaker,
		Panic: func(r *http.Request, reason any) { m.countPanic(r, reason) },
	})
	return err
}

// Run does the stack's background work until ctx is done, and returns when all
// of it has ended: dropping what is too old, watching for slow requests,
// measuring the process. It closes the caches then, so a Monitor runs once: a
// second Run is an error. Whoever serves requests should let them end before
// ctx does; those that do not find their caches empty, no worse.
func (m *Monitor) Run(ctx context.Context) error {
	if m.ran.Swap(true) {
		return errors.New("monitoring: Run was called twice")
	}
	var wg sync.WaitGroup
	runs := []func(context.Context) error{m.Traces.Run, m.Profiles.Run, m.Process.Run, m.Metrics.Run}
	if m.Fleet != nil {
		runs = append(runs, m.Fleet.Run)
	}
	errs := make(chan error, len(runs))
	for _, run := range runs {
		wg.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	m.EndStreams()
	close(errs)
	err := <-errs
	if cerr := m.closers.close(); err == nil {
		err = cerr
	}
	return err
}

// SnapshotOptions says how large a snapshot may be and why it is made.
type SnapshotOptions = server.SnapshotOptions

// Snapshot writes everything that the API knows to w, as one archive without
// secrets (GET /monitoring/snapshot). Its error is w's, or that ctx is done.
func (m *Monitor) Snapshot(ctx context.Context, w io.Writer, o SnapshotOptions) error {
	return m.server.Snapshot(ctx, w, o)
}

// TracerProvider returns an OpenTelemetry provider that records into the same
// traces as everything else here.
func (m *Monitor) TracerProvider() trace.TracerProvider { return m.tracer }

// Registry returns the Prometheus registry that the API exposes; collectors of
// the service's own register there.
func (m *Monitor) Registry() *prometheus.Registry { return m.Metrics.Registry() }

// AddCheck registers a health check of the service's own. A name that is taken
// is an error.
func (m *Monitor) AddCheck(c health.Check) error { return m.Health.Register(c) }

// WatchDB shows the statistics of a database pool under a name. A name that is
// taken is an error.
func (m *Monitor) WatchDB(name string, db *sql.DB) error {
	if err := m.Metrics.WatchDB(name, db.Stats); err != nil {
		return err
	}
	m.dbs.add(name, db)
	return nil
}

// Breaker returns the circuit breaker of a name, made from o if there is none
// yet. The same name with other settings, or nonsense, is an error.
func (m *Monitor) Breaker(name string, o breaker.Options) (*breaker.Breaker, error) {
	if o.Timeout == 0 {
		o.Timeout = m.opts.BreakerTimeouts[name]
	}
	told := o.OnEvent
	o.OnEvent = func(e breaker.Event) {
		m.logBreaker(e)
		if told != nil {
			told(e)
		}
	}
	return m.Breakers.Add(name, o)
}

// logBreaker tells what a breaker did. Breakers call it from a goroutine of
// their own: a slow log delays no call.
func (m *Monitor) logBreaker(e breaker.Event) {
	level := slog.LevelInfo
	if e.To == api.StateOpen && e.From != api.StateOpen {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.String("breaker", e.Name), slog.String("from", string(e.From)), slog.String("to", string(e.To)),
		slog.String("mode", string(e.Mode)), slog.String("why", e.Reason),
	}
	if e.Actor != "" {
		attrs = append(attrs, slog.String("actor", e.Actor))
	}
	if e.Remote {
		attrs = append(attrs, slog.Bool("remote", true))
	}
	if e.TraceID != "" {
		attrs = append(attrs, slog.String("trace_id", e.TraceID))
	}
	if e.Lost > 0 {
		attrs = append(attrs, slog.Int("events_lost", e.Lost))
	}
	m.log.LogAttrs(context.Background(), level, "circuit breaker moved", attrs...)
}

// secretNames extends the usual names of secrets by parts of names.
func secretNames(parts []string) func(string) bool {
	if len(parts) == 0 {
		return nil
	}
	return func(name string) bool {
		lower := strings.ToLower(name)
		for _, p := range parts {
			if strings.Contains(lower, strings.ToLower(p)) {
				return true
			}
		}
		return tracing.SecretName(name)
	}
}
