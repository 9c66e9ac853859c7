package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// FlameMode is what an interactive flame graph shows.
type FlameMode int

// The modes.
const (
	FlameGraphMode    FlameMode = iota
	FlameTopMode                // functions by their own value
	FlameSandwichMode           // the callers and callees of one function
	FlameHelpMode
)

// FlameView is the state of an interactive flame graph, as far as it shows.
type FlameView struct {
	FlameShown
	Width, Height int
	Mode          FlameMode

	Rows  [][]hotspot.Box // of the graph, or the callees of a sandwich
	Marks FlameMarks
	Root  int32 // the frame that is as wide as the screen
	First int   // row of the graph, or of the top, that stands first

	Top      *api.ProfileTop // nil until it is there
	TopAt    int             // the row that is selected
	TopShown []int           // the rows that the search leaves; nil for all

	Function    string              // of the sandwich
	Callers     *hotspot.FlameGraph // inverted: the root is the function
	CallerRows  [][]hotspot.Box     // the function itself, its direct callers, theirs
	CallerMark  FlameMarks
	CallerFirst int                 // rows of callers, the direct ones first, that are scrolled away
	Callees     *hotspot.FlameGraph //

	Search string  // the pattern; "" for none
	Typing bool    // it is being typed
	Found  int     // frames that it found
	Share  float64 // of the total, in frames that it found
	Note   string  // what went wrong, or is being done
}

// The lines of the screen that are not the graph's.
const (
	flameHead = 2
	flameFoot = 2
)

// FlameBody is how many rows of a graph a screen of so many lines has.
func FlameBody(height int) int { return max(height-flameHead-flameFoot, 1) }

// FlamePainter draws the screens of an interactive flame graph.
type FlamePainter struct {
	o Options
	p *flamePainter
}

// NewFlamePainter returns a painter for a terminal.
func NewFlamePainter(o Options) *FlamePainter { return &FlamePainter{o: o} }

// Screen draws the whole screen, exactly v.Height lines of at most v.Width cells.
func (fp *FlamePainter) Screen(v *FlameView) string {
	if fp.p == nil || fp.p.Width != v.Width {
		o := fp.o
		o.Width = v.Width
		s := newScreen(io.Discard, o)
		s.Width = v.Width // the least of other screens is more than a terminal may have
		fp.p = newFlamePainter(s)
	}
	p := fp.p
	var body []string
	switch v.Mode {
	case FlameTopMode:
		body = p.topRows(v)
	case FlameSandwichMode:
		body = p.sandwichRows(v)
	case FlameHelpMode:
		body = strings.Split(flameHelp, "\n")
	default:
		for _, row := range v.Rows[min(v.First, len(v.Rows)):min(v.First+FlameBody(v.Height), len(v.Rows))] {
			body = append(body, p.row(v.FlameGraph, row, v.Marks))
		}
	}
	lines := []string{p.flameTitle(v), p.muted.Render(p.flameStatus(v))}
	for i := range FlameBody(v.Height) {
		if i < len(body) {
			lines = append(lines, body[i])
		} else {
			lines = append(lines, "")
		}
	}
	lines = append(lines, p.flameDetail(v), p.flameKeys(v))
	for i, l := range lines {
		lines[i] = ansi.Truncate(l, v.Width, "")
	}
	return strings.Join(lines[:min(len(lines), max(v.Height, 1))], "\n")
}

func (p *flamePainter) flameTitle(v *FlameView) string {
	title := flameTitle(v.SampleType)
	switch v.Mode {
	case FlameTopMode:
		title = topTitle(api.ProfileTop{SampleType: v.SampleType}, false)
	case FlameSandwichMode:
		title = "Callers and callees of " + clean(hotspot.ShortName(v.Function))
	}
	scope := v.scope()
	if cells(title)+cells(scope)+gutter > v.Width {
		scope = ""
	}
	return ends(p.title.Render(title), p.muted.Render(scope), v.Width)
}

// flameStatus says what part of the profile is shown, and what was found.
func (p *flamePainter) flameStatus(v *FlameView) string {
	var parts []string
	if v.Note != "" {
		parts = append(parts, clean(v.Note))
	}
	if v.Mode == FlameGraphMode && v.Root > 0 {
		parts = append(parts, "zoomed to "+clean(hotspot.ShortName(v.Name(v.Root)))+" "+share(ratioOf(v.Nodes[v.Root].Value, v.Total)))
	}
	if v.Search != "" && !v.Typing {
		parts = append(parts, p.foundText(v))
	}
	if left := len(v.Rows) - FlameBody(v.Height); v.Mode == FlameGraphMode && left > 0 {
		parts = append(parts, fmt.Sprintf("levels %d–%d of %d", v.First+1, min(v.First+FlameBody(v.Height), len(v.Rows)), len(v.Rows)))
	}
	return strings.Join(parts, "  ")
}

func (p *flamePainter) foundText(v *FlameView) string {
	if v.Mode == FlameTopMode && v.TopShown != nil {
		return fmt.Sprintf("/%s: %s", clean(v.Search), Plural(len(v.TopShown), "function"))
	}
	return fmt.Sprintf("/%s: %s of the %s in %s", clean(v.Search), share(v.Share), whole(v.Unit), Plural(v.Found, "frame"))
}

// flameDetail tells of the frame or function that is selected.
func (p *flamePainter) flameDetail(v *FlameView) string {
	name, facts := "", ""
	switch {
	case v.Mode == FlameHelpMode:
		return ""
	case v.Mode == FlameTopMode:
		if r := v.TopEntry(v.TopAt); r != nil {
			name, facts = r.Function, amount(r.Cum, v.Unit)+"  "+share(r.CumRatio)+"  own "+amount(r.Flat, v.Unit)+"  "+part(r.Flat, r.FlatRatio)
		}
	case v.Mode == FlameSandwichMode && v.Callees == nil:
	case v.Mode == FlameSandwichMode && v.CallerMark.Selected > 1:
		name, facts = v.Callers.Name(v.CallerMark.Selected), p.flameFacts(v.Callers, v.CallerMark.Selected)
	case v.Mode == FlameSandwichMode:
		name, facts = v.Callees.Name(v.Marks.Selected), p.flameFacts(v.Callees, v.Marks.Selected)
	default:
		name, facts = v.Name(v.Marks.Selected), p.flameFacts(v.FlameGraph, v.Marks.Selected)
	}
	name = clean(name)
	name = fitMiddle(name, max(min(cells(name), v.Width-cells(facts)-gutter), 8))
	return p.title.Render(name) + blanks(gutter) + p.muted.Render(facts)
}

// TopEntry is a row of the top as it is shown, nil beyond its end.
func (v *FlameView) TopEntry(at int) *api.TopEntry {
	if v.Top == nil {
		return nil
	}
	if v.TopShown != nil {
		if at < 0 || at >= len(v.TopShown) {
			return nil
		}
		at = v.TopShown[at]
	}
	if at < 0 || at >= len(v.Top.Rows) {
		return nil
	}
	return &v.Top.Rows[at]
}

// flameKeys is the last line: what is being typed, or what keys there are.
func (p *flamePainter) flameKeys(v *FlameView) string {
	if v.Typing {
		return "/" + clean(v.Search) + "█"
	}
	keys := []string{"arrows move", "enter zoom", "esc back", "/ search", "t top", "s sandwich", "? help", "n next", "q quit"}
	switch v.Mode {
	case FlameTopMode:
		keys = []string{"arrows move", "enter sandwich", "/ search", "t graph", "? help", "q quit"}
	case FlameSandwichMode:
		keys = []string{"arrows move", "enter sandwich", "esc back", "t top", "? help", "q quit"}
	case FlameHelpMode:
		keys = []string{"any key goes back", "q quit"}
	}
	last := keys[len(keys)-1] // how to get out is always said
	line := ""
	for _, k := range keys[:len(keys)-1] {
		if cells(line)+cells(k)+cells(last)+2*gutter <= v.Width {
			line += k + blanks(gutter)
		}
	}
	line += last
	return p.muted.Render(line)
}

const flameHelp = `The width of a frame is its share: what it took, with all that it called. The
frames below it are what it called, the largest first; the empty space below it
is its own.

  arrows, h j k l   to the caller, a callee, the frames beside
  enter             zoom: the selected frame as wide as the screen
  esc, backspace    back: the zoom before, the search, the graph
  0                 zoom out all the way
  /                 search by a regular expression; its share stands above
  n, N              to the next frame that was found, to the one before
  t                 top: the functions by their own value
  s                 sandwich: all callers of a function above it, its callees below
  page up, down     by a screen
  q, ctrl-c         quit`

// topRows draws the functions by their own value.
func (p *flamePainter) topRows(v *FlameView) []string {
	if v.Top == nil {
		return nil
	}
	rows := []string{p.muted.Render(right("OWN", 9) + right("OWN%", 8) + right("ALL", 11) + right("ALL%", 8) + "  FUNCTION")}
	for i := v.First; i < v.First+FlameBody(v.Height)-1; i++ {
		r := v.TopEntry(i)
		if r == nil {
			break
		}
		text := right(amount(r.Flat, v.Unit), 9) + right(part(r.Flat, r.FlatRatio), 8) + right(amount(r.Cum, v.Unit), 11) + right(part(r.Cum, r.CumRatio), 8) + "  "
		name := clean(hotspot.ShortName(r.Function))
		text += fitMiddle(name, max(min(cells(name), v.Width-cells(text)), 1))
		if i == v.TopAt {
			text = p.selectedLine(text)
		}
		rows = append(rows, text)
	}
	return rows
}

// selectedLine makes a line stand out, with colour or without.
func (p *flamePainter) selectedLine(text string) string {
	if p.Color == NoColor {
		return "▌" + strings.TrimPrefix(text, " ")
	}
	return p.selected.box.on + text + p.selected.box.off
}

// sandwichRows draws the callers of a function above it, the direct ones next to
// it, and what it calls below.
func (p *flamePainter) sandwichRows(v *FlameView) []string {
	if v.Callers == nil || v.Callees == nil {
		return nil
	}
	body, above := FlameBody(v.Height), v.CallersShown()
	var rows []string
	for i := min(v.CallerFirst+above, len(v.CallerRows)-1); i > v.CallerFirst; i-- {
		rows = append(rows, p.row(v.Callers, v.CallerRows[i], v.CallerMark))
	}
	marks := v.Marks
	if v.CallerMark.Selected > 1 {
		marks.Selected = -1
	}
	for _, row := range v.Rows[min(v.First, len(v.Rows)):min(v.First+body-above, len(v.Rows))] {
		rows = append(rows, p.row(v.Callees, row, marks))
	}
	return rows
}

// CallersShown is how many rows of callers a sandwich has: all, or half of the
// screen, or what the callees leave.
func (v *FlameView) CallersShown() int {
	body := FlameBody(v.Height)
	return min(max(len(v.CallerRows)-1, 0), max(body/2, body-len(v.Rows)))
}
