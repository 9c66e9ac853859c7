package render

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/internal/condition"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// Waited draws how each condition stands at each server. Outcomes stand there
// for servers that could not be asked, too.
func Waited(w io.Writer, rs []api.Result[[]condition.Outcome], o Options) error {
	s := newScreen(w, o)
	met, all := metOf(rs)
	if !o.NoHeaders {
		v, word := fine, fmt.Sprintf("%d met", met)
		if met < all {
			v, word = broken, fmt.Sprintf("%d of %d not met", all-met, all)
		}
		s.heading("Conditions", s.mark(v, word))
	}
	for _, r := range rs {
		s.line()
		if len(rs) > 1 {
			s.line(s.muted.Render(instance(r.Instance)))
		}
		for _, o := range r.Value {
			if o.Met {
				s.line(fit(s.mark(fine, clean(o.Condition)), s.Width))
				continue
			}
			s.line(fit(s.mark(broken, clean(o.Condition)), s.Width))
			for _, what := range unmet(o) {
				s.line("    " + fit(what, s.Width-4))
			}
		}
	}
	return s.flush()
}

// Waiting are the lines that tell what a wait still waits for: how long it has
// waited, and each condition that is not met. There are at most so many.
func Waiting(rs []api.Result[[]condition.Outcome], waited, timeout time.Duration, most int, o Options) []string {
	s := newScreen(io.Discard, o)
	met, all := metOf(rs)
	of := ""
	if timeout > 0 {
		of = " of " + age(timeout)
	}
	lines := []string{fmt.Sprintf("waiting %s%s  %d of %d conditions met", age(waited), of, met, all)}
	for _, r := range rs {
		for _, o := range r.Value {
			if o.Met {
				continue
			}
			what := clean(o.Condition) + ": " + strings.Join(unmet(o), "; ")
			if len(rs) > 1 {
				what = instance(r.Instance) + "  " + what
			}
			lines = append(lines, "  "+s.bad.Render("✗")+" "+strings.TrimRight(fit(what, s.Width-5), " "))
		}
	}
	if most = max(most, 2); len(lines) > most {
		lines = append(lines[:most-1:most-1], fmt.Sprintf("  and %d more", len(lines)-most+1))
	}
	return lines
}

func metOf(rs []api.Result[[]condition.Outcome]) (met, all int) {
	for _, r := range rs {
		for _, o := range r.Value {
			all++
			if o.Met {
				met++
			}
		}
	}
	return met, all
}

// unmet says what is not as the condition wants it, a text for each thing.
func unmet(o condition.Outcome) (parts []string) {
	for _, text := range []string{o.Never, o.Reason} {
		if text != "" {
			parts = append(parts, clean(text))
		}
	}
	for _, p := range o.Unmet {
		text := clean(p.Name) + " " + clean(p.Is)
		if p.Note != "" {
			text += " (" + clean(p.Note) + ")"
		}
		parts = append(parts, text)
	}
	if o.UnmetMore > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", o.UnmetMore))
	}
	return parts
}
