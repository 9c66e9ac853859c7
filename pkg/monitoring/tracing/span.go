package tracing

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

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
	return h.sp.SpanContext()
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
func (h Span) SetString(key, v string) {
	if h.sp == nil || h.sp.gen == 0 {
		return
	}
	key = clip(key, maxName)
	v = h.sp.a.store.text(key, v)
	if h.sp.lock() {
		h.sp.setText(key, v)
		h.sp.a.unlock()
	}
}

// SetInt sets an attribute.
func (h Span) SetInt(key string, v int64) { h.setNumber(key, otlp.KindInt, uint64(v)) }

// SetBool sets an attribute.
func (h Span) SetBool(key string, v bool) { h.setNumber(key, otlp.KindBool, truth(v)) }

// SetFloat sets an attribute. What JSON has no number for is read back as text.
func (h Span) SetFloat(key string, v float64) {
	h.setNumber(key, otlp.KindFloat, math.Float64bits(v))
}

func (h Span) setNumber(key string, kind otlp.Kind, num uint64) {
	if h.sp != nil && h.sp.lock() {
		h.sp.setNumber(clip(key, maxName), kind, num)
		h.sp.a.unlock()
	}
}

// SetAny sets an attribute of any type: what has no form of its own in
// OpenTelemetry becomes text as fmt prints it.
func (h Span) SetAny(key string, v any) {
	if !h.Recording() {
		return
	}
	kv := h.sp.a.store.fit(otlp.KeyValue{Key: clip(key, maxName), Value: anyValue(v)})
	if h.sp.lock() {
		h.sp.setAny(kv)
		h.sp.a.unlock()
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
// over what the context says. A status that is none changes nothing.
func (h Span) SetStatus(status api.Status, message string) {
	if h.sp == nil || h.sp.gen == 0 {
		return
	}
	message = h.sp.a.store.message(message)
	if h.sp.lock() {
		h.sp.setStatus(status, message)
		h.sp.a.unlock()
	}
}

// message returns a status message as it is kept.
func (s *Store) message(m string) string {
	return clip(s.masker.text(m), s.opts.MaxValueBytes)
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

// End ends the span now; a second End does nothing. Deferred, it notes a panic
// as the reason why the span failed, and lets it go on.
func (h Span) End() {
	if reason := recover(); reason != nil {
		defer panic(reason)
		h.panicked(reason)
	}
	if h.sp != nil {
		h.sp.end(time.Time{}, nil)
	}
}

func (h Span) panicked(reason any) {
	if h.Recording() {
		h.sp.addException(time.Now(), reason, fmt.Sprint(reason), nil, false)
		h.SetStatus(api.StatusError, fmt.Sprint("panic: ", reason))
	}
}

// EndAt ends the span at t.
func (h Span) EndAt(t time.Time) {
	if h.sp != nil {
		h.sp.end(t, nil)
	}
}

// EndOptions is what is known of a span at its end.
type EndOptions struct {
	Time    time.Time  // zero means now
	Name    string     // replaces the name; "" leaves it
	Status  api.Status // stands over what the context says; "" leaves it
	Message string     // of the status
}

// EndWith sets what the options say and the attributes, and ends the span. The
// attributes are no option so that they stay on the caller's stack.
func (h Span) EndWith(o EndOptions, attrs ...Attr) {
	if h.sp != nil {
		h.sp.end(o.Time, &o, attrs...)
	}
}

// Describe adds to what StartOptions said of the span's trace, such as the user
// once he is known.
func (h Span) Describe(requestID, userID string, metadata ...Attr) {
	if h.sp == nil || !h.sp.lock() {
		return
	}
	a := h.sp.a
	a.describe(requestID, userID, nil)
	before := len(a.metadata)
	for i := range metadata[:min(len(metadata), 32, maxFacts-a.facts)] {
		if metadata[i].key != nil {
			a.metadata = a.store.appendFact(a.metadata, &metadata[i])
			a.facts++
		}
	}
	a.use(int64(len(a.metadata) - before))
	a.unlock()
}

// span is what a context holds of a span, the context itself and its
// OpenTelemetry form in one allocation. It is never used for a second span. All
// that changes is in its slot, which serves others after the end: gen tells
// whether it is still the span's.
type span struct {
	context.Context // the parent's
	*slot           // the store's silent one if the span records nothing

	gen   uint64 // of the slot; 0 if the span records nothing
	id    TraceID
	own   SpanID
	state *trace.TraceState // nil for none
	flags trace.TraceFlags
}

// Value answers OpenTelemetry's question for the span in the context.
func (sp *span) Value(key any) any {
	if key == contextKey {
		return trace.Span(sp)
	}
	return sp.Context.Value(key)
}

// String keeps a printed context short.
func (sp *span) String() string { return fmt.Sprintf("%v.WithSpan(%s)", sp.Context, sp.own) }

// lock takes the trace's mu if the span still runs.
func (sp *span) lock() bool {
	if sp.gen == 0 {
		return false
	}
	sp.a.mu.Lock()
	if sp.slot.gen == sp.gen {
		return true
	}
	sp.a.mu.Unlock()
	return false
}

func (sp *span) addEvent(at time.Time, name, level string, kvs []attribute.KeyValue) {
	if sp.gen == 0 {
		return
	}
	s := sp.a.store
	e := otlp.Event{Time: uint64(max(at.UnixNano(), 0)), Name: clip(name, s.opts.MaxValueBytes)}
	if level != "" {
		e.Attrs = append(e.Attrs, otlp.KeyValue{Key: "level", Value: otlp.String(level)})
	}
	e.Attrs, e.Dropped = s.convert(e.Attrs, kvs)
	if !sp.lock() {
		return
	}
	sp.addRepeated(otlp.AppendEvent(sp.buf, &e), otlp.FieldEvents, s.opts.MaxEvents, &sp.events, &sp.head.Dropped[1])
	sp.a.unlock()
}

// convert appends attributes up to the limit and counts the rest.
func (s *Store) convert(dst []otlp.KeyValue, kvs []attribute.KeyValue) ([]otlp.KeyValue, uint32) {
	n := min(len(kvs), max(s.opts.MaxAttrs-len(dst), 0))
	for i := range kvs[:n] {
		dst = append(dst, s.attr(&kvs[i]))
	}
	return dst, uint32(len(kvs) - n)
}

// end moves the span from the running ones to the ended ones, and lands its
// trace if it was the last.
func (sp *span) end(at time.Time, o *EndOptions, attrs ...Attr) {
	if sp.gen == 0 {
		return
	}
	cut := sp.Context.Err()
	if !sp.lock() {
		return
	}
	a := sp.a
	end := a.stop(at)
	if o != nil {
		sp.conclude(o, attrs)
	}
	if sp.outcome == unset && cut != nil {
		sp.outcome, sp.head.Status = outcomeOf(cut), cut.Error()
	}
	sp.keep(end)
	sp.finish()
	if a.open == 0 {
		a.leave()
		sp.a.store.shrink()
		return
	}
	if len(a.buf) >= landAt {
		a.land()
	}
	a.unlock()
}

// stop returns the end in Unix nanoseconds of a span that ends at a time, now if
// that is zero, and notes the time. A time that a clock told is not asked again.
func (a *active) stop(at time.Time) int64 {
	switch {
	case at.IsZero():
		a.at = a.now()
		return a.at
	case at == at.Round(0): // no reading of the monotonic clock
		a.at = a.now()
	default:
		a.at = a.base + int64(at.Sub(a.clock))
	}
	return at.UnixNano()
}
