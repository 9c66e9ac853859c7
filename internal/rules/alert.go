package rules

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// alerts are the alerts of one rule: an element of its result is pending until
// the rule's For has passed, then fires, and goes on for KeepFiringFor after it
// has left the result.
type alerts struct {
	rule   Rule
	active map[uint64]*alert // by hash of their labels
}

type alert struct {
	labels      labels.Labels
	annotations map[string]string
	state       string // pending or firing
	activeAt    time.Time
	ended       time.Time // when it left the result; zero while it is in it
	value       float64
	at          time.Time // of the last evaluation
}

func newAlerts(r Rule) alerts { return alerts{r, map[uint64]*alert{}} }

// eval takes the result of the rule's expression at a time, and returns what
// changed.
func (as *alerts) eval(ctx context.Context, result promql.Vector, at time.Time, query asker) ([]api.AlertChange, error) {
	found := make(map[uint64]*alert, len(result))
	for _, s := range result {
		a := as.of(ctx, s, at, query)
		h := a.labels.Hash()
		if found[h] != nil {
			return nil, errDouble
		}
		found[h] = a
	}
	var changes []api.AlertChange
	for h, a := range found {
		known := as.active[h]
		if known == nil {
			as.active[h], known = a, a
		}
		from := known.state
		known.value, known.annotations, known.ended, known.at = a.value, a.annotations, time.Time{}, at
		known.state = api.AlertPending
		if from == api.AlertFiring || at.Sub(known.activeAt) >= as.rule.For {
			known.state = api.AlertFiring
		}
		if from != known.state {
			changes = append(changes, as.change(known, from))
		}
	}
	for h, a := range as.active {
		if found[h] == nil && as.leave(a, at) {
			delete(as.active, h)
			from := a.state
			a.state = api.AlertInactive
			changes = append(changes, as.change(a, from))
		}
	}
	slices.SortFunc(changes, func(a, b api.AlertChange) int { return strings.Compare(labelText(a.Labels), labelText(b.Labels)) })
	return changes, nil
}

// of makes the alert of an element of the result, as if it were new.
func (as *alerts) of(ctx context.Context, s promql.Sample, at time.Time, query asker) *alert {
	x := newExpander(ctx, at, s, query)
	b := labels.NewBuilder(s.Metric)
	b.Del(model.MetricNameLabel)
	for name, text := range as.rule.Labels {
		b.Set(name, x.expand(text))
	}
	b.Set("alertname", as.rule.Alert)
	a := &alert{labels: b.Labels(), annotations: map[string]string{}, activeAt: at, value: s.F, at: at}
	for name, text := range as.rule.Annotations {
		a.annotations[name] = x.expand(text)
	}
	return a
}

// leave says of an alert that is not in the result whether it is over.
func (as *alerts) leave(a *alert, at time.Time) bool {
	a.at = at
	if a.state != api.AlertFiring || as.rule.KeepFiringFor <= 0 {
		return true
	}
	if a.ended.IsZero() {
		a.ended = at
	}
	return at.Sub(a.ended) >= as.rule.KeepFiringFor
}

// clear ends all alerts.
func (as *alerts) clear() (changes []api.AlertChange) {
	for h, a := range as.active {
		delete(as.active, h)
		from := a.state
		a.state = api.AlertInactive
		changes = append(changes, as.change(a, from))
	}
	return changes
}

func (as *alerts) change(a *alert, from string) api.AlertChange {
	shown := a.api()
	return change(as.rule.Alert, orInactive(from), &shown)
}

// orInactive is the state before an alert was there.
func orInactive(state string) string {
	if state == "" {
		return api.AlertInactive
	}
	return state
}

func (a *alert) api() api.Alert {
	out := api.Alert{Labels: a.labels.Map(), Annotations: a.annotations, State: a.state, ActiveAt: a.activeAt.UTC(), Value: api.AlertValue(a.value)}
	if !a.ended.IsZero() {
		ended := a.ended.UTC()
		out.KeepFiringSince = &ended
	}
	return out
}

// list returns the alerts: firing first, then by their labels.
func (as *alerts) list() []api.Alert {
	out := make([]api.Alert, 0, len(as.active))
	for _, a := range as.active {
		out = append(out, a.api())
	}
	slices.SortFunc(out, func(a, b api.Alert) int {
		if a.State != b.State {
			return strings.Compare(a.State, b.State) // firing comes before pending
		}
		return strings.Compare(labelText(a.Labels), labelText(b.Labels))
	})
	return out
}

func labelText(ls map[string]string) string { return labels.FromMap(ls).String() }

// samples are the series ALERTS and ALERTS_FOR_STATE of the alerts.
func (as *alerts) samples() (out promql.Vector) {
	for _, a := range as.active {
		b := labels.NewBuilder(a.labels)
		b.Set(model.MetricNameLabel, "ALERTS_FOR_STATE")
		out = append(out, promql.Sample{F: float64(a.activeAt.Unix()), Metric: b.Labels()})
		b.Set(model.MetricNameLabel, "ALERTS")
		b.Set("alertstate", a.state)
		out = append(out, promql.Sample{F: 1, Metric: b.Labels()})
	}
	return out
}
