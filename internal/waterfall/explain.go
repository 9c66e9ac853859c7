package waterfall

import "github.com/pulsectl/pulsectl/pkg/api"

// Explained is a trace as the API tells it, with what is worked out beside it.
// It encodes as the item of a Trace.
type Explained struct {
	api.Trace
	Spans        []ExplainedSpan `json:"spans"` // those that the view shows, in the trace's order
	Hidden       int             `json:"hidden_spans"`
	Orphans      int             `json:"orphan_spans"`
	CriticalPath []PathStep      `json:"critical_path"` // the largest own time first
	ClockSkews   []ClockSkew     `json:"clock_skews,omitempty"`
}

// ExplainedSpan is a span with its own time and what is wrong about it.
type ExplainedSpan struct {
	api.Span
	Self     api.Seconds `json:"self"`               // what no child covers
	Critical api.Seconds `json:"critical,omitempty"` // own time on the critical path
	Suspect  []SpanDoubt `json:"suspect,omitempty"`
}

// SpanDoubt is a [Suspicion].
type SpanDoubt struct {
	What Doubt       `json:"what"`
	By   api.Seconds `json:"by"`
}

// ClockSkew is a [Skew].
type ClockSkew struct {
	Service string      `json:"service"`
	Parent  string      `json:"parent_service"`
	Least   api.Seconds `json:"behind_least"`
	Most    api.Seconds `json:"behind_most"`
	Spans   int         `json:"spans"`
}

// PathStep is a [Step].
type PathStep struct {
	SpanID    string      `json:"span_id"`
	Operation string      `json:"operation_name"`
	Service   string      `json:"service"`
	Own       api.Seconds `json:"own"`
	Share     float64     `json:"share"`
}

// Explain writes down what a layout says of its trace, with the spans that a
// view shows. Folding leaves none out.
func Explain(s Shown) Explained {
	t, l, v := s.Trace, s.Layout, s.View
	out := Explained{Trace: t, Hidden: v.Hidden + v.Deep, Orphans: l.Orphans, Spans: []ExplainedSpan{}, CriticalPath: []PathStep{}}
	row := make(map[*api.Span]int, len(s.Trace.Spans))
	for _, line := range v.Lines {
		for _, i := range line.Rows {
			if l.Rows[i].Span != nil {
				row[l.Rows[i].Span] = i
			}
		}
	}
	for i := range t.Spans {
		at, shown := row[&t.Spans[i]]
		if !shown {
			continue
		}
		r := &l.Rows[at]
		e := ExplainedSpan{Span: *r.Span, Self: api.Seconds(r.Self), Critical: api.Seconds(r.OnPath())}
		for _, d := range r.Suspect {
			e.Suspect = append(e.Suspect, SpanDoubt{d.What, api.Seconds(d.By)})
		}
		out.Spans = append(out.Spans, e)
	}
	for _, s := range l.Critical {
		r := &l.Rows[s.Row]
		out.CriticalPath = append(out.CriticalPath, PathStep{r.Span.SpanID, r.Name(), r.Service, api.Seconds(s.Own), s.Share})
	}
	for _, s := range l.Skews {
		out.ClockSkews = append(out.ClockSkews, ClockSkew{s.Service, s.Parent, api.Seconds(s.Least), api.Seconds(s.Most), s.Spans})
	}
	return out
}
