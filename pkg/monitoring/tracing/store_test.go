package tracing_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

func newStore(t testing.TB, o tracing.Options) *tracing.Store {
	t.Helper()
	s, err := tracing.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// get returns the only trace of the store.
func get(t testing.TB, s *tracing.Store) api.Trace {
	t.Helper()
	page, err := s.Find(tracing.Query{Spans: true})
	if err != nil || len(page.Traces) != 1 {
		t.Fatalf("Find: %d traces, %v; want one", len(page.Traces), err)
	}
	return page.Traces[0]
}

func TestFinishedTraceStays(t *testing.T) { // T1
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, tracing.Options{Service: "shop"})
		ctx, root := s.Start(t.Context(), "GET /priority", tracing.StartOptions{Kind: trace.SpanKindServer, RequestID: "req-1",
			Metadata: []attribute.KeyValue{attribute.String("http.method", "GET")}})
		if tr := get(t, s); tr.Status != api.StatusActive || tr.Duration != nil || !tr.EndTime.IsZero() || len(tr.Spans) != 1 || tr.Spans[0].Duration != nil {
			t.Errorf("running trace: %+v", tr)
		}
		_, child := s.Start(ctx, "SELECT", tracing.StartOptions{})
		child.SetInt("db.rows", 3)
		time.Sleep(20 * time.Millisecond)
		child.Fail(errors.New("boom"))
		child.End()
		time.Sleep(30 * time.Millisecond)
		root.End()
		tr := get(t, s)
		if tr.Root != "GET /priority" || tr.Service != "shop" || tr.Duration.Duration() != 50*time.Millisecond || tr.RequestID != "req-1" ||
			tr.Metadata["http.method"] != "GET" || tr.Status != api.StatusError || tr.ErrorCount.Value() != 1 || !*tr.Complete {
			t.Errorf("finished trace: %+v", tr)
		}
		c := tr.Spans[1]
		if c.Tags["db.rows"] != int64(3) || c.Status != api.StatusError || c.StatusMessage != "boom" || *c.ParentSpanID != tr.Spans[0].SpanID ||
			c.Duration.Duration() != 20*time.Millisecond || len(c.Logs) != 1 || c.Logs[0].Level != "error" {
			t.Errorf("child: %+v", c)
		}
	})
}

func TestRootOutsideRequestClosesItsTrace(t *testing.T) { // T3
	s := newStore(t, tracing.Options{})
	for range 5 {
		_, sp := s.Start(context.Background(), "job", tracing.StartOptions{})
		sp.End()
	}
	if st := s.Stats(); st.Active != 0 || st.Traces != 5 || st.Spans != 5 {
		t.Errorf("stats %+v, want 5 finished traces of a span", st)
	}
}

func TestSiblingsTakeTheirParentFromTheContext(t *testing.T) { // T4
	s := newStore(t, tracing.Options{})
	ctx, root := s.Start(context.Background(), "root", tracing.StartOptions{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			ctx, sp := s.Start(ctx, fmt.Sprint("sibling ", i), tracing.StartOptions{})
			_, leaf := s.Start(ctx, fmt.Sprint("leaf ", i), tracing.StartOptions{})
			leaf.End()
			sp.End()
		})
	}
	wg.Wait()
	root.End()
	_, late := s.Start(ctx, "background", tracing.StartOptions{}) // after the trace finished: a span of it all the same
	late.End()
	names := map[string]string{}
	tr := get(t, s)
	for _, sp := range tr.Spans {
		names[sp.SpanID] = sp.OperationName
	}
	for _, sp := range tr.Spans {
		switch kind, n, _ := strings.Cut(sp.OperationName, " "); kind {
		case "sibling", "background":
			if names[*sp.ParentSpanID] != "root" {
				t.Errorf("%s below %s", sp.OperationName, names[*sp.ParentSpanID])
			}
		case "leaf":
			if names[*sp.ParentSpanID] != "sibling "+n {
				t.Errorf("%s below %s", sp.OperationName, names[*sp.ParentSpanID])
			}
		}
	}
	if len(tr.Spans) != 18 {
		t.Errorf("%d spans, want 18", len(tr.Spans))
	}
}

func TestCancelledWork(t *testing.T) { // T5
	for _, tt := range []struct {
		name string
		ctx  func() (context.Context, context.CancelFunc)
		want api.Status
	}{
		{"cancelled", func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) }, api.StatusAborted},
		{"deadline", func() (context.Context, context.CancelFunc) {
			return context.WithDeadline(context.Background(), time.Unix(1, 0))
		}, api.StatusTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t, tracing.Options{})
			ctx, cancel := tt.ctx()
			_, sp := s.Start(ctx, "work", tracing.StartOptions{})
			cancel()
			sp.End()
			if tr := get(t, s); tr.Status != tt.want || tr.Spans[0].Status != tt.want {
				t.Errorf("status %s, want %s", tr.Status, tt.want)
			}
		})
	}
}

func TestHugeTrace(t *testing.T) { // T6
	const n = 100_000
	s := newStore(t, tracing.Options{})
	ctx, root := s.Start(context.Background(), "root", tracing.StartOptions{})
	for range n {
		_, sp := s.Start(ctx, "child", tracing.StartOptions{})
		sp.SetInt("i", 1)
		sp.End()
	}
	root.End()
	if tr := get(t, s); tr.SpanCount.Value() != n+1 || len(tr.Spans) != n+1 || tr.Truncated {
		t.Errorf("%d spans counted, %d returned, truncated %v", tr.SpanCount.Value(), len(tr.Spans), tr.Truncated)
	}
}

func TestSpanLimit(t *testing.T) {
	s := newStore(t, tracing.Options{MaxSpans: 10})
	ctx, root := s.Start(context.Background(), "root", tracing.StartOptions{})
	for range 20 {
		_, sp := s.Start(ctx, "child", tracing.StartOptions{})
		sp.End()
	}
	root.End()
	if st := s.Stats(); st.Spans != 10 || st.Dropped["span_limit"] != 11 {
		t.Errorf("stats %+v, want 10 spans and 11 dropped", st)
	}
}

func TestValuesJSONCannotHold(t *testing.T) { // T7
	s := newStore(t, tracing.Options{})
	_, sp := s.Start(context.Background(), "bad \xff name", tracing.StartOptions{})
	sp.SetFloat("nan", math.NaN())
	sp.SetFloat("inf", math.Inf(-1))
	sp.SetAny("bytes", []byte{0, 255})
	sp.SetAny("func", func() {})
	sp.SetString("utf8", "\xff")
	sp.SetAny("nil", nil)
	sp.AddLog("info", "hello", attribute.Float64("nan", math.NaN()))
	sp.End()
	if _, err := json.Marshal(get(t, s)); err != nil {
		t.Error(err)
	}
}

func TestCleanup(t *testing.T) { // T8
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, tracing.Options{})
		_, running := s.Start(t.Context(), "running", tracing.StartOptions{})
		for range 3 {
			_, sp := s.Start(t.Context(), "old", tracing.StartOptions{})
			sp.End()
		}
		time.Sleep(time.Minute)
		_, sp := s.Start(t.Context(), "new", tracing.StartOptions{})
		sp.End()
		before := s.Stats().Bytes
		if n, freed := s.Cleanup(30*time.Second, true); n != 3 || freed <= 0 || s.Stats().Traces != 5 {
			t.Errorf("dry run: %d removed, %d bytes, %d traces left", n, freed, s.Stats().Traces)
		}
		n, freed := s.Cleanup(30*time.Second, false)
		if st := s.Stats(); n != 3 || st.Traces != 2 || st.Active != 1 || st.Bytes != before-freed || st.Dropped["cleanup"] != 3 {
			t.Errorf("%d removed, %d bytes, stats %+v", n, freed, st)
		}
		running.End()
	})
}

func TestSecretsMasked(t *testing.T) { // T9
	s := newStore(t, tracing.Options{})
	_, sp := s.Start(context.Background(), "GET", tracing.StartOptions{Metadata: []attribute.KeyValue{attribute.String("http.url", "http://u:pw@h/x?api_key=S3CRET&a=1")}})
	sp.SetString("http.request.header.authorization", "Bearer S3CRET")
	sp.SetString("url.full", "https://h/x?a=1&access_token=S3CRET#frag")
	sp.SetString("db.password", "S3CRET")
	sp.SetInt("llm.tokens", 12)
	sp.AddLog("info", "m", attribute.String("api_key", "S3CRET"))
	sp.End()
	b, err := json.Marshal(get(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "S3CRET") || strings.Contains(string(b), "u:pw") {
		t.Errorf("a secret is kept: %s", b)
	}
	for _, want := range []string{`"http://u:***@h/x?api_key=***`, `a=1`, `#frag`, `"llm.tokens":12`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s is not in %s", want, b)
		}
	}
}

func TestLimitsAreCounted(t *testing.T) {
	s := newStore(t, tracing.Options{MaxAttrs: 4, MaxEvents: 2, MaxLinks: 1, MaxValueBytes: 8})
	_, sp := s.Start(context.Background(), "x", tracing.StartOptions{})
	for i := range 6 {
		sp.SetInt(fmt.Sprint("k", i), int64(i))
	}
	sp.SetInt("k0", 99) // overwriting needs no room
	sp.SetString("k1", "ééééééé")
	for range 3 {
		sp.AddLog("info", "m")
	}
	sp.End()
	span := get(t, s).Spans[0]
	if len(span.Tags) != 4 || span.Tags["k0"] != int64(99) || span.Tags["k1"] != "éééé" || len(span.Logs) != 2 || span.Dropped.Value() != 3 {
		t.Errorf("tags %v, %d logs, %d dropped", span.Tags, len(span.Logs), span.Dropped.Value())
	}
	if st := s.Stats(); st.Truncated != 1 {
		t.Errorf("%d truncated, want 1", st.Truncated)
	}
}

func TestEvictionSparesFailedTraces(t *testing.T) {
	s := newStore(t, tracing.Options{MaxBytes: 1 << 20})
	for i := range 20 {
		_, sp := s.Start(context.Background(), "failed", tracing.StartOptions{})
		sp.Fail(fmt.Errorf("error %d", i))
		sp.End()
	}
	for range 5000 {
		_, sp := s.Start(context.Background(), "ordinary", tracing.StartOptions{})
		sp.SetString("padding", strings.Repeat("x", 200))
		sp.End()
	}
	page, err := s.Find(tracing.Query{Status: api.StatusError})
	if err != nil || page.Total != 20 {
		t.Errorf("%d failed traces left, %v; want 20", page.Total, err)
	}
	st := s.Stats()
	if st.Bytes > 1<<20 || st.Dropped["evicted"] == 0 || int64(st.Spans)+st.Dropped["evicted"] != 5020 {
		t.Errorf("stats %+v", st)
	}
	for i := range 5000 { // nor do failed ones fill the store beyond half
		_, sp := s.Start(context.Background(), "failed", tracing.StartOptions{})
		sp.Fail(fmt.Errorf("error %d", i))
		sp.End()
	}
	if st := s.Stats(); st.Bytes > 1<<20 {
		t.Errorf("%d bytes kept", st.Bytes)
	}
}

func TestTracesThatNeverEnd(t *testing.T) {
	s := newStore(t, tracing.Options{MaxActive: 10})
	var spans []tracing.Span
	for range 30 {
		ctx, sp := s.Start(context.Background(), "leak", tracing.StartOptions{})
		_, child := s.Start(ctx, "child", tracing.StartOptions{})
		child.End()
		spans = append(spans, sp)
	}
	st := s.Stats()
	if st.Active != 10 || st.Traces != 30 || st.Dropped["leaked"] != 20 || st.Spans != 40 {
		t.Errorf("stats %+v, want 10 active of 30, 20 spans leaked", st)
	}
	for _, sp := range spans {
		sp.SetInt("late", 1)
		sp.End()
	}
	if st := s.Stats(); st.Spans != 40 || st.Active != 0 {
		t.Errorf("after the late ends: %+v", st)
	}
}

func TestRunDropsTheAged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, tracing.Options{MaxAge: time.Minute})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		_, sp := s.Start(ctx, "x", tracing.StartOptions{})
		sp.End()
		time.Sleep(50 * time.Second)
		if n := s.Stats().Traces; n != 1 {
			t.Errorf("%d traces after 50s, want 1", n)
		}
		time.Sleep(20 * time.Second)
		if st := s.Stats(); st.Traces != 0 || st.Dropped["expired"] != 1 || st.Bytes != 0 {
			t.Errorf("after 70s: %+v", st)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestUseAfterEnd(t *testing.T) {
	s := newStore(t, tracing.Options{})
	_, first := s.Start(context.Background(), "first", tracing.StartOptions{})
	first.End()
	_, second := s.Start(context.Background(), "second", tracing.StartOptions{})
	first.SetString("stray", "x")
	first.AddLog("info", "stray")
	first.SetName("stray")
	first.End()
	second.End()
	b, err := json.Marshal(func() any { p, err := s.Find(tracing.Query{Spans: true}); return []any{p.Traces, err} }())
	if err != nil || strings.Contains(string(b), "stray") {
		t.Errorf("%s, %v", b, err)
	}
	if first.Recording() || !first.SpanContext().IsValid() {
		t.Error("an ended span records, or has lost its ids")
	}
	tracing.Span{}.SetInt("zero", 1)
	tracing.Span{}.End()
}

func TestWritersAndReaders(t *testing.T) {
	s := newStore(t, tracing.Options{MaxBytes: 512 << 10, MaxActive: 20})
	body := batch(t, 5, 10)
	stop := make(chan struct{})
	var writers, readers sync.WaitGroup
	for w := range 32 {
		writers.Go(func() {
			for i := range 100 {
				ctx, root := s.Start(context.Background(), "root", tracing.StartOptions{RequestID: "r"})
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() {
						_, sp := s.Start(ctx, "child", tracing.StartOptions{})
						sp.SetInt("w", int64(w))
						sp.AddLog("info", "m")
						sp.End()
					})
				}
				if i%10 == 0 {
					if _, _, err := s.AddOTLP(body); err != nil {
						t.Error(err)
					}
				}
				wg.Wait()
				root.End()
			}
		})
	}
	for range 8 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				page, err := s.Find(tracing.Query{Spans: true, Text: "nowhere", Limit: 5})
				if err != nil || page.Total != 0 {
					t.Errorf("%d found, %v", page.Total, err)
				}
				page, err = s.Find(tracing.Query{Spans: true, Limit: 5})
				if err != nil {
					t.Error(err)
				}
				for _, tr := range page.Traces {
					if _, err := s.Get(tr.TraceID); err != nil && !errors.Is(err, tracing.ErrNotFound) {
						t.Error(err)
					}
				}
				s.Stats()
				s.Cleanup(time.Hour, false)
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	st := s.Stats()
	if st.Bytes > 512<<10 || st.Active != 0 {
		t.Errorf("stats %+v", st)
	}
	s.Cleanup(-time.Hour, false)
	if st := s.Stats(); st.Bytes != 0 || st.Traces != 0 {
		t.Errorf("after everything is removed: %+v", st)
	}
}

func TestOptionsOutOfBounds(t *testing.T) {
	for _, o := range []tracing.Options{{MaxBytes: -1}, {MaxAge: -1}, {MaxSpans: -1}, {MaxAttrs: 2000}} {
		if _, err := tracing.New(o); err == nil {
			t.Errorf("New(%+v) takes it", o)
		}
	}
}
