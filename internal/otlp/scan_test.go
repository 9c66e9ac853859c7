package otlp_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// indexed describes what a scan found, one line a span.
func indexed(s *otlp.Scanner, body []byte) (out []string) {
	for _, e := range s.Spans {
		g := s.Groups[e.Group]
		out = append(out, fmt.Sprintf("%d %q %q %x %x %x %q %d %d %d %d %x", g.Ordinal, g.Service, g.Name, e.TraceID, e.SpanID, e.ParentID,
			body[e.NameAt:e.NameAt+e.Name], e.Kind, e.Status, e.Start, e.End, body[e.At:e.At+e.Size]))
	}
	return out
}

// decoded describes the same by the decoder.
func decoded(body []byte) (out []string, invalid int, err error) {
	err = new(otlp.Decoder).Decode(body, func(r *otlp.Resource, scope *otlp.Scope, s *otlp.Span) {
		if !s.Valid() {
			invalid++
			return
		}
		out = append(out, fmt.Sprintf("%d %q %q %x %x %x %q %d %d %d %d %x", r.Ordinal, r.Service, scope.Name, s.TraceID, s.SpanID, s.ParentID,
			s.Name, s.Kind, s.Status, s.Start, s.End, s.Raw))
	})
	return out, invalid, err
}

// sameAsDecoder checks that the scanner takes the body if the decoder does,
// and sees the same in it.
func sameAsDecoder(t *testing.T, body []byte) {
	t.Helper()
	var s otlp.Scanner
	scanErr := s.Scan(body)
	want, invalid, err := decoded(body)
	if (scanErr == nil) != (err == nil) || scanErr != nil && !errors.Is(scanErr, otlp.ErrMalformed) {
		t.Fatalf("scanner: %v, decoder: %v\n%x", scanErr, err, body)
	}
	if got := indexed(&s, body); err == nil && (fmt.Sprint(got) != fmt.Sprint(want) || s.Invalid != invalid) {
		t.Errorf("scanner sees %d invalid ones and\n%q, decoder %d and\n%q", s.Invalid, got, invalid, want)
	}
	if err == nil {
		sameOfSpans(t, &s, body)
	}
}

// sameOfSpans checks that the messages of the spans that a scan found say by
// themselves what they said in their request.
func sameOfSpans(t *testing.T, s *otlp.Scanner, body []byte) {
	t.Helper()
	var all []byte
	var lengths []uint32
	want := slices.Clone(s.Spans)
	for i := range want {
		e := &want[i]
		e.At, e.NameAt, e.Group = uint32(len(all)), e.NameAt-e.At+uint32(len(all)), 0
		all, lengths = append(all, body[s.Spans[i].At:][:e.Size]...), append(lengths, e.Size)
	}
	var again otlp.Scanner
	if err := again.ScanSpans(all, lengths); err != nil || again.Invalid > 0 || !slices.Equal(again.Spans, want) || s.Invalid == 0 && again.Keys != s.Keys {
		t.Errorf("ScanSpans: %v, %d invalid ones\n%+v, want\n%+v", err, again.Invalid, again.Spans, want)
	}
	if len(all) > 0 {
		if err := again.ScanSpans(all[1:], lengths); !errors.Is(err, otlp.ErrMalformed) {
			t.Errorf("ScanSpans of a byte less: %v", err)
		}
	}
}

func field(num protowire.Number, parts ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), bytes.Join(parts, nil))
}

func varint(num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
}

func group(num protowire.Number, parts ...[]byte) []byte {
	return protowire.AppendTag(append(protowire.AppendTag(nil, num, protowire.StartGroupType), bytes.Join(parts, nil)...), num, protowire.EndGroupType)
}

// wireHabits are requests as encoders other than the usual one write them.
func wireHabits() map[string][]byte {
	attr := func(k, v string) []byte { return field(9, field(1, []byte(k)), field(2, field(1, []byte(v)))) }
	id := field(1, bytes.Repeat([]byte{7}, 16))
	spanID, parent := field(2, []byte("12345678")), field(4, []byte("abcdefgh"))
	span := bytes.Join([][]byte{id, spanID, parent, field(5, []byte("op")), attr("k", "v")}, nil)
	resource := field(1, field(1, field(1, []byte("service.name")), field(2, field(1, []byte("shop")))))
	scope := field(1, field(1, []byte("lib")))
	in := func(span ...[]byte) []byte {
		return field(1, resource, field(2, scope, field(2, span...)))
	}
	return map[string][]byte{
		"name after attributes":    in(attr("k", "v"), field(5, []byte("op")), parent, spanID, id),
		"resource after its spans": field(1, field(2, field(2, span), scope), resource),
		"two parts of a resource":  field(1, resource, field(2, scope, field(2, span)), field(1, field(1, field(1, []byte("host.name")), field(2, field(1, []byte("h")))))),
		"unknown fields":           in(span, field(99, []byte("what")), varint(100, 1<<40)),
		"groups":                   append(group(50, varint(1, 1)), in(group(51, group(52, field(3, []byte("x")))), span)...),
		"fields sent twice":        in(span, field(5, []byte("op2")), varint(6, 2), varint(6, 3), field(15, varint(3, 1)), field(15, varint(3, 2))),
		"wide numbers":             in(span, varint(6, 1<<33|2), field(15, varint(3, 1<<32|2))),
		"deprecated status code":   in(span, field(15, varint(1, 3), field(2, []byte("gone")))),
		"deprecated scope_spans":   field(1, resource, field(1000, field(2, span)), field(2, scope, field(2, span))),
		"empty parent":             in(span, field(4)),
		"short ids":                in(field(1, []byte{1}), field(2, []byte{2}), field(5, []byte("op"))),
		"no ids":                   in(field(5, []byte("op"))),
		"empty span":               in(),
		"value before key":         in(span, field(9, field(2, field(1, []byte("v"))), field(1, []byte("k")))),
		"several resources":        append(in(span), in(span)...),
		"long text":                in(span, attr("k", string(make([]byte, 1<<20)))),
	}
}

func TestScanWireHabits(t *testing.T) {
	for name, body := range wireHabits() {
		t.Run(name, func(t *testing.T) {
			sameAsDecoder(t, body)
			var s otlp.Scanner
			if err := s.Scan(body); err != nil || len(s.Spans)+s.Invalid == 0 {
				t.Errorf("%d spans, %v", len(s.Spans), err)
			}
		})
	}
}

func TestScanOfEachPrefix(t *testing.T) {
	body := request(full(), plain())
	for i := range body {
		sameAsDecoder(t, body[:i])
	}
}

func TestScanAllocatesNothing(t *testing.T) {
	body := request(plain(), plain(), plain())
	var s otlp.Scanner
	if n := testing.AllocsPerRun(100, func() {
		if err := s.Scan(body); err != nil {
			t.Fatal(err)
		}
	}); n > 4 { // of a request and a resource, not of a span
		t.Errorf("%v allocations", n)
	}
}

// Messages of two bytes do not make an index of eighty each.
func TestScanOfEmptyMessages(t *testing.T) {
	const n = 1 << 20
	var s otlp.Scanner
	if err := s.Scan(field(1, bytes.Repeat(field(2), n))); err != nil || len(s.Groups) != 0 {
		t.Errorf("%d groups of empty scope_spans, %v", len(s.Groups), err)
	}
	if err := s.Scan(field(1, field(2, bytes.Repeat(field(2), n)))); err != nil || len(s.Spans) != 0 || s.Invalid != n {
		t.Errorf("%d spans and %d invalid ones of empty spans, %v", len(s.Spans), s.Invalid, err)
	}
	if err := s.Scan(field(1, bytes.Repeat(field(2, field(2)), otlp.MaxGroups+1))); !errors.Is(err, otlp.ErrMalformed) {
		t.Errorf("more than MaxGroups: %v", err)
	}
}

// FuzzScan: the scanner takes what the decoder takes, and sees the same.
func FuzzScan(f *testing.F) {
	for _, body := range wireHabits() {
		if len(body) < 1<<12 {
			f.Add(body)
		}
	}
	f.Add(request(full(), plain()))
	f.Fuzz(sameAsDecoder)
}

func BenchmarkScan(b *testing.B) {
	spans := make([]otlp.Span, 500)
	for i := range spans {
		spans[i] = plain()
	}
	body := request(spans...)
	var s otlp.Scanner
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Scan(body); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(spans)), "ns/span")
}

// What the Collector's own decoder sees in such a request, ours sees too. It
// refuses groups, and ids of a wrong length, for which we reject the span alone.
func TestWireHabitsAsTheCollectorSeesThem(t *testing.T) {
	for name, body := range wireHabits() {
		if name == "short ids" || name == "groups" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			td, err := new(ptrace.ProtoUnmarshaler).UnmarshalTraces(body)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			err = new(otlp.Decoder).Decode(body, func(r *otlp.Resource, scope *otlp.Scope, s *otlp.Span) {
				got = append(got, describe(r.Service, scope.Name, s))
			})
			if want := describeOracle(td); err != nil || !slices.Equal(got, want) {
				t.Errorf("%v, decoded\n%q, the Collector\n%q", err, got, want)
			}
		})
	}
}
