package receiver_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/receiver"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// newReceiver serves a receiver on a listener as pulsectl does: HTTP/1.1 and
// HTTP/2 without TLS.
func newReceiver(t *testing.T, o receiver.Options) (*tracing.Store, *httptest.Server) {
	t.Helper()
	store, err := tracing.New(tracing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if o.Keep == nil {
		o.Keep = store.AddOTLP
	}
	return store, serve(t, o)
}

func serve(t *testing.T, o receiver.Options) *httptest.Server {
	t.Helper()
	rc, err := receiver.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return serveReceiver(t, rc)
}

func serveReceiver(t *testing.T, rc *receiver.Receiver) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	for _, rt := range rc.Routes() {
		mux.Handle(rt.Pattern, rt.Handler)
	}
	srv := httptest.NewUnstartedServer(mux)
	srv.Listener = receiver.Listen(srv.Listener)
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv
}

const (
	protoType = "application/x-protobuf"
	jsonType  = "application/json"
)

func TestTaken(t *testing.T) {
	p, j := protobuf(t, traces(3, false)), jsonOf(t, traces(3, false))
	large := protobuf(t, traces(3000, false))
	for _, tt := range []struct {
		name, contentType, encoding string
		body                        []byte
		spans                       int
		want                        string
	}{
		{"protobuf", protoType, "", p, 3, ""},
		{"protobuf with a parameter", "application/x-protobuf; messageType=x", "", p, 3, ""},
		{"protobuf by its registered name", "application/protobuf", "", p, 3, ""},
		{"json", jsonType, "", j, 3, "{}"},
		{"json with a charset", "Application/JSON; charset=utf-8", "", j, 3, "{}"},
		{"identity", protoType, "identity", p, 3, ""},
		{"gzip", protoType, "gzip", gzipped(p), 3, ""},
		{"gzip in capitals", protoType, "GZIP", gzipped(p), 3, ""},
		{"gzip in two members", protoType, "gzip", append(gzipped(p[:20]), gzipped(p[20:])...), 3, ""},
		{"large gzip", protoType, "gzip", gzipped(large), 3000, ""},
		{"deflate", protoType, "deflate", deflated(large), 3000, ""},
		{"zstd", protoType, "zstd", zstandard(t, p), 3, ""},
		{"large zstd", protoType, "zstd", zstandard(t, large), 3000, ""},
		{"zstd of unknown size", protoType, "zstd", zstandardStream(t, large), 3000, ""},
		{"zstd in two frames", protoType, "zstd", append(zstandard(t, p[:20]), zstandard(t, p[20:])...), 3, ""},
		{"gzipped json", jsonType, "gzip", gzipped(j), 3, "{}"},
		{"empty", protoType, "", nil, 0, ""},
		{"empty json", jsonType, "", []byte("{}"), 0, "{}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store, srv := newReceiver(t, receiver.Options{})
			for range 2 { // the second with the memory of the first
				res, body := post(t, srv.URL, tt.contentType, tt.encoding, tt.body)
				if res.StatusCode != 200 || body != tt.want {
					t.Errorf("answer %d %q %q", res.StatusCode, res.Header.Get("Content-Type"), body)
				}
				want := protoType
				if strings.Contains(strings.ToLower(tt.contentType), "json") {
					want = jsonType
				}
				if got := res.Header.Get("Content-Type"); got != want {
					t.Errorf("content type %q, want %q", got, want)
				}
			}
			if n := store.Stats().Spans; n != tt.spans {
				t.Errorf("%d spans kept, want %d", n, tt.spans)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	p := protobuf(t, traces(3, false))
	zeros := make([]byte, 4<<20)
	for _, tt := range []struct {
		name, contentType, encoding string
		body                        []byte
		status                      int
	}{
		{"broken protobuf", protoType, "", []byte("hello, world"), 400},
		{"broken json", jsonType, "", []byte(`{"resourceSpans":[{`), 400},
		{"no json", jsonType, "", []byte(`hello`), 400},
		{"deep json", jsonType, "", []byte(`{"resourceSpans":` + strings.Repeat("[", 200_000)), 400},
		{"broken gzip", protoType, "gzip", p, 400},
		{"cut gzip", protoType, "gzip", gzipped(p)[:20], 400},
		{"broken deflate", protoType, "deflate", p, 400},
		{"broken zstd", protoType, "zstd", p, 400},
		{"cut zstd", protoType, "zstd", zstandard(t, p)[:20], 400},
		{"gzip bomb", protoType, "gzip", gzipped(zeros), 413},
		{"deflate bomb", protoType, "deflate", deflated(zeros), 413},
		{"zstd bomb", protoType, "zstd", zstandard(t, zeros), 413},
		{"zstd bomb of unknown size", protoType, "zstd", zstandardStream(t, zeros), 413},
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
			if tt.status == 415 && !strings.Contains(res.Header.Get("Accept-Encoding"), "gzip") {
				t.Errorf("Accept-Encoding %q", res.Header.Get("Accept-Encoding"))
			}
			checkStatus(t, tt.contentType, res, body)
			if n := store.Stats().Traces; n != 0 {
				t.Errorf("%d traces kept", n)
			}
		})
	}
}

// checkStatus checks that an answer is a google.rpc.Status in its request's form.
func checkStatus(t *testing.T, asked string, res *http.Response, body string) {
	t.Helper()
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
		if asked != protoType || len(body) < 4 || body[0] != 1<<3 || body[2] != 2<<3|2 {
			t.Errorf("status %q", body)
		}
	default:
		t.Errorf("content type %q", res.Header.Get("Content-Type"))
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

func TestOtherSignals(t *testing.T) {
	_, srv := newReceiver(t, receiver.Options{})
	for _, path := range []string{"/v1/metrics", "/v1/logs", "/v1development/profiles"} {
		res, err := http.Post(srv.URL+path, jsonType, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 404 || !strings.Contains(string(body), "keeps traces only") {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
}

func TestMethod(t *testing.T) {
	_, srv := newReceiver(t, receiver.Options{})
	res, err := http.Get(srv.URL + "/v1/traces")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 405 || res.Header.Get("Allow") != "POST" {
		t.Errorf("answer %d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
	}
}

// heldBytes is the size of the request that fills a receiver.
const heldBytes = 1 << 20

// fullReceiver serves a receiver whose memory is taken, but for 16 bytes, by a
// request that is being kept until release.
func fullReceiver(t *testing.T) (store *tracing.Store, srv *httptest.Server, release func()) {
	t.Helper()
	store, err := tracing.New(tracing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	entered, gate, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	srv = serve(t, receiver.Options{MaxInFlight: heldBytes + 16, Keep: func(body []byte) (int, int, error) {
		if len(body) == heldBytes {
			close(entered)
			<-gate
			return 1, 0, nil
		}
		return store.AddOTLP(body)
	}})
	go func() {
		defer close(done)
		if res, err := http.Post(srv.URL+"/v1/traces", protoType, bytes.NewReader(make([]byte, heldBytes))); err == nil {
			res.Body.Close()
		}
	}()
	<-entered
	release = sync.OnceFunc(func() { close(gate); <-done })
	t.Cleanup(release)
	return store, srv, release
}

// A request for which there is no memory is answered at once, and says when to
// come again.
func TestFull(t *testing.T) {
	_, srv, release := fullReceiver(t)
	body := protobuf(t, traces(3, false))
	if res, _ := post(t, srv.URL, protoType, "", body); res.StatusCode != 429 || res.Header.Get("Retry-After") != "1" {
		t.Errorf("in protobuf: %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
	if res, text := post(t, srv.URL, jsonType, "", jsonOf(t, traces(3, false))); res.StatusCode != 429 || !strings.Contains(text, `"retryDelay":"1s"`) {
		t.Errorf("in JSON: %d %s", res.StatusCode, text)
	}
	if got := call(t, srv.URL, frame(0, body)); got.status != "8" || !strings.Contains(got.details, "google.rpc.RetryInfo") {
		t.Errorf("by gRPC: %+v, want RESOURCE_EXHAUSTED with RetryInfo", got)
	}
	release()
	if res, _ := post(t, srv.URL, protoType, "", body); res.StatusCode != 200 {
		t.Errorf("once there is room: %d", res.StatusCode)
	}
}

// A request that could never fit is not told to come again.
func TestTooLargeForAllMemory(t *testing.T) {
	_, srv := newReceiver(t, receiver.Options{MaxInFlight: 1 << 20, MaxBytes: 4 << 20})
	objects := []byte(`{"resourceSpans":[` + strings.Repeat("{},", 10_000) + `{}]}`) // 30 kB, of which a decoder makes megabytes
	for contentType, body := range map[string][]byte{protoType: make([]byte, 3<<20), jsonType: objects} {
		if res, says := post(t, srv.URL, contentType, "", body); res.StatusCode != 413 || !strings.Contains(says, "more memory than the 1048576 bytes") {
			t.Errorf("%s: %d %s, want 413", contentType, res.StatusCode, says)
		}
	}
}

// A hundred senders that announce a megabyte and do not send it leave room for
// one that does.
func TestAnnouncingHoldsNothing(t *testing.T) {
	rc, err := receiver.New(receiver.Options{MaxInFlight: 16 << 20, Keep: func([]byte) (int, int, error) { return 1, 0, nil }})
	if err != nil {
		t.Fatal(err)
	}
	srv := serveReceiver(t, rc)
	for range 100 {
		c, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n\n", protoType, 1<<20)
	}
	eventually(t, "64 KiB for each", func() bool { return inFlight(t, rc) == 100*64<<10 })
	if res, says := post(t, srv.URL, protoType, "", protobuf(t, traces(10_000, false))); res.StatusCode != 200 {
		t.Errorf("one that sends: %d %s", res.StatusCode, says)
	}
}

func TestSlowBody(t *testing.T) {
	_, srv := newReceiver(t, receiver.Options{BodyTimeout: 50 * time.Millisecond})
	r, w := io.Pipe()
	defer w.Close()
	req, err := http.NewRequest(http.MethodPost, srv.URL+"/v1/traces", io.MultiReader(bytes.NewReader([]byte{0x0a}), r))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", protoType)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusRequestTimeout {
		t.Errorf("a body that does not come: %d, want 408", res.StatusCode)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}
