package tracing

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// ErrNotFound is in the chain of errors about a trace that is not kept.
var ErrNotFound = errors.New("no such trace")

// AmbiguousError says that a prefix fits several traces.
type AmbiguousError struct {
	Prefix     string
	Candidates []string // ids, sorted, at most 10
	Total      int
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("trace id %s fits %d traces: %s", e.Prefix, e.Total, strings.Join(e.Candidates, ", "))
}

// Get returns the trace with this id, or the only one whose id begins with it
// if it has 4 characters or more. The error wraps [ErrNotFound] or is an
// [*AmbiguousError].
func (s *Store) Get(id string) (api.Trace, error) { return s.GetWithin(id, 0) }

// GetWithin is Get for an answer of about maxJSON bytes at most, 0 meaning any
// size: spans that do not fit are left out, the last ones, and the trace is
// marked as truncated.
func (s *Store) GetWithin(id string, maxJSON int) (api.Trace, error) {
	v, err := s.find(id)
	if err != nil {
		return api.Trace{}, err
	}
	budget := newBudget(maxJSON)
	return s.trace(v, true, &budget), nil
}

// find returns the trace of an id or of its beginning.
func (s *Store) find(id string) (*view, error) {
	if len(id) < 4 || len(id) > 32 {
		return nil, fmt.Errorf("%w: %q is no trace id nor 4 or more of its first digits", ErrNotFound, clip(id, 64))
	}
	id = strings.ToLower(id) // some tools print them so
	full, err := ParseTraceID(id)
	if err != nil {
		if full, err = s.complete(id); err != nil {
			return s.short(id, err)
		}
	}
	return s.view(full)
}

// short returns the trace of a 64-bit id, as Zipkin's tracers make and print
// them, where no longer one begins so: that was the error.
func (s *Store) short(id string, missing error) (*view, error) {
	full, err := ParseTraceID(strings.Repeat("0", 16) + id)
	if err != nil || !errors.Is(missing, ErrNotFound) {
		return nil, missing
	}
	if v, err := s.view(full); err == nil {
		return v, nil
	}
	return nil, missing
}

// complete returns the only id that begins with prefix.
func (s *Store) complete(prefix string) (TraceID, error) {
	var fits []TraceID
	add := func(id TraceID) {
		var digits [32]byte
		hex.Encode(digits[:], id[:])
		if string(digits[:len(prefix)]) == prefix {
			fits = append(fits, id)
		}
	}
	s.eachActive(func(r activeRef) bool {
		add(r.id)
		return true
	})
	s.mu.RLock()
	s.traces.places(func(p uint32) bool {
		add(s.traces.id[p])
		return true
	})
	s.mu.RUnlock()
	sortIDs(fits)
	fits = slices.Compact(fits) // active ones that have landed in part are there twice
	switch len(fits) {
	case 0:
		return TraceID{}, fmt.Errorf("%w: %q", ErrNotFound, prefix)
	case 1:
		return fits[0], nil
	}
	e := &AmbiguousError{Prefix: prefix, Total: len(fits)}
	for _, tid := range fits[:min(len(fits), 10)] {
		e.Candidates = append(e.Candidates, tid.String())
	}
	return TraceID{}, e
}

// trace makes the api value, with as many spans as the budget allows, which it
// takes them from.
func (s *Store) trace(v *view, withSpans bool, budget *budget) api.Trace {
	sum := v.summary(s)
	complete := sum.complete
	t := api.Trace{
		TraceID: v.id.String(), RequestID: otlp.Text(v.note.requestID), StartTime: api.Unix(v.start), StartUnixNano: api.Nano(v.start),
		Metadata: map[string]any{}, Root: sum.root, Service: sum.service, Services: sum.services,
		SpanCount: api.CountOf(sum.spans), ErrorCount: api.CountOf(sum.errors), Status: sum.status, Complete: &complete,
		ProfileIDs: slices.Clone(v.note.profiles),
	}
	if v.note.userID != "" {
		user := otlp.Text(v.note.userID)
		t.UserID = &user
	}
	for _, a := range (&door{store: s}).resource(sum.resource) {
		t.Metadata[otlp.Text(a.Key)] = a.Value.Any()
	}
	for _, a := range v.note.metadata {
		s.veil(&a)
		t.Metadata[otlp.Text(a.Key)] = a.Value.Any()
	}
	if sum.status != api.StatusActive {
		t.EndTime = api.Unix(v.end)
		d := api.Seconds(max(v.end-v.start, 0))
		t.Duration = &d
	}
	if withSpans {
		t.Spans, t.Truncated = s.spans(v, budget)
	}
	return t
}

// spans returns the spans in the order of their starts; of those that start
// together the longest is first, which is the parent as a rule.
func (s *Store) spans(v *view, budget *budget) (out []api.Span, truncated bool) {
	slices.SortFunc(v.spans, func(a, b viewSpan) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.took, a.took), slices.Compare(a.id[:], b.id[:]))
	})
	var u unpacker
	defer u.close()
	d := door{store: s}
	for i := range v.spans {
		sp := &v.spans[i]
		one, ok := d.span(sp, v.bytes(sp, &u))
		if !ok {
			continue // its block is damaged
		}
		if !budget.take(&one) {
			return out, true
		}
		out = append(out, one)
	}
	for i := range v.running {
		one := d.running(&v.running[i])
		if !budget.take(&one) {
			return out, true
		}
		out = append(out, one)
	}
	if len(v.running) > 0 {
		slices.SortStableFunc(out, compareSpans)
	}
	return out, false
}

func compareSpans(a, b api.Span) int {
	if c := cmp.Compare(a.StartUnixNano, b.StartUnixNano); c != 0 {
		return c
	}
	switch {
	case a.Duration == nil && b.Duration == nil:
		return 0
	case a.Duration == nil:
		return -1
	case b.Duration == nil:
		return 1
	}
	return cmp.Compare(*b.Duration, *a.Duration)
}

var kinds = [...]string{"internal", "internal", "server", "client", "producer", "consumer"}

// convertSpan makes the api value, which shares no memory with sp.
func convertSpan(sp *otlp.Span, o outcome, service, scope string) api.Span {
	d := api.Seconds(max(nanos(sp.End)-nanos(sp.Start), 0))
	out := api.Span{
		SpanID: trace.SpanID(sp.SpanID).String(), OperationName: otlp.Text(sp.Name), StartTime: api.Unix(nanos(sp.Start)),
		EndTime: api.Unix(nanos(sp.End)), Duration: &d, Tags: tags(sp.Attrs), Logs: make([]api.SpanLog, 0, len(sp.Events)), Status: o.status(),
		StartUnixNano: api.Nano(nanos(sp.Start)), Service: service, Kind: kinds[min(max(sp.Kind, 0), 5)],
		StatusMessage: otlp.Text(sp.StatusMessage), Scope: otlp.Text(scope),
	}
	if sp.ParentID != [8]byte{} {
		parent := trace.SpanID(sp.ParentID).String()
		out.ParentSpanID = &parent
	}
	lost := uint64(sp.DroppedAttrs) + uint64(sp.DroppedEvents) + uint64(sp.DroppedLinks)
	for i := range sp.Events {
		e := &sp.Events[i]
		l := api.SpanLog{Timestamp: api.Unix(nanos(e.Time)), Level: "info", Message: otlp.Text(e.Name), Fields: tags(e.Attrs)}
		if e.Name == "exception" {
			l.Level = "error"
		}
		if level, ok := l.Fields["level"].(string); ok {
			l.Level = level
			delete(l.Fields, "level")
		}
		out.Logs = append(out.Logs, l)
		lost += uint64(e.Dropped)
	}
	for i := range sp.Links {
		l := &sp.Links[i]
		link := api.SpanLink{TraceID: trace.TraceID(l.TraceID).String(), SpanID: trace.SpanID(l.SpanID).String()}
		if len(l.Attrs) > 0 {
			link.Tags = tags(l.Attrs)
		}
		out.Links = append(out.Links, link)
		lost += uint64(l.Dropped)
	}
	if lost > 0 {
		out.Dropped = api.CountOf(lost)
	}
	return out
}

func tags(attrs []otlp.KeyValue) map[string]any {
	m := make(map[string]any, len(attrs))
	for _, a := range attrs {
		m[otlp.Text(a.Key)] = a.Value.Any()
	}
	return m
}
