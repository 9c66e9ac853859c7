package otlp

import (
	"encoding/binary"
	"math/bits"
)

// Numbers of the repeated fields of a Span, for [AppendAttr] and its kin.
const (
	FieldAttrs  = 9
	FieldEvents = 11
	FieldLinks  = 13
)

// AppendSpan appends a Span message. Repeated fields encoded earlier with
// AppendAttr, AppendEvent and AppendLink may simply be appended to it.
func AppendSpan(dst []byte, s *Span) []byte {
	head := s.head()
	dst, _ = AppendHead(dst, &head)
	return AppendSpanFields(dst, s)
}

// AppendSpanFields appends the repeated fields of a Span message.
func AppendSpanFields(dst []byte, s *Span) []byte {
	for _, a := range s.Attrs {
		dst = AppendAttr(dst, FieldAttrs, a)
	}
	for i := range s.Events {
		dst = AppendEvent(dst, &s.Events[i])
	}
	for i := range s.Links {
		dst = AppendLink(dst, &s.Links[i])
	}
	return dst
}

// head returns what AppendSpanFields leaves out.
func (s *Span) head() Head {
	return Head{
		TraceID: s.TraceID, SpanID: s.SpanID, ParentID: s.ParentID, Start: s.Start, End: s.End, TraceState: s.TraceState, Name: s.Name,
		Status: s.StatusMessage, Flags: s.Flags, Kind: s.Kind, Code: s.Status, Dropped: [3]uint32{s.DroppedAttrs, s.DroppedEvents, s.DroppedLinks},
	}
}

// AppendAttr appends a KeyValue as the given field.
func AppendAttr(dst []byte, field int, a KeyValue) []byte {
	value := a.Value.size()
	dst = appendHead(dst, field, textSize(a.Key)+1+varintSize(uint64(value))+value)
	dst = appendText(dst, 1, a.Key)
	dst = appendHead(dst, 2, value)
	return a.Value.append(dst)
}

// size returns the length of the AnyValue message of v.
func (v Value) size() int {
	switch v.Kind {
	case KindEmpty:
		return 0
	case KindBool, KindInt:
		return 1 + varintSize(v.Num)
	case KindFloat:
		return 9
	default:
		return 1 + varintSize(uint64(len(v.Str))) + len(v.Str)
	}
}

func (v Value) append(dst []byte) []byte {
	switch v.Kind {
	case KindEmpty:
		return dst
	case KindBool:
		return binary.AppendUvarint(append(dst, 2<<3), v.Num)
	case KindInt:
		return binary.AppendUvarint(append(dst, 3<<3), v.Num)
	case KindFloat:
		return binary.LittleEndian.AppendUint64(append(dst, 4<<3|1), v.Num)
	case KindArray:
		return appendBytes(dst, 5, v.Str)
	case KindMap:
		return appendBytes(dst, 6, v.Str)
	case KindBytes:
		return appendBytes(dst, 7, v.Str)
	default:
		return appendBytes(dst, 1, v.Str)
	}
}

// Array returns the value that holds items, in order.
func Array(items ...Value) Value {
	var b []byte
	for _, item := range items {
		b = item.append(appendHead(b, 1, item.size()))
	}
	return Value{Kind: KindArray, Str: string(b)}
}

// Map returns the value that holds pairs, in order.
func Map(pairs ...KeyValue) Value {
	var b []byte
	for _, kv := range pairs {
		b = AppendAttr(b, 1, kv)
	}
	return Value{Kind: KindMap, Str: string(b)}
}

// AppendEvent appends an event as a field of its span.
func AppendEvent(dst []byte, e *Event) []byte {
	at := len(dst)
	dst = appendFixed64(dst, 1, e.Time)
	dst = appendText(dst, 2, e.Name)
	for _, a := range e.Attrs {
		dst = AppendAttr(dst, 3, a)
	}
	dst = appendVarint(dst, 4, uint64(e.Dropped))
	return wrap(dst, at, FieldEvents)
}

// AppendLink appends a link as a field of its span.
func AppendLink(dst []byte, l *Link) []byte {
	at := len(dst)
	dst = appendBytes(dst, 1, string(l.TraceID[:]))
	dst = appendBytes(dst, 2, string(l.SpanID[:]))
	dst = appendText(dst, 3, l.TraceState)
	for _, a := range l.Attrs {
		dst = AppendAttr(dst, 4, a)
	}
	dst = appendVarint(dst, 5, uint64(l.Dropped))
	dst = appendFixed32(dst, 6, l.Flags)
	return wrap(dst, at, FieldLinks)
}

// AppendResource appends a Resource message.
func AppendResource(dst []byte, r *Resource) []byte {
	for _, a := range r.Attrs {
		dst = AppendAttr(dst, 1, a)
	}
	return appendVarint(dst, 2, uint64(r.Dropped))
}

// AppendScope appends an InstrumentationScope message.
func AppendScope(dst []byte, scope *Scope) []byte {
	dst = appendText(dst, 1, scope.Name)
	dst = appendText(dst, 2, scope.Version)
	for _, a := range scope.Attrs {
		dst = AppendAttr(dst, 3, a)
	}
	return appendVarint(dst, 4, uint64(scope.Dropped))
}

// AppendResourceSpans appends a ResourceSpans with one scope as a field of a
// request: a Resource message, the scope and Span messages.
func AppendResourceSpans(dst, resource []byte, scope *Scope, spans ...[]byte) []byte {
	at := len(dst)
	dst = appendBytes(dst, 1, string(resource))
	inner := len(dst)
	head := len(dst)
	dst = wrap(AppendScope(dst, scope), head, 1)
	for _, s := range spans {
		dst = append(appendHead(dst, 2, len(s)), s...)
	}
	return wrap(wrap(dst, inner, 2), at, 1)
}

// wrap makes dst[at:] the body of a message field by moving it up to put the
// field's head before it.
func wrap(dst []byte, at, field int) []byte {
	n := len(dst) - at
	var head [20]byte
	h := appendHead(head[:0], field, n)
	dst = append(dst, h...)
	copy(dst[at+len(h):], dst[at:at+n])
	copy(dst[at:], h)
	return dst
}

func appendHead(dst []byte, field, n int) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(field)<<3|2), uint64(n))
}

func appendBytes(dst []byte, field int, s string) []byte {
	return append(appendHead(dst, field, len(s)), s...)
}

func appendText(dst []byte, field int, s string) []byte {
	if s == "" {
		return dst
	}
	return appendBytes(dst, field, s)
}

// textSize returns what appendText appends, for fields below 16.
func textSize(s string) int {
	if s == "" {
		return 0
	}
	return 1 + varintSize(uint64(len(s))) + len(s)
}

func appendVarint(dst []byte, field int, n uint64) []byte {
	if n == 0 {
		return dst
	}
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(field)<<3), n)
}

func appendFixed64(dst []byte, field int, n uint64) []byte {
	if n == 0 {
		return dst
	}
	return binary.LittleEndian.AppendUint64(binary.AppendUvarint(dst, uint64(field)<<3|1), n)
}

func appendFixed32(dst []byte, field int, n uint32) []byte {
	if n == 0 {
		return dst
	}
	return binary.LittleEndian.AppendUint32(binary.AppendUvarint(dst, uint64(field)<<3|5), n)
}

func varintSize(n uint64) int { return (bits.Len64(n|1) + 6) / 7 }
