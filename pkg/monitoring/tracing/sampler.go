package tracing

import (
	"encoding/binary"

	"go.opentelemetry.io/otel/trace"
)

// Sampling is what a [Sampler] decides by.
type Sampling struct {
	Parent  trace.SpanContext // not valid for a root
	TraceID TraceID
	Name    string
	Kind    trace.SpanKind
}

// Sampler decides whether a span is recorded. It is called from many
// goroutines and must not keep its argument.
type Sampler func(Sampling) bool

// Always records every span.
func Always() Sampler { return func(Sampling) bool { return true } }

// Never records nothing.
func Never() Sampler { return func(Sampling) bool { return false } }

// Ratio records the given share of traces, 0 to 1. The trace id decides, so
// that all services that use the same share record the same traces.
func Ratio(share float64) Sampler {
	if share >= 1 {
		return Always()
	}
	bound := uint64(max(share, 0) * (1 << 63))
	return func(s Sampling) bool { return binary.BigEndian.Uint64(s.TraceID[8:])>>1 < bound }
}

// ParentBased does as the parent did and asks root where there is none.
func ParentBased(root Sampler) Sampler {
	return func(s Sampling) bool {
		if s.Parent.IsValid() {
			return s.Parent.IsSampled()
		}
		return root(s)
	}
}
