// Package otlp reads and writes the OpenTelemetry protocol's form of spans
// (opentelemetry-proto, trace/v1 and collector/trace/v1) in protobuf.
//
// A [Decoder] walks an ExportTraceServiceRequest and hands out one [Span] at a
// time in memory that it uses again, so a hostile body costs no more than its
// largest span. Strings and byte slices in what it hands out alias the body.
// Composite attribute values stay encoded ([KindArray], [KindMap]) until
// somebody asks for them with [Value.Any]. The Append functions write the same
// messages to the end of a slice.
package otlp

import "errors"

// ErrMalformed is in the chain of each error about bytes that are not OTLP.
var ErrMalformed = errors.New("malformed OTLP")

// MaxDepth is how deep arrays and maps may nest in an attribute's value.
const MaxDepth = 32

// Limits on one span; what exceeds them is counted in the span's Dropped
// fields and left out.
const (
	MaxAttrs  = 1024 // of a span, an event, a link, a resource
	MaxEvents = 4096
	MaxLinks  = 1024
)

// Kind is the type that a [Value] holds.
type Kind uint8

// The kinds of AnyValue. KindArray and KindMap hold their encoded message.
const (
	KindEmpty Kind = iota
	KindString
	KindBool
	KindInt
	KindFloat
	KindArray
	KindMap
	KindBytes
)

// Value is an attribute's value (AnyValue). Its zero value is empty.
type Value struct {
	Kind Kind
	Num  uint64 // of KindBool, KindInt and KindFloat: the bits
	Str  string // of KindString and KindBytes; of KindArray and KindMap their encoding
}

// KeyValue is an attribute.
type KeyValue struct {
	Key   string
	Value Value
}

// Resource is what produced the spans after it.
type Resource struct {
	Service string // its attribute service.name
	Attrs   []KeyValue
	Dropped uint32
	Ordinal int // of the ResourceSpans in its request, from 1: tells one resource from the next
}

// Scope is the instrumentation that produced the spans after it.
type Scope struct {
	Name, Version string
	Attrs         []KeyValue
	Dropped       uint32
}

// Span is one span. It is valid if both ids have their right length and are
// not all zeros, which [Span.Valid] tells.
type Span struct {
	TraceID    [16]byte
	SpanID     [8]byte
	ParentID   [8]byte // zero for a root
	TraceState string
	Flags      uint32 // W3C trace flags in the low byte
	Name       string
	Kind       int32  // as in the protocol: 1 internal, 2 server, 3 client, 4 producer, 5 consumer
	Start, End uint64 // Unix nanoseconds
	Attrs      []KeyValue
	Events     []Event
	Links      []Link

	DroppedAttrs, DroppedEvents, DroppedLinks uint32 // by the sender, and by the limits here

	Status        int32 // 0 unset, 1 ok, 2 error
	StatusMessage string

	Raw     []byte // the message as it was sent
	badIDs  bool
	Cropped bool // limits left something of Raw out
}

// Valid tells whether the span has ids that a store can find it by.
func (s *Span) Valid() bool {
	return !s.badIDs && s.TraceID != [16]byte{} && s.SpanID != [8]byte{}
}

// Event is something that happened while a span ran.
type Event struct {
	Time    uint64
	Name    string
	Attrs   []KeyValue
	Dropped uint32
}

// Link points to a span of this or another trace.
type Link struct {
	TraceID    [16]byte
	SpanID     [8]byte
	TraceState string
	Flags      uint32
	Attrs      []KeyValue
	Dropped    uint32
}

// reset empties s and keeps its slices, those of its events and links too.
func (s *Span) reset() {
	*s = Span{Attrs: s.Attrs[:0], Events: s.Events[:0], Links: s.Links[:0]}
}
