package waterfall

import (
	"cmp"
	"slices"
	"time"
)

// selfTimes sets each row's own time: its duration without the union of what
// its children cover of it.
func selfTimes(l *Layout) {
	covered := make([]time.Duration, len(l.Rows)) // up to where, by the children seen so far
	for i := range l.Rows {
		l.Rows[i].Self = max(l.Rows[i].End-l.Rows[i].Start, 0)
		covered[i] = l.Rows[i].Start
		if l.Rows[i].Span == nil {
			l.Rows[i].Self = 0
		}
	}
	for i := range l.Rows { // siblings come in the order of their starts
		r := &l.Rows[i]
		if r.Parent < 0 || l.Rows[r.Parent].Span == nil {
			continue
		}
		p := &l.Rows[r.Parent]
		from, to := max(r.Start, covered[r.Parent]), min(r.End, p.End)
		if to > from {
			p.Self -= to - from
			covered[r.Parent] = to
		}
	}
}

// critical walks back from the root's end: at every moment the child that
// ended last is what its parent waited for, and what no such child covers is
// the parent's own. A child that ends after its parent counts up to the
// parent's end. Without a root it starts from the rows whose parent is missing.
func critical(l *Layout) {
	c := path{l: l, kids: make([][]int, len(l.Rows))}
	var orphans []int
	root := -1
	for i := range l.Rows {
		switch p := l.Rows[i].Parent; {
		case p < 0 && l.Rows[i].Span != nil:
			if root < 0 || l.Rows[i].length() > l.Rows[root].length() && l.Rows[root].Cycle {
				root = i
			}
		case p >= 0 && l.Rows[p].Span == nil:
			orphans = append(orphans, i)
		case p >= 0:
			c.kids[p] = append(c.kids[p], i)
		}
	}
	switch {
	case root >= 0:
		l.Path = max(l.Rows[root].length(), 0)
		c.stack = append(c.stack, visit{root, l.Rows[root].Start, l.Rows[root].End})
	case len(orphans) > 0:
		l.Path = c.waited(-1, orphans, 0, l.Duration)
	}
	for len(c.stack) > 0 {
		v := c.stack[len(c.stack)-1]
		c.stack = c.stack[:len(c.stack)-1]
		c.waited(v.row, c.kids[v.row], v.from, v.to)
	}
	c.steps()
}

func (r *Row) length() time.Duration { return r.End - r.Start }

// visit is a stretch of a row that lies on the path.
type visit struct {
	row      int
	from, to time.Duration
}

type path struct {
	l     *Layout
	kids  [][]int
	stack []visit
}

// waited divides the stretch of a row among it and its children, and returns
// how much the children have.
func (c *path) waited(row int, kids []int, from, to time.Duration) (theirs time.Duration) {
	ends := slices.Clone(kids)
	slices.SortStableFunc(ends, func(i, j int) int { return cmp.Compare(c.l.Rows[j].End, c.l.Rows[i].End) })
	at := to
	for _, k := range ends {
		r := &c.l.Rows[k]
		start, end := max(r.Start, from), r.End
		if at == to {
			end = min(end, to)
		}
		if end > at || start >= end {
			continue
		}
		c.own(row, end, at)
		c.stack = append(c.stack, visit{k, start, end})
		theirs += end - start
		at = start
	}
	c.own(row, from, at)
	return theirs
}

func (c *path) own(row int, from, to time.Duration) {
	if row >= 0 && to > from {
		c.l.Rows[row].Critical = append(c.l.Rows[row].Critical, Window{from, to})
	}
}

// steps puts the windows in the order of time and sums them up.
func (c *path) steps() {
	for i := range c.l.Rows {
		r := &c.l.Rows[i]
		slices.Reverse(r.Critical)
		own := time.Duration(0)
		for _, w := range r.Critical {
			own += w.To - w.From
		}
		if own > 0 {
			c.l.Critical = append(c.l.Critical, Step{Row: i, Own: own, Share: float64(own) / float64(max(c.l.Path, 1))})
		}
	}
	slices.SortStableFunc(c.l.Critical, func(a, b Step) int { return cmp.Compare(b.Own, a.Own) })
}
