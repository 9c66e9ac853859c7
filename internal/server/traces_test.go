package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// tracesServer serves a store with a running trace and two finished ones, the
// second of which failed an hour ago.
func tracesServer(t *testing.T, log io.Writer) (*httptest.Server, *tracing.Store) {
	t.Helper()
	store, err := tracing.New(tracing.Options{Service: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	hourAgo := time.Now().Add(-time.Hour)
	_, failed := store.Start(context.Background(), "failed", tracing.StartOptions{Time: hourAgo, Attrs: []attribute.KeyValue{attribute.Int("n", 7)}})
	failed.Fail(errors.New("boom"))
	failed.EndAt(hourAgo.Add(time.Second))
	ctx, fine := store.Start(context.Background(), "fine", tracing.StartOptions{RequestID: "req-1"})
	_, child := store.Start(ctx, "child", tracing.StartOptions{})
	child.End()
	fine.End()
	store.Start(context.Background(), "running", tracing.StartOptions{})
	s, err := server.New(server.Options{Traces: store, Log: slog.New(slog.NewJSONHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(s)
	t.Cleanup(ts.Close)
	return ts, store
}

func TestTraceList(t *testing.T) {
	ts, _ := tracesServer(t, io.Discard)
	for _, tt := range []struct{ query, want string }{
		{"", "running"},
		{"?state=finished", "fine failed"},
		{"?state=all", "running fine failed"},
		{"?state=all&limit=1", "running"},
		{"?state=finished&sort=slowest&view=summary&limit=1000", "failed fine"},
		{"?state=all&status=error", "failed"},
		{"?state=all&operation=child&service=shop", "fine"},
		{"?state=all&tag=n%3E6", "failed"},
		{"?state=all&tag=n&tag=n%3D8", ""},
		{"?state=all&since=30m&q=CHILD", "fine"},
		{"?state=finished&min_duration=500ms&max_duration=2s", "failed"},
		{"?state=finished&until=30m", "failed"},
		{"?state=all&has_profile=true", ""},
		{"?trace_id=&state=finished&unknown=1&sort=errors", "failed fine"},
	} {
		t.Run(tt.query, func(t *testing.T) {
			var list api.TraceList
			if status, _, _ := call(t, "GET", ts.URL+"/monitoring/traces"+tt.query, &list); status != 200 {
				t.Fatalf("status %d", status)
			}
			var got []string
			for _, tr := range list.Traces {
				got = append(got, tr.Root)
				if (len(tr.Spans) == 0) != strings.Contains(tt.query, "summary") {
					t.Errorf("%s has %d spans", tr.Root, len(tr.Spans))
				}
			}
			if strings.Join(got, " ") != tt.want || list.TotalActive != 1 || list.Retention == nil {
				t.Errorf("got %v of %d, %d active; want %s", got, list.Total.Value(), list.TotalActive, tt.want)
			}
		})
	}
}

func TestTracePages(t *testing.T) {
	ts, _ := tracesServer(t, io.Discard)
	var got []string
	next := ""
	for {
		var list api.TraceList
		call(t, "GET", ts.URL+"/monitoring/traces?state=all&limit=1&cursor="+next, &list)
		got = append(got, list.Traces[0].Root)
		if list.Next == nil {
			break
		}
		next = *list.Next
	}
	if strings.Join(got, " ") != "running fine failed" {
		t.Errorf("pages hold %v", got)
	}
}

func TestOneTrace(t *testing.T) {
	ts, store := tracesServer(t, io.Discard)
	page, err := store.Find(tracing.Query{Operation: "child"})
	if err != nil {
		t.Fatal(err)
	}
	id := page.Traces[0].TraceID
	var byPath api.Trace
	var byQuery api.TraceGet
	if call(t, "GET", ts.URL+"/monitoring/traces/"+id[:12]+"?format=json", &byPath); byPath.TraceID != id || byPath.RequestID != "req-1" || len(byPath.Spans) != 2 {
		t.Errorf("by path: %+v", byPath)
	}
	if call(t, "GET", ts.URL+"/monitoring/traces?trace_id="+id, &byQuery); byQuery.Trace.TraceID != id {
		t.Errorf("by query: %+v", byQuery)
	}
	var p api.Error
	for _, path := range []string{"/ffffffffffffffffffffffffffffffff", "/abc", "?trace_id=xyz"} {
		if status, _, _ := call(t, "GET", ts.URL+"/monitoring/traces"+path, &p); status != 404 || p.Detail == "" {
			t.Errorf("%s: %d %+v", path, status, p)
		}
	}
}

func TestTraceParameters(t *testing.T) {
	ts, _ := tracesServer(t, io.Discard)
	for _, tt := range []struct{ name, query string }{
		{"limit", "limit=0"}, {"limit", "limit=101"}, {"limit", "limit=1001&view=summary"}, {"limit", "limit=abc"}, {"state", "state=x"}, {"status", "status=bad"},
		{"min_duration", "min_duration=-1s"}, {"max_duration", "min_duration=2s&max_duration=1s"}, {"since", "since=yesterday"}, {"tag", "tag=%3D"}, {"tag", "tag=a~%5B"},
		{"cursor", "cursor=nonsense"}, {"sort", "sort=x"}, {"view", "view=x"}, {"has_profile", "has_profile=x"}, {"q", "q=" + strings.Repeat("x", 5000)},
		{"tag", strings.Repeat("tag=a&", 17)},
	} {
		t.Run(tt.query[:min(len(tt.query), 30)], func(t *testing.T) {
			var p api.Error
			if status, _, _ := call(t, "GET", ts.URL+"/monitoring/traces?"+tt.query, &p); status != 422 || len(p.Errors) != 1 || p.Errors[0].Parameter != tt.name {
				t.Errorf("%d %+v, want 422 about %s", status, p.Errors, tt.name)
			}
		})
	}
}

func TestTraceCleanupIsNoTrace(t *testing.T) {
	ts, _ := tracesServer(t, io.Discard)
	var p api.Error
	if status, _, _ := call(t, "GET", ts.URL+"/monitoring/traces/cleanup", &p); status != 405 {
		t.Errorf("GET: %d, want 405", status)
	}
}

func TestTraceCleanup(t *testing.T) {
	var log bytes.Buffer
	ts, store := tracesServer(t, &log)
	var c api.Cleanup
	if call(t, "POST", ts.URL+"/monitoring/traces/cleanup?max_age_seconds=60&dry_run=true", &c); c.Removed.Value() != 1 || !c.DryRun || store.Stats().Traces != 3 {
		t.Errorf("dry run: %+v", c)
	}
	c = api.Cleanup{}
	if call(t, "POST", ts.URL+"/monitoring/traces/cleanup?max_age_seconds=60", &c); c.Removed.Value() != 1 || c.FreedBytes.Value() <= 0 || c.DryRun || store.Stats().Traces != 2 {
		t.Errorf("cleanup: %+v", c)
	}
	if n := strings.Count(log.String(), `"action":"traces.cleanup"`); n != 1 {
		t.Errorf("%d audit records, want 1: %s", n, log.String())
	}
	var p api.Error
	if status, _, _ := call(t, "POST", ts.URL+"/monitoring/traces/cleanup?max_age_seconds=59", &p); status != 422 {
		t.Errorf("59 seconds: %d", status)
	}
}
