package render_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// sampleSpan makes a span of milliseconds since the trace's start.
func sampleSpan(id, parent, service, name string, from, took float64, tags ...any) api.Span {
	start := noon.Add(-time.Minute).UnixNano() + int64(from*1e6)
	d := api.Seconds(took * 1e6)
	s := api.Span{
		SpanID: id, OperationName: name, Service: service, StartUnixNano: api.Nano(start), StartTime: api.Unix(start), EndTime: api.Unix(start + int64(d)),
		Duration: &d, Status: api.StatusOK, Tags: map[string]any{},
	}
	if parent != "" {
		s.ParentSpanID = &parent
	}
	for i := 0; i+1 < len(tags); i += 2 {
		s.Tags[tags[i].(string)] = tags[i+1]
	}
	return s
}

// sampleTrace is the trace of the screens.
func sampleTrace() api.Trace {
	failed := sampleSpan("9", "8", "ranker", "POST /v1/chat/completions", 361, 250, "server.address", "api.openai.com", "retry.attempt", 1.0)
	failed.Status, failed.StatusMessage = api.StatusError, "context deadline exceeded (250ms)"
	d := api.Seconds(1284 * time.Millisecond)
	return api.Trace{
		TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", Root: "POST /priority/generate", Service: "pulse-api", Status: api.StatusError,
		StartTime: api.Unix(noon.Add(-time.Minute).UnixNano()), Duration: &d, SpanCount: api.CountOf(14), ErrorCount: api.CountOf(1),
		Spans: []api.Span{
			sampleSpan("1", "", "pulse-api", "POST /priority/generate", 0, 1284, "http.response.status_code", 200.0, "user.id", "u_8812"),
			sampleSpan("2", "1", "pulse-api", "auth.verify", 2, 8.1),
			sampleSpan("3", "1", "redis", "GET ctx:u_8812", 11, 2.3, "cache.hit", false),
			sampleSpan("4", "1", "context-builder", "context.build", 14, 341),
			sampleSpan("5", "4", "postgres", "SELECT events", 16, 118, "db.rows", 1204.0),
			sampleSpan("6", "4", "context-builder", "GET /repos/{owner}/{repo}/pulls", 16, 322),
			sampleSpan("7", "4", "context-builder", "GET /issues", 18, 204),
			sampleSpan("8", "1", "ranker", "rank.priorities", 358, 902),
			failed,
			sampleSpan("a", "8", "ranker", "backoff", 611, 50),
			sampleSpan("b", "8", "ranker", "POST /v1/chat/completions", 661, 571, "server.address", "api.openai.com"),
			sampleSpan("c", "8", "ranker", "score.merge", 1233, 26),
			sampleSpan("d", "1", "redis", "SETEX prio:u_8812", 1262, 1.4),
			sampleSpan("e", "1", "postgres", "INSERT audit", 1262, 14),
		},
	}
}

// shown lays a trace out as of noon.
func shown(t testing.TB, tr api.Trace, o waterfall.Options) waterfall.Shown {
	t.Helper()
	v, err := waterfall.Show(tr, noon, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func oneShown(t testing.TB, tr api.Trace, o waterfall.Options) []api.Result[waterfall.Shown] {
	t.Helper()
	return []api.Result[waterfall.Shown]{{Instance: "http://127.0.0.1:8000", Value: shown(t, tr, o)}}
}

func TestTrace(t *testing.T) {
	one := oneShown(t, sampleTrace(), waterfall.Options{})
	golden(t, "trace", func(w *bytes.Buffer, o render.Options) error { return render.Trace(w, one, o) })
}

// brokenTrace has everything that a trace should not have.
func brokenTrace() api.Trace {
	t := sampleTrace()
	running := sampleSpan("f", "4", "postgres", "running \x1b[2J\nquery", 50, 0)
	running.Duration, running.EndTime = nil, api.Time{}
	failed := sampleSpan("g", "00f067aa0ba902b7", "worker", "job", 100, 20, "a", []any{1.0, "x\x1b]8;;http://evil\x07"}, "exception.type", "E")
	failed.Status = api.StatusTimeout
	t.RequestID, t.Status, t.ProfileIDs, t.Truncated = "req-\x1b[31m1", api.StatusActive, []string{"p_4QZX"}, true
	t.SpanCount = api.CountOf(31_415)
	t.Spans = append(t.Spans, running, failed, sampleSpan("h", "8", "ranker", "early", 300, 20), sampleSpan("2", "1", "pulse-api", "auth.verify", 20, 1),
		sampleSpan("x", "y", "worker", "x", 0, 10), sampleSpan("y", "x", "worker", "y", 0, 8))
	return t
}

func TestBrokenTrace(t *testing.T) {
	fleet := []api.Result[waterfall.Shown]{
		{Instance: "http://10.0.0.1:8000", Value: shown(t, brokenTrace(), waterfall.Options{})},
		{Instance: "http://10.0.0.2:8000", Error: &api.Error{Detail: "connection refused"}},
		{Instance: "http://10.0.0.3:8000", Value: shown(t, api.Trace{TraceID: "aaaa"}, waterfall.Options{})},
	}
	golden(t, "trace-broken", func(w *bytes.Buffer, o render.Options) error { return render.Trace(w, fleet, o) })
}

// deepTrace is a chain of 10,000 spans.
func deepTrace() api.Trace {
	deep := api.Trace{TraceID: "deep", SpanCount: api.CountOf(10_000)}
	for i := range 10_000 {
		parent := ""
		if i > 0 {
			parent = fmt.Sprint(i - 1)
		}
		deep.Spans = append(deep.Spans, sampleSpan(fmt.Sprint(i), parent, fmt.Sprint("service ", i%40), "operation", float64(i), float64(20_000-2*i)))
	}
	return deep
}

func TestDeepTrace(t *testing.T) {
	rs := oneShown(t, deepTrace(), waterfall.Options{})
	golden(t, "trace-deep", func(w *bytes.Buffer, o render.Options) error {
		o.Limit = 60
		return render.Trace(w, rs, o)
	})
}

func BenchmarkTrace10k(b *testing.B) {
	deep := deepTrace()
	b.ReportAllocs()
	for b.Loop() {
		rs := oneShown(b, deep, waterfall.Options{})
		if err := render.Trace(io.Discard, rs, render.Options{Limit: -1, Color: render.TrueColor}); err != nil {
			b.Fatal(err)
		}
	}
}

func sampleTraces() api.TraceList {
	list := api.TraceList{TotalActive: 1, Total: api.CountOf(280), Retention: &api.Retention{
		Traces: 280, Spans: 4120, Bytes: 1 << 20, Oldest: *unix(3*time.Hour + 4*time.Minute), Dropped: map[string]api.Count{"evicted": 1204, "span_limit": 3, "duplicate": 9},
	}}
	first := sampleTrace()
	second := sampleTrace()
	no := false
	second.TraceID, second.Root, second.Status, second.Duration, second.ErrorCount, second.Complete = "4bf92f35ffb34da6a3ce929d0e0e4736", "GET /report/\x1b[2Jweekly", api.StatusActive, nil, nil, &no
	second.ProfileIDs = []string{"p_1", "p_2"}
	list.Traces = []api.Trace{first, second, {TraceID: "c6cbe5f4-1fb5-4b2f-aa92-d7e97f955edb", Root: "GET /python", StartTime: first.StartTime, Status: api.StatusAborted}}
	return list
}

func TestTraces(t *testing.T) {
	one := []api.Result[api.TraceList]{{Instance: "http://127.0.0.1:8000", Value: sampleTraces()}}
	golden(t, "traces", func(w *bytes.Buffer, o render.Options) error { return render.Traces(w, one, o) })
	fleet := append(one, api.Result[api.TraceList]{Instance: "http://10.0.0.2:8000", Error: &api.Error{Detail: "connection refused"}})
	golden(t, "traces-fleet", func(w *bytes.Buffer, o render.Options) error { return render.Traces(w, fleet, o) })
	var none bytes.Buffer
	if err := render.Traces(&none, []api.Result[api.TraceList]{{Instance: "http://a"}}, render.Options{}); err != nil || !strings.Contains(none.String(), "No trace matches.") {
		t.Errorf("an empty list draws %q, %v", none.String(), err)
	}
}
