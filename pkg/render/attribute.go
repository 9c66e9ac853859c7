package render

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
)

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

// detail is a line below a failed span.
type detail struct{ key, text string }

// detailsOf says why a span failed and what it was about.
func detailsOf(sp *api.Span) []detail {
	message := waterfall.Message(sp)
	if message == "" {
		message = string(sp.Status)
	}
	all := []detail{{"error", message}}
	var keys []string
	for key := range sp.Tags {
		if !slices.Contains(silent, key) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, compareTags)
	more := len(keys) - detailRows
	for _, key := range keys[:min(len(keys), detailRows)] {
		all = append(all, detail{key, tagText(sp.Tags[key])})
	}
	if more > 0 {
		all = append(all, detail{"…", fmt.Sprintf("%s more  -o json shows all", count(int64(more)))})
	}
	return all
}

// details writes the details of a failed span below its row.
func (f *fall) details(sp *api.Span, below string) {
	all, w := detailsOf(sp), 0
	for _, d := range all {
		w = min(max(w, cells(clean(d.key))), 30)
	}
	for i, d := range all {
		text := clean(d.text)
		if room := f.Width - cells(below) - 2 - w - gutter; !f.Wide && cells(text) > room {
			text = fit(text, room)
		}
		style := f.muted
		if i == 0 {
			style = f.bad
		}
		f.line(f.faint.Render(below), "  ", style.Render(fit(clean(d.key), w)+blanks(gutter)+text))
	}
}

func tagText(v any) string {
	if f, ok := v.(float64); ok && f == float64(int64(f)) {
		return fmt.Sprint(int64(f)) // JSON's whole numbers come as floats
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
