// Package waterfall works out what a waterfall of a trace shows: the rows in
// the order of the tree, each span's own time, the critical path, what is wrong
// with the trace, which rows are worth their line, and how two traces differ.
// It draws nothing.
//
// [New] takes any trace, however broken: spans whose parent is missing stand
// below a row of their own, those that are each other's parents at the top
// level, several with one id each in its row. Times are used as they are, never
// moved; a span that cannot have run when it says has a [Suspicion].
//
// The critical path is what the trace waited for. It is found by walking back
// from the end of the root: the child that finished last before the moment
// reached is what its parent waited for, from that child's start to its end;
// what no such child covers is the parent's own time; each child is divided
// among itself and its children in the same way. Of two children that overlap,
// the one that finished last is on the path, and the other only if it had ended
// when that one began. A child that outlives its parent was left behind, not
// waited for, and is not on the path. It counts up to the parent's end where
// the parent may have given up on it (it failed or was aborted) or runs in
// another service, whose clock may differ; a message's consumer never does. So
// the stretches of the path never overlap, each lies within its span, and they
// sum up to the root's duration. After the last-finishing-child walk of Uber's
// CRISP (Zhang et al., USENIX ATC 2022) and Jaeger.
//
// [Select] chooses the rows to show: [View]. [Compare] aligns two traces: [Diff].
package waterfall

import (
	"iter"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Layout is a trace laid out.
type Layout struct {
	Start    int64         // Unix nanoseconds of the earliest start
	Duration time.Duration // from there to the latest end, or to now while spans run
	Rows     []Row         // as they stand below one another
	Services []string      // in the order of their first row
	Roots    int           // spans without a parent
	Root     int           // the row that the critical path is of; -1 where only orphans are left
	Critical []Step        // the critical path, the largest own time first
	Path     time.Duration // what the critical path explains: the root's duration
	Errors   int           // rows with Error
	Orphans  int           // spans whose parent is missing
	Suspects int           // rows with a Suspicion
	Skews    []Skew        // clocks that seem to differ
}

// Row is a span's line, or that of the missing parent of the rows below it.
type Row struct {
	Span    *api.Span // nil for a missing parent
	Missing string    // the missing parent's id, where Span is nil
	Service string

	Parent int // the row above in the tree; -1 at the top level
	Depth  int // 0 at the top level
	Kids   int // rows directly below in the tree
	Size   int // rows of its subtree, itself included: they follow it

	Start, End time.Duration // since Layout.Start, as the span says
	Self       time.Duration // what no child covers of it
	Critical   []Window      // its parts on the critical path, in order of time

	Error     bool // failed or timed out
	Running   bool // has not ended: End is the layout's
	Duplicate bool // another row before has the same id
	Cycle     bool // is its own ancestor by its parent's id
	Suspect   []Suspicion
}

// Window is a stretch of time since Layout.Start.
type Window struct{ From, To time.Duration }

// Step is a span's part in the critical path.
type Step struct {
	Row   int
	Spans int // that it sums up
	Own   time.Duration
	Share float64 // of Layout.Path, 0 to 1
}

// New lays t out. Spans without an end are taken to run until now, or to the
// trace's latest known end if now is zero. The Layout shares t's spans.
func New(t *api.Trace, now time.Time) *Layout {
	b := builder{nodes: make([]node, len(t.Spans))}
	b.read(t, now)
	b.tree()
	l := &Layout{Start: b.start, Duration: between(b.start, b.end), Orphans: b.orphans, Root: -1}
	b.rows(l)
	selfTimes(l)
	suspect(l, now)
	l.Focus(mainRoot(l))
	return l
}

// Below yields the rows directly below one in the tree, or with -1 those of the
// top level, in the order of their starts.
func (l *Layout) Below(row int) iter.Seq[int] {
	from, to := 0, len(l.Rows)
	if row >= 0 {
		from, to = row+1, row+l.Rows[row].Size
	}
	return func(yield func(int) bool) {
		for i := from; i < to && yield(i); i += l.Rows[i].Size {
		}
	}
}

// Length is how long the row takes; less than 0 if it ends before it starts.
func (r *Row) Length() time.Duration { return r.End - r.Start }

// OnPath is the row's own time on the critical path.
func (r *Row) OnPath() (own time.Duration) {
	for _, w := range r.Critical {
		own += w.To - w.From
	}
	return own
}

// Name is the span's operation; "" for a missing parent.
func (r *Row) Name() string {
	if r.Span == nil {
		return ""
	}
	return r.Span.OperationName
}

// mainRoot is the longest span without a parent, -1 if there is none. One that
// is only there because a cycle had to be broken comes after all others.
func mainRoot(l *Layout) int {
	root := -1
	for i := range l.Below(-1) {
		r := &l.Rows[i]
		switch {
		case r.Span == nil:
		case root < 0, l.Rows[root].Cycle && !r.Cycle, l.Rows[root].Cycle == r.Cycle && r.Length() > l.Rows[root].Length():
			root = i
		}
	}
	return root
}
