package render

import (
	"cmp"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	waterfallRows = 200 // rows of a waterfall unless told otherwise
	timeWidth     = 7   // of the TIME column, and of SELF
	inlineFrom    = 120 // columns from which a span shows its first attribute
	selfFrom      = 160 // columns from which its own time has a column
	nameLeast     = 20  // cells of a name, however deep it stands
	barLeast      = 12  // cells of a timeline that the ids leave
	idMost        = 36  // characters of an id: a UUID
	letters       = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
)

// Trace draws the waterfall of a trace, a screen an instance.
func Trace(w io.Writer, rs []api.Result[waterfall.Shown], o Options) error {
	return screens(w, rs, o, func(s *screen, where string, v waterfall.Shown) error { return s.trace(v, where) })
}

func (s *screen) trace(v waterfall.Shown, where string) error {
	f := fall{screen: s, v: v, l: v.Layout, service: map[string]int{}}
	for i, name := range f.l.Services {
		f.service[name] = i
	}
	if !s.NoHeaders {
		f.head(where)
	}
	if f.v.Span >= 0 {
		f.spanInFull(f.v.Span)
		s.line()
	}
	if len(f.l.Rows) == 0 {
		s.line(s.muted.Render("No span of this trace is kept."))
		f.profiles()
		return nil
	}
	f.measure()
	if f.rows > 0 && !s.NoHeaders {
		f.legend(f.l.Services, "█ critical path  ─ waiting or parallel")
		s.line()
		f.header()
	}
	for i := range f.rows {
		f.row(i)
	}
	f.notes()
	if err := f.path(); err != nil {
		return err
	}
	f.profiles()
	return nil
}

// profiles names the profiles of the trace by the commands that show them.
func (f *fall) profiles() {
	if len(f.v.Trace.ProfileIDs) == 0 || f.NoHeaders {
		return
	}
	f.line()
	for i, id := range f.v.Trace.ProfileIDs {
		label := map[bool]string{true: "profile", false: "       "}[i == 0]
		f.line(f.muted.Render(label), blanks(gutter), "pulsectl profiles show "+shortID(id, 8))
	}
}

// fall is the drawing of one waterfall.
type fall struct {
	*screen
	v       waterfall.Shown
	l       *waterfall.Layout
	service map[string]int // its place in the legend
	labels  []label        // of the lines drawn
	rows    int            // lines drawn
	treeW   int            // cells of the tree
	barW    int            // cells of the timeline
	levels  int            // of the tree that fit
	self    bool           // own times have a column
	ids     int            // characters that tell span ids apart; 0 without their column
}

// head writes what the trace is: its id and verdict, and facts.
func (f *fall) head(where string) {
	t := &f.v.Trace
	f.heading("Trace "+clean(t.TraceID), f.verdict())
	facts := []string{clean(t.Root), duration(f.l.Duration), Plural(max(len(t.Spans), int(t.SpanCount.Value())), "span"), Plural(len(f.l.Services), "service")}
	if !t.StartTime.IsZero() {
		facts = append(facts, f.time(t.StartTime.Time))
	}
	if where != "" {
		facts = append(facts, where)
	}
	if t.RequestID != "" {
		facts = append(facts, "request "+clean(t.RequestID))
	}
	facts = append(facts, clean(f.v.Chosen))
	f.quiet(wrap(f.Width, slices.DeleteFunc(facts, func(s string) bool { return s == "" })...))
	if f.v.Span >= 0 || len(f.l.Rows) == 0 {
		f.line() // else the legend follows
	}
}

// legend names the services, and says what the bars mean.
func (s *screen) legend(services []string, meaning string) {
	var names []string
	for i, name := range services[:min(len(services), len(letters))] {
		names = append(names, s.colour(i).Render(s.letter(i)+" "+cmp.Or(clean(name), "–")))
	}
	if more := len(services) - len(names); more > 0 {
		names = append(names, s.muted.Render("… "+count(int64(more))+" more"))
	}
	legend := wrap(s.Width, names...)
	meaning = s.muted.Render(meaning)
	if strings.Contains(legend, "\n") {
		legend += "\n" + meaning
	} else {
		legend = ends(legend, meaning, s.Width)
	}
	s.line(legend)
}

// quiet writes muted lines, cut at the width between words.
func (s *screen) quiet(text string) {
	for line := range strings.SplitSeq(ansi.Wrap(text, s.Width, " "), "\n") {
		s.line(s.muted.Render(strings.TrimRight(line, " ")))
	}
}

// verdict says how the trace went.
func (f *fall) verdict() string {
	switch n := max(f.l.Errors, int(f.v.Trace.ErrorCount.Value())); {
	case n > 0:
		return f.mark(broken, Plural(n, "error"))
	case f.v.Trace.Status == api.StatusActive:
		return f.mark(between, "active")
	case f.v.Trace.Status == api.StatusAborted:
		return f.mark(between, "aborted")
	default:
		return f.mark(fine, "ok")
	}
}

// Plural writes a number with its noun: "1 span", "1,200 spans".
func Plural(n int, what string) string {
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
func (s *screen) letter(i int) string {
	if s.Color != NoColor {
		return "●"
	}
	return letters[i%len(letters):][:1]
}

// measure divides the width: the tree gets what it needs, up to 45 %, the
// timeline the rest.
func (f *fall) measure() {
	limit := f.Limit
	if limit == 0 {
		limit = waterfallRows
	}
	f.rows = len(f.v.View.Lines)
	if limit > 0 {
		f.rows = min(f.rows, limit)
	}
	f.self = f.Wide || f.v.Options.Full || f.Width >= selfFrom
	most := f.Width * 45 / 100
	f.levels = max((most-nameLeast)/2, 1)
	if f.Wide {
		f.levels = 100 // deeper ones would be wider than anything can show
	}
	f.labels = make([]label, f.rows)
	for i := range f.rows {
		f.labels[i] = f.label(i)
		f.treeW = max(f.treeW, 2*min(f.v.View.Lines[i].Depth, f.levels+1)+2+f.labels[i].cells()+2)
	}
	if !f.Wide {
		f.treeW = min(f.treeW, most)
	}
	f.barW = f.Width - f.treeW - timeWidth - 3
	if f.self {
		f.barW -= gutter + timeWidth
	}
	if f.Wide || f.v.Options.Full || f.filtered() {
		f.addIDs()
	}
	f.barW = max(f.barW, 8)
}

// addIDs gives the spans' ids a column, as short as --span takes them here, if
// a timeline is left beside it.
func (f *fall) addIDs() {
	n := f.idWidth()
	if n <= idMost && f.barW-gutter-n >= barLeast || f.Wide {
		f.ids = n
		f.barW -= gutter + n
	}
}

func (f *fall) filtered() bool {
	return f.v.Options.Filter.Errors || f.v.Options.Filter.Match != nil
}

// idWidth is how many characters of a span's id --span needs here.
func (f *fall) idWidth() int {
	ids := make([]string, 0, len(f.l.Rows))
	for i := range f.l.Rows {
		if s := f.l.Rows[i].Span; s != nil {
			ids = append(ids, s.SpanID)
		}
	}
	return uniquePrefix(ids)
}

func (f *fall) header() {
	text := fit("SPAN", f.treeW) + right("TIME", timeWidth)
	if f.self {
		text += right("SELF", gutter+timeWidth)
	}
	if f.ids > 0 {
		text += blanks(gutter) + fit("ID", f.ids)
	}
	f.line(f.muted.Render(text + "   " + axis(f.v.View.From, f.v.View.To, f.barW)))
}

// row draws one line, and the details of a failed span below it.
func (f *fall) row(i int) {
	line := &f.v.View.Lines[i]
	r := &f.l.Rows[line.Rows[0]]
	lead, below := f.guides(i)
	mark, bar := "?", f.muted
	if r.Span != nil {
		place := f.service[r.Service]
		bar = f.colour(place)
		mark = bar.Render(f.letter(place))
	}
	if r.Error {
		mark, bar = f.bad.Render("✗"), f.bad
	}
	total, self := f.times(line)
	took := duration(total)
	if r.Running {
		took = f.warn.Render("◐" + took)
	}
	room := f.treeW - cells(lead) - 2
	if cells(took) >= timeWidth {
		room, took = room-1, " "+took
	}
	parts := []string{f.faint.Render(lead), mark, " ", f.labels[i].fit(room), right(took, timeWidth)}
	if f.self {
		parts = append(parts, f.muted.Render(right(duration(self), gutter+timeWidth)))
	}
	if f.ids > 0 {
		parts = append(parts, blanks(gutter), f.muted.Render(f.spanID(r)))
	}
	f.line(append(parts, "   ", bar.Render(timeline(f.l, line.Rows, f.v.View.From, f.v.View.To, f.barW)))...)
	if r.Span != nil && (r.Error || f.v.Options.Full) && line.Rows[0] != f.v.Span {
		f.details(r, below)
	}
}

// times sums up what the spans of a line took, and what of it is their own.
func (f *fall) times(line *waterfall.Line) (total, self time.Duration) {
	for _, i := range line.Rows {
		total += f.l.Rows[i].Length()
		self += f.l.Rows[i].Self
	}
	return total, self
}

func (f *fall) spanID(r *waterfall.Row) string {
	if r.Span == nil {
		return blanks(f.ids)
	}
	return fit(clean(r.Span.SpanID[:min(f.ids, len(r.Span.SpanID))]), f.ids)
}

// guides returns what leads to a line in the tree, and what stands before the
// lines below it.
func (f *fall) guides(i int) (lead, below string) {
	line := &f.v.View.Lines[i]
	return guides(f.v.View.Guides(i, f.levels), line.Depth, line.Kids > 0)
}

// guides draws what leads to a line of a tree. open tells for it and those above
// it, the innermost, whether a sibling follows; where the tree is deeper, the
// depth is written before them.
func guides(open []bool, depth int, kids bool) (lead, below string) {
	var b strings.Builder
	if depth > len(open) {
		b.WriteString("  ")
	}
	for n, goesOn := range open {
		if n == len(open)-1 {
			below = b.String()
			b.WriteString(map[bool]string{true: "├─", false: "╰─"}[goesOn])
			below += map[bool]string{true: "│ ", false: "  "}[goesOn]
		} else {
			b.WriteString(map[bool]string{true: "│ ", false: "  "}[goesOn])
		}
	}
	if kids {
		below += "│ "
	}
	if depth > len(open) {
		return deep(b.String(), depth), below
	}
	return b.String(), below
}

// deep writes the depth over the outermost guides of a line.
func deep(lead string, depth int) string {
	guides, note := []rune(lead), []rune("…"+strconv.Itoa(depth)+" ")
	if len(note) <= len(guides)-2 {
		copy(guides, note)
	} else {
		guides[0] = '…'
	}
	return string(guides)
}
