package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Doctor draws what is wrong, the worst first, each with its evidence, what it
// explains and what to type next, and what could not be judged.
func Doctor(w io.Writer, v api.Diagnosis, unanswered []api.Result[struct{}], o Options) error {
	s := newScreen(w, o)
	s.heading(s.patients(v), s.diagnosis(v.Findings, len(unanswered)))
	for _, r := range unanswered {
		s.line()
		s.failed(instance(r.Instance)+blanks(gutter), r.Error)
	}
	for _, f := range v.Findings {
		s.line()
		s.finding(f, len(v.Instances) > 1)
	}
	s.notJudged(v)
	return s.flush()
}

// patients names who was judged.
func (s *screen) patients(v api.Diagnosis) string {
	switch len(v.Instances) {
	case 0:
		return "Doctor"
	case 1:
		return "Doctor  " + instance(v.Instances[0])
	}
	return fmt.Sprintf("Doctor  %d servers", len(v.Instances))
}

// diagnosis sums findings up.
func (s *screen) diagnosis(fs []api.Finding, unanswered int) string {
	n := map[string]int{}
	for _, f := range fs {
		n[f.Severity]++
	}
	var parts []string
	add := func(v verdict, n int, word string) {
		if n > 0 {
			parts = append(parts, s.mark(v, fmt.Sprintf("%d %s", n, word)))
		}
	}
	add(broken, unanswered, "without answer")
	add(broken, n[api.SeverityCritical], "critical")
	add(between, n[api.SeverityWarning], plural(n[api.SeverityWarning], "warning"))
	add(between, n[api.SeverityNotice], plural(n[api.SeverityNotice], "notice"))
	if len(parts) == 0 {
		return s.mark(fine, "nothing found")
	}
	return strings.Join(parts, blanks(gutter))
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// sign is a finding's mark: a notice is a muted one.
func (s *screen) sign(severity string) string {
	switch severity {
	case api.SeverityCritical:
		return s.bad.Render("✗")
	case api.SeverityWarning:
		return s.warn.Render("◐")
	}
	return s.muted.Render("○")
}

func (s *screen) finding(f api.Finding, fleet bool) {
	s.hanging(s.sign(f.Severity)+" ", s.title.Render(clean(f.Cause)))
	if fleet {
		s.hanging("  ", s.muted.Render("at "+s.places(f.Instances)))
	}
	for _, e := range f.Evidence {
		s.hanging("  ", s.evidence(e))
	}
	for _, e := range f.Effects {
		s.hanging("  "+s.muted.Render("so  "), clean(e.Cause))
	}
	s.hanging("  "+s.accent.Render("→ "), clean(f.Next))
}

func (s *screen) evidence(e api.Evidence) string {
	text := clean(e.Text)
	if e.Instance != "" {
		text = instance(e.Instance) + ": " + text
	}
	return text + s.muted.Render("  "+clean(e.Source))
}

// places names instances, many by their number.
func (s *screen) places(names []string) string {
	const most = 4
	var out []string
	for i, n := range names {
		if i == most && len(names) > most+1 {
			return fmt.Sprintf("%s and %d more", strings.Join(out, ", "), len(names)-most)
		}
		out = append(out, instance(n))
	}
	return strings.Join(out, ", ")
}

// hanging writes text behind a mark, wrapped, with the further lines below its
// beginning.
func (s *screen) hanging(mark, text string) {
	if room := s.Width - cells(mark); !s.Wide && room > 8 {
		text = ansi.Wrap(text, room, " ")
	}
	for line := range strings.SplitSeq(text, "\n") {
		s.line(mark, strings.TrimRight(line, " "))
		mark = blanks(cells(mark))
	}
}

// notJudged lists what could not be judged, and why.
func (s *screen) notJudged(v api.Diagnosis) {
	if v.Rules == 0 {
		return
	}
	s.line()
	about := fmt.Sprintf("%d rules", v.Rules)
	if v.Interval > 0 {
		about += ", two looks " + duration(v.Interval.Duration()) + " apart"
	}
	if len(v.NotJudged) == 0 {
		s.line(s.muted.Render(about + "; all could judge"))
		return
	}
	s.line(s.muted.Render(about + "; not judged:"))
	var fs []fact
	for _, u := range v.NotJudged {
		text := clean(u.Why)
		if len(v.Instances) > 1 && len(u.Instances) < len(v.Instances) {
			text += "  at " + s.places(u.Instances)
		}
		fs = append(fs, fact{clean(u.Rule), s.muted.Render(text)})
	}
	s.facts(fs)
}

// DoctorRules lists the rules.
func DoctorRules(w io.Writer, rules []api.DoctorRule, o Options) error {
	s := newScreen(w, o)
	facts := make([]fact, 0, len(rules))
	for _, r := range rules {
		text := clean(r.About)
		if r.Looks > 1 {
			text += s.muted.Render("  two looks")
		}
		facts = append(facts, fact{clean(r.Rule), text})
	}
	s.facts(facts)
	return s.flush()
}
