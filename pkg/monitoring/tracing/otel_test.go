package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

var errBoom = errors.New("boom")

func TestOpenTelemetrySpan(t *testing.T) {
	s := newStore(t, tracing.Options{Service: "shop"})
	tracer := s.TracerProvider().Tracer("lib", trace.WithInstrumentationVersion("1"))
	at := time.Unix(1_700_000_000, 5).UTC()
	other := trace.NewSpanContext(trace.SpanContextConfig{TraceID: tracing.TraceID{1}, SpanID: tracing.SpanID{2}})
	_, sp := tracer.Start(context.Background(), "first name", trace.WithTimestamp(at), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("a", "1"), attribute.IntSlice("n", []int{1, 2})),
		trace.WithLinks(trace.Link{SpanContext: other, Attributes: []attribute.KeyValue{attribute.Bool("l", true)}}))
	if !sp.IsRecording() || !sp.SpanContext().IsValid() || !sp.SpanContext().IsSampled() || sp.SpanContext().IsRemote() || sp.TracerProvider() != s.TracerProvider() {
		t.Errorf("running span: %+v", sp.SpanContext())
	}
	sp.SetName("name")
	sp.SetAttributes(attribute.String("a", "2"), attribute.Float64("f", 1.5))
	sp.AddEvent("event", trace.WithTimestamp(at.Add(time.Millisecond)), trace.WithAttributes(attribute.Int("i", 1)))
	sp.RecordError(fmt.Errorf("query: %w", errBoom), trace.WithStackTrace(true))
	sp.RecordError(nil)
	sp.SetStatus(codes.Error, "bad")
	sp.SetStatus(codes.Unset, "")
	sp.End(trace.WithTimestamp(at.Add(2 * time.Millisecond)))
	sp.End()
	sp.SetAttributes(attribute.Int("late", 1))
	if sp.IsRecording() || !sp.SpanContext().IsValid() {
		t.Error("an ended span records, or has lost its ids")
	}

	tr := get(t, s)
	if len(tr.Spans) != 1 || tr.Status != api.StatusError {
		t.Fatalf("trace %+v", tr)
	}
	got := tr.Spans[0]
	if got.OperationName != "name" || got.Kind != "client" || got.Scope != "lib" || got.StatusMessage != "bad" || got.StartUnixNano != api.Nano(at.UnixNano()) ||
		got.Duration.Duration() != 2*time.Millisecond || got.Tags["a"] != "2" || got.Tags["f"] != 1.5 || got.Tags["late"] != nil || len(got.Tags["n"].([]any)) != 2 {
		t.Errorf("span %+v", got)
	}
	if len(got.Links) != 1 || got.Links[0].TraceID != other.TraceID().String() || got.Links[0].Tags["l"] != true {
		t.Errorf("links %+v", got.Links)
	}
	if len(got.Logs) != 2 || got.Logs[0].Message != "event" || got.Logs[0].Fields["i"] != int64(1) || got.Logs[1].Message != "exception" ||
		got.Logs[1].Fields["exception.type"] != "*fmt.wrapError" || got.Logs[1].Fields["exception.message"] != "query: boom" || got.Logs[1].Fields["exception.stacktrace"] == nil {
		t.Errorf("logs %+v", got.Logs)
	}
}

func TestStatusOrder(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  []codes.Code
		want api.Status
	}{
		{"nothing", nil, api.StatusOK},
		{"error", []codes.Code{codes.Error}, api.StatusError},
		{"ok over error", []codes.Code{codes.Error, codes.Ok}, api.StatusOK},
		{"ok stays", []codes.Code{codes.Ok, codes.Error}, api.StatusOK},
		{"unset changes nothing", []codes.Code{codes.Error, codes.Unset}, api.StatusError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t, tracing.Options{})
			_, sp := s.TracerProvider().Tracer("").Start(context.Background(), "x")
			for _, c := range tt.set {
				sp.SetStatus(c, "m")
			}
			sp.End()
			if got := get(t, s).Status; got != tt.want {
				t.Errorf("status %s, want %s", got, tt.want)
			}
		})
	}
}

// TestBothWays nests native and OpenTelemetry spans in one another, with
// contexts of other packages between them.
func TestBothWays(t *testing.T) {
	type key struct{}
	s := newStore(t, tracing.Options{})
	tracer := s.TracerProvider().Tracer("lib")
	ctx, root := s.Start(context.Background(), "native", tracing.StartOptions{})
	if got := trace.SpanContextFromContext(ctx); !got.Equal(root.SpanContext()) {
		t.Errorf("OpenTelemetry sees %v in the context, want %v", got.SpanID(), root.SpanContext().SpanID())
	}
	ctx, cancel := context.WithCancel(context.WithValue(ctx, key{}, 1))
	defer cancel()
	ctx, mid := tracer.Start(ctx, "otel")
	ctx, leaf := s.Start(ctx, "leaf", tracing.StartOptions{})
	if ctx.Value(key{}) != 1 {
		t.Error("the context lost a value")
	}
	trace.SpanFromContext(ctx).SetAttributes(attribute.Int("i", 1))
	_, fresh := tracer.Start(ctx, "fresh", trace.WithNewRoot())
	_, unrelated := tracer.Start(trace.ContextWithSpan(ctx, trace.SpanFromContext(context.Background())), "no parent")
	for _, sp := range []trace.Span{fresh, unrelated} {
		if sp.SpanContext().TraceID() == root.SpanContext().TraceID() {
			t.Error("a new root is in the old trace")
		}
		sp.End()
	}
	leaf.End()
	mid.End()
	root.End()
	tr, err := s.Get(root.SpanContext().TraceID().String())
	if err != nil || len(tr.Spans) != 3 {
		t.Fatalf("%d spans, %v", len(tr.Spans), err)
	}
	if *tr.Spans[1].ParentSpanID != tr.Spans[0].SpanID || *tr.Spans[2].ParentSpanID != tr.Spans[1].SpanID || tr.Spans[2].Tags["i"] != int64(1) {
		t.Errorf("spans %+v", tr.Spans)
	}
}

func TestRemoteParent(t *testing.T) {
	s := newStore(t, tracing.Options{})
	remote, err := tracing.ParseTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if err != nil {
		t.Fatal(err)
	}
	state, err := trace.ParseTraceState("vendor=x")
	if err != nil {
		t.Fatal(err)
	}
	remote = remote.WithTraceState(state)
	_, native := s.Start(context.Background(), "native", tracing.StartOptions{Remote: remote})
	_, otel := s.TracerProvider().Tracer("").Start(trace.ContextWithRemoteSpanContext(context.Background(), remote), "otel")
	for _, sc := range []trace.SpanContext{native.SpanContext(), otel.SpanContext()} {
		if sc.TraceID() != remote.TraceID() || sc.SpanID() == remote.SpanID() || sc.TraceState().String() != "vendor=x" || sc.IsRemote() || !sc.IsSampled() {
			t.Errorf("span context %+v", sc)
		}
	}
	native.End()
	otel.End()
	tr := get(t, s)
	if len(tr.Spans) != 2 || *tr.Spans[0].ParentSpanID != "00f067aa0ba902b7" || *tr.Complete {
		t.Errorf("trace %+v", tr)
	}
}

func TestSamplers(t *testing.T) {
	yes := trace.NewSpanContext(trace.SpanContextConfig{TraceID: tracing.TraceID{1}, SpanID: tracing.SpanID{2}, TraceFlags: trace.FlagsSampled, Remote: true})
	no := yes.WithTraceFlags(0)
	for _, tt := range []struct {
		name    string
		sampler tracing.Sampler
		parent  trace.SpanContext
		want    bool
	}{
		{"default", nil, trace.SpanContext{}, true},
		{"default, sampled parent", nil, yes, true},
		{"default, unsampled parent", nil, no, false},
		{"always", tracing.Always(), no, true},
		{"never", tracing.Never(), yes, false},
		{"no share", tracing.Ratio(0), trace.SpanContext{}, false},
		{"full share", tracing.Ratio(1), trace.SpanContext{}, true},
		{"parent based, no parent", tracing.ParentBased(tracing.Never()), trace.SpanContext{}, false},
		{"parent based, sampled parent", tracing.ParentBased(tracing.Never()), yes, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t, tracing.Options{Sampler: tt.sampler})
			ctx, sp := s.Start(context.Background(), "x", tracing.StartOptions{Remote: tt.parent})
			_, child := s.TracerProvider().Tracer("").Start(ctx, "child")
			if sp.Recording() != tt.want || sp.SpanContext().IsSampled() != tt.want || !sp.SpanContext().IsValid() {
				t.Errorf("recording %v, context %+v", sp.Recording(), sp.SpanContext())
			}
			sp.SetInt("a", 1)
			sp.Fail(errBoom)
			child.End()
			sp.End()
			if n := s.Stats().Spans; n == 0 == tt.want {
				t.Errorf("%d spans kept", n)
			}
		})
	}
	n := 0
	for range 10_000 {
		if tracing.Ratio(0.25)(tracing.Sampling{TraceID: tracing.NewTraceID()}) {
			n++
		}
	}
	if n < 2200 || n > 2800 {
		t.Errorf("%d of 10,000 sampled, want about 2,500", n)
	}
}

func TestStores(t *testing.T) { // a span of one store is a foreign parent for the other
	a, b := newStore(t, tracing.Options{}), newStore(t, tracing.Options{})
	ctx, outer := a.Start(context.Background(), "a", tracing.StartOptions{})
	_, inner := b.Start(ctx, "b", tracing.StartOptions{})
	inner.End()
	outer.End()
	if inner.SpanContext().TraceID() != outer.SpanContext().TraceID() || a.Stats().Spans != 1 || b.Stats().Spans != 1 {
		t.Errorf("stores keep %d and %d spans", a.Stats().Spans, b.Stats().Spans)
	}
}
