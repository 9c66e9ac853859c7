package traceformat

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// The members of Zipkin's JSON, version 2 (openzipkin/zipkin-api,
// zipkin2-api.yaml). Times are microseconds, all tags are text.
type (
	zipkinSpan struct {
		TraceID     string             `json:"traceId"`
		ID          string             `json:"id"`
		ParentID    string             `json:"parentId,omitempty"`
		Name        string             `json:"name,omitempty"`
		Kind        string             `json:"kind,omitempty"`
		Timestamp   uint64             `json:"timestamp,omitempty"`
		Duration    uint64             `json:"duration,omitempty"`
		Local       *zipkinEndpoint    `json:"localEndpoint,omitempty"`
		Remote      *zipkinEndpoint    `json:"remoteEndpoint,omitempty"`
		Annotations []zipkinAnnotation `json:"annotations,omitempty"`
		Tags        map[string]string  `json:"tags,omitempty"`
	}
	zipkinEndpoint struct {
		ServiceName string `json:"serviceName,omitempty"`
	}
	zipkinAnnotation struct {
		Timestamp uint64 `json:"timestamp"`
		Value     string `json:"value"`
	}
)

const peerService = "peer.service"

func zipkinSpans(d Data) []zipkinSpan {
	out := []zipkinSpan{}
	for _, spans := range d.byTrace() {
		for _, s := range spans {
			out = append(out, zipkinOf(s))
		}
	}
	return out
}

func zipkinOf(s spanOf) zipkinSpan {
	out := zipkinSpan{
		TraceID: hex.EncodeToString(s.TraceID[:]), ID: hex.EncodeToString(s.SpanID[:]), ParentID: parentHex(s.Span), Name: s.Name,
		Annotations: annotations(s.Events), Tags: map[string]string{},
	}
	out.Timestamp, out.Duration = micros(s.Start, s.End)
	tags := append(flatten(s.Attrs, plainText), conventions(s.Span, &s.batch.Scope)...)
	switch {
	case s.Kind == 1:
		tags = append(tags, text(tagKind, kindTags[1]))
	case s.Kind > 1:
		out.Kind = strings.ToUpper(kindTags[s.Kind])
	}
	if s.Status == 2 {
		tags = append(tags, text(tagError, s.StatusMessage))
	}
	if s.Flags > 0 {
		tags = append(tags, text(tagFlags, strconv.FormatUint(uint64(s.Flags), 10)))
	}
	if !eventsAreExact(s.Events) {
		tags = append(tags, text(tagEvents, inline(otlpEvents(s.Span))))
	}
	var res string
	if out.Local, res = zipkinEndpointOf(&s.batch.Resource); res != "" {
		tags = append(tags, text(tagResource, res))
	}
	for _, t := range tags {
		out.Tags[t.Key] = textOf(t.Value)
		if t.Key == peerService && out.Tags[t.Key] != "" {
			out.Remote = &zipkinEndpoint{out.Tags[t.Key]}
		}
	}
	return out
}

// zipkinEndpointOf returns the resource as Zipkin has it, and what is left of it.
func zipkinEndpointOf(r *otlp.Resource) (at *zipkinEndpoint, rest string) {
	attrs := r.Attrs
	if i := slices.IndexFunc(attrs, func(a otlp.KeyValue) bool { return a.Key == serviceName }); i >= 0 {
		if v := attrs[i].Value; v.Kind == otlp.KindString && v.Str != "" {
			at = &zipkinEndpoint{v.Str}
			attrs = slices.Delete(slices.Clone(attrs), i, i+1)
		}
	}
	if len(attrs) > 0 || r.Dropped > 0 {
		rest = inline(jsonResource{keyValues(attrs), r.Dropped})
	}
	return at, rest
}

// annotations writes events; attributes stand behind the name as OpenTelemetry's
// conventions for Zipkin have them: "name": {"key": "value"}.
func annotations(events []otlp.Event) (out []zipkinAnnotation) {
	for i := range events {
		e := &events[i]
		value := e.Name
		if len(e.Attrs) > 0 {
			m := map[string]any{}
			for _, a := range e.Attrs {
				m[a.Key] = a.Value.Any()
			}
			value = inline(e.Name) + ": " + inline(m)
		}
		out = append(out, zipkinAnnotation{e.Time / 1000, value})
	}
	return out
}

// eventsAreExact tells whether annotations hold all of the events.
func eventsAreExact(events []otlp.Event) bool {
	return !slices.ContainsFunc(events, func(e otlp.Event) bool { return len(e.Attrs) > 0 || e.Dropped > 0 || e.Time%1000 != 0 })
}
