package live

import (
	"strings"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"github.com/pulsectl/pulsectl/pkg/render"
)

// press does what a key asks for.
func (t *Top) press(k tea.KeyPressMsg) tea.Cmd {
	v := &t.view
	key := k.String()
	switch {
	case key == "ctrl+c":
		t.leaves = true // bubbletea's own way leaves goroutines
		return tea.Quit
	case v.Typing:
		t.edit(key, k.Text)
		return nil
	case key == "q":
		return tea.Quit
	case v.Help:
		v.Help = false
		return nil
	}
	v.Note = ""
	switch key {
	case "?":
		v.Help = true
	case "esc", "backspace":
		t.back()
	case "y":
		return t.copy()
	case "p":
		v.Paused = !v.Paused
		t.want()
	default:
		if v.Details != nil && len(key) != 1 || !t.choose(key) {
			t.move(key)
		}
	}
	return nil
}

// choose is for the keys that change what the view shows.
func (t *Top) choose(key string) bool {
	v := &t.view
	switch {
	case key == "tab":
		t.show((v.View + 1) % len(viewNames))
	case key == "shift+tab":
		t.show((v.View + len(viewNames) - 1) % len(viewNames))
	case len(key) == 1 && key[0] >= '1' && int(key[0]-'1') < len(viewNames):
		t.show(int(key[0] - '1'))
	case v.Details != nil:
		return false
	case key == "/":
		t.before, v.Typing, v.Filter = v.Filter, true, ""
		t.arrange()
	case key == "s":
		t.orders[v.View]++
		v.Selected, v.First = 0, 0
		t.arrange()
	case key == "enter":
		t.enter()
	default:
		return false
	}
	return true
}

// show goes to a view.
func (t *Top) show(view int) {
	v := &t.view
	t.opened, v.Details = nil, nil
	if view != v.View {
		v.View, v.Selected, v.First, v.Filter = view, 0, 0, ""
		v.Sections = nil
		t.want()
	}
	t.arrange()
}

// back leaves what was opened, then the filter, then the view.
func (t *Top) back() {
	v := &t.view
	switch {
	case v.Details != nil:
		t.opened, v.Details = nil, nil
	case v.Filter != "":
		v.Filter = ""
		t.arrange()
	default:
		t.show(viewOverview)
	}
}

// edit changes the filter that is being typed; the rows follow at once.
func (t *Top) edit(key, text string) {
	v := &t.view
	switch key {
	case "enter":
		v.Typing = false
	case "esc":
		v.Typing, v.Filter = false, t.before
	case "backspace":
		_, n := utf8.DecodeLastRuneInString(v.Filter)
		v.Filter = v.Filter[:len(v.Filter)-n]
	default:
		t.insert(text)
	}
	v.Selected, v.First = 0, 0
	t.arrange()
}

func (t *Top) insert(text string) {
	if len(t.view.Filter)+len(text) <= longestSearch {
		t.view.Filter += strings.ToValidUTF8(text, "")
		t.arrange()
	}
}

// move changes the selection, or scrolls what was opened.
func (t *Top) move(key string) {
	v := &t.view
	at, rows, page := &v.Selected, t.rows(), render.DashBody(v.Height)
	if d := v.Details; d != nil {
		at, rows = &d.First, len(d.Lines)-page+1
	}
	switch key {
	case "down", "j":
		*at++
	case "up", "k":
		*at--
	case "pgdown", "space":
		*at += max(page-1, 1)
	case "pgup":
		*at -= max(page-1, 1)
	case "home", "g":
		*at = 0
	case "end", "G":
		*at = rows
	}
	*at = max(min(*at, rows-1), 0)
}
