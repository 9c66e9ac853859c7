package render_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// slowTrace is the trace of the screens on a worse day: the second call takes
// longer and fails, a third is new, the backoff is gone, the pulls are many.
func slowTrace() api.Trace {
	t := sampleTrace()
	t.TraceID = "c6cbe5f41fb54b2faa92d7e97f955edb"
	late := func(s api.Span, from, took float64) api.Span {
		n := sampleSpan(s.SpanID, *s.ParentSpanID, s.Service, s.OperationName, from, took)
		n.Tags, n.Status, n.StatusMessage = s.Tags, s.Status, s.StatusMessage
		return n
	}
	s := t.Spans
	s[0] = sampleSpan("1", "", "pulse-api", "POST /priority/generate", 0, 2190)
	s[7] = late(s[7], 358, 1810)
	s[9] = sampleSpan("a0", "8", "ranker", "cache.fill\x1b[2J", 612, 40)
	s[10] = late(s[10], 661, 900)
	s[10].Status, s[10].StatusMessage = api.StatusTimeout, "context deadline exceeded (900ms)"
	s[11] = late(s[11], 2130, 30)
	s[12], s[13] = late(s[12], 2170, 1.4), late(s[13], 2170, 14)
	s = append(s, sampleSpan("f0", "8", "ranker", "POST /v1/chat/completions", 1570, 550), sampleSpan("f1", "f0", "dns", "lookup", 1571, 4))
	for i := range 6 {
		s = append(s, sampleSpan(fmt.Sprint("p", i), "4", "context-builder", "GET /repos/{owner}/{repo}/pulls", 20+float64(i)*50, 45))
	}
	t.Spans = s
	return t
}

func compare(a, b api.Trace) *waterfall.Diff {
	d := waterfall.Compare(waterfall.New(&a, noon), waterfall.New(&b, noon))
	d.A.TraceID, d.A.Source, d.B.TraceID, d.B.Source = a.TraceID, "http://127.0.0.1:8000", b.TraceID, "http://127.0.0.1:8000"
	return d
}

func TestTraceDiff(t *testing.T) {
	d := compare(sampleTrace(), slowTrace())
	d.B.Selector, d.A.Selector, d.A.Among = "@slowest", "@p50", 37
	one := []api.Result[*waterfall.Diff]{{Value: d}}
	golden(t, "tracediff", func(w *bytes.Buffer, o render.Options) error { return render.TraceDiff(w, one, false, o) })
	back := compare(slowTrace(), sampleTrace())
	back.B.Truncated = true
	fleet := []api.Result[*waterfall.Diff]{{Value: back}, {Instance: "http://10.0.0.2:8000", Error: &api.Error{Detail: "connection refused"}}}
	golden(t, "tracediff-faster", func(w *bytes.Buffer, o render.Options) error { return render.TraceDiff(w, fleet, true, o) })
	same := []api.Result[*waterfall.Diff]{{Value: compare(sampleTrace(), sampleTrace())}}
	golden(t, "tracediff-same", func(w *bytes.Buffer, o render.Options) error { return render.TraceDiff(w, same, false, o) })
	other := []api.Result[*waterfall.Diff]{{Value: compare(sampleTrace(), orderTrace())}}
	golden(t, "tracediff-other", func(w *bytes.Buffer, o render.Options) error { return render.TraceDiff(w, other, false, o) })
}

// Of many rows those are shown that differ, and it is said which are not.
func TestTraceDiffOfMany(t *testing.T) {
	a, b := wideTrace(2000), wideTrace(2000)
	b.TraceID = "b"
	took := api.Seconds(9 * time.Second)
	b.Spans[1500].Duration, b.Spans[1500].EndTime = &took, api.Time{}
	var out bytes.Buffer
	if err := render.TraceDiff(&out, []api.Result[*waterfall.Diff]{{Value: compare(a, b)}}, false, render.Options{Width: 100, Now: noon}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n > 60 || !strings.Contains(out.String(), "rows that differ by less than") {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
}

// Two traces that took as long are not the same for that.
func TestTraceDiffVerdict(t *testing.T) {
	a := api.Trace{TraceID: "a", Spans: []api.Span{sampleSpan("a", "", "svc", "GET /", 0, 100), sampleSpan("b", "a", "db", "SELECT", 10, 50)}}
	fails := api.Trace{TraceID: "b", Spans: []api.Span{a.Spans[0], a.Spans[1]}}
	fails.Spans[1].Status = api.StatusError
	gone := api.Trace{TraceID: "c", Spans: a.Spans[:1]}
	for _, tt := range []struct {
		b    api.Trace
		want string
	}{{a, "● no difference"}, {fails, "✗ same duration, new errors"}, {gone, "● same duration"}} {
		var out bytes.Buffer
		if err := render.TraceDiff(&out, []api.Result[*waterfall.Diff]{{Value: compare(a, tt.b)}}, false, render.Options{Width: 100, Now: noon}); err != nil {
			t.Fatal(err)
		}
		if first, _, _ := strings.Cut(out.String(), "\n"); !strings.HasSuffix(first, " "+tt.want) {
			t.Errorf("%q, want %q at its end", first, tt.want)
		}
	}
}

func TestTraceDiffDeep(t *testing.T) {
	a, b := deepTrace(), deepTrace()
	b.Spans = b.Spans[:9000]
	for _, o := range []render.Options{{Width: 80, Now: noon}, {Width: 80, Now: noon, Limit: -1}} {
		var out bytes.Buffer
		if err := render.TraceDiff(&out, []api.Result[*waterfall.Diff]{{Value: compare(a, b)}}, true, o); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if n := len([]rune(line)) - 1; n > 80 {
				t.Fatalf("a line of %d cells: %q", n, line)
			}
		}
	}
}

func BenchmarkTraceDiff10k(b *testing.B) {
	x, y := wideTrace(10_000), wideTrace(10_000)
	b.ReportAllocs()
	for b.Loop() {
		if err := render.TraceDiff(io.Discard, []api.Result[*waterfall.Diff]{{Value: compare(x, y)}}, true, render.Options{Limit: -1, Color: render.TrueColor}); err != nil {
			b.Fatal(err)
		}
	}
}
