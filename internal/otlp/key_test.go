package otlp_test

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// A prepared key writes what the key's name does.
func TestKeyAppendsAsItsName(t *testing.T) {
	for _, n := range []int{1, 2, 7, 8, 40, 63, 64} {
		name := strings.Repeat("k", n)
		k := otlp.NewKey(name)
		for size := range 140 {
			v := strings.Repeat("v", size)
			want := otlp.AppendTextAttr([]byte("before"), otlp.FieldAttrs, name, v)
			got, short := k.AppendText([]byte("before"), otlp.FieldAttrs, v)
			if short && !bytes.Equal(got, want) {
				t.Fatalf("key of %d bytes, value of %d:\n%x, want\n%x", n, size, got, want)
			}
			if fits := len(want) <= len("before")+2+127; short != fits || !short && string(got) != "before" {
				t.Fatalf("key of %d bytes, value of %d: short = %v, %q", n, size, short, got)
			}
		}
		for _, kind := range []otlp.Kind{otlp.KindInt, otlp.KindBool, otlp.KindFloat} {
			for _, num := range []uint64{0, 1, 127, 128, math.MaxInt64, math.MaxUint64} {
				if kind == otlp.KindBool {
					num &= 1
				}
				want := otlp.AppendNumberAttr(nil, 1, name, kind, num)
				if got := k.AppendNumber(nil, 1, kind, num); !bytes.Equal(got, want) {
					t.Fatalf("key of %d bytes, kind %v, %d: %x, want %x", n, kind, num, got, want)
				}
			}
		}
	}
	if otlp.NewKey("") != nil || otlp.NewKey(strings.Repeat("k", 65)) != nil {
		t.Error("a key without a short form is prepared")
	}
}
