package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

// fetch reads an answer of a running server as T.
func fetch[T any](t *testing.T, url string) (v T) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %s, %v", url, resp.Status, b, err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	return v
}

func post(t *testing.T, url, contentType string, body []byte) {
	t.Helper()
	resp, err := http.Post(url, contentType, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("POST %s: %s %s", url, resp.Status, b)
	}
}

func heapProfile(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := pprof.Lookup("heap").WriteTo(&b, 0); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What a server was given before its end is there after its next start: a
// trace, a profile and its place on the trace, the audit record.
func TestServeKeepsItsDataDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	t.Run("first", func(t *testing.T) {
		r := serve(t, nil, "--data-dir", dir, "--sync", "always")
		sp := otlp.Span{TraceID: [16]byte{0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36},
			SpanID: [8]byte{1}, Name: "GET /orders", Start: 1, End: 2}
		post(t, r.base+"/v1/traces", "application/x-protobuf", otlp.AppendResourceSpans(nil, nil, &otlp.Scope{}, otlp.AppendSpan(nil, &sp)))
		post(t, r.base+"/monitoring/circuit-breakers/reset-all", "", nil)
		post(t, r.base+"/monitoring/profiling/profiles?operation=batch", "application/octet-stream", heapProfile(t))
	})
	t.Run("second", func(t *testing.T) {
		r := serve(t, map[string]string{"PULSECTL_DATA_DIR": dir})
		tr := fetch[api.TraceGet](t, r.base+"/monitoring/traces?trace_id="+id).Trace
		if tr.Root != "GET /orders" || len(tr.Spans) != 1 {
			t.Errorf("trace = %+v", tr)
		}
		if a := fetch[api.Audit](t, r.base+"/monitoring/audit"); len(a.Entries) != 1 || a.Entries[0].Action != "breakers.reset_all" {
			t.Errorf("audit = %+v", a)
		}
		post(t, r.base+"/monitoring/circuit-breakers/reset-all", "", nil)
		asked, err := client.New(r.base, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := asked.CheckAudit(t.Context())
		if err != nil || !c.Whole || c.Entries != 2 || c.First != 1 || c.Last != 2 {
			t.Errorf("chain over two starts = %+v, %v", c, err)
		}
		if p := fetch[api.Profiles](t, r.base+"/monitoring/profiling/profiles"); len(p.Profiles) != 1 {
			t.Errorf("profiles = %+v", p)
		}
		if c := fetch[api.Health](t, r.base+"/monitoring/health/detailed").Checks["data_dir"]; c.Status != "healthy" {
			t.Errorf("check = %+v", c)
		}
		cfg := fetch[map[string]map[string]any](t, r.base+"/monitoring/debug/config")
		if cfg["storage"]["data_dir"] != dir || cfg["storage"]["sync"] != "1s" || cfg["sources"]["storage.data_dir"] != "environment" {
			t.Errorf("config = %v, %v", cfg["storage"], cfg["sources"])
		}
		a := newApp(streams{strings.NewReader(""), io.Discard, io.Discard}, func(string) string { return "" })
		err = a.run(context.Background(), []string{"serve", "--listen", "127.0.0.1:0", "--otlp-http", "off", "--otlp-grpc", "off", "--data-dir", dir})
		var se *serverError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), "in use by another process") {
			t.Errorf("a second server in the same directory = %v", err)
		}
	})
}
