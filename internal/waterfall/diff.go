package waterfall

import (
	"cmp"
	"slices"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Diff is how the second of two traces differs from the first. Differences are
// B less A: above 0 is slower. It encodes as the item of a TraceDiff.
type Diff struct {
	A         Trace       `json:"a"`
	B         Trace       `json:"b"`
	SameRoot  bool        `json:"same_root"` // the roots have one service and operation
	Delta     api.Seconds `json:"delta"`     // of the roots' durations
	Ratio     float64     `json:"ratio"`     // of Delta to A's duration; 0 if that is 0
	Most      *Share      `json:"most"`      // what explains most of Delta; nil if that is 0
	Rows      []Pair      `json:"rows"`      // the aligned tree, what is new or gone in its place
	Entered   []int       `json:"critical_path_entered"`
	Left      []int       `json:"critical_path_left"`
	Changed   bool        `json:"critical_path_changed"`
	NewErrors []int       `json:"new_errors"` // rows with more failed spans in B
	NoErrors  []int       `json:"gone_errors"`
}

// Trace is one side of a Diff. Who compares fills in what names it.
type Trace struct {
	TraceID   string      `json:"trace_id"`
	Source    string      `json:"source"`             // the server or file it came from
	Selector  string      `json:"selector,omitempty"` // as asked for, where that was no id
	Among     int         `json:"among,omitempty"`    // traces that the selector chose from, where it is a quantile
	Root      string      `json:"root"`
	Service   string      `json:"service"`
	StartTime api.Time    `json:"start_time"`
	Duration  api.Seconds `json:"duration"` // the root's
	Spans     int         `json:"spans"`
	Errors    int         `json:"errors"`
	Truncated bool        `json:"truncated,omitempty"` // the server left spans out
	Running   bool        `json:"running,omitempty"`
}

// Share is the part of one row, and those below it, in the difference.
type Share struct {
	Row   int         `json:"row"`
	Path  []string    `json:"path"` // operations, from below the root's to its own; at most 8, the innermost
	Delta api.Seconds `json:"delta"`
	Share float64     `json:"share"` // of the whole; above 1 where the rest got faster
}

// Pair is a row of the aligned tree: spans of both traces with one path of
// names, or of one trace that the other has nothing like.
type Pair struct {
	Parent    int         `json:"parent"` // the row above; -1 at the top level
	Depth     int         `json:"depth"`
	Service   string      `json:"service"`
	Operation string      `json:"operation"`
	A         *Spans      `json:"a"` // nil: new in B
	B         *Spans      `json:"b"` // nil: gone from B
	Delta     api.Seconds `json:"delta"`
	PathDelta api.Seconds `json:"critical_delta"` // of the own time on the critical path: these sum up to Diff.Delta
	Size      int         `json:"size"`           // rows of its subtree, itself included: they follow it
}

// Spans sums up the spans that one trace has in a row.
type Spans struct {
	Count    int         `json:"count"`
	Total    api.Seconds `json:"total"`    // of their durations
	Self     api.Seconds `json:"self"`     // of what no child covers
	Critical api.Seconds `json:"critical"` // of their own time on the critical path
	Errors   int         `json:"errors"`
	Message  string      `json:"message,omitempty"` // of a failed one; in B of one that fails otherwise than those of A, if any does
	SpanID   string      `json:"span_id"`           // of that one, else the longest
}

const (
	alignUpTo = 2    // so many equal siblings are aligned one by one; more are compared as a run
	matters   = 0.01 // of a trace's duration: less on the critical path is no change of it
	decides   = 0.5  // of the difference: the path to it is followed so far down
	pathNames = 8
)

// Compare aligns b with a: from the roots downwards, siblings by service and
// operation, the first with the first and the second with the second of one
// name. More than two are compared as a run, by count and total.
func Compare(a, b *Layout) *Diff {
	d := &Diff{A: side(a), B: side(b), Entered: []int{}, Left: []int{}, NewErrors: []int{}, NoErrors: []int{}, Rows: []Pair{}}
	d.SameRoot = d.A.Root == d.B.Root && d.A.Service == d.B.Service
	d.Delta = d.B.Duration - d.A.Duration
	if d.A.Duration > 0 {
		d.Ratio = float64(d.Delta) / float64(d.A.Duration)
	}
	m := matcher{a: a, b: b, d: d}
	m.align()
	d.findMost()
	d.findChanges()
	return d
}

func side(l *Layout) Trace {
	t := Trace{Duration: api.Seconds(l.Path), Errors: l.Errors}
	for i := range l.Rows {
		t.Spans += count(l.Rows[i].Span != nil)
		t.Running = t.Running || l.Rows[i].Running
	}
	if l.Root >= 0 {
		t.Root, t.Service = l.Rows[l.Root].Name(), l.Rows[l.Root].Service
	}
	if len(l.Rows) > 0 {
		t.StartTime = api.Unix(l.Start)
	}
	return t
}

type matcher struct {
	a, b *Layout
	d    *Diff
}

// couple is what stands in one row of the aligned tree.
type couple struct {
	a, b  []int
	above int
}

func (m *matcher) align() {
	stack := m.top()
	for len(stack) > 0 {
		c := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		at := len(m.d.Rows)
		m.d.Rows = append(m.d.Rows, m.pair(c))
		below := m.couples(m.below(m.a, c.a), m.below(m.b, c.b), len(c.a) > 1 || len(c.b) > 1)
		for _, k := range slices.Backward(below) {
			k.above = at
			stack = append(stack, k)
		}
	}
	for i := len(m.d.Rows) - 1; i >= 0; i-- {
		m.d.Rows[i].Size++
		if p := m.d.Rows[i].Parent; p >= 0 {
			m.d.Rows[p].Size += m.d.Rows[i].Size
		}
	}
}

// top pairs the roots, whatever their names, and what else has no parent by name.
func (m *matcher) top() (stack []couple) {
	as, bs := slices.Collect(m.a.Below(-1)), slices.Collect(m.b.Below(-1))
	roots := m.a.Root >= 0 && m.b.Root >= 0
	if roots {
		as = slices.DeleteFunc(as, func(i int) bool { return i == m.a.Root })
		bs = slices.DeleteFunc(bs, func(i int) bool { return i == m.b.Root })
	}
	stack = m.couples(as, bs, false)
	slices.Reverse(stack)
	if roots {
		stack = append(stack, couple{a: []int{m.a.Root}, b: []int{m.b.Root}})
	}
	for i := range stack {
		stack[i].above = -1
	}
	return stack
}

func (m *matcher) below(l *Layout, rows []int) (kids []int) {
	for _, i := range rows {
		kids = slices.AppendSeq(kids, l.Below(i))
	}
	return kids
}

// couples aligns siblings by name, in the order of B, what is gone after it.
func (m *matcher) couples(as, bs []int, run bool) (out []couple) {
	type name struct {
		service, operation string
		missing            bool
	}
	type siblings struct{ a, b []int }
	found := map[name]*siblings{}
	var order []*siblings
	of := func(r *Row) *siblings {
		n := name{r.Service, r.Name(), r.Span == nil}
		s := found[n]
		if s == nil {
			s = &siblings{}
			found[n] = s
			order = append(order, s)
		}
		return s
	}
	for _, i := range bs {
		s := of(&m.b.Rows[i])
		s.b = append(s.b, i)
	}
	for _, i := range as {
		s := of(&m.a.Rows[i])
		s.a = append(s.a, i)
	}
	for _, s := range order {
		if run || len(s.a) > alignUpTo || len(s.b) > alignUpTo {
			out = append(out, couple{a: s.a, b: s.b})
			continue
		}
		for n := range max(len(s.a), len(s.b)) {
			out = append(out, couple{a: s.a[min(n, len(s.a)):min(n+1, len(s.a))], b: s.b[min(n, len(s.b)):min(n+1, len(s.b))]})
		}
	}
	return out
}

func (m *matcher) pair(c couple) Pair {
	p := Pair{Parent: c.above, A: sum(m.a, c.a, "")}
	known := ""
	if p.A != nil {
		known = p.A.Message
	}
	p.B = sum(m.b, c.b, known)
	if c.above >= 0 {
		p.Depth = m.d.Rows[c.above].Depth + 1
	}
	r := &Row{}
	if len(c.b) > 0 {
		r = &m.b.Rows[c.b[0]]
	} else {
		r = &m.a.Rows[c.a[0]]
	}
	p.Service, p.Operation = r.Service, r.Name()
	if r.Span == nil {
		p.Operation = "missing parent"
	}
	a, b := p.sides()
	p.Delta, p.PathDelta = b.Total-a.Total, b.Critical-a.Critical
	return p
}

// Count is how many spans the row stands for, on the side that has more.
func (p *Pair) Count() int {
	a, b := p.sides()
	return max(a.Count, b.Count)
}

// sides returns both sums, zeros where there is nothing.
func (p *Pair) sides() (a, b Spans) {
	if p.A != nil {
		a = *p.A
	}
	if p.B != nil {
		b = *p.B
	}
	return a, b
}

// sum sums rows up. It tells of a failure other than the known one, if there is
// any.
func sum(l *Layout, rows []int, known string) *Spans {
	if len(rows) == 0 {
		return nil
	}
	s, longest := &Spans{Count: len(rows)}, -1
	for _, i := range rows {
		r := &l.Rows[i]
		s.Total += api.Seconds(max(r.Length(), 0))
		s.Self += api.Seconds(r.Self)
		s.Critical += api.Seconds(r.OnPath())
		if r.Error && (s.Errors == 0 || s.Message == known) {
			s.Message, s.SpanID = cmp.Or(Message(r.Span), string(r.Span.Status)), r.Span.SpanID
		}
		s.Errors += count(r.Error)
		if r.Span != nil && (longest < 0 || r.Length() > l.Rows[longest].Length()) {
			longest = i
		}
	}
	if s.Errors == 0 && longest >= 0 {
		s.SpanID = l.Rows[longest].Span.SpanID
	}
	return s
}

// findMost follows the tree down as long as one row below explains half of the
// difference. What rows gain on the critical path sums up to it.
func (d *Diff) findMost() {
	if d.Delta == 0 || len(d.Rows) == 0 {
		return
	}
	gains := make([]api.Seconds, len(d.Rows)) // of each subtree
	for i := len(d.Rows) - 1; i >= 0; i-- {
		gains[i] += d.Rows[i].PathDelta
		if p := d.Rows[i].Parent; p >= 0 {
			gains[p] += gains[i]
		}
	}
	at, from, to := -1, 0, len(d.Rows)
	for from < to {
		best := -1
		for i := from; i < to; i += d.Rows[i].Size {
			if best < 0 || float64(gains[i])*float64(d.Delta) > float64(gains[best])*float64(d.Delta) {
				best = i
			}
		}
		if float64(gains[best])/float64(d.Delta) < decides {
			break
		}
		at, from, to = best, best+1, best+d.Rows[best].Size
	}
	if at < 0 {
		return
	}
	d.Most = &Share{Row: at, Delta: gains[at], Share: float64(gains[at]) / float64(d.Delta)}
	for i := at; i >= 0 && len(d.Most.Path) < pathNames; i = d.Rows[i].Parent {
		d.Most.Path = append(d.Most.Path, d.Rows[i].Operation)
	}
	slices.Reverse(d.Most.Path)
}

// findChanges finds what is on one critical path alone, and what fails anew.
func (d *Diff) findChanges() {
	for i := range d.Rows {
		a, b := d.Rows[i].sides()
		switch {
		case a.Critical == 0 && float64(b.Critical) > matters*float64(d.B.Duration):
			d.Entered = append(d.Entered, i)
		case b.Critical == 0 && float64(a.Critical) > matters*float64(d.A.Duration):
			d.Left = append(d.Left, i)
		}
		switch {
		case b.Errors > a.Errors:
			d.NewErrors = append(d.NewErrors, i)
		case a.Errors > b.Errors:
			d.NoErrors = append(d.NoErrors, i)
		}
	}
	largest := func(own func(Pair) api.Seconds) func(i, j int) int {
		return func(i, j int) int { return cmp.Compare(own(d.Rows[j]), own(d.Rows[i])) }
	}
	slices.SortStableFunc(d.Entered, largest(func(p Pair) api.Seconds { return p.B.Critical }))
	slices.SortStableFunc(d.Left, largest(func(p Pair) api.Seconds { return p.A.Critical }))
	d.Changed = len(d.Entered)+len(d.Left) > 0
}
