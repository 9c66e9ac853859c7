package waterfall_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// with changes a span and returns it.
func with(s api.Span, f func(*api.Span)) api.Span {
	f(&s)
	return s
}

func kind(k string) func(*api.Span)           { return func(s *api.Span) { s.Kind = k } }
func of(service string) func(*api.Span)       { return func(s *api.Span) { s.Service = service } }
func ended(status api.Status) func(*api.Span) { return func(s *api.Span) { s.Status = status } }
func running(s *api.Span)                     { s.Duration = nil }
func named(operation string) func(s *api.Span) {
	return func(s *api.Span) { s.OperationName = operation }
}

// path writes the stretches of the critical path in the order of time.
func path(l *waterfall.Layout) string {
	type stretch struct {
		id string
		waterfall.Window
	}
	var all []stretch
	for _, r := range l.Rows {
		for _, w := range r.Critical {
			all = append(all, stretch{r.Span.SpanID, w})
		}
	}
	slices.SortFunc(all, func(a, b stretch) int { return cmp.Compare(a.From, b.From) })
	var out []string
	for _, s := range all {
		out = append(out, fmt.Sprintf("%s %d-%d", s.id, s.From.Milliseconds(), s.To.Milliseconds()))
	}
	return strings.Join(out, ", ")
}

func TestCriticalPath(t *testing.T) {
	root := sp("r", "", 0, 100)
	for _, tt := range []struct {
		name  string
		spans []api.Span
		want  string
	}{
		{"alone", []api.Span{root}, "r 0-100"},
		{"one after the other", []api.Span{root, sp("a", "r", 10, 40), sp("b", "r", 40, 90)}, "r 0-10, a 10-40, b 40-90, r 90-100"},
		{"gaps are the parent's", []api.Span{root, sp("a", "r", 10, 30), sp("b", "r", 60, 90)}, "r 0-10, a 10-30, r 30-60, b 60-90, r 90-100"},
		{"side by side the last to finish", []api.Span{root, sp("a", "r", 0, 60), sp("b", "r", 10, 95)}, "r 0-10, b 10-95, r 95-100"},
		{"what had ended before it counts too", []api.Span{root, sp("a", "r", 5, 40), sp("long", "r", 5, 70), sp("b", "r", 50, 90)}, "r 0-5, a 5-40, r 40-50, b 50-90, r 90-100"},
		{"both end together: the longer", []api.Span{root, sp("a", "r", 20, 90), sp("b", "r", 50, 90)}, "r 0-20, a 20-90, r 90-100"},
		{"grandchildren", []api.Span{root, sp("a", "r", 10, 90), sp("b", "a", 20, 50), sp("c", "a", 30, 80)}, "r 0-10, a 10-30, c 30-80, a 80-90, r 90-100"},
		{"left behind in its service", []api.Span{root, sp("db", "r", 20, 95), sp("audit", "r", 10, 300)}, "r 0-20, db 20-95, r 95-100"},
		{"another service's clock may differ", []api.Span{root, with(sp("a", "r", 50, 103), of("b"))}, "r 0-50, a 50-100"},
		{"the parent gave up", []api.Span{with(root, ended(api.StatusTimeout)), sp("a", "r", 50, 300)}, "r 0-50, a 50-100"},
		{"the parent was aborted", []api.Span{with(root, ended(api.StatusAborted)), sp("a", "r", 50, 300)}, "r 0-50, a 50-100"},
		{"a consumer that goes on", []api.Span{root, with(with(sp("a", "r", 50, 300), of("b")), kind("consumer"))}, "r 0-100"},
		{"a consumer that the parent covers", []api.Span{root, with(sp("a", "r", 50, 80), kind("consumer"))}, "r 0-50, a 50-80, r 80-100"},
		{"below one that was cut at the end", []api.Span{root, with(sp("a", "r", 50, 300), of("b")), with(sp("b", "a", 60, 250), of("b"))}, "r 0-50, a 50-60, b 60-100"},
		{"begins after the end", []api.Span{root, with(sp("a", "r", 150, 300), of("b"))}, "r 0-100"},
		{"begins before its parent", []api.Span{sp("r", "", 50, 150), with(sp("a", "r", 0, 100), of("b"))}, "a 50-100, r 100-150"},
		{"times rounded to microseconds", []api.Span{root, sp("a", "r", 10, 40.001), sp("b", "r", 40, 100.002)}, "r 0-10, a 10-40, b 40-100"},
		{"ends before it starts", []api.Span{root, sp("a", "r", 60, 40)}, "r 0-100"},
		{"the longest of the roots", []api.Span{sp("short", "", 0, 10), sp("a", "long", 30, 40), sp("long", "", 20, 80)}, "long 20-30, a 30-40, long 40-80"},
		{"still running", []api.Span{with(root, running), sp("a", "r", 10, 30), with(sp("b", "r", 20, 0), running), sp("c", "r", 35, 40)}, "r 0-20, b 20-40"},
		{"orphans alone", []api.Span{sp("x", "gone", 0, 10), sp("y", "gone", 20, 40)}, "x 0-10, y 20-40"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := path(layout(tt.spans...)); got != tt.want {
				t.Errorf("path %s, want %s", got, tt.want)
			}
		})
	}
}

// TestScreen is the trace of the screen in the documentation.
func TestScreen(t *testing.T) {
	l := layout(
		sp("root", "", 0, 1284), sp("auth", "root", 2, 10.1), sp("redis get", "root", 11, 13.3), sp("context", "root", 14, 355),
		sp("select", "context", 16, 134), sp("pulls", "context", 16, 338), sp("issues", "context", 18, 222), sp("rank", "root", 358, 1260),
		sp("try 1", "rank", 361, 611), sp("backoff", "rank", 611, 661), sp("try 2", "rank", 661, 1232), sp("merge", "rank", 1233, 1259),
		sp("setex", "root", 1262, 1263.4), sp("audit", "root", 1262, 1276))
	var got []string
	for _, s := range l.Critical[:4] {
		got = append(got, fmt.Sprintf("%s %v %.1f%%", l.Rows[s.Row].Span.SpanID, s.Own, s.Share*100))
	}
	want := "try 2 571ms 44.5%, pulls 322ms 25.1%, try 1 250ms 19.5%, backoff 50ms 3.9%"
	if strings.Join(got, ", ") != want {
		t.Errorf("critical path %s, want %s", strings.Join(got, ", "), want)
	}
}

func TestFocus(t *testing.T) {
	l := layout(sp("r", "", 0, 100), sp("a", "r", 0, 60), sp("b", "a", 10, 30), sp("c", "r", 5, 95))
	if got, want := path(l), "r 0-5, c 5-95, r 95-100"; got != want {
		t.Errorf("path %s, want %s", got, want)
	}
	row, err := l.Find("a")
	if err != nil {
		t.Fatal(err)
	}
	l.Focus(row)
	if got, want := path(l), "a 0-10, b 10-30, a 30-60"; got != want || l.Path != 60*time.Millisecond {
		t.Errorf("path %s of %v, want %s", got, l.Path, want)
	}
}

// randomSpans makes a trace of n spans of every sort: several roots, missing
// parents, cycles, ids used twice, children that outlive their parents, end
// before they start or run still.
func randomSpans(r *rand.Rand, n int) []api.Span {
	spans := make([]api.Span, n)
	for i := range spans {
		from := r.Float64() * 100
		spans[i] = sp(fmt.Sprint(r.IntN(n)), []string{"", fmt.Sprint(r.IntN(n + 2))}[min(r.IntN(6), 1)], from, from+r.Float64()*60-5)
		spans[i].OperationName = []string{"GET", "SELECT", "work"}[r.IntN(3)]
		spans[i].Service = []string{"a", "b"}[r.IntN(2)]
		spans[i].Status = []api.Status{"ok", "ok", "ok", "error", "aborted"}[r.IntN(5)]
		spans[i].Kind = []string{"", "internal", "server", "client", "producer", "consumer"}[r.IntN(6)]
		if r.IntN(12) == 0 {
			spans[i].Duration = nil
		}
		if r.IntN(40) == 0 {
			spans[i].StartUnixNano = api.Nano(r.Uint64())
		}
	}
	return spans
}

// FuzzLayout: whatever the trace, each span has one row, rows follow their
// parents, and the stretches of the critical path lie within their spans, never
// overlap, and sum up to the root's duration.
func FuzzLayout(f *testing.F) {
	for i := range uint64(60) {
		f.Add(i, uint8(i*4), i%3 == 0)
	}
	f.Fuzz(func(t *testing.T, seed uint64, n uint8, now bool) {
		spans := randomSpans(rand.New(rand.NewPCG(seed, 0)), int(n))
		at := time.Time{}
		if now {
			at = time.Unix(0, t0+120e6)
		}
		l := waterfall.New(&api.Trace{Spans: spans}, at)
		seen := map[*api.Span]bool{}
		for i, row := range l.Rows {
			if row.Parent >= i || row.Self < 0 || row.Size < 1 || i+row.Size > len(l.Rows) {
				t.Fatalf("row %d has the parent %d, own time %v, size %d", i, row.Parent, row.Self, row.Size)
			}
			if row.Span != nil {
				seen[row.Span] = true
			}
		}
		if len(seen) != len(spans) {
			t.Errorf("%d of %d spans have rows", len(seen), len(spans))
		}
		checkPath(t, l)
		if len(l.Rows) > 0 {
			l.Focus(int(seed % uint64(len(l.Rows))))
			checkPath(t, l)
		}
	})
}

func checkPath(t *testing.T, l *waterfall.Layout) {
	t.Helper()
	var all []waterfall.Window
	total := time.Duration(0)
	for i := range l.Rows {
		r := &l.Rows[i]
		for _, w := range r.Critical {
			if w.From >= w.To || w.From < r.Start || w.To > r.End {
				t.Fatalf("a stretch %v of a span from %v to %v", w, r.Start, r.End)
			}
			all = append(all, w)
			total += w.To - w.From
		}
	}
	slices.SortFunc(all, func(a, b waterfall.Window) int { return cmp.Compare(a.From, b.From) })
	for i := 1; i < len(all); i++ {
		if all[i].From < all[i-1].To {
			t.Fatalf("stretches overlap: %v and %v", all[i-1], all[i])
		}
	}
	want := l.Path
	if l.Root >= 0 && l.Rows[l.Root].Span != nil {
		want = max(l.Rows[l.Root].Length(), 0)
	}
	steps := time.Duration(0)
	for _, s := range l.Critical {
		steps += s.Own
	}
	if total != want || steps != want || l.Path != want {
		t.Fatalf("the path sums up to %v, its steps to %v, said are %v; want %v", total, steps, l.Path, want)
	}
}
