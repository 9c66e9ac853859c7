package waterfall

import (
	"cmp"
	"slices"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// grain is what two times may differ by rounding alone: Zipkin's and Jaeger's
// are whole microseconds, start and duration each, and a float of Unix seconds
// is exact to a quarter of one.
const grain = 2 * time.Microsecond

// selfTimes sets each row's own time: its duration without the union of what
// its children cover of it.
func selfTimes(l *Layout) {
	covered := make([]time.Duration, len(l.Rows)) // up to where, by the children seen so far
	for i := range l.Rows {
		l.Rows[i].Self = max(l.Rows[i].Length(), 0)
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

// Focus makes the critical path that of a row; see the package's comment. Of a
// missing parent it is that of the spans below it, taken together; with -1 that
// of all whose parent is missing.
func (l *Layout) Focus(row int) {
	for i := range l.Rows {
		l.Rows[i].Critical = nil
	}
	l.Root, l.Critical = row, nil
	c := path{l: l}
	if row >= 0 && l.Rows[row].Span != nil {
		l.Path = max(l.Rows[row].Length(), 0)
		c.stack = append(c.stack, visit{row, l.Rows[row].Start, l.Rows[row].End})
	} else {
		l.Path = c.waited(-1, l.orphans(row), 0, l.Duration)
	}
	for len(c.stack) > 0 {
		v := c.stack[len(c.stack)-1]
		c.stack = c.stack[:len(c.stack)-1]
		c.waited(v.row, c.awaited(v.row), v.from, v.to)
	}
	c.steps()
}

// orphans returns the rows below a missing parent, or with -1 below any.
func (l *Layout) orphans(row int) (kids []int) {
	if row >= 0 {
		return slices.Collect(l.Below(row))
	}
	for i := range l.Below(-1) {
		if l.Rows[i].Span == nil {
			kids = slices.AppendSeq(kids, l.Below(i))
		}
	}
	return kids
}

// visit is a stretch of a row that lies on the path.
type visit struct {
	row      int
	from, to time.Duration
}

type path struct {
	l     *Layout
	stack []visit
}

// awaited returns the children that a row can have waited for.
func (c *path) awaited(row int) (kids []int) {
	for k := range c.l.Below(row) {
		if !leftBehind(&c.l.Rows[row], &c.l.Rows[k]) {
			kids = append(kids, k)
		}
	}
	return kids
}

// leftBehind tells whether a parent ended without waiting for a child.
func leftBehind(parent, child *Row) bool {
	if parent.Running || child.End <= parent.End+grain {
		return false
	}
	gaveUp := parent.Error || parent.Span.Status == api.StatusAborted
	return async(parent, child) || parent.Service == child.Service && !gaveUp
}

// async tells whether a child takes up a message that its parent left.
func async(parent, child *Row) bool {
	return child.Span.Kind == "consumer" || parent.Span.Kind == "producer"
}

// waited divides the stretch of a row among it and its children, and returns
// how much the children have.
func (c *path) waited(row int, kids []int, from, to time.Duration) (theirs time.Duration) {
	slices.SortStableFunc(kids, func(i, j int) int { return cmp.Compare(c.l.Rows[j].End, c.l.Rows[i].End) })
	at := to
	for _, k := range kids {
		r := &c.l.Rows[k]
		start, end := max(r.Start, from), r.End
		if at == to || end <= at+grain {
			end = min(end, at)
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
		if own := r.OnPath(); own > 0 {
			c.l.Critical = append(c.l.Critical, Step{Row: i, Spans: 1, Own: own, Share: float64(own) / float64(max(c.l.Path, 1))})
		}
	}
	slices.SortStableFunc(c.l.Critical, func(a, b Step) int { return cmp.Compare(b.Own, a.Own) })
}
