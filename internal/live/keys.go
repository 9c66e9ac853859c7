package live

import (
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// press does what a key asks for.
func (f *Flame) press(k tea.KeyPressMsg) tea.Cmd {
	v := &f.view
	key := k.String()
	switch {
	case key == "ctrl+c":
		f.interrupted = true // bubbletea's own way leaves goroutines
		return tea.Quit
	case v.Typing:
		f.edit(key, k.Text)
		return nil
	case key == "q":
		return tea.Quit
	case v.Mode == render.FlameHelpMode:
		v.Mode = f.mode
		return nil
	}
	v.Note = ""
	switch key {
	case "?":
		f.mode, v.Mode = v.Mode, render.FlameHelpMode
	case "/":
		f.previous, v.Typing, v.Search = v.Search, true, ""
	case "esc", "backspace":
		return f.goBack()
	case "t":
		return f.toggleTop()
	case "s":
		return f.sandwich(f.selectedFunction())
	case "enter":
		return f.enter()
	default:
		f.move(key)
	}
	return nil
}

// edit changes the search that is being typed.
func (f *Flame) edit(key, text string) {
	v := &f.view
	switch key {
	case "enter":
		v.Typing = false
		f.search(v.Search)
	case "esc":
		v.Typing = false
		f.search(f.previous)
	case "backspace":
		_, n := utf8.DecodeLastRuneInString(v.Search)
		v.Search = v.Search[:len(v.Search)-n]
	default:
		f.insert(text)
	}
}

const longestSearch = 256 // bytes

func (f *Flame) insert(text string) {
	if len(f.view.Search)+len(text) <= longestSearch {
		f.view.Search += text
	}
}

// move changes the selection.
func (f *Flame) move(key string) {
	switch f.view.Mode {
	case render.FlameTopMode:
		f.moveTop(key)
	case render.FlameSandwichMode:
		f.moveSandwich(key)
	default:
		f.moveGraph(key)
	}
}

func (f *Flame) moveGraph(key string) {
	v := &f.view
	switch key {
	case "0", "home":
		f.remember()
		v.Root, v.Marks.Selected = 0, 0
	case "n":
		f.nextFound(1)
	case "N":
		f.nextFound(-1)
	default:
		step(key, v.Rows, &v.Marks.Selected, render.FlameBody(v.Height))
	}
}

// step moves a selection within rows: to the caller above it, to what it calls
// below, to those beside it.
func step(key string, rows [][]hotspot.Box, selected *int32, page int) {
	level, at, ok := locate(rows, *selected)
	if !ok {
		return
	}
	switch key {
	case "left", "h":
		*selected = rows[level][max(at-1, 0)].Node
	case "right", "l":
		*selected = rows[level][min(at+1, len(rows[level])-1)].Node
	case "up", "k":
		*selected = above(rows, level, at, 1)
	case "pgup":
		*selected = above(rows, level, at, page)
	case "down", "j":
		*selected = below(rows, level, at, 1)
	case "pgdown", "space":
		*selected = below(rows, level, at, page)
	}
}

// above is the frame so many levels up that has the frame at a place within it.
func above(rows [][]hotspot.Box, level, at, levels int) int32 {
	x := rows[level][at].X0
	to := max(level-levels, 0)
	for _, c := range rows[to] {
		if c.X0 <= x && x < c.X1 {
			return c.Node
		}
	}
	return rows[level][at].Node
}

// below follows the largest frames so many levels down.
func below(rows [][]hotspot.Box, level, at, levels int) int32 {
	c := rows[level][at]
	for range levels {
		level++
		next, found := c, false
		if level < len(rows) {
			for _, k := range rows[level] {
				if k.X0 >= c.X0 && k.X0 < c.X1 && (!found || k.X1-k.X0 > next.X1-next.X0) {
					next, found = k, true
				}
			}
		}
		if !found {
			break
		}
		c = next
	}
	return c.Node
}

// remember keeps where the graph stands, for esc.
func (f *Flame) remember() {
	v := &f.view
	f.back = append(f.back, place{v.Mode, v.Root, v.Marks.Selected, v.Function})
	if len(f.back) > 100 {
		f.back = f.back[1:]
	}
}

// goBack leaves the search, a view or a zoom, in this order.
func (f *Flame) goBack() tea.Cmd {
	v := &f.view
	switch {
	case v.Mode != render.FlameSandwichMode && v.Search != "":
		f.search("")
	case v.Mode == render.FlameTopMode:
		v.Mode = render.FlameGraphMode
	default:
		return f.leave()
	}
	return nil
}

// leave goes to the last place that was remembered.
func (f *Flame) leave() tea.Cmd {
	v := &f.view
	if len(f.back) == 0 {
		v.Mode, v.Root = render.FlameGraphMode, 0
		return nil
	}
	p := f.back[len(f.back)-1]
	f.back = f.back[:len(f.back)-1]
	if p.mode == render.FlameSandwichMode {
		return f.addUp(p.function, true)
	}
	f.laidOut = layoutKey{}
	v.Mode, v.Root, v.Marks.Selected, v.First, v.Function = p.mode, p.root, p.selected, 0, p.function
	return nil
}

// enter zooms to the selected frame, or opens the sandwich of a function.
func (f *Flame) enter() tea.Cmd {
	v := &f.view
	if v.Mode != render.FlameGraphMode {
		return f.sandwich(f.selectedFunction())
	}
	if v.Marks.Selected != v.Root {
		f.remember()
		v.Root = v.Marks.Selected
	}
	return nil
}

// selectedFunction is the full name of what is selected, "" for the root.
func (f *Flame) selectedFunction() string {
	v := &f.view
	switch {
	case v.Mode == render.FlameTopMode:
		if r := v.TopEntry(v.TopAt); r != nil {
			return r.Function
		}
	case v.Mode == render.FlameSandwichMode && v.CallerMark.Selected > 1:
		return v.Callers.Name(v.CallerMark.Selected)
	case v.Mode == render.FlameSandwichMode && v.Callees != nil:
		return v.Callees.Name(v.Marks.Selected)
	case v.Mode == render.FlameGraphMode && v.Marks.Selected > 0:
		return v.Name(v.Marks.Selected)
	}
	return ""
}
