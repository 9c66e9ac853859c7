// Package health runs a service's named checks and sums them up.
//
// [Checks.Run] runs all checks at once, each under its own deadline. A check
// that ignores its context is reported as timed out and never blocks the
// answer; it is not started again before it has ended, so hung checks do not
// pile up. Outcomes are kept for a moment and shared by those who ask
// meanwhile: probes cannot stampede the dependencies behind them.
//
// [Verdict] and [Circuits] are the API's rules as pure functions.
package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Check is one dependency's test.
type Check struct {
	Name     string
	Critical bool          // the service cannot work without it
	Timeout  time.Duration // 0 means 5s

	// Run returns fields to show beside the outcome, and an error if the
	// dependency does not work, or one that wraps ErrDegraded if it works
	// badly. The map is the room's from then on.
	Run func(ctx context.Context) (map[string]any, error)
}

// ErrDegraded in a check's error says that the dependency works, but badly.
var ErrDegraded = errors.New("degraded")

// Options configures [New]. The zero value is ready to use.
type Options struct {
	Fresh time.Duration // how long an outcome is shared; 0 means 1s
}

// maxFields bounds the fields that one check may show.
const maxFields = 64

// Checks holds a service's checks. Its methods may be called by any goroutine.
type Checks struct {
	fresh time.Duration
	mu    sync.Mutex
	byKey map[string]*entry // guarded by mu
}

// entry is a check with its latest outcome and the run that is under way.
type entry struct {
	check   Check
	mu      sync.Mutex
	last    api.Check // guarded by mu
	lastEnd time.Time // guarded by mu; when last was found
	lastOK  time.Time // guarded by mu
	running *attempt  // guarded by mu; nil between runs
}

// attempt is one run of a check. done closes when the outcome is known, which
// is the deadline at the latest; the check itself may go on after that.
type attempt struct {
	done    chan struct{}
	outcome api.Check // written before done closes
}

// New returns an empty set of checks. It starts nothing.
func New(o Options) *Checks {
	return &Checks{fresh: cmp.Or(max(o.Fresh, 0), time.Second), byKey: map[string]*entry{}}
}

// Register adds a check. A check without name or function, and one whose name
// is taken, is an error.
func (c *Checks) Register(check Check) error {
	switch {
	case check.Name == "":
		return errors.New("register health check: it has no name")
	case check.Run == nil:
		return fmt.Errorf("register health check %q: it has no function", check.Name)
	case check.Timeout < 0:
		return fmt.Errorf("register health check %q: timeout %v: want 0 or more", check.Name, check.Timeout)
	}
	check.Timeout = cmp.Or(check.Timeout, 5*time.Second)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[check.Name]; ok {
		return fmt.Errorf("register health check %q: there is one already", check.Name)
	}
	c.byKey[check.Name] = &entry{check: check}
	return nil
}

// Run returns every check's outcome as of now, or not longer ago than
// Options.Fresh. It waits for the slowest check or its deadline, or for ctx:
// what has not ended then is reported as such. A run serves all who wait for
// it, so ctx ends the waiting, not the check.
func (c *Checks) Run(ctx context.Context, now time.Time) map[string]api.Check {
	c.mu.Lock()
	entries := maps.Clone(c.byKey)
	c.mu.Unlock()
	attempts := make(map[string]*attempt, len(entries))
	for name, e := range entries {
		attempts[name] = e.begin(now, c.fresh)
	}
	out := make(map[string]api.Check, len(entries))
	for name, a := range attempts {
		select {
		case <-a.done:
			out[name] = copyOf(a.outcome)
		case <-ctx.Done():
			out[name] = entries[name].abandoned(a, ctx.Err())
		}
	}
	return out
}

// copyOf gives each asker fields of its own.
func copyOf(c api.Check) api.Check {
	c.Fields = maps.Clone(c.Fields)
	return c
}

// begin returns an outcome that is fresh, joins a run under way, or starts one.
func (e *entry) begin(now time.Time, fresh time.Duration) *attempt {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running != nil {
		return e.running
	}
	if !e.lastEnd.IsZero() && now.Sub(e.lastEnd) < fresh {
		done := make(chan struct{})
		close(done)
		return &attempt{done, e.last}
	}
	a := &attempt{done: make(chan struct{})}
	e.running = a
	go e.run(a)
	return a
}

// run runs the check and reports its outcome at its deadline at the latest. It
// returns when the check does.
func (e *entry) run(a *attempt) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), e.check.Timeout)
	defer cancel()
	var once sync.Once
	report := func(fields map[string]any, err error) {
		once.Do(func() { e.report(a, start, fields, err) })
	}
	stop := context.AfterFunc(ctx, func() {
		report(nil, fmt.Errorf("no answer within %v", e.check.Timeout))
	})
	fields, err := protect(ctx, e.check.Run)
	stop()
	report(fields, err)
	e.mu.Lock()
	e.running = nil
	e.mu.Unlock()
}

// report fixes an attempt's outcome and lets the waiting go.
func (e *entry) report(a *attempt, start time.Time, fields map[string]any, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	end := time.Now()
	out := api.Check{
		Status: api.Healthy, Critical: e.check.Critical,
		LatencyMS: float64(end.Sub(start)) / float64(time.Millisecond), Fields: bounded(fields),
	}
	if err != nil {
		out.Status, out.Error = api.Unhealthy, err.Error()
		if errors.Is(err, ErrDegraded) {
			out.Status = api.Degraded
		}
	} else {
		e.lastOK = end
	}
	out.LastOK = api.Time{Time: e.lastOK}
	e.last, e.lastEnd = out, end
	a.outcome = out
	close(a.done)
}

// abandoned is the outcome for a caller who can wait no longer. One that has
// come just now counts all the same.
func (e *entry) abandoned(a *attempt, why error) api.Check {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-a.done:
		return copyOf(a.outcome)
	default:
	}
	return api.Check{
		Status: api.Unhealthy, Error: "not finished: " + why.Error(),
		Critical: e.check.Critical, LastOK: api.Time{Time: e.lastOK},
	}
}

// protect calls run and makes an error of a panic.
func protect(ctx context.Context, run func(context.Context) (map[string]any, error)) (fields map[string]any, err error) {
	defer func() {
		if p := recover(); p != nil {
			fields, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	return run(ctx)
}

// bounded copies a check's fields, so that the check may go on using its map.
func bounded(fields map[string]any) map[string]any {
	if len(fields) == 0 {
		return nil
	}
	out := make(map[string]any, min(len(fields), maxFields))
	for k, v := range fields {
		if len(out) == maxFields {
			break
		}
		out[k] = v
	}
	return out
}
