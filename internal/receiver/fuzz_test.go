package receiver_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/pulsectl/pulsectl/internal/receiver"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// Whatever a request holds, it gets an answer, the same by HTTP and by gRPC, and
// leaves no memory claimed.
func FuzzReceive(f *testing.F) {
	body := []byte{0x0a, 0x02, 0x12, 0x00}
	f.Add(body, "")
	f.Add(gzipped(body), "gzip")
	f.Add(deflated(body), "deflate")
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x00, 0x21, 0x00, 0x00, 0x0a, 0x02, 0x12, 0x00}, "zstd")
	f.Add([]byte("hello"), "gzip")
	store, err := tracing.New(tracing.Options{MaxBytes: 1 << 20})
	if err != nil {
		f.Fatal(err)
	}
	rc, err := receiver.New(receiver.Options{Keep: store.AddOTLP, MaxBytes: 1 << 20, MaxInFlight: 8 << 20})
	if err != nil {
		f.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, rt := range rc.Routes() {
		mux.Handle(rt.Pattern, rt.Handler)
	}
	f.Fuzz(func(t *testing.T, body []byte, encoding string) {
		if strings.ToLower(strings.TrimSpace(encoding)) != encoding {
			return // HTTP takes those, gRPC does not
		}
		byHTTP := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/v1/traces", bytes.NewReader(body))
		r.Header.Set("Content-Type", protoType)
		r.Header.Set("Content-Encoding", encoding)
		mux.ServeHTTP(byHTTP, r)

		flags := byte(1)
		if encoding == "" || encoding == "identity" {
			flags = 0
		}
		byGRPC := httptest.NewRecorder()
		r = httptest.NewRequest("POST", exportTraces, bytes.NewReader(frame(flags, body)))
		r.ProtoMajor = 2
		r.Header.Set("Content-Type", "application/grpc")
		r.Header.Set("Grpc-Encoding", encoding)
		mux.ServeHTTP(byGRPC, r)

		status := byGRPC.Header().Get("Grpc-Status")
		want := map[int]string{200: "0", 400: "3", 413: "8", 415: "12"}[byHTTP.Code]
		if status == "" || status != want {
			t.Errorf("HTTP %d %q, gRPC status %q %q", byHTTP.Code, byHTTP.Body, status, byGRPC.Header().Get("Grpc-Message"))
		}
		if n := inFlight(t, rc); n != 0 {
			t.Errorf("%g bytes stay claimed", n)
		}
	})
}

// inFlight reads the gauge of the bytes in flight.
func inFlight(t *testing.T, rc *receiver.Receiver) float64 {
	t.Helper()
	return family(t, rc, "pulse_api_receiver_in_flight_bytes").GetMetric()[0].GetGauge().GetValue()
}

// requests reads how many requests of a protocol had an outcome.
func requests(t *testing.T, rc *receiver.Receiver, protocol, outcome string) float64 {
	t.Helper()
	for _, m := range family(t, rc, "pulse_api_receiver_requests_total").GetMetric() {
		of := map[string]string{}
		for _, l := range m.GetLabel() {
			of[l.GetName()] = l.GetValue()
		}
		if of["protocol"] == protocol && of["outcome"] == outcome {
			return m.GetCounter().GetValue()
		}
	}
	t.Fatalf("no counter of %s requests that were %s", protocol, outcome)
	return 0
}

func family(t *testing.T, rc *receiver.Receiver, name string) *dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(rc); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f
		}
	}
	t.Fatalf("no metric %s", name)
	return nil
}

// What reads as headers has none of an export's own, and no control characters.
func FuzzParseHeaders(f *testing.F) {
	f.Add("Authorization: Bearer x\n# no\nX-Scope-OrgID: a")
	f.Add("a:b\r\nContent-Type: c")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := receiver.ParseHeaders(text)
		if err != nil {
			return
		}
		for name, values := range h {
			if strings.HasPrefix(name, "Content-") || strings.ContainsAny(name+strings.Join(values, ""), "\r\n\x00") {
				t.Errorf("ParseHeaders(%q) = %q", text, h)
			}
		}
	})
}
