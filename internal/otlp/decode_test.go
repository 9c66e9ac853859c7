package otlp_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// full returns a span that has every field.
func full() otlp.Span {
	text := otlp.Value{Kind: otlp.KindString, Str: "GET"}
	return otlp.Span{
		TraceID: [16]byte{1, 2, 3}, SpanID: [8]byte{4, 5}, ParentID: [8]byte{6},
		TraceState: "a=b", Flags: 0x101, Name: "GET /priority", Kind: 2, Start: 1_700_000_000_000_000_001, End: 1_700_000_000_500_000_002,
		Attrs: []otlp.KeyValue{
			{Key: "s", Value: text},
			{Key: "b", Value: otlp.Value{Kind: otlp.KindBool, Num: 1}},
			{Key: "i", Value: otlp.Value{Kind: otlp.KindInt, Num: math.MaxUint64}},
			{Key: "f", Value: otlp.Value{Kind: otlp.KindFloat, Num: math.Float64bits(1.5)}},
			{Key: "a", Value: otlp.Array(text, otlp.Value{Kind: otlp.KindInt, Num: 7})},
			{Key: "m", Value: otlp.Map(otlp.KeyValue{Key: "k", Value: text})},
			{Key: "x", Value: otlp.Value{Kind: otlp.KindBytes, Str: "\x00\xff"}},
			{Key: "e"},
		},
		Events:       []otlp.Event{{Time: 5, Name: "exception", Attrs: []otlp.KeyValue{{Key: "k", Value: text}}, Dropped: 3}},
		Links:        []otlp.Link{{TraceID: [16]byte{9}, SpanID: [8]byte{8}, TraceState: "c=d", Flags: 1, Attrs: []otlp.KeyValue{{Key: "k", Value: text}}, Dropped: 4}},
		DroppedAttrs: 1, DroppedEvents: 2, DroppedLinks: 3, Status: 2, StatusMessage: "boom",
	}
}

func request(spans ...otlp.Span) []byte {
	var encoded [][]byte
	for i := range spans {
		encoded = append(encoded, otlp.AppendSpan(nil, &spans[i]))
	}
	res := otlp.AppendResource(nil, &otlp.Resource{Attrs: []otlp.KeyValue{{Key: "service.name", Value: otlp.Value{Kind: otlp.KindString, Str: "shop"}}}})
	return otlp.AppendResourceSpans(nil, res, &otlp.Scope{Name: "net/http", Version: "1"}, encoded...)
}

func TestRoundTrip(t *testing.T) {
	want := full()
	n := 0
	err := new(otlp.Decoder).Decode(request(want, want), func(r *otlp.Resource, sc *otlp.Scope, s *otlp.Span) {
		n++
		if r.Service != "shop" || sc.Name != "net/http" || sc.Version != "1" || !s.Valid() {
			t.Errorf("service %q, scope %q %q, valid %v", r.Service, sc.Name, sc.Version, s.Valid())
		}
		got := *s
		got.Raw = nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("decoded\n%+v, want\n%+v", got, want)
		}
	})
	if err != nil || n != 2 {
		t.Fatalf("Decode: %d spans, %v", n, err)
	}
}

func TestAny(t *testing.T) {
	got := map[string]any{}
	for _, a := range full().Attrs {
		got[a.Key] = a.Value.Any()
	}
	want := map[string]any{"s": "GET", "b": true, "i": int64(-1), "f": 1.5, "a": []any{"GET", int64(7)},
		"m": map[string]any{"k": "GET"}, "x": "AP8=", "e": nil}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Any: %v, want %v", got, want)
	}
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if v, ok := (otlp.Value{Kind: otlp.KindFloat, Num: math.Float64bits(f)}).Any().(string); !ok || v == "" {
			t.Errorf("Any of %v is not text", f)
		}
	}
}

// TestFieldOrder sends the resource and the scope after the spans, and the
// span's fields back to front with unknown ones between them.
func TestFieldOrder(t *testing.T) {
	span := []byte{0x2a, 1, 'n', 0x9a, 0x06, 2, 'x', 'y', 0x12, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0x0a, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	field := func(n byte, b []byte) []byte { return append([]byte{n<<3 | 2, byte(len(b))}, b...) }
	scopeSpans := append(field(2, span), field(1, field(1, []byte("late")))...)
	res := field(1, append(field(1, []byte("service.name")), field(2, field(1, []byte("svc")))...))
	body := field(1, append(field(2, scopeSpans), field(1, res)...))
	n := 0
	err := new(otlp.Decoder).Decode(body, func(r *otlp.Resource, sc *otlp.Scope, s *otlp.Span) {
		n++
		if r.Service != "svc" || sc.Name != "late" || s.Name != "n" || !s.Valid() {
			t.Errorf("got service %q scope %q name %q valid %v", r.Service, sc.Name, s.Name, s.Valid())
		}
	})
	if err != nil || n != 1 {
		t.Errorf("Decode: %d spans, %v", n, err)
	}
}

func TestHostile(t *testing.T) {
	deep := otlp.Value{Kind: otlp.KindInt, Num: 1}
	for range 2 * otlp.MaxDepth {
		deep = otlp.Array(deep)
	}
	nested := full()
	nested.Attrs = []otlp.KeyValue{{Key: "deep", Value: deep}}
	for _, tt := range []struct {
		name string
		body []byte
	}{
		{"length beyond the end", []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}},
		{"text", []byte("hello, world")},
		{"cut", request(full())[:100]},
		{"wrong wire type", []byte{0x08, 1}},
		{"deep", request(nested)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := new(otlp.Decoder).Decode(tt.body, func(*otlp.Resource, *otlp.Scope, *otlp.Span) {})
			if !errors.Is(err, otlp.ErrMalformed) {
				t.Errorf("Decode error = %v, want ErrMalformed", err)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	s := full()
	s.Attrs, s.DroppedAttrs = nil, 7
	for range otlp.MaxAttrs + 5 {
		s.Attrs = append(s.Attrs, otlp.KeyValue{Key: "k"})
	}
	err := new(otlp.Decoder).Decode(request(s), func(_ *otlp.Resource, _ *otlp.Scope, s *otlp.Span) {
		if len(s.Attrs) != otlp.MaxAttrs || s.DroppedAttrs != 12 || !s.Cropped {
			t.Errorf("%d attributes, %d dropped, cropped %v", len(s.Attrs), s.DroppedAttrs, s.Cropped)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestIDsOfWrongLength(t *testing.T) {
	body := bytes.Replace(request(full()), append([]byte{0x12, 8}, 4, 5, 0, 0, 0, 0, 0, 0), []byte{0x12, 4, 4, 5, 0, 0, 0x9a, 0x06, 1, 0}, 1)
	err := new(otlp.Decoder).Decode(body, func(_ *otlp.Resource, _ *otlp.Scope, s *otlp.Span) {
		if s.Valid() {
			t.Error("a span with a span id of 4 bytes is valid")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// FuzzDecode: nothing panics; what both this decoder and the OpenTelemetry
// Collector's take, they understand alike; what is decoded and encoded again
// decodes to the same.
func FuzzDecode(f *testing.F) {
	f.Add(request(full()))
	f.Add(request(otlp.Span{}))
	f.Add([]byte{0x0a, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		var got []string
		var rejected bool
		err := new(otlp.Decoder).Decode(body, func(r *otlp.Resource, sc *otlp.Scope, s *otlp.Span) {
			got = append(got, describe(r.Service, sc.Name, s))
			rejected = rejected || !s.Valid() || s.Cropped
			checkAgain(t, s)
		})
		var u ptrace.ProtoUnmarshaler
		oracle, oracleErr := u.UnmarshalTraces(body)
		if err != nil || oracleErr != nil || rejected {
			return
		}
		if want := describeOracle(oracle); !reflect.DeepEqual(got, want) {
			t.Errorf("decoded\n%s\nthe Collector decodes\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func checkAgain(t *testing.T, s *otlp.Span) {
	var again otlp.Span
	once := otlp.AppendSpan(nil, s)
	if err := again.Decode(once); err != nil {
		t.Fatalf("encoded span does not decode: %v", err)
	}
	if twice := otlp.AppendSpan(nil, &again); !bytes.Equal(once, twice) {
		t.Errorf("encoded %x, decoded and encoded again %x", once, twice)
	}
}

func BenchmarkDecode(b *testing.B) {
	spans := make([]otlp.Span, 500)
	for i := range spans {
		spans[i] = full()
	}
	body := request(spans...)
	var d otlp.Decoder
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Decode(body, func(*otlp.Resource, *otlp.Scope, *otlp.Span) {}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(spans)), "ns/span")
}
