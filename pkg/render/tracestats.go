package render

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// TraceStats draws rate, errors and durations of operations in the order they
// come.
func TraceStats(w io.Writer, rs []api.Result[api.TraceStats], o Options) error {
	s := newScreen(w, o)
	shown, total := 0, 0
	limit := o.Limit
	if limit == 0 {
		limit = 30
	}
	var ids []string
	for _, r := range rs {
		n := len(r.Value.Operations)
		total += n
		if limit >= 0 {
			n = min(n, limit)
		}
		shown += n
		for _, op := range r.Value.Operations[:n] {
			ids = append(ids, op.LastErrorTraceID, op.SlowestTraceID)
		}
	}
	if !o.NoHeaders {
		s.heading("Operations", s.window(rs, func(v api.TraceStats) api.StatsWindow { return v.StatsWindow }))
		s.line()
	}
	digits := uniquePrefix(slices.DeleteFunc(ids, func(id string) bool { return id == "" }))
	cols := []column{
		{name: "SERVICE", drop: 3}, {name: "OPERATION", flex: true}, {name: "COUNT", right: true, drop: 1}, {name: "RATE", right: true, drop: 4}, {name: "ERRORS", right: true},
		{name: "P50", right: true, drop: 2}, {name: "P90", right: true, drop: 7}, {name: "P95", right: true}, {name: "P99", right: true, drop: 6}, {name: "MAX", right: true, drop: 5},
		{name: "LAST ERROR", drop: 8}, {name: "SLOWEST", drop: 9},
	}
	err := fleetTable(s, rs, cols, func(v api.TraceStats) (rows [][]string) {
		n := len(v.Operations)
		if limit >= 0 {
			n = min(n, limit)
		}
		for i := range v.Operations[:n] {
			rows = append(rows, s.operationRow(&v.Operations[i], digits))
		}
		return rows
	})
	if err != nil {
		return err
	}
	if total == 0 && answered(rs) > 0 {
		s.line(s.muted.Render("No span has ended."))
	}
	if !o.NoHeaders {
		s.leftOut(shown, total, "operations")
		s.stores(rs)
	}
	return s.flush()
}

func (s *screen) operationRow(op *api.OperationStats, digits int) []string {
	failed := "–"
	if op.Errors > 0 {
		failed = s.bad.Render(count(int64(op.Errors)) + " " + share(op.ErrorRate))
	}
	id := func(t string) string {
		if t == "" {
			return "–"
		}
		return shortTraceID(t, digits)
	}
	d := func(v api.Seconds) string { return duration(v.Duration()) }
	return []string{
		clean(op.Service), clean(op.Operation), count(int64(op.Count)), rate(op.Rate), failed,
		d(op.P50), d(op.P90), d(op.P95), d(op.P99), d(op.Max), id(op.LastErrorTraceID), id(op.SlowestTraceID),
	}
}

// rate writes how often a second, or a minute where that is less than once.
func rate(perSecond float64) string {
	switch {
	case perSecond == 0:
		return "–"
	case perSecond >= 0.95:
		return digits(min(perSecond, 1e6)) + "/s"
	}
	return digits(perSecond*60) + "/min"
}

// window says which time the answers are of: the longest.
func (s *screen) window(rs []api.Result[api.TraceStats], of func(api.TraceStats) api.StatsWindow) string {
	var longest time.Duration
	for _, r := range rs {
		if w := of(r.Value); r.Error == nil && w.To.Sub(w.From.Time) > longest {
			longest = w.To.Sub(w.From.Time)
		}
	}
	if longest == 0 {
		return ""
	}
	return s.muted.Render("last " + age(longest))
}

// stores says what the stores hold, a line each.
func (s *screen) stores(rs []api.Result[api.TraceStats]) {
	var lines []string
	for _, r := range rs {
		if r.Error != nil {
			continue
		}
		st := r.Value.Store
		text := fmt.Sprintf("%s of %s, %s", Plural(int(st.Spans), "span"), Plural(int(st.Traces), "trace"), size(int64(st.Bytes)))
		if !st.Oldest.IsZero() {
			text += ", the oldest " + age(s.Now.Sub(st.Oldest.Time)) + " ago"
		}
		if len(rs) > 1 {
			text = instance(r.Instance) + "  " + text
		}
		lines = append(lines, "Kept: "+text)
	}
	if len(lines) > 0 {
		s.line()
		s.quiet(strings.Join(lines, "\n"))
	}
}
