package waterfall_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// lines writes a view as text: how many spans, the first's id, what is below.
func lines(l *waterfall.Layout, v *waterfall.View) string {
	var b strings.Builder
	for _, line := range v.Lines {
		b.WriteString(strings.Repeat(" ", line.Depth))
		if len(line.Rows) > 1 {
			fmt.Fprintf(&b, "×%d ", len(line.Rows))
		}
		r := l.Rows[line.Rows[0]]
		if r.Span == nil {
			b.WriteString("missing ")
		} else {
			b.WriteString(r.Span.SpanID)
		}
		if line.Deep > 0 {
			fmt.Fprintf(&b, " +%d", line.Deep)
		}
		b.WriteByte('\n')
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// shop is a request that reads 4 items, each with a query and a lookup, and
// then queries stock 3 times; the last item fails.
func shop(failing bool) []api.Span {
	spans := []api.Span{sp("r", "", 0, 100)}
	for i := range 4 {
		at := float64(i * 10)
		item := fmt.Sprint("i", i)
		spans = append(spans, with(sp(item, "r", at, at+9), named("item")), with(sp("q"+item, item, at+1, at+4), named("SELECT")), with(sp("l"+item, item, at+5, at+6), named("GET")))
	}
	for i := range 3 {
		spans = append(spans, with(sp(fmt.Sprint("s", i), "r", float64(50+i*10), float64(55+i*10)), named("SELECT stock")))
	}
	if failing {
		spans[10].Status, spans[11].Status, spans[11].Tags = api.StatusError, api.StatusError, map[string]any{"db.table": "items"}
	}
	return spans
}

func TestSelect(t *testing.T) {
	for _, tt := range []struct {
		name    string
		failing bool
		under   string
		f       waterfall.Filter
		want    string
		hidden  int
	}{
		{"runs", false, "", waterfall.Filter{}, "r\n ×4 i0\n  ×4 qi0\n  ×4 li0\n ×3 s0", 0},
		{"another outcome ends a run", true, "", waterfall.Filter{}, "r\n ×3 i0\n  ×3 qi0\n  ×3 li0\n i3\n  qi3\n  li3\n ×3 s0", 0},
		{"depth", false, "", waterfall.Filter{Depth: 1}, "r\n ×4 i0 +8\n ×3 s0", 0},
		{"errors", true, "", waterfall.Filter{Errors: true}, "r\n i3\n  qi3", 13},
		{"no errors", false, "", waterfall.Filter{Errors: true}, "", 16},
		{"match a name", false, "", waterfall.Filter{Match: regexp.MustCompile("stock")}, "r\n ×3 s0", 12},
		{"match an attribute", true, "", waterfall.Filter{Match: regexp.MustCompile("^db.table=it")}, "r\n i3\n  qi3", 13},
		{"subtree", false, "i2", waterfall.Filter{}, "i2\n qi2\n li2", 0},
		{"subtree, match", false, "i2", waterfall.Filter{Match: regexp.MustCompile("GET")}, "i2\n li2", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, top := layout(shop(tt.failing)...), -1
			if tt.under != "" {
				var err error
				if top, err = l.Find(tt.under); err != nil {
					t.Fatal(err)
				}
			}
			v := waterfall.Select(l, top, tt.f)
			if got := lines(l, v); got != tt.want || v.Hidden != tt.hidden {
				t.Errorf("view, %d hidden\n%s\nwant, %d hidden\n%s", v.Hidden, got, tt.hidden, tt.want)
			}
		})
	}
	unfolded := waterfall.Select(layout(shop(false)...), -1, waterfall.Filter{Unfold: true})
	if len(unfolded.Lines) != 16 || unfolded.Folded != 0 {
		t.Errorf("unfolded: %d lines, %d folded", len(unfolded.Lines), unfolded.Folded)
	}
	if v := waterfall.Select(layout(sp("r", "", 0, 100), sp("a", "r", 50, 120)), 1, waterfall.Filter{}); v.From != 50*time.Millisecond || v.To != 120*time.Millisecond {
		t.Errorf("a subtree is shown from %v to %v", v.From, v.To)
	}
}

func TestFind(t *testing.T) {
	l := layout(sp("abcd", "", 0, 1), sp("abce", "abcd", 0, 1), sp("ab", "abcd", 0, 1), sp("abcd", "", 0, 1))
	for prefix, want := range map[string]string{
		"ab": "", "abcd": "", "abce": "", "abc": `span id "abc" fits 2 spans: abcd, abce`, "x": `the trace has no span "x"`, "": `the trace has no span ""`,
	} {
		row, err := l.Find(prefix)
		var e *api.Error
		switch {
		case want == "" && (err != nil || l.Rows[row].Span.SpanID != prefix):
			t.Errorf("Find(%q) = %d, %v", prefix, row, err)
		case want != "" && (!errors.As(err, &e) || e.Status != 404 || e.Error() != want):
			t.Errorf("Find(%q) = %v, want %s", prefix, err, want)
		}
	}
}

// FuzzSelect: whatever the filter, a span is shown, folded, deeper or hidden,
// each exactly once, and lines follow those they stand below.
func FuzzSelect(f *testing.F) {
	for i := range uint64(60) {
		f.Add(i, uint8(i*4), uint8(i), i%2 == 0, i%5 == 0)
	}
	f.Fuzz(func(t *testing.T, seed uint64, n, depth uint8, failed, unfold bool) {
		l := layout(randomSpans(rand.New(rand.NewPCG(seed, 1)), int(n))...)
		filter := waterfall.Filter{Errors: failed, Depth: int(depth % 6), Unfold: unfold}
		if seed%3 == 0 {
			filter.Match = regexp.MustCompile("SELECT")
		}
		v := waterfall.Select(l, -1, filter)
		seen := map[int]bool{}
		spans, deep := 0, 0
		for i, line := range v.Lines {
			if line.Above >= i || len(line.Rows) == 0 {
				t.Fatalf("line %d stands below %d and has %d rows", i, line.Above, len(line.Rows))
			}
			for _, row := range line.Rows {
				if seen[row] {
					t.Fatalf("row %d is shown twice", row)
				}
				seen[row] = true
				if l.Rows[row].Span != nil {
					spans++
				}
			}
			deep += line.Deep
		}
		if spans+deep != v.Spans || v.Spans+v.Hidden != int(n) || deep != v.Deep {
			t.Errorf("%d shown, %d deeper (%d said), %d hidden, %d wanted of %d", spans, deep, v.Deep, v.Hidden, v.Spans, n)
		}
	})
}
