package render

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// ProfileDiffShown is a comparison of two profiles and their names.
type ProfileDiffShown struct {
	*hotspot.Comparison
	A   string `json:"a"`
	B   string `json:"b"`
	Cum bool   `json:"cum"` // values with callees are compared
}

// ProfileDiff draws how two profiles differ: their totals, the functions by the
// change of their share, and the call paths that only one has.
func ProfileDiff(w io.Writer, rs []api.Result[ProfileDiffShown], o Options) error {
	return screens(w, rs, o, func(s *screen, _ string, d ProfileDiffShown) error {
		if !s.NoHeaders {
			s.heading("Profile diff by "+diffBy(d), s.diffVerdict(d))
			s.line()
			s.diffSide("A", d.A, d.Before, d)
			s.diffSide("B", d.B, d.After, d)
			s.line(s.diffTotals(d))
		}
		if d.Swapped != "" {
			s.line(s.warn.Render(ansi.Wrap("A and B look swapped: "+clean(d.Swapped)+".", s.Width, " ")))
		}
		if d.Note != "" {
			s.line(s.warn.Render(ansi.Wrap("Note: "+clean(d.Note)+".", s.Width, " ")))
		}
		s.line()
		if len(d.Rows) == 0 {
			s.line(s.muted.Render("No function has a value in either."))
			return nil
		}
		if err := s.diffRows(d); err != nil {
			return err
		}
		if err := s.diffStacks("New in B", d.New, d); err != nil {
			return err
		}
		return s.diffStacks("Gone from A", d.Gone, d)
	})
}

func diffBy(d ProfileDiffShown) string {
	text := "own " + sampleWords(d.SampleType)
	if d.Cum {
		text = sampleWords(d.SampleType) + ", callees included"
	}
	return text
}

// diffVerdict is the answer where one was asked for, else the largest change.
func (s *screen) diffVerdict(d ProfileDiffShown) string {
	switch {
	case d.FailOver > 0 && d.Passed():
		return s.mark(fine, "no share grew by more than "+percentPoints(d.FailOver)[1:])
	case d.FailOver > 0:
		return s.mark(broken, Plural(len(d.Over), "function")+" grew by more than "+percentPoints(d.FailOver)[1:])
	case len(d.Rows) == 0 || d.Rows[0].Delta == 0:
		return s.muted.Render("no share changed")
	}
	return s.muted.Render("largest change " + percentPoints(d.Rows[0].Delta))
}

// percentPoints writes a change of a share: +5.2pp.
func percentPoints(d float64) string {
	if math.Abs(d) < 0.0005 {
		return "+0.0pp"
	}
	return fmt.Sprintf("%+.1fpp", 100*d)
}

// diffSide writes what one of the profiles is.
func (s *screen) diffSide(letter, name string, side hotspot.Side, d ProfileDiffShown) {
	facts := []string{shortID(name, 16), scopeText(side.Total, d.Unit, d.SampleType, api.Seconds(side.Seconds*float64(time.Second)))}
	if d.SampleType != "samples" {
		facts = append(facts, Plural(int(side.Samples), "sample"))
	}
	for i, line := range strings.Split(wrap(s.Width-3, facts...), "\n") {
		s.line(map[bool]string{true: s.title.Render(letter), false: " "}[i == 0], blanks(gutter), s.muted.Render(line))
	}
}

// diffTotals says how the totals changed, and how a second's did.
func (s *screen) diffTotals(d ProfileDiffShown) string {
	parts := []string{"total " + change(float64(d.Before.Total), float64(d.After.Total), d.Unit)}
	if d.Before.Seconds > 0 && d.After.Seconds > 0 {
		parts = append(parts, "a second "+change(d.Before.PerSecond, d.After.PerSecond, d.Unit))
	}
	return wrap(s.Width, parts...)
}

func change(from, to float64, unit string) string {
	text := amount(int64(from), unit) + " → " + amount(int64(to), unit)
	if from != 0 {
		text += fmt.Sprintf(" %+.1f%%", 100*(to/from-1))
	}
	return text
}

func (s *screen) diffRows(d ProfileDiffShown) error {
	perSecond := d.Before.Seconds > 0 && d.After.Seconds > 0
	cols := []column{
		{name: "A%", right: true}, {name: "B%", right: true}, {name: "CHANGE", right: true}, {drop: 2},
		{name: "A", right: true, drop: 4}, {name: "B", right: true, drop: 4}, {name: "A/S", right: true, drop: 3}, {name: "B/S", right: true, drop: 3},
		{name: "FUNCTION", flex: true},
	}
	shown := d.judged()
	most := math.Abs(d.Rows[0].Delta)
	var rows [][]string
	for _, r := range shown {
		style := s.ok
		if r.Delta > 0 {
			style = s.bad
		}
		aSecond, bSecond := "–", "–"
		if perSecond {
			aSecond, bSecond = amount(int64(r.BeforePerSecond), d.Unit), amount(int64(r.AfterPerSecond), d.Unit)
		}
		rows = append(rows, []string{
			part(r.Before, r.BeforeRatio), part(r.After, r.AfterRatio), style.Render(percentPoints(r.Delta)), style.Render(bar(math.Abs(r.Delta), most, topBar)),
			amount(r.Before, d.Unit), amount(r.After, d.Unit), aSecond, bSecond, clean(hotspot.ShortName(r.Function)),
		})
	}
	if err := s.table(cols, rows); err != nil {
		return err
	}
	if !s.NoHeaders {
		s.leftOut(len(shown), d.Functions, "functions")
	}
	return nil
}

// judged are the rows with those first that the answer is no for, all of them.
func (d ProfileDiffShown) judged() []hotspot.Change {
	rows := slices.Clone(d.Over)
	for _, r := range d.Rows {
		if len(rows) < len(d.Rows) && (d.FailOver == 0 || r.Delta <= d.FailOver) {
			rows = append(rows, r)
		}
	}
	return rows
}

// diffStacks writes the call paths of one side, the innermost calls first: those
// tell them apart.
func (s *screen) diffStacks(title string, st hotspot.Stacks, d ProfileDiffShown) error {
	if st.Count == 0 {
		return nil
	}
	s.line()
	s.line(ends(s.title.Render(title), s.muted.Render(fmt.Sprintf("%s  %s  %s", Plural(st.Count, "call path"), amount(st.Value, d.Unit), share(st.Ratio))), s.Width))
	var rows [][]string
	for _, one := range st.List {
		names := make([]string, len(one.Functions))
		for i, f := range one.Functions {
			names[i] = clean(hotspot.ShortName(f))
		}
		slices.Reverse(names)
		rows = append(rows, []string{amount(one.Value, d.Unit), share(one.Ratio), strings.Join(names, " < ")})
	}
	plain := *s
	plain.NoHeaders = true
	if err := plain.table([]column{{right: true}, {right: true}, {flex: true}}, rows); err != nil {
		return err
	}
	if len(st.List) < st.Count {
		s.quiet(fmt.Sprintf("%s of %s call paths  --limit 0 shows all", count(int64(len(st.List))), count(int64(st.Count))))
	}
	return nil
}
