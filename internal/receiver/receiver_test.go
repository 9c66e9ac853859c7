package receiver_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pulsectl/pulsectl/internal/receiver"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

func newReceiver(t *testing.T, o receiver.Options) (*tracing.Store, *httptest.Server) {
	t.Helper()
	store, err := tracing.New(tracing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o.Store = store
	rc, err := receiver.New(o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(rc)
	t.Cleanup(srv.Close)
	return store, srv
}

// traces returns n spans of one trace; the last has no ids if broken is set.
func traces(n int, broken bool) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "shop")
	ss := rs.ScopeSpans().AppendEmpty()
	for i := range n {
		s := ss.Spans().AppendEmpty()
		s.SetName("op")
		if broken && i == n-1 {
			continue
		}
		s.SetTraceID(pcommon.TraceID{1, 2, 3})
		s.SetSpanID(pcommon.SpanID{byte(i + 1)})
		s.SetStartTimestamp(1_700_000_000_000_000_000)
		s.SetEndTimestamp(1_700_000_000_100_000_000)
	}
	return td
}

func protobuf(t *testing.T, td ptrace.Traces) []byte {
	t.Helper()
	b, err := new(ptrace.ProtoMarshaler).MarshalTraces(td)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func jsonOf(t *testing.T, td ptrace.Traces) []byte {
	t.Helper()
	b, err := new(ptrace.JSONMarshaler).MarshalTraces(td)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func zstandard(t *testing.T, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

func post(t *testing.T, url, contentType, encoding string, body []byte) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

const (
	protoType = "application/x-protobuf"
	jsonType  = "application/json"
)

func TestTaken(t *testing.T) {
	p, j := protobuf(t, traces(3, false)), jsonOf(t, traces(3, false))
	for _, tt := range []struct {
		name, contentType, encoding string
		body                        []byte
		want                        string
	}{
		{"protobuf", protoType, "", p, ""},
		{"json", jsonType, "", j, "{}"},
		{"json with a charset", "application/json; charset=utf-8", "", j, "{}"},
		{"gzip", protoType, "gzip", gzipped(p), ""},
		{"zstd", protoType, "zstd", zstandard(t, p), ""},
		{"gzipped json", jsonType, "gzip", gzipped(j), "{}"},
		{"empty", protoType, "", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store, srv := newReceiver(t, receiver.Options{})
			res, body := post(t, srv.URL, tt.contentType, tt.encoding, tt.body)
			if res.StatusCode != 200 || body != tt.want || !strings.HasPrefix(tt.contentType, res.Header.Get("Content-Type")) {
				t.Errorf("answer %d %q %q", res.StatusCode, res.Header.Get("Content-Type"), body)
			}
			if n := store.Stats().Spans; n != 3 && tt.body != nil {
				t.Errorf("%d spans kept, want 3", n)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	p := protobuf(t, traces(3, false))
	bomb := gzipped(make([]byte, 4<<20))
	for _, tt := range []struct {
		name, contentType, encoding string
		body                        []byte
		status                      int
	}{
		{"broken protobuf", protoType, "", []byte("hello, world"), 400},
		{"broken json", jsonType, "", []byte(`{"resourceSpans":[{`), 400},
		{"no json", jsonType, "", []byte(`hello`), 400},
		{"broken gzip", protoType, "gzip", p, 400},
		{"cut gzip", protoType, "gzip", gzipped(p)[:20], 400},
		{"broken zstd", protoType, "zstd", p, 400},
		{"gzip bomb", protoType, "gzip", bomb, 413},
		{"zstd bomb", protoType, "zstd", zstandard(t, make([]byte, 4<<20)), 413},
		{"large", protoType, "", make([]byte, 2<<20), 413},
		{"text", "text/plain", "", p, 415},
		{"no type", "", "", p, 415},
		{"brotli", protoType, "br", p, 415},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store, srv := newReceiver(t, receiver.Options{MaxBytes: 1 << 20})
			res, body := post(t, srv.URL, tt.contentType, tt.encoding, tt.body)
			if res.StatusCode != tt.status {
				t.Errorf("answer %d %q, want %d", res.StatusCode, body, tt.status)
			}
			switch res.Header.Get("Content-Type") {
			case jsonType:
				var st struct {
					Code    int
					Message string
				}
				if err := json.Unmarshal([]byte(body), &st); err != nil || st.Code == 0 || st.Message == "" {
					t.Errorf("status %q: %v", body, err)
				}
			case protoType:
				if tt.contentType != protoType || len(body) < 4 || body[0] != 1<<3 || body[2] != 2<<3|2 {
					t.Errorf("status %q", body)
				}
			default:
				t.Errorf("content type %q", res.Header.Get("Content-Type"))
			}
			if n := store.Stats().Traces; n != 0 {
				t.Errorf("%d traces kept", n)
			}
		})
	}
}

func TestPartialSuccess(t *testing.T) {
	store, srv := newReceiver(t, receiver.Options{})
	_, body := post(t, srv.URL, jsonType, "", jsonOf(t, traces(3, true)))
	if !strings.Contains(body, `"rejectedSpans":"1"`) || !strings.Contains(body, "errorMessage") {
		t.Errorf("answer %s", body)
	}
	_, body = post(t, srv.URL, protoType, "", protobuf(t, traces(3, true)))
	if len(body) < 6 || body[0] != 1<<3|2 || body[2] != 1<<3 && body[3] != 1<<3 {
		t.Errorf("answer %q", body)
	}
	if n := store.Stats().Spans; n != 2 {
		t.Errorf("%d spans kept, want 2", n)
	}
}

func TestMethod(t *testing.T) {
	_, srv := newReceiver(t, receiver.Options{})
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 405 || res.Header.Get("Allow") != "POST" {
		t.Errorf("answer %d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
	}
}

// TestFull holds the only place with a body that does not end.
func TestFull(t *testing.T) {
	_, srv := newReceiver(t, receiver.Options{Parallel: 1, Wait: 10 * time.Millisecond})
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		req, err := http.NewRequest(http.MethodPost, srv.URL, r)
		if err != nil {
			return
		}
		req.Header.Set("Content-Type", protoType)
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
		}
	}()
	if _, err := w.Write([]byte{0x0a}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for { // until the server has begun with the first request
		res, _ := post(t, srv.URL, protoType, "", nil)
		if res.StatusCode == 503 && res.Header.Get("Retry-After") != "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("answer %d, want 503 with Retry-After", res.StatusCode)
		}
	}
	w.Close()
	<-done
}
