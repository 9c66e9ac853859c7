package render

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
)

const detailRows = 12 // attributes below a failed span

// telling are the attributes that say most of a span, the first first.
var telling = []string{
	"http.response.status_code", "http.status_code", "rpc.grpc.status_code", "db.rows", "db.response.returned_rows", "cache.hit",
	"server.address", "db.collection.name", "db.table", "messaging.destination.name", "retry.attempt",
}

// compareTags puts the telling attributes first, the others by name.
func compareTags(a, b string) int {
	rank := func(key string) int {
		if i := slices.Index(telling, key); i >= 0 {
			return i
		}
		return len(telling)
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
}

// silent are attributes that the screen shows elsewhere.
var silent = []string{"service.name", "trace.root", "request.id"}

// firstTag picks the attribute that a row shows: a telling one, or the first by
// name.
func firstTag(tags map[string]any) string {
	first := ""
	for key := range tags {
		if !slices.Contains(silent, key) && (first == "" || compareTags(key, first) < 0) {
			first = key
		}
	}
	return first
}

// detail is something told below a span's row, or in full by --span.
type detail struct {
	key, text string
	bad       bool
}

// detailsOf says why a span failed, and what it was about.
func detailsOf(sp *api.Span) []detail {
	all := failureOf(sp)
	keys := tagKeys(sp.Tags)
	more := len(keys) - detailRows
	for _, key := range keys[:min(len(keys), detailRows)] {
		all = append(all, detail{key: key, text: tagText(sp.Tags[key])})
	}
	if more > 0 {
		all = append(all, detail{key: "…", text: fmt.Sprintf("%s more  --span %s shows all", count(int64(more)), sp.SpanID)})
	}
	return all
}

// failureOf says why a span failed, nothing of one that did not.
func failureOf(sp *api.Span) []detail {
	if !sp.Status.Failed() {
		return nil
	}
	return []detail{{"error", cmp.Or(waterfall.Message(sp), string(sp.Status)), true}}
}

// tagKeys returns the tags to show, the telling ones first.
func tagKeys(tags map[string]any) []string {
	keys := make([]string, 0, len(tags))
	for key := range tags {
		if !slices.Contains(silent, key) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, compareTags)
	return keys
}

// attributesOf are all attributes of a span.
func attributesOf(sp *api.Span) (all []detail) {
	keys := slices.Sorted(maps.Keys(sp.Tags))
	slices.SortStableFunc(keys, compareTags)
	for _, key := range keys {
		all = append(all, detail{key: key, text: tagText(sp.Tags[key])})
	}
	return all
}

// eventsOf are all events of a span with their fields, in the order of their
// times, which are told since the trace's start.
func eventsOf(sp *api.Span, start int64) (all []detail) {
	for _, l := range slices.SortedStableFunc(slices.Values(sp.Logs), func(a, b api.SpanLog) int { return a.Timestamp.Compare(b.Timestamp.Time) }) {
		at := "event"
		if !l.Timestamp.IsZero() {
			at = since(l.Timestamp.UnixNano() - start)
		}
		failed := strings.EqualFold(l.Level, "error")
		text := l.Message
		if l.Level != "" && l.Level != "info" {
			text = l.Level + "  " + text
		}
		all = append(all, detail{at, text, failed})
		for _, key := range slices.Sorted(maps.Keys(l.Fields)) {
			all = append(all, detail{key: "  " + key, text: tagText(l.Fields[key])})
		}
	}
	return all
}

// linksOf are the spans of other traces that a span points to.
func linksOf(sp *api.Span) (all []detail) {
	for _, l := range sp.Links {
		all = append(all, detail{key: "link", text: "trace " + l.TraceID + "  span " + l.SpanID})
		for _, key := range slices.Sorted(maps.Keys(l.Tags)) {
			all = append(all, detail{key: "  " + key, text: tagText(l.Tags[key])})
		}
	}
	return all
}

// since writes an instant as the time from the trace's start.
func since(ns int64) string {
	if ns < 0 {
		return duration(time.Duration(ns))
	}
	return "+" + duration(time.Duration(ns))
}

// details writes below a span's row why it failed and what it was about; where
// all is to be shown, everything that it tells.
func (f *fall) details(r *waterfall.Row, below string) {
	if f.v.Options.Full {
		all := slices.Concat(failureOf(r.Span), attributesOf(r.Span), eventsOf(r.Span, f.l.Start), linksOf(r.Span))
		f.tell(all, f.faint.Render(below)+"  ", true)
		return
	}
	f.tell(detailsOf(r.Span), f.faint.Render(below)+"  ", false)
}

// tell writes details in two columns behind a lead: whole over as many lines as
// they need, or each cut to its line.
func (s *screen) tell(all []detail, lead string, whole bool) {
	w := 0
	for _, d := range all {
		w = min(max(w, cells(clean(d.key))), 30)
	}
	room := max(s.Width-cells(lead)-w-gutter, nameLeast)
	for _, d := range all {
		style := s.muted
		if d.bad {
			style = s.bad
		}
		var lines []string
		switch {
		case whole && !s.Wide:
			lines = paragraph(d.text, room)
		case s.Wide:
			lines = []string{clean(d.text)}
		default:
			lines = []string{strings.TrimRight(fit(clean(d.text), room), " ")}
		}
		key := fit(clean(d.key), w)
		for _, line := range lines {
			s.line(lead, style.Render(strings.TrimRight(key+blanks(gutter)+line, " ")))
			key = blanks(w)
		}
	}
}

// paragraph cleans a text and breaks it to w cells, where it has line ends and
// between words. It is never empty.
func paragraph(text string, w int) (lines []string) {
	for part := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		lines = append(lines, strings.Split(ansi.Wrap(clean(part), w, " "), "\n")...)
	}
	return lines
}

// tagText writes an attribute's value: text as it is, all else as in JSON.
func tagText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any, map[string]any, nil:
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if e.Encode(v) == nil {
			return strings.TrimSuffix(b.String(), "\n")
		}
	}
	return fmt.Sprint(v)
}

// clip cleans and cuts a text to n cells.
func clip(text string, n int) string {
	text = clean(text)
	if cells(text) > n {
		return fit(text, n)
	}
	return text
}
