package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/rules"
	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

const ruleFile = `
groups:
  - name: external
    interval: 5s
    rules:
      - record: service:errors:rate1m
        expr: sum by (service) (rate(pulse_api_external_errors_total[1m]))
      - alert: ExternalErrors
        expr: pulse_api_external_errors_total > 2
        labels: {severity: page}
        annotations: {summary: '{{ $labels.service }} failed {{ $value }} times'}
      - alert: Later
        expr: pulse_api_external_errors_total > 2
        for: 10m
`

// queried makes a fixture with an engine that has had scrapes of a minute.
func queried(t testing.TB) (*fixture, *rules.Engine) {
	t.Helper()
	f := bare(t)
	f.Metrics = value(metric.New(metric.Options{Service: "contract"}))(t)
	f.Traces = value(tracing.New(tracing.Options{}))(t)
	path := filepath.Join(t.TempDir(), "rules.yaml")
	must(t, os.WriteFile(path, []byte(ruleFile), 0o600))
	e := value(rules.New(rules.Options{Groups: value(rules.Load([]string{path}))(t)}))(t)
	f.Query = e
	return f, e
}

// scrapeMinute fails a call to a service every five seconds of the last minute.
func scrapeMinute(f *fixture, e *rules.Engine) {
	now := time.Now()
	for back := time.Minute; back >= 0; back -= 5 * time.Second {
		f.Metrics.ExternalError("github", "timeout")
		e.Scrape(f.Metrics, now.Add(-back))
	}
	e.Evaluate(context.Background(), now)
}

func decoded[T any](t testing.TB, a answerOf) (v T) {
	t.Helper()
	if a.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", a.Status, a.body)
	}
	must(t, json.Unmarshal(a.body, &v))
	return v
}

// Queries, exemplars and alerts are answered as the document says.
func TestQueries(t *testing.T) {
	f, e := queried(t)
	ctx, span := f.Traces.Start(t.Context(), "GET /slow", tracing.StartOptions{})
	id := span.SpanContext().TraceID()
	f.Metrics.External("github", "/repos", "200", metric.Observation{Duration: 3 * time.Second, Trace: id})
	f.Metrics.External("github", "/gone", "200", metric.Observation{Duration: 3 * time.Second, Trace: [16]byte{9}})
	span.End()
	_ = ctx
	scrapeMinute(f, e)
	c := contract(t, newServer(t, f))

	q := decoded[api.QueryResult](t, c.do("GET /monitoring/metrics/query?expr="+url.QueryEscape(`rate(pulse_api_external_errors_total{service="github"}[1m])`), nil))
	if len(q.Data.Series) != 1 || q.Data.Series[0].Value.Value < 0.19 || q.Data.Series[0].Value.Value > 0.21 || q.MissingHistory > api.Seconds(time.Second) {
		t.Errorf("a failure each five seconds is %+v", q)
	}
	q = decoded[api.QueryResult](t, c.do("GET /monitoring/metrics/query?expr="+url.QueryEscape(`rate(pulse_api_external_errors_total[30m])`), nil))
	if lacks := q.MissingHistory.Duration(); lacks < 28*time.Minute || lacks > 30*time.Minute || len(q.Warnings) != 1 {
		t.Errorf("missing of 30m: %s, warnings %q", lacks, q.Warnings)
	}
	for expr, kind := range map[string]string{"1": api.ResultScalar, `"a"`: api.ResultString, "up[1m]": api.ResultMatrix} {
		if got := decoded[api.QueryResult](t, c.do("GET /monitoring/metrics/query?expr="+url.QueryEscape(expr), nil)); got.Data.ResultType != kind {
			t.Errorf("%s is a %s, want a %s", expr, got.Data.ResultType, kind)
		}
	}
	q = decoded[api.QueryResult](t, c.do("GET /monitoring/metrics/query_range?start=1m&step=10s&expr=pulse_api_external_errors_total", nil))
	if len(q.Data.Series) != 1 || len(q.Data.Series[0].Values) < 6 {
		t.Errorf("range = %+v", q.Data)
	}

	x := decoded[api.Exemplars](t, c.do("GET /monitoring/metrics/exemplars?name=pulse_api_external_duration_seconds", nil))
	kept := map[string]bool{}
	for _, one := range x.Exemplars {
		kept[one.TraceID] = one.TraceKept
	}
	if k, ok := kept[id.String()]; !ok || !k || len(kept) != 2 {
		t.Errorf("exemplars = %+v, want two, %s with its trace", x.Exemplars, id)
	}

	al := decoded[api.AlertRules](t, c.do("GET /monitoring/alerts", nil))
	got := map[string]string{}
	for _, r := range al.Data.Groups[0].Rules {
		got[r.Name] = r.State
	}
	if got["ExternalErrors"] != api.AlertFiring || got["Later"] != api.AlertPending {
		t.Errorf("states = %v", got)
	}
	if r := al.Data.Groups[0].Rules[1]; r.Alerts[0].Annotations["summary"] != "github failed 13 times" || r.Alerts[0].Labels["severity"] != "page" {
		t.Errorf("alert = %+v", r.Alerts)
	}
	if r := al.Data.Groups[0].Rules[2]; r.MissingHistory.Duration() < 8*time.Minute {
		t.Errorf("Later lacks %s of history, want nine minutes", r.MissingHistory.Duration())
	}
	next := events(t, c, "?kind=alert")
	if ev := next(api.EventAlert); ev.Alert.From != "" || ev.Alert.Group != "external" {
		t.Errorf("event = %+v", ev.Alert)
	}
	s := f.Query.(*rules.Engine)
	f.Metrics.ExternalError("openai", "timeout")
	f.Metrics.ExternalError("openai", "timeout")
	f.Metrics.ExternalError("openai", "timeout")
	s.Scrape(f.Metrics, time.Now())
	s.Evaluate(t.Context(), time.Now())
	for ev := next(api.EventAlert); ; ev = next(api.EventAlert) {
		if ev.Alert.Labels["service"] == "openai" && ev.Alert.State == api.AlertFiring {
			break
		}
	}
}

// What makes no sense is refused with the parameter's name; a server without an
// engine says that it has none.
func TestQueriesRefused(t *testing.T) {
	f, _ := queried(t)
	c := contract(t, newServer(t, f))
	for _, tt := range []string{
		"GET /monitoring/metrics/query", "GET /monitoring/metrics/query?expr=", "GET /monitoring/metrics/query?expr=sum(", "GET /monitoring/metrics/query?expr=up&time=noon",
		"GET /monitoring/metrics/query_range?expr=up", "GET /monitoring/metrics/query_range?expr=up&start=1m&step=x",
		"GET /monitoring/metrics/query_range?expr=up&start=1h&step=1ms", "GET /monitoring/metrics/query_range?expr=up[1m]&start=1m",
		"GET /monitoring/metrics/query_range?expr=up&start=1m&end=2m", "GET /monitoring/metrics/exemplars",
	} {
		if a := c.do(tt, nil); a.StatusCode != http.StatusUnprocessableEntity || len(a.problem(t).Errors) == 0 {
			t.Errorf("%s: %s %s", tt, a.Status, a.body)
		}
	}
	none := contract(t, value(server.New(server.Options{}))(t))
	for _, path := range []string{"/metrics/query?expr=up", "/metrics/query_range?expr=up&start=1m", "/metrics/exemplars?name=up", "/alerts"} {
		if a := none.do("GET /monitoring"+path, nil); a.StatusCode != http.StatusNotFound {
			t.Errorf("%s without an engine: %s", path, a.Status)
		}
	}
	ix := decoded[api.Index](t, none.do("GET /monitoring/", nil))
	for _, capability := range ix.Capabilities {
		if capability == "query" || capability == "alerts" {
			t.Errorf("a server without an engine tells of %s", capability)
		}
	}
}
