package otlp_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// plain returns a span that Look takes.
func plain() otlp.Span {
	s := full()
	s.Links, s.Attrs = nil, s.Attrs[:4]
	return s
}

func TestLook(t *testing.T) {
	s := plain()
	raw := otlp.AppendSpan(nil, &s)
	var g otlp.Glance
	if !g.Look(raw) {
		t.Fatal("Look refuses an ordinary span")
	}
	if string(raw[g.NameAt:g.NameAt+g.Name]) != s.Name || g.Status != 2 {
		t.Errorf("glance %+v", g)
	}
	s = full()
	if g.Look(otlp.AppendSpan(nil, &s)) {
		t.Error("Look takes a span with links and composite values")
	}
	for i := range raw {
		if g.Look(raw[:i]) && new(otlp.Span).Decode(raw[:i]) != nil {
			t.Errorf("Look takes the first %d bytes, which are malformed", i)
		}
	}
}

// FuzzLook: what Look takes, Decode takes too, and both see the same.
func FuzzLook(f *testing.F) {
	for _, s := range []otlp.Span{plain(), full(), {}} {
		f.Add(otlp.AppendSpan(nil, &s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var g otlp.Glance
		if !g.Look(raw) {
			return
		}
		var s otlp.Span
		if err := s.Decode(raw); err != nil {
			t.Fatalf("Look takes what Decode does not: %v", err)
		}
		lo, n := otlp.FindName(raw)
		want := otlp.Glance{TraceID: s.TraceID, SpanID: s.SpanID, ParentID: s.ParentID, NameAt: lo, Name: n, Kind: s.Kind, Status: s.Status,
			Start: s.Start, End: s.End, Own: slices.ContainsFunc(s.Attrs, func(a otlp.KeyValue) bool { return strings.HasPrefix(a.Key, otlp.OwnPrefix) })}
		if !s.Cropped && g != want {
			t.Errorf("Look sees %+v, Decode %+v", g, want)
		}
	})
}
