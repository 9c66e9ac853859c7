package traceformat_test

import (
	"math"
	"testing"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/internal/traceformat"
)

// Times at the end of what OTLP can hold come back, too.
func TestAbsurdTimes(t *testing.T) {
	for _, want := range []struct{ start, end uint64 }{{math.MaxUint64, math.MaxUint64}, {1, math.MaxUint64}, {math.MaxUint64, 1}, {0, 0}} {
		sp := otlp.Span{TraceID: [16]byte{1}, SpanID: [8]byte{1}, Name: "x", Start: want.start, End: want.end,
			Events: []otlp.Event{{Time: want.end, Name: "e"}}}
		data, _, err := traceformat.Read(otlp.AppendResourceSpans(nil, nil, &otlp.Scope{}, otlp.AppendSpan(nil, &sp)))
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range []traceformat.Format{"otlp", "otlp-protobuf", "jaeger", "zipkin"} {
			b, err := traceformat.Write(form, data)
			if err != nil {
				t.Fatal(err)
			}
			back, _, err := traceformat.Read(b)
			if err != nil {
				t.Errorf("%s of %v: %v", form, want, err)
				continue
			}
			if got := back[0].Spans[0]; got.Start != want.start || got.End != want.end || got.Events[0].Time != want.end {
				t.Errorf("%s of %v: start %d, end %d, event at %d", form, want, got.Start, got.End, got.Events[0].Time)
			}
		}
	}
}
