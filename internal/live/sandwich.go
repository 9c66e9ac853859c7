package live

import (
	tea "charm.land/bubbletea/v2"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// toggleTop goes to the table of functions, which the first time is computed,
// and back.
func (f *Flame) toggleTop() tea.Cmd {
	v := &f.view
	if v.Mode == render.FlameTopMode {
		v.Mode, v.First = render.FlameGraphMode, 0
		return nil
	}
	v.Mode, v.First = render.FlameTopMode, 0
	f.laidOut = layoutKey{}
	if v.Top != nil {
		return nil
	}
	v.Note = "adding up …"
	return func() tea.Msg {
		t, err := hotspot.Top(f.profile, hotspot.TopOptions{Selection: f.options.Selection})
		if err != nil {
			return topReady{note: err.Error()}
		}
		return topReady{top: &t}
	}
}

func (f *Flame) moveTop(key string) {
	v := &f.view
	n := 0
	if v.Top != nil {
		n = len(v.Top.Rows)
	}
	if v.TopShown != nil {
		n = len(v.TopShown)
	}
	by := map[string]int{"up": -1, "k": -1, "down": 1, "j": 1, "pgup": 2 - render.FlameBody(v.Height), "pgdown": render.FlameBody(v.Height) - 2, "home": -n, "end": n}[key]
	v.TopAt = max(min(v.TopAt+by, n-1), 0)
}

// sandwich opens the callers and callees of a function.
func (f *Flame) sandwich(function string) tea.Cmd {
	v := &f.view
	if function == "" || v.Mode == render.FlameSandwichMode && function == v.Function {
		return nil
	}
	return f.addUp(function, false)
}

// addUp computes a sandwich beside the loop; back says that it was seen before.
func (f *Flame) addUp(function string, back bool) tea.Cmd {
	f.view.Note = "adding up …"
	return func() tea.Msg {
		m := f.compute(function)
		m.back = back
		return m
	}
}

// compute makes the two graphs of a function.
func (f *Flame) compute(function string) sandwichReady {
	o := f.options
	o.Function = function
	callees, err := hotspot.Flame(f.profile, o)
	if err != nil {
		return sandwichReady{note: err.Error()}
	}
	o.Inverted = true
	callers, err := hotspot.Flame(f.profile, o)
	switch {
	case err != nil:
		return sandwichReady{note: err.Error()}
	case len(callers.Nodes) < 2 || len(callees.Nodes) < 2:
		return sandwichReady{note: "no sample has a call of " + function}
	}
	return sandwichReady{function: function, callers: callers, callees: callees}
}

func (f *Flame) openSandwich(m sandwichReady) {
	v := &f.view
	if v.Note = m.note; m.note != "" {
		return
	}
	if !m.back {
		f.remember()
	}
	f.laidOut = layoutKey{}
	v.Mode, v.Function, v.Callers, v.Callees, v.First, v.CallerFirst = render.FlameSandwichMode, m.function, m.callers, m.callees, 0, 0
	v.Marks.Selected, v.CallerMark.Selected = theFunction, -1
}

// theFunction is the node of a sandwich's function, in both of its graphs.
const theFunction = 1

func (f *Flame) layOutSandwich() {
	v := &f.view
	v.Marks.Matched = nil
	if k := (layoutKey{v.Callees, theFunction, v.Width}); k != f.laidOut {
		v.Rows = render.FlameRows(v.Callees, theFunction, v.Width)[1:] // without what stands for all
		v.CallerRows = render.FlameRows(v.Callers, theFunction, v.Width)[1:]
		f.laidOut = k
	}
	above := v.CallersShown()
	if v.CallerMark.Selected > theFunction {
		level, _ := f.ensureSelected(v.Callers, v.CallerRows, &v.CallerMark.Selected)
		v.CallerFirst = scrolled(v.CallerFirst, max(level-1, 0), above)
		if level > 0 {
			v.First = 0
			return
		}
	}
	v.CallerMark.Selected = -1
	v.Marks.Selected = max(v.Marks.Selected, theFunction)
	level, _ := f.ensureSelected(v.Callees, v.Rows, &v.Marks.Selected)
	v.Marks.Selected = max(v.Marks.Selected, theFunction)
	v.First, v.CallerFirst = scrolled(v.First, level, render.FlameBody(v.Height)-above), 0
}

// moveSandwich moves within the callees, or the callers, whose rows stand upside
// down: up leads from the function to its callers.
func (f *Flame) moveSandwich(key string) {
	v := &f.view
	f.layOutSandwich()
	page := render.FlameBody(v.Height)
	flipped := map[string]string{"up": "down", "k": "down", "down": "up", "j": "up", "pgup": "pgdown", "pgdown": "pgup", "space": "pgup"}
	switch {
	case v.CallerMark.Selected > theFunction:
		if to, vertical := flipped[key]; vertical {
			key = to
		}
		step(key, v.CallerRows, &v.CallerMark.Selected, page)
		if v.CallerMark.Selected == theFunction {
			v.CallerMark.Selected, v.Marks.Selected = -1, theFunction
		}
	case v.Marks.Selected == theFunction && (key == "up" || key == "k") && len(v.CallerRows) > 1:
		v.CallerMark.Selected = below(v.CallerRows, 0, 0, 1)
	default:
		step(key, v.Rows, &v.Marks.Selected, page)
	}
}
