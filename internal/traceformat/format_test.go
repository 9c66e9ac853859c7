package traceformat_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/internal/traceformat"
)

// maker makes spans with everything that OTLP can say, and what is hard to say
// elsewhere.
type maker struct{ *rand.Rand }

func (m maker) id(b []byte) {
	for i := range b {
		b[i] = byte(m.Uint32())
	}
	b[len(b)-1] |= 1
}

func (m maker) text() string {
	return []string{"", "a", "GET /priority/{id}", "ünïcode ☃", "true", "12", "1.5", `{"a":1}`, "line\nbreak", "<&>\u2028", "\x00\x1b[2J"}[m.IntN(11)]
}

var awkwardKeys = []string{
	"http.method", "error", "span.kind", "otel.status_code", "otel.scope.name", "w3c.tracestate", "event", "message", "peer.service", "",
	"pulsectl.otlp.types", "pulsectl.otlp.start_unix_nano", "otel.dropped_attributes_count", "service.name", "a.b", "otlp", "pulsectl.request_id",
}

func (m maker) attrs() (out []otlp.KeyValue) {
	keys := slices.Clone(awkwardKeys)
	m.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	for _, k := range keys[:m.IntN(6)] {
		out = append(out, otlp.KeyValue{Key: k, Value: m.value(3)})
	}
	return out
}

func (m maker) value(depth int) otlp.Value {
	switch n := m.IntN(11); {
	case n == 0:
		return otlp.Int([]int64{0, 1, -1, math.MaxInt64, math.MinInt64, 1 << 53}[m.IntN(6)])
	case n == 1:
		return otlp.Float([]float64{0, 1, -1.5, 1e300, math.Inf(1), math.Inf(-1), math.NaN(), math.Copysign(0, -1), 5e-324, 1 << 60}[m.IntN(10)])
	case n == 2:
		return otlp.Bool(m.IntN(2) == 0)
	case n == 3:
		return otlp.Bytes("\x00\xff\x80bytes")
	case n == 4:
		return otlp.Value{}
	case n == 5 && depth > 0:
		return otlp.Array(m.value(depth-1), m.value(depth-1))
	case n == 6 && depth > 0:
		return otlp.Map(otlp.KeyValue{Key: "z", Value: m.value(depth - 1)}, otlp.KeyValue{Key: "a", Value: m.value(depth - 1)})
	case n == 7:
		return otlp.Array()
	case n == 8:
		return otlp.Map()
	}
	return otlp.String(m.text())
}

func (m maker) data() traceformat.Data {
	var d traceformat.Data
	var traces [2][16]byte
	var ids [5][8]byte
	for i := range traces {
		m.id(traces[i][:])
	}
	for i := range ids {
		m.id(ids[i][:])
	}
	copy(ids[4][:4], make([]byte, 4)) // one with leading zeros
	for range 1 + m.IntN(3) {
		b := traceformat.Batch{
			Resource: otlp.Resource{Attrs: m.attrs(), Dropped: uint32(m.IntN(2))},
			Scope:    otlp.Scope{Name: m.text(), Version: m.text(), Attrs: m.attrs(), Dropped: uint32(m.IntN(2))},
		}
		if b.Scope.Name == "" {
			b.Scope.Version = ""
		}
		for range 1 + m.IntN(4) {
			b.Spans = append(b.Spans, m.span(traces[m.IntN(2)], ids[:]))
		}
		d = append(d, b)
	}
	return d
}

func (m maker) span(trace [16]byte, ids [][8]byte) otlp.Span {
	s := otlp.Span{
		TraceID: trace, SpanID: ids[m.IntN(5)], TraceState: []string{"", "a=1,b=2"}[m.IntN(2)], Flags: []uint32{0, 1, 0x101, 0x302}[m.IntN(4)],
		Name: m.text(), Kind: int32(m.IntN(6)), Start: 1_700_000_000_000_000_000 + m.Uint64N(1e12), Attrs: m.attrs(),
		DroppedAttrs: uint32(m.IntN(2)), DroppedEvents: uint32(m.IntN(2)), DroppedLinks: uint32(m.IntN(2)),
		Status: int32(m.IntN(3)), StatusMessage: m.text(),
	}
	s.End = s.Start + []uint64{0, 1, 999, 1000, 123_456_789}[m.IntN(5)]
	switch m.IntN(8) {
	case 0:
		s.End = 0 // it runs
	case 1:
		s.Start, s.End = s.End, s.Start
	case 2:
		s.Start -= s.Start % 1000
		s.End = s.Start + 5000
	}
	if m.IntN(3) > 0 {
		s.ParentID = ids[m.IntN(5)]
	}
	for range m.IntN(3) {
		s.Events = append(s.Events, otlp.Event{Time: s.Start + m.Uint64N(3000), Name: m.text(), Attrs: m.attrs(), Dropped: uint32(m.IntN(2))})
	}
	for range m.IntN(3) {
		l := otlp.Link{TraceID: trace, SpanID: ids[m.IntN(5)], TraceState: []string{"", "c=3"}[m.IntN(2)], Flags: uint32(m.IntN(2)), Attrs: m.attrs(), Dropped: uint32(m.IntN(2))}
		if m.IntN(2) == 0 {
			m.id(l.TraceID[:])
		}
		s.Links = append(s.Links, l)
	}
	return s
}

// flat is a span with its resource and scope, to compare with.
type flat struct {
	Span     otlp.Span
	Resource otlp.Resource
	Scope    otlp.Scope
}

// flatten lists all spans in an order of their own, with attributes by name.
func flatten(d traceformat.Data) (out []flat) {
	sorted := func(attrs []otlp.KeyValue) []otlp.KeyValue {
		attrs = slices.Clone(attrs)
		slices.SortFunc(attrs, func(a, b otlp.KeyValue) int { return strings.Compare(a.Key, b.Key) })
		return attrs
	}
	for _, b := range d {
		for _, s := range b.Spans {
			f := flat{s, b.Resource, b.Scope}
			f.Resource.Service, f.Resource.Ordinal, f.Span.Raw, f.Span.Cropped = "", 0, nil, false
			f.Span.Attrs, f.Resource.Attrs, f.Scope.Attrs = sorted(s.Attrs), sorted(b.Resource.Attrs), sorted(b.Scope.Attrs)
			f.Span.Events, f.Span.Links = slices.Clone(s.Events), slices.Clone(s.Links)
			for i := range f.Span.Events {
				f.Span.Events[i].Attrs = sorted(s.Events[i].Attrs)
			}
			for i := range f.Span.Links {
				f.Span.Links[i].Attrs = sorted(s.Links[i].Attrs)
			}
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b flat) int { return cmp.Compare(fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", b)) })
	return out
}

var same = gocmp.Options{cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(otlp.Span{}), cmpopts.IgnoreFields(otlp.Span{}, "Raw", "Cropped")}

// difference tells how two differ, "" if they do not. Most are equal, and known
// to be by their printed form in a hundredth of the time.
func difference(want, got traceformat.Data) string {
	a, b := flatten(want), flatten(got)
	if fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b) {
		return ""
	}
	return gocmp.Diff(a, b, same)
}

// What is written in any format reads back equal, whichever of them it went
// through before.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(80) {
		want := maker{rand.New(rand.NewPCG(seed, 7))}.data()
		for _, f := range traceformat.Written {
			b, err := traceformat.Write(f, want)
			if err != nil {
				t.Fatal(err)
			}
			got, detected, err := traceformat.Read(b)
			if err != nil || detected != f {
				t.Fatalf("seed %d: %s read as %q: %v\n%s", seed, f, detected, err, b)
			}
			if diff := difference(want, got); diff != "" {
				t.Fatalf("seed %d, %s (-written +read):\n%s\n%s", seed, f, diff, b)
			}
		}
	}
}

// The Collector's library reads our OTLP/JSON as what it is, and we its own.
func TestOTLPAgainstTheLibrary(t *testing.T) {
	for seed := range uint64(40) {
		want := maker{rand.New(rand.NewPCG(seed, 11))}.data()
		j, err := traceformat.Write(traceformat.OTLP, want)
		if err != nil {
			t.Fatal(err)
		}
		var in ptrace.JSONUnmarshaler
		traces, err := in.UnmarshalTraces(j)
		if err != nil {
			t.Fatalf("seed %d: the library: %v\n%s", seed, err, j)
		}
		var pb ptrace.ProtoMarshaler
		b, err := pb.MarshalTraces(traces)
		if err != nil {
			t.Fatal(err)
		}
		var js ptrace.JSONMarshaler
		theirs, err := js.MarshalTraces(traces)
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range [][]byte{b, theirs} {
			got, _, err := traceformat.Read(form)
			if err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, form)
			}
			if diff := difference(want, got); diff != "" {
				t.Fatalf("seed %d (-written +through the library):\n%s", seed, diff)
			}
		}
	}
}

// A file of several documents, one gzipped, one with a byte order mark.
func TestReadWrapped(t *testing.T) {
	d := maker{rand.New(rand.NewPCG(1, 1))}.data()
	one, err := traceformat.Write(traceformat.OTLP, d)
	if err != nil {
		t.Fatal(err)
	}
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	zw.Write(bytes.Repeat(one, 3))
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string][]byte{"gzip": z.Bytes(), "lines": bytes.Repeat(one, 3), "mark": append([]byte("\xef\xbb\xbf"), bytes.Repeat(one, 3)...)} {
		got, f, err := traceformat.Read(in)
		if err != nil || f != traceformat.OTLP || got.Spans() != 3*d.Spans() || len(got.TraceIDs()) != len(d.TraceIDs()) {
			t.Errorf("%s: %d spans of %d traces as %s, %v; want %d of %d", name, got.Spans(), len(got.TraceIDs()), f, err, 3*d.Spans(), len(d.TraceIDs()))
		}
	}
}

// Errors say what is wrong and where.
func TestReadErrors(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", " \n", "it is empty"},
		{"cut off", "{\n \"resourceSpans\": [\n  {]", "line 3, column 4"},
		{"other JSON", `{"hello":1}`, "neither OTLP (resourceSpans)"},
		{"a list of other things", `[1]`, "neither OTLP"},
		{"text", "hello", "neither JSON nor OTLP in protobuf"},
		{"two kinds", `{"resourceSpans":[]}` + "\n[]", "zipkin after otlp in one file"},
		{"OTLP trace id", `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"12","spanId":"0000000000000001"}]}]}]}`,
			`resourceSpans[0].scopeSpans[0].spans[0].traceId: want 32 hex digits, got the text "12"`},
		{"OTLP time", `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000001","startTimeUnixNano":-1}]}]}]}`,
			"spans[0].startTimeUnixNano: want a whole number of 0 or more, got the number -1"},
		{"OTLP kind", `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000001","kind":9}]}]}]}`,
			"kind: want 0 to 5"},
		{"Jaeger process", `{"data":[{"spans":[{"traceID":"1","spanID":"1","processID":"p9"}],"processes":{}}]}`, "data[0].spans[0].processID: there is no such process"},
		{"Jaeger tag", `{"data":[{"spans":[{"traceID":"1","spanID":"1","processID":"p1","tags":[{"key":"a","type":"int64","value":"x"}]}],"processes":{"p1":{"serviceName":"a"}}}]}`,
			`data[0].spans[0].tags[0].value: want a whole number, got the text "x"`},
		{"Jaeger spans", `{"data":[{"spans":7}]}`, "data[0].spans: want a list, got the number 7"},
		{"Zipkin id", `[{"traceId":"xyz","id":"1"}]`, `[0].traceId: want hex digits, got the text "xyz"`},
		{"Zipkin time", `[{"traceId":"1","id":"1","timestamp":99999999999999999999}]`, "[0].timestamp: want a whole number of 0 or more"},
		{"Chrome time", `{"traceEvents":[{"ph":"X","name":"a","ts":"x"}]}`, `traceEvents[0].ts: want a number, got the text "x"`},
		{"a summary", `{"trace_id":"00000000000000000000000000000001"}`, "a summary without spans cannot be imported"},
		{"depth", `{"resourceSpans":[{"resource":{"attributes":[{"key":"a","value":` + strings.Repeat(`{"arrayValue":{"values":[`, 40) + strings.Repeat(`]}}`, 40) + `}]}}]}`, "nested deeper than 32"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := traceformat.Read([]byte(tt.in))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want it to say %q", err, tt.want)
			}
		})
	}
	if _, err := traceformat.Write("svg", nil); err == nil || !strings.Contains(err.Error(), "otlp, otlp-protobuf, jaeger, zipkin, chrome") {
		t.Errorf("a format that is none: %v", err)
	}
}

// Nothing panics, and what is read reads the same after it was written in any
// format.
func FuzzRead(f *testing.F) {
	for seed := range uint64(4) {
		d := maker{rand.New(rand.NewPCG(seed, 3))}.data()
		for _, format := range traceformat.Written {
			if b, err := traceformat.Write(format, d); err == nil {
				f.Add(b)
			}
		}
	}
	f.Add([]byte(thirdPartyJaeger))
	f.Add([]byte(thirdPartyZipkin))
	f.Add([]byte(thirdPartyChrome))
	f.Add([]byte(nativeTrace))
	f.Fuzz(func(t *testing.T, in []byte) {
		d, _, err := traceformat.Read(in)
		if err != nil || !utf8Only(d) {
			return
		}
		for _, format := range traceformat.Written {
			b, err := traceformat.Write(format, d)
			if err != nil {
				t.Fatalf("%s: %v", format, err)
			}
			got, _, err := traceformat.Read(b)
			if err != nil {
				if format != traceformat.Protobuf && tooLate(d) || d.Spans() == 0 {
					continue
				}
				t.Fatalf("%s: %v\n%s", format, err, b)
			}
			if diff := difference(d, got); diff != "" {
				t.Fatalf("%s (-read +written and read):\n%s\n%s", format, diff, b)
			}
		}
	})
}

// utf8Only tells whether JSON can hold the texts of d: what is no UTF-8 only
// protobuf carries.
func utf8Only(d traceformat.Data) bool {
	for _, f := range flatten(d) {
		b, err := json.Marshal(fmt.Sprintf("%q", fmt.Sprintf("%+v", f)))
		if err != nil || bytes.Contains(b, []byte(`\\x`)) || bytes.Contains(b, []byte(`ufffd`)) || bytes.ContainsRune(b, '\uFFFD') {
			return false
		}
	}
	return true
}

// tooLate tells whether a time is beyond what a reader of microseconds takes.
func tooLate(d traceformat.Data) bool {
	const latest = math.MaxUint64 / 2
	for _, b := range d {
		for _, s := range b.Spans {
			if s.Start > latest || s.End > latest || slices.ContainsFunc(s.Events, func(e otlp.Event) bool { return e.Time > latest }) {
				return true
			}
		}
	}
	return false
}
