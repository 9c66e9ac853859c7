package render_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// orderTrace is an order of 48 items: a query each, three lookups alike, a
// charge that failed, a clock that is behind, and what was left behind.
func orderTrace() api.Trace {
	root := sampleSpan("0a00000000000001", "", "shop", "POST /orders", 0, 900, "http.response.status_code", 502.0, "order.items", 48.0)
	root.Kind, root.Status, root.StatusMessage = "server", api.StatusError, "payment failed"
	spans := []api.Span{root, sampleSpan("0a00000000000002", "0a00000000000001", "shop", "reserve", 5, 400)}
	for i := range 48 {
		id := fmt.Sprintf("0b%014x", i)
		at := float64(8 + i*8)
		spans = append(spans, sampleSpan(id, "0a00000000000002", "stock", "SELECT stock", at, 3+float64(i%5), "db.rows", 1.0, "item", float64(i)))
	}
	for i := range 3 {
		id := fmt.Sprintf("0c%014x", i)
		spans = append(spans, sampleSpan(id, "0a00000000000001", "shop", "quote", float64(410+i*20), 18), sampleSpan(id+"a", id, "tax", "GET /rates", float64(412+i*20), 12))
	}
	charge := sampleSpan("0d00000000000001", "0a00000000000001", "shop", "charge", 480, 400)
	charge.Kind, charge.Status = "client", api.StatusError
	charge.Logs = []api.SpanLog{
		{Timestamp: api.Unix(noon.Add(-time.Minute + 700*time.Millisecond).UnixNano()), Level: "info", Message: "retry", Fields: map[string]any{"attempt": 2.0}},
		{Timestamp: api.Unix(noon.Add(-time.Minute + 879*time.Millisecond).UnixNano()), Level: "error", Message: "exception", Fields: map[string]any{
			"exception.type": "*url.Error", "exception.message": "post \"https://pay.example/charge\": connection reset",
			"exception.stacktrace": "goroutine 1 [running]:\nmain.charge(0x1)\n\t/src/charge.go:12 +0x1\x1b[2J\n",
		}},
	}
	charge.Scope, charge.Dropped = "github.com/acme/shop/pay", api.CountOf(3)
	charge.Links = []api.SpanLink{{TraceID: "5bf92f3577b34da6a3ce929d0e0e4736", SpanID: "00f067aa0ba902b7", Tags: map[string]any{"why": "the cart"}}}
	charge.Tags = map[string]any{"server.address": "pay.example", "http.request.method": "POST", "request.id": "r-1", "list": []any{"a", 1.0}}
	spans = append(spans, charge,
		sampleSpan("0d00000000000002", "0d00000000000001", "pay", "POST /charge", 380, 200), // its clock is 100 ms behind
		sampleSpan("0e00000000000001", "0a00000000000001", "shop", "mail", 890, 300),        // left behind
		sampleSpan("0e00000000000002", "0a00000000000001", "shop", "back", 600, -20),
		sampleSpan("0f00000000000001", "00000000000000ff", "worker", "ship", 950, 100),
		sampleSpan("0f00000000000002", "", "cron", "tick", 100, 50),
	)
	no := false
	return api.Trace{
		TraceID: "7c0ffee577b34da6a3ce929d0e0e4736", Root: "POST /orders", Service: "shop", Status: api.StatusError, Complete: &no,
		StartTime: api.Unix(noon.Add(-time.Minute).UnixNano()), SpanCount: api.CountOf(len(spans)), ErrorCount: api.CountOf(2), Spans: spans,
	}
}

func TestTraceViews(t *testing.T) {
	for name, o := range map[string]waterfall.Options{
		"trace-order":        {},
		"trace-order-errors": {Filter: waterfall.Filter{Errors: true}},
		"trace-order-grep":   {Filter: waterfall.Filter{Match: regexp.MustCompile(`rates|exception\.type=`)}},
		"trace-order-depth":  {Filter: waterfall.Filter{Depth: 1}},
		"trace-order-span":   {Span: "0d00000000000001"},
		"trace-order-orphan": {Span: "0f00000000000001"},
		"trace-order-none":   {Filter: waterfall.Filter{Match: regexp.MustCompile(`no such thing`)}},
	} {
		one := oneShown(t, orderTrace(), o)
		golden(t, name, func(w *bytes.Buffer, o render.Options) error { return render.Trace(w, one, o) })
	}
	full := oneShown(t, orderTrace(), waterfall.Options{Full: true, Filter: waterfall.Filter{Errors: true}})
	golden(t, "trace-order-all", func(w *bytes.Buffer, o render.Options) error { return render.Trace(w, full, o) })
}

// A long waterfall says at its end where the errors are, also those beyond its
// limit.
func TestTraceJumps(t *testing.T) {
	tr := api.Trace{TraceID: "jumps", Spans: []api.Span{sampleSpan("root", "", "a", "root", 0, 1000)}}
	for i := range 100 {
		s := sampleSpan(fmt.Sprintf("%016x", i<<40), "root", "a", fmt.Sprint("work ", i), float64(i*10), 9)
		if i%30 == 29 {
			s.Status, s.StatusMessage = api.StatusError, "boom"
		}
		tr.Spans = append(tr.Spans, s)
	}
	var out bytes.Buffer
	if err := render.Trace(&out, oneShown(t, tr, waterfall.Options{}), render.Options{Width: 100, Limit: 70, Now: noon}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"70 of 101 spans  --limit 0 shows all; 1 among the rest failed", "Failed: --span 00001d00 work 29, --span 00003b00 work 59, --span 00005900 work 89"} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("it does not say %q:\n%s", want, out.String()[out.Len()-800:])
		}
	}
}

// wideTrace is a trace of n spans of many shapes, a tenth of them in runs.
func wideTrace(n int) api.Trace {
	r := rand.New(rand.NewPCG(1, 2))
	tr := api.Trace{TraceID: "wide", SpanCount: api.CountOf(n)}
	for i := range n {
		parent := ""
		if i > 0 {
			parent = fmt.Sprintf("%016x", r.IntN(i))
		}
		s := sampleSpan(fmt.Sprintf("%016x", i), parent, fmt.Sprint("service ", i%12), fmt.Sprint("GET /items/", r.IntN(400)), float64(i), float64(10+r.IntN(n)),
			"http.response.status_code", 200.0, "url.path", "/items", "user.id", "u_1", "region", "eu", "retry.attempt", 0.0)
		if i%97 == 0 {
			s.Status, s.StatusMessage = api.StatusError, "connection reset"
		}
		tr.Spans = append(tr.Spans, s)
	}
	return tr
}

func BenchmarkTraceShapes10k(b *testing.B) {
	tr := wideTrace(10_000)
	b.ReportAllocs()
	for b.Loop() {
		var out bytes.Buffer
		if err := render.Trace(&out, oneShown(b, tr, waterfall.Options{}), render.Options{Limit: -1, Color: render.TrueColor, Now: noon}); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzTrace: whatever a span calls itself, no escape code is drawn and no line
// is too wide.
func FuzzTrace(f *testing.F) {
	f.Add("GET /", "key", "value", 80)
	f.Add("\x1b]0;title\x07\x9b31m", "a\nb", "\x1b[2J\u202e\r\n", 60)
	f.Add("漢字漢字漢字漢字漢字漢字漢字", "ключ", strings.Repeat("x", 300), 61)
	f.Fuzz(func(t *testing.T, name, key, value string, width int) {
		width = 60 + (width%200+200)%200
		s := sampleSpan(name, "", key, name, 0, 10, key, value)
		s.Status, s.StatusMessage, s.Kind, s.Scope = api.StatusError, value, key, name
		s.Logs = []api.SpanLog{{Level: "error", Message: name, Fields: map[string]any{key: value}}}
		s.Links = []api.SpanLink{{TraceID: name, SpanID: value}}
		child := sampleSpan(value, name, value, key, -5, 30, name, key)
		tr := api.Trace{TraceID: value, Root: name, RequestID: key, ProfileIDs: []string{value}, Spans: []api.Span{s, child}}
		for _, o := range []waterfall.Options{{}, {Full: true}, {Span: name}} {
			v, err := waterfall.Show(tr, noon, o)
			if err != nil {
				continue // a name that is no id
			}
			var out bytes.Buffer
			if err := render.Trace(&out, []api.Result[waterfall.Shown]{{Value: v}}, render.Options{Width: width, Now: noon}); err != nil {
				t.Fatal(err)
			}
			if i := strings.IndexFunc(out.String(), func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f || r >= 0x80 && r < 0xa0 }); i >= 0 {
				t.Errorf("a control character is drawn: %q", out.String()[i:min(i+20, out.Len())])
			}
		}
	})
}

// What is odd about a trace, or missing from it, is said below the waterfall.
func TestTraceNotes(t *testing.T) {
	no := false
	running := sampleSpan("b", "a", "svc", "poll", 10, 0)
	running.Duration, running.EndTime = nil, api.Time{}
	ahead := func(id, parent string) api.Span {
		return sampleSpan(id, parent, "db", "SELECT", 60+8*float64(len(id)), 50)
	}
	for _, tt := range []struct {
		name  string
		trace api.Trace
		want  []string
	}{
		{"incomplete", api.Trace{Complete: &no, Spans: []api.Span{sampleSpan("a", "", "svc", "GET /", 0, 100)}}, []string{"The server says that the trace is incomplete"}},
		{"fewer than counted", api.Trace{SpanCount: api.CountOf(1204), Spans: []api.Span{sampleSpan("a", "", "svc", "GET /", 0, 100)}}, []string{"The server sent 1 of the 1,204 spans."}},
		{"running", api.Trace{Status: api.StatusActive, Complete: &no, Spans: []api.Span{sampleSpan("a", "", "svc", "GET /", 0, 100), running}}, []string{"◐ active", "◐1m00s", "─…\n"}},
		{"clocks", api.Trace{Spans: []api.Span{sampleSpan("a", "", "svc", "GET /", 0, 100), ahead("c", "a"), ahead("cc", "a")}},
			[]string{"ends 26.0ms late", "2 end after their parents, up to 26.0ms", "The clock of db seems to be 26.0ms to 68.0ms ahead of that of svc: 2 spans lie outside of their parents."}},
		{"no name", api.Trace{Spans: []api.Span{sampleSpan("a", "", "svc", "", 0, 100), sampleSpan("b", "", "svc", "", 0, 90)}},
			[]string{"a (no name) ", "that of the longest, (no name).", "100.0%  ████████████████████  (no name)  svc"}},
		{"one cut", api.Trace{Spans: []api.Span{{SpanID: "a", OperationName: "x", Dropped: api.CountOf(1)}}}, []string{"1 attribute, event or link was beyond the limits: it was dropped, or its text cut."}},
		{"future", api.Trace{Spans: []api.Span{sampleSpan("a", "", "svc", "GET /", 59_000, 11_000)}}, []string{"10.0s in the future", "1 lies in the future by 10.0s"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := render.Trace(&out, oneShown(t, tt.trace, waterfall.Options{}), render.Options{Width: 140, Now: noon}); err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("it does not say %q:\n%s", want, out.String())
				}
			}
		})
	}
}
