package rules

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	maxSteps  = 11_000  // of a range query, as in Prometheus
	maxResult = 500_000 // values of a result; a series counts as seriesCost of them
	// seriesCost is about how many values are as long as the labels of a series.
	seriesCost = 8
)

// Options configures an [Engine]. The zero value is ready to use.
type Options struct {
	Interval    time.Duration     // between two scrapes; 0 means 5s, up to 15s where a scrape takes long
	Ring        RingOptions       // of the samples
	Labels      map[string]string // of the target, on each sample: job, instance
	Groups      []Group           // of rules
	Timeout     time.Duration     // of one query; 0 means 10s
	MaxSamples  int               // that one query may hold at once; 0 means 2,000,000 (16 bytes each)
	Concurrency int               // queries at once; 0 means 2
	Log         *slog.Logger      // nil discards
}

// Engine answers PromQL over its own samples and evaluates rules. Its methods
// may be called by any goroutine.
type Engine struct {
	ring   *Ring
	promql *promql.Engine
	opts   Options
	target []labels.Label
	places chan struct{} // of the queries that run
	groups []*group

	mu        sync.Mutex
	followers map[chan api.Event]int // with the events that each has lost
}

// New returns an engine without samples. It starts nothing: see [Engine.Run].
func New(o Options) (*Engine, error) {
	o.Interval, o.Timeout = cmp.Or(o.Interval, 5*time.Second), cmp.Or(o.Timeout, 10*time.Second)
	o.MaxSamples, o.Concurrency = cmp.Or(o.MaxSamples, 2_000_000), cmp.Or(o.Concurrency, 2)
	if o.Interval < 0 || o.Timeout < 0 || o.MaxSamples < 0 || o.Concurrency < 0 {
		return nil, errors.New("rules: want no negative limits")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		ring: NewRing(o.Ring), promql: newPromQL(o.MaxSamples, o.Timeout), opts: o,
		places: make(chan struct{}, o.Concurrency), followers: map[chan api.Event]int{},
	}
	for _, name := range slices.Sorted(maps.Keys(o.Labels)) {
		e.target = append(e.target, labels.Label{Name: name, Value: o.Labels[name]})
	}
	for _, g := range o.Groups {
		made, err := newGroup(g)
		if err != nil {
			return nil, err
		}
		e.groups = append(e.groups, made)
	}
	return e, nil
}

func newPromQL(maxSamples int, timeout time.Duration) *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		Logger: slog.New(slog.DiscardHandler), MaxSamples: maxSamples, Timeout: timeout, LookbackDelta: 5 * time.Minute,
		NoStepSubqueryIntervalFn: func(int64) int64 { return defaultInterval.Milliseconds() },
		EnableAtModifier:         true, EnableNegativeOffset: true,
	})
}

// Ring is what the engine keeps.
func (e *Engine) Ring() *Ring { return e.ring }

// Run scrapes and evaluates the rules until ctx is done.
func (e *Engine) Run(ctx context.Context, from prometheus.Gatherer) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	if len(e.groups) > 0 {
		wg.Go(func() { e.runRules(ctx) })
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for next := time.Now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		begun := time.Now()
		e.Scrape(from, begun)
		next = next.Add(e.pause(time.Since(begun)))
		if late := time.Since(next); late > 0 {
			next = next.Add(late)
		}
		timer.Reset(time.Until(next))
	}
}

// pause is the time from one scrape to the next: a hundred times what one takes,
// within the interval and three times that.
func (e *Engine) pause(took time.Duration) time.Duration {
	return min(max(e.opts.Interval, 100*took).Round(time.Second/10), 3*e.opts.Interval)
}

// Scrape takes one look at the metrics, as of a time. What could be gathered
// counts, as it does for Prometheus.
func (e *Engine) Scrape(from prometheus.Gatherer, at time.Time) {
	begun := time.Now()
	families, err := from.Gather()
	if err != nil {
		e.opts.Log.LogAttrs(context.Background(), slog.LevelDebug, "some metrics could not be gathered", slog.Any("error", err))
	}
	took := time.Since(begun)
	b := e.ring.Scrape(at)
	defer b.Done()
	n := b.AddFamilies(families, e.target)
	for name, v := range map[string]float64{"up": 1, "scrape_duration_seconds": took.Seconds(), "scrape_samples_scraped": float64(n)} {
		b.Add(labels.New(append([]labels.Label{{Name: model.MetricNameLabel, Value: name}}, e.target...)...), v)
	}
}

// Query evaluates an expression at a time; the zero time means now.
func (e *Engine) Query(ctx context.Context, text string, at time.Time) (*api.QueryResult, error) {
	if at.IsZero() {
		at = time.Now()
	}
	expr, err := parse(text)
	if err != nil {
		return nil, wrongExpr(err)
	}
	out, err := e.exec(ctx, text, func() (promql.Query, error) {
		return e.promql.NewInstantQuery(ctx, e.ring, nil, text, at)
	})
	if err != nil {
		return nil, err
	}
	e.tellHistory(out, expr, at, at)
	return out, nil
}

// QueryRange evaluates an expression at each step from start to end.
func (e *Engine) QueryRange(ctx context.Context, text string, start, end time.Time, step time.Duration) (*api.QueryResult, error) {
	switch {
	case step < time.Millisecond:
		return nil, wrongParameter("step", "want at least 1ms")
	case end.Before(start):
		return nil, wrongParameter("end", "want a time after start")
	case end.Sub(start)/step >= maxSteps:
		return nil, wrongParameter("step", fmt.Sprintf("it makes more than %d steps: want a longer one", maxSteps))
	}
	expr, err := parse(text)
	if err != nil {
		return nil, wrongExpr(err)
	}
	if t := expr.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		return nil, wrongExpr(fmt.Errorf("it is a %s: want an instant vector or a scalar for each step", parser.DocumentedType(t)))
	}
	out, err := e.exec(ctx, text, func() (promql.Query, error) {
		return e.promql.NewRangeQuery(ctx, e.ring, nil, text, start, end, step)
	})
	if err != nil {
		return nil, err
	}
	e.tellHistory(out, expr, start, end)
	return out, nil
}

// tellHistory says since when there are samples, and whether an expression that
// is evaluated from a time on looks back further.
func (e *Engine) tellHistory(out *api.QueryResult, expr parser.Expr, from, now time.Time) {
	start := e.ring.Start()
	out.HistoryStart = api.Time{Time: start}
	out.MissingHistory = api.Seconds(missing(from.Add(-need(expr, from)), start, now))
	if out.MissingHistory > 0 {
		out.Warnings = append(out.Warnings, notEnough(out.MissingHistory.Duration(), start, now))
	}
}

func notEnough(lacks time.Duration, start, now time.Time) string {
	if start.IsZero() {
		return "not enough history: there are no samples yet"
	}
	return fmt.Sprintf("not enough history: there are samples of the last %s, this looks %s further back",
		max(0, now.Sub(start)).Round(time.Second), max(time.Second, lacks.Round(time.Second)))
}

// exec runs a query when there is a place for it.
func (e *Engine) exec(ctx context.Context, text string, make func() (promql.Query, error)) (*api.QueryResult, error) {
	wait := time.NewTimer(e.opts.Timeout)
	defer wait.Stop()
	select {
	case e.places <- struct{}{}:
		defer func() { <-e.places }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-wait.C:
		after := api.Seconds(e.opts.Timeout)
		return nil, &api.Error{Status: http.StatusServiceUnavailable, Detail: fmt.Sprintf("%d queries run already, and took longer than %s", cap(e.places), e.opts.Timeout), RetryAfter: &after}
	}
	q, err := make()
	if err != nil {
		return nil, wrongExpr(err)
	}
	defer q.Close()
	res := q.Exec(ctx)
	if res.Err != nil {
		return nil, e.queryError(ctx, res.Err)
	}
	out := &api.QueryResult{Status: "success"}
	out.Warnings, out.Infos = res.Warnings.AsStrings(text, 10, 10)
	out.Data, err = data(res.Value)
	return out, err
}

// queryError says why a query has no result, as the API says it.
func (e *Engine) queryError(ctx context.Context, err error) error {
	var many promql.ErrTooManySamples
	var late promql.ErrQueryTimeout
	var storage promql.ErrStorage
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &many):
		return api.Errorf(http.StatusUnprocessableEntity, "the query needs more than %d samples at once: narrow its series, its range or its steps", e.opts.MaxSamples)
	case errors.As(err, &late):
		return api.Errorf(http.StatusGatewayTimeout, "the query took longer than %s: narrow its series, its range or its steps", e.opts.Timeout)
	case errors.As(err, &storage):
		return err
	}
	return wrongExpr(err)
}

func wrongExpr(err error) error { return wrongParameter("expr", err.Error()) }

func wrongParameter(name, message string) error {
	return &api.Error{
		Status: http.StatusUnprocessableEntity, Detail: name + ": " + message,
		Errors: []api.FieldError{{Parameter: name, Message: message}},
	}
}

// data turns a result into the form of the API. One that is too long for an
// answer is an error.
func data(v parser.Value) (api.QueryData, error) {
	out := api.QueryData{ResultType: string(v.Type())}
	size := 0
	switch v := v.(type) {
	case promql.Scalar:
		out.Series = []api.QuerySeries{{Metric: map[string]string{}, Value: point(v.T, v.V)}}
	case promql.String:
		out.Text = &api.QueryText{Time: milli(v.T), Text: v.V}
	case promql.Vector:
		size = len(v) * (seriesCost + 1)
		for _, s := range v[:min(len(v), maxResult)] {
			out.Series = append(out.Series, api.QuerySeries{Metric: s.Metric.Map(), Value: point(s.T, s.F)})
		}
	case promql.Matrix:
		for _, s := range v {
			if size += len(s.Floats) + seriesCost; size > maxResult {
				break
			}
			one := api.QuerySeries{Metric: s.Metric.Map()}
			for _, p := range s.Floats {
				one.Values = append(one.Values, *point(p.T, p.F))
			}
			out.Series = append(out.Series, one)
		}
	}
	if size > maxResult {
		return out, api.Errorf(http.StatusUnprocessableEntity, "the result has more than %d values, a series counted as %d: narrow it, or sum it up", maxResult, seriesCost)
	}
	return out, nil
}

func point(t int64, v float64) *api.QueryPoint {
	return &api.QueryPoint{Time: milli(t), Value: api.Float(v)}
}

func milli(t int64) api.Time { return api.Time{Time: time.UnixMilli(t).UTC()} }

// Exemplars returns the exemplars of a metric since a time, newest first: those
// of a series of that name, or of the buckets, the sum or the count of a
// histogram of that name.
func (e *Engine) Exemplars(name string, since time.Time) *api.Exemplars {
	r := e.ring
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := &api.Exemplars{Name: name, Exemplars: []api.Exemplar{}, HistoryStart: api.Time{Time: r.startTime()}}
	from := int64(math.MinInt64)
	if !since.IsZero() {
		from = since.UnixMilli()
	}
	for _, n := range []string{name, name + "_bucket", name + "_count", name + "_total"} {
		for _, s := range r.byName[n] {
			for _, x := range s.exemplars {
				if x.t >= from {
					out.Exemplars = append(out.Exemplars, x.api(s.labels.Map()))
				}
			}
		}
	}
	slices.SortStableFunc(out.Exemplars, func(a, b api.Exemplar) int { return b.Time.Compare(a.Time.Time) })
	return out
}

func (x exemplar) api(of map[string]string) api.Exemplar {
	ls := x.labels
	if ls == nil {
		ls = map[string]string{}
	}
	return api.Exemplar{Series: of, Labels: ls, Value: api.Float(x.value), Time: milli(x.t), TraceID: x.traceID}
}

// Knows tells whether there are samples of a series of that name.
func (e *Engine) Knows(name string) bool {
	e.ring.mu.RLock()
	defer e.ring.mu.RUnlock()
	return len(e.ring.byName[name]) > 0
}
