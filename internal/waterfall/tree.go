package waterfall

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

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

// read fills the nodes in and finds the bounds of the trace. A span that says no
// time is put at the trace's start, and bounds nothing.
func (b *builder) read(t *api.Trace, now time.Time) {
	known := false
	for i := range t.Spans {
		s := &t.Spans[i]
		n := &b.nodes[i]
		*n = node{span: s, start: start(s), parent: -1, running: s.Duration == nil && s.EndTime.IsZero()}
		switch {
		case s.Duration != nil:
			n.end = add(n.start, int64(*s.Duration))
		case !s.EndTime.IsZero():
			n.end = s.EndTime.UnixNano()
		default:
			n.end = n.start
		}
		if n.start == 0 {
			continue
		}
		if !known {
			b.start, b.end, known = n.start, n.end, true
		}
		b.start, b.end = min(b.start, n.start), max(b.end, n.end, n.start)
	}
	for i := range b.nodes {
		if b.nodes[i].running && !now.IsZero() && known {
			b.end = max(b.end, now.UnixNano())
		}
	}
	for i := range b.nodes {
		n := &b.nodes[i]
		if n.start == 0 {
			n.start, n.end = b.start, max(n.end, b.start)
			if n.span.Duration != nil {
				n.end = add(b.start, int64(*n.span.Duration))
			}
			b.end = max(b.end, n.end)
		}
		if n.running {
			n.end = b.end
		}
	}
}

// between is b-a, within 146 years: sums and differences of two such fit.
func between(a, b int64) time.Duration {
	const most = time.Duration(1 << 62)
	d := time.Duration(b - a)
	switch {
	case b >= a && (d < 0 || d > most):
		return most
	case b < a && (d >= 0 || d < -most):
		return -most
	}
	return d
}

// add is a+b, or the nearest that fits.
func add(a, b int64) int64 {
	switch {
	case b > 0 && a > math.MaxInt64-b:
		return math.MaxInt64
	case b < 0 && a < math.MinInt64-b:
		return math.MinInt64
	}
	return a + b
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
		r.Parent = -1
		if n.parent >= 0 {
			r.Parent, r.Depth = row[n.parent], l.Rows[row[n.parent]].Depth+1
		} else if n.span != nil {
			l.Roots++
		}
		if n.span != nil && !known[r.Service] {
			known[r.Service] = true
			l.Services = append(l.Services, r.Service)
		}
		l.Errors += count(r.Error)
		l.Rows = append(l.Rows, r)
		for _, k := range slices.Backward(n.kids) {
			stack = append(stack, k)
		}
	}
	for i := len(l.Rows) - 1; i >= 0; i-- {
		l.Rows[i].Size++
		if p := l.Rows[i].Parent; p >= 0 {
			l.Rows[p].Size += l.Rows[i].Size
		}
	}
}

func (b *builder) row(n *node) Row {
	r := Row{
		Span: n.span, Missing: n.missing, Kids: len(n.kids), Start: between(b.start, n.start), End: between(b.start, n.end),
		Running: n.running, Duplicate: n.duplicate, Cycle: n.cycle,
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
