package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// BreakerResets draws what a reset did, a line for each breaker that was not
// closed: before → after. after is the state where the server does not tell it.
func BreakerResets(w io.Writer, rs []api.Result[api.BreakersReset], after api.State, o Options) error {
	s := newScreen(w, o)
	eachChanged(s, rs, func(r api.BreakersReset) bool { return len(r.Reset) > 0 }, func(where string, r api.BreakersReset) {
		s.resets(where, r, after)
	})
	return s.flush()
}

// eachChanged draws what each instance did, and why one did not do it. some
// tells whether an answer beside an error has things to show.
func eachChanged[T any](s *screen, rs []api.Result[T], some func(T) bool, draw func(where string, v T)) {
	names := 0
	for _, r := range rs {
		names = max(names, cells(instance(r.Instance)))
	}
	for _, r := range rs {
		where := ""
		if len(rs) > 1 {
			where = fit(instance(r.Instance), names) + blanks(gutter)
		}
		if r.Error == nil || some(r.Value) {
			draw(where, r.Value)
		}
		if r.Error != nil && where != "" {
			s.failed(where, r.Error)
		}
	}
}

func (s *screen) resets(where string, r api.BreakersReset, after api.State) {
	names, moved := 0, 0
	for _, b := range r.Reset {
		names = max(names, cells(clean(b.Name)))
	}
	for _, b := range r.Skipped {
		names = max(names, cells(clean(b.Name)))
	}
	for _, b := range r.Reset {
		if b.PreviousState == "" || b.PreviousState == api.StateClosed {
			continue
		}
		moved++
		to := after
		if b.State != "" {
			to = b.State
		}
		s.line(where, fit(clean(b.Name), names), "  ", s.state(b.PreviousState), " → ", s.state(to))
	}
	for _, b := range r.Skipped {
		s.line(where, fit(clean(b.Name), names), "  ", s.warn.Render("skipped: "+clean(b.Reason)))
	}
	verb := "reset"
	if r.DryRun {
		verb = "would reset"
	}
	s.line(where, fmt.Sprintf("%s %d of %d circuit breakers, %d not closed before", verb, len(r.Reset), r.Total.Value(), moved))
}

func (s *screen) state(st api.State) string { return s.mark(stateVerdict(st), stateWord(st)) }

// BreakerChanges draws what an order to force a state, or to end that, did to
// each breaker: before → after.
func BreakerChanges(w io.Writer, rs []api.Result[[]api.BreakerChange], o Options) error {
	s := newScreen(w, o)
	eachChanged(s, rs, func(cs []api.BreakerChange) bool { return len(cs) > 0 }, func(where string, cs []api.BreakerChange) {
		names := 0
		for _, c := range cs {
			names = max(names, cells(changedName(c)))
		}
		for _, c := range cs {
			s.change(where+fit(changedName(c), names), c)
		}
	})
	return s.flush()
}

func changedName(c api.BreakerChange) string {
	if c.Breaker == nil {
		return ""
	}
	return clean(c.Breaker.Name)
}

func (s *screen) change(who string, c api.BreakerChange) {
	before, after := s.stateIn(c.PreviousState, c.PreviousMode), s.stateIn(c.State, c.Mode)
	said := ""
	if c.Mode != "" && c.Mode != api.ModeAutomatic {
		said = strings.TrimSpace(s.until(c.Until))
	}
	if before == after && said == "" {
		said = s.muted.Render("nothing to do")
	} else {
		after = before + " → " + after
	}
	if c.DryRun {
		said = strings.TrimSpace(said + s.muted.Render("  (dry run)"))
	}
	s.detail(who+blanks(gutter)+after, said, "")
}
