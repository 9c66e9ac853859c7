package rules

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// maxReplay is how many steps of the past are asked for.
const maxReplay = 1000

// Asker answers PromQL: a server's client.
type Asker interface {
	Query(ctx context.Context, expr string, at time.Time) (api.QueryResult, error)
	QueryRange(ctx context.Context, expr string, start, end time.Time, step time.Duration) (api.QueryResult, error)
}

// Replay evaluates groups on a server that does not run them, as if it had
// always done so: each alerting rule is asked for at the steps of its group, as
// far back as its For and KeepFiringFor reach, and its alerts go through the
// states that they would have had. A series that the groups record and the
// server does not have is replaced by its expression. An error of the server's
// about one rule is that rule's; any other ends the replay.
func Replay(ctx context.Context, server Asker, groups []Group, now time.Time) (*api.AlertRules, error) {
	rp := &replay{server: server, now: now, recorded: map[string]recorded{}, has: map[string]bool{}}
	if err := rp.prepare(ctx, groups); err != nil {
		return nil, err
	}
	out := &api.AlertRules{Status: "success"}
	out.Data.Groups = []api.RuleGroup{}
	for _, g := range groups {
		begun := time.Now()
		shown := api.RuleGroup{Name: g.Name, File: g.File, Interval: api.Seconds(g.Interval), Limit: g.Limit, Rules: []api.Rule{}, LastEvaluation: now.UTC()}
		for _, r := range g.Rules {
			one, err := rp.rule(ctx, &g, &r)
			if err != nil {
				return nil, err
			}
			shown.Rules = append(shown.Rules, one)
		}
		shown.EvaluationTime = api.Seconds(time.Since(begun))
		out.Data.Groups = append(out.Data.Groups, shown)
	}
	out.HistoryStart = rp.start
	return out, nil
}

type replay struct {
	server   Asker
	now      time.Time
	recorded map[string]recorded // by name, of what the server does not have
	has      map[string]bool     // the metrics that the server has samples of
	start    api.Time
}

// recorded is a series that the groups record.
type recorded struct {
	text  string // its expression, with its labels
	twice bool   // more than one rule records it
	step  time.Duration
}

// prepare asks which of the metrics that the rules name the server has, and
// finds expressions for those that it has not.
func (rp *replay) prepare(ctx context.Context, groups []Group) error {
	asked := map[string]bool{}
	for _, g := range groups {
		for _, r := range g.Rules {
			e, err := parse(r.Expr)
			if err != nil {
				return fmt.Errorf("rule %q: %w", r.Name(), err)
			}
			for _, name := range names(e) {
				asked[name] = true
			}
			if r.Record != "" {
				asked[r.Record] = true
			}
		}
	}
	all := slices.Sorted(maps.Keys(asked))
	for part := range slices.Chunk(all, 50) {
		if err := rp.askFor(ctx, part); err != nil {
			return err
		}
	}
	for _, g := range groups {
		for _, r := range g.Rules {
			if r.Record == "" || rp.has[r.Record] {
				continue
			}
			text, err := rp.inline(r.Expr)
			if err != nil {
				continue // who uses it is told
			}
			for name, v := range r.Labels {
				text = fmt.Sprintf("label_replace(%s, %s, %s, \"\", \"\")", text, strconv.Quote(name), strconv.Quote(strings.ReplaceAll(v, "$", "$$")))
			}
			_, twice := rp.recorded[r.Record]
			rp.recorded[r.Record] = recorded{text, twice, g.Interval}
		}
	}
	return nil
}

func (rp *replay) askFor(ctx context.Context, metrics []string) error {
	if len(metrics) == 0 {
		return nil
	}
	quoted := make([]string, len(metrics))
	for i, m := range metrics {
		quoted[i] = regexp.QuoteMeta(m)
	}
	res, err := rp.server.Query(ctx, fmt.Sprintf("group by (__name__) ({__name__=~%s})", strconv.Quote(strings.Join(quoted, "|"))), rp.now)
	if err != nil {
		return err
	}
	rp.start = res.HistoryStart
	for _, s := range res.Data.Series {
		rp.has[s.Metric[model.MetricNameLabel]] = true
	}
	return nil
}

// inline replaces the series of an expression that the groups record and the
// server does not have.
func (rp *replay) inline(text string) (string, error) {
	e, err := parse(text)
	if err != nil {
		return "", err
	}
	var found []*parser.VectorSelector
	ranged := map[*parser.VectorSelector]bool{}
	parser.Inspect(e, func(n parser.Node, path []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			if _, ours := rp.recorded[s.Name]; ours {
				found = append(found, s)
				_, ranged[s] = path[len(path)-1].(*parser.MatrixSelector)
			}
		}
		return nil
	})
	slices.SortFunc(found, func(a, b *parser.VectorSelector) int { return int(b.PosRange.Start - a.PosRange.Start) })
	for _, s := range found { // the last first: the places of the others stay
		r := rp.recorded[s.Name]
		switch {
		case r.twice:
			return "", fmt.Errorf("%s is recorded by several rules, and the server does not have it", s.Name)
		case len(s.LabelMatchers) > 1:
			return "", fmt.Errorf("%s is selected by its labels, and the server does not have it: it would have to run the rule that records it", s.Name)
		}
		begin, end := int(s.PosRange.Start), int(s.PosRange.Start)+len(s.Name)
		if close := strings.IndexByte(text[end:], ']'); ranged[s] && close >= 0 {
			text = text[:end+close] + ":" + promDuration(r.step) + text[end+close:]
		}
		text = text[:begin] + "(" + r.text + ")" + text[end:]
	}
	return text, nil
}

func promDuration(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) + "ms" }

// rule replays one rule.
func (rp *replay) rule(ctx context.Context, g *Group, r *Rule) (api.Rule, error) {
	out := r.API()
	begun := time.Now()
	e, err := parse(r.Expr)
	if err != nil {
		return out, err
	}
	out.Absent = slices.DeleteFunc(names(e), func(n string) bool {
		_, ours := rp.recorded[n]
		return ours || rp.has[n]
	})
	text, err := rp.inline(r.Expr)
	if err == nil {
		err = rp.states(ctx, g, r, text, &out)
	}
	out.LastEvaluation, out.EvaluationTime, out.Health = rp.now.UTC(), api.Seconds(time.Since(begun)), api.RuleOK
	if err != nil {
		var fatal error
		if out.LastError, fatal = ruleError(err); fatal != nil {
			return out, fatal
		}
		out.Health = api.RuleErr
	}
	return out, nil
}

// ruleError tells an error about one rule from one about the server.
func ruleError(err error) (string, error) {
	p, ok := err.(*api.Error)
	if ok && p.Status != 422 && p.Status != 504 {
		return "", err
	}
	return err.Error(), nil
}

// states asks for the past of a rule, and takes its alerts through it.
func (rp *replay) states(ctx context.Context, g *Group, r *Rule, text string, out *api.Rule) error {
	at := rp.now.Add(-g.QueryOffset)
	if r.Record != "" {
		res, err := rp.server.Query(ctx, text, at)
		out.MissingHistory = res.MissingHistory
		return err
	}
	span, step := r.For+r.KeepFiringFor, g.Interval
	steps := int((span + step - 1) / step)
	if steps > maxReplay {
		steps, step = maxReplay, (span+maxReplay-1)/maxReplay
	}
	var res api.QueryResult
	var err error
	if steps == 0 {
		res, err = rp.server.Query(ctx, text, at)
	} else {
		res, err = rp.server.QueryRange(ctx, text, at.Add(-time.Duration(steps)*step), at, step)
	}
	if err != nil {
		return err
	}
	more := time.Duration(steps)*step - r.For // of what was asked for, that makes no alert
	out.MissingHistory = max(0, res.MissingHistory-api.Seconds(more))
	as := newAlerts(*r)
	for i, result := range byStep(&res, at, step, steps) {
		if _, err := as.eval(ctx, result, rp.now.Add(-time.Duration(steps-i)*step), rp.vector); err != nil {
			return err
		}
	}
	out.Alerts = as.list()
	out.State = StateOf(out.Alerts)
	return nil
}

// vector answers the queries of templates.
func (rp *replay) vector(ctx context.Context, text string, at time.Time) (promql.Vector, error) {
	res, err := rp.server.Query(ctx, text, at)
	if err != nil {
		return nil, err
	}
	return byStep(&res, at, time.Second, 0)[0], nil
}

// byStep sorts the values of a result by the step that they are of.
func byStep(res *api.QueryResult, end time.Time, step time.Duration, steps int) []promql.Vector {
	out := make([]promql.Vector, steps+1)
	begin := end.Add(-time.Duration(steps) * step)
	for _, s := range res.Data.Series {
		ls := labels.FromMap(s.Metric)
		put := func(i int, p *api.QueryPoint) {
			if i >= 0 && i < len(out) {
				out[i] = append(out[i], promql.Sample{T: p.Time.UnixMilli(), F: float64(p.Value), Metric: ls})
			}
		}
		if s.Value != nil {
			put(steps, s.Value)
		}
		for i := range s.Values {
			p := &s.Values[i]
			put(int((p.Time.Sub(begin)+step/2)/step), p)
		}
	}
	return out
}
