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
	TraceID TraceID           // of a root; zero means a new one
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
	if kind > trace.SpanKindConsumer {
		kind = trace.SpanKindInternal
	}
	from := o.parentIn(ctx)
	root, fresh := from.complete(o)
	if !s.sample(&from, root, name, kind) {
		return s.silentSpan(ctx, &from)
	}
	a, begun, entered := s.rejoin(from.local, from.id), int64(0), false
	if a == nil {
		a, entered = s.enter(&from, fresh, o.now()), true
		begun = a.base
	}
	switch {
	case !o.Time.IsZero():
		begun = o.Time.UnixNano()
	case begun == 0 || a.open > 0:
		begun = a.now()
	}
	if a.landed+len(a.spans)+a.open >= s.opts.MaxSpans {
		a.mu.Unlock()
		s.dropped[overLimit].Add(1)
		from.flags |= trace.FlagsSampled
		return s.silentSpan(ctx, &from)
	}
	sp := a.handle()
	sp.Context, sp.id, sp.own, sp.state, sp.flags = ctx, from.id, NewSpanID(), from.state, from.flags|trace.FlagsSampled
	sl := a.take()
	sl.begin(sp, from.span, name, kind, begun)
	sl.scope = a.scopeIndex(o.Scope)
	for i := range o.Attrs {
		sl.set(&o.Attrs[i])
	}
	if o.RequestID != "" || o.UserID != "" || len(o.Metadata) > 0 {
		a.describe(o.RequestID, o.UserID, o.Metadata)
	}
	a.unlock()
	for _, l := range o.Links {
		sp.AddLink(l)
	}
	if entered {
		s.limitActive()
	}
	return sp
}

// complete gives a span without a parent its trace. It says whether the span is
// a root, and whether its trace's id is in no other's hands.
func (from *origin) complete(o *StartOptions) (root, fresh bool) {
	root = !from.id.IsValid() || !from.span.IsValid()
	if root {
		from.local, from.span = nil, SpanID{}
	}
	if !from.id.IsValid() {
		from.id = o.TraceID
		if fresh = !from.id.IsValid(); fresh {
			from.id = NewTraceID()
		}
	}
	return root, fresh
}

// silentSpan returns a span that records nothing.
func (s *Store) silentSpan(ctx context.Context, from *origin) *span {
	return &span{Context: ctx, slot: &s.silent, id: from.id, own: NewSpanID(), state: from.state, flags: from.flags}
}

const maxName = 1024 // bytes of a span's name

// now returns when a trace begins that its span starts: by the span's own time
// if a clock told it, which saves to ask the clock again.
func (o *StartOptions) now() time.Time {
	if o.Time != o.Time.Round(0) { // it has a reading of the monotonic clock
		return o.Time
	}
	return time.Now()
}

// origin is what a span inherits.
type origin struct {
	id     TraceID // zero for a root
	span   SpanID
	flags  trace.TraceFlags // without sampled
	remote bool
	wanted bool // its parent is sampled
	state  *trace.TraceState
	local  *span // the parent if it is ours
}

// sample asks the sampler; the usual case needs none.
func (s *Store) sample(from *origin, root bool, name string, kind trace.SpanKind) bool {
	if s.opts.Sampler == nil {
		return root || from.wanted
	}
	o := Sampling{TraceID: from.id, Name: name, Kind: kind}
	if !root {
		o.Parent = from.spanContext()
	}
	return s.opts.Sampler(o)
}

func (from *origin) spanContext() trace.SpanContext {
	c := trace.SpanContextConfig{TraceID: from.id, SpanID: from.span, TraceFlags: from.flags, Remote: from.remote}
	if from.wanted {
		c.TraceFlags |= trace.FlagsSampled
	}
	if from.state != nil {
		c.TraceState = *from.state
	}
	return trace.NewSpanContext(c)
}

// parentIn returns what the span inherits, by the options or the context.
func (o *StartOptions) parentIn(ctx context.Context) origin {
	switch {
	case o.Remote.IsValid():
		return foreignOrigin(&o.Remote)
	case o.NewRoot:
		return origin{}
	}
	sp, ours := ctx.(*span)
	if !ours {
		v := ctx.Value(contextKey)
		if sp, ours = v.(*span); !ours {
			if other, found := v.(trace.Span); found {
				sc := other.SpanContext()
				return foreignOrigin(&sc)
			}
			return origin{}
		}
	}
	return origin{
		id: sp.id, span: sp.own, flags: sp.flags &^ trace.FlagsSampled, wanted: sp.flags.IsSampled(), state: sp.state, local: sp,
	}
}

func foreignOrigin(sc *trace.SpanContext) origin {
	from := origin{
		id: sc.TraceID(), span: sc.SpanID(), flags: sc.TraceFlags() &^ trace.FlagsSampled, wanted: sc.IsSampled(), remote: sc.IsRemote(),
	}
	if state := sc.TraceState(); state.Len() > 0 {
		from.state = keepState(state)
	}
	return from
}

// keepState is apart so that a span without a state allocates none.
func keepState(s trace.TraceState) *trace.TraceState { return &s }

// rejoin returns the trace that parent runs or ran in, locked, if it is active
// still and ours.
func (s *Store) rejoin(parent *span, id TraceID) *active {
	if parent == nil || parent.gen == 0 || parent.a.store != s {
		return nil
	}
	if r := (activeRef{parent.a, id}); r.lock() {
		return r.a
	}
	return nil
}

// scopeIndex returns the place of a scope among the trace's. A trace has at
// most 65,535; those beyond count as the last.
func (a *active) scopeIndex(name string) uint16 {
	for i := range a.scopes {
		if a.scopes[i] == name {
			return uint16(i)
		}
	}
	if len(a.scopes) < 1<<16-1 {
		a.scopes = append(a.scopes, name)
		a.use(int64(16 + len(name)))
	}
	return uint16(len(a.scopes) - 1)
}

// describe puts the request's own facts on its trace. The caller holds mu.
func (a *active) describe(requestID, userID string, metadata []attribute.KeyValue) {
	before := len(a.requestID) + len(a.userID)
	if requestID != "" {
		a.requestID = clip(requestID, 128)
	}
	if userID != "" {
		a.userID = clip(userID, 256)
	}
	a.use(int64(len(a.requestID) + len(a.userID) - before))
	before = len(a.metadata)
	for i := range metadata[:min(len(metadata), 32, maxFacts-a.facts)] {
		if kv := &metadata[i]; kv.Value.Type() == attribute.STRING {
			key := clip(string(kv.Key), maxName)
			a.metadata = otlp.AppendTextAttr(a.metadata, noteMetadata, key, a.store.text(key, kv.Value.AsString()))
		} else {
			a.metadata = otlp.AppendAttr(a.metadata, noteMetadata, a.store.attr(kv))
		}
		a.facts++
	}
	a.use(int64(len(a.metadata) - before))
}

// maxFacts is how many attributes a trace has beside those of its spans.
const maxFacts = 128

// Describe is [Span.Describe] for ctx's span. Without one it does nothing.
func (s *Store) Describe(ctx context.Context, requestID, userID string, metadata ...attribute.KeyValue) {
	if sp, found := ctx.Value(contextKey).(*span); found && sp.a.store == s {
		if sp.lock() {
			sp.a.describe(requestID, userID, metadata)
			sp.a.unlock()
		}
	}
}

// attr converts an attribute, masked and cut to the limits.
func (s *Store) attr(kv *attribute.KeyValue) otlp.KeyValue {
	key := clip(string(kv.Key), maxName)
	if kv.Value.Type() == attribute.STRING {
		return otlp.KeyValue{Key: key, Value: otlp.String(s.text(key, kv.Value.AsString()))}
	}
	return s.fit(otlp.KeyValue{Key: key, Value: value(kv.Value)})
}

// fit masks a secret of this process and cuts a long text, which it counts.
func (s *Store) fit(a otlp.KeyValue) otlp.KeyValue {
	if s.veil(&a) {
		s.truncated.Add(1)
	}
	return a
}

// text is fit for text.
func (s *Store) text(key, v string) string {
	if len(v) <= s.opts.MaxValueBytes && s.masker.lookup(key).plain() {
		return v
	}
	return s.fit(otlp.KeyValue{Key: key, Value: otlp.String(v)}).Value.Str // text stays text
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
