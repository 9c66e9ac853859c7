package traceformat

import (
	"encoding/hex"
	"math"
	"slices"
	"strconv"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// The members of Jaeger's JSON (jaeger, internal/uimodel): what its query
// service answers and its UI loads from a file. Times are microseconds.
type (
	// JaegerAnswer is the envelope of each answer of the query service.
	JaegerAnswer struct {
		Data   any           `json:"data"`
		Total  int           `json:"total"`
		Limit  int           `json:"limit"`
		Offset int           `json:"offset"`
		Errors []JaegerError `json:"errors"` // null without any
	}
	// JaegerError is one reason why there is no answer.
	JaegerError struct {
		Code    int    `json:"code"`
		Message string `json:"msg"`
		TraceID string `json:"traceID,omitempty"`
	}
	// JaegerTrace is one trace.
	JaegerTrace struct {
		TraceID   string                   `json:"traceID"`
		Spans     []JaegerSpan             `json:"spans"`
		Processes map[string]JaegerProcess `json:"processes"`
		Warnings  []string                 `json:"warnings"`
	}
	// JaegerSpan is one span of it.
	JaegerSpan struct {
		TraceID       string            `json:"traceID"`
		SpanID        string            `json:"spanID"`
		Flags         uint32            `json:"flags,omitempty"`
		OperationName string            `json:"operationName"`
		References    []JaegerReference `json:"references"`
		StartTime     uint64            `json:"startTime"`
		Duration      uint64            `json:"duration"`
		Tags          []JaegerTag       `json:"tags"`
		Logs          []JaegerLog       `json:"logs"`
		ProcessID     string            `json:"processID"`
		Warnings      []string          `json:"warnings"`
	}
	// JaegerReference points to the parent, or to another span.
	JaegerReference struct {
		RefType string `json:"refType"` // CHILD_OF, FOLLOWS_FROM
		TraceID string `json:"traceID"`
		SpanID  string `json:"spanID"`
	}
	// JaegerTag is an attribute.
	JaegerTag struct {
		Key   string `json:"key"`
		Type  string `json:"type"` // string, bool, int64, float64, binary
		Value any    `json:"value"`
	}
	// JaegerLog is an event.
	JaegerLog struct {
		Timestamp uint64      `json:"timestamp"`
		Fields    []JaegerTag `json:"fields"`
	}
	// JaegerProcess is what a span came from.
	JaegerProcess struct {
		ServiceName string      `json:"serviceName"`
		Tags        []JaegerTag `json:"tags"`
	}
)

const (
	childOf     = "CHILD_OF"
	followsFrom = "FOLLOWS_FROM"
	fieldEvent  = "event" // of a log: its name
	noService   = "OTLPResourceNoServiceName"
)

// JaegerTraces returns the traces of d.
func JaegerTraces(d Data) []JaegerTrace {
	out := []JaegerTrace{}
	for _, spans := range d.byTrace() {
		t := JaegerTrace{TraceID: hex.EncodeToString(spans[0].TraceID[:]), Processes: map[string]JaegerProcess{}}
		here := map[[8]byte]bool{}
		for _, s := range spans {
			here[s.SpanID] = true
		}
		pids := map[string]string{}
		for _, s := range spans {
			if pids[s.resource] == "" {
				pids[s.resource] = "p" + strconv.Itoa(len(pids)+1)
				t.Processes[pids[s.resource]] = jaegerProcess(&s.batch.Resource)
			}
			span := jaegerSpan(s)
			span.ProcessID = pids[s.resource]
			if parent := parentHex(s.Span); parent != "" && !here[s.ParentID] {
				span.Warnings = []string{"the parent span " + parent + " is missing"}
			}
			t.Spans = append(t.Spans, span)
		}
		out = append(out, t)
	}
	return out
}

func jaegerProcess(r *otlp.Resource) JaegerProcess {
	p := JaegerProcess{ServiceName: noService}
	attrs := r.Attrs
	if i := slices.IndexFunc(attrs, func(a otlp.KeyValue) bool { return a.Key == serviceName }); i >= 0 {
		if v := attrs[i].Value; v.Kind == otlp.KindString && v.Str != "" && v.Str != noService {
			p.ServiceName = v.Str
			attrs = slices.Delete(slices.Clone(attrs), i, i+1)
		}
	}
	tags := flatten(attrs, jaegerPlain)
	if r.Dropped > 0 {
		tags = append(tags, otlp.KeyValue{Key: tagDroppedAttrs, Value: otlp.Int(int64(r.Dropped))})
	}
	p.Tags = jaegerTags(tags)
	return p
}

func jaegerSpan(s spanOf) JaegerSpan {
	out := JaegerSpan{
		TraceID: hex.EncodeToString(s.TraceID[:]), SpanID: hex.EncodeToString(s.SpanID[:]), Flags: s.Flags & 1, OperationName: s.Name,
		References: jaegerReferences(s.Span), Logs: []JaegerLog{},
	}
	out.StartTime, out.Duration = micros(s.Start, s.End)
	tags := flatten(s.Attrs, jaegerPlain)
	if s.Kind > 0 {
		tags = append(tags, text(tagKind, kindTags[s.Kind]))
	}
	tags = append(tags, conventions(s.Span, &s.batch.Scope)...)
	if s.Status == 2 {
		tags = append(tags, otlp.KeyValue{Key: tagError, Value: otlp.Bool(true)})
	}
	if s.Flags > 1 {
		tags = append(tags, text(tagFlags, strconv.FormatUint(uint64(s.Flags), 10)))
	}
	out.Tags = jaegerTags(tags)
	for i := range s.Events {
		out.Logs = append(out.Logs, jaegerLog(&s.Events[i]))
	}
	return out
}

var kindTags = [...]string{"", "internal", "server", "client", "producer", "consumer"}

func jaegerReferences(s *otlp.Span) []JaegerReference {
	refs := []JaegerReference{}
	if parent := parentHex(s); parent != "" {
		refs = append(refs, JaegerReference{childOf, hex.EncodeToString(s.TraceID[:]), parent})
	}
	for i := range s.Links {
		refs = append(refs, JaegerReference{followsFrom, hex.EncodeToString(s.Links[i].TraceID[:]), hex.EncodeToString(s.Links[i].SpanID[:])})
	}
	return refs
}

func jaegerLog(e *otlp.Event) JaegerLog {
	fields := append([]otlp.KeyValue{text(fieldEvent, e.Name)}, flatten(e.Attrs, jaegerPlain)...)
	if e.Dropped > 0 {
		fields = append(fields, otlp.KeyValue{Key: tagDroppedAttrs, Value: otlp.Int(int64(e.Dropped))})
	}
	if e.Time%1000 != 0 {
		fields = append(fields, text(tagTime, strconv.FormatUint(e.Time, 10)))
	}
	return JaegerLog{Timestamp: e.Time / 1000, Fields: jaegerTags(fields)}
}

// jaegerPlain is what a tag of Jaeger can hold of a value.
func jaegerPlain(v otlp.Value) otlp.Value {
	switch v.Kind {
	case otlp.KindString, otlp.KindBool, otlp.KindInt, otlp.KindBytes:
		return v
	case otlp.KindFloat:
		if f := v.Float(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return v
		}
	}
	return plainText(v)
}

// jaegerTags writes plain values.
func jaegerTags(attrs []otlp.KeyValue) []JaegerTag {
	tags := make([]JaegerTag, 0, len(attrs))
	for _, a := range attrs {
		t := JaegerTag{Key: a.Key, Type: "string", Value: textOf(a.Value)}
		switch a.Value.Kind {
		case otlp.KindBool:
			t.Type, t.Value = "bool", a.Value.Bool()
		case otlp.KindInt:
			t.Type, t.Value = "int64", a.Value.Int()
		case otlp.KindFloat:
			t.Type, t.Value = "float64", a.Value.Float()
		case otlp.KindBytes:
			t.Type = "binary"
		}
		tags = append(tags, t)
	}
	return tags
}
