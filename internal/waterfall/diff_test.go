package waterfall_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// aligned writes the aligned tree: counts and totals of both sides, the gain.
func aligned(d *waterfall.Diff) string {
	var b strings.Builder
	text := func(s *waterfall.Spans) string {
		if s == nil {
			return "–"
		}
		return fmt.Sprintf("%d×%v", s.Count, s.Total.Duration())
	}
	for _, p := range d.Rows {
		fmt.Fprintf(&b, "%s%s %s %s %v", strings.Repeat(" ", p.Depth), p.Operation, text(p.A), text(p.B), p.PathDelta.Duration())
		b.WriteByte('\n')
	}
	return b.String()
}

func TestCompare(t *testing.T) {
	a := layout(
		sp("r", "", 0, 100), sp("auth", "r", 0, 10), sp("rank", "r", 10, 90), with(sp("1", "rank", 10, 50), named("call")),
		with(sp("2", "rank", 50, 90), named("call")), sp("old", "r", 92, 98))
	b := layout(
		sp("r", "", 0, 250), sp("auth", "r", 0, 12), sp("rank", "r", 12, 240), with(sp("1", "rank", 12, 50), named("call")),
		with(with(sp("2", "rank", 50, 200), named("call")), func(s *api.Span) { s.Status, s.StatusMessage = "error", "503" }), sp("new", "rank", 201, 239), sp("below", "new", 210, 220))
	d := waterfall.Compare(a, b)
	want := `r 1×100ms 1×250ms 6ms
 auth 1×10ms 1×12ms 2ms
 rank 1×80ms 1×228ms 2ms
  call 1×40ms 1×38ms -2ms
  call 1×40ms 1×150ms 110ms
  new – 1×38ms 28ms
   below – 1×10ms 10ms
 old 1×6ms – -6ms
`
	if got := aligned(d); got != want {
		t.Errorf("aligned\n%swant\n%s", got, want)
	}
	if d.Delta.Duration() != 150*time.Millisecond || d.Ratio != 1.5 || !d.SameRoot {
		t.Errorf("delta %v, ratio %v, same root %v", d.Delta.Duration(), d.Ratio, d.SameRoot)
	}
	if m := d.Most; m == nil || strings.Join(m.Path, " › ") != "r › rank › call" || m.Delta.Duration() != 110*time.Millisecond {
		t.Errorf("most of it: %+v", m)
	}
	if !d.Changed || names(d, d.Entered) != "new below" || names(d, d.Left) != "old" {
		t.Errorf("changed %v: entered %s, left %s", d.Changed, names(d, d.Entered), names(d, d.Left))
	}
	if names(d, d.NewErrors) != "call" || d.Rows[d.NewErrors[0]].B.Message != "503" || d.Rows[d.NewErrors[0]].B.SpanID != "2" || len(d.NoErrors) != 0 {
		t.Errorf("new errors %v, gone %v", d.NewErrors, d.NoErrors)
	}
}

// TestDiffJSON holds the form that machines read: fields are added to it, never
// changed.
func TestDiffJSON(t *testing.T) {
	d := waterfall.Compare(layout(sp("r", "", 0, 100), sp("a", "r", 10, 50), sp("old", "r", 60, 70)),
		layout(sp("r", "", 0, 120), with(with(sp("1", "r", 10, 90), named("a")), ended(api.StatusTimeout)), sp("new", "r", 90, 100)))
	d.A.TraceID, d.A.Source, d.A.Selector, d.A.Among, d.B.TraceID = "4bf9", "http://127.0.0.1:8000", "@p50", 37, "7c0f"
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, "diff.golden", append(b, '\n'))
}

func names(d *waterfall.Diff, rows []int) string {
	var out []string
	for _, i := range rows {
		out = append(out, d.Rows[i].Operation)
	}
	return strings.Join(out, " ")
}

func TestCompareRuns(t *testing.T) {
	run := func(n int) []api.Span {
		spans := []api.Span{sp("r", "", 0, float64(n*10))}
		for i := range n {
			id := fmt.Sprint(i)
			spans = append(spans, with(sp(id, "r", float64(i*10), float64(i*10+8)), named("SELECT")), with(sp("x"+id, id, float64(i*10), float64(i*10+1)), named("row")))
		}
		return spans
	}
	d := waterfall.Compare(layout(run(1)...), layout(run(48)...))
	if got, want := aligned(d), "r 1×10ms 1×480ms 94ms\n SELECT 1×8ms 48×384ms 329ms\n  row 1×1ms 48×48ms 47ms\n"; got != want {
		t.Errorf("aligned\n%swant\n%s", got, want)
	}
	if d.Changed {
		t.Error("the same path of names is called changed")
	}
}

func TestCompareWithItself(t *testing.T) {
	d := waterfall.Compare(layout(shop(true)...), layout(shop(true)...))
	if d.Delta != 0 || d.Most != nil || d.Changed || len(d.NewErrors)+len(d.NoErrors) != 0 {
		t.Errorf("a trace differs from itself: %+v", d)
	}
	none := waterfall.Compare(layout(), layout(sp("r", "", 0, 10)))
	if len(none.Rows) != 1 || none.Rows[0].A != nil || none.Ratio != 0 {
		t.Errorf("against nothing: %+v", none)
	}
}

// FuzzCompare: what the rows gain on the critical path sums up to the
// difference, each span is in one row, and the other way round is the opposite.
func FuzzCompare(f *testing.F) {
	for i := range uint64(40) {
		f.Add(i, uint8(i*5), uint8(i*3))
	}
	f.Fuzz(func(t *testing.T, seed uint64, n, m uint8) {
		r := rand.New(rand.NewPCG(seed, 2))
		a, b := layout(randomSpans(r, int(n))...), layout(randomSpans(r, int(m))...)
		d, back := waterfall.Compare(a, b), waterfall.Compare(b, a)
		var gain api.Seconds
		spans := [2]int{}
		for i, p := range d.Rows {
			gain += p.PathDelta
			if p.Parent >= i {
				t.Fatalf("row %d stands below %d", i, p.Parent)
			}
			for side, s := range []*waterfall.Spans{p.A, p.B} {
				if s != nil {
					spans[side] += s.Count
				}
			}
		}
		if gain != d.Delta || spans != [2]int{len(a.Rows), len(b.Rows)} || back.Delta != -d.Delta || len(back.Rows) != len(d.Rows) {
			t.Errorf("gain %v of %v; %v spans of %d and %d; back %v", gain, d.Delta, spans, len(a.Rows), len(b.Rows), back.Delta)
		}
		if _, err := json.Marshal(d); err != nil {
			t.Error(err)
		}
	})
}
