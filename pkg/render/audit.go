package render

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Audit draws what was changed on each server, newest first.
func Audit(w io.Writer, rs []api.Result[api.Audit], o Options) error {
	s := newScreen(w, o)
	var shown int
	var total, dropped int64
	for _, r := range rs {
		shown += len(r.Value.Entries)
		total += int64(r.Value.Total)
		dropped += int64(r.Value.Dropped)
	}
	if !o.NoHeaders {
		s.heading("Audit", s.muted.Render(Plural(int(total), "change")))
		s.line()
	}
	cols := []column{
		{name: "AGE", right: true, drop: 1}, {name: "ACTOR", drop: 3}, {name: "ACTION"}, {name: "TARGET", flex: true}, {name: "CHANGE", flex: true, drop: 4},
		{name: "REASON", flex: true, drop: 2}, {name: "STATUS", right: true}, {name: "REQUEST", drop: 5},
	}
	err := fleetTable(s, rs, cols, func(a api.Audit) [][]string {
		var rows [][]string
		for _, e := range a.Entries {
			rows = append(rows, s.auditRow(e))
		}
		return rows
	})
	if err != nil {
		return err
	}
	if shown == 0 && answered(rs) > 0 {
		s.line(s.muted.Render("Nothing was changed."))
	}
	s.auditOmissions(int64(shown), total, dropped)
	return s.flush()
}

// auditOmissions says what the list does not show.
func (s *screen) auditOmissions(shown, total, dropped int64) {
	if shown < total {
		s.line()
		s.line(s.muted.Render(fmt.Sprintf("%s of %s changes  --limit 1000 shows more", count(shown), count(total))))
	}
	if dropped > 0 {
		s.line(s.muted.Render(count(dropped) + " older ones are no longer kept in memory"))
	}
}

func (s *screen) auditRow(e api.AuditEntry) []string {
	status := strconv.Itoa(e.Status)
	if e.Status >= 400 {
		status = s.bad.Render("✗ " + status)
	}
	return []string{
		age(s.Now.Sub(e.Time.Time)), clean(e.Actor), clean(e.Action), clean(e.Target), auditChange(e), clean(e.Reason), status, clean(e.RequestID),
	}
}

// auditChange is the state before and after, where they are words; larger ones
// are in the machine forms.
func auditChange(e api.AuditEntry) string {
	before, after := auditState(e.Before), auditState(e.After)
	if before == "" && after == "" {
		return ""
	}
	return before + " → " + after
}

func auditState(v any) string {
	switch v := v.(type) {
	case nil:
		return "–"
	case string:
		return clean(v)
	case map[string]any:
		if state, ok := v["state"].(string); ok { // of a breaker
			if mode, _ := v["mode"].(string); mode != string(api.ModeAutomatic) {
				return modeWord(api.Mode(mode))
			}
			return stateWord(api.State(state))
		}
		if v["omitted"] == true {
			return "…"
		}
	}
	b, err := json.Marshal(v)
	if err != nil || len(b) > 40 {
		return "…"
	}
	return clean(string(b))
}

// AuditChange draws one change as it comes, with the instance where that is
// not empty.
func AuditChange(w io.Writer, where string, e api.AuditEntry, o Options) error {
	s := newScreen(w, o)
	if where != "" {
		where = instance(where) + blanks(gutter)
	}
	head := where + s.clock(e.Time.Time) + "  " + clean(e.Action)
	if target := clean(e.Target); target != "" {
		if room := s.Width - cells(head) - 1; !s.Wide && cells(target) > room {
			target = fitMiddle(target, max(room, 8))
		}
		head += " " + target
	}
	var said []string
	if change := auditChange(e); change != "" {
		said = append(said, change)
	}
	if e.Reason != "" {
		said = append(said, clean(e.Reason))
	}
	tail := s.muted.Render("by " + clean(e.Actor))
	if e.Status >= 400 {
		tail = s.bad.Render("✗ "+strconv.Itoa(e.Status)) + "  " + tail
	}
	if len(said) > 0 {
		tail = "  " + tail
	}
	s.detail(head, strings.Join(said, "  "), tail)
	return s.flush()
}

// AuditCheck draws whether the records of each server are a whole chain.
func AuditCheck(w io.Writer, rs []api.Result[api.AuditCheck], o Options) error {
	return screens(w, rs, o, func(s *screen, where string, c api.AuditCheck) error {
		verdict := s.mark(fine, "whole")
		if !c.Whole {
			verdict = s.mark(broken, Plural(len(c.Breaks), "break"))
		}
		if !s.NoHeaders {
			s.heading("Audit chain", verdict)
			s.line()
		}
		facts := []fact{{"records", count(c.Entries.Value())}}
		if c.Last > 0 {
			facts = append(facts, fact{"numbers", fmt.Sprintf("%d to %d", c.First.Value(), c.Last.Value())})
		}
		if c.Unchained > 0 {
			facts = append(facts, fact{"unchained", count(c.Unchained.Value()) + ", written before there was a chain"})
		}
		if c.Since != nil && c.Until != nil {
			facts = append(facts, fact{"written", s.time(c.Since.Time) + " to " + s.time(c.Until.Time)})
		}
		if c.Head != "" {
			facts = append(facts, fact{"head", clean(c.Head)})
		}
		if where != "" {
			facts = append(facts, fact{"instance", where})
		}
		s.facts(facts)
		for i, b := range c.Breaks {
			if i == 0 {
				s.line()
			}
			s.line(s.bad.Render("✗"), " ", s.muted.Render(fmt.Sprintf("record %d", b.Seq.Value())), "  ", clean(b.Detail))
		}
		return nil
	})
}
