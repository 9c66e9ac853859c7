package rules

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// look is how often the groups are asked whether they are due.
const look = 500 * time.Millisecond

// group is a group of rules that is evaluated.
type group struct {
	Group
	rules []*rule
	next  time.Time // when it is due; only runRules reads and writes it

	mu   sync.Mutex // guards what follows, and the rules' own below their mu lines
	last time.Time
	took time.Duration
}

// rule is a rule with what its evaluations gave.
type rule struct {
	Rule
	expr    parser.Expr
	alerts  alerts
	written map[uint64]labels.Labels // the series of the last evaluation

	// guarded by the group's mu
	shown   []api.Alert
	last    time.Time
	took    time.Duration
	lacks   time.Duration
	absent  []string
	problem string
}

func newGroup(g Group) (*group, error) {
	g.Interval = cmp.Or(g.Interval, defaultInterval)
	out := &group{Group: g}
	for _, r := range g.Rules {
		e, err := parse(r.Expr)
		if err != nil {
			return nil, fmt.Errorf("rule %q: %w", r.Name(), err)
		}
		out.rules = append(out.rules, &rule{Rule: r, expr: e, alerts: newAlerts(r)})
	}
	return out, nil
}

// runRules evaluates each group at its interval until ctx is done.
func (e *Engine) runRules(ctx context.Context) {
	tick := time.NewTicker(min(look, e.opts.Interval))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, g := range e.groups {
				if now.Before(g.next) || e.ring.Start().IsZero() {
					continue
				}
				g.next = now.Add(g.Interval)
				e.evaluate(ctx, g, now)
			}
		}
	}
}

// Evaluate evaluates every group as of a time.
func (e *Engine) Evaluate(ctx context.Context, at time.Time) {
	for _, g := range e.groups {
		e.evaluate(ctx, g, at)
	}
}

func (e *Engine) evaluate(ctx context.Context, g *group, at time.Time) {
	begun := time.Now()
	for _, r := range g.rules {
		if ctx.Err() != nil {
			return
		}
		e.evaluateRule(ctx, g, r, at)
	}
	g.mu.Lock()
	g.last, g.took = at, time.Since(begun)
	g.mu.Unlock()
}

func (e *Engine) evaluateRule(ctx context.Context, g *group, r *rule, at time.Time) {
	begun := time.Now()
	changes, err := e.evalRule(ctx, g, r, at)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		e.opts.Log.LogAttrs(ctx, slog.LevelWarn, "rule could not be evaluated", slog.String("rule", r.Name()), slog.String("group", g.Name), slog.Any("error", err))
	}
	g.mu.Lock()
	r.last, r.took, r.problem = at, time.Since(begun), ""
	r.lacks = missing(at.Add(-need(r.expr, at)-r.For), e.ring.Start(), at)
	if err != nil {
		r.problem = err.Error()
	}
	r.shown, r.absent = r.alerts.list(), slices.DeleteFunc(names(r.expr), e.Knows)
	g.mu.Unlock()
	for _, c := range changes {
		c.Group = g.Name
		e.tell(c, at)
	}
}

// evalRule evaluates a rule, and writes what comes of it into the ring.
func (e *Engine) evalRule(ctx context.Context, g *group, r *rule, at time.Time) ([]api.AlertChange, error) {
	ask := func(ctx context.Context, text string, at time.Time) (promql.Vector, error) {
		return e.vector(ctx, text, at)
	}
	sampled := at.Add(-g.QueryOffset)
	result, err := ask(ctx, r.Expr, sampled)
	if err != nil {
		return nil, err
	}
	var changes []api.AlertChange
	var out promql.Vector
	if r.Record != "" {
		out, err = record(result, &r.Rule)
	} else {
		changes, err = r.alerts.eval(ctx, result, at, ask)
		out = r.alerts.samples()
	}
	given := len(out)
	if r.Record == "" {
		given = len(r.alerts.active)
	}
	if err == nil && g.Limit > 0 && given > g.Limit {
		err = fmt.Errorf("the rule gave more than its group's limit of %d", g.Limit)
		out, changes = nil, append(changes, r.alerts.clear()...)
	}
	e.write(r, out, sampled)
	return changes, err
}

// vector evaluates an expression as rules do: a scalar counts as a vector of one
// without labels.
func (e *Engine) vector(ctx context.Context, text string, at time.Time) (promql.Vector, error) {
	q, err := e.promql.NewInstantQuery(ctx, e.ring, nil, text, at)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	res := q.Exec(ctx)
	if res.Err != nil {
		return nil, res.Err
	}
	switch v := res.Value.(type) {
	case promql.Vector:
		return slices.Clone(v), nil // its memory goes back with the query
	case promql.Scalar:
		return promql.Vector{{T: v.T, F: v.V}}, nil
	}
	return nil, fmt.Errorf("the expression is a %s: want an instant vector or a scalar", parser.DocumentedType(res.Value.Type()))
}

var errDouble = errors.New("two series have the same labels after those of the rule are applied")

// record gives the samples of a recording rule's series.
func record(result promql.Vector, r *Rule) (promql.Vector, error) {
	seen := map[uint64]bool{}
	for i, s := range result {
		b := labels.NewBuilder(s.Metric)
		b.Set(model.MetricNameLabel, r.Record)
		for name, v := range r.Labels {
			b.Set(name, v)
		}
		result[i].Metric = b.Labels()
		if h := result[i].Metric.Hash(); seen[h] {
			return nil, errDouble
		} else {
			seen[h] = true
		}
	}
	return result, nil
}

// write appends the samples of a rule's series; those that it gave no more have
// ended.
func (e *Engine) write(r *rule, samples promql.Vector, at time.Time) {
	b := e.ring.Write(at)
	defer b.Done()
	now := make(map[uint64]labels.Labels, len(samples))
	for _, s := range samples {
		b.Add(s.Metric, s.F)
		now[s.Metric.Hash()] = s.Metric
	}
	for h, ls := range r.written {
		if _, still := now[h]; !still {
			b.Add(ls, math.Float64frombits(value.StaleNaN))
		}
	}
	r.written = now
}

// Alerts returns all rules with what their last evaluations gave.
func (e *Engine) Alerts() *api.AlertRules {
	out := &api.AlertRules{Status: "success", HistoryStart: api.Time{Time: e.ring.Start()}}
	out.Data.Groups = []api.RuleGroup{}
	for _, g := range e.groups {
		g.mu.Lock()
		shown := api.RuleGroup{
			Name: g.Name, File: g.File, Interval: api.Seconds(g.Interval), Limit: g.Limit, Rules: []api.Rule{},
			EvaluationTime: api.Seconds(g.took), LastEvaluation: g.last,
		}
		for _, r := range g.rules {
			shown.Rules = append(shown.Rules, r.api())
		}
		g.mu.Unlock()
		out.Data.Groups = append(out.Data.Groups, shown)
	}
	return out
}

func (r *rule) api() api.Rule {
	out := r.Rule.API()
	out.EvaluationTime, out.LastEvaluation, out.MissingHistory = api.Seconds(r.took), r.last, api.Seconds(r.lacks)
	out.Absent = r.absent
	switch {
	case r.last.IsZero():
		out.Health, out.State = api.RuleUnknown, api.AlertUnknown
	case r.problem != "":
		out.Health, out.LastError = api.RuleErr, r.problem
	default:
		out.Health = api.RuleOK
	}
	if r.Record != "" {
		out.State = ""
		return out
	}
	out.Alerts = slices.Clone(r.shown)
	if !r.last.IsZero() {
		out.State = StateOf(out.Alerts)
	}
	return out
}

// API is the rule without any evaluation.
func (r *Rule) API() api.Rule {
	out := api.Rule{Type: api.RuleAlerting, Name: r.Name(), Query: r.Expr, Labels: maps.Clone(r.Labels), Health: api.RuleUnknown}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	if r.Record != "" {
		out.Type = api.RuleRecording
		return out
	}
	out.State, out.Duration, out.KeepFiringFor = api.AlertUnknown, api.Seconds(r.For), api.Seconds(r.KeepFiringFor)
	out.Annotations, out.Alerts = maps.Clone(r.Annotations), []api.Alert{}
	return out
}

// StateOf is the state of a rule: the gravest of its alerts.
func StateOf(alerts []api.Alert) string {
	state := api.AlertInactive
	for _, a := range alerts {
		if a.State == api.AlertFiring {
			return a.State
		}
		state = a.State
	}
	return state
}

// followerRoom is how many events a follower may be behind.
const followerRoom = 256

// Follow gives how the alerts stand, and then each change, until ctx is done. A
// follower that is too far behind loses events; Lost of the next one counts them.
func (e *Engine) Follow(ctx context.Context) <-chan api.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	live := make(chan api.Event, followerRoom)
	for _, c := range e.standing() {
		e.send(live, c, time.Now())
	}
	if _, gone := e.followers[live]; !gone {
		e.followers[live] = 0
	}
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.followers, live)
	})
	return live
}

// standing tells the alerts there are as changes from nothing.
func (e *Engine) standing() (all []api.AlertChange) {
	for _, g := range e.Alerts().Data.Groups {
		for _, r := range g.Rules {
			for _, a := range r.Alerts {
				c := change(r.Name, "", &a)
				c.Group = g.Name
				all = append(all, c)
			}
		}
	}
	return all
}

func change(rule, from string, a *api.Alert) api.AlertChange {
	return api.AlertChange{
		Rule: rule, From: from, State: a.State, Value: a.Value, ActiveAt: api.Time{Time: a.ActiveAt}, Labels: a.Labels, Annotations: a.Annotations,
	}
}

// tell gives an event to all followers, and logs what fires and what is over.
func (e *Engine) tell(c api.AlertChange, at time.Time) {
	level := slog.LevelInfo
	if c.State == api.AlertFiring {
		level = slog.LevelWarn
	}
	e.opts.Log.LogAttrs(context.Background(), level, "alert changed", slog.String("alert", c.Rule), slog.String("from", c.From),
		slog.String("to", c.State), slog.Float64("value", float64(c.Value)), slog.Any("labels", c.Labels))
	e.mu.Lock()
	defer e.mu.Unlock()
	for live := range e.followers {
		e.send(live, c, at)
	}
}

// send gives an event to a follower that has room for it.
func (e *Engine) send(live chan api.Event, c api.AlertChange, at time.Time) {
	ev := api.Event{Kind: api.EventAlert, Time: api.Time{Time: at.UTC()}, Alert: &c, Lost: api.Count(e.followers[live])}
	select {
	case live <- ev:
		e.followers[live] = 0
	default:
		e.followers[live]++
	}
}
