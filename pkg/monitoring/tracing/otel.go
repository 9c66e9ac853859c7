package tracing

import (
	"context"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// TracerProvider returns the store as OpenTelemetry instrumentation takes it.
func (s *Store) TracerProvider() trace.TracerProvider { return s.provider }

type provider struct {
	embedded.TracerProvider
	store *Store
}

// Tracer returns a tracer whose spans have name as their scope, with the version
// and attributes of the options. A schema URL is not kept.
func (p *provider) Tracer(name string, opts ...trace.TracerOption) trace.Tracer {
	t := &tracer{store: p.store, scope: name}
	if len(opts) > 0 {
		c := trace.NewTracerConfig(opts...)
		t.scope = p.store.scopeKey(name, c.InstrumentationVersion(), c.InstrumentationAttributes())
	}
	return t
}

type tracer struct {
	embedded.Tracer
	store *Store
	scope string // see scopeKey
}

// Start starts a span as the OpenTelemetry API says.
func (t *tracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	if ctx == nil {
		ctx = context.Background()
	}
	o := StartOptions{Scope: t.scope}
	if len(opts) > 0 {
		c := trace.NewSpanStartConfig(opts...)
		o.Kind, o.Attrs, o.Links, o.Time, o.NewRoot = c.SpanKind(), c.Attributes(), c.Links(), c.Timestamp(), c.NewRoot()
	}
	sp := t.store.start(ctx, name, &o)
	return sp, sp
}

// SpanContext returns the span's ids.
func (sp *span) SpanContext() trace.SpanContext {
	c := trace.SpanContextConfig{TraceID: sp.id, SpanID: sp.own, TraceFlags: sp.flags}
	if sp.state != nil {
		c.TraceState = *sp.state
	}
	return trace.NewSpanContext(c)
}

// TracerProvider returns the provider of the span's store.
func (sp *span) TracerProvider() trace.TracerProvider { return sp.a.store.provider }

// IsRecording tells whether the span is sampled and has not ended.
func (sp *span) IsRecording() bool {
	running := sp.lock()
	if running {
		sp.a.mu.Unlock()
	}
	return running
}

// End ends the span. Deferred, it notes a panic as an exception event and lets
// it go on.
func (sp *span) End(opts ...trace.SpanEndOption) {
	var at time.Time
	stack := false
	if len(opts) > 0 {
		c := trace.NewSpanEndConfig(opts...)
		at, stack = c.Timestamp(), c.StackTrace()
	}
	if reason := recover(); reason != nil {
		defer panic(reason)
		sp.addException(time.Now(), reason, fmt.Sprint(reason), nil, stack)
	}
	sp.end(at, nil)
}

// SetName replaces the name.
func (sp *span) SetName(name string) {
	if sp.lock() {
		sp.head.Name = clip(name, maxName)
		sp.a.mu.Unlock()
	}
}

// SetAttributes sets attributes, the last of a key counts.
func (sp *span) SetAttributes(kvs ...attribute.KeyValue) {
	if !sp.lock() {
		return
	}
	for i := range kvs {
		sp.set(&kvs[i])
	}
	sp.a.unlock()
}

// AddEvent notes that something happened.
func (sp *span) AddEvent(name string, opts ...trace.EventOption) {
	if sp.gen != 0 {
		c := trace.NewEventConfig(opts...)
		sp.addEvent(c.Timestamp(), name, "", c.Attributes())
	}
}

// AddLink links to another span.
func (sp *span) AddLink(l trace.Link) {
	if sp.gen == 0 {
		return
	}
	if !l.SpanContext.IsValid() && len(l.Attributes) == 0 && l.SpanContext.TraceState().Len() == 0 {
		return
	}
	link := otlp.Link{
		TraceID: l.SpanContext.TraceID(), SpanID: l.SpanContext.SpanID(),
		TraceState: l.SpanContext.TraceState().String(), Flags: uint32(l.SpanContext.TraceFlags()),
	}
	link.Attrs, link.Dropped = sp.a.store.convert(nil, l.Attributes)
	if !sp.lock() {
		return
	}
	sp.addRepeated(otlp.AppendLink(sp.buf, &link), otlp.FieldLinks, sp.a.store.opts.MaxLinks, &sp.links, &sp.head.Dropped[2])
	sp.a.unlock()
}

// RecordError adds an exception event. The status stays as it is.
func (sp *span) RecordError(err error, opts ...trace.EventOption) {
	if err == nil || sp.gen == 0 {
		return
	}
	c := trace.NewEventConfig(opts...)
	sp.addException(c.Timestamp(), err, err.Error(), c.Attributes(), c.StackTrace())
}

func (sp *span) addException(at time.Time, reason any, message string, kvs []attribute.KeyValue, stack bool) {
	kvs = append(slices.Clip(kvs), attribute.String("exception.type", typeName(reason)), attribute.String("exception.message", message))
	if stack {
		kvs = append(kvs, attribute.String("exception.stacktrace", string(debug.Stack())))
	}
	sp.addEvent(at, "exception", "", kvs)
}

// SetStatus sets the status; Ok stands over Error, Error over Unset.
func (sp *span) SetStatus(code codes.Code, description string) {
	if sp.gen == 0 {
		return
	}
	description = sp.a.store.message(description)
	if !sp.lock() {
		return
	}
	defer sp.a.mu.Unlock()
	switch {
	case code == codes.Ok:
		sp.outcome, sp.head.Status = ok, ""
	case code == codes.Error && sp.outcome != ok:
		sp.outcome, sp.head.Status = failed, description
	}
}

func typeName(v any) string {
	t := reflect.TypeOf(v)
	if t.PkgPath() == "" && t.Name() == "" {
		return t.String() // a pointer, say *url.Error
	}
	return t.PkgPath() + "." + t.Name()
}

// maxDepth is how deep arrays and maps in a value may nest, which is less than
// can be read back. What is deeper becomes text.
const maxDepth = 16

// value converts an attribute's value.
func value(v attribute.Value) otlp.Value { return valueWithin(v, maxDepth) }

func valueWithin(v attribute.Value, depth int) otlp.Value {
	if depth == 0 {
		return otlp.String(v.String())
	}
	inner := func(v attribute.Value) otlp.Value { return valueWithin(v, depth-1) }
	switch v.Type() {
	case attribute.STRING:
		return otlp.String(v.AsString())
	case attribute.BOOL:
		return otlp.Bool(v.AsBool())
	case attribute.INT64:
		return otlp.Int(v.AsInt64())
	case attribute.FLOAT64:
		return otlp.Float(v.AsFloat64())
	case attribute.BOOLSLICE:
		return array(v.AsBoolSlice(), otlp.Bool)
	case attribute.INT64SLICE:
		return array(v.AsInt64Slice(), otlp.Int)
	case attribute.FLOAT64SLICE:
		return array(v.AsFloat64Slice(), otlp.Float)
	case attribute.STRINGSLICE:
		return array(v.AsStringSlice(), otlp.String)
	case attribute.BYTESLICE:
		return otlp.Bytes(string(v.AsByteSlice()))
	case attribute.SLICE:
		return array(v.AsSlice(), inner)
	case attribute.MAP:
		var pairs []otlp.KeyValue
		for _, kv := range v.AsMap() {
			pairs = append(pairs, otlp.KeyValue{Key: string(kv.Key), Value: inner(kv.Value)})
		}
		return otlp.Map(pairs...)
	default:
		return otlp.Value{}
	}
}

func array[T any](items []T, f func(T) otlp.Value) otlp.Value {
	values := make([]otlp.Value, len(items))
	for i, item := range items {
		values[i] = f(item)
	}
	return otlp.Array(values...)
}

// anyValue converts a Go value.
func anyValue(v any) otlp.Value {
	switch v := v.(type) {
	case nil:
		return otlp.Value{}
	case string:
		return otlp.String(v)
	case bool:
		return otlp.Bool(v)
	case float64:
		return otlp.Float(v)
	case float32:
		return otlp.Float(float64(v))
	case []byte:
		return otlp.Bytes(string(v))
	case []string:
		return array(v, otlp.String)
	case error:
		return otlp.String(v.Error())
	case fmt.Stringer:
		return otlp.String(v.String())
	}
	switch r := reflect.ValueOf(v); {
	case r.CanInt():
		return otlp.Int(r.Int())
	case r.CanUint() && r.Uint() < 1<<63:
		return otlp.Int(int64(r.Uint()))
	case r.Kind() == reflect.String:
		return otlp.String(r.String())
	default:
		return otlp.String(fmt.Sprint(v))
	}
}
