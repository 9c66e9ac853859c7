package render

import (
	"fmt"
	"hash/fnv"
	"io"
	"strings"

	"github.com/charmbracelet/lipgloss"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

const flameLabelFrom = 8 // cells of a frame that has a label

// FlameShown is a flame graph and the profile that it is of.
type FlameShown struct {
	*hotspot.FlameGraph
	ProfileID string
}

// Flame draws a flame graph, a screen an instance: the root at the top, width
// is share.
func Flame(w io.Writer, rs []api.Result[FlameShown], o Options) error {
	return screens(w, rs, o, func(s *screen, where string, f FlameShown) error {
		if !s.NoHeaders {
			s.heading(titled(flameTitle(f.SampleType), where), s.muted.Render(f.scope()))
			s.line()
		}
		switch {
		case f.Total == 0:
			s.line(s.muted.Render("No stack has a value in this profile."))
			return nil
		case f.FlameGraph.Width == 0:
			s.line(s.muted.Render("No stack is selected."))
			return nil
		}
		p := newFlamePainter(s)
		for _, row := range FlameRows(f.FlameGraph, 0, s.Width) {
			s.line(p.row(f.FlameGraph, row, FlameMarks{Selected: -1}))
		}
		return nil
	})
}

func flameTitle(sampleType string) string {
	switch sampleType {
	case "cpu":
		return "CPU flame graph"
	case "wall":
		return "Wall time flame graph"
	}
	return "Flame graph of " + sampleWords(sampleType)
}

// sampleWords is a sample type as words.
func sampleWords(t string) string { return strings.ReplaceAll(clean(t), "_", " ") }

func (f FlameShown) scope() string {
	return profileScope(f.Header, f.ProfileID, true)
}

// FlameRows lays a graph out over so many cells, a row a level of the tree, from
// the frame root on: those that called it stand above it, as wide as it is.
func FlameRows(g *hotspot.FlameGraph, root int32, width int) [][]hotspot.Box {
	var rows [][]hotspot.Box
	boxes := g.Layout(root, width, 0)
	for from := 0; from < len(boxes); {
		to := from
		for to < len(boxes) && boxes[to].Depth == boxes[from].Depth {
			to++
		}
		rows = append(rows, boxes[from:to])
		from = to
	}
	return rows
}

// FlameMarks are the frames that stand out.
type FlameMarks struct {
	Selected int32  // -1 for none
	Matched  []bool // by node; nil for none
}

// ink opens and closes a colour. Drawing with it takes no time of lipgloss,
// which a graph of 2,000 frames has not got (BenchmarkFlameRedraw).
type ink struct{ on, off string }

func inkOf(style lipgloss.Style) ink {
	on, off, _ := strings.Cut(style.Render("x"), "x")
	return ink{on, off}
}

func (k ink) draw(b *strings.Builder, text string) {
	b.WriteString(k.on)
	b.WriteString(text)
	b.WriteString(k.off)
}

// flameTone draws the frames of one package: a filled box, and at its right
// edge half a cell that parts it from the next.
type flameTone struct{ box, edge ink }

type flamePainter struct {
	*screen
	tones    [len(flameTones)]flameTone
	runtime  flameTone
	root     flameTone
	matched  flameTone
	selected flameTone
	known    map[string]*flameTone // by package
}

func newFlamePainter(s *screen) *flamePainter {
	p := &flamePainter{screen: s, known: map[string]*flameTone{}}
	tone := func(c lipgloss.TerminalColor) flameTone {
		return flameTone{inkOf(s.r.NewStyle().Background(c).Foreground(flameInk)), inkOf(s.r.NewStyle().Foreground(c))}
	}
	for i, c := range flameTones {
		p.tones[i] = tone(c)
	}
	p.runtime, p.root, p.matched = tone(flameRuntimeTone), tone(flameRootTone), tone(flameMatchedTone)
	p.selected = flameTone{inkOf(s.r.NewStyle().Background(flameSelectedTone).Foreground(flameSelectedInk).Bold(true)), inkOf(s.r.NewStyle().Foreground(flameSelectedTone))}
	return p
}

// tone is the package's: blue for the runtime, else a warm one, the same in
// every graph.
func (p *flamePainter) tone(g *hotspot.FlameGraph, node int32, m FlameMarks) *flameTone {
	switch {
	case node == m.Selected:
		return &p.selected
	case m.Matched != nil && m.Matched[node]:
		return &p.matched
	case node == 0:
		return &p.root
	}
	pkg := hotspot.PackageOf(g.Name(node))
	if t := p.known[pkg]; t != nil {
		return t
	}
	t := &p.runtime
	if pkg != "runtime" && !strings.HasPrefix(pkg, "runtime/") {
		h := fnv.New32a()
		io.WriteString(h, pkg)
		t = &p.tones[h.Sum32()%uint32(len(p.tones))]
	}
	p.known[pkg] = t
	return t
}

// row draws one level of the tree.
func (p *flamePainter) row(g *hotspot.FlameGraph, boxes []hotspot.Box, m FlameMarks) string {
	var b strings.Builder
	at := 0
	for _, c := range boxes {
		b.WriteString(blanks(c.X0 - at))
		at = c.X1
		cols := c.X1 - c.X0
		label := ""
		if cols >= flameLabelFrom-1 {
			label = p.label(g, c.Node, cols)
		}
		if p.Color == NoColor {
			plainFrame(&b, label, cols, c.Node == m.Selected, m.Matched != nil && m.Matched[c.Node])
			continue
		}
		t := p.tone(g, c.Node, m)
		if cols > 1 {
			if label != "" {
				label = " " + label
			}
			t.box.draw(&b, fit(label, cols-1))
		}
		t.edge.draw(&b, "▌")
	}
	return b.String()
}

// label is a frame's name, with its share where there is room for both.
func (p *flamePainter) label(g *hotspot.FlameGraph, node int32, cols int) string {
	text := clean(hotspot.ShortName(g.Name(node)))
	part := " " + share(ratioOf(g.Nodes[node].Value, g.Total))
	if cells(text)+cells(part)+2 <= cols {
		text += part
	}
	return text
}

// plainFrame draws a frame without colour. One that is selected and one
// that a search found have other edges and another filling.
func plainFrame(b *strings.Builder, label string, cols int, selected, matched bool) {
	left, right, one, fill := "[", "]", "│", "─"
	if matched {
		left, right, fill = "▒", "▒", "▒"
	}
	if selected {
		left, right, one, fill = "╞", "╡", "┃", "═"
	}
	switch {
	case cols == 1 && matched && !selected:
		b.WriteString("▒")
		return
	case cols == 1:
		b.WriteString(one)
		return
	case cols < flameLabelFrom:
		label = ""
	}
	text := strings.TrimRight(fit(label, cols-2), " ")
	b.WriteString(left + text + strings.Repeat(fill, cols-2-cells(text)) + right)
}

func ratioOf(v, of int64) float64 {
	if of == 0 {
		return 0
	}
	return float64(v) / float64(of)
}

// profileScope says how much of what over which time, and which profile.
func profileScope(h hotspot.Header, id string, samples bool) string {
	scope := scopeText(h.Total, h.Unit, h.SampleType, api.Seconds(h.Seconds*1e9))
	if samples && h.SampleType != "samples" {
		scope += "  " + Plural(int(h.Samples), "sample")
	}
	if id != "" {
		scope += "  " + shortID(id, 8)
	}
	return scope
}

// flameFacts are what is known of a frame, in one line.
func (s *screen) flameFacts(g *hotspot.FlameGraph, node int32) string {
	n := &g.Nodes[node]
	text := fmt.Sprintf("%s  %s", amount(n.Value, g.Unit), share(ratioOf(n.Value, g.Total)))
	if n.Self != 0 {
		text += fmt.Sprintf("  own %s  %s", amount(n.Self, g.Unit), share(ratioOf(n.Self, g.Total)))
	}
	return text
}
