package render_test

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

func points(from time.Time, step time.Duration, vs ...float64) (out []api.QueryPoint) {
	for i, v := range vs {
		if !math.IsNaN(v) {
			out = append(out, api.QueryPoint{Time: api.Time{Time: from.Add(time.Duration(i) * step)}, Value: api.Float(v)})
		}
	}
	return out
}

func one[T any](v T) []api.Result[T] {
	return []api.Result[T]{{Instance: "http://127.0.0.1:8000", Value: v}}
}

func TestQueryResult(t *testing.T) {
	at := func(v float64) *api.QueryPoint {
		return &api.QueryPoint{Time: api.Time{Time: noon}, Value: api.Float(v)}
	}
	vector := api.QueryResult{
		Data: api.QueryData{ResultType: api.ResultVector, Series: []api.QuerySeries{
			{Metric: map[string]string{"__name__": "pulse_api_requests_total", "endpoint": "/priority/generate", "method": "POST", "status_code": "201"}, Value: at(1234567)},
			{Metric: map[string]string{"endpoint": "/esc\x1b[2Jape"}, Value: at(0.0421)},
			{Metric: map[string]string{"endpoint": "/nothing"}, Value: at(math.NaN())},
			{Metric: map[string]string{}, Value: at(1.5e-9)},
		}},
		Warnings: []string{"not enough history: there are samples of the last 22s, this looks 4m38s further back"},
	}
	golden(t, "query", func(w *bytes.Buffer, o render.Options) error { return render.QueryResult(w, one(vector), o) })
	fleet := append(one(vector), refused[api.QueryResult]("http://10.0.0.2:8000"), api.Result[api.QueryResult]{Instance: "http://10.0.0.3:8000"})
	golden(t, "query-fleet", func(w *bytes.Buffer, o render.Options) error { return render.QueryResult(w, fleet, o) })
	matrix := api.QueryResult{Data: api.QueryData{ResultType: api.ResultMatrix, Series: []api.QuerySeries{
		{Metric: map[string]string{"__name__": "up"}, Values: points(noon, time.Second, 1, 1, 0, 0, 1)},
	}}}
	golden(t, "query-matrix", func(w *bytes.Buffer, o render.Options) error { return render.QueryResult(w, one(matrix), o) })
}

func TestQueryGraph(t *testing.T) {
	from := noon.Add(-10 * time.Minute)
	var wave, gap []float64
	for i := range 120 {
		wave = append(wave, 40+30*math.Sin(float64(i)/15))
		gap = append(gap, map[bool]float64{true: math.NaN(), false: float64(i) - 60}[i > 40 && i < 70])
	}
	series := func(name string, vs []float64) api.QuerySeries {
		return api.QuerySeries{Metric: map[string]string{"__name__": name, "endpoint": "/priority/{id}"}, Values: points(from, 5*time.Second, vs...)}
	}
	for name, all := range map[string][]api.QuerySeries{
		"graph":        {series("rate", wave)},
		"graph-gap":    {series("below_zero", gap)},
		"graph-few":    {series("few", []float64{3})},
		"graph-series": {series("one", wave), series("two", gap), series("three", []float64{0, 0, 0})},
		"graph-none":   {},
	} {
		q := api.QueryResult{Data: api.QueryData{ResultType: api.ResultMatrix, Series: all}}
		golden(t, name, func(w *bytes.Buffer, o render.Options) error { return render.QueryGraph(w, one(q), from, noon, o) })
	}
}

func TestExemplars(t *testing.T) {
	x := api.Exemplars{Name: "pulse_api_request_duration_seconds", Exemplars: []api.Exemplar{
		{Series: map[string]string{"__name__": "pulse_api_request_duration_seconds_bucket", "endpoint": "/report/weekly", "le": "2.5", "job": "pulse-api"}, Value: 1.21, Time: *unix(2 * time.Second),
			TraceID: "bee2cc4166e0ec6b4bf92f3577b34da6", TraceKept: true, ProfileIDs: []string{"p_YOUYT6R2YTSHA4MHFDR3MQZMKA"}},
		{Series: map[string]string{"__name__": "pulse_api_request_duration_seconds_bucket", "endpoint": "/x\x1b[2J"}, Value: 0.0042, Time: *unix(40 * time.Minute), TraceID: "4bf92f3577b34da6a3ce929d0e0e4736"},
		{Series: map[string]string{}, Value: 3, Time: *unix(time.Hour)},
	}}
	golden(t, "exemplars", func(w *bytes.Buffer, o render.Options) error { return render.Exemplars(w, one(x), o) })
}

func TestAlerts(t *testing.T) {
	ended := noon.Add(-time.Minute)
	rule := func(name, state string, lacks time.Duration, alerts ...api.Alert) api.Rule {
		return api.Rule{Type: api.RuleAlerting, Name: name, State: state, Health: api.RuleOK, MissingHistory: api.Seconds(lacks), Alerts: alerts}
	}
	alert := func(state string, ago time.Duration, v float64, kept *time.Time) api.Alert {
		return api.Alert{State: state, ActiveAt: noon.Add(-ago), Value: api.AlertValue(v), KeepFiringSince: kept,
			Labels: map[string]string{"alertname": "x", "name": "openai_api", "severity": "page"}, Annotations: map[string]string{"summary": "breaker openai_api is open\x1b[2J"}}
	}
	broken := rule("Broken", api.AlertInactive, 0)
	broken.Health, broken.LastError = api.RuleErr, "found duplicate series for the match group on the right hand-side of the operation"
	absent := rule("Elsewhere", api.AlertInactive, 0)
	absent.Absent = []string{"node_load1"}
	a := api.AlertRules{HistoryStart: *unix(12 * time.Minute)}
	a.Data.Groups = []api.RuleGroup{{Name: "g", Rules: []api.Rule{
		absent, rule("BreakerOpen", api.AlertFiring, 0, alert(api.AlertFiring, 5*time.Minute, 1, nil), alert(api.AlertFiring, time.Hour, 2.25, &ended)),
		rule("Slow", api.AlertPending, 18*time.Minute, alert(api.AlertPending, 90*time.Second, 0.75, nil)), broken, rule("New", api.AlertUnknown, 0),
		{Type: api.RuleRecording, Name: "a:b", Health: api.RuleOK},
	}}}
	golden(t, "alerts", func(w *bytes.Buffer, o render.Options) error { return render.Alerts(w, one(a), o) })
	golden(t, "alerts-none", func(w *bytes.Buffer, o render.Options) error { return render.Alerts(w, one(api.AlertRules{}), o) })
	files := []api.RuleFile{
		{File: "rules/a.yaml", Groups: 2, Rules: 7},
		{File: "rules/b.yaml", Rules: 1, Problems: []api.RuleProblem{{Line: 5, Column: 26, Message: "expr: unclosed left parenthesis"}, {Line: 9, Column: 1, Message: "twice", Warning: true}}},
	}
	golden(t, "rule-files", func(w *bytes.Buffer, o render.Options) error {
		return render.RuleFiles(w, []api.Result[[]api.RuleFile]{{Value: files}}, o)
	})
}
