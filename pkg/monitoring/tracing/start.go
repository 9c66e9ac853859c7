package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// StartOptions describes a span as it starts. The zero value is an internal
// span below the one in the context.
type StartOptions struct {
	Kind    trace.SpanKind       // 0 means internal
	Attrs   []attribute.KeyValue // not kept
	Links   []trace.Link
	Time    time.Time         // of the start; zero means now
	Scope   string            // the instrumentation's name
	NewRoot bool              // ignore the span in the context
	Remote  trace.SpanContext // parent in another process, if valid; the context's span does not count then

	RequestID string               // of the trace, if this span is what the request began with
	UserID    string               // of the trace
	Metadata  []attribute.KeyValue // of the trace, such as http.method
}

// Start starts a span and returns a context that carries it, for child spans
// by this package or by OpenTelemetry. The span must be ended with [Span.End];
// its outcome follows ctx: work cut off by a cancellation ends as aborted, by a
// deadline as timeout.
func (s *Store) Start(ctx context.Context, name string, o StartOptions) (context.Context, Span) {
	sp := s.start(ctx, name, &o)
	return sp, Span{sp}
}

func (s *Store) start(ctx context.Context, name string, o *StartOptions) *span {
	name, kind := clip(name, maxName), max(o.Kind, trace.SpanKindInternal)
	parent, local := o.parentIn(ctx)
	id, flags := parent.TraceID(), parent.TraceFlags()&^trace.FlagsSampled
	if !parent.IsValid() {
		id, parent, local = NewTraceID(), trace.SpanContext{}, nil
	}
	sampled := s.sample(parent, id, name, kind)
	var rec *record
	if sampled {
		flags |= trace.FlagsSampled
		rec = s.lockRunning(local)
	}
	var sp *span
	var now time.Time
	if rec != nil {
		sp = rec.newSpan()
		sp.begun = rec.now()
	} else {
		sp, now = new(span), time.Now()
		sp.begun = now.UnixNano()
	}
	if !o.Time.IsZero() {
		sp.begun = o.Time.UnixNano()
	}
	sp.Context, sp.store, sp.name, sp.parent, sp.kind = ctx, s, name, parent.SpanID(), uint8(kind)
	sp.sc = trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: NewSpanID(), TraceFlags: flags, TraceState: parent.TraceState()})
	switch {
	case rec != nil:
		s.attach(rec, sp, o.Scope)
		rec.mu.Unlock()
	case sampled:
		s.join(sp, o, now)
	}
	if len(o.Attrs) > 0 {
		sp.SetAttributes(o.Attrs...)
	}
	for _, l := range o.Links {
		sp.AddLink(l)
	}
	return sp
}

const maxName = 1024 // bytes of a span's name

// sample asks the sampler; the usual case needs none.
func (s *Store) sample(parent trace.SpanContext, id TraceID, name string, kind trace.SpanKind) bool {
	if s.opts.Sampler != nil {
		return s.opts.Sampler(Sampling{Parent: parent, TraceID: id, Name: name, Kind: kind})
	}
	return !parent.IsValid() || parent.IsSampled()
}

// parentIn returns the parent's context, and the span itself if it is ours.
func (o *StartOptions) parentIn(ctx context.Context) (trace.SpanContext, *span) {
	switch {
	case o.Remote.IsValid():
		return o.Remote, nil
	case o.NewRoot:
		return trace.SpanContext{}, nil
	}
	if sp, ok := ctx.(*span); ok {
		return sp.sc, sp
	}
	switch sp := ctx.Value(contextKey).(type) {
	case *span:
		return sp.sc, sp
	case trace.Span:
		return sp.SpanContext(), nil
	}
	return trace.SpanContext{}, nil
}

// lockRunning returns the record that local runs in, locked, if another span
// may start in it with no more than that lock.
func (s *Store) lockRunning(local *span) *record {
	if local == nil || local.store != s || local.rec == nil {
		return nil
	}
	rec := local.rec
	rec.mu.Lock()
	if rec.gone || rec.open == 0 {
		rec.mu.Unlock()
		return nil
	}
	return rec
}

// join adds sp to the record of its trace, which becomes active by it.
func (s *Store) join(sp *span, o *StartOptions, now time.Time) {
	s.mu.Lock()
	rec := s.obtain(sp.sc.TraceID())
	rec.mu.Lock()
	if rec.clock.IsZero() {
		rec.clock = now
	}
	s.attach(rec, sp, o.Scope)
	if o.RequestID != "" || o.UserID != "" || len(o.Metadata) > 0 {
		s.describe(rec, o)
	}
	if rec.queue != &s.active && rec.open > 0 {
		s.active.move(rec)
		s.forget(rec)
	} else if rec.queue == nil {
		s.shelve(rec)
	}
	rec.mu.Unlock()
	s.limitActive()
	s.mu.Unlock()
	s.shrink()
}

// attach makes sp a running span of rec, unless the trace is full: then sp
// stays one that records nothing. The caller holds the record's mu.
func (s *Store) attach(rec *record, sp *span, scope string) {
	if rec.spans.n+rec.open >= s.opts.MaxSpans {
		s.dropped[overLimit].Add(1)
		return
	}
	before := rec.size
	sp.rec, sp.charged, sp.scope = rec, openBytes, rec.scopeIndex(scope)
	rec.size += openBytes
	s.bytes.Add(rec.size - before)
	sp.next = rec.running
	if sp.next != nil {
		sp.next.prev = sp
	}
	rec.running = sp
	rec.open++
	if rec.start == 0 || sp.begun < rec.start {
		rec.start = sp.begun
	}
	rec.sum = nil
}

// describe puts the request's own facts on its trace. The caller holds the
// record's mu.
func (s *Store) describe(rec *record, o *StartOptions) {
	before := len(rec.requestID) + len(rec.userID)
	if o.RequestID != "" {
		rec.requestID = clip(o.RequestID, 128)
	}
	if o.UserID != "" {
		rec.userID = clip(o.UserID, 256)
	}
	s.charge(rec, int64(len(rec.requestID)+len(rec.userID)-before))
	for _, kv := range o.Metadata[:min(len(o.Metadata), 32)] {
		a := s.attr(kv)
		rec.metadata = append(rec.metadata, a)
		s.charge(rec, int64(64+len(a.Key)+len(a.Value.Str)))
	}
}

// Describe adds to what StartOptions said of the trace that ctx's span belongs
// to, such as the user once he is known. Without a span it does nothing.
func (s *Store) Describe(ctx context.Context, requestID, userID string, metadata ...attribute.KeyValue) {
	sp, ok := ctx.Value(contextKey).(*span)
	if !ok || sp.store != s || sp.rec == nil {
		return
	}
	sp.rec.mu.Lock()
	defer sp.rec.mu.Unlock()
	if !sp.rec.gone && !sp.ended && len(sp.rec.metadata) < 128 {
		s.describe(sp.rec, &StartOptions{RequestID: requestID, UserID: userID, Metadata: metadata})
	}
}

// attr converts an attribute, masked and cut to the limits.
func (s *Store) attr(kv attribute.KeyValue) otlp.KeyValue {
	a := otlp.KeyValue{Key: clip(string(kv.Key), maxName), Value: value(kv.Value)}
	return s.fit(a)
}

// fit masks a secret and cuts a long text. Numbers are neither: a count of
// tokens is no token.
func (s *Store) fit(a otlp.KeyValue) otlp.KeyValue {
	switch a.Value.Kind {
	case otlp.KindEmpty, otlp.KindBool, otlp.KindInt, otlp.KindFloat:
		return a
	}
	return s.fitText(a)
}

func (s *Store) fitText(a otlp.KeyValue) otlp.KeyValue {
	a.Value = s.masker.value(a.Key, a.Value)
	if len(a.Value.Str) <= s.opts.MaxValueBytes {
		return a
	}
	s.truncated.Add(1)
	switch a.Value.Kind {
	case otlp.KindArray, otlp.KindMap: // cut inside it would be broken: its beginning as text
		a.Value = otlp.String(clip(a.Value.Text(), s.opts.MaxValueBytes))
	default:
		a.Value.Str = clip(a.Value.Str, s.opts.MaxValueBytes)
	}
	return a
}

// clip cuts s to n bytes, not within a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

// contextKey is the key by which OpenTelemetry keeps a span in a context. It
// is not exported, so a context that notes what it is asked tells us.
var contextKey = func() any {
	p := &probe{Context: context.Background()}
	trace.SpanFromContext(p)
	return p.key
}()

type probe struct {
	context.Context
	key any
}

func (p *probe) Value(key any) any {
	p.key = key
	return nil
}
