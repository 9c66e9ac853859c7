package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

// pythonTraces is a Python server's list: the client's own listing, a fast
// trace and an older one with a failed span.
func pythonTraces() string {
	return fmt.Sprintf(`{"traces":[
{"trace_id":"aaa-1","request_id":"r","user_id":null,"start_time":%[1]d,"end_time":null,"duration":null,"metadata":{"http.url":"http://h:1/monitoring/traces?limit=100"},"spans":[]},
{"trace_id":"bbb-2","request_id":"r2","user_id":null,"start_time":%[1]d.5,"end_time":null,"duration":null,"metadata":{"http.method":"GET"},"spans":[
 {"span_id":"s1","parent_span_id":null,"operation_name":"GET /fast","start_time":%[1]d.5,"end_time":null,"duration":null,"tags":{"service.name":"pulse-api","n":7},"logs":[],"status":"ok"}]},
{"trace_id":"ccc-3","request_id":"r3","user_id":null,"start_time":%[2]d,"end_time":null,"duration":null,"metadata":{},"spans":[
 {"span_id":"s2","parent_span_id":null,"operation_name":"GET /slow","start_time":%[2]d,"end_time":null,"duration":null,"tags":{"service.name":"pulse-api"},"logs":[],"status":"ok"},
 {"span_id":"s3","parent_span_id":"s2","operation_name":"call","start_time":%[2]d,"end_time":%[2]d.25,"duration":0.25,"tags":{},"logs":[{"timestamp":1,"level":"error","message":"Refused"}],"status":"error"}]}
],"total_active":3}`, time.Now().Unix()-2, time.Now().Unix()-60)
}

func TestPythonTraces(t *testing.T) {
	c, asked := python(t, map[string]string{"GET /monitoring/traces": pythonTraces()})
	for _, tt := range []struct {
		name string
		q    client.TraceQuery
		want string
	}{
		{"all", client.TraceQuery{}, "bbb-2 ccc-3"},
		{"limit", client.TraceQuery{Limit: 1}, "bbb-2"},
		{"slowest", client.TraceQuery{Sort: "slowest"}, "ccc-3 bbb-2"},
		{"errors", client.TraceQuery{Sort: "errors"}, "ccc-3 bbb-2"},
		{"spans", client.TraceQuery{Sort: "spans"}, "ccc-3 bbb-2"},
		{"finished", client.TraceQuery{State: "finished"}, ""},
		{"operation", client.TraceQuery{Operation: "call"}, "ccc-3"},
		{"service and operation of one span", client.TraceQuery{Service: "pulse-api", Operation: "call"}, "ccc-3"},
		{"another service", client.TraceQuery{Service: "nope", Operation: "call"}, ""},
		{"since", client.TraceQuery{Since: "30s"}, "bbb-2"},
		{"until", client.TraceQuery{Until: "30s"}, "ccc-3"},
		{"duration", client.TraceQuery{MinDuration: 30 * time.Second, MaxDuration: time.Hour}, "ccc-3"},
		{"tags", client.TraceQuery{Tags: []string{"n>6", "n=7", "n", "http.method~^G", "service.name!=x"}}, "bbb-2"},
		{"text", client.TraceQuery{Text: "refused"}, "ccc-3"},
		{"profile", client.TraceQuery{HasProfile: true}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := c.Traces(t.Context(), tt.q)
			var got []string
			for _, tr := range l.Traces {
				got = append(got, tr.TraceID)
			}
			if err != nil || strings.Join(got, " ") != tt.want {
				t.Errorf("got %v, %v; want %s", got, err, tt.want)
			}
		})
	}
	l, err := c.Traces(t.Context(), client.TraceQuery{Operation: "call"})
	if err != nil || l.Traces[0].Root != "GET /slow" || l.Traces[0].SpanCount.Value() != 2 || l.Traces[0].ErrorCount.Value() != 1 ||
		l.Traces[0].Status != api.StatusActive || l.TotalActive != 2 {
		t.Errorf("list %+v, %v", l, err)
	}
	for what := range asked {
		if strings.Contains(what, "/monitoring/traces") && what != "GET /monitoring/traces?limit=100" {
			t.Errorf("it was sent %s", what)
		}
	}
	for _, q := range []client.TraceQuery{{Since: "yesterday"}, {Tags: []string{"="}}, {Tags: []string{"a~["}}, {Tags: []string{"a>b"}}, {Tags: []string{"a!b"}}} {
		var e *api.Error
		if _, err := c.Traces(t.Context(), q); !errors.As(err, &e) || e.Status != 422 {
			t.Errorf("%+v: %v, want 422", q, err)
		}
	}
}

func TestPythonTraceCleanup(t *testing.T) {
	c, asked := python(t, map[string]string{"POST /monitoring/traces/cleanup": `{"message":"Cleaned up traces older than 300 seconds"}`})
	var e *api.Error
	if _, err := c.CleanupTraces(t.Context(), time.Minute, client.Action{DryRun: true}); !errors.As(err, &e) || e.Code != client.CodeUnsupported {
		t.Errorf("dry run: %v", err)
	}
	if d, err := c.CleanupTraces(t.Context(), 5*time.Minute, client.Action{}); err != nil || d.Removed != nil || asked["POST /monitoring/traces/cleanup?max_age_seconds=300"] != 1 {
		t.Errorf("cleanup: %+v, %v, asked %v", d, err, asked)
	}
}

// TestRecordedPythonTraces reads every recorded answer about traces.
func TestRecordedPythonTraces(t *testing.T) {
	dir, ok := testkit.Fixtures(t)
	if !ok {
		t.Skip("the folder of recorded answers is not here")
	}
	files, err := filepath.Glob(filepath.Join(dir, "python-api", "*trace*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d recorded answers, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var rec struct {
				Status  int
				Body    string
				Request struct{ Method, Path string }
			}
			if err := json.Unmarshal(b, &rec); err != nil {
				t.Fatal(err)
			}
			if rec.Status != 200 || rec.Request.Method != "GET" {
				return
			}
			c, _ := python(t, map[string]string{"GET /monitoring/traces": rec.Body})
			if strings.Contains(rec.Request.Path, "trace_id") {
				tr, err := c.Trace(t.Context(), "x")
				if err != nil || tr.TraceID == "" || len(tr.Spans) == 0 || tr.Root == "" {
					t.Errorf("trace %+v, %v", tr, err)
				}
				return
			}
			l, err := c.Traces(t.Context(), client.TraceQuery{})
			if err != nil {
				t.Fatal(err)
			}
			for _, tr := range l.Traces {
				if tr.TraceID == "" || strings.HasSuffix(fmt.Sprint(tr.Metadata["http.url"]), "/monitoring/traces") {
					t.Errorf("listed %+v", tr)
				}
			}
		})
	}
}
