package render

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/charmbracelet/lipgloss"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
)

const diffParts = 10 // rows of each table below the tree

// delta writes a difference with its sign, in the colour of slower or faster
// where it matters.
func (s *diff) delta(d api.Seconds) string {
	text := "–"
	switch {
	case d > 0:
		text = "+" + duration(d.Duration())
	case d < 0:
		text = duration(d.Duration())
	}
	return s.tone(d).Render(right(text, gutter+deltaWidth))
}

func (s *diff) tone(d api.Seconds) lipgloss.Style {
	least := diffLeast * float64(max(s.d.A.Duration, s.d.B.Duration))
	switch {
	case float64(d) >= least && d > 0:
		return s.bad
	case float64(-d) >= least && d < 0:
		return s.ok
	}
	return s.muted
}

// onlyB and onlyA list the spans that one trace alone has.
func (s *diff) onlyB() error {
	return s.only("New in B", func(p *waterfall.Pair) (*waterfall.Spans, bool) { return p.B, p.A == nil })
}

func (s *diff) onlyA() error {
	return s.only("Gone from B", func(p *waterfall.Pair) (*waterfall.Spans, bool) { return p.A, p.B == nil })
}

func (s *diff) only(title string, of func(*waterfall.Pair) (*waterfall.Spans, bool)) error {
	var rows []int
	critical, spans := map[int]api.Seconds{}, map[int]int{} // of the subtrees
	for i := len(s.d.Rows) - 1; i >= 0; i-- {
		p := &s.d.Rows[i]
		sum, alone := of(p)
		if !alone {
			continue
		}
		critical[i] += sum.Critical
		spans[i] += sum.Count
		if p.Parent >= 0 {
			if _, above := of(&s.d.Rows[p.Parent]); above {
				critical[p.Parent] += critical[i]
				spans[p.Parent] += spans[i]
				continue
			}
		}
		rows = append(rows, i)
	}
	slices.SortStableFunc(rows, func(i, j int) int {
		a, _ := of(&s.d.Rows[i])
		b, _ := of(&s.d.Rows[j])
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(i, j))
	})
	return s.part(title, rows, []column{{name: "TIME", right: true}, {name: "ON PATH", right: true, drop: 2}, {name: "SPANS", right: true, drop: 1}},
		func(i int) []string {
			sum, _ := of(&s.d.Rows[i])
			return []string{duration(sum.Total.Duration()), orDash(critical[i]), count(int64(spans[i]))}
		})
}

func orDash(d api.Seconds) string {
	if d == 0 {
		return "–"
	}
	return duration(d.Duration())
}

// path says whether the critical path changed, and where.
func (s *diff) path() error {
	if !s.d.Changed {
		s.line()
		s.line(s.title.Render("Critical path"), s.muted.Render("  the same spans"))
		return nil
	}
	err := s.part("Critical path  on it now", s.d.Entered, []column{{name: "OWN", right: true}, {name: "A", right: true, drop: 1}},
		func(i int) []string {
			p := &s.d.Rows[i]
			return []string{s.bad.Render("+" + duration(p.B.Critical.Duration())), s.elsewhere(p.A)}
		})
	if err != nil {
		return err
	}
	return s.part("Critical path  no longer on it", s.d.Left, []column{{name: "OWN", right: true}, {name: "B", right: true, drop: 1}},
		func(i int) []string {
			p := &s.d.Rows[i]
			return []string{s.ok.Render("-" + duration(p.A.Critical.Duration())), s.elsewhere(p.B)}
		})
}

// elsewhere says what the other side has of a row that is not on its path.
func (s *diff) elsewhere(sum *waterfall.Spans) string {
	if sum == nil {
		return "–"
	}
	return "beside"
}

// part writes a table of rows below the tree: columns of its own, then the span,
// its service and what it stands below.
func (s *diff) part(title string, rows []int, cols []column, cellsOf func(int) []string) error {
	if len(rows) == 0 {
		return nil
	}
	s.line()
	if !s.NoHeaders {
		name, what, _ := strings.Cut(title, "  ")
		s.line(s.title.Render(name), s.muted.Render(strings.TrimRight("  "+what, " ")))
	}
	n := diffParts
	if s.limit < 0 || s.all {
		n = len(rows)
	}
	n = min(n, len(rows))
	var body [][]string
	for _, i := range rows[:n] {
		p := &s.d.Rows[i]
		below := "–"
		if p.Parent >= 0 {
			below = clean(s.d.Rows[p.Parent].Operation)
		}
		name := clean(p.Operation)
		if c := p.Count(); c > 1 {
			name = "×" + count(int64(c)) + " " + name
		}
		body = append(body, append(cellsOf(i), name, s.muted.Render(clean(p.Service)), s.muted.Render(below)))
	}
	cols = append(slices.Clone(cols), column{name: "SPAN", flex: true}, column{name: "SERVICE", drop: 3}, column{name: "BELOW", flex: true, drop: 4})
	if err := s.table(cols, body); err != nil {
		return err
	}
	if n < len(rows) {
		s.left = append(s.left, fmt.Sprintf("%s: %s of %s rows  --all shows them", strings.ToLower(title[:1])+title[1:], count(int64(n)), count(int64(len(rows)))))
	}
	return nil
}

// failing lists rows that fail on one side alone, with why.
func (s *diff) failing(title string, rows []int, of func(*waterfall.Pair) *waterfall.Spans) {
	if len(rows) == 0 {
		return
	}
	s.line()
	s.line(s.title.Render(title))
	n := diffParts
	if s.limit < 0 || s.all {
		n = len(rows)
	}
	for _, i := range rows[:min(n, len(rows))] {
		p := &s.d.Rows[i]
		sum := of(p)
		name := clean(p.Operation)
		if sum.Errors > 1 {
			name = "×" + count(int64(sum.Errors)) + " " + name
		}
		where := clean(p.Service) + "  --span " + clean(sum.SpanID)
		lead := ""
		for line := range strings.SplitSeq(wrap(s.Width-gutter, clip(name, s.Width-gutter), where), "\n") {
			if rest, ok := strings.CutSuffix(line, where); ok {
				line = rest + s.muted.Render(where)
			}
			s.line(cmp.Or(lead, s.bad.Render("✗")+" "), line)
			lead = blanks(gutter)
		}
		s.line(blanks(gutter), fit(clean(sum.Message), s.Width-gutter))
	}
	if more := len(rows) - n; more > 0 {
		s.left = append(s.left, fmt.Sprintf("%s: %s more  --all shows them", strings.ToLower(title), count(int64(more))))
	}
}
