package render

import (
	"io"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// BreakerEvents draws what happened to circuit breakers, newest first.
func BreakerEvents(w io.Writer, rs []api.Result[api.BreakerEvents], o Options) error {
	s, n := newScreen(w, o), 0
	for _, r := range rs {
		n += len(r.Value.Events)
	}
	if !o.NoHeaders {
		s.heading("Circuit breaker events", Plural(n, "event")+", newest first, "+s.Now.In(s.Zone).Format("MST"))
		s.line()
	}
	if err := s.events(rs); err != nil {
		return err
	}
	if n == 0 && answered(rs) > 0 {
		s.line(s.muted.Render("No events."))
	}
	return s.flush()
}

// tableLeast is the width from which events are a table: below it there would
// be no room to say why.
const tableLeast = 100

// events draws a table, or on a narrow screen entries of up to two lines.
func (s *screen) events(rs []api.Result[api.BreakerEvents]) error {
	if s.Width < tableLeast && !s.Wide {
		eachChanged(s, rs, func(api.BreakerEvents) bool { return false }, func(where string, all api.BreakerEvents) {
			for _, e := range all.Events {
				s.event(where, e)
			}
		})
		return nil
	}
	cols := []column{
		{name: "TIME"}, {name: "NAME"}, {name: "FROM", drop: 3}, {name: "TO"}, {name: "BY", drop: 1}, {name: "TRACE", drop: 2}, {name: "WHY", flex: true},
	}
	return fleetTable(s, rs, cols, func(all api.BreakerEvents) (rows [][]string) {
		for _, e := range all.Events {
			from := ""
			if e.From != e.To {
				from = s.state(e.From)
			}
			rows = append(rows, []string{
				s.clock(e.Time.Time), clean(e.Name), from, s.stateIn(e.To, e.Mode), clean(e.Actor), s.muted.Render(short(e.TraceID)), s.eventWhy(e),
			})
		}
		return rows
	})
}

// clock is the time of day of an instant of today, and the day of another.
func (s *screen) clock(t time.Time) string {
	t, now := t.In(s.Zone), s.Now.In(s.Zone)
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format("01-02 15:04")
}

// stateIn is a state, or the mode that forces it.
func (s *screen) stateIn(st api.State, m api.Mode) string {
	switch m {
	case api.ModeForcedOpen:
		return s.mark(broken, "forced open")
	case api.ModeDisabled:
		return s.mark(between, "disabled")
	}
	return s.state(st)
}

func (s *screen) eventWhy(e api.BreakerEvent) string {
	why := clean(e.Reason)
	if e.Mode != api.ModeAutomatic { // it begins with what was done, which is shown
		why = strings.TrimPrefix(strings.TrimPrefix(why, modeWord(e.Mode)), ": ")
	}
	if e.Remote {
		why += " (another replica)"
	}
	if e.Mode != "" && e.Mode != api.ModeAutomatic && e.Until != nil && !e.Until.IsZero() {
		why = strings.TrimPrefix(why+", until "+s.clock(e.Until.Time), ", ")
	}
	return why
}

// short is as much of an id as finds it again.
func short(id string) string {
	id = clean(id)
	return id[:min(len(id), 12)]
}

// BreakerEvent draws one event as it happens, on a line of its own, or on two
// where one is too narrow. where is the instance, "" for the only one.
func BreakerEvent(w io.Writer, where string, e api.BreakerEvent, o Options) error {
	s := newScreen(w, o)
	if where != "" {
		where = instance(where) + blanks(gutter)
	}
	s.event(where, e)
	return s.flush()
}

func (s *screen) event(where string, e api.BreakerEvent) {
	if e.Lost > 0 {
		s.line(where, s.warn.Render(Plural(int(e.Lost), "event")+" lost: read too slowly"))
	}
	head, to := where+s.clock(e.Time.Time)+"  "+clean(e.Name)+"  ", s.stateIn(e.To, e.Mode)
	if from := s.state(e.From) + " → "; e.From != e.To && cells(head+from+to) <= s.Width {
		head += from
	}
	tail := ""
	if e.Actor != "" {
		tail += "  by " + clean(e.Actor)
	}
	if e.TraceID != "" {
		tail += s.muted.Render("  trace " + short(e.TraceID))
	}
	s.detail(head+to, s.eventWhy(e), tail)
}

// detail writes a head with what is to be said of it behind it, or below it
// where the line is too short; there what does not fit either is cut.
func (s *screen) detail(head, text, tail string) {
	const indent = 4
	if s.Wide || cells(head)+gutter+cells(text)+cells(tail) <= s.Width {
		s.line(head, blanks(gutter), text, tail)
		return
	}
	s.line(head)
	if room := s.Width - indent - cells(tail); cells(text) > room {
		text = fitMiddle(text, max(room, 8))
	}
	s.line(blanks(indent), text, tail)
}
