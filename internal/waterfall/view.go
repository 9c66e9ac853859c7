package waterfall

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Filter says which spans of a trace are wanted. The zero value means all, runs
// of equal siblings folded.
type Filter struct {
	Errors bool           // failed ones, and those above them
	Match  *regexp.Regexp // those that it matches, and those above them; nil for any
	Depth  int            // levels below the top; 0 means all
	Unfold bool           // a line for each span
}

// View is what of a Layout is shown.
type View struct {
	Lines    []Line
	From, To time.Duration // the stretch of time that the lines cover
	Spans    int           // wanted: those of the lines, and those that Depth leaves out
	Folded   int           // of them, those that share the line of an equal sibling
	Deep     int           // of them, those that Depth leaves out
	Hidden   int           // spans that do not fit the filter
}

// Line is one row of a Layout, or several that are equal siblings.
type Line struct {
	Rows  []int // the rows of the Layout, in the order of their starts
	Above int   // the line above in the tree; -1 at the top level
	Depth int   // 0 at the top level
	Last  bool  // no sibling follows
	Kids  int   // lines directly below
	Deep  int   // spans below that Depth leaves out
	Fits  bool  // its spans are what the filter asks for, not only above one
}

// foldFrom is how many equal siblings in a row are folded.
const foldFrom = 3

// Find returns the row of the span whose id is this, or the only one whose id
// begins with it. Its error is an [*api.Error] of status 404.
func (l *Layout) Find(prefix string) (int, error) {
	found, ids := -1, []string{}
	for i := range l.Rows {
		s := l.Rows[i].Span
		if s == nil || prefix == "" || !strings.HasPrefix(s.SpanID, prefix) || l.Rows[i].Duplicate {
			continue
		}
		if s.SpanID == prefix {
			return i, nil
		}
		found, ids = i, append(ids, s.SpanID)
	}
	switch {
	case len(ids) == 0:
		return -1, api.Errorf(http.StatusNotFound, "the trace has no span %.64q", prefix)
	case len(ids) > 1:
		slices.Sort(ids)
		e := api.Errorf(http.StatusNotFound, "span id %.64q fits %d spans: %s", prefix, len(ids), strings.Join(ids[:min(len(ids), 10)], ", "))
		return -1, e
	}
	return found, nil
}

// Select returns what of l is to be shown: the row top and those below it, or
// with -1 all, as far as they fit f.
func Select(l *Layout, top int, f Filter) *View {
	s := selection{l: l, f: f, from: 0, to: len(l.Rows), fit: make([]bool, len(l.Rows)), keep: make([]bool, len(l.Rows)), size: make([]int, len(l.Rows))}
	v := &View{To: l.Duration}
	if top >= 0 {
		s.from, s.to = top, top+l.Rows[top].Size
		v.From, v.To = l.Rows[top].Start, l.Rows[top].End
	}
	s.mark(v)
	if top >= 0 {
		for i := s.from; i < s.to; i++ {
			v.From, v.To = min(v.From, l.Rows[i].Start), max(v.To, l.Rows[i].End)
		}
	}
	if !f.Unfold {
		s.shapes()
	}
	s.lines(v, top)
	return v
}

// Guides tells, for the line and each of those above it below the top level,
// whether a sibling follows it: where a tree's guide goes on downwards. The
// last is the line itself. At most max levels are returned, the innermost.
func (v *View) Guides(line, max int) []bool {
	var g []bool
	for i := line; i >= 0 && v.Lines[i].Depth > 0 && len(g) < max; i = v.Lines[i].Above {
		g = append(g, !v.Lines[i].Last)
	}
	slices.Reverse(g)
	return g
}

// Path is the layout's critical path, the largest own time first, with what
// lines put together summed up.
func (v *View) Path(l *Layout) []Step {
	line := make(map[int]int, len(l.Critical)) // of each row, by its first
	for _, s := range l.Critical {
		line[s.Row] = s.Row
	}
	for _, at := range v.Lines {
		for _, row := range at.Rows {
			if _, on := line[row]; on {
				line[row] = at.Rows[0]
			}
		}
	}
	steps := make([]Step, 0, len(l.Critical))
	index := make(map[int]int, len(l.Critical))
	for _, s := range l.Critical {
		first := line[s.Row]
		i, known := index[first]
		if !known {
			i = len(steps)
			index[first] = i
			steps = append(steps, Step{Row: first})
		}
		steps[i].Own += s.Own
		steps[i].Share += s.Share
		steps[i].Spans += s.Spans
	}
	slices.SortStableFunc(steps, func(a, b Step) int { return cmp.Compare(b.Own, a.Own) })
	return steps
}

type selection struct {
	l        *Layout
	f        Filter
	from, to int      // the rows chosen from
	fit      []bool   // what the filter asks for
	keep     []bool   // that, and what leads to it
	size     []int    // spans kept in the subtree of a row
	shape    []uint32 // equal for rows whose subtrees look the same; nil to fold nothing
}

// mark finds the rows to keep. Rows follow their parents: from the last to the
// first each row knows what is below it.
func (s *selection) mark(v *View) {
	for i := s.to - 1; i >= s.from; i-- {
		r := &s.l.Rows[i]
		spans := count(r.Span != nil)
		s.fit[i] = s.fits(r)
		if s.keep[i] || s.fit[i] {
			s.keep[i] = true
			s.size[i] += spans
			v.Spans += spans
			if r.Parent >= s.from {
				s.keep[r.Parent] = true
				s.size[r.Parent] += s.size[i]
			}
		} else {
			v.Hidden += spans
		}
	}
}

func (s *selection) fits(r *Row) bool {
	if !s.f.Errors && s.f.Match == nil {
		return true
	}
	return r.Span != nil && (!s.f.Errors || r.Error) && (s.f.Match == nil || matches(r, s.f.Match))
}

// matches looks into a span's names, attributes and events.
func matches(r *Row, re *regexp.Regexp) bool {
	s := r.Span
	if re.MatchString(s.OperationName) || re.MatchString(r.Service) || re.MatchString(s.StatusMessage) || tagsMatch(s.Tags, re) {
		return true
	}
	return slices.ContainsFunc(s.Logs, func(l api.SpanLog) bool { return re.MatchString(l.Message) || tagsMatch(l.Fields, re) })
}

func tagsMatch(tags map[string]any, re *regexp.Regexp) bool {
	for key, value := range tags {
		if re.MatchString(key + "=" + fmt.Sprint(value)) {
			return true
		}
	}
	return false
}

// look is what rows have in common that share a line: equal but for their times.
type look struct {
	name, service, kind, message string
	status                       api.Status
	running                      bool
	fits                         bool
	doubts                       string
	kids                         string // the shapes of the rows below
}

// shapes numbers the looks of the kept rows. What is broken has one of its own.
func (s *selection) shapes() {
	s.shape = make([]uint32, len(s.l.Rows))
	numbers := map[look]uint32{}
	next := uint32(0)
	var kids []byte
	for i := s.to - 1; i >= s.from; i-- {
		r := &s.l.Rows[i]
		if !s.keep[i] {
			continue
		}
		if r.Span == nil || r.Duplicate || r.Cycle {
			next++
			s.shape[i] = next
			continue
		}
		kids = kids[:0]
		for k := range s.kept(i) {
			kids = binary.LittleEndian.AppendUint32(kids, s.shape[k])
		}
		k := look{name: r.Span.OperationName, service: r.Service, kind: r.Span.Kind, status: r.Span.Status, running: r.Running, fits: s.fit[i], kids: string(kids)}
		if r.Error {
			k.message = Message(r.Span)
		}
		for _, d := range r.Suspect {
			k.doubts += string(d.What) + " "
		}
		if numbers[k] == 0 {
			next++
			numbers[k] = next
		}
		s.shape[i] = numbers[k]
	}
}

// kept yields the kept rows directly below one.
func (s *selection) kept(row int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for k := range s.l.Below(row) {
			if s.keep[k] && !yield(k) {
				return
			}
		}
	}
}

// lines writes the tree of the kept rows down.
func (s *selection) lines(v *View, top int) {
	type waiting struct {
		rows  []int
		above int
		last  bool
	}
	var stack []waiting
	push := func(groups [][]int, above int) {
		for i, g := range slices.Backward(groups) {
			stack = append(stack, waiting{g, above, i == len(groups)-1})
		}
	}
	if top < 0 {
		push(s.group([]int{-1}), -1)
	} else if s.keep[top] {
		push([][]int{{top}}, -1)
	}
	for len(stack) > 0 {
		w := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		line := Line{Rows: w.rows, Above: w.above, Last: w.last, Fits: s.fit[w.rows[0]]}
		if w.above >= 0 {
			line.Depth = v.Lines[w.above].Depth + 1
		}
		v.Folded += len(w.rows) - 1
		var below [][]int
		if s.f.Depth > 0 && line.Depth >= s.f.Depth {
			for _, i := range w.rows {
				line.Deep += s.size[i] - count(s.l.Rows[i].Span != nil)
			}
			v.Deep += line.Deep
		} else {
			below = s.group(w.rows)
		}
		line.Kids = len(below)
		push(below, len(v.Lines))
		v.Lines = append(v.Lines, line)
	}
}

// group returns the lines directly below one: the kept rows below its first,
// runs of equal ones together, each with those in the same place below its
// other rows, which look the same.
func (s *selection) group(rows []int) (groups [][]int) {
	kids := slices.Collect(s.kept(rows[0]))
	var at []int // the place of each group's first row, and the end
	for i := 0; i < len(kids); {
		at = append(at, i)
		run := i + 1
		for s.shape != nil && run < len(kids) && s.shape[kids[run]] == s.shape[kids[i]] {
			run++
		}
		if run-i < foldFrom {
			run = i + 1
		}
		i = run
	}
	at = append(at, len(kids))
	for i := range len(at) - 1 {
		groups = append(groups, slices.Clone(kids[at[i]:at[i+1]]))
	}
	for _, row := range rows[1:] {
		n, g := 0, 0
		for k := range s.kept(row) {
			for n >= at[g+1] {
				g++
			}
			groups[g] = append(groups[g], k)
			n++
		}
	}
	return groups
}
