package render_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// The whole screen of a terminal is drawn, and no more.
func TestFlamePainter(t *testing.T) {
	shown := shownFlame(t, demoProfile(t))
	top, err := hotspot.Top(demoProfile(t), hotspot.TopOptions{})
	if err != nil {
		t.Fatal(err)
	}
	view := func(mode render.FlameMode, change func(*render.FlameView)) func(*bytes.Buffer, render.Options) error {
		return func(w *bytes.Buffer, o render.Options) error {
			v := render.FlameView{FlameShown: shown, Width: o.Width, Height: 20, Mode: mode, Top: &top, TopAt: 2}
			v.Rows = render.FlameRows(shown.FlameGraph, v.Root, o.Width)
			change(&v)
			screen := render.NewFlamePainter(o).Screen(&v)
			if n := strings.Count(screen, "\n") + 1; n != v.Height {
				t.Errorf("at %d columns: %d lines, want %d", o.Width, n, v.Height)
			}
			for line := range strings.SplitSeq(screen, "\n") { // a terminal minds no blanks at the end of a line
				w.WriteString(strings.TrimRight(line, " ") + "\n")
			}
			return nil
		}
	}
	golden(t, "flameview", view(render.FlameGraphMode, func(v *render.FlameView) { v.Marks.Selected = 3 }))
	golden(t, "flameview-found", view(render.FlameGraphMode, func(v *render.FlameView) {
		v.Root, v.Search = 3, "json"
		v.Rows = render.FlameRows(shown.FlameGraph, v.Root, v.Width)
		matched, width := shown.Search(regexp.MustCompile("json"))
		v.Marks, v.Found, v.Share = render.FlameMarks{Selected: 3, Matched: matched}, 3, float64(width)/float64(shown.FlameGraph.Width)
	}))
	golden(t, "flameview-typing", view(render.FlameGraphMode, func(v *render.FlameView) { v.Typing, v.Search = true, "js\x1b[2J" }))
	golden(t, "flameview-top", view(render.FlameTopMode, func(*render.FlameView) {}))
	golden(t, "flameview-help", view(render.FlameHelpMode, func(*render.FlameView) {}))
	golden(t, "flameview-sandwich", view(render.FlameSandwichMode, func(v *render.FlameView) {
		o := hotspot.FlameOptions{Function: "main.buildContext"}
		v.Function = o.Function
		v.Callees, _ = hotspot.Flame(demoProfile(t), o)
		o.Inverted = true
		v.Callers, _ = hotspot.Flame(demoProfile(t), o)
		v.Rows, v.CallerRows = render.FlameRows(v.Callees, 1, v.Width)[1:], render.FlameRows(v.Callers, 1, v.Width)[1:]
		v.Marks.Selected, v.CallerMark.Selected = 1, -1
	}))
	for height := range 6 {
		for _, width := range []int{1, 2, 7, 30} {
			for mode := range render.FlameHelpMode + 1 {
				v := render.FlameView{FlameShown: shown, Width: width, Height: height, Mode: mode, Rows: render.FlameRows(shown.FlameGraph, 0, width)}
				screen := render.NewFlamePainter(render.Options{}).Screen(&v)
				for line := range strings.SplitSeq(screen, "\n") {
					if len([]rune(line)) > width {
						t.Errorf("mode %d, %d×%d: %q", mode, width, height, line)
					}
				}
			}
		}
	}
}

// BenchmarkFlameRedraw lays a graph of a profile with 250,000 stacks out and
// draws it on a large terminal: what a key costs.
func BenchmarkFlameRedraw(b *testing.B) {
	shown := shownFlame(b, wideProfile(b))
	for _, colour := range []struct {
		name string
		c    render.Color
	}{{"colour", render.TrueColor}, {"plain", render.NoColor}} {
		b.Run(colour.name, func(b *testing.B) {
			b.ReportAllocs()
			p := render.NewFlamePainter(render.Options{Color: colour.c})
			v := render.FlameView{FlameShown: shown, Width: 240, Height: 70}
			for b.Loop() {
				v.Rows = render.FlameRows(shown.FlameGraph, 0, v.Width)
				p.Screen(&v)
			}
		})
	}
}

// wideProfile has 250,000 stacks of 30 frames.
func wideProfile(t testing.TB) *hotspot.Profile {
	var folded strings.Builder
	seed := uint32(1)
	for range 250_000 {
		for depth := range 30 {
			seed = seed*1664525 + 1013904223
			folded.WriteString("example.com/module/package")
			folded.WriteByte('a' + byte(depth%26))
			folded.WriteString(".(*T).Function")
			folded.WriteByte('a' + byte(seed>>28))
			folded.WriteByte(';')
		}
		folded.WriteString("main.leaf 1\n")
	}
	p, err := hotspot.Parse([]byte(folded.String()), hotspot.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
