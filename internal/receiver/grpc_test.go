package receiver_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/receiver"
)

const exportTraces = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

// h2 is a client that speaks HTTP/2 without TLS, as gRPC clients do.
var h2 = func() *http.Client {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: p}}
}()

func frame(flags byte, message []byte) []byte {
	b := append([]byte{flags}, binary.BigEndian.AppendUint32(nil, uint32(len(message)))...)
	return append(b, message...)
}

// outcome of a gRPC call.
type called struct {
	status, message, details string
	body                     []byte
	http                     int
}

func call(t *testing.T, base string, body []byte, headers ...string) called {
	t.Helper()
	return callTo(t, base+exportTraces, bytes.NewReader(body), headers...)
}

func callTo(t *testing.T, to string, body io.Reader, headers ...string) called {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, to, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := h2.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	out := called{http: res.StatusCode}
	if out.body, err = io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	end := res.Trailer
	if res.Header.Get("Grpc-Status") != "" {
		end = res.Header
	}
	out.status = end.Get("Grpc-Status")
	out.message, _ = url.PathUnescape(end.Get("Grpc-Message"))
	details, err := base64.RawStdEncoding.DecodeString(end.Get("Grpc-Status-Details-Bin"))
	if err != nil {
		t.Errorf("details: %v", err)
	}
	out.details = string(details)
	return out
}

func TestGRPCTaken(t *testing.T) {
	p, large := protobuf(t, traces(3, false)), protobuf(t, traces(3000, false))
	for _, tt := range []struct {
		name    string
		body    []byte
		spans   int
		headers []string
	}{
		{"plain", frame(0, p), 3, nil},
		{"large", frame(0, large), 3000, nil},
		{"with the name of its codec", frame(0, p), 3, []string{"Content-Type", "application/grpc+proto"}},
		{"gzip", frame(1, gzipped(large)), 3000, []string{"Grpc-Encoding", "gzip"}},
		{"zstd", frame(1, zstandard(t, large)), 3000, []string{"Grpc-Encoding", "zstd"}},
		{"gzip not used", frame(0, p), 3, []string{"Grpc-Encoding", "gzip"}},
		{"deadline", frame(0, p), 3, []string{"Grpc-Timeout", "10S"}},
		{"endless deadline", frame(0, p), 3, []string{"Grpc-Timeout", "99999999H"}},
		{"empty", frame(0, nil), 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store, srv := newReceiver(t, receiver.Options{})
			for range 2 {
				got := call(t, srv.URL, tt.body, tt.headers...)
				if got.status != "0" || got.http != 200 || !bytes.Equal(got.body, make([]byte, 5)) {
					t.Errorf("answer %+v", got)
				}
			}
			if n := store.Stats().Spans; n != tt.spans {
				t.Errorf("%d spans kept, want %d", n, tt.spans)
			}
		})
	}
}

func TestGRPCRefused(t *testing.T) {
	p := protobuf(t, traces(3, false))
	zeros := make([]byte, 4<<20)
	for _, tt := range []struct {
		name    string
		body    []byte
		status  string
		says    string
		headers []string
	}{
		{"broken", frame(0, []byte("hello, world")), "3", "read OTLP request", nil},
		{"no message", nil, "3", "no message", nil},
		{"half a prefix", []byte{0, 0}, "3", "no message", nil},
		{"cut", frame(0, p)[:20], "3", "cut off", nil},
		{"two messages", append(frame(0, p), frame(0, p)...), "3", "something follows", nil},
		{"flags", frame(7, p), "3", "flags", nil},
		{"larger than allowed", append([]byte{0, 0xff, 0xff, 0xff, 0xff}, p...), "8", "larger than", nil},
		{"gzip bomb", frame(1, gzipped(zeros)), "8", "larger than", []string{"Grpc-Encoding", "gzip"}},
		{"zstd bomb", frame(1, zstandard(t, zeros)), "8", "larger than", []string{"Grpc-Encoding", "zstd"}},
		{"broken gzip", frame(1, p), "3", "inflate gzip", []string{"Grpc-Encoding", "gzip"}},
		{"snappy", frame(1, p), "12", "gzip, zstd", []string{"Grpc-Encoding", "snappy"}},
		{"compressed somehow", frame(1, p), "13", "does not say how", nil},
		{"deadline", frame(0, p), "3", "grpc-timeout", []string{"Grpc-Timeout", "soon"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store, srv := newReceiver(t, receiver.Options{MaxBytes: 1 << 20})
			got := call(t, srv.URL, tt.body, tt.headers...)
			if got.status != tt.status || !strings.Contains(got.message, tt.says) || got.http != 200 || strings.Contains(got.details, "RetryInfo") {
				t.Errorf("answer %+v, want status %s and %q", got, tt.status, tt.says)
			}
			if n := store.Stats().Traces; n != 0 {
				t.Errorf("%d traces kept", n)
			}
			if got := call(t, srv.URL, frame(0, p)); got.status != "0" {
				t.Errorf("the next one: %+v", got)
			}
		})
	}
}

func TestGRPCPartialSuccess(t *testing.T) {
	_, srv := newReceiver(t, receiver.Options{})
	got := call(t, srv.URL, frame(0, protobuf(t, traces(3, true))))
	if got.status != "0" || len(got.body) < 12 || got.body[5] != 1<<3|2 || !strings.Contains(string(got.body), "were not kept") {
		t.Errorf("answer %+v", got)
	}
}

func TestGRPCOtherSignals(t *testing.T) {
	_, srv := newReceiver(t, receiver.Options{})
	for _, service := range []string{"metrics.v1.MetricsService", "logs.v1.LogsService", "profiles.v1development.ProfilesService"} {
		got := callTo(t, srv.URL+"/opentelemetry.proto.collector."+service+"/Export", bytes.NewReader(frame(0, nil)))
		if got.status != "12" || !strings.Contains(got.message, "keeps traces only") {
			t.Errorf("%s: %+v", service, got)
		}
	}
}

// Who speaks no gRPC to its path is told so in words.
func TestNoGRPC(t *testing.T) {
	_, srv := newReceiver(t, receiver.Options{})
	for _, tt := range []struct {
		client      *http.Client
		contentType string
		status      int
	}{{http.DefaultClient, "application/grpc", 505}, {h2, "application/json", 415}, {h2, "application/grpc-web", 415}} {
		res, err := tt.client.Post(srv.URL+exportTraces, tt.contentType, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != tt.status || !strings.Contains(string(body), "/v1/traces") {
			t.Errorf("%s: %d %s", tt.contentType, res.StatusCode, body)
		}
	}
}

func TestGRPCDeadline(t *testing.T) {
	_, srv := newReceiver(t, receiver.Options{})
	r, w := io.Pipe()
	defer w.Close()
	go func() { _, _ = w.Write(frame(0, make([]byte, 100))[:50]) }()
	if got := callTo(t, srv.URL+exportTraces, r, "Grpc-Timeout", "50m"); got.status != "4" {
		t.Errorf("a message that does not come: %+v, want DEADLINE_EXCEEDED", got)
	}
}

// Frames that are no HTTP/2 end their connection, and no other.
func TestHostileFrames(t *testing.T) {
	_, srv := newReceiver(t, receiver.Options{})
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	settings := "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	for name, bytes := range map[string]string{
		"a frame beyond the size":   preface + settings + "\xff\xff\xff\x00\x00\x00\x00\x00\x01",
		"data on no stream":         preface + settings + "\x00\x00\x01\x00\x00\x00\x00\x00\x01x",
		"a window of nothing":       preface + settings + "\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"headers that are no HPACK": preface + settings + "\x00\x00\x04\x01\x04\x00\x00\x00\x01\xff\xff\xff\xff",
		"no settings":               preface + strings.Repeat("\x00", 64),
		"half a preface":            preface[:10] + "\r\n\r\n",
		"no HTTP at all":            strings.Repeat("\x16\x03\x01", 50) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, bytes); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := io.Copy(io.Discard, bufio.NewReader(c)); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("the connection stays open: %v", err)
			}
			if got := call(t, srv.URL, frame(0, nil)); got.status != "0" {
				t.Errorf("another connection: %+v", got)
			}
		})
	}
}
