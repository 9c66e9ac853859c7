package demo

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pulsectl/pulsectl/pkg/monitoring"
)

// Bounds of the tables; the oldest row goes first.
const (
	maxRecommendations = 2000
	maxEvents          = 5000
)

// maxWeekLines is how many lines a week of the archive has.
const maxWeekLines = 1500

// slowEvery is which query, in turn, waits for a lock.
const slowEvery = 150

// database keeps its tables in memory and takes the time that a database would.
// Its connections are real ones of a [sql.DB], so waits for one are real too.
type database struct {
	m       *monitoring.Monitor
	clock   *clock
	pool    atomic.Pointer[sql.DB] // nil while it is not up
	queries atomic.Int64
	archive func() [][]string // the lines of past weeks, made at the first use

	weekLines int // of the archive that a week has

	mu              sync.Mutex
	recommendations map[string]Recommendation
	order           []string // of the ids, oldest first
	events          []event  // oldest first
	feedbacks       int
}

// event is something that happened in one of the sources.
type event struct {
	Source, Type, UserID string
}

func newDatabase(m *monitoring.Monitor, c *clock) *database {
	d := &database{m: m, clock: c, archive: sync.OnceValue(makeArchive), recommendations: map[string]Recommendation{}}
	// At speed reports come more often, and a test's race detector makes them
	// thirty times as dear: so they shrink by more than speed.
	d.weekLines = max(int(maxWeekLines/max(c.speed*c.speed, 1)), 1)
	return d
}

// query runs f on the tables as a query of a kind on one of them, on a
// connection of the pool, which it holds for about as long as takes.
func query[T any](ctx context.Context, d *database, kind, table string, takes time.Duration, f func() (T, error)) (T, error) {
	return monitoring.TrackDBQuery(ctx, d.m, kind, table, func(ctx context.Context) (v T, err error) {
		if err = d.hold(ctx, takes); err != nil {
			return v, err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		return f()
	})
}

// hold occupies a connection.
func (d *database) hold(ctx context.Context, takes time.Duration) error {
	pool := d.pool.Load()
	if pool == nil {
		return fmt.Errorf("database: %w", errNotUp)
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return fmt.Errorf("database connection: %w", err)
	}
	defer conn.Close() // back to the pool; there is nothing to lose
	if d.queries.Add(1)%slowEvery == 0 {
		takes += 200 * time.Millisecond
	}
	if err := d.clock.sleep(ctx, jitter(takes)); err != nil {
		return fmt.Errorf("database query: %w", err)
	}
	return nil
}

func (d *database) insertRecommendation(ctx context.Context, r Recommendation) error {
	_, err := query(ctx, d, "insert", "recommendations", 6*time.Millisecond, func() (struct{}, error) {
		if len(d.order) >= maxRecommendations {
			delete(d.recommendations, d.order[0])
			d.order = append(d.order[:0], d.order[1:]...)
		}
		d.recommendations[r.ID] = r
		d.order = append(d.order, r.ID)
		return struct{}{}, nil
	})
	return err
}

// errNotFound is returned for a row that is not there.
var errNotFound = errors.New("not found")

// recommendation returns a row; one that is not there is no failure of the
// database, so its error is made outside of the query.
func (d *database) recommendation(ctx context.Context, id string) (Recommendation, error) {
	var there bool
	r, err := query(ctx, d, "select", "recommendations", 12*time.Millisecond, func() (r Recommendation, _ error) {
		r, there = d.recommendations[id]
		return r, nil
	})
	if err == nil && !there {
		err = fmt.Errorf("recommendation %q: %w", id, errNotFound)
	}
	return r, err
}

func (d *database) insertFeedback(ctx context.Context) error {
	_, err := query(ctx, d, "insert", "feedback", 4*time.Millisecond, func() (struct{}, error) {
		d.feedbacks++
		return struct{}{}, nil
	})
	return err
}

func (d *database) insertEvents(ctx context.Context, events []event) error {
	_, err := query(ctx, d, "insert", "events", 8*time.Millisecond, func() (struct{}, error) {
		d.events = append(d.events, events...)
		if over := len(d.events) - maxEvents; over > 0 {
			d.events = append(d.events[:0], d.events[over:]...)
		}
		return struct{}{}, nil
	})
	return err
}

// eventsOf counts a user's recent events by source.
func (d *database) eventsOf(ctx context.Context, user string) (map[string]int, error) {
	return query(ctx, d, "select", "events", 20*time.Millisecond, func() (map[string]int, error) {
		n := map[string]int{}
		for _, e := range d.events {
			if e.UserID == user {
				n[e.Source]++
			}
		}
		return n, nil
	})
}

// linesOfWeek returns the event lines of a week, the latest being 0. They must
// not be changed.
func (d *database) linesOfWeek(ctx context.Context, week int) ([]string, error) {
	return query(ctx, d, "select", "event_archive", 90*time.Millisecond, func() ([]string, error) {
		all := d.archive()
		lines := all[week%len(all)]
		return lines[:d.weekLines], nil
	})
}

// connector opens connections to nowhere: the tables are in memory.
type connector struct{}

func (connector) Connect(context.Context) (driver.Conn, error) { return conn{}, nil }
func (connector) Driver() driver.Driver                        { return memoryDriver{} }

type memoryDriver struct{}

func (memoryDriver) Open(string) (driver.Conn, error) { return conn{}, nil }

type conn struct{}

var errNoSQL = errors.New("this database knows no SQL")

func (conn) Prepare(string) (driver.Stmt, error) { return nil, errNoSQL }
func (conn) Begin() (driver.Tx, error)           { return nil, errNoSQL }
func (conn) Close() error                        { return nil }
