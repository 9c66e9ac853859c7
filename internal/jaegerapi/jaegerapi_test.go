package jaegerapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/jaegerapi"
	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// filled has two traces of web, which calls shop; the second one failed.
func filled(t *testing.T) http.Handler {
	t.Helper()
	store, err := tracing.New(tracing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	base := uint64(time.Now().Add(-10 * time.Minute).UnixNano())
	for i := range byte(2) {
		id, status := [16]byte{15: i + 1}, 2*int32(i)
		for service, sp := range map[string]otlp.Span{
			"web":  {TraceID: id, SpanID: [8]byte{1}, Name: "GET /", Kind: 2, Start: base, End: base + uint64(i+1)*1e8, Status: status},
			"shop": {TraceID: id, SpanID: [8]byte{2}, ParentID: [8]byte{1}, Name: "buy", Kind: 2, Start: base + 1, End: base + 2, Attrs: []otlp.KeyValue{{Key: "n", Value: otlp.Int(int64(i))}, {Key: "size", Value: otlp.Int(10485760)}}},
		} {
			res := otlp.AppendResource(nil, &otlp.Resource{Attrs: []otlp.KeyValue{{Key: "service.name", Value: otlp.String(service)}}})
			if _, _, err := store.AddOTLP(otlp.AppendResourceSpans(nil, res, &otlp.Scope{}, otlp.AppendSpan(nil, &sp))); err != nil {
				t.Fatal(err)
			}
		}
	}
	return jaegerapi.New(store)
}

// The answers have the form that Grafana and the UI read, and hold what was
// asked for.
func TestAnswers(t *testing.T) {
	h := filled(t)
	now := time.Now().UnixMicro()
	first, second := "00000000000000000000000000000001", "00000000000000000000000000000002"
	for _, tt := range []struct {
		ask    string
		status int
		want   string // data as JSON, or the ids of its traces, or the error's words
	}{
		{"/api/services", 200, `["shop","web"]`},
		{"/api/services/web/operations", 200, `["GET /"]`},
		{"/api/services/none/operations", 200, `[]`},
		{"/api/operations?service=shop", 200, `[{"name":"buy","spanKind":"server"}]`},
		{"/api/operations?service=shop&spanKind=client", 200, `[]`},
		{"/api/operations", 400, "'service' is required"},
		{"/api/dependencies?endTs=" + fmt.Sprint(now/1000) + "&lookback=3600000", 200, `[{"parent":"web","child":"shop","callCount":2}]`},
		{"/api/dependencies?endTs=x", 400, "'endTs'"},
		{"/api/traces/2", 200, second},
		{"/api/traces/" + first, 200, first},
		{"/api/traces/ff", 404, "trace not found"},
		{"/api/traces/xyz", 400, "want up to 32 hex digits"},
		{"/api/traces?service=web", 200, first + " " + second},
		{"/api/traces?service=web&limit=1", 200, first},
		{"/api/traces?service=web&operation=GET+%2F&minDuration=150ms", 200, second},
		{"/api/traces?service=web&maxDuration=150ms&operation=all", 200, first},
		{"/api/traces?service=web&tags=" + url.QueryEscape(`{"error":"true"}`), 200, second},
		{"/api/traces?service=shop&tags=" + url.QueryEscape(`{"n":1}`), 200, second},
		{"/api/traces?service=shop&tag=n:0", 200, first},
		{"/api/traces?service=shop&tags=" + url.QueryEscape(`{"size":10485760}`), 200, first + " " + second},
		{fmt.Sprintf("/api/traces?service=web&start=%d&end=%d", now-36e8, now), 200, first + " " + second},
		{fmt.Sprintf("/api/traces?service=web&start=%d&end=%d", now-6e7, now), 200, ""},
		{"/api/traces?service=web&lookback=5m", 200, ""},
		{"/api/traces?service=web&lookback=2d", 200, first + " " + second},
		{"/api/traces?traceID=2&traceID=1&traceID=9", 200, second + " " + first},
		{"/api/traces", 400, "'service' is required"},
		{"/api/traces?service=web&limit=0", 400, "'limit'"},
		{"/api/traces?service=web&minDuration=long", 400, "'minDuration'"},
		{"/api/traces?service=web&start=x", 400, "'start'"},
		{"/api/traces?service=web&lookback=x", 400, "'lookback'"},
		{"/api/traces?service=web&tags=x", 400, "malformed 'tags'"},
		{"/api/traces?service=web&tag=x", 400, "expecting key:value"},
	} {
		t.Run(tt.ask, func(t *testing.T) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", tt.ask, nil))
			var a struct {
				Data                 json.RawMessage
				Total, Limit, Offset *int
				Errors               []struct {
					Code int
					Msg  string
				}
			}
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.Total == nil || a.Limit == nil || a.Offset == nil {
				t.Fatalf("%v in %s", err, w.Body)
			}
			got := string(a.Data)
			if strings.HasPrefix(tt.ask, "/api/traces") && w.Code == 200 {
				var traces []struct{ TraceID string }
				if err := json.Unmarshal(a.Data, &traces); err != nil {
					t.Fatal(err)
				}
				var ids []string
				for _, tr := range traces {
					ids = append(ids, tr.TraceID)
				}
				got = strings.Join(ids, " ")
			}
			if w.Code >= 400 {
				if len(a.Errors) != 1 || a.Errors[0].Code != w.Code || string(a.Data) != "null" {
					t.Fatalf("status %d with %s", w.Code, w.Body)
				}
				got = a.Errors[0].Msg
			}
			if w.Code != tt.status || got != tt.want && !(w.Code >= 400 && strings.Contains(got, tt.want)) {
				t.Errorf("%d %s, want %d %s", w.Code, got, tt.status, tt.want)
			}
		})
	}
}
