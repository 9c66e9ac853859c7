package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// A template is a batch encoded once. Its ids, times and request ids all have
// a fixed size on the wire, so sending it again as a batch of new traces
// takes a copy and a few writes at known offsets, not an encoding. That
// keeps the generator cheap beside the server it shares a machine with.
type template struct {
	bytes   []byte
	patches []patch
	spans   int
	sizes   []int // sizes[t] is the number of spans of the t-th trace
}

type patchKind uint8

const (
	patchTraceID patchKind = iota
	patchSpanID
	patchTime
	patchRequestID
)

// patch is a place in a template's bytes whose value differs in each batch.
type patch struct {
	offset int
	kind   patchKind
	// value is the trace's index, the span's index in the batch, or the
	// nanoseconds after the batch's base time, by kind.
	value uint64
}

// newTemplate encodes a batch of the given number of traces, their spans
// grouped by service as a collector groups them.
func newTemplate(rng *rand.Rand, traces int) (*template, error) {
	t := &template{sizes: make([]int, traces)}
	groups := map[string]*tracepb.ScopeSpans{}
	req := &coltracepb.ExportTraceServiceRequest{}
	for i := range traces {
		nodes := makeTrace(rng)
		t.sizes[i] = len(nodes)
		shift := uint64(rng.IntN(1_000_000_000))
		for j, n := range nodes {
			s := n.span
			s.TraceId = binary.BigEndian.AppendUint64(make([]byte, 8), uint64(i))
			s.SpanId = binary.BigEndian.AppendUint64(nil, uint64(t.spans+j))
			if n.parent >= 0 {
				s.ParentSpanId = binary.BigEndian.AppendUint64(nil, uint64(t.spans+n.parent))
			}
			s.StartTimeUnixNano = shift + n.start
			s.EndTimeUnixNano = shift + n.start + n.duration
			for _, e := range s.Events {
				e.TimeUnixNano += shift
			}
			g := groups[n.service]
			if g == nil {
				g = &tracepb.ScopeSpans{Scope: &commonpb.InstrumentationScope{Name: "io.opentelemetry.servlet-5.0", Version: "2.18.0-alpha"}}
				groups[n.service] = g
				req.ResourceSpans = append(req.ResourceSpans, &tracepb.ResourceSpans{
					Resource:   &resourcepb.Resource{Attributes: resourceAttrs(n.service, rng.IntN(4))},
					ScopeSpans: []*tracepb.ScopeSpans{g},
					SchemaUrl:  "https://opentelemetry.io/schemas/1.34.0",
				})
			}
			g.Spans = append(g.Spans, s)
		}
		t.spans += len(nodes)
	}
	var err error
	if t.bytes, err = proto.Marshal(req); err != nil {
		return nil, err
	}
	return t, t.findPatches()
}

// Field numbers of opentelemetry/proto/trace/v1/trace.proto.
const (
	fieldResourceSpans = 1
	fieldScopeSpans    = 2
	fieldSpans         = 2
	spanTraceID        = 1
	spanSpanID         = 2
	spanParentID       = 4
	spanStart          = 7
	spanEnd            = 8
	spanAttributes     = 9
	spanEvents         = 11
	eventTime          = 1
)

// findPatches walks the encoded bytes and notes each place to patch, with the
// placeholder found there.
func (t *template) findPatches() error {
	note := func(at int, kind patchKind, value uint64) {
		t.patches = append(t.patches, patch{at, kind, value})
	}
	err := walk(t.bytes, 0, []protowire.Number{fieldResourceSpans, fieldScopeSpans, fieldSpans}, func(at int, span []byte) error {
		return fields(span, func(num protowire.Number, off int, v []byte) error {
			switch num {
			case spanTraceID:
				note(at+off, patchTraceID, binary.BigEndian.Uint64(v[8:]))
			case spanSpanID, spanParentID:
				note(at+off, patchSpanID, binary.BigEndian.Uint64(v))
			case spanStart, spanEnd:
				note(at+off, patchTime, binary.LittleEndian.Uint64(v))
			case spanEvents:
				return fields(v, func(num protowire.Number, o int, v []byte) error {
					if num == eventTime {
						note(at+off+o, patchTime, binary.LittleEndian.Uint64(v))
					}
					return nil
				})
			case spanAttributes:
				var kv commonpb.KeyValue
				if err := proto.Unmarshal(v, &kv); err != nil {
					return err
				}
				if kv.Key == requestIDKey {
					// The value is the last 32 bytes of the attribute.
					note(at+off+len(v)-32, patchRequestID, uint64(len(t.patches)))
				}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("walking a template: %w", err)
	}
	return nil
}

// walk calls fn with each message at the path of field numbers, and with the
// offset of its content in the whole.
func walk(b []byte, base int, path []protowire.Number, fn func(at int, msg []byte) error) error {
	if len(path) == 0 {
		return fn(base, b)
	}
	return fields(b, func(num protowire.Number, off int, v []byte) error {
		if num != path[0] {
			return nil
		}
		return walk(v, base+off, path[1:], fn)
	})
}

// fields calls fn with each field of an encoded message: its number, and the
// offset and bytes of its content.
func fields(b []byte, fn func(num protowire.Number, off int, v []byte) error) error {
	for pos := 0; pos < len(b); {
		num, typ, n := protowire.ConsumeTag(b[pos:])
		if n < 0 {
			return protowire.ParseError(n)
		}
		pos += n
		size := protowire.ConsumeFieldValue(num, typ, b[pos:])
		if size < 0 {
			return protowire.ParseError(size)
		}
		start := pos
		if typ == protowire.BytesType {
			_, n := protowire.ConsumeVarint(b[pos:])
			start += n
		}
		pos += size
		if err := fn(num, start, b[start:pos]); err != nil {
			return err
		}
	}
	return nil
}

// appendBatch appends the template's bytes as batch number seq of the run,
// its times after base (nanoseconds since 1970).
func (t *template) appendBatch(dst []byte, seed, seq, base uint64) []byte {
	from := len(dst)
	dst = append(dst, t.bytes...)
	b := dst[from:]
	for _, p := range t.patches {
		at := b[p.offset:]
		switch p.kind {
		case patchTraceID:
			id := traceID(seed, seq, p.value)
			copy(at, id[:])
		case patchSpanID:
			binary.BigEndian.PutUint64(at, spanID(seed, seq, p.value))
		case patchTime:
			binary.LittleEndian.PutUint64(at, base+p.value)
		case patchRequestID:
			var raw [16]byte
			binary.BigEndian.PutUint64(raw[:], mix(seed^seq<<20^p.value))
			binary.BigEndian.PutUint64(raw[8:], mix(seed^seq<<20^p.value^1<<63))
			hex.Encode(at[:32], raw[:])
		}
	}
	return dst
}

// Ids are a function of the run's seed, the batch's number and the place in
// the batch, so a trace to read back needs no record of what was sent.

func traceID(seed, seq, trace uint64) (id [16]byte) {
	binary.BigEndian.PutUint64(id[:], mix(mix(seed+seq)^trace<<1))
	binary.BigEndian.PutUint64(id[8:], mix(mix(seed+seq)^(trace<<1|1)))
	return id
}

func spanID(seed, seq, span uint64) uint64 {
	return mix(mix(^seed-seq)^span) | 1 // never zero, which is no valid id
}

// mix is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
