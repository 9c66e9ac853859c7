package tracing_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// foreign is an OTLP request of one service.
func foreign(service string, spans ...otlp.Span) []byte {
	res := otlp.AppendResource(nil, &otlp.Resource{Attrs: []otlp.KeyValue{{Key: "service.name", Value: otlp.String(service)}}})
	var encoded [][]byte
	for i := range spans {
		encoded = append(encoded, otlp.AppendSpan(nil, &spans[i]))
	}
	return otlp.AppendResourceSpans(nil, res, &otlp.Scope{}, encoded...)
}

func bring(t *testing.T, s *tracing.Store, body []byte) {
	t.Helper()
	if _, rejected, err := s.AddOTLP(body); err != nil || rejected > 0 {
		t.Fatalf("AddOTLP: %d rejected, %v", rejected, err)
	}
}

func trace16(n byte) [16]byte { return [16]byte{15: n} }
func span8(n byte) [8]byte    { return [8]byte{7: n} }

// Percentiles are within 1 % of those of the sorted durations, whatever the
// distribution; sums, errors and extremes are exact.
func TestOperations(t *testing.T) {
	s := newStore(t, tracing.Options{})
	r := rand.New(rand.NewPCG(1, 2))
	base := uint64(time.Now().Add(-time.Minute).UnixNano())
	var all []int64
	for i := range 2000 {
		d := int64(1) << r.IntN(36)
		d += r.Int64N(d)
		all = append(all, d)
		sp := otlp.Span{TraceID: [16]byte{1, byte(i >> 8), byte(i)}, SpanID: span8(1), Name: "GET /a", Kind: 2, Start: base + uint64(i), End: base + uint64(i) + uint64(d)}
		if i%10 == 0 {
			sp.Status = 2
		}
		bring(t, s, foreign("shop", sp))
	}
	bring(t, s, foreign("bank", otlp.Span{TraceID: trace16(9), SpanID: span8(1), Name: "pay", Kind: 3, Start: base, End: base + 5}))
	slices.Sort(all)
	got := s.Operations(tracing.StatsQuery{})
	if len(got) != 2 || got[0].Service != "bank" || got[1].Operation != "GET /a" {
		t.Fatalf("operations %+v, want bank's and shop's", got)
	}
	op := got[1]
	if op.Count != 2000 || op.Errors != 200 || op.ErrorRate != .1 || int64(op.Max) != all[1999] || !slices.Equal(op.Kinds, []string{"server"}) {
		t.Errorf("count %d, errors %d (%v), max %d, kinds %v; want 2000, 200, 0.1, %d, server", op.Count, op.Errors, op.ErrorRate, op.Max, op.Kinds, all[1999])
	}
	if slow, err := s.Get(op.SlowestTraceID); err != nil || slow.Duration.Duration() != op.Max.Duration() {
		t.Errorf("slowest trace %s: %v, %v", op.SlowestTraceID, slow.Duration, err)
	}
	if bad, err := s.Get(op.LastErrorTraceID); err != nil || bad.Status != api.StatusError {
		t.Errorf("last error %s: %v, %v", op.LastErrorTraceID, bad.Status, err)
	}
	if op.Rate < 2000/61. || op.Rate > 2000/59. {
		t.Errorf("rate %v, want 2000 in about a minute", op.Rate)
	}
	for q, v := range map[float64]api.Seconds{.5: op.P50, .9: op.P90, .95: op.P95, .99: op.P99} {
		want := all[int(q*2000)-1]
		if off := float64(int64(v)-want) / float64(want); off > .01 || off < -.01 {
			t.Errorf("p%v is %d, want %d: %.2f %% off", q*100, v, want, off*100)
		}
	}
}

func TestOperationsOfAWindow(t *testing.T) {
	s := newStore(t, tracing.Options{})
	now := time.Now()
	for i, ago := range []time.Duration{time.Hour, 150 * time.Second, 90 * time.Second, 80 * time.Second} {
		start := uint64(now.Add(-ago).UnixNano())
		bring(t, s, foreign("shop",
			otlp.Span{TraceID: trace16(byte(i + 1)), SpanID: span8(1), Name: "a", Start: start, End: start + 1e6, Status: int32(i % 3)},
			otlp.Span{TraceID: trace16(byte(i + 1)), SpanID: span8(2), Name: "b", Start: start, End: start + 1e6}))
	}
	got := s.Operations(tracing.StatsQuery{Since: now.Add(-5 * time.Minute), Service: "shop", Operation: "a", Interval: time.Minute})
	if len(got) != 1 || got[0].Count != 3 || got[0].Errors != 1 || len(got[0].Series) < 2 {
		t.Fatalf("got %+v, want one operation of 3 spans in 2 or 3 minutes", got)
	}
	sum := api.Count(0)
	for _, p := range got[0].Series {
		if sum += p.Count; p.Start.Unix()%60 != 0 {
			t.Errorf("an interval begins at %v", p.Start)
		}
	}
	if sum != 3 {
		t.Errorf("the intervals hold %d spans, want 3", sum)
	}
	w := s.Window(tracing.StatsQuery{Since: now.Add(-5 * time.Minute)})
	if !w.From.Equal(now.Add(-5 * time.Minute)) {
		t.Errorf("window from %v, want five minutes ago", w.From)
	}
	if got := s.Operations(tracing.StatsQuery{Service: "none"}); len(got) != 0 {
		t.Errorf("operations of no service: %+v", got)
	}
}
