package otelsdk_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// program is a series of calls to the OpenTelemetry API. It notes what the API
// answers, which must be the same whoever implements it.
type program func(p *probe)

// probe is what a program works with.
type probe struct {
	trace.Tracer
	provider trace.TracerProvider
	notes    []string
}

func (p *probe) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// state notes what a span says of itself.
func (p *probe) state(name string, sp trace.Span) {
	sc := sp.SpanContext()
	p.note("%s: recording %v, valid %v, flags %v, remote %v, state %q", name, sp.IsRecording(), sc.IsValid(), sc.TraceFlags(), sc.IsRemote(), sc.TraceState())
}

// seen is a span as both implementations can show it.
type seen struct {
	Name, Kind, Scope, Parent, Message string
	Failed                             bool
	Start, End                         int64 // 0 unless the program gave them
	Tags                               map[string]any
	Events                             []seenEvent
	Links                              []seenLink
	Dropped                            int
}

type seenEvent struct {
	Name string
	At   int64 // 0 unless the program gave it
	Tags map[string]any
}

type seenLink struct {
	Trace, Span string
	Tags        map[string]any
}

// noon is the time that programs give; what they do not give is later.
var noon = time.Date(2020, 1, 1, 12, 0, 0, 0, time.UTC)

func given(t time.Time) int64 {
	if t.Year() == noon.Year() {
		return t.UnixNano()
	}
	return 0
}

// remote is a parent in another process.
func remote(flags trace.TraceFlags, state string) trace.SpanContext {
	ts, err := trace.ParseTraceState(state)
	if err != nil {
		panic(err)
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1, 2}, SpanID: trace.SpanID{3}, TraceFlags: flags, TraceState: ts, Remote: true})
}

// bySDK runs a program on the SDK.
func bySDK(run program, sampler sdk.Sampler) ([]seen, []string) {
	recorder := tracetest.NewSpanRecorder()
	tp := sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder), sdk.WithSampler(sampler))
	p := &probe{Tracer: tp.Tracer("lib"), provider: tp}
	run(p)
	names := map[trace.SpanID]string{}
	for _, sp := range recorder.Ended() {
		names[sp.SpanContext().SpanID()] = sp.Name()
	}
	var out []seen
	for _, sp := range recorder.Ended() {
		s := seen{
			Name: sp.Name(), Kind: sp.SpanKind().String(), Scope: sp.InstrumentationScope().Name, Parent: parentName(names, sp.Parent().SpanID()),
			Failed: sp.Status().Code == codes.Error, Message: sp.Status().Description, Start: given(sp.StartTime()), End: given(sp.EndTime()),
			Tags: values(sp.Attributes()), Dropped: sp.DroppedAttributes() + sp.DroppedEvents() + sp.DroppedLinks(),
		}
		for _, e := range sp.Events() {
			s.Events = append(s.Events, seenEvent{e.Name, given(e.Time), values(e.Attributes)})
			s.Dropped += e.DroppedAttributeCount
		}
		for _, l := range sp.Links() {
			s.Links = append(s.Links, seenLink{l.SpanContext.TraceID().String(), l.SpanContext.SpanID().String(), values(l.Attributes)})
			s.Dropped += l.DroppedAttributeCount
		}
		out = append(out, s)
	}
	return sorted(out), p.notes
}

func parentName(names map[trace.SpanID]string, id trace.SpanID) string {
	if name, ours := names[id]; ours || !id.IsValid() {
		return name
	}
	return id.String()
}

// byStore runs it on ours.
func byStore(t *testing.T, run program, sampler tracing.Sampler) ([]seen, []string) {
	store, err := tracing.New(tracing.Options{Sampler: sampler})
	if err != nil {
		t.Fatal(err)
	}
	tp := store.TracerProvider()
	p := &probe{Tracer: tp.Tracer("lib"), provider: tp}
	run(p)
	page, err := store.Find(tracing.Query{Limit: 1000, Spans: true})
	if err != nil {
		t.Fatal(err)
	}
	var out []seen
	names := map[trace.SpanID]string{}
	for _, tr := range page.Traces {
		for _, sp := range tr.Spans {
			id, err := trace.SpanIDFromHex(sp.SpanID)
			if err != nil {
				t.Fatal(err)
			}
			names[id] = sp.OperationName
		}
	}
	for _, tr := range page.Traces {
		for _, sp := range tr.Spans {
			if sp.Duration == nil {
				t.Errorf("%s still runs", sp.OperationName)
			}
			s := seen{
				Name: sp.OperationName, Kind: sp.Kind, Scope: sp.Scope, Message: sp.StatusMessage, Failed: sp.Status == "error",
				Start: given(time.Unix(0, int64(sp.StartUnixNano)).UTC()), End: given(sp.EndTime.Time.UTC()), Tags: sp.Tags, Dropped: int(sp.Dropped.Value()),
			}
			if sp.ParentSpanID != nil {
				id, err := trace.SpanIDFromHex(*sp.ParentSpanID)
				if err != nil {
					t.Fatal(err)
				}
				s.Parent = parentName(names, id)
			}
			for _, l := range sp.Logs {
				s.Events = append(s.Events, seenEvent{l.Message, given(l.Timestamp.Time.UTC()), l.Fields})
			}
			for _, l := range sp.Links {
				s.Links = append(s.Links, seenLink{l.TraceID, l.SpanID, orEmpty(l.Tags)})
			}
			out = append(out, s)
		}
	}
	return sorted(out), p.notes
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

func sorted(s []seen) []seen {
	slices.SortStableFunc(s, func(a, b seen) int { return strings.Compare(a.Name, b.Name) })
	return s
}

// values are attributes in the form of our API.
func values(kvs []attribute.KeyValue) map[string]any {
	m := map[string]any{}
	for _, kv := range kvs {
		m[string(kv.Key)] = plain(kv.Value)
	}
	return m
}

func plain(v attribute.Value) any {
	switch v.Type() {
	case attribute.BOOLSLICE, attribute.INT64SLICE, attribute.FLOAT64SLICE, attribute.STRINGSLICE:
		r := reflect.ValueOf(v.AsInterface())
		out := make([]any, r.Len())
		for i := range out {
			out[i] = r.Index(i).Interface()
		}
		return out
	case attribute.SLICE:
		out := []any{}
		for _, item := range v.AsSlice() {
			out = append(out, plain(item))
		}
		return out
	case attribute.MAP:
		return values(v.AsMap())
	case attribute.BYTESLICE, attribute.FLOAT64:
		if f := v.AsFloat64(); v.Type() == attribute.FLOAT64 && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
		return v.Emit()
	default:
		return v.AsInterface()
	}
}

// same runs the program on both and compares.
func same(t *testing.T, run program, theirs sdk.Sampler, ours tracing.Sampler) {
	t.Helper()
	want, wantNotes := bySDK(run, theirs)
	got, gotNotes := byStore(t, run, ours)
	if !slices.Equal(gotNotes, wantNotes) {
		t.Errorf("the API answers\n%s\nwant\n%s", strings.Join(gotNotes, "\n"), strings.Join(wantNotes, "\n"))
	}
	if len(got) != len(want) {
		t.Fatalf("%d spans, want %d: %+v", len(got), len(want), got)
	}
	for i := range got {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("span\n%+v\nwant\n%+v", got[i], want[i])
		}
	}
}

// TestSameSpans runs programs on the SDK and on our provider: the same calls
// make the same spans.
func TestSameSpans(t *testing.T) {
	for name, run := range programs {
		t.Run(name, func(t *testing.T) { same(t, run, sdk.ParentBased(sdk.AlwaysSample()), nil) })
	}
}

// TestSameStatus sets every series of up to three statuses.
func TestSameStatus(t *testing.T) {
	type step struct {
		code codes.Code
		text string
	}
	steps := []step{{codes.Unset, "x"}, {codes.Ok, "fine"}, {codes.Error, "a"}, {codes.Error, "b"}, {codes.Error, ""}}
	var series func(n int, f func([]step))
	series = func(n int, f func([]step)) {
		f(nil)
		if n == 0 {
			return
		}
		series(n-1, func(rest []step) {
			for _, s := range steps {
				f(append(slices.Clip(rest), s))
			}
		})
	}
	series(3, func(s []step) {
		same(t, func(p *probe) {
			_, sp := p.Start(context.Background(), fmt.Sprint(s))
			for _, one := range s {
				sp.SetStatus(one.code, one.text)
			}
			sp.End()
			sp.SetStatus(codes.Error, "late")
		}, sdk.AlwaysSample(), tracing.Always())
	})
}

// TestSameSamples asks each sampler under each kind of parent.
func TestSameSamples(t *testing.T) {
	parents := map[string]context.Context{
		"no parent":        context.Background(),
		"sampled remote":   trace.ContextWithRemoteSpanContext(context.Background(), remote(trace.FlagsSampled, "v=1")),
		"unsampled remote": trace.ContextWithRemoteSpanContext(context.Background(), remote(0, "v=1")),
		"sampled local":    trace.ContextWithSpanContext(context.Background(), remote(trace.FlagsSampled, "").WithRemote(false)),
		"unsampled local":  trace.ContextWithSpanContext(context.Background(), remote(0, "").WithRemote(false)),
		"no span id":       trace.ContextWithSpanContext(context.Background(), remote(trace.FlagsSampled, "v=1").WithSpanID(trace.SpanID{})),
	}
	for _, tt := range []struct {
		name   string
		theirs sdk.Sampler
		ours   tracing.Sampler
	}{
		{"always", sdk.AlwaysSample(), tracing.Always()},
		{"never", sdk.NeverSample(), tracing.Never()},
		{"ratio 0", sdk.TraceIDRatioBased(0), tracing.Ratio(0)},
		{"ratio 1", sdk.TraceIDRatioBased(1), tracing.Ratio(1)},
		{"parent based, always", sdk.ParentBased(sdk.AlwaysSample()), tracing.ParentBased(tracing.Always())},
		{"parent based, never", sdk.ParentBased(sdk.NeverSample()), tracing.ParentBased(tracing.Never())},
	} {
		for parent, ctx := range parents {
			t.Run(tt.name+", "+parent, func(t *testing.T) {
				same(t, func(p *probe) {
					ctx, sp := p.Start(ctx, "parent")
					p.state("parent", sp)
					_, child := p.Start(ctx, "child")
					p.state("child", child)
					child.End()
					sp.End()
				}, tt.theirs, tt.ours)
			})
		}
	}
	for i := range 1000 { // the same traces, whatever the share
		id, share := trace.TraceID{8: byte(i * 7), 9: byte(i)}, float64(i%10)/10
		theirs := sdk.TraceIDRatioBased(share).ShouldSample(sdk.SamplingParameters{ParentContext: context.Background(), TraceID: id})
		if ours := tracing.Ratio(share)(tracing.Sampling{TraceID: id}); ours != (theirs.Decision == sdk.RecordAndSample) {
			t.Errorf("share %v of %s: %v", share, id, ours)
		}
	}
}

var errBase = errors.New("base")

var programs = map[string]program{
	"start options": func(p *probe) {
		ctx, sp := p.Start(context.Background(), "server", trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(noon),
			trace.WithAttributes(attribute.String("a", "1")), trace.WithAttributes(attribute.String("b", "2")),
			trace.WithLinks(trace.Link{SpanContext: remote(trace.FlagsSampled, "x=y"), Attributes: []attribute.KeyValue{attribute.Int("n", 1)}}))
		p.state("server", sp)
		p.note("%v", sp.TracerProvider() == p.provider)
		p.note("%v", trace.SpanFromContext(ctx) == sp)
		sp.End(trace.WithTimestamp(noon.Add(time.Second)))
		for kind := trace.SpanKind(0); kind < 9; kind++ {
			_, sp := p.Start(ctx, fmt.Sprint("kind ", int(kind)), trace.WithSpanKind(kind))
			sp.End()
		}
		_, other := p.provider.Tracer("other", trace.WithInstrumentationVersion("1")).Start(ctx, "of another scope")
		other.End()
	},
	"no context": func(p *probe) {
		ctx, sp := p.Start(nil, "x") //nolint:staticcheck // the SDK takes it too
		p.note("%v", ctx != nil && ctx.Err() == nil)
		sp.End()
	},
	"attributes": func(p *probe) {
		_, sp := p.Start(context.Background(), "x")
		sp.SetAttributes(attribute.String("s", "text"), attribute.Int("i", -5), attribute.Int64("big", math.MaxInt64), attribute.Bool("t", true), attribute.Bool("f", false),
			attribute.Float64("x", 1.25), attribute.Float64("nan", math.NaN()), attribute.Float64("inf", math.Inf(-1)),
			attribute.StringSlice("ss", []string{"a", ""}), attribute.IntSlice("is", []int{1, 2}), attribute.BoolSlice("bs", []bool{true}),
			attribute.Float64Slice("fs", []float64{0.5}), attribute.StringSlice("none", nil), attribute.ByteSlice("bytes", []byte{0, 1, 255}),
			attribute.Map("m", attribute.Int("k", 1), attribute.Map("in", attribute.Bool("b", true))),
			attribute.Slice("mixed", attribute.IntValue(1), attribute.StringValue("two")), attribute.String("", "no key"), attribute.KeyValue{Key: "empty"})
		sp.SetAttributes()
		sp.SetAttributes(attribute.Int("s", 7), attribute.String("i", "was a number"))
		sp.SetAttributes(attribute.String("dup", "first"), attribute.String("dup", "second"))
		sp.End()
	},
	"names": func(p *probe) {
		_, sp := p.Start(context.Background(), "")
		sp.End()
		_, sp = p.Start(context.Background(), "before")
		sp.SetName("after")
		sp.SetName("a name with \x00 and ü")
		sp.End()
		sp.SetName("late")
	},
	"events": func(p *probe) {
		_, sp := p.Start(context.Background(), "x")
		sp.AddEvent("plain")
		sp.AddEvent("full", trace.WithTimestamp(noon), trace.WithAttributes(attribute.String("k", "v"), attribute.Int("n", 1)))
		sp.AddEvent("")
		sp.AddEvent("twice", trace.WithAttributes(attribute.Int("k", 1), attribute.Int("k", 2)))
		sp.End()
		sp.AddEvent("late")
	},
	"errors": func(p *probe) {
		_, sp := p.Start(context.Background(), "x")
		sp.RecordError(nil)
		sp.RecordError(errBase)
		sp.RecordError(fmt.Errorf("wrapped: %w", errBase), trace.WithTimestamp(noon), trace.WithAttributes(attribute.String("more", "1")))
		sp.RecordError(typed{})
		sp.RecordError(&typed{}, trace.WithAttributes(attribute.String("exception.message", "lost")))
		p.note("%v", sp.IsRecording())
		sp.End()
		sp.RecordError(errBase)
	},
	"links": func(p *probe) {
		_, sp := p.Start(context.Background(), "x")
		sp.AddLink(trace.Link{})
		sp.AddLink(trace.Link{SpanContext: remote(0, "")})
		sp.AddLink(trace.Link{Attributes: []attribute.KeyValue{attribute.Int("only", 1)}})
		sp.AddLink(trace.Link{SpanContext: trace.SpanContext{}.WithTraceState(remote(0, "only=state").TraceState())})
		sp.End()
		sp.AddLink(trace.Link{SpanContext: remote(0, "")})
	},
	"parents": func(p *probe) {
		ctx, a := p.Start(context.Background(), "a")
		actx := ctx
		ctx, b := p.Start(ctx, "b")
		_, c := p.Start(ctx, "c")
		_, d := p.Start(actx, "d", trace.WithSpanKind(trace.SpanKindProducer))
		rctx, root := p.Start(ctx, "new root", trace.WithNewRoot())
		_, under := p.Start(rctx, "under it")
		for name, sp := range map[string]trace.Span{"b": b, "c": c, "d": d} {
			p.note("%v", name != "" && sp.SpanContext().TraceID() == a.SpanContext().TraceID())
		}
		p.note("%v %v", root.SpanContext().TraceID() == a.SpanContext().TraceID(), under.SpanContext().TraceID() == root.SpanContext().TraceID())
		for _, sp := range []trace.Span{c, a, d, under, root, b} { // not in the order of their starts
			sp.End()
		}
		_, late := p.Start(ctx, "below one that has ended")
		p.note("%v", late.SpanContext().TraceID() == a.SpanContext().TraceID())
		late.End()
	},
	"remote parents": func(p *probe) {
		for _, flags := range []trace.TraceFlags{0, 1, 2, 3} {
			ctx, sp := p.Start(trace.ContextWithRemoteSpanContext(context.Background(), remote(flags, "a=1,b=2")), fmt.Sprint("flags ", flags))
			p.state("remote", sp)
			p.note("%v", sp.SpanContext().TraceID())
			_, child := p.Start(ctx, fmt.Sprint("child ", flags))
			p.state("child", child)
			_, fresh := p.Start(ctx, fmt.Sprint("new root ", flags), trace.WithNewRoot())
			p.state("new root", fresh)
			fresh.End()
			child.End()
			sp.End()
		}
	},
	"after the end": func(p *probe) {
		_, sp := p.Start(context.Background(), "x")
		before := sp.SpanContext()
		sp.SetAttributes(attribute.Int("kept", 1))
		sp.End()
		p.state("ended", sp)
		sp.End(trace.WithTimestamp(noon))
		sp.SetAttributes(attribute.Int("late", 1))
		p.note("%v", sp.SpanContext().Equal(before))
	},
	"end before start": func(p *probe) {
		_, sp := p.Start(context.Background(), "x", trace.WithTimestamp(noon))
		sp.End(trace.WithTimestamp(noon.Add(-time.Hour)))
	},
	"panic": func(p *probe) {
		for _, reason := range []any{errBase, "text", 5} {
			func() {
				defer func() { p.note("%v", recover()) }()
				_, sp := p.Start(context.Background(), fmt.Sprint("x ", reason))
				defer sp.End()
				panic(reason)
			}()
		}
	},
	"attribute limit": func(p *probe) {
		_, sp := p.Start(context.Background(), "x")
		for i := range 140 {
			sp.SetAttributes(attribute.Int(fmt.Sprint("k", i), i))
		}
		sp.SetAttributes(attribute.Int("k5", -5), attribute.Int("beyond", 1), attribute.Int("k6", -6))
		sp.End()
		_, sp = p.Start(context.Background(), "y", trace.WithAttributes(many(130)...))
		sp.End()
	},
	"event and link limits": func(p *probe) {
		_, sp := p.Start(context.Background(), "x")
		for i := range 150 {
			sp.AddEvent(fmt.Sprint("event ", i))
			sp.SetAttributes(attribute.Int("i", i))
			sp.AddLink(trace.Link{SpanContext: remote(0, ""), Attributes: []attribute.KeyValue{attribute.Int("n", i)}})
		}
		sp.End()
		_, sp = p.Start(context.Background(), "y")
		sp.AddEvent("many", trace.WithAttributes(many(200)...))
		sp.AddLink(trace.Link{SpanContext: remote(0, ""), Attributes: many(129)})
		sp.End()
	},
}

type typed struct{}

func (typed) Error() string { return "typed" }

func many(n int) []attribute.KeyValue {
	kvs := make([]attribute.KeyValue, n)
	for i := range kvs {
		kvs[i] = attribute.Int(fmt.Sprint("k", i), i)
	}
	return kvs
}

// Every series of a few calls, chosen at random but alike for both, on a few
// spans and contexts.
func FuzzSameSpans(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09"))
	f.Add([]byte("\x00\x00\x00\x06\x16\x26\x36\x01\x11\x21\x31\x41\x51\x05\x15"))
	f.Fuzz(func(t *testing.T, calls []byte) {
		same(t, func(p *probe) { p.perform(calls[:min(len(calls), 200)]) }, sdk.ParentBased(sdk.AlwaysSample()), nil)
	})
}

// perform makes one call a byte: the low half says which, the high half on what.
func (p *probe) perform(calls []byte) {
	ctxs, spans := []context.Context{context.Background(), trace.ContextWithRemoteSpanContext(context.Background(), remote(1, "a=b"))}, []trace.Span{}
	for i, c := range calls {
		on := int(c >> 4)
		if c&15 < 3 || len(spans) == 0 {
			var opts []trace.SpanStartOption
			if c&15 == 2 {
				opts = append(opts, trace.WithNewRoot(), trace.WithAttributes(attribute.Int("at start", i)))
			}
			ctx, sp := p.Start(ctxs[on%len(ctxs)], fmt.Sprintf("span %03d", len(spans)), opts...)
			ctxs, spans = append(ctxs, ctx), append(spans, sp)
			continue
		}
		sp := spans[on%len(spans)]
		switch c & 15 {
		case 3, 4:
			sp.SetAttributes(attribute.Int(fmt.Sprint("k", on%5), i), attribute.String("text", strings.Repeat("x", i)))
		case 5:
			sp.AddEvent(fmt.Sprint("event ", i), trace.WithTimestamp(noon), trace.WithAttributes(attribute.Int("i", i)))
		case 6, 7:
			sp.End(trace.WithTimestamp(noon.Add(time.Duration(i))))
		case 8:
			sp.SetStatus(codes.Code(on%3), fmt.Sprint("status ", i))
		case 9:
			sp.RecordError(fmt.Errorf("error %d", i))
		case 10:
			sp.AddLink(trace.Link{SpanContext: remote(1, "")})
		case 11:
			sp.SetName(fmt.Sprintf("span %03d again", i))
		default:
			p.state("span", sp)
		}
	}
	for _, sp := range slices.Backward(spans) {
		sp.End()
	}
}
