package render

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	diffRows   = 200  // of each table unless told otherwise
	diffSmall  = 40   // a tree of so many rows is shown whole
	diffLeast  = 0.01 // of the longer trace: a row that differs by less hardly does
	diffBar    = 16   // cells of the bars
	diffBarMin = 100  // columns from which there are bars
	deltaWidth = 8
)

// TraceDiff draws how two traces differ; with all, also the rows that hardly do.
func TraceDiff(w io.Writer, rs []api.Result[*waterfall.Diff], all bool, o Options) error {
	s := newScreen(w, o)
	for i, r := range rs {
		if i > 0 {
			s.line()
		}
		if r.Error != nil {
			s.failed(instance(r.Instance)+blanks(gutter), r.Error)
			continue
		}
		d := diff{screen: s, d: r.Value, all: all, service: map[string]int{}, limit: cmp.Or(o.Limit, diffRows)}
		if err := d.draw(); err != nil {
			return err
		}
	}
	return s.flush()
}

// diff is the drawing of one.
type diff struct {
	*screen
	d        *waterfall.Diff
	all      bool
	limit    int
	services []string
	service  map[string]int // its place in the legend
	left     []string       // said at the end: what is not shown
}

func (s *diff) draw() error {
	for i := range s.d.Rows {
		if _, known := s.service[s.d.Rows[i].Service]; !known {
			s.service[s.d.Rows[i].Service] = len(s.services)
			s.services = append(s.services, s.d.Rows[i].Service)
		}
	}
	if !s.NoHeaders {
		s.heading("Trace diff", s.verdict())
	}
	s.line(ansi.Wrap(s.headline(), s.Width, " "))
	s.line()
	s.side("A", &s.d.A)
	s.side("B", &s.d.B)
	if !s.d.SameRoot && s.d.A.Root+s.d.B.Root != "" {
		text := fmt.Sprintf("The roots are of different operations: %s and %s.", clip(s.d.A.Root, 40), clip(s.d.B.Root, 40))
		s.line(s.warn.Render(ansi.Wrap(text, s.Width, " ")))
	}
	if s.d.A.TraceID == s.d.B.TraceID && s.d.A.Source == s.d.B.Source {
		s.left = append(s.left, "A and B are the same trace.")
	}
	if len(s.d.Rows) == 0 {
		return nil
	}
	s.line()
	s.tree()
	for _, part := range []func() error{s.onlyB, s.onlyA, s.path} {
		if err := part(); err != nil {
			return err
		}
	}
	s.failing("New errors", s.d.NewErrors, func(p *waterfall.Pair) *waterfall.Spans { return p.B })
	s.failing("No longer failing", s.d.NoErrors, func(p *waterfall.Pair) *waterfall.Spans { return p.A })
	if len(s.left) > 0 {
		s.line()
		s.quiet(strings.Join(s.left, "\n"))
	}
	return nil
}

// verdict says how B did. That it fails anew is bad news even where it is
// faster for that.
func (s *diff) verdict() string {
	how, text := fine, "no difference"
	switch d := s.d.Delta.Duration(); {
	case d > 0:
		how, text = broken, duration(d)+" slower"
	case d < 0:
		text = duration(-d) + " faster"
	case s.differs():
		text = "same duration"
	}
	if len(s.d.NewErrors) > 0 {
		how, text = broken, text+", new errors"
	}
	return s.mark(how, text)
}

// differs tells whether anything but the whole duration does.
func (s *diff) differs() bool {
	return s.d.Changed || slices.ContainsFunc(s.d.Rows, func(p waterfall.Pair) bool {
		return p.A == nil || p.B == nil || p.A.Count != p.B.Count || p.A.Errors != p.B.Errors || p.Delta != 0
	})
}

// headline says in one sentence what got slower, and where.
func (s *diff) headline() string {
	d := s.d
	from, to := duration(d.A.Duration.Duration()), duration(d.B.Duration.Duration())
	if d.Delta == 0 {
		return fmt.Sprintf("Both take %s.", from)
	}
	way := "longer"
	if d.Delta < 0 {
		way = "less"
	}
	text := fmt.Sprintf("B takes %s %s: %s → %s", duration(d.Delta.Duration().Abs()), way, from, to)
	if d.Ratio != 0 {
		text += fmt.Sprintf(", %+.1f%%", d.Ratio*100)
	}
	if d.Most == nil {
		return text + ", no half of it in one place."
	}
	names := make([]string, len(d.Most.Path))
	for i, name := range d.Most.Path {
		names[i] = clip(name, 40)
	}
	if len(names) > 4 {
		names = append([]string{names[0], "…"}, names[len(names)-3:]...)
	}
	where, most := strings.Join(names, " › "), duration(d.Most.Delta.Duration().Abs())
	if d.Most.Share > 1 {
		return fmt.Sprintf("%s. %s alone takes %s %s, the rest the other way.", text, where, most, way)
	}
	return fmt.Sprintf("%s. %s of it (%s) in %s.", text, most, share(d.Most.Share), where)
}

// side writes what one of the traces is.
func (s *diff) side(letter string, t *waterfall.Trace) {
	facts := []string{shortTraceID(t.TraceID, uniquePrefix([]string{s.d.A.TraceID, s.d.B.TraceID})), clip(t.Root, 40), duration(t.Duration.Duration()), Plural(t.Spans, "span")}
	if t.Errors > 0 {
		facts = append(facts, Plural(t.Errors, "error"))
	}
	if !t.StartTime.IsZero() {
		facts = append(facts, s.time(t.StartTime.Time))
	}
	switch {
	case t.Among > 0:
		facts = append(facts, fmt.Sprintf("%s of %s of this operation", clean(t.Selector), Plural(t.Among, "trace")))
	case t.Selector != "":
		facts = append(facts, clean(t.Selector))
	}
	if t.Source != "" {
		facts = append(facts, instance(t.Source))
	}
	for i, line := range strings.Split(wrap(s.Width-3, facts...), "\n") {
		s.line(map[bool]string{true: s.title.Render(letter), false: " "}[i == 0], blanks(gutter), s.muted.Render(line))
	}
	switch {
	case t.Truncated:
		s.left = append(s.left, letter+" is not whole: the server left spans out of its answer.")
	case t.Running:
		s.left = append(s.left, letter+" still runs: its times are as of now.")
	}
}

// wanted finds the rows of the tree: in both traces, and where those are many
// only what differs with what is above.
func (s *diff) wanted() (rows []int) {
	both := 0
	least := diffLeast * float64(max(s.d.A.Duration, s.d.B.Duration))
	keep := make([]bool, len(s.d.Rows))
	for i := len(s.d.Rows) - 1; i >= 0; i-- {
		p := &s.d.Rows[i]
		if p.A == nil || p.B == nil {
			continue
		}
		both++
		if keep[i] || max(float64(p.Delta.Duration().Abs()), float64(p.PathDelta.Duration().Abs())) >= least {
			keep[i] = true
			if p.Parent >= 0 {
				keep[p.Parent] = true
			}
		}
	}
	for i := range s.d.Rows {
		if p := &s.d.Rows[i]; p.A != nil && p.B != nil && (keep[i] || s.all || both <= diffSmall) {
			rows = append(rows, i)
		}
	}
	if n := both - len(rows); n > 0 {
		s.left = append(s.left, fmt.Sprintf("%s that differ by less than %s are not shown  --all shows them", Plural(n, "row"), duration(api.Seconds(least).Duration())))
	}
	return rows
}

// tree draws the aligned rows.
func (s *diff) tree() {
	rows := s.wanted()
	if s.limit > 0 && len(rows) > s.limit {
		s.left = append(s.left, fmt.Sprintf("%s of %s rows  --limit 0 shows all", count(int64(s.limit)), count(int64(len(rows)))))
		rows = rows[:s.limit]
	}
	if len(rows) == 0 {
		return
	}
	t := s.measure(rows)
	if !s.NoHeaders {
		s.legend(s.services, "ON PATH  own time on the critical path")
		s.line()
		s.line(s.muted.Render(fit("SPAN", t.width) + right("A", timeWidth) + right("B", gutter+timeWidth) + right("DELTA", gutter+deltaWidth) + right("ON PATH", gutter+deltaWidth)))
	}
	for _, i := range rows {
		s.row(&t, i)
	}
}

// diffTree is how the aligned rows fit on the screen.
type diffTree struct {
	last, kids map[int]bool // of each row drawn: no sibling follows, some stand below
	width      int          // cells of the tree
	levels     int          // of it that fit
	bars       int          // cells of the bars; 0 for none
	most       api.Seconds  // the largest gain on the path
}

func (s *diff) measure(rows []int) diffTree {
	t := diffTree{most: 1}
	t.last, t.kids = s.shape(rows)
	t.width = s.Width - 2*timeWidth - 2*deltaWidth - 3*gutter
	if s.Width >= diffBarMin {
		t.bars = diffBar
		t.width -= diffBar + gutter
	}
	t.levels = max((t.width-nameLeast)/2, 1)
	natural := 0
	for _, i := range rows {
		natural = max(natural, 2*min(s.d.Rows[i].Depth, t.levels+1)+2+cells(s.name(i))+gutter)
		t.most = max(t.most, s.d.Rows[i].PathDelta, -s.d.Rows[i].PathDelta)
	}
	if natural < t.width || s.Wide {
		t.width = natural
	}
	return t
}

func (s *diff) row(t *diffTree, i int) {
	p := &s.d.Rows[i]
	var open []bool
	for at := i; at >= 0 && s.d.Rows[at].Depth > 0 && len(open) < t.levels; at = s.d.Rows[at].Parent {
		open = append(open, !t.last[at])
	}
	slices.Reverse(open)
	lead, _ := guides(open, p.Depth, t.kids[i])
	a, b := p.A.Total.Duration(), p.B.Total.Duration()
	line := []string{
		s.faint.Render(lead), s.dot(p), " ", fit(s.name(i), t.width-cells(lead)-2), right(duration(a), timeWidth), right(duration(b), gutter+timeWidth),
		s.delta(p.Delta), s.delta(p.PathDelta),
	}
	if t.bars > 0 && p.PathDelta != 0 {
		line = append(line, blanks(gutter), s.tone(p.PathDelta).Render(bar(float64(p.PathDelta.Duration().Abs()), float64(t.most), t.bars)))
	}
	s.line(line...)
}

// shape tells of each row drawn whether no sibling follows it, and whether any
// stands below it.
func (s *diff) shape(rows []int) (last, kids map[int]bool) {
	last, kids = map[int]bool{}, map[int]bool{}
	followed := map[int]bool{} // parents, from the last row to the first
	for _, i := range slices.Backward(rows) {
		p := s.d.Rows[i].Parent
		last[i] = !followed[p]
		followed[p], kids[p] = true, true
	}
	return last, kids
}

// name is a row's operation, with the number of its spans where that is not one.
func (s *diff) name(i int) string {
	p := &s.d.Rows[i]
	name := clean(p.Operation)
	if p.A != nil && p.B != nil && p.A.Count != p.B.Count {
		return fmt.Sprintf("%s %s", s.title.Render(fmt.Sprintf("×%s→×%s", count(int64(p.A.Count)), count(int64(p.B.Count)))), name)
	}
	if n := p.Count(); n > 1 {
		return s.title.Render("×"+count(int64(n))) + " " + name
	}
	if p.Parent < 0 {
		return s.title.Render(name)
	}
	return name
}

// dot is the mark of a row's service.
func (s *diff) dot(p *waterfall.Pair) string {
	if p.B != nil && p.B.Errors > 0 {
		return s.bad.Render("✗")
	}
	i := s.service[p.Service]
	return s.colour(i).Render(s.letter(i))
}
