package render

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	waterfallRows = 200 // rows of a waterfall unless told otherwise
	pathRows      = 4   // rows of the critical path
	pathBar       = 20  // cells of its bars
	timeWidth     = 7   // of the TIME column
	inlineFrom    = 120 // columns from which a span shows its first attribute
	detailRows    = 12  // attributes below a failed span
	nameLeast     = 20  // cells of a name, however deep it stands
)

// Trace draws the waterfall of a trace, a screen an instance.
func Trace(w io.Writer, rs []api.Result[api.Trace], o Options) error {
	return screens(w, rs, o, func(s *screen, where string, t api.Trace) error { return s.trace(&t, where) })
}

func (s *screen) trace(t *api.Trace, where string) error {
	f := fall{screen: s, t: t, l: waterfall.New(t, s.Now), service: map[string]int{}}
	for i, name := range f.l.Services {
		f.service[name] = i
	}
	if !s.NoHeaders {
		f.head(where)
	}
	if len(f.l.Rows) == 0 {
		s.line(s.muted.Render("No span of this trace is kept."))
		return nil
	}
	f.measure()
	if !s.NoHeaders {
		s.line(s.muted.Render(fit("SPAN", f.treeW) + right("TIME", timeWidth) + "   " + axis(f.l.Duration, f.barW)))
	}
	for i := range f.rows {
		f.row(i)
	}
	f.notes()
	return f.path()
}

// fall is the drawing of one waterfall.
type fall struct {
	*screen
	t       *api.Trace
	l       *waterfall.Layout
	service map[string]int // its place in the legend
	rows    int            // drawn
	treeW   int            // cells of the tree
	barW    int            // cells of the timeline
	levels  int            // of the tree that fit
}

// head writes what the trace is: its id and verdict, facts, the legend.
func (f *fall) head(where string) {
	f.heading("Trace "+clean(f.t.TraceID), f.verdict())
	facts := []string{clean(f.t.Root), duration(f.l.Duration), plural(max(len(f.t.Spans), int(f.t.SpanCount.Value())), "span"), plural(len(f.l.Services), "service")}
	if !f.t.StartTime.IsZero() {
		facts = append(facts, f.time(f.t.StartTime.Time))
	}
	if where != "" {
		facts = append(facts, where)
	}
	if f.t.RequestID != "" {
		facts = append(facts, "request "+clean(f.t.RequestID))
	}
	for _, id := range f.t.ProfileIDs {
		facts = append(facts, "profile "+clean(id))
	}
	f.quiet(wrap(f.Width, slices.DeleteFunc(facts, func(s string) bool { return s == "" })...))
	names := make([]string, len(f.l.Services))
	for i, name := range f.l.Services {
		names[i] = f.colour(i).Render(f.letter(i) + " " + clean(name))
	}
	legend, meaning := wrap(f.Width, names...), f.muted.Render("█ critical path  ─ waiting or parallel")
	if strings.Contains(legend, "\n") {
		legend += "\n" + meaning
	} else {
		legend = ends(legend, meaning, f.Width)
	}
	f.line(legend)
	f.line()
}

// quiet writes muted lines, cut at the width between words.
func (s *screen) quiet(text string) {
	for line := range strings.SplitSeq(ansi.Wrap(text, s.Width, " "), "\n") {
		s.line(s.muted.Render(strings.TrimRight(line, " ")))
	}
}

// verdict says how the trace went.
func (f *fall) verdict() string {
	switch n := max(f.l.Errors, int(f.t.ErrorCount.Value())); {
	case n > 0:
		return f.mark(broken, plural(n, "error"))
	case f.t.Status == api.StatusActive:
		return f.mark(between, "active")
	case f.t.Status == api.StatusAborted:
		return f.mark(between, "aborted")
	default:
		return f.mark(fine, "ok")
	}
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return count(int64(n)) + " " + what
}

// colour is that of the service with this place in the legend.
func (s *screen) colour(i int) lipgloss.Style {
	return s.r.NewStyle().Foreground(services[i%len(services)])
}

// letter is a service's mark: a dot in its colour; without colour, a letter.
func (f *fall) letter(i int) string {
	if f.Color != NoColor {
		return "●"
	}
	return string(rune('a' + i%26))
}

// measure divides the width: the tree gets what it needs, up to 45 %, the
// timeline the rest.
func (f *fall) measure() {
	limit := f.Limit
	if limit == 0 {
		limit = waterfallRows
	}
	f.rows = len(f.l.Rows)
	if limit > 0 {
		f.rows = min(f.rows, limit)
	}
	most := f.Width * 45 / 100
	f.levels = max((most-nameLeast)/2, 1)
	if f.Wide {
		f.levels = 100 // deeper ones would be wider than anything can show
	}
	for i := range f.rows {
		f.treeW = max(f.treeW, 2*min(f.l.Rows[i].Depth, f.levels+1)+2+cells(f.label(i))+2)
	}
	if !f.Wide {
		f.treeW = min(f.treeW, most)
	}
	f.barW = max(f.Width-f.treeW-timeWidth-3, 8)
}

// row draws one row, and the details of a failed span below it.
func (f *fall) row(i int) {
	r := &f.l.Rows[i]
	lead, below := f.guides(i)
	mark, bar := "?", f.muted
	took := duration(r.End - r.Start)
	if r.Span != nil {
		place := f.service[r.Service]
		mark, bar = f.colour(place).Render(f.letter(place)), f.colour(place)
	}
	if r.Error {
		mark, bar = f.bad.Render("✗"), f.bad
	}
	if r.Running {
		took = f.warn.Render("◐" + took)
	}
	name := fit(f.label(i), f.treeW-cells(lead)-2)
	f.line(f.faint.Render(lead), mark, " ", name, right(took, timeWidth), "   ", bar.Render(timeline(r, f.l.Duration, f.barW)))
	if r.Error {
		f.details(r.Span, below)
	}
}

// guides returns what leads to a row in the tree, and what stands before the
// lines below it. Of a deep tree the innermost levels are drawn.
func (f *fall) guides(i int) (lead, below string) {
	r := &f.l.Rows[i]
	open := f.l.Guides(i, f.levels)
	var b strings.Builder
	if r.Depth > len(open) {
		b.WriteString("… ")
	}
	for n, goesOn := range open {
		if n == len(open)-1 {
			below = b.String()
			b.WriteString(map[bool]string{true: "├─", false: "╰─"}[goesOn])
		} else {
			b.WriteString(map[bool]string{true: "│ ", false: "  "}[goesOn])
		}
		if n == len(open)-1 {
			below += map[bool]string{true: "│ ", false: "  "}[goesOn]
		}
	}
	if r.Kids > 0 {
		below += "│ "
	}
	return b.String(), below
}

// label is what stands in the tree for a row: its name, what is wrong with it,
// and on a wide screen its first attribute.
func (f *fall) label(i int) string {
	r := &f.l.Rows[i]
	if r.Span == nil {
		return f.muted.Render("missing parent " + clean(r.Missing))
	}
	name := clean(r.Span.OperationName)
	switch {
	case r.Error:
		name = f.bad.Render(name)
	case i == 0:
		name = f.title.Render(name)
	}
	for _, w := range []struct {
		on   bool
		text string
	}{{r.Skewed, "clock skewed"}, {r.Duplicate, "id not unique"}, {r.Cycle, "its own ancestor"}} {
		if w.on {
			name += "  " + f.warn.Render(w.text)
		}
	}
	if f.Width < inlineFrom && !f.Wide || r.Error {
		return name
	}
	if key := firstTag(r.Span.Tags); key != "" {
		name += "  " + f.muted.Render(clean(key)+"="+clip(tagText(r.Span.Tags[key]), 40))
	}
	return name
}

// notes says what the waterfall does not show.
func (f *fall) notes() {
	if f.rows < len(f.l.Rows) {
		f.leftOut(f.rows, len(f.l.Rows), "spans")
	}
	var notes []string
	if f.t.Truncated {
		notes = append(notes, fmt.Sprintf("The server sent %s of the %s spans.", count(int64(len(f.t.Spans))), count(f.t.SpanCount.Value())))
	}
	if f.l.Orphans > 0 {
		notes = append(notes, plural(f.l.Orphans, "span")+" without a parent here: it was not sent, is not kept, or still runs elsewhere.")
	}
	if f.l.Skewed > 0 {
		notes = append(notes, plural(f.l.Skewed, "span")+" cannot have run when told; times are shown as sent.")
	}
	if len(notes) > 0 {
		f.line()
		f.quiet(strings.Join(notes, "\n"))
	}
}

// path says where the time went: the own time on the critical path, by span.
func (f *fall) path() error {
	if len(f.l.Critical) == 0 {
		return nil
	}
	f.line()
	if !f.NoHeaders {
		f.line(f.title.Render("Critical path"), f.muted.Render("  own time, largest first"))
	}
	n := pathRows
	if f.Wide {
		n = len(f.l.Critical)
	}
	var rows [][]string
	for _, step := range f.l.Critical[:min(n, len(f.l.Critical))] {
		r := &f.l.Rows[step.Row]
		style, name := f.colour(f.service[r.Service]), clean(r.Span.OperationName)
		if r.Error {
			style, name = f.bad, f.bad.Render(name)
		}
		rows = append(rows, []string{
			duration(step.Own), share(step.Share), style.Render(fit(bar(float64(step.Own), float64(f.l.Critical[0].Own), pathBar), pathBar)),
			name, f.muted.Render(clean(r.Service)),
		})
	}
	return f.table([]column{{name: "OWN", right: true}, {name: "SHARE", right: true}, {drop: 1}, {name: "SPAN", flex: true}, {name: "SERVICE", drop: 2}}, rows)
}
