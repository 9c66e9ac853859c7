package main

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// A trace of more spans than the API answers with at once is shown whole, with
// the failure at its very end.
func TestShowOfATraceLongerThanAnAnswer(t *testing.T) {
	store, err := tracing.New(tracing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const spans = 50_000
	var all [][]byte
	for i := range uint32(spans) {
		sp := otlp.Span{
			TraceID: [16]byte{15: 1}, SpanID: [8]byte{1, 5: byte(i >> 16), 6: byte(i >> 8), 7: byte(i)}, Name: "step", Start: 1e18 + uint64(i)*1e3, End: 1e18 + uint64(i)*1e3 + 500,
			Attrs: []otlp.KeyValue{{Key: "text", Value: otlp.String(strings.Repeat("x", 100))}},
		}
		if i > 0 {
			sp.ParentID = [8]byte{1}
		}
		if i == spans-1 {
			sp.Status, sp.StatusMessage = 2, "the last one failed"
		}
		all = append(all, otlp.AppendSpan(nil, &sp))
	}
	if _, _, err := store.AddOTLP(otlp.AppendResourceSpans(nil, nil, &otlp.Scope{}, all...)); err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Options{Service: "long", Traces: store})
	if err != nil {
		t.Fatal(err)
	}
	served := httptest.NewServer(s)
	defer served.Close()
	var out, errs bytes.Buffer
	a := newApp(streams{strings.NewReader(""), &out, &errs}, func(string) string { return "" })
	if err := a.run(t.Context(), []string{"traces", "show", "00000000000000000000000000000001", "-o", "json", "-s", served.URL}); err != nil {
		t.Fatal(err, errs.String())
	}
	var shown struct {
		Items []struct {
			Spans []struct {
				StatusMessage string `json:"status_message"`
			}
			Truncated bool
			Service   string
		}
	}
	if err := json.Unmarshal(out.Bytes(), &shown); err != nil || len(shown.Items) != 1 {
		t.Fatal(err, out.String())
	}
	got := shown.Items[0]
	if len(got.Spans) != spans || got.Truncated || got.Spans[spans-1].StatusMessage != "the last one failed" {
		t.Errorf("%d spans, truncated %v; want all %d, the failed one at the end", len(got.Spans), got.Truncated, spans)
	}
}
