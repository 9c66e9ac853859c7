package render

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Alerts draws the rules of each server that have something to tell, and how
// many have not.
func Alerts(w io.Writer, rs []api.Result[api.AlertRules], o Options) error {
	return screens(w, rs, o, func(s *screen, where string, a api.AlertRules) error {
		rules := AlertingRules(a)
		if !s.NoHeaders {
			s.heading(titled("Alerts", where), s.alertVerdict(rules))
			s.line()
		}
		if len(rules) == 0 {
			s.paragraph("", "There are no alert rules: pulsectl serve --rules FILE evaluates some.")
			return nil
		}
		var rows [][]string
		for _, r := range rules {
			rows = append(rows, s.ruleRows(r)...)
		}
		if err := s.table(alertColumns(), rows); err != nil {
			return err
		}
		s.ruleNotes(rules, a.HistoryStart.Time)
		return nil
	})
}

func alertColumns() []column {
	return []column{
		{name: "STATE"}, {name: "ALERT", flex: true}, {name: "SINCE", right: true}, {name: "VALUE", right: true, drop: 2}, {name: "LABELS", flex: true, drop: 3}, {name: "SUMMARY", flex: true, drop: 1},
	}
}

// alertState is the state that an alert has come to.
func (s *screen) alertState(state string) string {
	switch state {
	case api.AlertFiring:
		return s.mark(broken, "firing")
	case api.AlertPending:
		return s.mark(between, "pending")
	}
	return s.mark(fine, "over")
}

// AlertText is what tells a rule, with the one alert that it has, from others.
func AlertText(r *api.Rule) string {
	text := r.Name + " " + r.State
	for _, a := range r.Alerts {
		text += " " + a.State + " " + alertLabels(a.Labels)
	}
	return text
}

// AlertingRules are those that can fire, the gravest state first.
func AlertingRules(a api.AlertRules) (rules []api.Rule) {
	for _, g := range a.Data.Groups {
		for _, r := range g.Rules {
			if r.Type == api.RuleAlerting || r.Health == api.RuleErr {
				rules = append(rules, r)
			}
		}
	}
	slices.SortStableFunc(rules, func(a, b api.Rule) int { return gravity(a) - gravity(b) })
	return rules
}

func gravity(r api.Rule) int {
	switch {
	case r.State == api.AlertFiring:
		return 0
	case r.Health == api.RuleErr:
		return 1
	case r.State == api.AlertPending:
		return 2
	case r.State == api.AlertUnknown:
		return 3
	}
	return 4
}

func (s *screen) alertVerdict(rules []api.Rule) string {
	states := map[int]int{}
	for _, r := range rules {
		states[gravity(r)]++
	}
	of := s.muted.Render(" of " + Plural(len(rules), "rule"))
	switch {
	case len(rules) == 0:
		return s.muted.Render("none")
	case states[0] > 0:
		return s.mark(broken, fmt.Sprintf("%d firing", states[0])) + of
	case states[1] > 0:
		return s.mark(broken, fmt.Sprintf("%d cannot be evaluated", states[1])) + of
	case states[2] > 0:
		return s.mark(between, fmt.Sprintf("%d pending", states[2])) + of
	}
	return s.mark(fine, "none fires") + of
}

func (s *screen) ruleRows(r api.Rule) (rows [][]string) {
	name := clean(r.Name)
	if r.Health == api.RuleErr {
		rows = append(rows, []string{s.mark(broken, "error"), name, "", "", "", ""})
	}
	for _, a := range r.Alerts {
		state := s.mark(broken, "firing")
		switch {
		case a.State == api.AlertPending:
			state = s.mark(between, "pending")
		case a.KeepFiringSince != nil:
			state = s.mark(between, "firing on")
		}
		rows = append(rows, []string{
			state, name, age(s.Now.Sub(a.ActiveAt)), sampleText(float64(a.Value)), alertLabels(a.Labels), clean(cmp.Or(a.Annotations["summary"], a.Annotations["description"])),
		})
	}
	if len(rows) > 0 {
		return rows
	}
	state := s.mark(fine, "inactive")
	if r.State == api.AlertUnknown {
		state = s.muted.Render("○ not yet")
	}
	return [][]string{{state, name, "", "", "", ""}}
}

func alertLabels(ls map[string]string) string {
	var parts []string
	for name, v := range ls {
		if name != "alertname" {
			parts = append(parts, clean(name)+"="+clean(v))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// ruleNotes says which rules have no state, or one that may be wrong, and why.
func (s *screen) ruleNotes(rules []api.Rule, start time.Time) {
	var notes []string
	lacks := time.Duration(0)
	short := 0
	for _, r := range rules {
		if r.MissingHistory > 0 {
			short++
			lacks = max(lacks, r.MissingHistory.Duration())
		}
		if r.Health == api.RuleErr {
			notes = append(notes, clean(r.Name)+": "+clean(r.LastError))
		}
		if len(r.Absent) > 0 {
			notes = append(notes, fmt.Sprintf("%s asks for %s, of which there are no samples", clean(r.Name), clean(strings.Join(r.Absent, ", "))))
		}
	}
	if short > 0 {
		kept := "there are no samples yet"
		if !start.IsZero() {
			kept = "there are samples of the last " + age(s.Now.Sub(start))
		}
		notes = append([]string{fmt.Sprintf("not enough history for %s: %s, up to %s more are looked at", Plural(short, "rule"), kept, age(lacks))}, notes...)
	}
	for i, n := range notes {
		if i == 0 {
			s.line()
		}
		s.paragraph(s.warn.Render("! "), n)
	}
}

// paragraph writes words over as many lines as they need, below each other
// behind a sign of two cells.
func (s *screen) paragraph(sign, text string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && cells(sign)+cells(line)+1+cells(word) > s.Width {
			s.line(sign, line)
			sign, line = blanks(cells(sign)), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	s.line(sign, line)
}

// RuleFiles draws what is wrong with rule files.
func RuleFiles(w io.Writer, rs []api.Result[[]api.RuleFile], o Options) error {
	return screens(w, rs, o, func(s *screen, _ string, files []api.RuleFile) error {
		for _, f := range files {
			errors, warnings := 0, 0
			for _, p := range f.Problems {
				if p.Warning {
					warnings++
				} else {
					errors++
				}
			}
			verdict := s.mark(fine, "valid")
			switch {
			case errors > 0:
				verdict = s.mark(broken, Plural(errors, "error"))
			case warnings > 0:
				verdict = s.mark(between, Plural(warnings, "warning"))
			}
			s.line(ends(s.title.Render(clean(f.File)), s.muted.Render(Plural(f.Rules, "rule"))+"  "+verdict, s.Width))
			for _, p := range f.Problems {
				sign := s.bad.Render("✗")
				if p.Warning {
					sign = s.warn.Render("!")
				}
				s.line(sign, " ", s.muted.Render(fmt.Sprintf("%d:%d", p.Line, p.Column)), "  ", clean(p.Message))
			}
		}
		return nil
	})
}
