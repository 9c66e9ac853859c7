package tracing

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unsafe"

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
	rec, err := s.find(id)
	if err != nil {
		return api.Trace{}, err
	}
	budget := newBudget(maxJSON)
	return s.trace(rec, true, &budget), nil
}

func (s *Store) lookup(id string) (*record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if full, err := ParseTraceID(id); err == nil {
		if rec := s.traces[full]; rec != nil {
			return rec, nil
		}
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	var fits []TraceID
	for tid := range s.traces {
		var digits [32]byte
		hex.Encode(digits[:], tid[:])
		if string(digits[:len(id)]) == id {
			fits = append(fits, tid)
		}
	}
	switch len(fits) {
	case 0:
		return nil, fmt.Errorf("%w: %q", ErrNotFound, id)
	case 1:
		return s.traces[fits[0]], nil
	}
	slices.SortFunc(fits, func(a, b TraceID) int { return strings.Compare(string(a[:]), string(b[:])) })
	e := &AmbiguousError{Prefix: id, Total: len(fits)}
	for _, tid := range fits[:min(len(fits), 10)] {
		e.Candidates = append(e.Candidates, tid.String())
	}
	return nil, e
}

// trace makes the api value, with as many spans as the budget allows, which it
// takes them from.
func (s *Store) trace(r *record, withSpans bool, budget *budget) api.Trace {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := s.summarize(r)
	complete := sum.complete
	t := api.Trace{
		TraceID: r.id.String(), RequestID: otlp.Text(r.requestID), StartTime: api.Unix(sum.start), StartUnixNano: api.Nano(sum.start),
		Metadata: map[string]any{}, Root: sum.root, Service: sum.service, Services: slices.Clone(sum.services),
		SpanCount: api.CountOf(sum.spans), ErrorCount: api.CountOf(sum.errors), Status: sum.status, Complete: &complete,
		ProfileIDs: slices.Clone(r.profiles),
	}
	if r.userID != "" {
		user := otlp.Text(r.userID)
		t.UserID = &user
	}
	for _, a := range sum.attrs {
		t.Metadata[otlp.Text(a.Key)] = a.Value.Any()
	}
	for _, a := range r.metadata {
		t.Metadata[otlp.Text(a.Key)] = a.Value.Any()
	}
	if sum.status != api.StatusActive {
		t.EndTime = api.Unix(sum.end)
		d := api.Seconds(max(sum.end-sum.start, 0))
		t.Duration = &d
	}
	if withSpans {
		t.Spans, t.Truncated = s.spans(r, budget)
	}
	return t
}

// spans returns the spans in the order of their starts; of those that start
// together the longest is first, which is the parent as a rule.
func (s *Store) spans(r *record, budget *budget) (out []api.Span, truncated bool) {
	order := slices.AppendSeq(make([]*entry, 0, r.spans.n), r.spans.all)
	slices.SortStableFunc(order, func(a, b *entry) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end)) })
	var sp otlp.Span
	for _, e := range order {
		if err := sp.Decode(r.message(e)); err != nil {
			continue // it was decoded before it was kept
		}
		one := convertSpan(&sp, e.outcome, r.resources[e.resource].service, r.scopes[e.scope])
		if !budget.take(&one) {
			return out, true
		}
		out = append(out, one)
	}
	for running := r.running; running != nil; running = running.next {
		one := s.runningSpan(running)
		if !budget.take(&one) {
			return out, true
		}
		out = append(out, one)
	}
	if r.open > 0 {
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

func (s *Store) runningSpan(sp *span) api.Span {
	var fields otlp.Span
	if sp.buf != nil {
		if err := fields.Decode(*sp.buf); err != nil {
			fields = otlp.Span{StatusMessage: err.Error()}
		}
	}
	head := sp.head(sp.begun)
	head.Attrs, head.Events, head.Links = fields.Attrs, fields.Events, fields.Links
	out := convertSpan(&head, sp.outcome, s.resource.service, sp.rec.scopes[sp.scope])
	out.EndTime, out.Duration = api.Time{}, nil
	return out
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

// alias returns b as a string without copying, for as long as b is not changed:
// blocks only grow.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
