// Package demo is a small Pulse API: it recommends what to work on next, from
// pull requests, issues and events, ranked by a model. It is built on
// [monitoring] as any service would be, so it is the example to copy from, and
// what `pulsectl serve --demo` runs.
//
// A [Demo] has handlers ([Demo.Mount]) and an environment ([Demo.Run]): GitHub,
// Linear and OpenAI stand-ins, which are HTTP servers on loopback that turn
// slow, answer 502 and hang on a schedule, and users who send real requests.
// The schedule lasts 40 seconds and starts anew then; in its first 30 each
// dependency's circuit breaker has opened and recovered.
package demo

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// Demo is a Pulse API. Before [Demo.Run] and after it there are no dependencies,
// and its handlers say so.
type Demo struct {
	m     *monitoring.Monitor
	log   *slog.Logger
	clock *clock
	db    *database

	github, linear, openai *dependency
}

// New returns a Demo that reports to m. It registers the circuit breakers
// github_api, linear_api and openai_api and the health checks database and
// search; it is an error if m has others of these names. A nil log discards.
func New(m *monitoring.Monitor, log *slog.Logger) (*Demo, error) { return NewAtSpeed(m, log, 1) }

// NewAtSpeed is [New] with all waiting divided by speed: outages, the answers
// of the dependencies, their timeouts, the breakers' recovery and the users'
// pauses. It is for those who cannot wait.
func NewAtSpeed(m *monitoring.Monitor, log *slog.Logger, speed float64) (*Demo, error) {
	if speed <= 0 {
		return nil, fmt.Errorf("demo: speed %g: want more than 0", speed)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d := &Demo{m: m, log: log, clock: &clock{speed: speed}}
	d.db = newDatabase(m, d.clock)
	for _, dep := range []struct {
		at       **dependency
		name     string
		behave   behaviour
		answer   http.HandlerFunc
		failures int
		recovery time.Duration
		timeout  time.Duration
	}{
		{&d.github, "github", githubBehaviour, answerGitHub, 3, 3 * time.Second, 2 * time.Second},
		{&d.linear, "linear", linearBehaviour, answerLinear, 3, 3 * time.Second, time.Second},
		{&d.openai, "openai", openaiBehaviour, answerOpenAI, 5, 4 * time.Second, 2500 * time.Millisecond},
	} {
		b, err := m.Breaker(dep.name+"_api", breaker.Options{
			FailureThreshold: dep.failures, SuccessThreshold: 2,
			RecoveryTimeout: d.clock.scale(dep.recovery), Timeout: d.clock.scale(dep.timeout),
		})
		if err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
		s := &standIn{host: "api." + dep.name + ".test", behaviour: dep.behave, answer: dep.answer, clock: d.clock, log: log}
		*dep.at = newDependency(m, b, s)
	}
	if err := d.addChecks(); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return d, nil
}

// Mount registers the API's routes on mux. The mux belongs below
// [monitoring.Monitor.Middleware].
func (d *Demo) Mount(mux *http.ServeMux) {
	mux.Handle("POST /priority/generate", d.handle(http.StatusCreated, d.generate))
	mux.Handle("GET /priority/{id}", d.handle(http.StatusOK, d.priority))
	mux.Handle("POST /feedback", d.handle(http.StatusAccepted, d.feedback))
	mux.Handle("POST /ingest/{source}", d.handle(http.StatusAccepted, d.ingest))
	mux.Handle("GET /report/weekly", d.handle(http.StatusOK, d.report))
}

// Run starts the dependencies and the users, who send their requests to the
// server at baseURL, such as http://127.0.0.1:8000. It returns when ctx is done
// and all that it started has ended, or if something cannot be started. A Demo
// runs once.
func (d *Demo) Run(ctx context.Context, baseURL string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	traffic, err := newTraffic(baseURL, d.clock, d.log)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	pool := sql.OpenDB(connector{})
	defer pool.Close() // nothing is kept in it
	pool.SetMaxOpenConns(8)
	if err := d.m.WatchDB("primary", pool); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	d.clock.start()
	d.db.pool.Store(pool)
	defer d.db.pool.Store(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, dep := range []*dependency{d.github, d.linear, d.openai} {
		serve, err := dep.listen(ctx)
		if err != nil {
			stop()
			return fmt.Errorf("demo: %w", err)
		}
		wg.Go(serve)
	}
	d.log.Info("demo running", slog.String("address", baseURL))
	traffic.run(ctx)
	return nil
}

// clock tells the schedule's time.
type clock struct {
	speed float64
	begun atomic.Int64 // Unix nanoseconds; 0 before Run
}

func (c *clock) start() { c.begun.Store(time.Now().UnixNano()) }

// elapsed returns the time on the schedule.
func (c *clock) elapsed() time.Duration {
	begun := c.begun.Load()
	if begun == 0 {
		return 0
	}
	return time.Duration(float64(time.Since(time.Unix(0, begun))) * c.speed)
}

// scale returns how long a wait of the schedule takes.
func (c *clock) scale(d time.Duration) time.Duration { return time.Duration(float64(d) / c.speed) }

// sleep waits for a time of the schedule, or for ctx.
func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(c.scale(d)):
		return nil
	}
}
