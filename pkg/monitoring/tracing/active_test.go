package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// A span touched after its end, by whatever call and from wherever, changes
// nothing in the trace that uses its memory now.
func TestLateCallsReachNoOtherTrace(t *testing.T) {
	s := newStore(t, tracing.Options{MaxBytes: 64 << 20})
	tracer := s.TracerProvider().Tracer("lib")
	const writers, rounds = 8, 300
	late := make(chan func(), writers*rounds)
	var disturbers, workers sync.WaitGroup
	for range 4 {
		disturbers.Go(func() {
			for f := range late {
				f()
			}
		})
	}
	for w := range writers {
		workers.Go(func() {
			for i := range rounds {
				mark := fmt.Sprintf("%d.%d", w, i)
				ctx, root := s.Start(context.Background(), mark, tracing.StartOptions{})
				octx, child := tracer.Start(ctx, mark, trace.WithAttributes(attribute.String("mark", mark)))
				_, leaf := s.Start(octx, mark, tracing.StartOptions{})
				leaf.SetString("mark", mark)
				root.SetString("mark", mark)
				leaf.End()
				late <- func() { leaf.SetString("mark", "late"); leaf.EndAt(time.Unix(1, 0)); leaf.SetAny("late", 1) }
				child.End()
				late <- func() { child.SetAttributes(attribute.String("mark", "late")); child.SetName("late"); child.End() }
				late <- func() { child.AddEvent("late"); child.RecordError(errBoom); child.SetStatus(codes.Error, "late") }
				root.End()
				late <- func() {
					root.SetString("mark", "late")
					root.SetName("late")
					root.AddLog("info", "late")
					root.Fail(errBoom)
					root.Describe("late", "late", s.IntKey("late").Of(1))
					s.Describe(octx, "late", "late")
					root.End()
				}
			}
		})
	}
	workers.Wait()
	close(late)
	disturbers.Wait()
	page, err := s.Find(tracing.Query{Limit: 2 * writers * rounds, Spans: true})
	if err != nil || page.Total != writers*rounds || page.Active != 0 {
		t.Fatalf("%d traces, %d active, %v; want %d and none", page.Total, page.Active, err, writers*rounds)
	}
	for _, tr := range page.Traces {
		if len(tr.Spans) != 3 || tr.Status != api.StatusOK || tr.RequestID != "" || tr.Metadata["late"] != nil {
			t.Fatalf("trace %+v", tr)
		}
		for _, sp := range tr.Spans {
			if sp.OperationName != tr.Root || sp.Tags["mark"] != tr.Root || len(sp.Tags) != 1 || len(sp.Logs) != 0 || sp.Duration.Duration() < 0 {
				t.Fatalf("a span of %s: %+v", tr.Root, sp)
			}
		}
	}
}

// A child started from the context of a span that has ended goes into that
// span's trace, whether or not its memory serves another by now.
func TestChildOfAnEndedSpan(t *testing.T) {
	s := newStore(t, tracing.Options{})
	ctx, first := s.Start(context.Background(), "first", tracing.StartOptions{})
	first.End()
	octx, other := s.Start(context.Background(), "other", tracing.StartOptions{}) // where first was
	_, late := s.Start(ctx, "late", tracing.StartOptions{})
	if late.SpanContext().TraceID() != first.SpanContext().TraceID() {
		t.Error("the late child is in another trace")
	}
	tr, err := s.Get(first.SpanContext().TraceID().String())
	if err != nil || tr.Status != api.StatusActive || len(tr.Spans) != 2 {
		t.Errorf("while the late child runs: %+v, %v", tr, err)
	}
	late.End()
	_, child := s.Start(octx, "child", tracing.StartOptions{})
	child.End()
	other.End()
	tr, err = s.Get(first.SpanContext().TraceID().String())
	if err != nil || len(tr.Spans) != 2 || *tr.Spans[1].ParentSpanID != tr.Spans[0].SpanID || tr.Status != api.StatusOK {
		t.Errorf("%+v, %v", tr, err)
	}
	if tr, err := s.Get(other.SpanContext().TraceID().String()); err != nil || len(tr.Spans) != 2 || tr.Spans[1].OperationName != "child" {
		t.Errorf("%+v, %v", tr, err)
	}
}

// What runs now is seen with its start and its attributes so far, beside what
// has ended of the trace and what came of it from elsewhere.
func TestActiveTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, tracing.Options{Service: "shop"})
		add(t, s, batch(t, 1, 2))
		elsewhere := get(t, s)
		id, err := tracing.ParseTraceID(elsewhere.TraceID)
		if err != nil {
			t.Fatal(err)
		}
		parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: tracing.SpanID{9}, TraceFlags: trace.FlagsSampled})
		begun := time.Now()
		ctx, root := s.Start(context.Background(), "job", tracing.StartOptions{Remote: parent, RequestID: "r", Metadata: []attribute.KeyValue{attribute.String("k", "v")}})
		_, done := s.Start(ctx, "done", tracing.StartOptions{})
		time.Sleep(time.Second)
		done.End()
		_, runs := s.Start(ctx, "runs", tracing.StartOptions{})
		runs.SetInt("so far", 1)
		runs.AddLog("warn", "a note")
		if !s.Link(id, "prof-1") {
			t.Error("no profile can be linked to an active trace")
		}
		time.Sleep(time.Second)
		for _, q := range []tracing.Query{{}, {State: tracing.Active}, {Text: "A NOTE"}, {Operation: "runs"}, {HasProfile: true}, {MinDuration: 2 * time.Second}} {
			if page, err := s.Find(q); err != nil || page.Total != 1 || page.Active != 1 {
				t.Errorf("query %+v finds %d traces, %d active, %v", q, page.Total, page.Active, err)
			}
		}
		tr, err := s.Get(elsewhere.TraceID[:8])
		if err != nil || tr.Status != api.StatusActive || len(tr.Spans) != 5 || tr.RequestID != "r" || tr.Metadata["k"] != "v" || len(tr.ProfileIDs) != 1 {
			t.Fatalf("%+v, %v", tr, err)
		}
		byName := map[string]api.Span{}
		for _, sp := range tr.Spans {
			byName[sp.OperationName] = sp
		}
		if sp := byName["runs"]; sp.Duration != nil || sp.Tags["so far"] != int64(1) || len(sp.Logs) != 1 || !sp.StartTime.Time.Equal(begun.Add(time.Second)) || *sp.ParentSpanID != byName["job"].SpanID {
			t.Errorf("running span %+v", sp)
		}
		if sp := byName["done"]; sp.Duration.Duration() != time.Second {
			t.Errorf("ended span %+v", sp)
		}
		if st := s.Stats(); st.Traces != 1 || st.Active != 1 || st.Spans != 5 {
			t.Errorf("stats %+v", st)
		}
		runs.End()
		root.End()
		if tr := get(t, s); tr.Status == api.StatusActive || len(tr.Spans) != 5 || tr.Metadata["k"] != "v" || len(tr.ProfileIDs) != 1 {
			t.Errorf("at the end: %+v", tr)
		}
		if st := s.Stats(); st.Traces != 1 || st.Active != 0 || st.Spans != 5 {
			t.Errorf("stats at the end %+v", st)
		}
	})
}

// A long job lands piece by piece, so that its memory is the store's to bound,
// and is one trace all the time.
func TestLongTrace(t *testing.T) {
	s := newStore(t, tracing.Options{MaxSpans: 5000})
	ctx, root := s.Start(context.Background(), "job", tracing.StartOptions{RequestID: "r"})
	for i := range 6000 {
		_, sp := s.Start(ctx, "step", tracing.StartOptions{})
		sp.SetInt("i", int64(i))
		sp.SetString("padding", strings.Repeat("x", 100))
		sp.End()
		if i == 4000 {
			tr, err := s.Get(root.SpanContext().TraceID().String())
			if err != nil || tr.Status != api.StatusActive || len(tr.Spans) != 4002 || tr.RequestID != "r" || !*tr.Complete {
				t.Errorf("midway: %d spans, %v", len(tr.Spans), err)
			}
		}
	}
	root.End()
	tr := get(t, s)
	seen := map[any]bool{}
	for _, sp := range tr.Spans {
		seen[sp.Tags["i"]] = true
	}
	st := s.Stats()
	if len(tr.Spans) != 5000 || len(seen) != 5000 || st.Dropped["span_limit"] != 1001 || st.Received != 5000 || tr.Root != "job" {
		t.Errorf("%d spans, %d different, stats %+v", len(tr.Spans), len(seen), st)
	}
}

// Without another way to stay within its bytes the store gives up what runs.
func TestActiveBytesAreBounded(t *testing.T) {
	s := newStore(t, tracing.Options{MaxBytes: 1 << 20})
	var spans []tracing.Span
	for range 100 {
		_, sp := s.Start(context.Background(), "large", tracing.StartOptions{})
		for i := range 10 {
			sp.SetString(strconv.Itoa(i), strings.Repeat("x", 10_000))
		}
		spans = append(spans, sp)
	}
	st := s.Stats()
	if st.Bytes > 1<<20 || st.Active == 0 || st.Active > 12 || st.Dropped["evicted"] != int64(100-st.Active) {
		t.Errorf("stats %+v", st)
	}
	for _, sp := range spans {
		sp.End()
	}
	if st := s.Stats(); st.Active != 0 || st.Bytes > 1<<20 {
		t.Errorf("stats at the end %+v", st)
	}
}

// Siblings that run at once go to the same trace, and so do two entries of it
// that know its id alone.
func TestConcurrentEntries(t *testing.T) {
	s := newStore(t, tracing.Options{})
	parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: tracing.NewTraceID(), SpanID: tracing.NewSpanID(), TraceFlags: trace.FlagsSampled, Remote: true})
	for range 200 {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				ctx, sp := s.Start(context.Background(), "entry", tracing.StartOptions{Remote: parent})
				_, child := s.Start(ctx, "child", tracing.StartOptions{})
				child.End()
				sp.End()
			})
		}
		wg.Wait()
	}
	if tr := get(t, s); tr.SpanCount.Value() != 3200 {
		t.Errorf("%d spans, want 3,200", tr.SpanCount.Value())
	}
	if st := s.Stats(); st.Active != 0 || st.Traces != 1 || st.Received != 3200 {
		t.Errorf("stats %+v", st)
	}
}

func TestEndWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, tracing.Options{})
		start := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		_, sp := s.Start(ctx, "before", tracing.StartOptions{Time: start})
		cancel()
		sp.EndWith(tracing.EndOptions{Time: start.Add(time.Second), Name: "after", Status: api.StatusTimeout, Message: "too slow"}, s.IntKey("n").Of(1))
		sp.EndWith(tracing.EndOptions{Name: "late"})
		got := get(t, s).Spans[0]
		if got.OperationName != "after" || got.Duration.Duration() != time.Second || got.Status != api.StatusTimeout || got.StatusMessage != "too slow" || got.Tags["n"] != int64(1) {
			t.Errorf("%+v", got)
		}
	})
}

func TestDeferredEndNotesAPanic(t *testing.T) {
	s := newStore(t, tracing.Options{})
	func() {
		defer func() {
			if reason := recover(); reason != errBoom {
				t.Errorf("recovered %v, want the panic's own reason", reason)
			}
		}()
		_, sp := s.Start(context.Background(), "x", tracing.StartOptions{})
		defer sp.End()
		panic(errBoom)
	}()
	got := get(t, s).Spans[0]
	if got.Status != api.StatusError || got.StatusMessage != "panic: boom" || len(got.Logs) != 1 || got.Logs[0].Fields["exception.type"] != "*errors.errorString" {
		t.Errorf("%+v", got)
	}
}

// Values nested too deep to be read back become text.
func TestDeepValue(t *testing.T) {
	v := attribute.StringValue("bottom")
	for range 100 {
		v = attribute.SliceValue(v)
	}
	s := newStore(t, tracing.Options{})
	_, sp := s.TracerProvider().Tracer("").Start(context.Background(), "x")
	sp.SetAttributes(attribute.KeyValue{Key: "deep", Value: v}, attribute.Int("flat", 1))
	sp.End()
	if got := get(t, s).Spans[0]; got.Tags["flat"] != int64(1) || !strings.Contains(fmt.Sprint(got.Tags["deep"]), "bottom") {
		t.Errorf("%+v", got)
	}
}

// Limits count what they drop, and of events the last ones stay.
func TestLastEventsStay(t *testing.T) {
	s := newStore(t, tracing.Options{MaxEvents: 3, MaxSpanBytes: 4096})
	_, sp := s.Start(context.Background(), "x", tracing.StartOptions{})
	for i := range 10 {
		sp.AddLog("info", strconv.Itoa(i))
		sp.SetInt("k", int64(i))
	}
	sp.SetString("large", strings.Repeat("x", 5000))
	sp.Fail(errors.New("the reason"))
	sp.End()
	got := get(t, s).Spans[0]
	if len(got.Logs) != 3 || got.Logs[0].Message != "8" || got.Logs[2].Message != "exception" || got.Dropped.Value() != 9 || got.Tags["k"] != int64(9) || len(got.Tags) != 1 {
		t.Errorf("%d dropped of %+v", got.Dropped.Value(), got)
	}
}

func TestOneKeyOnce(t *testing.T) {
	s := newStore(t, tracing.Options{MaxAttrs: 100})
	_, sp := s.Start(context.Background(), "x", tracing.StartOptions{})
	for i := range 1000 {
		sp.SetInt("k"+strconv.Itoa(i%100), int64(i))
		sp.AddLog("info", "between")
	}
	sp.End()
	got := get(t, s).Spans[0]
	for i := range 100 {
		if got.Tags["k"+strconv.Itoa(i)] != int64(900+i) {
			t.Errorf("k%d = %v", i, got.Tags["k"+strconv.Itoa(i)])
		}
	}
	if len(got.Tags) != 100 || got.Dropped.Value() != 1000-128 {
		t.Errorf("%d tags, %d dropped", len(got.Tags), got.Dropped.Value())
	}
}

// The tracer's share of a span's cost: what the store allocates when a trace
// lands is not counted, by spans that stay below the size of a piece.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := newStore(t, tracing.Options{})
	ctx, root := s.Start(context.Background(), "root", tracing.StartOptions{})
	defer root.End()
	octx, oroot := s.TracerProvider().Tracer("lib").Start(context.Background(), "root")
	defer oroot.End()
	tracer := s.TracerProvider().Tracer("lib")
	unsampled := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: tracing.TraceID{1}, SpanID: tracing.SpanID{1}}))
	for _, tt := range []struct {
		name string
		most float64
		f    func()
	}{
		{"child, native", 1, func() { child(ctx, s, 1) }},
		{"child, attributes at once", 1, func() { childAtOnce(ctx, s, 1) }},
		{"child, OpenTelemetry", 2, func() {
			_, sp := tracer.Start(octx, "child")
			sp.SetAttributes(attribute.String("a", "1"), attribute.String("b", "2"), attribute.Int("c", 3), attribute.Int("d", 4), attribute.Bool("e", true))
			sp.End()
		}},
		{"not sampled", 1, func() {
			_, sp := s.Start(unsampled, "x", tracing.StartOptions{})
			sp.SetAttributes(attribute.Int("a", 1))
			sp.End()
		}},
		{"late calls", 0, func() { oroot.SpanContext(); root.Recording() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if n := testing.AllocsPerRun(200, tt.f); n > tt.most {
				t.Errorf("%v allocations, want %v at most", n, tt.most)
			}
		})
	}
}

// A span of the maximum size in a trace of its own lands like any other.
func TestLargeSpan(t *testing.T) {
	s := newStore(t, tracing.Options{MaxValueBytes: 2 << 20, MaxSpanBytes: 4 << 20})
	ctx, root := s.Start(context.Background(), "root", tracing.StartOptions{})
	_, sp := s.Start(ctx, "large", tracing.StartOptions{})
	sp.SetString("v", strings.Repeat("x", 2<<20))
	sp.SetInt("after", 1)
	sp.End()
	root.End()
	if got := get(t, s).Spans[1]; len(got.Tags["v"].(string)) != 2<<20 || got.Tags["after"] != int64(1) {
		t.Errorf("%d tags", len(got.Tags))
	}
}
