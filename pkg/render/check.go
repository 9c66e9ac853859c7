package render

import (
	"io"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/internal/check"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// Checks draws the outcome of a check: for each server what is not OK, and what
// was measured. Servers that could not be asked have outcomes, too.
func Checks(w io.Writer, rs []api.Result[check.Result], o Options) error {
	s := newScreen(w, o)
	if !o.NoHeaders && len(rs) > 0 {
		s.heading("Check "+clean(rs[0].Value.Check), s.checkMark(check.Overall(rs), check.Overall(rs).String()))
	}
	for _, r := range rs {
		summary := clean(r.Value.Summary)
		if len(rs) > 1 {
			s.line()
			summary = instance(r.Instance) + "  " + summary
		}
		s.line(s.muted.Render(strings.TrimRight(fit(summary, s.Width), " ")))
		if err := s.checked(r.Value); err != nil {
			return err
		}
	}
	return s.flush()
}

// checked draws what was found at one server.
func (s *screen) checked(r check.Result) error {
	var problems, values [][]string
	for _, p := range r.Problems {
		if p.Detail != r.Summary {
			problems = append(problems, []string{s.checkMark(p.Status, p.Status.String()[:4]), clean(p.Name), clean(p.Detail)})
		}
	}
	for _, v := range r.Values {
		values = append(values, []string{clean(v.Name), measured(v), v.Warn, v.Critical})
	}
	for _, t := range []struct {
		cols []column
		rows [][]string
	}{
		{[]column{{name: "STATUS"}, {name: "NAME", flex: true}, {name: "WHY", flex: true}}, problems},
		{[]column{{name: "MEASURED", flex: true}, {name: "VALUE", right: true}, {name: "WARNING", right: true, drop: 2}, {name: "CRITICAL", right: true, drop: 1}}, values},
	} {
		if len(t.rows) == 0 {
			continue
		}
		s.line()
		if err := s.table(t.cols, t.rows); err != nil {
			return err
		}
	}
	return nil
}

// measured writes a value in its unit.
func measured(v check.Value) string {
	f := float64(v.Value)
	if !(f > -1e9 && f < 1e15) {
		return number(f)
	}
	switch v.Unit {
	case "seconds":
		return duration(time.Duration(f * float64(time.Second)))
	case "ratio":
		return share(f)
	case "bytes":
		return size(int64(f))
	}
	return number(f)
}

// checkMark is the sign of a status with a word for it.
func (s *screen) checkMark(st check.Status, word string) string {
	switch st {
	case check.OK:
		return s.mark(fine, word)
	case check.Warning:
		return s.mark(between, word)
	}
	return s.mark(broken, word)
}
