package waterfall

import (
	"cmp"
	"slices"
	"time"
)

// Doubt is a way in which a span's times cannot be right.
type Doubt string

// The doubts. What async children do after their parent's end is none.
const (
	NoStart     Doubt = "no_start"     // says no time at all
	Backwards   Doubt = "backwards"    // ends before it starts
	Disagree    Doubt = "disagree"     // its end and its duration contradict each other
	StartsEarly Doubt = "starts_early" // before its parent
	StartsLate  Doubt = "starts_late"  // after its parent has ended
	EndsLate    Doubt = "ends_late"    // after its parent
	Future      Doubt = "future"       // after now
)

// Suspicion is a doubt about a span, and by how much.
type Suspicion struct {
	What Doubt
	By   time.Duration // 0 for NoStart
}

// Skew is a difference between the clocks of two services that would explain
// why spans of the one lie outside of their parents in the other.
type Skew struct {
	Service, Parent string
	Least, Most     time.Duration // by which the service's clock is behind the parent's; ahead if below 0
	Spans           int           // that lie outside
}

// The slack of comparisons between clocks.
const (
	disagreeFrom = time.Millisecond // EndTime is a float, Duration is exact
	futureFrom   = time.Second      // now is this machine's
)

// suspect finds what cannot be right about the rows' times.
func suspect(l *Layout, now time.Time) {
	latest := time.Duration(0)
	if !now.IsZero() {
		latest = between(l.Start, now.UnixNano())
	}
	for i := range l.Rows {
		r := &l.Rows[i]
		if r.Span == nil {
			continue
		}
		r.doubtOwn(l.Start)
		if r.Parent >= 0 && l.Rows[r.Parent].Span != nil && !r.has(NoStart) {
			r.doubtBeside(&l.Rows[r.Parent])
		}
		if !now.IsZero() && !r.Running && max(r.Start, r.End) > latest+futureFrom {
			r.doubt(Future, max(r.Start, r.End)-latest)
		}
		if len(r.Suspect) > 0 {
			l.Suspects++
		}
	}
	findSkews(l)
}

func (r *Row) doubt(what Doubt, by time.Duration) {
	r.Suspect = append(r.Suspect, Suspicion{what, by})
}

func (r *Row) has(what Doubt) bool {
	return slices.ContainsFunc(r.Suspect, func(s Suspicion) bool { return s.What == what })
}

// doubtOwn compares what the span says with itself.
func (r *Row) doubtOwn(origin int64) {
	s := r.Span
	if start(s) == 0 {
		r.doubt(NoStart, 0)
		return
	}
	if r.End < r.Start {
		r.doubt(Backwards, r.Start-r.End)
	}
	if s.Duration == nil || s.EndTime.IsZero() {
		return
	}
	if by := (between(origin, s.EndTime.UnixNano()) - r.End).Abs(); by > disagreeFrom {
		r.doubt(Disagree, by)
	}
}

// doubtBeside compares a span with its parent.
func (r *Row) doubtBeside(p *Row) {
	if p.has(NoStart) || p.has(Backwards) {
		return // the parent is wrong, not its child
	}
	if by := p.Start - r.Start; by > grain {
		r.doubt(StartsEarly, by)
	}
	if p.Running || async(p, r) {
		return
	}
	switch {
	case r.Start > p.End+grain:
		r.doubt(StartsLate, r.Start-p.End)
	case !r.Running && r.End > p.End+grain:
		r.doubt(EndsLate, r.End-p.End)
	}
}

// findSkews looks for each pair of services for one difference of their clocks
// that puts every child inside its parent. It has to be no more than
// parent.End - child.End and no less than parent.Start - child.Start. Children
// longer than their parents tell nothing.
func findSkews(l *Layout) {
	type pair struct{ service, parent string }
	found := map[pair]*Skew{}
	var order []*Skew
	for i := range l.Rows {
		r := &l.Rows[i]
		if r.Parent < 0 || r.Span == nil || r.Running {
			continue
		}
		p := &l.Rows[r.Parent]
		if p.Span == nil || p.Running || p.Service == r.Service || async(p, r) || r.Length() < 0 || r.Length() > p.Length() || r.has(NoStart) || p.has(NoStart) {
			continue
		}
		s := found[pair{r.Service, p.Service}]
		if s == nil {
			s = &Skew{Service: r.Service, Parent: p.Service, Least: p.Start - r.Start, Most: p.End - r.End}
			found[pair{r.Service, p.Service}] = s
			order = append(order, s)
		}
		s.Least, s.Most = max(s.Least, p.Start-r.Start), min(s.Most, p.End-r.End)
		if r.Start < p.Start-grain || r.End > p.End+grain {
			s.Spans++
		}
	}
	for _, s := range order {
		if s.Spans > 0 && s.Least <= s.Most && (s.Least > grain || s.Most < -grain) {
			l.Skews = append(l.Skews, *s)
		}
	}
	slices.SortStableFunc(l.Skews, func(a, b Skew) int { return cmp.Compare(b.Spans, a.Spans) })
}
