// Package waterfall works out what a waterfall of a trace shows: the rows in
// the order of the tree, each span's own time, the critical path, and what is
// wrong with the trace. It draws nothing.
//
// [New] takes any trace, however broken: spans whose parent is missing stand
// below a row of their own, those that are each other's parents at the top
// level, several with one id each in its row. Times are used as they are; a
// span that cannot have run when it says is marked [Row.Skewed].
package waterfall

import (
	"cmp"
	"slices"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Layout is a trace laid out.
type Layout struct {
	Start    int64         // Unix nanoseconds of the earliest start
	Duration time.Duration // from there to the latest end, or to now while spans run
	Rows     []Row         // as they stand below one another
	Services []string      // in the order of their first row
	Critical []Step        // the critical path, the largest own time first
	Path     time.Duration // what the critical path explains: the root's duration
	Errors   int           // rows with Error
	Orphans  int           // spans whose parent is missing
	Skewed   int           // rows with Skewed
}

// Row is a span's line, or that of the missing parent of the rows below it.
type Row struct {
	Span    *api.Span // nil for a missing parent
	Missing string    // the missing parent's id, where Span is nil
	Service string

	Parent int  // the row above in the tree; -1 at the top level
	Depth  int  // 0 at the top level
	Last   bool // no sibling follows
	Kids   int  // rows directly below in the tree

	Start, End time.Duration // since Layout.Start, as the span says
	Self       time.Duration // what no child covers of it
	Critical   []Window      // its parts on the critical path, in order of time

	Error     bool // failed or timed out
	Running   bool // has not ended: End is the layout's
	Skewed    bool // starts before its parent or ends before it starts
	Duplicate bool // another row before has the same id
	Cycle     bool // is its own ancestor by its parent's id
}

// Window is a stretch of time since Layout.Start.
type Window struct{ From, To time.Duration }

// Step is a span's part in the critical path.
type Step struct {
	Row   int
	Own   time.Duration
	Share float64 // of Layout.Path, 0 to 1
}

// New lays t out. Spans without an end are taken to run until now, or to the
// trace's latest known end if now is zero. The Layout shares t's spans.
func New(t *api.Trace, now time.Time) *Layout {
	b := builder{nodes: make([]node, len(t.Spans))}
	b.read(t, now)
	b.tree()
	l := &Layout{Start: b.start, Duration: time.Duration(b.end - b.start), Orphans: b.orphans}
	b.rows(l)
	selfTimes(l)
	critical(l)
	return l
}

// Guides tells, for the row and each of its ancestors below the top level,
// whether a sibling follows it: where a tree's guide goes on downwards. The
// last is the row itself. At most max levels are returned, the innermost.
func (l *Layout) Guides(row, max int) []bool {
	var g []bool
	for i := row; i >= 0 && l.Rows[i].Depth > 0 && len(g) < max; i = l.Rows[i].Parent {
		g = append(g, !l.Rows[i].Last)
	}
	slices.Reverse(g)
	return g
}

// node is a span, or a missing parent, while the tree is built.
type node struct {
	span       *api.Span
	missing    string
	start, end int64
	kids       []int
	parent     int // -1 for none
	running    bool
	duplicate  bool
	cycle      bool
	placed     bool
}

type builder struct {
	nodes      []node
	tops       []int
	start, end int64
	orphans    int
}

// read fills the nodes in and finds the bounds of the trace.
func (b *builder) read(t *api.Trace, now time.Time) {
	for i := range t.Spans {
		s := &t.Spans[i]
		n := &b.nodes[i]
		*n = node{span: s, start: start(s), parent: -1, running: s.Duration == nil && s.EndTime.IsZero()}
		switch {
		case s.Duration != nil:
			n.end = n.start + int64(*s.Duration)
		case !s.EndTime.IsZero():
			n.end = s.EndTime.UnixNano()
		default:
			n.end = n.start
		}
		if i == 0 || n.start < b.start {
			b.start = n.start
		}
		if i == 0 || n.end > b.end {
			b.end = n.end
		}
	}
	for i := range b.nodes {
		if b.nodes[i].running && !now.IsZero() {
			b.end = max(b.end, now.UnixNano())
		}
	}
	for i := range b.nodes {
		if b.nodes[i].running {
			b.nodes[i].end = b.end
		}
	}
}

func start(s *api.Span) int64 {
	switch {
	case s.StartUnixNano != 0:
		return int64(s.StartUnixNano)
	case s.StartTime.IsZero():
		return 0
	default:
		return s.StartTime.UnixNano()
	}
}

// tree finds each node's parent and the top level.
func (b *builder) tree() {
	byID := make(map[string]int, len(b.nodes))
	for i := range b.nodes {
		id := b.nodes[i].span.SpanID
		if _, found := byID[id]; found {
			b.nodes[i].duplicate = true
			continue
		}
		byID[id] = i
	}
	groups := map[string]int{}
	for i, n := 0, len(b.nodes); i < n; i++ { // group makes b.nodes longer
		p := b.nodes[i].span.ParentSpanID
		if p == nil || *p == "" {
			b.tops = append(b.tops, i)
			continue
		}
		parent, found := byID[*p]
		if !found {
			b.orphans++
			parent = b.group(groups, *p)
			g, n := &b.nodes[parent], &b.nodes[i]
			g.start, g.end = min(g.start, n.start), max(g.end, n.end)
		}
		b.nodes[i].parent = parent
		b.nodes[parent].kids = append(b.nodes[parent].kids, i)
	}
	for i := range b.nodes {
		if b.nodes[i].span == nil {
			b.tops = append(b.tops, i)
		}
		slices.SortStableFunc(b.nodes[i].kids, b.compare)
	}
	b.breakCycles()
	slices.SortStableFunc(b.tops, b.compare)
}

// group returns the node that stands for a missing parent. It spans its
// children.
func (b *builder) group(groups map[string]int, id string) int {
	g, found := groups[id]
	if !found {
		g = len(b.nodes)
		groups[id] = g
		b.nodes = append(b.nodes, node{missing: id, parent: -1, start: b.end, end: b.start})
	}
	return g
}

// compare orders siblings by their starts; those that start together stay in
// the trace's order.
func (b *builder) compare(i, j int) int { return cmp.Compare(b.nodes[i].start, b.nodes[j].start) }

// breakCycles makes top-level nodes of those that no top-level node leads to:
// the earliest of each cycle.
func (b *builder) breakCycles() {
	for _, i := range b.tops {
		b.place(i)
	}
	var lost []int
	for i := range b.nodes {
		if !b.nodes[i].placed {
			lost = append(lost, i)
		}
	}
	slices.SortStableFunc(lost, b.compare)
	for _, i := range lost {
		if b.nodes[i].placed {
			continue
		}
		at := b.onCycle(i)
		p := &b.nodes[b.nodes[at].parent]
		p.kids = slices.DeleteFunc(p.kids, func(k int) bool { return k == at })
		b.nodes[at].parent, b.nodes[at].cycle = -1, true
		b.tops = append(b.tops, at)
		b.place(at)
	}
}

// onCycle goes up from i until it meets a node again, and returns the earliest
// of the cycle that it is on.
func (b *builder) onCycle(i int) int {
	seen := map[int]bool{}
	for !seen[i] {
		seen[i] = true
		i = b.nodes[i].parent
	}
	first := i
	for j := b.nodes[i].parent; j != i; j = b.nodes[j].parent {
		if b.compare(j, first) < 0 {
			first = j
		}
	}
	return first
}

// place marks a node and all below it.
func (b *builder) place(i int) {
	stack := []int{i}
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		b.nodes[i].placed = true
		stack = append(stack, b.nodes[i].kids...)
	}
}

// rows writes the tree down, parents before their children.
func (b *builder) rows(l *Layout) {
	l.Rows = make([]Row, 0, len(b.nodes))
	row := make([]int, len(b.nodes)) // of each node
	known := map[string]bool{}
	stack := slices.Clone(b.tops)
	slices.Reverse(stack)
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		n := &b.nodes[i]
		row[i] = len(l.Rows)
		r := b.row(n)
		if n.parent >= 0 {
			above := &l.Rows[row[n.parent]]
			kids := b.nodes[n.parent].kids
			r.Parent, r.Depth, r.Last = row[n.parent], above.Depth+1, kids[len(kids)-1] == i
			r.Skewed = r.Skewed || above.Span != nil && r.Start < above.Start
		} else {
			r.Parent, r.Last = -1, b.tops[len(b.tops)-1] == i
		}
		if n.span != nil && !known[r.Service] {
			known[r.Service] = true
			l.Services = append(l.Services, r.Service)
		}
		l.Errors += count(r.Error)
		l.Skewed += count(r.Skewed)
		l.Rows = append(l.Rows, r)
		for _, k := range slices.Backward(n.kids) {
			stack = append(stack, k)
		}
	}
}

func (b *builder) row(n *node) Row {
	r := Row{
		Span: n.span, Missing: n.missing, Kids: len(n.kids), Start: time.Duration(n.start - b.start), End: time.Duration(n.end - b.start),
		Running: n.running, Duplicate: n.duplicate, Cycle: n.cycle, Skewed: n.end < n.start,
	}
	if n.span != nil {
		r.Service, r.Error = service(n.span), n.span.Status.Failed()
	}
	return r
}

// service reads the tag that a Python server has instead of the field.
func service(s *api.Span) string {
	if s.Service != "" {
		return s.Service
	}
	name, _ := s.Tags["service.name"].(string)
	return name
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}
