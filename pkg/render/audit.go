package render

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"

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
