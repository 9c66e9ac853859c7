package tracing_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// A trace of 100,000 spans comes in 200 requests, children before their
// parents, and again. It takes its time by the span, not by the square of them.
func TestHugeForeignTrace(t *testing.T) {
	const requests, each = 200, 500
	s := newStore(t, tracing.Options{})
	bodies := make([][]byte, requests)
	for r := range requests {
		bodies[r] = batch(t, 1, each, func(_ int, sp *otlp.Span) {
			n := r*each + int(sp.SpanID[1]) + int(sp.SpanID[2])<<8
			sp.TraceID = traceID(1)
			sp.SpanID, sp.ParentID = spanID(requests*each-n), spanID(requests*each-n-1)
			if n == requests*each-1 {
				sp.ParentID = [8]byte{}
			}
		})
	}
	for range 2 {
		for _, body := range bodies {
			add(t, s, body)
		}
	}
	if st := s.Stats(); st.Spans != requests*each || st.Dropped["duplicate"] != requests*each {
		t.Errorf("stats %+v", st)
	}
	tr := get(t, s)
	if tr.SpanCount.Value() != requests*each || len(tr.Spans) != requests*each || !*tr.Complete {
		t.Errorf("%d spans counted, %d returned, complete %v", tr.SpanCount.Value(), len(tr.Spans), *tr.Complete)
	}
	s.Cleanup(0, false)
	if st := s.Stats(); st.Bytes != 0 || st.Spans != 0 {
		t.Errorf("after cleanup %+v", st)
	}
}

func spanID(n int) [8]byte {
	return [8]byte{9, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

// A client's and a server's span that share an id are two spans.
func TestSharedSpanIDs(t *testing.T) {
	for _, spans := range []int{4, 100} {
		s := newStore(t, tracing.Options{})
		for _, later := range []uint64{0, 5} {
			add(t, s, batch(t, 1, spans, func(_ int, sp *otlp.Span) { sp.Start += later }))
		}
		if tr := get(t, s); len(tr.Spans) != 2*spans || !*tr.Complete {
			t.Errorf("%d spans, complete %v; want %d", len(tr.Spans), *tr.Complete, 2*spans)
		}
	}
}

// Whatever the order in which spans come, a trace knows whether parents are missing.
func TestOrphans(t *testing.T) {
	for _, spans := range []int{2, 10, 40, 200} {
		s := newStore(t, tracing.Options{})
		order := rand.New(rand.NewPCG(1, 2)).Perm(spans)
		for at, n := range order {
			sp := otlp.Span{TraceID: traceID(1), SpanID: spanID(n + 1), Start: t0, End: t0 + 1, Name: "x"}
			if n > 0 {
				sp.ParentID = spanID(n)
			}
			bring(t, s, foreign("web", sp))
			missing := slices.ContainsFunc(order[:at+1], func(n int) bool { return n > 0 && !slices.Contains(order[:at+1], n-1) })
			if tr := get(t, s); *tr.Complete == missing {
				t.Fatalf("after %d of %d: complete %v, missing %v", at+1, spans, *tr.Complete, missing)
			}
		}
	}
}

// The stream of finished traces waits less for a trace whose index knows that
// nothing is missing: so the index agrees with the spans.
func TestIndexKnowsOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, tracing.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		told := collect(t, ctx, s, tracing.Query{})
		for n := 60; n > 0; n-- { // children first
			sp := otlp.Span{TraceID: traceID(1), SpanID: spanID(n), Start: t0, End: t0 + 1, Name: "x"}
			if n > 1 {
				sp.ParentID = spanID(n - 1)
			}
			bring(t, s, foreign("web", sp))
		}
		time.Sleep(3 * time.Second)
		cancel()
		if ids, _ := told(); len(ids) != 1 {
			t.Errorf("told of %d traces, want one: its parents have all come", len(ids))
		}
	})
}

// Spans that went with a chunk are missing: the trace says so, and what it
// counts is what it has.
func TestTraceThatLostSpans(t *testing.T) {
	s := newStore(t, tracing.Options{MaxBytes: 1 << 20})
	sp := otlp.Span{TraceID: traceID(1), SpanID: spanID(1), Name: "root", Start: t0, End: t0 + 1}
	bring(t, s, foreign("web", sp))
	for n := range 5000 {
		pad := []otlp.KeyValue{{Key: "pad", Value: otlp.String(fmt.Sprint(rand.Uint64(), rand.Uint64(), rand.Uint64()))}}
		spans := []otlp.Span{{TraceID: traceID(1000 + n), SpanID: spanID(1), Name: "other", Start: t0, End: t0 + 1, Attrs: pad}}
		if n%100 == 0 {
			spans = append(spans, otlp.Span{TraceID: traceID(1), SpanID: spanID(2 + n), ParentID: spanID(1), Name: "child", Start: t0 + 1, End: t0 + 2})
		}
		bring(t, s, foreign("web", spans...))
	}
	tr, err := s.Get(fmt.Sprintf("%x", traceID(1)))
	if err != nil {
		t.Fatal(err)
	}
	if *tr.Complete || len(tr.Spans) == 0 || len(tr.Spans) > 50 || tr.SpanCount.Value() != int64(len(tr.Spans)) || tr.Root != "child" {
		t.Errorf("complete %v, %d spans, %d counted, root %q", *tr.Complete, len(tr.Spans), tr.SpanCount.Value(), tr.Root)
	}
	st := s.Stats()
	if st.Bytes > 1<<20 || int64(st.Spans)+st.Dropped["evicted"] != 5051 {
		t.Errorf("stats %+v: want 5051 spans kept or counted", st)
	}
	counted := 0
	page, err := s.Find(tracing.Query{Limit: 1 << 20, Spans: true})
	for _, tr := range page.Traces {
		counted += len(tr.Spans)
	}
	if err != nil || counted != st.Spans || len(page.Traces) != st.Traces {
		t.Errorf("%d spans in %d traces, %v; stats %+v", counted, len(page.Traces), err, st)
	}
}

// A leaf that went leaves no parent missing, and still the trace is not whole.
func TestTraceThatLostALeaf(t *testing.T) {
	s := newStore(t, tracing.Options{MaxBytes: 1 << 20})
	bring(t, s, foreign("web", otlp.Span{TraceID: traceID(1), SpanID: spanID(2), ParentID: spanID(1), Name: "leaf", Start: t0, End: t0 + 1}))
	for n := 0; s.Stats().Dropped["evicted"] == 0; n++ {
		if n == 3000 {
			bring(t, s, foreign("web", otlp.Span{TraceID: traceID(1), SpanID: spanID(1), Name: "root", Start: t0, End: t0 + 1}))
			if !*fetch(t, s, fmt.Sprintf("%x", traceID(1))).Complete {
				t.Fatal("the trace is not whole before anything went")
			}
		}
		pad := []otlp.KeyValue{{Key: "pad", Value: otlp.String(fmt.Sprint(rand.Uint64(), rand.Uint64(), rand.Uint64()))}}
		bring(t, s, foreign("web", otlp.Span{TraceID: traceID(1000 + n), SpanID: spanID(1), Name: "other", Start: t0, End: t0 + 1, Attrs: pad}))
	}
	if tr := fetch(t, s, fmt.Sprintf("%x", traceID(1))); *tr.Complete || len(tr.Spans) != 1 || tr.Root != "root" {
		t.Errorf("complete %v, %d spans, root %q", *tr.Complete, len(tr.Spans), tr.Root)
	}
}

// A slow trace survives ordinary ones with each span as it was sent.
func TestSlowTraceMovesOn(t *testing.T) {
	s := newStore(t, tracing.Options{MaxBytes: 1 << 20})
	sent := batch(t, 1, 20, func(_ int, sp *otlp.Span) {
		sp.TraceID = traceID(7)
		sp.End = sp.Start + 2e9
		sp.Attrs = []otlp.KeyValue{{Key: "n", Value: otlp.Int(int64(sp.SpanID[1]))}}
	})
	add(t, s, sent)
	want := fetch(t, s, fmt.Sprintf("%x", traceID(7)))
	for n := range 30 {
		add(t, s, batch(t, 100, 10, func(tr int, sp *otlp.Span) {
			sp.TraceID = traceID(1000 + n*100 + tr)
			sp.End = sp.Start + 1
			sp.Attrs = []otlp.KeyValue{{Key: "pad", Value: otlp.Int(int64(rand.Uint64() >> 1))}}
		}))
	}
	if s.Stats().Dropped["evicted"] == 0 {
		t.Fatal("nothing was evicted")
	}
	got := fetch(t, s, fmt.Sprintf("%x", traceID(7)))
	if a, b := asJSON(t, got), asJSON(t, want); a != b {
		t.Errorf("the slow trace is\n%s\nand was\n%s", a, b)
	}
	add(t, s, sent)
	if n := len(fetch(t, s, fmt.Sprintf("%x", traceID(7))).Spans); n != 20 {
		t.Errorf("%d spans after it was sent again, want 20", n)
	}
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestNonsenseTimes(t *testing.T) {
	s := newStore(t, tracing.Options{})
	for i, times := range [][2]uint64{{0, 0}, {math.MaxUint64, math.MaxUint64}, {t0, 0}, {0, t0}, {t0 + 5, t0}, {t0, math.MaxInt64}, {1, 1}} {
		bring(t, s, foreign("web", otlp.Span{TraceID: traceID(i + 1), SpanID: spanID(1), Name: "x", Start: times[0], End: times[1]}))
	}
	for sort := range tracing.Spans + 1 {
		page, err := s.Find(tracing.Query{Sort: sort, Spans: true, MinDuration: 0})
		if err != nil || page.Total != 7 {
			t.Errorf("sort %d: %d traces, %v", sort, page.Total, err)
		}
		for _, tr := range page.Traces {
			if tr.Duration.Duration() < 0 || tr.Spans[0].Duration.Duration() < 0 {
				t.Errorf("trace %s takes %s", tr.TraceID, tr.Duration.Duration())
			}
		}
		asJSON(t, page.Traces)
	}
	s.Operations(tracing.StatsQuery{Interval: time.Second})
	s.Cleanup(-time.Hour, false)
	if st := s.Stats(); st.Traces != 0 || st.Bytes != 0 {
		t.Errorf("after cleanup %+v", st)
	}
}

// What goes out, on whatever way, has no secret.
func TestNoSecretGoesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, tracing.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := s.Subscribe(ctx, tracing.Query{Spans: true})
		if err != nil {
			t.Fatal(err)
		}
		var streamed strings.Builder
		done := make(chan struct{})
		go func() {
			defer close(done)
			for b := range stream {
				streamed.WriteString(asJSON(t, b.Traces))
			}
		}()
		hidden := []otlp.KeyValue{
			{Key: "db.password", Value: otlp.String("S3CRET")},
			{Key: "url.full", Value: otlp.String("https://u:S3CRET@h/x?api_key=S3CRET&page=2")},
			{Key: "exception.message", Value: otlp.String("get https://h/?token=S3CRET: refused")},
			{Key: "auth", Value: otlp.Map(otlp.KeyValue{Key: "cookie", Value: otlp.String("S3CRET")}, otlp.KeyValue{Key: "user", Value: otlp.String("ada")})},
			{Key: "list", Value: otlp.Array(otlp.Map(otlp.KeyValue{Key: "access_key", Value: otlp.Bytes("S3CRET")}))},
		}
		sp := otlp.Span{TraceID: traceID(1), SpanID: spanID(1), Name: "x", Start: t0, End: t0 + 1, Attrs: hidden, Status: 2,
			StatusMessage: "post https://h/?password=S3CRET failed",
			Events:        []otlp.Event{{Name: "exception", Attrs: hidden}}, Links: []otlp.Link{{Attrs: hidden}}}
		res := otlp.AppendResource(nil, &otlp.Resource{Attrs: append(hidden, otlp.KeyValue{Key: "service.name", Value: otlp.String("web")})})
		bring(t, s, otlp.AppendResourceSpans(nil, res, &otlp.Scope{Name: "lib", Attrs: hidden}, otlp.AppendSpan(nil, &sp)))
		_, own := s.Start(t.Context(), "own", tracing.StartOptions{Metadata: []attribute.KeyValue{attribute.String("api_key", "S3CRET")}})
		own.SetString("db.password", "S3CRET")
		own.End()
		_, running := s.Start(t.Context(), "running", tracing.StartOptions{})
		running.SetString("db.password", "S3CRET")
		defer running.End()
		time.Sleep(20 * time.Second)
		cancel()
		<-done
		out := map[string]string{"stream": streamed.String()}
		page, err := s.Find(tracing.Query{Spans: true})
		if err != nil || len(page.Traces) != 3 {
			t.Fatalf("%d traces, %v", len(page.Traces), err)
		}
		out["list"] = asJSON(t, page.Traces)
		for _, tr := range page.Traces {
			body, _, err := s.Export(tr.TraceID, 0)
			if err != nil {
				t.Fatal(err)
			}
			out["export of "+tr.Root] = string(body)
			out["trace "+tr.Root] = asJSON(t, fetch(t, s, tr.TraceID))
		}
		for way, text := range out {
			if strings.Contains(text, "S3CRET") || strings.Contains(text, "UzNDUkVU") { // base64 too
				t.Errorf("%s has a secret: %s", way, text)
			}
		}
		for _, want := range []string{"ada", "page=2", "refused"} {
			if !strings.Contains(out["list"], want) || !strings.Contains(out["stream"], want) {
				t.Errorf("%q is masked too", want)
			}
		}
		for _, filter := range []string{"db.password=S3CRET", "db.password~S3", "auth~S3CRET", "url.full~S3CRET"} {
			tag, err := tracing.ParseTag(filter)
			if err != nil {
				t.Fatal(err)
			}
			if page, _ := s.Find(tracing.Query{Tags: []tracing.Tag{tag}}); page.Total != 0 {
				t.Errorf("the filter %s tells a secret", filter)
			}
		}
	})
}

// A store that is full for long stays true: each trace it lists it can return,
// and the figures are those of what it has.
func TestChurn(t *testing.T) {
	s := newStore(t, tracing.Options{MaxBytes: 1 << 20})
	r := rand.New(rand.NewPCG(5, 6))
	sent := int64(0)
	for i := range 400 {
		add(t, s, batch(t, 20, 5, func(tr int, sp *otlp.Span) {
			sp.TraceID = traceID(1 + r.IntN(3000))
			sp.SpanID = spanID(r.IntN(1 << 20))
			sp.Attrs = []otlp.KeyValue{{Key: "pad", Value: otlp.Int(int64(r.Uint64() >> 1))}}
			sp.Status = int32(max(r.IntN(5)-2, 0))
		}))
		sent += 100
		if i == 100 {
			s.Cleanup(time.Hour, false)
		}
	}
	st := s.Stats()
	kept := sent - st.Dropped["evicted"] - st.Dropped["cleanup"] - st.Dropped["duplicate"]
	if st.Bytes > 1<<20 || int64(st.Spans) != kept {
		t.Errorf("stats %+v, want %d spans", st, kept)
	}
	for sort, of := range map[tracing.Sort]func(api.Trace) int64{
		tracing.Errors: func(tr api.Trace) int64 { return tr.ErrorCount.Value() }, tracing.Spans: func(tr api.Trace) int64 { return tr.SpanCount.Value() },
	} {
		page, err := s.Find(tracing.Query{Sort: sort, Limit: 1 << 20})
		if err != nil || !slices.IsSortedFunc(page.Traces, func(a, b api.Trace) int { return cmp.Compare(of(b), of(a)) }) {
			t.Errorf("sort %d: traces are out of order, %v", sort, err)
		}
	}
	for _, status := range []api.Status{api.StatusOK, api.StatusError} {
		page, err := s.Find(tracing.Query{Status: status, Limit: 1 << 20})
		if err != nil || slices.ContainsFunc(page.Traces, func(tr api.Trace) bool { return tr.Status != status }) {
			t.Errorf("status %s: %d traces, not all of it, %v", status, page.Total, err)
		}
	}
	page, err := s.Find(tracing.Query{Limit: 1 << 20})
	if err != nil || page.Total != st.Traces {
		t.Fatalf("%d traces listed, %v; stats %+v", page.Total, err, st)
	}
	for _, listed := range page.Traces {
		tr := fetch(t, s, listed.TraceID)
		bad := int64(0)
		for _, sp := range tr.Spans {
			if sp.Status.Failed() {
				bad++
			}
		}
		if int64(len(tr.Spans)) != listed.SpanCount.Value() || bad != listed.ErrorCount.Value() {
			t.Fatalf("%d spans, %d failed; listed %+v", len(tr.Spans), bad, listed)
		}
	}
}
