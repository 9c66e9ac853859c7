package main

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/internal/child"
	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// runSpan is the span of a command that exec runs: a child of the TRACEPARENT
// in the environment, else a trace of its own.
type runSpan struct {
	context  trace.SpanContext
	parent   trace.SpanID
	state    string // TRACESTATE of the parent
	breaker  string
	argv     []string
	withArgs bool
	rejected string // the state of the breaker that made it a fallback's run; "" if it is none
}

func newRunSpan(g *guarded, argv []string) *runSpan {
	s := &runSpan{breaker: g.breaker, argv: argv, withArgs: g.TraceArgs}
	cfg := trace.SpanContextConfig{TraceID: trace.TraceID(tracing.NewTraceID()), SpanID: trace.SpanID(tracing.NewSpanID()), TraceFlags: trace.FlagsSampled}
	if parent, err := tracing.ParseTraceparent(g.getenv("TRACEPARENT")); err == nil {
		cfg.TraceID, cfg.TraceFlags = parent.TraceID(), parent.TraceFlags()
		s.parent, s.state = parent.SpanID(), g.getenv("TRACESTATE")
	}
	s.context = trace.NewSpanContext(cfg)
	return s
}

func (s *runSpan) traceparent() string { return tracing.Traceparent(s.context) }

// environ is the environment of the command: the span is its parent.
func (s *runSpan) environ(all []string) []string {
	out := make([]string, 0, len(all)+1)
	for _, v := range all {
		if strings.HasPrefix(v, "TRACEPARENT=") || s.state == "" && strings.HasPrefix(v, "TRACESTATE=") {
			continue
		}
		out = append(out, v)
	}
	return append(out, "TRACEPARENT="+s.traceparent())
}

// encode returns the span as an ExportTraceServiceRequest, nil where the parent
// is not sampled. why is the failure, "" for none.
func (s *runSpan) encode(r child.Result, why string) []byte {
	if !s.context.IsSampled() {
		return nil
	}
	name := filepath.Base(s.argv[0])
	span := otlp.Span{
		TraceID: s.context.TraceID(), SpanID: s.context.SpanID(), ParentID: s.parent, TraceState: s.state, Flags: uint32(s.context.TraceFlags()),
		Name: "exec " + name, Kind: int32(trace.SpanKindInternal),
		Start: uint64(r.Began.UnixNano()), End: uint64(max(r.Ended.UnixNano(), r.Began.UnixNano())),
		Attrs: []otlp.KeyValue{text("breaker.name", s.breaker), text("process.executable.name", name), text("process.command", s.argv[0]), number("process.exit.code", r.Code)},
	}
	if r.Signal != 0 {
		span.Attrs = append(span.Attrs, text("process.exit.signal", r.Signal.String()))
	}
	if s.withArgs {
		items := make([]otlp.Value, len(s.argv))
		for i, arg := range s.argv {
			items[i] = otlp.String(otlp.Text(arg))
		}
		span.Attrs = append(span.Attrs, otlp.KeyValue{Key: "process.command_args", Value: otlp.Array(items...)})
	}
	if s.rejected != "" {
		span.Attrs = append(span.Attrs, text("breaker.state", s.rejected))
		span.Events = []otlp.Event{{Time: span.Start, Name: "circuit breaker rejected the call"}}
	}
	if r.Code != 0 {
		span.Status, span.StatusMessage = 2, cmp.Or(why, endWords(r))
	}
	host, _ := os.Hostname() // empty where the host has none
	resource := otlp.AppendResource(nil, &otlp.Resource{Attrs: []otlp.KeyValue{
		text("service.name", "pulsectl"), text("service.version", version()), text("host.name", host),
	}})
	return otlp.AppendResourceSpans(nil, resource, &otlp.Scope{Name: "pulsectl breakers exec"}, otlp.AppendSpan(nil, &span))
}

func text(key, value string) otlp.KeyValue {
	return otlp.KeyValue{Key: key, Value: otlp.String(otlp.Text(value))}
}

func number(key string, n int) otlp.KeyValue {
	return otlp.KeyValue{Key: key, Value: otlp.Int(int64(n))}
}
