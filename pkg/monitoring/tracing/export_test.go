package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// A trace of this process and of others, with all that one can have, is the
// same after it was exported and taken in by another store, or by its own.
func TestExportedIsTheSame(t *testing.T) {
	s := newStore(t, tracing.Options{Service: "web"})
	ctx, root := s.Start(t.Context(), "GET /", tracing.StartOptions{
		Kind: trace.SpanKindServer, RequestID: "req-1", UserID: "ada", Scope: "http",
		Metadata: []attribute.KeyValue{attribute.String("http.method", "GET"), attribute.Int("n", 3)},
	})
	id := root.SpanContext().TraceID()
	late, cancel := context.WithTimeout(ctx, 0)
	_, cut := s.Start(late, "wait", tracing.StartOptions{})
	cut.End()
	cancel()
	gone, leave := context.WithCancel(ctx)
	_, left := s.Start(gone, "poll", tracing.StartOptions{Links: []trace.Link{{SpanContext: root.SpanContext(), Attributes: []attribute.KeyValue{attribute.Bool("b", true)}}}})
	leave()
	left.AddLog("warn", "leaving", attribute.Int64Slice("list", []int64{1, 2}))
	left.End()
	root.SetString("twice", "first")
	root.SetString("twice", "second")
	root.Fail(errors.New("broken"))
	root.End()
	s.Link(id, "profile-1")
	start := uint64(time.Now().UnixNano())
	bring(t, s, foreign("shop", otlp.Span{
		TraceID: id, SpanID: span8(9), ParentID: root.SpanContext().SpanID(), Name: "buy", Kind: 2, Start: start, End: start + 1001,
		Attrs:  []otlp.KeyValue{{Key: "raw", Value: otlp.Bytes("\x00\xff")}, {Key: "pulsectl.other", Value: otlp.String("stays")}},
		Events: []otlp.Event{{Time: start + 1, Name: "exception", Dropped: 2}}, DroppedLinks: 1,
	}))
	want := fetch(t, s, id.String())
	body, truncated, err := s.Export(id.String()[:8], 0)
	if err != nil || truncated {
		t.Fatalf("export: truncated %v, %v", truncated, err)
	}
	other := newStore(t, tracing.Options{})
	bring(t, other, body)
	if diff := cmp.Diff(want, fetch(t, other, id.String())); diff != "" {
		t.Errorf("(-exported +taken in)\n%s", diff)
	}
	again, _, err := other.Export(id.String(), 0)
	if err != nil {
		t.Fatal(err)
	}
	third := newStore(t, tracing.Options{})
	bring(t, third, again)
	if diff := cmp.Diff(want, fetch(t, third, id.String())); diff != "" {
		t.Errorf("(-exported +taken in twice)\n%s", diff)
	}
	bring(t, s, body) // its own again: every span is there already
	if diff := cmp.Diff(want, fetch(t, s, id.String())); diff != "" {
		t.Errorf("(-before +taken in again)\n%s", diff)
	}
}

func fetch(t *testing.T, s *tracing.Store, id string) api.Trace {
	t.Helper()
	tr, err := s.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestExportBounds(t *testing.T) {
	s := newStore(t, tracing.Options{})
	var spans []otlp.Span
	for i := range byte(100) {
		spans = append(spans, otlp.Span{TraceID: trace16(1), SpanID: span8(i + 1), Name: "x", Start: uint64(i) + 1, End: uint64(i) + 2, Attrs: []otlp.KeyValue{{Key: "k", Value: otlp.String("a value of some length")}}})
	}
	bring(t, s, foreign("web", spans...))
	whole, truncated, err := s.Export(fmt.Sprintf("%032x", 1), 1<<20)
	if err != nil || truncated {
		t.Fatalf("truncated %v, %v", truncated, err)
	}
	part, truncated, err := s.Export(fmt.Sprintf("%032x", 1), len(whole)/2)
	if err != nil || !truncated || len(part) > len(whole)/2+200 || len(part) < len(whole)/3 {
		t.Errorf("%d of %d bytes, truncated %v, %v; want about half", len(part), len(whole), truncated, err)
	}
	if _, _, err := s.Export("ffff", 0); !errors.Is(err, tracing.ErrNotFound) {
		t.Errorf("export of no trace: %v", err)
	}
	_, running := s.Start(t.Context(), "job", tracing.StartOptions{})
	defer running.End()
	body, _, err := s.Export(running.SpanContext().TraceID().String(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var d otlp.Decoder
	n := 0
	err = d.Decode(body, func(_ *otlp.Resource, _ *otlp.Scope, sp *otlp.Span) {
		if n++; sp.Name != "job" || sp.End != 0 || sp.Start == 0 {
			t.Errorf("running span %+v", sp)
		}
	})
	if err != nil || n != 1 {
		t.Errorf("%d spans, %v", n, err)
	}
}
