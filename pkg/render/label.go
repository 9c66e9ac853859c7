package render

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/internal/waterfall"
)

// label is what stands in the tree for a line: the name, what may be cut behind
// it, and what must be seen. The short form takes its place where it is cut.
type label struct{ name, more, marks, short string }

const labelLeast = 8 // cells of a name that marks stand behind

func (l label) cells() int { return cells(l.name) + cells(l.more) + cells(l.marks) }

// fit makes a label exactly w cells wide, the marks whole as long as they can be.
func (l label) fit(w int) string {
	if l.short != "" && l.cells() > w {
		return fit(l.short, w)
	}
	text, room := l.name+l.more, max(w-cells(l.marks), min(labelLeast, w))
	if cells(text) > room {
		text = fit(text, room)
	}
	return fit(text+l.marks, w)
}

func (f *fall) label(i int) label {
	line := &f.v.View.Lines[i]
	r := &f.l.Rows[line.Rows[0]]
	var l label
	if r.Span == nil {
		id := clean(r.Missing)
		return label{name: f.muted.Render("missing parent " + id), short: f.muted.Render("missing " + id)}
	}
	l.name = operation(r.Span.OperationName)
	switch {
	case r.Error:
		l.name = f.bad.Render(l.name)
	case !line.Fits:
		l.name = f.muted.Render(l.name)
	case i == 0:
		l.name = f.title.Render(l.name)
	}
	l.marks = f.marks(line)
	if line.Deep > 0 {
		l.marks += f.muted.Render("  +" + Plural(line.Deep, "span"))
	}
	switch {
	case len(line.Rows) > 1:
		l.name = f.title.Render("×"+count(int64(len(line.Rows)))) + " " + l.name
		l.more = f.muted.Render("  " + f.spread(line))
	case (f.Width >= inlineFrom || f.Wide) && !r.Error && !f.v.Options.Full:
		if key := firstTag(r.Span.Tags); key != "" {
			l.more = "  " + f.muted.Render(clean(key)+"="+clip(tagText(r.Span.Tags[key]), 40))
		}
	}
	return l
}

// operation is a span's name for the screen. OTLP allows none.
func operation(name string) string { return cmp.Or(clean(name), "(no name)") }

// spread says how long the shortest and the longest of a line's spans took.
func (f *fall) spread(line *waterfall.Line) string {
	least, most := f.l.Rows[line.Rows[0]].Length(), time.Duration(0)
	for _, i := range line.Rows {
		n := f.l.Rows[i].Length()
		least, most = min(least, n), max(most, n)
	}
	if duration(least) == duration(most) {
		return "each " + duration(most)
	}
	return duration(least) + "–" + duration(most)
}

// marks say what is wrong with a line's spans; of several the worst.
func (f *fall) marks(line *waterfall.Line) string {
	r := &f.l.Rows[line.Rows[0]]
	var texts []string
	for n, s := range r.Suspect { // all of a line have the same doubts
		by := s.By
		for _, i := range line.Rows {
			by = max(by, f.l.Rows[i].Suspect[n].By)
		}
		texts = append(texts, doubt(s.What, by))
	}
	if r.Duplicate {
		texts = append(texts, "id not unique")
	}
	if r.Cycle {
		texts = append(texts, "its own ancestor")
	}
	if len(texts) == 0 {
		return ""
	}
	return "  " + f.warn.Render(strings.Join(texts, ", "))
}

// doubt says in few words what is suspicious about a time.
func doubt(what waterfall.Doubt, by time.Duration) string {
	form, ok := map[waterfall.Doubt]string{
		waterfall.NoStart: "no start time", waterfall.Backwards: "ends %s before start", waterfall.Disagree: "end off by %s",
		waterfall.StartsEarly: "starts %s early", waterfall.StartsLate: "starts %s late", waterfall.EndsLate: "ends %s late", waterfall.Future: "%s in the future",
	}[what]
	switch {
	case !ok:
		return string(what)
	case what == waterfall.NoStart:
		return form
	}
	return fmt.Sprintf(form, duration(by))
}
