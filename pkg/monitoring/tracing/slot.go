package tracing

import (
	"go.opentelemetry.io/otel/trace/embedded"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// slot is where a span of an active trace runs. One after the other runs in it,
// in the same trace and in later ones; its buffer stays with it.
type slot struct {
	embedded.Span // here, where it costs memory once for many spans

	a *active // never changed

	// Guarded by a.mu.
	gen  uint64 // counts starts and ends, so it is odd while a span runs
	next *slot  // free
	buf  []byte // attributes, events and links, encoded
	progress
}

// progress is what becomes of the span that runs in a slot, beside its buffer.
type progress struct {
	span    *span
	parent  SpanID
	begun   int64 // Unix nanoseconds
	kind    uint8
	outcome outcome
	scope   uint16 // in the trace's
	attrs   uint16
	events  uint32
	links   uint32
	dropped [3]uint32 // attributes, events, links
	name    string
	message string
}

func (sl *slot) running() bool { return sl.gen&1 == 1 }

// begin makes sp the span that runs here.
func (sl *slot) begin(sp *span, parent SpanID, name string, kind uint8, begun int64) {
	sl.gen++
	sp.slot, sp.gen = sl, sl.gen
	sl.span, sl.parent, sl.name, sl.kind, sl.begun = sp, parent, name, kind, begun
	sl.a.open++
	sl.a.use(slotBytes)
}

// finish empties the slot for the next span.
func (sl *slot) finish() {
	a := sl.a
	a.used -= slotBytes + int64(len(sl.buf))
	if sl.buf = sl.buf[:0]; cap(sl.buf) > 4<<10 {
		sl.buf = nil
	}
	sl.gen++
	sl.progress, sl.next = progress{}, a.free
	a.free = sl
	a.open--
}

// setAttr appends an attribute. Whoever reads takes the last of a key, so an
// overwritten one is removed only when the limit is reached.
func (sl *slot) setAttr(kv otlp.KeyValue) {
	if kv.Key == "" {
		sl.dropped[0]++
		return
	}
	if int(sl.attrs) >= sl.a.store.opts.MaxAttrs && !sl.compact(kv.Key) || !sl.put(otlp.AppendAttr(sl.buf, otlp.FieldAttrs, kv)) {
		sl.dropped[0]++
		return
	}
	sl.attrs++
}

// compact removes attributes that others or one of the given key overwrite,
// and says whether there is room for one now.
func (sl *slot) compact(key string) bool {
	var s otlp.Span
	if err := s.Decode(sl.buf); err != nil {
		return false
	}
	last := map[string]int{key: len(s.Attrs)}
	for i, a := range s.Attrs {
		if _, found := last[a.Key]; !found || a.Key != key {
			last[a.Key] = i
		}
	}
	kept := s.Attrs[:0:0]
	for i, a := range s.Attrs {
		if last[a.Key] == i {
			kept = append(kept, a)
		}
	}
	s.Attrs = kept
	encoded := otlp.AppendSpanFields(nil, &s)
	sl.a.used += int64(len(encoded) - len(sl.buf))
	sl.buf = append(sl.buf[:0], encoded...)
	sl.attrs = uint16(len(kept))
	return len(kept) < sl.a.store.opts.MaxAttrs
}

// put makes longer, its buffer with more behind it, the buffer unless the span
// grows too large by it.
func (sl *slot) put(longer []byte) bool {
	if len(longer) > sl.a.store.opts.MaxSpanBytes {
		return false
	}
	sl.a.use(int64(len(longer) - len(sl.buf)))
	sl.buf = longer
	return true
}

// keep encodes the span behind those of its trace that ended before it.
func (sl *slot) keep(sp *span, end int64) {
	a := sl.a
	head := sl.head(sp, end)
	n := len(sl.buf) + len(head.Name) + len(head.StatusMessage) + len(head.TraceState) + 160
	if n > a.store.opts.MaxSpanBytes+2*maxName {
		a.store.dropped[tooLarge].Add(1)
		return
	}
	off := len(a.buf)
	buf, name := otlp.AppendSpanHead(a.buf, &head)
	a.buf = append(buf, sl.buf...)
	size := len(a.buf) - off
	a.spans = append(a.spans, localSpan{
		id: sp.own, parent: sl.parent, start: int64(head.Start), end: int64(head.End), off: uint32(off), size: uint32(size),
		nameOff: uint32(name - off), nameN: uint32(len(head.Name)), scope: sl.scope, kind: sl.kind, outcome: sl.outcome,
	})
	a.use(int64(size) + endedBytes)
}

// head returns all of the span but its repeated fields.
func (sl *slot) head(sp *span, end int64) otlp.Span {
	h := otlp.Span{
		TraceID: sp.id, SpanID: sp.own, ParentID: sl.parent, Flags: uint32(sp.flags), Name: sl.name, Kind: int32(sl.kind),
		Start: uint64(max(sl.begun, 0)), End: uint64(max(end, 0)), StatusMessage: sl.message,
		DroppedAttrs: sl.dropped[0], DroppedEvents: sl.dropped[1], DroppedLinks: sl.dropped[2],
	}
	if sp.state != nil {
		h.TraceState = sp.state.String()
	}
	switch sl.outcome {
	case unset:
	case ok:
		h.Status = 1
	default:
		h.Status = 2
	}
	return h
}

// decode returns the running span, which has no end. It shares no memory that
// changes.
func (sl *slot) decode() otlp.Span {
	var fields otlp.Span
	if err := fields.Decode(append([]byte(nil), sl.buf...)); err != nil {
		fields = otlp.Span{StatusMessage: err.Error()}
	}
	sp := sl.head(sl.span, 0)
	sp.Attrs, sp.Events, sp.Links = fields.Attrs, fields.Events, fields.Links
	return sp
}
