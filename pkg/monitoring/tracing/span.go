package tracing

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// Span is a handle on a running span. Its methods may be called from several
// goroutines, on the zero Span too; after the end they do nothing.
type Span struct{ sp *span }

// SpanContext returns the span's ids, after its end too.
func (h Span) SpanContext() trace.SpanContext {
	if h.sp == nil {
		return trace.SpanContext{}
	}
	return h.sp.sc
}

// Recording tells whether what is set on the span is kept.
func (h Span) Recording() bool { return h.sp != nil && h.sp.IsRecording() }

// SetName replaces the span's name.
func (h Span) SetName(name string) {
	if h.sp != nil {
		h.sp.SetName(name)
	}
}

// SetString sets an attribute; of several under one key the last counts.
func (h Span) SetString(key, v string) { h.set(key, otlp.String(v)) }

// SetInt sets an attribute.
func (h Span) SetInt(key string, v int64) { h.set(key, otlp.Int(v)) }

// SetBool sets an attribute.
func (h Span) SetBool(key string, v bool) { h.set(key, otlp.Bool(v)) }

// SetFloat sets an attribute. What JSON has no number for is read back as text.
func (h Span) SetFloat(key string, v float64) { h.set(key, otlp.Float(v)) }

// SetAny sets an attribute of any type: what has no form of its own in
// OpenTelemetry becomes text as fmt prints it.
func (h Span) SetAny(key string, v any) {
	if h.Recording() {
		h.set(key, anyValue(v))
	}
}

func (h Span) set(key string, v otlp.Value) {
	if h.sp == nil || h.sp.rec == nil {
		return
	}
	a := h.sp.store.fit(otlp.KeyValue{Key: clip(key, maxName), Value: v})
	if h.sp.lock() {
		h.sp.setAttr(a)
		h.sp.rec.mu.Unlock()
	}
}

// SetAttributes sets several attributes at once.
func (h Span) SetAttributes(kvs ...attribute.KeyValue) {
	if h.sp != nil {
		h.sp.SetAttributes(kvs...)
	}
}

// AddLog notes that something happened now.
func (h Span) AddLog(level, message string, fields ...attribute.KeyValue) {
	if h.sp != nil {
		h.sp.addEvent(time.Now(), message, level, fields)
	}
}

// SetStatus sets how the span ended, with a message for failures. It stands
// over what the context says.
func (h Span) SetStatus(status api.Status, message string) {
	if h.sp == nil || h.sp.rec == nil {
		return
	}
	message = h.sp.store.masker.text(message)
	if !h.sp.lock() {
		return
	}
	defer h.sp.rec.mu.Unlock()
	for o := ok; o <= aborted; o++ {
		if o.status() == status {
			h.sp.outcome, h.sp.message = o, clip(message, h.sp.store.opts.MaxValueBytes)
		}
	}
}

// Fail notes err as the reason why the span failed: as timeout or aborted if
// it is that of a context. A nil err does nothing.
func (h Span) Fail(err error) {
	if err == nil || h.sp == nil {
		return
	}
	h.sp.RecordError(err)
	h.SetStatus(outcomeOf(err).status(), err.Error())
}

func outcomeOf(err error) outcome {
	switch {
	case errors.Is(err, context.Canceled):
		return aborted
	case errors.Is(err, context.DeadlineExceeded):
		return timedOut
	default:
		return failed
	}
}

// End ends the span now; a second End does nothing.
func (h Span) End() {
	if h.sp != nil {
		h.sp.end(time.Time{})
	}
}

// EndAt ends the span at t.
func (h Span) EndAt(t time.Time) {
	if h.sp != nil {
		h.sp.end(t)
	}
}

// span is a span, the context that carries it and its OpenTelemetry form in
// one allocation. It is never used for a second span, so a late call on it can
// reach no other trace; only its buffer is pooled, and given back at the end.
type span struct {
	context.Context // the parent's
	embedded.Span

	store  *Store
	rec    *record // nil if it records nothing
	sc     trace.SpanContext
	parent SpanID
	begun  int64 // Unix nanoseconds
	kind   uint8

	// Guarded by rec.mu.
	ended      bool
	outcome    outcome
	scope      uint16 // in the record's
	attrs      uint16
	events     uint32
	links      uint32
	dropped    [3]uint32 // attributes, events, links
	name       string
	message    string
	buf        *[]byte // attributes, events and links, encoded
	charged    int64
	prev, next *span
}

// Value answers OpenTelemetry's question for the span in the context.
func (sp *span) Value(key any) any {
	if key == contextKey {
		return trace.Span(sp)
	}
	return sp.Context.Value(key)
}

// String keeps a printed context short.
func (sp *span) String() string { return fmt.Sprintf("%v.WithSpan(%s)", sp.Context, sp.sc.SpanID()) }

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// lock takes the record's mu if the span still records.
func (sp *span) lock() bool {
	if sp.rec == nil {
		return false
	}
	sp.rec.mu.Lock()
	if sp.ended {
		sp.rec.mu.Unlock()
		return false
	}
	if sp.buf == nil {
		sp.buf = buffers.Get().(*[]byte)
	}
	return true
}

// setAttr appends an attribute. Whoever reads takes the last of a key, so an
// overwritten one is removed only when the limit is reached.
func (sp *span) setAttr(a otlp.KeyValue) {
	if a.Key == "" {
		return
	}
	if int(sp.attrs) >= sp.store.opts.MaxAttrs && !sp.compact(a.Key) || !sp.put(otlp.AppendAttr(*sp.buf, otlp.FieldAttrs, a)) {
		sp.dropped[0]++
		return
	}
	sp.attrs++
}

// compact removes attributes that others or one of the given key overwrite,
// and says whether there is room for one now.
func (sp *span) compact(key string) bool {
	var s otlp.Span
	if err := s.Decode(*sp.buf); err != nil {
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
	*sp.buf = append((*sp.buf)[:0], encoded...)
	sp.attrs = uint16(len(kept))
	return len(kept) < sp.store.opts.MaxAttrs
}

// put makes longer, its buffer with more behind it, the buffer unless the span
// grows too large by it. It charges what outgrows a running span's due.
func (sp *span) put(longer []byte) bool {
	if len(longer) > sp.store.opts.MaxSpanBytes {
		return false
	}
	*sp.buf = longer
	if n := int64(cap(*sp.buf)); n > sp.charged {
		sp.store.charge(sp.rec, n-sp.charged)
		sp.charged = n
	}
	return true
}

func (sp *span) addEvent(at time.Time, name, level string, kvs []attribute.KeyValue) {
	if sp.rec == nil {
		return
	}
	e := otlp.Event{Time: uint64(max(at.UnixNano(), 0)), Name: clip(name, sp.store.opts.MaxValueBytes)}
	if level != "" {
		e.Attrs = append(e.Attrs, otlp.KeyValue{Key: "level", Value: otlp.String(level)})
	}
	e.Attrs, e.Dropped = sp.store.convert(e.Attrs, kvs)
	if !sp.lock() {
		return
	}
	defer sp.rec.mu.Unlock()
	if int(sp.events) >= sp.store.opts.MaxEvents || !sp.put(otlp.AppendEvent(*sp.buf, &e)) {
		sp.dropped[1]++
		return
	}
	sp.events++
}

// convert appends attributes up to the limit and counts the rest.
func (s *Store) convert(dst []otlp.KeyValue, kvs []attribute.KeyValue) ([]otlp.KeyValue, uint32) {
	n := min(len(kvs), max(s.opts.MaxAttrs-len(dst), 0))
	for _, kv := range kvs[:n] {
		dst = append(dst, s.attr(kv))
	}
	return dst, uint32(len(kvs) - n)
}

// end moves the span from the running ones to the kept ones.
func (sp *span) end(at time.Time) {
	rec, s := sp.rec, sp.store
	if rec == nil {
		return
	}
	now := rec.now()
	end := now
	if !at.IsZero() {
		end = at.UnixNano()
	}
	cut := sp.Context.Err()
	if !sp.lock() {
		return
	}
	if sp.outcome == unset && cut != nil {
		sp.outcome, sp.message = outcomeOf(cut), cut.Error()
	}
	before := rec.size
	rec.size -= sp.charged
	sp.keep(end)
	sp.finish()
	rec.arrived = now
	s.bytes.Add(rec.size - before)
	idle := rec.open == 0
	rec.mu.Unlock()
	s.received.Add(1)
	if idle {
		s.settle(rec)
	} else {
		s.shrink()
	}
}

// keep encodes the span into its record.
func (sp *span) keep(end int64) {
	s := sp.store
	head := sp.head(end)
	n := len(*sp.buf) + len(head.Name) + len(head.StatusMessage) + len(head.TraceState) + 160
	if n > s.opts.MaxSpanBytes+2*maxName {
		s.dropped[tooLarge].Add(1)
		return
	}
	sp.rec.encode(entry{
		id: head.SpanID, parent: head.ParentID, start: int64(head.Start), end: int64(head.End), kind: sp.kind, outcome: sp.outcome,
		resource: sp.rec.resourceIndex(s.resource), scope: sp.scope,
	}, &head, *sp.buf, n)
}

// head returns all of the span but its repeated fields.
func (sp *span) head(end int64) otlp.Span {
	h := otlp.Span{
		TraceID: sp.sc.TraceID(), SpanID: sp.sc.SpanID(), ParentID: sp.parent, Flags: uint32(sp.sc.TraceFlags()),
		TraceState: sp.sc.TraceState().String(), Name: sp.name, Kind: int32(sp.kind),
		Start: uint64(max(sp.begun, 0)), End: uint64(max(end, 0)), StatusMessage: sp.message,
		DroppedAttrs: sp.dropped[0], DroppedEvents: sp.dropped[1], DroppedLinks: sp.dropped[2],
	}
	switch sp.outcome {
	case unset:
	case ok:
		h.Status = 1
	default:
		h.Status = 2
	}
	return h
}

// finish takes the span off its record's list and gives its buffer back. The
// record's mu is held.
func (sp *span) finish() {
	sp.ended = true
	if sp.prev == nil {
		sp.rec.running = sp.next
	} else {
		sp.prev.next = sp.next
	}
	if sp.next != nil {
		sp.next.prev = sp.prev
	}
	sp.prev, sp.next = nil, nil
	if sp.rec.open--; sp.rec.open == 0 {
		sp.rec.slab = nil
	}
	if sp.buf != nil {
		release(sp.buf)
		sp.buf = nil
	}
}

// release gives a buffer back, unless it has become large.
func release(b *[]byte) {
	if cap(*b) <= 16<<10 {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}
