package server_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// events opens GET /monitoring/events and returns a function that gives the
// next event of a kind that a test waits for.
func events(t *testing.T, c *checked, query string, header ...string) func(kind string) api.Event {
	t.Helper()
	req := value(http.NewRequestWithContext(t.Context(), "GET", c.URL+"/monitoring/events"+query, nil))(t)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp := value(c.transport().RoundTrip(req))(t)
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s, %v", resp.Status, resp.Header)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Scan()
	return func(kind string) api.Event {
		t.Helper()
		name := ""
		for lines.Scan() {
			if n, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				name = n
			}
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var e api.Event
			must(t, json.Unmarshal([]byte(data), &e))
			if e.Kind != name || e.Time.IsZero() {
				t.Fatalf("event %s has %s", name, data)
			}
			if e.Kind == kind {
				return e
			}
		}
		t.Fatalf("the stream ended before an event of kind %s: %v", kind, lines.Err())
		return api.Event{}
	}
}

// Whatever happens comes on one stream.
func TestEvents(t *testing.T) {
	f := bare(t)
	f.Traces = value(tracing.New(tracing.Options{}))(t)
	f.Profiler = value(profiling.New(profiling.Options{SlowThreshold: 30 * time.Millisecond}))(t)
	run(t, f.Profiler.Run)
	s := newServer(t, f)
	c := contract(t, s)
	next := events(t, c, "")

	if e := next(api.EventHealth); e.Health.From != "" || e.Health.To != api.Unhealthy || e.Health.Ill["breaker/openai_api"] != api.Failed {
		t.Errorf("health = %+v, want how things stand: openai_api is open", e.Health)
	}
	c.do("POST /monitoring/circuit-breakers/openai_api/reset", nil, "X-Pulsectl-Reason", "INC-42")
	breakerSeen, auditSeen := events(t, c, "?kind=breaker"), events(t, c, "?kind=audit") // of later ones alone
	if e := next(api.EventBreaker); e.Breaker.Name != "openai_api" || e.Breaker.To != api.StateClosed {
		t.Errorf("breaker = %+v", e.Breaker)
	}
	c.do("POST /monitoring/circuit-breakers/openai_api/force-open?for=1m", nil, "X-Pulsectl-Reason", "INC-43")
	if e := breakerSeen(api.EventBreaker); e.Breaker.To != api.StateOpen {
		t.Errorf("breaker = %+v", e.Breaker)
	}
	if e := auditSeen(api.EventAudit); e.Audit.Reason != "INC-43" || e.Audit.Seq != 2 || e.Audit.Hash == "" {
		t.Errorf("audit = %+v", e.Audit)
	}

	traces := events(t, c, "?kind=trace,slow")
	sp := otlp.Span{TraceID: [16]byte{7}, SpanID: [8]byte{1}, Name: "GET /", Start: 1, End: 2}
	_, _, err := f.Traces.AddOTLP(otlp.AppendResourceSpans(nil, nil, &otlp.Scope{}, otlp.AppendSpan(nil, &sp)))
	must(t, err)
	if e := traces(api.EventTrace); e.Trace.Root != "GET /" || len(e.Trace.Spans) > 0 {
		t.Errorf("trace = %+v, want a summary", e.Trace)
	}

	h := f.Profiler.Begin(profiling.Request{Method: "GET", Path: "/slow"})
	e := traces(api.EventSlow)
	if e.Slow.State != "active" || e.Slow.OperationName != "GET /slow" {
		t.Errorf("slow = %+v", e.Slow)
	}
	id := f.Profiler.End(h, profiling.Finish{Route: "GET /slow"})
	if done := traces(api.EventSlow); done.Slow.ProfileID != id || id != e.Slow.ProfileID || done.Slow.State == "active" {
		t.Errorf("slow = %+v, want %s done", done.Slow, id)
	}
	s.EndStreams()
}

// A viewer gets what he may see, and is told what he may not.
func TestEventsOfAViewer(t *testing.T) {
	f := bare(t)
	var secrets map[string]string
	f.Access.Tokens, secrets = tokens(t)
	c := contract(t, newServer(t, f))
	token := []string{"Authorization", "Bearer " + secrets["viewer"]}
	if a := c.do("GET /monitoring/events?kind=breaker,audit", nil, token...); a.StatusCode != http.StatusForbidden {
		t.Errorf("kind=audit by a viewer: %s", a.Status)
	}
	next := events(t, c, "", token...)
	c.do("POST /monitoring/circuit-breakers/openai_api/reset", nil, "Authorization", "Bearer "+secrets["operator"])
	if e := next(api.EventBreaker); e.Breaker.Name != "openai_api" {
		t.Errorf("breaker = %+v", e.Breaker)
	}
}
