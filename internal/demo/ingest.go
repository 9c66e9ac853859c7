package demo

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// sources are where events come from, with the types of each: a closed set, as
// they become metric labels.
var sources = map[string][]string{
	"github":   {"push", "pull_request", "review"},
	"linear":   {"issue_created", "issue_updated"},
	"slack":    {"message", "mention"},
	"calendar": {"meeting"},
}

const maxBatch = 100 // events

type ingestRequest struct {
	Events []struct {
		Type   string `json:"type"`
		UserID string `json:"user_id"`
	} `json:"events"`
}

// check returns the events as they are kept.
func (in *ingestRequest) check(source string, types []string) ([]event, error) {
	if n := len(in.Events); n < 1 || n > maxBatch {
		return nil, api.Invalid("events", "want 1 to %d, got %d", maxBatch, n)
	}
	out := make([]event, len(in.Events))
	for i, e := range in.Events {
		at := "events." + strconv.Itoa(i)
		if !slices.Contains(types, e.Type) {
			return nil, api.Invalid(at+".type", "want one of %s, got %.40q", strings.Join(types, ", "), e.Type)
		}
		if !userID.MatchString(e.UserID) {
			return nil, api.Invalid(at+".user_id", "want u_ and 1 to 32 of a-z and 0-9, got %.40q", e.UserID)
		}
		out[i] = event{source, e.Type, e.UserID}
	}
	return out, nil
}

// ingest serves POST /ingest/{source}.
func (d *Demo) ingest(w http.ResponseWriter, r *http.Request) (any, error) {
	source := r.PathValue("source")
	types, known := sources[source]
	if !known {
		return nil, api.Errorf(http.StatusNotFound, "source %.40q: want one of %s", source, strings.Join(slices.Sorted(maps.Keys(sources)), ", "))
	}
	in, err := readJSON[ingestRequest](w, r)
	if err != nil {
		return nil, err
	}
	events, err := in.check(source, types)
	if err != nil {
		return nil, err
	}
	trace.SpanFromContext(r.Context()).SetAttributes(attribute.String("source", source), attribute.Int("events", len(events)))
	if err := d.db.insertEvents(r.Context(), events); err != nil {
		return nil, err
	}
	for _, e := range events {
		d.m.EventIngested(e.Source, e.Type)
	}
	return map[string]int{"accepted": len(events)}, nil
}
