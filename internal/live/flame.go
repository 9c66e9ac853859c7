// Package live shows things on a terminal that a person moves about in.
//
// [Flame] is the flame graph of a profile, [Top] the dashboard of servers. What
// they show is a [render.FlameView] and a [render.Dash]; a key changes that, for
// the dashboard news do too, and pkg/render draws it. [Run] and [RunTop] lend
// them the terminal and take that back whatever happens.
package live

import (
	tea "charm.land/bubbletea/v2"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// Flame is an interactive flame graph. It is a model of bubbletea.
type Flame struct {
	view    render.FlameView
	painter *render.FlamePainter
	profile *hotspot.Profile
	options hotspot.FlameOptions

	back     []place          // where esc goes to
	mode     render.FlameMode // that help was asked in
	matched  []bool           // by node of the graph
	laidOut  layoutKey        // what view.Rows are of
	previous string           // the search that typing replaces
	screen   string           // the drawing; "" where something has changed

	interrupted bool // by ctrl-c
}

// place is what esc goes back to.
type place struct {
	mode           render.FlameMode
	root, selected int32
	function       string
}

// layoutKey is what a layout depends on.
type layoutKey struct {
	graph *hotspot.FlameGraph
	root  int32
	width int
}

// NewFlame returns the flame graph of a profile, drawn as o says. shown is that
// graph, which the options fo have made.
func NewFlame(p *hotspot.Profile, shown render.FlameShown, fo hotspot.FlameOptions, o render.Options) *Flame {
	f := &Flame{painter: render.NewFlamePainter(o), profile: p, options: fo}
	f.view = render.FlameView{FlameShown: shown, Width: o.Width, Height: 24}
	return f
}

// Init is of bubbletea's interface; nothing runs from the start.
func (f *Flame) Init() tea.Cmd { return nil }

// View draws the screen.
func (f *Flame) View() tea.View {
	if f.screen == "" {
		f.layOut()
		f.screen = f.painter.Screen(&f.view)
	}
	v := tea.NewView(f.screen)
	v.AltScreen = true
	return v
}

// Update takes a key, a new size, or what was computed meanwhile.
func (f *Flame) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	f.screen = ""
	switch m := msg.(type) {
	case tea.WindowSizeMsg:
		f.view.Width, f.view.Height = max(m.Width, 1), max(m.Height, 1)
	case tea.PasteMsg:
		if f.view.Typing {
			f.insert(m.Content)
		}
	case tea.KeyPressMsg:
		return f, f.press(m)
	case topReady:
		f.view.Top, f.view.Note = m.top, m.note
	case sandwichReady:
		f.openSandwich(m)
	}
	return f, nil
}

// layOut makes the rows of what is shown, and brings the selection onto the
// screen.
func (f *Flame) layOut() {
	v := &f.view
	switch v.Mode {
	case render.FlameTopMode:
		v.First = scrolled(v.First, v.TopAt, render.FlameBody(v.Height)-1)
		return
	case render.FlameSandwichMode:
		f.layOutSandwich()
		return
	case render.FlameHelpMode:
		return
	}
	if k := (layoutKey{v.FlameGraph, v.Root, v.Width}); k != f.laidOut {
		v.Rows, f.laidOut = render.FlameRows(v.FlameGraph, v.Root, v.Width), k
	}
	v.Marks.Matched = f.matched
	level, _ := f.ensureSelected(v.FlameGraph, v.Rows, &v.Marks.Selected)
	v.First = scrolled(v.First, level, render.FlameBody(v.Height))
	v.First = max(min(v.First, len(v.Rows)-render.FlameBody(v.Height)), 0)
}

// scrolled is the first of so many rows that are shown, moved as little as the
// row at needs to be among them.
func scrolled(first, at, rows int) int {
	return max(min(first, at), at-rows+1, 0)
}

// ensureSelected finds where the selected frame is drawn. One that is too
// narrow to be gives the selection to its caller.
func (f *Flame) ensureSelected(g *hotspot.FlameGraph, rows [][]hotspot.Box, selected *int32) (level, at int) {
	for *selected > 0 {
		if level, at, ok := locate(rows, *selected); ok {
			return level, at
		}
		*selected = g.Nodes[*selected].Parent
	}
	*selected = 0
	return 0, 0
}

func locate(rows [][]hotspot.Box, node int32) (level, at int, ok bool) {
	for level, row := range rows {
		for at, c := range row {
			if c.Node == node {
				return level, at, true
			}
		}
	}
	return 0, 0, false
}

// topReady is the table of functions, computed.
type topReady struct {
	top  *api.ProfileTop
	note string
}

// sandwichReady are the two graphs of a function, computed.
type sandwichReady struct {
	function         string
	callers, callees *hotspot.FlameGraph
	note             string
	back             bool
}
