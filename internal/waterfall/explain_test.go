package waterfall_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// What machines read is the API's trace, spans in its order, with what is worked
// out beside each.
func TestExplain(t *testing.T) {
	spans := append(shop(true), with(sp("early", "qi1", -5, 1), of("db")))
	tr := api.Trace{TraceID: "t", SpanCount: api.CountOf(17), Spans: spans}
	s, err := waterfall.Show(tr, time.Time{}, waterfall.Options{Span: "i1"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(waterfall.Explain(s))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		TraceID string `json:"trace_id"`
		Spans   []struct {
			SpanID   string  `json:"span_id"`
			Self     float64 `json:"self"`
			Critical float64 `json:"critical"`
			Suspect  []struct {
				What string  `json:"what"`
				By   float64 `json:"by"`
			} `json:"suspect"`
		} `json:"spans"`
		CriticalPath []struct {
			SpanID string  `json:"span_id"`
			Own    float64 `json:"own"`
		} `json:"critical_path"`
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, s := range got.Spans {
		ids = append(ids, s.SpanID)
	}
	if got.TraceID != "t" || strings.Join(ids, " ") != "i1 qi1 li1 early" {
		t.Errorf("trace %q with %v", got.TraceID, ids)
	}
	if got.Spans[0].Self != 0.005 || got.Spans[0].Critical != 0.005 || got.Spans[3].Suspect[0].What != "starts_early" || got.Spans[3].Suspect[0].By != 0.016 {
		t.Errorf("spans %+v", got.Spans)
	}
	if len(got.CriticalPath) != 3 || got.CriticalPath[0].SpanID != "i1" {
		t.Errorf("critical path %+v", got.CriticalPath)
	}
	if _, err := waterfall.Show(tr, time.Time{}, waterfall.Options{Span: "nope"}); err == nil {
		t.Error("a span that is not there is shown")
	}
}
