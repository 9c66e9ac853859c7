package live

import (
	"cmp"
	"slices"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

func (t *Top) traceSections() []render.DashSection {
	slow := render.DashSection{Title: "Slow now", Kind: render.DashSlows, Note: "none"}
	running := render.DashSection{Title: "Running", Kind: render.DashTraces, Note: "none"}
	for i := range t.members {
		m := &t.members[i]
		for _, p := range m.slowNow() {
			slow.Rows, slow.Note = append(slow.Rows, render.DashRow{Instance: m.instance, Slow: &p}), ""
		}
		running.Rows = append(running.Rows, m.missing(PartRunning)...)
		for j := range m.running {
			running.Rows, running.Note = append(running.Rows, render.DashRow{Instance: m.instance, Trace: &m.running[j]}), ""
		}
	}
	failed := render.DashSection{Title: "Failed", Kind: render.DashTraces, Note: "none"}
	done := render.DashSection{Title: "Finished", Kind: render.DashTraces, Note: "none yet"}
	for _, r := range t.done {
		if r.Trace.Status.Failed() {
			failed.Rows, failed.Note = append(failed.Rows, r), ""
		} else {
			done.Rows, done.Note = append(done.Rows, r), ""
		}
	}
	if t.order() == "slowest" {
		for _, rows := range [][]render.DashRow{failed.Rows, done.Rows} {
			slices.SortStableFunc(rows, func(a, b render.DashRow) int { return cmp.Compare(took(b.Trace), took(a.Trace)) })
		}
	}
	const failedShown = 10 // or those that went well are never seen
	if t.view.Filter == "" && len(failed.Rows) > failedShown {
		failed.Note = "the first 10 of " + render.Plural(len(failed.Rows), "trace") + "; / with a text finds others"
		failed.Rows = failed.Rows[:failedShown]
	}
	return []render.DashSection{slow, running, failed, done}
}

func took(t *api.Trace) api.Seconds {
	if t.Duration == nil {
		return 0
	}
	return *t.Duration
}

// seed puts the traces that a server has kept among those that finished since.
func (t *Top) seed(m *member, list api.TraceList) {
	known := map[string]bool{}
	for _, r := range t.done {
		if r.Instance == m.instance {
			known[r.Trace.TraceID] = true
		}
	}
	for i := range list.Traces {
		tr := &list.Traces[i]
		trimTrace(tr)
		if !known[tr.TraceID] {
			t.done = append(t.done, render.DashRow{Instance: m.instance, Trace: tr})
		}
	}
	slices.SortStableFunc(t.done, func(a, b render.DashRow) int { return b.Trace.EndTime.Compare(a.Trace.EndTime.Time) })
	t.done = t.done[:min(len(t.done), mostTraces)]
}

func (t *Top) functionSections() (out []render.DashSection) {
	cum := t.order() == "with callees"
	for i := range t.members {
		m := &t.members[i]
		where := ""
		if len(t.members) > 1 {
			where = m.instance
		}
		sec := render.DashSection{Title: "Hot functions", Kind: render.DashFunctions}
		if where != "" {
			sec.Title += "  " + render.Clean(where)
		}
		if e := cmp.Or(m.failed[PartTop], m.silent()); e != nil {
			sec.Note = e.Error()
		} else if m.top == nil {
			sec.Note = "asking …"
		}
		if m.top != nil {
			sec.Title, sec.Note = render.DashFunctionsTitle(where, *m.top, cum)
			sec.Rows = functionRows(m, cum)
		}
		out = append(out, sec)
	}
	return out
}

func functionRows(m *member, cum bool) (rows []render.DashRow) {
	entries := slices.Clone(m.top.Rows)
	value := func(e api.TopEntry) int64 { return e.Flat }
	if cum {
		value = func(e api.TopEntry) int64 { return e.Cum }
	}
	slices.SortStableFunc(entries, func(a, b api.TopEntry) int { return cmp.Compare(value(b), value(a)) })
	sum := 0.0
	for i := range entries {
		sum += entries[i].FlatRatio
		rows = append(rows, render.DashRow{Instance: m.instance, Function: &render.DashFunction{
			TopEntry: entries[i], Unit: m.top.Unit, Most: value(entries[0]), Sum: sum, Cum: cum, ProfileID: m.top.ProfileID,
		}})
	}
	return rows
}

func (t *Top) cacheSection() render.DashSection {
	sec := render.DashSection{Title: "Caches", Kind: render.DashCaches}
	for i := range t.members {
		m := &t.members[i]
		sec.Rows = append(sec.Rows, m.missing(PartCache)...)
		if m.caches[0] == nil {
			continue
		}
		for _, redis := range []bool{false, true} {
			c := &render.DashCache{Now: *m.caches[0], Redis: redis}
			if m.caches[1] != nil {
				c.Before, c.Known = *m.caches[1], true
			}
			sec.Rows = append(sec.Rows, render.DashRow{Instance: m.instance, Cache: c})
		}
	}
	if len(sec.Rows) == 0 {
		sec.Note = "asking …"
	}
	return sec
}

// alertSection is the alerts of the servers that evaluate rules; one that has
// none of that is a row only beside others.
func (t *Top) alertSection() render.DashSection {
	sec := render.DashSection{Title: "Alerts", Kind: render.DashAlerts}
	none := 0
	for i := range t.members {
		m := &t.members[i]
		if e := m.failed[PartAlerts]; e != nil && e.Code == client.CodeUnsupported && len(t.members) == 1 {
			sec.Note = "this server has no alerts: it has no query engine"
			return sec
		}
		missing := m.missing(PartAlerts)
		sec.Rows = append(sec.Rows, missing...)
		if len(missing) == 0 && m.alerts != nil && len(m.alerts) == 0 {
			none++
		}
		for j := range m.alerts {
			sec.Rows = append(sec.Rows, render.DashRow{Instance: m.instance, Alert: &m.alerts[j]})
		}
	}
	switch {
	case len(sec.Rows) > 0:
	case none > 0:
		sec.Note = "there are no alert rules: pulsectl serve --rules FILE evaluates some"
	default:
		sec.Note = "asking …"
	}
	return sec
}
