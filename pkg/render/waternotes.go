package render

import (
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/internal/waterfall"
)

const (
	pathRows   = 4  // rows of the critical path
	pathFull   = 20 // with every span's line
	pathBar    = 20 // cells of its bars
	jumpFrom   = 40 // lines that no screen shows at once: from there on errors are listed below
	jumpTarget = 5  // of them
	skewRows   = 4  // clocks that are told of
)

// notes says what the waterfall does not show, and what is odd about the trace.
func (f *fall) notes() {
	notes := append(f.cutNotes(), f.keptNotes()...)
	notes = append(notes, f.oddNotes()...)
	notes = append(notes, f.jumps()...)
	if len(notes) > 0 {
		f.line()
		f.quiet(strings.Join(notes, "\n"))
	}
}

// cutNotes say which spans have no line of their own.
func (f *fall) cutNotes() (notes []string) {
	v := f.v.View
	shown, failed, equal := 0, 0, 0
	for i := range v.Lines {
		r := &f.l.Rows[v.Lines[i].Rows[0]]
		switch n := len(v.Lines[i].Rows); {
		case r.Span == nil:
		case i < f.rows:
			shown += n + v.Lines[i].Deep
			if n > 1 {
				equal += n
			}
		case r.Error:
			failed += n
		}
	}
	if shown < v.Spans {
		text := fmt.Sprintf("%s of %s  --limit 0 shows all", count(int64(shown)), Plural(v.Spans, "span"))
		if failed > 0 {
			text += fmt.Sprintf("; %s among the rest failed, --errors shows the way to each", count(int64(failed)))
		}
		notes = append(notes, text)
	}
	if equal > 0 {
		notes = append(notes, fmt.Sprintf("× stands for equal siblings, %s here; TIME is their sum  --all shows each", Plural(equal, "span")))
	}
	if v.Deep > 0 {
		notes = append(notes, fmt.Sprintf("%s deeper than --depth %d.", are(v.Deep, "span"), f.v.Options.Filter.Depth))
	}
	switch {
	case v.Hidden > 0 && v.Spans == 0 && f.v.Options.Filter.Match == nil:
		notes = append(notes, fmt.Sprintf("None of %s failed.", Plural(v.Hidden, "span")))
	case v.Hidden > 0 && v.Spans == 0:
		notes = append(notes, fmt.Sprintf("None of %s fits.", Plural(v.Hidden, "span")))
	case v.Hidden > 0:
		notes = append(notes, fmt.Sprintf("%s hidden: neither asked for nor above one that is.", are(v.Hidden, "span")))
	}
	return notes
}

// are is "1 span is", "2 spans are".
func are(n int, what string) string {
	if n == 1 {
		return Plural(n, what) + " is"
	}
	return Plural(n, what) + " are"
}

// keptNotes say what did not come here.
func (f *fall) keptNotes() (notes []string) {
	t := &f.v.Trace
	switch came, kept := len(t.Spans), t.SpanCount.Value(); {
	case t.Truncated || int64(came) < kept:
		notes = append(notes, fmt.Sprintf("The server sent %s of the %s spans.", count(int64(came)), count(max(kept, int64(came)))))
	case t.Complete != nil && !*t.Complete && f.l.Orphans == 0 && !f.running():
		notes = append(notes, "The server says that the trace is incomplete: spans of it were not sent, or not kept.")
	}
	orphans, dropped := 0, int64(0)
	for r := range f.shown() {
		if r.Parent >= 0 && f.l.Rows[r.Parent].Span == nil {
			orphans++
		}
		dropped += r.Span.Dropped.Value()
	}
	if orphans > 0 {
		notes = append(notes, Plural(orphans, "span")+" without a parent here: it was not sent, is not kept, or still runs elsewhere.")
	}
	switch {
	case dropped == 1:
		notes = append(notes, "1 attribute, event or link was beyond the limits: it was dropped, or its text cut.")
	case dropped > 1:
		notes = append(notes, count(dropped)+" attributes, events and links were beyond the limits: they were dropped, or their texts cut.")
	}
	return notes
}

// shown yields the spans that fit the filter or stand above one that does.
func (f *fall) shown() iter.Seq[*waterfall.Row] {
	return func(yield func(*waterfall.Row) bool) {
		for _, line := range f.v.View.Lines {
			for _, i := range line.Rows {
				if f.l.Rows[i].Span != nil && !yield(&f.l.Rows[i]) {
					return
				}
			}
		}
	}
}

func (f *fall) running() bool {
	for i := range f.l.Rows {
		if f.l.Rows[i].Running {
			return true
		}
	}
	return false
}

// doubts are the words for suspicious times of several spans, in the order told.
var doubts = []struct {
	what      waterfall.Doubt
	one, many string
}{
	{waterfall.Backwards, "ends before it starts", "end before they start"}, {waterfall.StartsEarly, "starts before its parent", "start before their parents"},
	{waterfall.StartsLate, "starts after its parent has ended", "start after their parents have ended"}, {waterfall.EndsLate, "ends after its parent", "end after their parents"},
	{waterfall.Future, "lies in the future", "lie in the future"}, {waterfall.Disagree, "has an end that its duration contradicts", "have an end that their duration contradicts"},
	{waterfall.NoStart, "has no start time", "have no start time"},
}

// oddNotes count the suspicious times.
func (f *fall) oddNotes() (notes []string) {
	whole := f.v.Span < 0 && !f.filtered()
	if f.l.Roots > 1 && f.l.Root >= 0 && whole {
		notes = append(notes, fmt.Sprintf("%s without a parent; the critical path is that of the longest, %s.", Plural(f.l.Roots, "span"), clip(operation(f.l.Rows[f.l.Root].Name()), 40)))
	}
	number, worst := map[waterfall.Doubt]int{}, map[waterfall.Doubt]time.Duration{}
	for r := range f.shown() {
		for _, s := range r.Suspect {
			number[s.What]++
			worst[s.What] = max(worst[s.What], s.By)
		}
	}
	var parts []string
	for _, d := range doubts {
		n := number[d.what]
		if n == 0 {
			continue
		}
		text := count(int64(n)) + " " + map[bool]string{true: d.one, false: d.many}[n == 1]
		if by := worst[d.what]; by > 0 && n > 1 {
			text += ", up to " + duration(by)
		} else if by > 0 {
			text += " by " + duration(by)
		}
		parts = append(parts, text)
	}
	if len(parts) > 0 {
		notes = append(notes, "Suspicious times, shown as sent: "+strings.Join(parts, "; ")+".")
	}
	if whole {
		notes = append(notes, f.skewNotes()...)
	}
	return notes
}

// skewNotes say whose clocks seem to differ.
func (f *fall) skewNotes() (notes []string) {
	for _, s := range f.l.Skews[:min(len(f.l.Skews), skewRows)] {
		least, most, way := s.Least, s.Most, "behind"
		if s.Most < 0 {
			least, most, way = -s.Most, -s.Least, "ahead of"
		}
		by := duration(least) + " to " + duration(most)
		if duration(least) == duration(most) {
			by = duration(least)
		}
		lie := "1 span lies outside of its parent."
		if s.Spans != 1 {
			lie = count(int64(s.Spans)) + " spans lie outside of their parents."
		}
		notes = append(notes, fmt.Sprintf("The clock of %s seems to be %s %s that of %s: %s", named(s.Service), by, way, named(s.Parent), lie))
	}
	if more := len(f.l.Skews) - skewRows; more > 0 {
		notes = append(notes, fmt.Sprintf("%s more clocks seem to differ.", count(int64(more))))
	}
	return notes
}

func named(service string) string {
	if service == "" {
		return "an unnamed service"
	}
	return clean(service)
}

// jumps name the failed spans that a long waterfall scrolled away.
func (f *fall) jumps() []string {
	if f.rows <= jumpFrom || f.l.Errors == 0 || f.filtered() {
		return nil
	}
	var targets []string // the last one first
	ids := f.idWidth()
	below := make([]bool, len(f.l.Rows)) // something failed below
	from, to := 0, len(f.l.Rows)
	if f.v.Span >= 0 {
		from, to = f.v.Span, f.v.Span+f.l.Rows[f.v.Span].Size
	}
	for i := to - 1; i >= from; i-- {
		r := &f.l.Rows[i]
		if p := r.Parent; p >= 0 && (r.Error || below[i]) {
			below[p] = true
		}
		if !r.Error || below[i] {
			continue
		}
		targets = append(targets, fmt.Sprintf("--span %s %s", clip(r.Span.SpanID[:min(ids, len(r.Span.SpanID))], 16), clip(r.Name(), 40)))
	}
	var first []string
	total := len(targets)
	for i := range min(total, jumpTarget) {
		first = append(first, targets[total-1-i])
	}
	text := "Failed: " + strings.Join(first, ", ")
	if total > jumpTarget {
		text += fmt.Sprintf(" and %s more", count(int64(total-jumpTarget)))
	}
	return []string{text + "  --errors shows the way to each"}
}

// path says where the time went: the own time on the critical path, by span.
func (f *fall) path() error {
	steps := f.v.View.Path(f.l)
	if len(steps) == 0 || len(f.v.View.Lines) == 0 {
		return nil
	}
	f.line()
	if !f.NoHeaders {
		f.line(f.title.Render("Critical path"), f.muted.Render("  own time, largest first"))
	}
	n := pathRows
	switch {
	case f.Wide:
		n = len(steps)
	case f.v.Options.Full:
		n = pathFull
	}
	var rows [][]string
	for _, step := range steps[:min(n, len(steps))] {
		r := &f.l.Rows[step.Row]
		style, name := f.colour(f.service[r.Service]), operation(r.Name())
		if r.Error {
			style, name = f.bad, f.bad.Render(name)
		}
		if step.Spans > 1 {
			name = "×" + count(int64(step.Spans)) + " " + name
		}
		rows = append(rows, []string{
			duration(step.Own), share(step.Share), style.Render(fit(bar(float64(step.Own), float64(steps[0].Own), pathBar), pathBar)),
			name, f.muted.Render(clean(r.Service)),
		})
	}
	return f.table([]column{{name: "OWN", right: true}, {name: "SHARE", right: true}, {drop: 1}, {name: "SPAN", flex: true}, {name: "SERVICE", drop: 2}}, rows)
}
