package rules_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/pulsectl/pulsectl/internal/rules"
	"github.com/pulsectl/pulsectl/pkg/api"
)

func groups(t testing.TB, src string) []rules.Group {
	t.Helper()
	gs, problems := rules.Parse("rules.yaml", []byte(src))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return gs
}

const heat = `
groups:
  - name: heat
    interval: 10s
    labels: {team: ops}
    rules:
      - record: heat:double
        expr: heat * 2
      - alert: Hot
        expr: heat:double > 20
        for: 30s
        keep_firing_for: 20s
        labels: {severity: '{{ if gt $value 60.0 }}page{{ else }}ticket{{ end }}'}
        annotations: {summary: '{{ $labels.room }} has {{ $value | humanize }} ({{ with query "count(heat)" }}{{ . | first | value }} rooms{{ end }})'}
`

// feed gives a series values, one each 10 s; -1 means no sample.
func feed(e *rules.Engine, from time.Time, v float64) {
	b := e.Ring().Scrape(from)
	if v >= 0 {
		b.Add(labels.FromStrings("__name__", "heat", "room", "attic"), v)
	}
	b.Done()
}

// An alert is pending until its For has passed, fires, goes on for
// KeepFiringFor, and is over: step by step as in Prometheus. Replaying the rules
// on the samples alone comes to the same.
func TestAlertStates(t *testing.T) {
	gs := groups(t, heat)
	e, plain := value(rules.New(rules.Options{Groups: gs}))(t), value(rules.New(rules.Options{}))(t)
	events := e.Follow(t.Context())
	want := strings.Fields("inactive inactive pending pending pending firing firing firing firing inactive inactive pending inactive firing-not")
	for i, v := range []float64{5, 5, 11, 12, 12, 12, 12, 5, 5, 5, 5, 11, -1} {
		at := noon.Add(time.Duration(i) * 10 * time.Second)
		feed(e, at, v)
		feed(plain, at, v)
		e.Evaluate(t.Context(), at)
		rule := e.Alerts().Data.Groups[0].Rules[1]
		if rule.State != want[i] || rule.Health != api.RuleOK {
			t.Errorf("after %ds, heat %v: %s (%s %s), want %s", 10*i, v, rule.State, rule.Health, rule.LastError, want[i])
		}
		if i < 6 {
			continue // the replay's first steps would be before the first sample
		}
		rp := value(rules.Replay(t.Context(), asker{plain}, gs, at))(t).Data.Groups[0].Rules[1]
		if rp.State != rule.State {
			t.Errorf("after %ds: the replay says %s (%s), the server %s", 10*i, rp.State, rp.LastError, rule.State)
		}
	}
	var seen []string
	for len(events) > 0 {
		ev := <-events
		seen = append(seen, ev.Alert.From+">"+ev.Alert.State)
		if ev.Alert.State == api.AlertFiring {
			a := ev.Alert
			if a.Labels["severity"] != "ticket" || a.Labels["team"] != "ops" || a.Labels["alertname"] != "Hot" || a.Annotations["summary"] != "attic has 24 (1 rooms)" {
				t.Errorf("labels %v, annotations %v", a.Labels, a.Annotations)
			}
		}
	}
	if got := strings.Join(seen, " "); got != "inactive>pending pending>firing firing>inactive inactive>pending pending>inactive" {
		t.Errorf("events = %s", got)
	}
	if got := one(t, e, `count_over_time(ALERTS{alertstate="firing"}[5m])`, noon.Add(2*time.Minute)); got != 4 {
		t.Errorf("%v samples of ALERTS that fire, want 4", got)
	}
}

// asker is an engine as a client sees it.
type asker struct{ *rules.Engine }

func (a asker) Query(ctx context.Context, expr string, at time.Time) (api.QueryResult, error) {
	out, err := a.Engine.Query(ctx, expr, at)
	if err != nil {
		return api.QueryResult{}, err
	}
	return *out, nil
}

func (a asker) QueryRange(ctx context.Context, expr string, start, end time.Time, step time.Duration) (api.QueryResult, error) {
	out, err := a.Engine.QueryRange(ctx, expr, start, end, step)
	if err != nil {
		return api.QueryResult{}, err
	}
	return *out, nil
}

// Run scrapes and evaluates until it is told to end, and leaves nothing behind.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "heat"})
		reg.MustRegister(g)
		g.Set(11)
		e := value(rules.New(rules.Options{Groups: groups(t, strings.ReplaceAll(heat, "$labels.room", `"it"`))}))(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx, reg) }()
		time.Sleep(2*time.Minute + time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := one(t, e, "count_over_time(heat[2m])", time.Now()); got < 24 || got > 25 {
			t.Errorf("%v samples in two minutes, want one each five seconds", got)
		}
		if r := e.Alerts().Data.Groups[0].Rules[1]; r.State != api.AlertFiring {
			t.Errorf("state %s after two minutes: %s", r.State, r.LastError)
		}
	})
}

// A rule that gives more than its group may is an error and has no alerts; so is
// one that makes two of the same labels.
func TestRulesThatFail(t *testing.T) {
	gs := groups(t, `
groups:
  - {name: limited, limit: 2, rules: [{alert: Many, expr: many}]}
  - {name: double, rules: [{record: same, expr: many, labels: {n: x}}, {alert: Same, expr: many, labels: {n: x}}, {alert: Range, expr: 'many[5m]'}, {alert: Scalar, expr: scalar(vector(1))}]}
`)
	e := value(rules.New(rules.Options{Groups: gs}))(t)
	b := e.Ring().Scrape(noon)
	for i := range 3 {
		b.Add(labels.FromStrings("__name__", "many", "n", fmt.Sprint(i)), 1)
	}
	b.Done()
	e.Evaluate(t.Context(), noon)
	out := e.Alerts().Data
	for name, want := range map[string]string{"Many": "limit of 2", "same": "the same labels", "Same": "the same labels", "Range": "range vector"} {
		for _, g := range out.Groups {
			for _, r := range g.Rules {
				if r.Name == name && (r.Health != api.RuleErr || !strings.Contains(r.LastError, want) || len(r.Alerts) > 0) {
					t.Errorf("%s: %s %q with %d alerts, want an error about %q", name, r.Health, r.LastError, len(r.Alerts), want)
				}
			}
		}
	}
	if r := out.Groups[1].Rules[3]; r.State != api.AlertFiring || r.Health != api.RuleOK {
		t.Errorf("a scalar is %s %s %s, want it to fire", r.State, r.Health, r.LastError)
	}
}

// Expressions that would take the server's memory or time are refused, and say
// why.
func TestHostileExpressions(t *testing.T) {
	e := value(rules.New(rules.Options{MaxSamples: 20_000, Timeout: 200 * time.Millisecond}))(t)
	fill(e.Ring(), 200, 200, noon, func(_, n int) float64 { return float64(n) })
	end := noon.Add(200 * 5 * time.Second)
	double := "up"
	for range 20 {
		double = `label_join(` + double + `, "a", "", "a", "a")`
	}
	for name, expr := range map[string]string{
		"labels that double": double,
		"a long text":        `label_replace(up, "a", "` + strings.Repeat("x", 2000) + `", "", "")`,
		"a long expression":  strings.Repeat("up + ", 3000) + "up",
		"deep":               strings.Repeat("(", 4000) + "up" + strings.Repeat(")", 3999),
		"many samples":       "pulse_api_requests_total[1h]",
		"a fine subquery":    `sum_over_time(pulse_api_requests_total[1h:1ms])`,
		"subqueries":         `max_over_time(max_over_time(max_over_time(pulse_api_requests_total[5m:1s])[5m:1s])[30m:1s])`,
		"a bad regexp":       `{a=~"("}`,
		"nothing":            "  ",
	} {
		begun := time.Now()
		_, err := e.Query(t.Context(), expr, end)
		if err == nil || len(err.Error()) > 2500 {
			t.Errorf("%s: error %.200v, want a short one", name, err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%s: it took %s", name, took)
		}
	}
	deep := strings.Repeat("(", 3000) + "up" + strings.Repeat(")", 3000)
	if _, err := e.Query(t.Context(), deep, end); err != nil {
		t.Errorf("deep but right: %v", err)
	}
	if _, err := e.QueryRange(t.Context(), "up", noon, noon.Add(time.Hour), time.Millisecond); err == nil {
		t.Error("3,600,000 steps are taken")
	}
}
