package traceformat

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math"
	"strconv"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// The members of OTLP/JSON (opentelemetry-proto, "JSON Protobuf Encoding"): ids
// in hex, 64-bit integers as text, enums as numbers.
type (
	jsonRequest struct {
		ResourceSpans []jsonResourceSpans `json:"resourceSpans"`
	}
	jsonResourceSpans struct {
		Resource   *jsonResource    `json:"resource,omitempty"`
		ScopeSpans []jsonScopeSpans `json:"scopeSpans"`
	}
	jsonResource struct {
		Attributes []jsonKeyValue `json:"attributes,omitempty"`
		Dropped    uint32         `json:"droppedAttributesCount,omitempty"`
	}
	jsonScopeSpans struct {
		Scope *jsonScope `json:"scope,omitempty"`
		Spans []jsonSpan `json:"spans"`
	}
	jsonScope struct {
		Name       string         `json:"name,omitempty"`
		Version    string         `json:"version,omitempty"`
		Attributes []jsonKeyValue `json:"attributes,omitempty"`
		Dropped    uint32         `json:"droppedAttributesCount,omitempty"`
	}
	jsonSpan struct {
		TraceID       string         `json:"traceId,omitempty"`
		SpanID        string         `json:"spanId,omitempty"`
		TraceState    string         `json:"traceState,omitempty"`
		ParentSpanID  string         `json:"parentSpanId,omitempty"`
		Flags         uint32         `json:"flags,omitempty"`
		Name          string         `json:"name"`
		Kind          int32          `json:"kind,omitempty"`
		Start         decimal        `json:"startTimeUnixNano"`
		End           decimal        `json:"endTimeUnixNano"`
		Attributes    []jsonKeyValue `json:"attributes,omitempty"`
		DroppedAttrs  uint32         `json:"droppedAttributesCount,omitempty"`
		Events        []jsonEvent    `json:"events,omitempty"`
		DroppedEvents uint32         `json:"droppedEventsCount,omitempty"`
		Links         []jsonLink     `json:"links,omitempty"`
		DroppedLinks  uint32         `json:"droppedLinksCount,omitempty"`
		Status        *jsonStatus    `json:"status,omitempty"`
	}
	jsonStatus struct {
		Message string `json:"message,omitempty"`
		Code    int32  `json:"code,omitempty"`
	}
	jsonEvent struct {
		Time       decimal        `json:"timeUnixNano"`
		Name       string         `json:"name,omitempty"`
		Attributes []jsonKeyValue `json:"attributes,omitempty"`
		Dropped    uint32         `json:"droppedAttributesCount,omitempty"`
	}
	jsonLink struct {
		TraceID    string         `json:"traceId"`
		SpanID     string         `json:"spanId"`
		TraceState string         `json:"traceState,omitempty"`
		Attributes []jsonKeyValue `json:"attributes,omitempty"`
		Dropped    uint32         `json:"droppedAttributesCount,omitempty"`
		Flags      uint32         `json:"flags,omitempty"`
	}
	jsonKeyValue struct {
		Key   string    `json:"key"`
		Value jsonValue `json:"value"`
	}
	// jsonValue is an AnyValue.
	jsonValue struct{ otlp.Value }
	// decimal is a 64-bit integer as text.
	decimal uint64
)

func (d decimal) MarshalJSON() ([]byte, error) {
	return strconv.AppendQuote(nil, strconv.FormatUint(uint64(d), 10)), nil
}

func (v jsonValue) MarshalJSON() ([]byte, error) {
	switch v.Kind {
	case otlp.KindString:
		return json.Marshal(map[string]string{"stringValue": v.Str})
	case otlp.KindBool:
		return json.Marshal(map[string]bool{"boolValue": v.Bool()})
	case otlp.KindInt:
		return json.Marshal(map[string]string{"intValue": strconv.FormatInt(v.Int(), 10)})
	case otlp.KindFloat:
		return json.Marshal(map[string]any{"doubleValue": number(v.Float())})
	case otlp.KindBytes:
		return json.Marshal(map[string]string{"bytesValue": base64.StdEncoding.EncodeToString([]byte(v.Str))})
	case otlp.KindArray:
		values := []jsonValue{}
		for item := range v.Items() {
			values = append(values, jsonValue{item})
		}
		return json.Marshal(map[string]any{"arrayValue": map[string]any{"values": values}})
	case otlp.KindMap:
		pairs := []jsonKeyValue{}
		for kv := range v.Pairs() {
			pairs = append(pairs, jsonKeyValue{kv.Key, jsonValue{kv.Value}})
		}
		return json.Marshal(map[string]any{"kvlistValue": map[string]any{"values": pairs}})
	default:
		return []byte("{}"), nil
	}
}

// number is what JSON has for f: of what is no number, its name, as in the JSON
// of protobuf.
func number(f float64) any {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return f
}

func otlpJSON(d Data) jsonRequest {
	out := jsonRequest{ResourceSpans: []jsonResourceSpans{}}
	for i := range d {
		b := &d[i]
		scope := jsonScopeSpans{Scope: otlpScope(&b.Scope), Spans: make([]jsonSpan, 0, len(b.Spans))}
		for j := range b.Spans {
			scope.Spans = append(scope.Spans, otlpSpan(&b.Spans[j]))
		}
		out.ResourceSpans = append(out.ResourceSpans, jsonResourceSpans{
			Resource: &jsonResource{keyValues(b.Resource.Attrs), b.Resource.Dropped}, ScopeSpans: []jsonScopeSpans{scope},
		})
	}
	return out
}

func otlpScope(s *otlp.Scope) *jsonScope {
	return &jsonScope{s.Name, s.Version, keyValues(s.Attrs), s.Dropped}
}

func otlpSpan(s *otlp.Span) jsonSpan {
	out := jsonSpan{
		TraceID: hex.EncodeToString(s.TraceID[:]), SpanID: hex.EncodeToString(s.SpanID[:]), TraceState: s.TraceState, ParentSpanID: parentHex(s),
		Flags: s.Flags, Name: s.Name, Kind: s.Kind, Start: decimal(s.Start), End: decimal(s.End), Attributes: keyValues(s.Attrs),
		DroppedAttrs: s.DroppedAttrs, Events: otlpEvents(s), DroppedEvents: s.DroppedEvents, Links: otlpLinks(s), DroppedLinks: s.DroppedLinks,
	}
	if s.Status != 0 || s.StatusMessage != "" {
		out.Status = &jsonStatus{s.StatusMessage, s.Status}
	}
	return out
}

// parentHex returns the parent's id, "" for a root.
func parentHex(s *otlp.Span) string {
	if s.ParentID == [8]byte{} {
		return ""
	}
	return hex.EncodeToString(s.ParentID[:])
}

func otlpEvents(s *otlp.Span) (out []jsonEvent) {
	for i := range s.Events {
		e := &s.Events[i]
		out = append(out, jsonEvent{decimal(e.Time), e.Name, keyValues(e.Attrs), e.Dropped})
	}
	return out
}

func otlpLinks(s *otlp.Span) (out []jsonLink) {
	for i := range s.Links {
		l := &s.Links[i]
		out = append(out, jsonLink{hex.EncodeToString(l.TraceID[:]), hex.EncodeToString(l.SpanID[:]), l.TraceState, keyValues(l.Attrs), l.Dropped, l.Flags})
	}
	return out
}

func keyValues(attrs []otlp.KeyValue) (out []jsonKeyValue) {
	for _, a := range attrs {
		out = append(out, jsonKeyValue{a.Key, jsonValue{a.Value}})
	}
	return out
}

// protobuf writes d as an ExportTraceServiceRequest.
func protobuf(d Data) []byte {
	var out []byte
	for i := range d {
		b := &d[i]
		spans := make([][]byte, 0, len(b.Spans))
		for j := range b.Spans {
			spans = append(spans, otlp.AppendSpan(nil, &b.Spans[j]))
		}
		out = otlp.AppendResourceSpans(out, otlp.AppendResource(nil, &b.Resource), &b.Scope, spans...)
	}
	return out
}
