package tracing

import (
	"math"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// slot is where a span of an active trace runs. One after the other runs in it,
// in the same trace and in later ones; its buffer stays with it.
type slot struct {
	embedded.Span // here, where it costs memory once for many spans

	a *active // never changed

	// Guarded by a.mu.
	gen  uint64 // counts starts and ends, so it is odd while a span runs
	at   int32  // in the trace's slots, from 1
	next int32  // the free slot behind this free one; 0 for none
	buf  []byte // attributes, events and links, encoded
	progress
}

// progress is what becomes of the span that runs in a slot, beside its buffer.
type progress struct {
	head    otlp.Head // as it will be encoded, without the end and the code
	outcome outcome
	scope   uint16 // in the trace's
	attrs   uint16
	keys    uint64 // a bit of each attribute's key
	events  uint32
	links   uint32
}

func (sl *slot) running() bool { return sl.gen&1 == 1 }

// begin makes sp the span that runs here.
func (sl *slot) begin(sp *span, parent SpanID, name string, kind trace.SpanKind, begun int64) {
	sl.gen++
	sp.slot, sp.gen = sl, sl.gen
	h := &sl.head
	h.TraceID, h.SpanID, h.ParentID, h.Flags = sp.id, sp.own, parent, uint32(sp.flags)
	h.Name, h.Kind, h.Start = name, int32(kind), uint64(max(begun, 0))
	if sp.state != nil {
		h.TraceState = sp.state.String()
	}
	sl.a.open++
	sl.a.use(slotBytes + int64(cap(sl.buf)))
}

// finish empties the slot for the next span.
func (sl *slot) finish() {
	a := sl.a
	a.used -= slotBytes + int64(cap(sl.buf))
	if sl.buf = sl.buf[:0]; cap(sl.buf) > 4<<10 {
		sl.buf = nil
	}
	sl.gen++
	sl.progress, sl.next = progress{}, a.free
	a.free = sl.at
	a.open--
}

// set adds an OpenTelemetry attribute. It takes a pointer because to copy what
// was just written field by field stalls: BenchmarkChildSpan/native took 600 ns
// with values and takes 340 ns.
func (sl *slot) set(kv *attribute.KeyValue) {
	key := clip(string(kv.Key), maxName)
	switch v := &kv.Value; v.Type() {
	case attribute.STRING:
		sl.setText(key, sl.a.store.text(key, v.AsString()))
	case attribute.INT64:
		sl.setNumber(key, otlp.KindInt, uint64(v.AsInt64()))
	case attribute.BOOL:
		sl.setNumber(key, otlp.KindBool, truth(v.AsBool()))
	case attribute.FLOAT64:
		sl.setNumber(key, otlp.KindFloat, math.Float64bits(v.AsFloat64()))
	default:
		sl.setAny(sl.a.store.attr(kv))
	}
}

// setText adds a text that is masked and cut already.
func (sl *slot) setText(key, v string) {
	if old, ok := sl.room(key); ok {
		sl.added(otlp.AppendTextAttr(sl.buf, otlp.FieldAttrs, key, v), old)
	}
}

func (sl *slot) setNumber(key string, kind otlp.Kind, num uint64) {
	if old, ok := sl.room(key); ok {
		sl.added(otlp.AppendNumberAttr(sl.buf, otlp.FieldAttrs, key, kind, num), old)
	}
}

// setAny adds an attribute that is masked and cut already.
func (sl *slot) setAny(kv otlp.KeyValue) {
	if old, ok := sl.room(kv.Key); ok {
		sl.added(otlp.AppendAttr(sl.buf, otlp.FieldAttrs, kv), old)
	}
}

func truth(v bool) uint64 {
	if v {
		return 1
	}
	return 0
}

// part is a piece of a slot's buffer.
type part struct{ from, to int }

// room tells whether an attribute may be added, and where one is that it
// replaces. keys has a bit of each key, so that new ones are not searched for.
func (sl *slot) room(key string) (old part, ok bool) { return sl.roomAt(key, keyBit(key)) }

func keyBit(key string) uint64 { return 1 << (place(key) & 63) }

func (sl *slot) roomAt(key string, bit uint64) (old part, ok bool) {
	if sl.keys&bit != 0 {
		old.from, old.to = otlp.FindAttr(sl.buf, key)
	}
	if key == "" || old.to == 0 && int(sl.attrs) >= sl.a.store.opts.MaxAttrs {
		sl.head.Dropped[0]++
		return old, false
	}
	sl.keys |= bit
	return old, true
}

// added takes a buffer with an attribute more in place of an old one.
func (sl *slot) added(longer []byte, old part) {
	switch {
	case !sl.put(longer):
		sl.head.Dropped[0]++
	case old.to > 0:
		sl.cut(old)
	default:
		sl.attrs++
	}
}

func (sl *slot) cut(p part) { sl.buf = slices.Delete(sl.buf, p.from, p.to) }

// addRepeated takes a buffer with an event or a link more. Beyond the limit the
// first one goes: how it ended tells more than how it began.
func (sl *slot) addRepeated(longer []byte, field, limit int, count, dropped *uint32) {
	if !sl.put(longer) {
		*dropped++
		return
	}
	if *count++; int(*count) > limit {
		var first part
		first.from, first.to = otlp.FindField(sl.buf, field)
		sl.cut(first)
		*count--
		*dropped++
	}
}

// setStatus sets the outcome that the API calls so. The message is masked
// already.
func (sl *slot) setStatus(status api.Status, message string) {
	for o := ok; o <= aborted; o++ {
		if o.status() == status {
			sl.outcome, sl.head.Status = o, message
		}
	}
}

// conclude sets what the end brings.
func (sl *slot) conclude(o *EndOptions, attrs []Attr) {
	if o.Name != "" {
		sl.head.Name = clip(o.Name, maxName)
	}
	for i := range attrs {
		sl.setPrepared(&attrs[i])
	}
	if o.Status != "" {
		sl.setStatus(o.Status, sl.a.store.message(o.Message))
	}
}

// put makes longer, its buffer with more behind it, the buffer unless the span
// grows too large by it.
func (sl *slot) put(longer []byte) bool {
	if len(longer) > sl.a.store.opts.MaxSpanBytes {
		return false
	}
	if n := cap(longer) - cap(sl.buf); n > 0 {
		sl.a.use(int64(n))
		sl.buf = longer
		return true
	}
	sl.buf = sl.buf[:len(longer)] // the same memory: without a pointer written the collector need not hear of it
	return true
}

// keep encodes the span behind those of its trace that ended before it.
func (sl *slot) keep(end int64) {
	a, h := sl.a, &sl.head
	h.End, h.Code = uint64(max(end, 0)), sl.outcome.code()
	if h.Size()+len(sl.buf) > a.store.opts.MaxSpanBytes+2*maxName {
		a.store.dropped[tooLarge].Add(1)
		return
	}
	off := len(a.buf)
	buf, name := otlp.AppendHead(a.buf, h)
	if buf = append(buf, sl.buf...); cap(buf) == cap(a.buf) {
		a.buf = a.buf[:len(buf)] // as in put
	} else {
		a.buf = buf
	}
	size := len(buf) - off
	a.spans = append(a.spans, localSpan{})
	e := &a.spans[len(a.spans)-1] // field by field, which a copy of the whole would wait for
	e.id, e.parent, e.start, e.end = h.SpanID, h.ParentID, int64(h.Start), int64(h.End)
	e.off, e.size, e.nameOff, e.nameN = uint32(off), uint32(size), uint32(name-off), uint32(len(h.Name))
	e.scope, e.kind, e.outcome = sl.scope, uint8(h.Kind), sl.outcome
	a.use(int64(size) + endedBytes)
}

// decode returns the running span, which has no end. It shares no memory that
// changes.
func (sl *slot) decode() otlp.Span {
	h := sl.head
	h.Code = sl.outcome.code()
	encoded, _ := otlp.AppendHead(nil, &h)
	var sp otlp.Span
	if err := sp.Decode(append(encoded, sl.buf...)); err != nil {
		sp = otlp.Span{TraceID: h.TraceID, SpanID: h.SpanID, StatusMessage: err.Error()}
	}
	return sp
}

// code is the outcome as OpenTelemetry's status.
func (o outcome) code() int32 {
	switch o {
	case unset:
		return 0
	case ok:
		return 1
	default:
		return 2
	}
}
