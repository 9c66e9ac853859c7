package waterfall_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
)

const t0 = 1_700_000_000_000_000_000

// sp makes a span of milliseconds since t0.
func sp(id, parent string, from, to float64) api.Span {
	d := api.Seconds((to - from) * 1e6)
	s := api.Span{SpanID: id, OperationName: id, StartUnixNano: api.Nano(t0 + int64(from*1e6)), Duration: &d, Service: "svc", Status: api.StatusOK}
	if parent != "" {
		s.ParentSpanID = &parent
	}
	return s
}

func layout(spans ...api.Span) *waterfall.Layout {
	return waterfall.New(&api.Trace{Spans: spans}, time.Time{})
}

// draw writes the tree as text: name, own time, marks.
func draw(l *waterfall.Layout) string {
	var b strings.Builder
	v := waterfall.Select(l, -1, waterfall.Filter{Unfold: true})
	for _, line := range v.Lines {
		r := l.Rows[line.Rows[0]]
		name := "missing " + r.Missing
		if r.Span != nil {
			name = r.Span.SpanID
		}
		fmt.Fprintf(&b, "%s%s %v", strings.Repeat(" ", line.Depth), name, r.Self)
		for _, m := range []struct {
			on   bool
			name string
		}{{line.Last, "last"}, {r.Error, "error"}, {r.Running, "running"}, {r.Duplicate, "duplicate"}, {r.Cycle, "cycle"}} {
			if m.on {
				b.WriteString(" " + m.name)
			}
		}
		for _, s := range r.Suspect {
			fmt.Fprintf(&b, " %s:%v", s.What, s.By)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func check(t *testing.T, l *waterfall.Layout, want string) {
	t.Helper()
	if got := draw(l); got != strings.TrimPrefix(want, "\n") {
		t.Errorf("layout\n%swant%s", got, want)
	}
}

func TestTree(t *testing.T) {
	l := layout(sp("c", "r", 60, 90), sp("r", "", 0, 100), sp("b", "r", 10, 50), sp("a", "b", 20, 30))
	check(t, l, `
r 30ms last
 b 30ms
  a 10ms last
 c 30ms last
`)
	if l.Duration != 100*time.Millisecond || l.Path != 100*time.Millisecond {
		t.Errorf("duration %v, path %v", l.Duration, l.Path)
	}
	if g := waterfall.Select(l, -1, waterfall.Filter{}).Guides(2, 10); len(g) != 2 || !g[0] || g[1] {
		t.Errorf("guides of a: %v, want b's going on and its own not", g)
	}
}

func TestOrphans(t *testing.T) {
	l := layout(sp("r", "", 0, 100), sp("x", "gone", 20, 30), sp("y", "gone", 40, 60), sp("z", "x", 20, 25))
	check(t, l, `
r 100ms
missing gone 0s last
 x 5ms
  z 5ms last
 y 20ms last
`)
	if l.Orphans != 2 {
		t.Errorf("%d orphans, want 2", l.Orphans)
	}
	if l := layout(sp("x", "gone", 0, 10), sp("y", "gone", 20, 40)); l.Path != 30*time.Millisecond || len(l.Critical) != 2 {
		t.Errorf("orphans alone: path %v, steps %+v", l.Path, l.Critical)
	}
}

func TestCyclesAndDuplicates(t *testing.T) {
	check(t, layout(sp("a", "b", 0, 10), sp("b", "c", 1, 9), sp("c", "b", 2, 8), sp("self", "self", 5, 6), sp("leaf", "a", 3, 4)), `
b 0s cycle
 a 9ms starts_early:1ms ends_late:1ms
  leaf 1ms last
 c 6ms last
self 1ms last cycle
`)
	check(t, layout(sp("r", "", 0, 10), sp("x", "r", 1, 2), sp("x", "r", 3, 4), sp("k", "x", 1, 2)), `
r 8ms last
 x 0s
  k 1ms last
 x 1ms last duplicate
`)
}

func TestRunning(t *testing.T) {
	r := sp("r", "", 0, 0)
	r.Duration = nil
	l := waterfall.New(&api.Trace{Spans: []api.Span{r, sp("a", "r", 10, 20)}}, time.Unix(0, t0+50e6))
	check(t, l, `
r 40ms last running
 a 10ms last
`)
	if len(layout().Rows) != 0 {
		t.Error("rows from nothing")
	}
}

func TestMessage(t *testing.T) {
	for _, tt := range []struct {
		name string
		span api.Span
		want string
	}{
		{"status", api.Span{StatusMessage: "boom", Logs: []api.SpanLog{{Level: "error", Message: "x"}}}, "boom"},
		{"exception", api.Span{Logs: []api.SpanLog{{Level: "error", Message: "exception", Fields: map[string]any{"exception.message": "bang"}}}}, "bang"},
		{"log", api.Span{Logs: []api.SpanLog{{Level: "ERROR", Message: "crash"}}}, "crash"},
		{"tag", api.Span{Tags: map[string]any{"error": true, "error.type": "timeout"}}, "timeout"},
		{"nothing", api.Span{}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := waterfall.Message(&tt.span); got != tt.want {
				t.Errorf("Message = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLarge(t *testing.T) {
	chain := make([]api.Span, 100_000)
	wide := make([]api.Span, 100_000)
	loop := make([]api.Span, 20_000)
	for i := range chain {
		chain[i] = sp(fmt.Sprint(i), fmt.Sprint(i-1), float64(i), 200_000)
		wide[i] = sp(fmt.Sprint(i), "0", float64(i), float64(i+10))
	}
	chain[0].ParentSpanID, wide[0].ParentSpanID = nil, nil
	for i := range loop {
		loop[i] = sp(fmt.Sprint(i), fmt.Sprint(i^1), float64(i), float64(i+10))
	}
	for name, spans := range map[string][]api.Span{"chain": chain, "wide": wide, "loops": loop} {
		t.Run(name, func(t *testing.T) {
			if l := layout(spans...); len(l.Rows) != len(spans) { // a quadratic layout would not return in the test's time
				t.Errorf("%d rows, want %d", len(l.Rows), len(spans))
			}
		})
	}
}

func BenchmarkLayout(b *testing.B) {
	spans := make([]api.Span, 10_000)
	for i := range spans {
		spans[i] = sp(fmt.Sprint(i), fmt.Sprint(i/3), float64(i), float64(i+100))
	}
	spans[0].ParentSpanID = nil
	b.ReportAllocs()
	for b.Loop() {
		layout(spans...)
	}
}
