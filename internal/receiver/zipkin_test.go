package receiver_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/receiver"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

const zipkinSpans = `[{"traceId":"48485a3953bb6124","id":"48485a3953bb6124","name":"get /","kind":"SERVER","timestamp":1700000000000000,"duration":9000,
 "localEndpoint":{"serviceName":"web"},"tags":{"error":"boom","http.path":"/"},"annotations":[{"timestamp":1700000000000500,"value":"retry"}]}]`

// Spans of a Zipkin reporter are a trace here; what is wrong with a request is
// said.
func TestZipkin(t *testing.T) {
	store, err := tracing.New(tracing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	rc, err := receiver.New(receiver.Options{Keep: store.AddOTLP, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(rc.Zipkin())
	defer srv.Close()
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	io.WriteString(z, zipkinSpans)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, body, kind, encoding string
		status                     int
		says                       string
	}{
		{"plain", zipkinSpans, "application/json", "", 202, ""},
		{"gzip, sent again", zipped.String(), "application/json; charset=utf-8", "gzip", 202, ""},
		{"no type", "[]", "", "", 202, ""},
		{"nothing", "", "application/json", "", 400, "want a list of spans, got nothing"},
		{"an object", "{}", "application/json", "", 400, "want a list of spans, got an object"},
		{"broken", `[{"traceId":"1","id":"1"},]`, "application/json", "", 400, "line 1, column 27"},
		{"a bad id", `[{"traceId":"48485a3953bb6124","id":"x"}]`, "application/json", "", 400, "[0].id: want hex digits"},
		{"two lists", `[] []`, "application/json", "", 400, "something stands behind the list"},
		{"not gzip", "[]", "application/json", "gzip", 400, "inflate gzip"},
		{"another encoding", "[]", "application/json", "br", 415, "send one of gzip, zstd"},
		{"another type", "[]", "application/x-protobuf", "", 415, "send application/json"},
		{"too large", "[" + strings.Repeat(" ", 33<<20) + "]", "application/json", "", 413, "send smaller batches"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequest("POST", srv.URL+"/api/v2/spans", strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = http.Header{"Content-Type": {tt.kind}, "Content-Encoding": {tt.encoding}}
			resp, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			said, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != tt.status || !strings.Contains(string(said), tt.says) {
				t.Errorf("%s %q, want %d and %q", resp.Status, said, tt.status, tt.says)
			}
		})
	}
	for what, want := range map[string]float64{"accepted": 3, "invalid": 6, "unsupported": 2, "too_large": 1} {
		if n := requests(t, rc, "zipkin", what); n != want {
			t.Errorf("%g requests counted as %s, want %g", n, what, want)
		}
	}
	if n := strings.Count(logged.String(), "spans refused"); n == 0 || n > 3 {
		t.Errorf("%d lines about 9 refusals, want one a second:\n%s", n, &logged)
	}
	got, err := store.Get("000000000000000048485a3953bb6124")
	if err != nil || got.SpanCount.Value() != 1 || got.Service != "web" || got.Status != api.StatusError || got.Spans[0].StatusMessage != "boom" ||
		got.Spans[0].Kind != "server" || got.Spans[0].Logs[0].Message != "retry" || got.Duration.Duration().Milliseconds() != 9 {
		t.Errorf("kept %+v, %v", got, err)
	}
}
