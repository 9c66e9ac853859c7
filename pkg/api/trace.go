package api

import (
	"encoding/json"
	"strconv"
)

// Status is how a span or a trace ended.
type Status string

// The statuses of spans and traces; only a trace can be active.
const (
	StatusOK      Status = "ok"
	StatusError   Status = "error"
	StatusTimeout Status = "timeout"
	StatusAborted Status = "aborted"
	StatusActive  Status = "active"
)

// Failed tells whether s is one that an operator would look into.
func (s Status) Failed() bool { return s == StatusError || s == StatusTimeout }

// Nano is an instant in nanoseconds since 1970, a decimal string in JSON:
// exact for every client, those without 64-bit integers too.
type Nano int64

// MarshalJSON writes a decimal string.
func (n Nano) MarshalJSON() ([]byte, error) {
	return strconv.AppendQuote(nil, strconv.FormatInt(int64(n), 10)), nil
}

// UnmarshalJSON reads a decimal string or number; null is 0.
func (n *Nano) UnmarshalJSON(b []byte) error {
	var c Count
	if err := c.UnmarshalJSON(b); err != nil {
		return err
	}
	*n = Nano(c)
	return nil
}

// Trace is one request's work across services. Fields below Spans come from
// this project's servers only. Whoever receives a Trace owns it.
type Trace struct {
	TraceID   string     `json:"trace_id"`
	RequestID string     `json:"request_id"`
	UserID    *string    `json:"user_id"`
	StartTime Time       `json:"start_time"`
	EndTime   Time       `json:"end_time"` // zero while active
	Duration  *Seconds   `json:"duration"` // nil while active
	Metadata  Attributes `json:"metadata"`
	Spans     []Span     `json:"spans,omitempty"` // in the order of their starts; absent from summaries

	StartUnixNano Nano           `json:"start_unix_nano,omitempty"`
	Root          string         `json:"root,omitempty"` // operation of the root span
	Service       string         `json:"service,omitempty"`
	Services      []TraceService `json:"services,omitempty"`
	SpanCount     *Count         `json:"span_count,omitempty"`
	ErrorCount    *Count         `json:"error_count,omitempty"`
	Status        Status         `json:"status,omitempty"`
	Complete      *bool          `json:"complete,omitempty"` // false if a parent or spans are missing
	ProfileIDs    []string       `json:"profile_ids,omitempty"`
	Truncated     bool           `json:"truncated,omitempty"` // spans were left out to bound the answer
}

// TraceService counts the spans that one service gave to a trace.
type TraceService struct {
	Name   string `json:"name"`
	Spans  Count  `json:"spans"`
	Errors Count  `json:"errors"`
}

// Span is one operation within a trace. Fields below Status come from this
// project's servers only.
type Span struct {
	SpanID        string     `json:"span_id"`
	ParentSpanID  *string    `json:"parent_span_id"`
	OperationName string     `json:"operation_name"`
	StartTime     Time       `json:"start_time"`
	EndTime       Time       `json:"end_time"` // zero while running
	Duration      *Seconds   `json:"duration"` // nil while running
	Tags          Attributes `json:"tags"`     // OTLP attributes
	Logs          []SpanLog  `json:"logs"`     // OTLP events
	Status        Status     `json:"status"`

	StartUnixNano Nano       `json:"start_unix_nano,omitempty"`
	Service       string     `json:"service,omitempty"`
	Kind          string     `json:"kind,omitempty"` // internal, server, client, producer, consumer
	StatusMessage string     `json:"status_message,omitempty"`
	Scope         string     `json:"scope,omitempty"` // the instrumentation's name
	Links         []SpanLink `json:"links,omitempty"`
	Dropped       *Count     `json:"dropped,omitempty"` // attributes, events and links over the limits, and texts that were cut
}

// SpanLink points from a span to one of another trace.
type SpanLink struct {
	TraceID string     `json:"trace_id"`
	SpanID  string     `json:"span_id"`
	Tags    Attributes `json:"tags,omitempty"`
}

// SpanLog is something that happened while a span ran. Its fields stand beside
// timestamp, level and message in the JSON object; one that has such a name
// itself is written as attribute.NAME.
type SpanLog struct {
	Timestamp Time
	Level     string
	Message   string
	Fields    Attributes
}

// logMembers are the members of a SpanLog that are no fields.
var logMembers = [...]string{"timestamp", "level", "message"}

// besideMember begins the name of a field that is called like one of those.
const besideMember = "attribute."

// MarshalJSON writes the fields and the three named members as one object.
func (l SpanLog) MarshalJSON() ([]byte, error) {
	m := make(map[string]any, len(l.Fields)+len(logMembers))
	for k, v := range l.Fields {
		m[k] = v
	}
	for _, name := range logMembers {
		if v, taken := l.Fields[name]; taken {
			m[besideMember+name] = v
		}
	}
	m["timestamp"], m["level"], m["message"] = l.Timestamp, l.Level, l.Message
	return json.Marshal(m)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (l *SpanLog) UnmarshalJSON(b []byte) error {
	var named struct {
		Timestamp Time   `json:"timestamp"`
		Level     string `json:"level"`
		Message   string `json:"message"`
	}
	if err := json.Unmarshal(b, &named); err != nil {
		return err
	}
	*l = SpanLog{Timestamp: named.Timestamp, Level: named.Level, Message: named.Message}
	if err := json.Unmarshal(b, &l.Fields); err != nil {
		return err
	}
	for _, name := range logMembers {
		delete(l.Fields, name)
		if v, found := l.Fields[besideMember+name]; found {
			delete(l.Fields, besideMember+name)
			l.Fields[name] = v
		}
	}
	return nil
}

// TraceList is the answer of GET /monitoring/traces.
type TraceList struct {
	Traces      []Trace    `json:"traces"`
	TotalActive Count      `json:"total_active"`
	Total       *Count     `json:"total,omitempty"` // matches, shown or not
	Next        *string    `json:"next,omitempty"`  // cursor of the next page
	Truncated   bool       `json:"truncated,omitempty"`
	Retention   *Retention `json:"retention,omitempty"`
}

// Retention says what a store keeps and what it lost.
type Retention struct {
	Traces  Count            `json:"traces"`
	Spans   Count            `json:"spans"`
	Bytes   Count            `json:"bytes"`
	Oldest  Time             `json:"oldest"`
	Dropped map[string]Count `json:"dropped,omitempty"` // spans, by reason
}

// TraceGet is the answer of GET /monitoring/traces?trace_id=ID.
type TraceGet struct {
	Trace Trace `json:"trace"`
}

// Cleanup is the answer of the cleanups of traces and of profiles. A Python
// server sends the message alone.
type Cleanup struct {
	Message    string `json:"message"`
	Removed    *Count `json:"removed,omitempty"`
	FreedBytes *Count `json:"freed_bytes,omitempty"`
	DryRun     bool   `json:"dry_run,omitempty"`
}
