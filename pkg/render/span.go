package render

import (
	"time"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// spanInFull writes everything that a span tells of itself.
func (f *fall) spanInFull(row int) {
	r := &f.l.Rows[row]
	s := r.Span
	f.line(ends(f.title.Render("Span "+clean(s.SpanID)), f.statusMark(spanStatus(r)), f.Width))
	facts := []fact{{"operation", clean(s.OperationName)}, {"service", named(r.Service)}}
	if s.Kind != "" {
		facts = append(facts, fact{"kind", clean(s.Kind)})
	}
	if s.Scope != "" {
		facts = append(facts, fact{"scope", clean(s.Scope)})
	}
	facts = append(facts, fact{"started", since(int64(r.Start)) + "  " + f.muted.Render(startOf(s).In(f.Zone).Format("2006-01-02 15:04:05.000 MST"))}, fact{"took", f.took(r)})
	facts = append(facts, f.above(r)...)
	if text := f.marks(&waterfall.Line{Rows: []int{row}}); text != "" {
		facts = append(facts, fact{"suspicious", text[gutter:]})
	}
	if n := s.Dropped.Value(); n > 0 {
		facts = append(facts, fact{"dropped", count(n) + " attributes, events and links over the limits"})
	}
	for _, d := range failureOf(s) {
		facts = append(facts, fact{"error", f.bad.Render(clean(d.text))})
	}
	f.facts(facts)
	for _, part := range []struct {
		title string
		all   []detail
	}{{"Attributes", attributesOf(s)}, {"Events", eventsOf(s, f.l.Start)}, {"Links", linksOf(s)}} {
		if len(part.all) > 0 {
			f.line()
			f.line(f.muted.Render(part.title))
			f.tell(part.all, blanks(gutter), true)
		}
	}
}

// above says what a span stands below.
func (f *fall) above(r *waterfall.Row) []fact {
	if r.Span.ParentSpanID == nil || *r.Span.ParentSpanID == "" {
		return []fact{{"parent", "none: it is a root"}}
	}
	text := clean(*r.Span.ParentSpanID)
	if r.Parent >= 0 && f.l.Rows[r.Parent].Span != nil {
		p := &f.l.Rows[r.Parent]
		return []fact{{"parent", text + "  " + clean(p.Name()) + "  " + f.muted.Render(named(p.Service))}}
	}
	if r.Cycle {
		return []fact{{"parent", text + "  " + f.warn.Render("its own ancestor")}}
	}
	return []fact{{"parent", text + "  " + f.warn.Render("missing here")}}
}

// took says how long a span took, what of that is its own, and what the whole
// trace waited for.
func (f *fall) took(r *waterfall.Row) string {
	text := duration(r.Length())
	if r.Running {
		text = f.warn.Render("◐ " + text + " so far")
	}
	text += f.muted.Render("  self ") + duration(r.Self)
	if f.v.OnPath > 0 {
		return text + f.muted.Render("  the trace waited ") + duration(f.v.OnPath) + f.muted.Render(" for it and those below")
	}
	return text + f.muted.Render("  not on the trace's critical path")
}

func spanStatus(r *waterfall.Row) api.Status {
	if r.Running {
		return api.StatusActive
	}
	return r.Span.Status
}

func startOf(s *api.Span) time.Time {
	if s.StartUnixNano != 0 {
		return time.Unix(0, int64(s.StartUnixNano))
	}
	return s.StartTime.Time
}
