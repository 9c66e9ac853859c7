package render

import (
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// TraceTail draws one trace of a stream as a line; its columns have fixed
// widths, so that lines stand below each other though none knows the next. names
// are the instances of a fleet, none where there is but one server. NoHeaders
// leaves out the line of headers, which belongs before the first.
func TraceTail(w io.Writer, names []string, where string, t *api.Trace, o Options) error {
	s := newScreen(w, o)
	cols := s.tailColumns(names)
	if !o.NoHeaders {
		s.line(s.muted.Render(tailLine(cols, func(c tailColumn) string { return c.name })))
	}
	took, failed := time.Duration(0), "–"
	if t.Duration != nil {
		took = t.Duration.Duration()
	}
	if n := t.ErrorCount.Value(); n > 0 {
		failed = s.bad.Render(count(n))
	}
	root := clean(t.Root)
	if t.Complete != nil && !*t.Complete {
		root += s.muted.Render("  incomplete")
	}
	cells := map[string]string{
		"TIME": t.StartTime.In(s.Zone).Format("15:04:05"), "INSTANCE": instance(where), "ID": shortTraceID(t.TraceID, idDigits(cols)), "STATUS": s.statusMark(t.Status),
		"TOOK": duration(took), "SPANS": count(t.SpanCount.Value()), "ERRORS": failed, "SERVICE": clean(t.Service), "TRACE": root,
	}
	s.line(tailLine(cols, func(c tailColumn) string { return cells[c.name] }))
	return s.flush()
}

// tailColumn is one of a fixed width; 0 takes what is left, and all it needs.
type tailColumn struct {
	name  string
	width int
	right bool
	from  int // columns of the screen from which on it is shown
}

// tailColumns are those that there is room for.
func (s *screen) tailColumns(names []string) []tailColumn {
	longest := 0
	for _, n := range names {
		longest = max(longest, cells(instance(n)))
	}
	id := 8
	if s.Wide {
		id = 32
	}
	timeFrom := 0
	if longest > 0 {
		timeFrom = 75 // whose it is says more than when
	}
	all := []tailColumn{
		{"TIME", 8, false, timeFrom}, {"INSTANCE", min(longest, max(s.Width/5, 12)), false, 0}, {"ID", id, false, 0}, {"STATUS", 9, false, 0}, {"TOOK", 6, true, 0},
		{"SPANS", 6, true, 80}, {"ERRORS", 6, true, 100}, {"SERVICE", 18, false, 90}, {"TRACE", 0, false, 0},
	}
	left := s.Width
	all = slices.DeleteFunc(all, func(c tailColumn) bool {
		gone := c.name == "INSTANCE" && longest == 0 || c.from > s.Width && !s.Wide
		if !gone {
			left -= c.width + gutter
		}
		return gone
	})
	if !s.Wide {
		all[len(all)-1].width = max(left+gutter, 16)
	}
	return all
}

func idDigits(cols []tailColumn) int {
	return cols[slices.IndexFunc(cols, func(c tailColumn) bool { return c.name == "ID" })].width
}

func tailLine(cols []tailColumn, text func(tailColumn) string) string {
	var b strings.Builder
	for i, c := range cols {
		cell := text(c)
		switch {
		case c.width == 0:
		case c.right:
			cell = right(cell, c.width)
		case cells(cell) > c.width:
			cell = fitMiddle(cell, c.width)
		default:
			cell = fit(cell, c.width)
		}
		if i > 0 {
			b.WriteString(blanks(gutter))
		}
		b.WriteString(cell)
	}
	return b.String()
}
