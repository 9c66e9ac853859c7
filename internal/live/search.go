package live

import (
	"regexp"

	"github.com/pulsectl/pulsectl/pkg/render"
)

// search finds the frames, and in the top the functions, whose names match a
// regular expression, "" for none. A wrong one leaves what was found before.
func (f *Flame) search(pattern string) {
	v := &f.view
	if pattern == "" {
		v.Search, v.Found, v.Share, v.TopShown, f.matched = "", 0, 0, nil, nil
		return
	}
	re, err := regexp.Compile("(?i:" + pattern + ")")
	if err != nil {
		_, err = regexp.Compile(pattern) // without our own part of it
		v.Search, v.Note = f.previous, "no regular expression: "+pattern
		if err != nil {
			v.Note = err.Error()
		}
		return
	}
	v.Search = pattern
	f.findFrames(re)
	f.findFunctions(re)
	if v.Mode == render.FlameGraphMode && v.Found > 0 && !f.matched[v.Marks.Selected] {
		f.nextFound(1)
	}
}

// findFrames marks the frames that match. The share counts what is within
// several of them once.
func (f *Flame) findFrames(re *regexp.Regexp) {
	v := &f.view
	matched, width := v.FlameGraph.Search(re)
	f.matched, v.Found, v.Share = matched, 0, 0
	for _, m := range matched {
		if m {
			v.Found++
		}
	}
	if v.FlameGraph.Width != 0 {
		v.Share = float64(width) / float64(v.FlameGraph.Width)
	}
}

func (f *Flame) findFunctions(re *regexp.Regexp) {
	v := &f.view
	v.TopShown = nil
	if v.Top == nil {
		return
	}
	v.TopShown = []int{}
	for i := range v.Top.Rows {
		if re.MatchString(v.Top.Rows[i].Function) {
			v.TopShown = append(v.TopShown, i)
		}
	}
	v.TopAt = min(v.TopAt, max(len(v.TopShown)-1, 0))
}

// nextFound selects the next frame on the screen that the search found, or the
// one before. Where none is wide enough to be seen the largest is zoomed to.
func (f *Flame) nextFound(by int) {
	v := &f.view
	if f.matched == nil || v.Found == 0 {
		return
	}
	f.layOut()
	var found []int32
	at, selected := -1, false
	for _, row := range v.Rows {
		for _, c := range row {
			if f.matched[c.Node] {
				found = append(found, c.Node)
			}
			if c.Node == v.Marks.Selected {
				at, selected = len(found)-1, f.matched[c.Node]
			}
		}
	}
	if len(found) == 0 {
		f.zoomToLargest()
		return
	}
	if by < 0 && !selected {
		by = 0
	}
	v.Marks.Selected = found[((at+by)%len(found)+len(found))%len(found)]
}

func (f *Flame) zoomToLargest() {
	v := &f.view
	largest := int32(-1)
	for i, m := range f.matched {
		if m && (largest < 0 || v.Nodes[i].Value > v.Nodes[largest].Value) {
			largest = int32(i)
		}
	}
	f.remember()
	v.Root, v.Marks.Selected = largest, largest
}
