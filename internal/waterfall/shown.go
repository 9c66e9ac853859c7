package waterfall

import (
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Options says how a trace is to be shown. The zero value: all of it, folded.
type Options struct {
	Span   string // an id or a unique prefix: only this span and those below; "" for all
	Full   bool   // a line for each span, with every attribute, event and link
	Filter Filter
}

// Shown is a trace with what is shown of it.
type Shown struct {
	Trace   api.Trace
	Layout  *Layout
	View    *View
	Options Options
	Chosen  string        // how it was chosen, where that is worth saying
	Span    int           // the row of Options.Span; -1 without
	OnPath  time.Duration // of that row: its time on the critical path of the whole trace, with those below
}

// Show lays a trace out and chooses what to show. The critical path of a part is
// that of its top span. Its error is an [*api.Error] about Options.Span.
func Show(t api.Trace, now time.Time, o Options) (Shown, error) {
	s := Shown{Trace: t, Options: o, Span: -1}
	s.Layout = New(&s.Trace, now)
	if o.Span != "" {
		row, err := s.Layout.Find(o.Span)
		if err != nil {
			return s, err
		}
		s.Span = row
		for i := row; i < row+s.Layout.Rows[row].Size; i++ {
			s.OnPath += s.Layout.Rows[i].OnPath()
		}
		s.Layout.Focus(row)
	}
	o.Filter.Unfold = o.Filter.Unfold || o.Full
	s.View = Select(s.Layout, s.Span, o.Filter)
	return s, nil
}
