package tracing_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// More services than have a bit of their own are told apart all the same.
func TestManyServices(t *testing.T) {
	s := newStore(t, tracing.Options{})
	for i := range 200 {
		bring(t, s, foreign(fmt.Sprint("service-", i), otlp.Span{TraceID: traceID(i + 1), SpanID: spanID(1), Name: fmt.Sprint("op-", i%10), Start: t0, End: t0 + 1}))
	}
	for _, i := range []int{0, 62, 63, 64, 199} {
		q := tracing.Query{Service: fmt.Sprint("service-", i)}
		page, err := s.Find(q)
		if err != nil || page.Total != 1 || page.Traces[0].Service != q.Service {
			t.Errorf("%s: %d traces, %v", q.Service, page.Total, err)
		}
		q.Operation = fmt.Sprint("op-", (i+1)%10)
		if page, _ := s.Find(q); page.Total != 0 {
			t.Errorf("%s has no %s", q.Service, q.Operation)
		}
	}
	if page, _ := s.Find(tracing.Query{Service: "nobody"}); page.Total != 0 {
		t.Errorf("%d traces of nobody", page.Total)
	}
}

// Pages stay right while traces come: each that was there is on one of them.
func TestCursorWhileTracesArrive(t *testing.T) {
	for sort := range tracing.Spans + 1 {
		s := newStore(t, tracing.Options{})
		add(t, s, batch(t, 50, 3))
		seen := map[string]int{}
		q := tracing.Query{Sort: sort, Limit: 7}
		for n := 0; ; n++ {
			page, err := s.Find(q)
			if err != nil {
				t.Fatal(err)
			}
			for _, tr := range page.Traces {
				seen[tr.TraceID]++
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
			add(t, s, batch(t, 5, 3, func(tr int, sp *otlp.Span) { sp.TraceID = traceID(1000 + 10*n + tr) }))
		}
		for tr := range 50 {
			if n := seen[fmt.Sprintf("%x", traceID(tr+1))]; n != 1 {
				t.Errorf("sort %d: trace %d was on %d pages", sort, tr+1, n)
			}
		}
	}
}

// What Find finds is what a look at each span finds.
func TestFindAgreesWithALookAtAll(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	s := newStore(t, tracing.Options{MaxBytes: 8 << 20}) // small chunks
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	for i := range 2000 {
		id := traceID(i + 1)
		for n := range 1 + r.IntN(5) {
			start := uint64(t0 + i*1e6 + n*1000)
			sp := otlp.Span{TraceID: id, SpanID: spanID(n + 1), Name: pick("GET /", "charge", "SELECT"), Kind: int32(r.IntN(6)), Start: start, End: start + uint64(r.IntN(2e9)),
				Attrs: []otlp.KeyValue{{Key: "code", Value: otlp.Int(int64(r.IntN(5)))}, {Key: pick("user", "tenant"), Value: otlp.String(pick("ada", "Bob", "eve"))}}}
			if n > 0 {
				sp.ParentID = spanID(r.IntN(n + 2))
			}
			if r.IntN(10) == 0 {
				sp.Status, sp.StatusMessage = 2, pick("Boom", "refused")
			}
			bring(t, s, foreign(pick("web", "shop", "cache"), sp))
		}
	}
	all, err := s.Find(tracing.Query{Limit: 1 << 20, Spans: true})
	if err != nil {
		t.Fatal(err)
	}
	tag := func(text string) tracing.Tag {
		tag, err := tracing.ParseTag(text)
		if err != nil {
			t.Fatal(err)
		}
		return tag
	}
	for range 120 {
		var q tracing.Query
		if r.IntN(2) == 0 {
			q.Service = pick("web", "shop", "nobody")
		}
		if r.IntN(3) == 0 {
			q.Operation = pick("charge", "SELECT", "nothing")
		}
		if r.IntN(3) == 0 {
			q.Status = api.Status(pick("ok", "error"))
		}
		if r.IntN(3) == 0 {
			q.MinDuration = time.Duration(r.IntN(2e9))
		}
		if r.IntN(3) == 0 {
			q.Since = time.Unix(0, t0+int64(r.IntN(3e9)))
		}
		wants := map[string]func(*api.Span) bool{
			"code=3":    func(sp *api.Span) bool { return sp.Tags["code"] == int64(3) },
			"code>1":    func(sp *api.Span) bool { return sp.Tags["code"].(int64) > 1 },
			"user~^a":   func(sp *api.Span) bool { return sp.Tags["user"] == "ada" },
			"user!=eve": func(sp *api.Span) bool { return sp.Tags["user"] != nil && sp.Tags["user"] != "eve" },
			"tenant":    func(sp *api.Span) bool { return sp.Tags["tenant"] != nil },
			"absent":    func(sp *api.Span) bool { return false },
		}
		var met []func(*api.Span) bool
		for text, f := range wants {
			if r.IntN(8) == 0 {
				q.Tags = append(q.Tags, tag(text))
				met = append(met, f)
			}
		}
		if r.IntN(4) == 0 {
			q.Text = pick("boom", "BOB", "nowhere")
			met = append(met, func(sp *api.Span) bool {
				return strings.Contains(strings.ToLower(fmt.Sprint(sp.Tags, sp.StatusMessage)), strings.ToLower(q.Text))
			})
		}
		q.Sort, q.Limit = tracing.Sort(r.IntN(4)), 1+r.IntN(50)
		page, err := s.Find(q)
		if err != nil || page.Truncated {
			t.Fatal(err, page.Truncated)
		}
		var want []string
		for _, tr := range all.Traces {
			if lookAt(&tr, &q, met) {
				want = append(want, tr.TraceID)
			}
		}
		if page.Total != len(want) {
			t.Fatalf("%+v: %d found, %d by looking at all", q, page.Total, len(want))
		}
		for _, tr := range page.Traces {
			if !slices.Contains(want, tr.TraceID) {
				t.Fatalf("%+v: %s does not match", q, tr.TraceID)
			}
		}
	}
}

func lookAt(tr *api.Trace, q *tracing.Query, met []func(*api.Span) bool) bool {
	span := func(f func(*api.Span) bool) bool {
		for i := range tr.Spans {
			if f(&tr.Spans[i]) {
				return true
			}
		}
		return false
	}
	for _, f := range met {
		if !span(f) {
			return false
		}
	}
	return (q.Status == "" || tr.Status == q.Status) && tr.Duration.Duration() >= q.MinDuration && (q.Since.IsZero() || int64(tr.StartUnixNano) >= q.Since.UnixNano()) &&
		span(func(sp *api.Span) bool {
			return (q.Service == "" || sp.Service == q.Service) && (q.Operation == "" || sp.OperationName == q.Operation)
		})
}

// A search that would take too long says that it stopped, and has the newest.
func TestSearchIsBounded(t *testing.T) {
	s := newStore(t, tracing.Options{MaxBytes: 8 << 20})
	for n := range 20 {
		add(t, s, batch(t, 100, 10, func(tr int, sp *otlp.Span) {
			sp.TraceID = traceID(1 + n*100 + tr)
			sp.Attrs = []otlp.KeyValue{{Key: "n", Value: otlp.Int(int64(n))}}
		}))
	}
	tag, err := tracing.ParseTag("n>-1")
	if err != nil {
		t.Fatal(err)
	}
	q := tracing.Query{Tags: []tracing.Tag{tag}, Limit: 1 << 20}
	all, err := s.Find(q)
	if err != nil || all.Total != 2000 || all.Truncated {
		t.Fatalf("%d traces, truncated %v, %v", all.Total, all.Truncated, err)
	}
	q.MaxSearch = 300 << 10
	some, err := s.Find(q)
	if err != nil || !some.Truncated || some.Total == 0 || some.Total > 1500 || some.Total != len(some.Traces) {
		t.Errorf("%d traces of %d, truncated %v, %v", some.Total, all.Total, some.Truncated, err)
	}
	newest := fmt.Sprintf("%x", traceID(2000))
	if !slices.ContainsFunc(some.Traces, func(tr api.Trace) bool { return tr.TraceID == newest }) {
		t.Error("the newest is not among them")
	}
}
