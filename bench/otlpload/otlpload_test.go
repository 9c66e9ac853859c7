package main

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/pulsectl/pulsectl/internal/receiver"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
)

func decode(t *testing.T, b []byte) []*tracepb.Span {
	t.Helper()
	var req coltracepb.ExportTraceServiceRequest
	if err := proto.Unmarshal(b, &req); err != nil {
		t.Fatal(err)
	}
	var spans []*tracepb.Span
	for _, r := range req.ResourceSpans {
		for _, s := range r.ScopeSpans {
			spans = append(spans, s.Spans...)
		}
	}
	return spans
}

func TestBatch(t *testing.T) {
	const traces, seed = 20, 7
	tmpl, err := newTemplate(rand.New(rand.NewPCG(1, 1)), traces)
	if err != nil {
		t.Fatal(err)
	}
	base := uint64(time.Now().UnixNano())
	seen, requests := map[string]bool{}, map[string]bool{}
	for seq := range uint64(3) {
		spans := decode(t, tmpl.appendBatch(nil, seed, seq, base))
		if len(spans) != tmpl.spans {
			t.Fatalf("%d spans, want %d", len(spans), tmpl.spans)
		}
		byTrace := map[string]map[string]*tracepb.Span{}
		for _, s := range spans {
			id := string(s.TraceId)
			if byTrace[id] == nil {
				byTrace[id] = map[string]*tracepb.Span{}
			}
			byTrace[id][string(s.SpanId)] = s
			if seen[string(s.SpanId)] {
				t.Fatalf("span id %x is used twice", s.SpanId)
			}
			seen[string(s.SpanId)] = true
			if s.StartTimeUnixNano < base || s.EndTimeUnixNano <= s.StartTimeUnixNano {
				t.Errorf("span from %d to %d, base %d", s.StartTimeUnixNano, s.EndTimeUnixNano, base)
			}
			for _, e := range s.Events {
				if e.TimeUnixNano < s.StartTimeUnixNano || e.TimeUnixNano > s.EndTimeUnixNano {
					t.Error("an event is outside its span")
				}
			}
			for _, a := range s.Attributes {
				if v := a.Value.GetStringValue(); a.Key == requestIDKey {
					if len(v) != 32 || requests[v] {
						t.Fatalf("request id %q is malformed or used twice", v)
					}
					requests[v] = true
				}
			}
		}
		if len(byTrace) != traces {
			t.Fatalf("%d traces, want %d", len(byTrace), traces)
		}
		for i := range traces {
			id := traceID(seed, seq, uint64(i))
			trace := byTrace[string(id[:])]
			roots := 0
			for _, s := range trace {
				if len(s.ParentSpanId) == 0 {
					roots++
				} else if trace[string(s.ParentSpanId)] == nil {
					t.Errorf("span %x has no parent in its trace", s.SpanId)
				}
			}
			if roots != 1 || len(trace) < minSpans || len(trace) > maxSpans {
				t.Errorf("trace %d has %d spans and %d roots", i, len(trace), roots)
			}
		}
	}
}

func TestLoopbackOnly(t *testing.T) {
	for _, addr := range []string{"192.0.2.1:4317", "example.com:4317", "0.0.0.0:4317", "[2001:db8::1]:4317"} {
		if _, err := dialLoopback(context.Background(), "tcp", addr); err == nil || !strings.Contains(err.Error(), "loopback") {
			t.Errorf("%s: %v, want a refusal", addr, err)
		}
	}
}

// TestRun loads pulsectl's own receiver, store and API; one trace is answered
// without an attribute, one without a span, one not at all.
func TestRun(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{Service: "otlpload"})
	if err != nil {
		t.Fatal(err)
	}
	rc, err := receiver.New(receiver.Options{Keep: m.Traces.AddOTLP})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	m.Mount(mux)
	for _, rt := range rc.Routes() {
		m.Receive(mux, rt.Pattern, rt.Handler)
	}
	var spoil func(body string) string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost || spoil == nil {
			mux.ServeHTTP(w, r)
			return
		}
		r.Header.Del("Accept-Encoding") // what is spoilt must be plain
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, r)
		io.WriteString(w, spoil(rec.Body.String()))
	}))
	defer srv.Close()
	o, err := parseFlags([]string{"-http", srv.URL + "/v1/traces", "-spans", "200", "-traces", "5", "-templates", "2", "-workers", "2"})
	if err != nil {
		t.Fatal(err)
	}
	var templates []*template
	for i := range o.templates {
		tmpl, err := newTemplate(rand.New(rand.NewPCG(3, uint64(i))), o.traces)
		if err != nil {
			t.Fatal(err)
		}
		templates = append(templates, tmpl)
	}
	l := &load{options: o, to: newHTTPSender(o.httpURL, false, 2), templates: templates, began: time.Now()}
	l.run(t.Context())
	if l.failed != 0 || l.accepted < 200 || l.accepted > 300 {
		t.Fatalf("%d spans accepted, %d failed: %s", l.accepted, l.failed, l.firstError)
	}
	c := &traceCheck{client: srv.Client(), url: srv.URL + "/monitoring/traces?trace_id={id}", read: readPulsectl}
	for _, tt := range []struct {
		name  string
		spoil func(string) string
		want  readback
		says  string
	}{
		{"as sent", nil, readback{Complete: 50}, ""},
		{"an attribute is gone", func(s string) string { return strings.Replace(s, `"server.port":8080,`, "", 1) }, readback{Incomplete: 50}, "attributes"},
		{"a value differs", func(s string) string { return strings.Replace(s, `"server.port":8080`, `"server.port":8081`, 1) }, readback{Incomplete: 50}, "server.port"},
		{"a name differs", func(s string) string { return strings.Replace(s, `"operation_name":"POST`, `"operation_name":"PUT`, 1) }, readback{Incomplete: 50}, "name"},
		{"nothing", func(string) string { return "{}" }, readback{Missing: 50}, "no spans"},
	} {
		spoil = tt.spoil
		got, err := verify(t.Context(), c, 50, 0, l)
		if err != nil {
			t.Fatal(err)
		}
		if got.Complete != tt.want.Complete || got.Incomplete != tt.want.Incomplete || got.Missing != tt.want.Missing || !strings.Contains(got.FirstError, tt.says) {
			t.Errorf("%s: %+v, want %+v and %q", tt.name, got, tt.want, tt.says)
		}
	}
	spoil = nil
	fresh, err := measureFreshness(t.Context(), c, l, 3)
	if err != nil || fresh.Samples != 3 || fresh.Never != 0 {
		t.Errorf("%+v, %v: want three batches read back", fresh, err)
	}
}

func TestExpandTimes(t *testing.T) {
	got := expandTimes("/x?a={from_s}&b={to_us}&c={from_rfc3339}&id={id}", time.Unix(5, 0), time.UnixMicro(7))
	if want := "/x?a=5&b=7&c=1970-01-01T00:00:05Z&id={id}"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestFlags(t *testing.T) {
	for _, args := range []string{
		"-spans 1",
		"-grpc 127.0.0.1:4317",
		"-grpc a:1 -http http://a -spans 1",
		"-grpc a:1 -spans 1 -workers 0",
		"-grpc a:1 -spans 1 -verify 3",
		"-grpc a:1 -spans 1 -verify 3 -verify-url x -verify-mode y",
		"-grpc a:1 -spans 1 stray",
	} {
		if _, err := parseFlags(strings.Fields(args)); err == nil {
			t.Errorf("%s: no error", args)
		}
	}
}

func BenchmarkAppendBatch(b *testing.B) {
	tmpl, err := newTemplate(rand.New(rand.NewPCG(1, 1)), 50)
	if err != nil {
		b.Fatal(err)
	}
	var buf []byte
	seq := uint64(0)
	for b.Loop() {
		seq++
		buf = tmpl.appendBatch(buf[:0], 1, seq, 1)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(tmpl.spans), "ns/span")
}
