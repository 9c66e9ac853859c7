package otlp_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// The lengths around which an attribute's encoding changes its form.
func TestAppendAttr(t *testing.T) {
	values := []otlp.Value{
		{}, otlp.Bool(true), otlp.Bool(false), otlp.Int(0), otlp.Int(127), otlp.Int(128), otlp.Int(-1), otlp.Int(math.MinInt64), otlp.Float(1.5),
		otlp.Float(math.NaN()), otlp.Array(otlp.Int(1), otlp.String("x")), otlp.Map(otlp.KeyValue{Key: "k", Value: otlp.Bool(true)}), otlp.Bytes("\x00\xff"),
	}
	for n := range 300 {
		values = append(values, otlp.String(strings.Repeat("v", n)))
	}
	for _, key := range []string{"", "k", "http.request.method", strings.Repeat("k", 121), strings.Repeat("k", 127), strings.Repeat("k", 128), strings.Repeat("k", 300)} {
		for _, v := range values {
			for _, dst := range [][]byte{nil, []byte("before"), append(make([]byte, 0, 1000), "before"...)} {
				got := otlp.AppendAttr(dst, otlp.FieldAttrs, otlp.KeyValue{Key: key, Value: v})
				typed := got
				switch v.Kind {
				case otlp.KindString:
					typed = otlp.AppendTextAttr(dst, otlp.FieldAttrs, key, v.Str)
				case otlp.KindBool, otlp.KindInt, otlp.KindFloat:
					typed = otlp.AppendNumberAttr(dst, otlp.FieldAttrs, key, v.Kind, v.Num)
				}
				want := append(bytes.Clone(dst), plainAttr(key, v)...)
				if !bytes.Equal(got, want) || !bytes.Equal(typed, want) {
					t.Fatalf("key of %d bytes, value %+v: %x and %x, want %x", len(key), v, got, typed, want)
				}
			}
		}
	}
}

// plainAttr encodes by the rules alone.
func plainAttr(key string, v otlp.Value) []byte {
	field := func(n int, body []byte) []byte {
		return append(binary.AppendUvarint([]byte{byte(n<<3 | 2)}, uint64(len(body))), body...)
	}
	var value, kv []byte
	switch v.Kind {
	case otlp.KindEmpty:
	case otlp.KindString:
		value = field(1, []byte(v.Str))
	case otlp.KindBool:
		value = []byte{2 << 3, byte(v.Num)}
	case otlp.KindInt:
		value = binary.AppendUvarint([]byte{3 << 3}, v.Num)
	case otlp.KindFloat:
		value = binary.LittleEndian.AppendUint64([]byte{4<<3 | 1}, v.Num)
	case otlp.KindArray:
		value = field(5, []byte(v.Str))
	case otlp.KindMap:
		value = field(6, []byte(v.Str))
	case otlp.KindBytes:
		value = field(7, []byte(v.Str))
	}
	if key != "" {
		kv = field(1, []byte(key))
	}
	return field(otlp.FieldAttrs, append(kv, field(2, value)...))
}

func BenchmarkAppendAttr(b *testing.B) {
	attrs := []otlp.KeyValue{
		{Key: "http.request.method", Value: otlp.String("GET")}, {Key: "http.route", Value: otlp.String("/api/v1/users/{id}")},
		{Key: "http.response.status_code", Value: otlp.Int(200)}, {Key: "user.id", Value: otlp.Int(123456)}, {Key: "cache.hit", Value: otlp.Bool(true)},
	}
	keys := map[string]otlp.Key{}
	for _, a := range attrs {
		keys[a.Key] = otlp.NewKey(a.Key)
	}
	b.Run("prepared", func(b *testing.B) {
		var dst []byte
		k := [...]otlp.Key{keys[attrs[0].Key], keys[attrs[1].Key], keys[attrs[2].Key], keys[attrs[3].Key], keys[attrs[4].Key]}
		b.ReportAllocs()
		for b.Loop() {
			dst = dst[:0]
			for i := range attrs {
				if a := &attrs[i]; a.Value.Kind == otlp.KindString {
					dst, _ = k[i].AppendText(dst, otlp.FieldAttrs, a.Value.Str) // they are short
				} else {
					dst = k[i].AppendNumber(dst, otlp.FieldAttrs, a.Value.Kind, a.Value.Num)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(5*b.N), "ns/attr")
	})
	for name, add := range map[string]func([]byte, otlp.KeyValue) []byte{
		"any": func(dst []byte, a otlp.KeyValue) []byte { return otlp.AppendAttr(dst, otlp.FieldAttrs, a) },
		"typed": func(dst []byte, a otlp.KeyValue) []byte {
			if a.Value.Kind == otlp.KindString {
				return otlp.AppendTextAttr(dst, otlp.FieldAttrs, a.Key, a.Value.Str)
			}
			return otlp.AppendNumberAttr(dst, otlp.FieldAttrs, a.Key, a.Value.Kind, a.Value.Num)
		},
	} {
		b.Run(name, func(b *testing.B) {
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				dst = dst[:0]
				for _, a := range attrs {
					dst = add(dst, a)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(5*b.N), "ns/attr")
		})
	}
}
