package render

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Traces draws a table of traces in the order they come.
func Traces(w io.Writer, rs []api.Result[api.TraceList], o Options) error {
	s := newScreen(w, o)
	shown, total, active := 0, int64(0), api.Count(0)
	var ids []string
	for _, r := range rs {
		shown, total, active = shown+len(r.Value.Traces), total+max(r.Value.Total.Value(), int64(len(r.Value.Traces))), active+r.Value.TotalActive
		for _, t := range r.Value.Traces {
			ids = append(ids, t.TraceID)
		}
	}
	if !o.NoHeaders {
		verdict := Plural(int(total), "trace")
		if active > 0 {
			verdict = s.mark(between, fmt.Sprintf("%d active", active)) + "  " + verdict
		}
		s.heading("Traces", verdict)
		s.line()
	}
	n := uniquePrefix(ids)
	err := fleetTable(s, rs, traceColumns(), func(l api.TraceList) (rows [][]string) {
		for i := range l.Traces {
			rows = append(rows, s.traceRow(&l.Traces[i], n))
		}
		return rows
	})
	if err != nil {
		return err
	}
	if shown == 0 && answered(rs) > 0 {
		s.line(s.muted.Render("No trace matches."))
	}
	if !o.NoHeaders {
		s.kept(rs, shown, total)
	}
	return s.flush()
}

func traceColumns() []column {
	return []column{
		{name: "ID"}, {name: "STATUS", drop: 1}, {name: "TRACE", flex: true, drop: 3}, {name: "SERVICE", drop: 5}, {name: "TOOK", right: true, drop: 2},
		{name: "SPANS", right: true, drop: 6}, {name: "ERRORS", right: true, drop: 7}, {name: "PROFILES", right: true, drop: 8}, {name: "AGE", right: true, drop: 4},
	}
}

func (s *screen) traceRow(t *api.Trace, n int) []string {
	took := s.Now.Sub(t.StartTime.Time)
	if t.Duration != nil {
		took = t.Duration.Duration()
	}
	errors, profiles := "–", "–"
	if c := t.ErrorCount.Value(); c > 0 {
		errors = s.bad.Render(count(c))
	}
	if len(t.ProfileIDs) > 0 {
		profiles = count(int64(len(t.ProfileIDs)))
	}
	root := clean(t.Root)
	if t.Complete != nil && !*t.Complete {
		root += s.muted.Render("  incomplete")
	}
	return []string{
		shortTraceID(t.TraceID, n), s.statusMark(t.Status), root, clean(t.Service), duration(took), count(t.SpanCount.Value()), errors, profiles,
		age(s.Now.Sub(t.StartTime.Time)),
	}
}

// shortTraceID cuts a W3C trace id, or the UUID of a Python server, to n digits,
// which suffice wherever an id is asked for. Others are kept whole.
func shortTraceID(id string, n int) string {
	dashes := strings.Count(id, "-")
	if len(id) == 32 && dashes == 0 || len(id) == 36 && dashes == 4 {
		id = strings.TrimRight(id[:min(n, len(id))], "-")
	}
	return clean(id)
}

// statusMark is a trace's status with its sign.
func (s *screen) statusMark(status api.Status) string {
	switch status {
	case api.StatusError, api.StatusTimeout:
		return s.mark(broken, string(status))
	case api.StatusActive, api.StatusAborted:
		return s.mark(between, string(status))
	case "":
		return "–"
	default:
		return s.mark(fine, clean(string(status)))
	}
}

// kept says what the list does not show: matches beyond the limit, and what the
// stores lost.
func (s *screen) kept(rs []api.Result[api.TraceList], shown int, total int64) {
	var notes []string
	if int64(shown) < total {
		notes = append(notes, fmt.Sprintf("%s of %s traces  --limit shows more", count(int64(shown)), count(total)))
	}
	lost := map[string]int64{}
	for _, r := range rs {
		if r.Value.Truncated {
			notes = append(notes, "The server left spans out to bound its answer; traces show has all of one trace.")
		}
		if r.Value.Retention == nil {
			continue
		}
		notes = append(notes, s.keeps(r.Value.Retention, instance(r.Instance), len(rs) > 1))
		for why, n := range r.Value.Retention.Dropped {
			if why != "duplicate" { // sent again, and kept once
				lost[why] += int64(n)
			}
		}
	}
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(lost)) {
		if lost[why] > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", count(lost[why]), strings.ReplaceAll(clean(why), "_", " ")))
		}
	}
	if len(parts) > 0 {
		notes = append(notes, "Spans not kept: "+strings.Join(parts, ", "))
	}
	if len(notes) > 0 {
		s.line()
		s.quiet(strings.Join(notes, "\n"))
	}
}

// keeps says what a store holds, and how far back.
func (s *screen) keeps(r *api.Retention, where string, fleet bool) string {
	text := fmt.Sprintf("Kept: %s, %s, %s", Plural(int(r.Traces), "trace"), Plural(int(r.Spans), "span"), size(int64(r.Bytes)))
	if fleet {
		text = where + " keeps " + strings.TrimPrefix(text, "Kept: ")
	}
	if !r.Oldest.IsZero() {
		text += ", the oldest begun " + age(s.Now.Sub(r.Oldest.Time)) + " ago"
	}
	return text
}
