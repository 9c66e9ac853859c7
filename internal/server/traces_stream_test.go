package server_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// follow opens the stream and returns a function that reads its next event but
// comments, as its lines.
func follow(t *testing.T, c *checked, query, last string) func() []string {
	t.Helper()
	req := value(http.NewRequestWithContext(t.Context(), "GET", c.URL+"/monitoring/traces/stream"+query, nil))(t)
	req.Header.Set("Accept-Encoding", "gzip")
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp := value(c.transport().RoundTrip(req))(t)
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Content-Encoding") != "" {
		t.Fatalf("%s, %v", resp.Status, resp.Header)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Scan() // the comment that it begins with
	return func() (event []string) {
		for lines.Scan() {
			switch line := lines.Text(); {
			case line == "" && len(event) > 0:
				return event
			case line != "" && line[0] != ':':
				event = append(event, line)
			}
		}
		return event
	}
}

// Finished traces come as events, those that fit; a reader goes on after the
// last one that it got; and the server's end is one.
func TestTraceStream(t *testing.T) {
	f := bare(t)
	f.Traces = value(tracing.New(tracing.Options{}))(t)
	s := newServer(t, f)
	c := contract(t, s)
	next := follow(t, c, "?status=error", "")
	for i := range byte(3) {
		sp := otlp.Span{TraceID: [16]byte{i + 1}, SpanID: [8]byte{1}, Name: "GET /", Start: 1, End: 2, Status: 2 * int32(i%2)}
		_, _, err := f.Traces.AddOTLP(otlp.AppendResourceSpans(nil, nil, &otlp.Scope{}, otlp.AppendSpan(nil, &sp)))
		must(t, err)
	}
	event := next()
	if len(event) != 3 || event[1] != "event: trace" || !strings.HasPrefix(event[0], "id: ") || !strings.Contains(event[2], `"trace_id":"02000000`) || strings.Contains(event[2], `"spans":[{"span_id"`) {
		t.Fatalf("event %q", event)
	}
	id := strings.TrimPrefix(event[0], "id: ")
	again := follow(t, c, "?view=full", id)
	if event := again(); len(event) != 3 || !strings.Contains(event[2], `"trace_id":"03000000`) || !strings.Contains(event[2], `"operation_name":"GET /"`) {
		t.Errorf("after %s came %q, want the third trace", id, event)
	}
	begun := time.Now()
	s.EndStreams()
	if event := next(); len(event) < 2 || event[0] != "event: end" || time.Since(begun) > 5*time.Second {
		t.Errorf("at the end came %q after %s", event, time.Since(begun))
	}
}

// There are so many streams and no more.
func TestTraceStreamsAreBounded(t *testing.T) {
	c := contract(t, value(server.New(server.Options{}))(t))
	for range 64 {
		follow(t, c, "", "")
	}
	if a := c.do("GET /monitoring/traces/stream", nil); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Errorf("one more: %s, Retry-After %q", a.Status, a.Header.Get("Retry-After"))
	}
}
