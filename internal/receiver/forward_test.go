package receiver_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pulsectl/pulsectl/internal/receiver"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// forwarding runs a forwarder with short times until stop, or the test's end,
// when nothing of it may be left.
func forwarding(t *testing.T, o receiver.ForwardOptions) (f *receiver.Forwarder, stop func()) {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	o.MinWait, o.MaxWait = 5*time.Millisecond, 20*time.Millisecond
	f, err := receiver.NewForwarder(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(func() { // after the servers that came later are closed
		stop()
		http.DefaultClient.CloseIdleConnections()
		h2.CloseIdleConnections()
		goleak.VerifyNone(t, leaks)
	})
	return f, stop
}

// chain is a door that forwards to url.
func chain(t *testing.T, o receiver.ForwardOptions) (f *receiver.Forwarder, front *httptest.Server, stop func()) {
	t.Helper()
	f, stop = forwarding(t, o)
	_, front = newReceiver(t, receiver.Options{Forward: f})
	return f, front, stop
}

// scripted is an OTLP/HTTP endpoint that answers with the statuses given, then
// always with the last.
func scripted(t *testing.T, answers ...func(w http.ResponseWriter, r *http.Request)) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		n := int(asked.Add(1))
		answers[min(n, len(answers))-1](w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, asked
}

func status(n int, header ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(n)
	}
}

func send(t *testing.T, srv *httptest.Server, spans int) {
	t.Helper()
	if res, body := post(t, srv.URL, protoType, "", protobuf(t, traces(spans, false))); res.StatusCode != 200 {
		t.Fatalf("the front: %d %s", res.StatusCode, body)
	}
}

func TestForward(t *testing.T) {
	for _, scheme := range []string{"http://", "grpc://"} {
		t.Run(scheme, func(t *testing.T) {
			back, behind := newReceiver(t, receiver.Options{})
			f, front, stop := chain(t, receiver.ForwardOptions{URL: scheme + behind.Listener.Addr().String()})
			send(t, front, 300)
			if res, _ := post(t, front.URL, jsonType, "gzip", gzipped(jsonOf(t, traces(400, false)))); res.StatusCode != 200 {
				t.Fatalf("JSON: %d", res.StatusCode)
			}
			eventually(t, "all spans behind", func() bool { return back.Stats().Spans == 400 && f.Stats().Sent == 700 })
			stop()
			if st := f.Stats(); st.QueueBytes != 0 || st.Failures != 0 || st.Failing {
				t.Errorf("at the end: %+v", st)
			}
		})
	}
}

// What comes by Zipkin's door is forwarded too.
func TestForwardFromZipkin(t *testing.T) {
	url, asked := scripted(t, status(200))
	f, _ := forwarding(t, receiver.ForwardOptions{URL: url})
	rc, err := receiver.New(receiver.Options{Keep: func([]byte) (int, int, error) { return 3, 1, nil }, Forward: f})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	rc.Zipkin().ServeHTTP(w, httptest.NewRequest("POST", "/api/v2/spans", strings.NewReader(zipkinSpans)))
	if w.Code != 202 || !strings.Contains(w.Body.String(), "1 spans were not kept") {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	eventually(t, "the spans", func() bool { return f.Stats().Sent == 3 && asked.Load() == 1 })
	if n := requests(t, rc, "zipkin", "partial"); n != 1 {
		t.Errorf("%g requests counted as partial, want 1", n)
	}
}

func TestForwardCarriesItsHeaders(t *testing.T) {
	got := make(chan http.Header, 1)
	url, _ := scripted(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header })
	headers, err := receiver.ParseHeaders("# of the tenant\nX-Scope-OrgID: shop\nAuthorization: Bearer s3cret\n")
	if err != nil {
		t.Fatal(err)
	}
	_, front, _ := chain(t, receiver.ForwardOptions{URL: url + "/otlp/", Headers: headers})
	send(t, front, 1)
	h := <-got
	for name, want := range map[string]string{"Authorization": "Bearer s3cret", "X-Scope-Orgid": "shop", "Content-Encoding": "gzip", "Content-Type": protoType} {
		if h.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, h.Get(name), want)
		}
	}
}

// What an endpoint answers decides whether a batch is sent again, and how a
// lost one counts.
func TestForwardAnswers(t *testing.T) {
	partial := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", protoType)
		_, _ = w.Write([]byte{1<<3 | 2, 2, 1 << 3, 2}) // two spans rejected
	}
	hangUp := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for _, tt := range []struct {
		name    string
		answers []func(http.ResponseWriter, *http.Request)
		asked   int64
		sent    int64
		reason  string
		dropped int64
	}{
		{"busy", []func(http.ResponseWriter, *http.Request){status(503), status(429), status(502), status(504), status(200)}, 5, 5, "", 0},
		{"gone", []func(http.ResponseWriter, *http.Request){hangUp, hangUp, status(200)}, 3, 5, "", 0},
		{"refused", []func(http.ResponseWriter, *http.Request){status(400)}, 1, 0, "refused", 5},
		{"elsewhere", []func(http.ResponseWriter, *http.Request){status(307, "Location", "http://127.0.0.1:1/")}, 1, 0, "refused", 5},
		{"partly", []func(http.ResponseWriter, *http.Request){partial}, 1, 3, "rejected", 2},
		{"always busy", []func(http.ResponseWriter, *http.Request){status(503)}, 0, 0, "gave_up", 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url, asked := scripted(t, tt.answers...)
			f, front, _ := chain(t, receiver.ForwardOptions{URL: url, GiveUp: 300 * time.Millisecond})
			send(t, front, 5)
			eventually(t, "an end", func() bool {
				st := f.Stats()
				return st.Sent == tt.sent && (tt.reason == "" || st.Dropped[tt.reason] == tt.dropped) && st.QueueBytes == 0
			})
			if n := asked.Load(); tt.asked > 0 && n != tt.asked {
				t.Errorf("asked %d times, want %d", n, tt.asked)
			}
		})
	}
}

func TestForwardWaitsAsTold(t *testing.T) {
	var first atomic.Int64
	url, asked := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		first.Store(time.Now().UnixNano())
		status(429, "Retry-After", "1")(w, r)
	}, status(200))
	f, front, _ := chain(t, receiver.ForwardOptions{URL: url})
	send(t, front, 1)
	eventually(t, "the second attempt", func() bool { return f.Stats().Sent == 1 })
	if waited := time.Since(time.Unix(0, first.Load())); waited < 900*time.Millisecond || asked.Load() != 2 {
		t.Errorf("asked %d times, again after %v, want 2 and 1s", asked.Load(), waited)
	}
}

// An endpoint that is full says by gRPC when to come again.
func TestForwardHeedsRetryInfo(t *testing.T) {
	back, behind, release := fullReceiver(t)
	f, front, _ := chain(t, receiver.ForwardOptions{URL: "grpc://" + behind.Listener.Addr().String()})
	send(t, front, 5)
	eventually(t, "a refusal", func() bool { return f.Stats().Failing })
	release()
	eventually(t, "the spans", func() bool { return back.Stats().Spans == 5 })
}

// One batch that the endpoint refuses for good does not take those along that
// were sent with it.
func TestForwardSparesTheOthers(t *testing.T) {
	back, err := tracing.New(tracing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var open atomic.Bool
	behind := serve(t, receiver.Options{Keep: func(body []byte) (int, int, error) {
		if strings.Contains(string(body), "poison") {
			return 0, 0, fmt.Errorf("poison")
		}
		return back.AddOTLP(body)
	}})
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !open.Load() {
			status(503)(w, r)
			return
		}
		r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", behind.Listener.Addr().String()
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			status(502)(w, r)
			return
		}
		defer res.Body.Close()
		w.WriteHeader(res.StatusCode)
	}))
	t.Cleanup(gate.Close)
	f, front, _ := chain(t, receiver.ForwardOptions{URL: gate.URL, Parallel: 1})
	send(t, front, 1) // keeps the one sender busy, so that the next wait together
	eventually(t, "a closed gate", func() bool { return f.Stats().Failing })
	poison := traces(7, false)
	poison.ResourceSpans().At(0).Resource().Attributes().PutStr("kind", "poison")
	post(t, front.URL, protoType, "", protobuf(t, poison))
	send(t, front, 9)
	open.Store(true)
	eventually(t, "the good ones", func() bool {
		st := f.Stats()
		return st.Sent == 10 && st.Dropped["refused"] == 7 && back.Stats().Spans == 9
	})
}

// A queue that is full drops the oldest and never waits.
func TestForwardBounds(t *testing.T) {
	url, _ := scripted(t, status(503))
	batch := protobuf(t, traces(100, false))
	f, front, stop := chain(t, receiver.ForwardOptions{URL: url, MaxBytes: int64(5 * len(batch)), Drain: 50 * time.Millisecond})
	began := time.Now()
	for range 50 {
		send(t, front, 100)
		if st := f.Stats(); st.QueueBytes > st.QueueMax {
			t.Fatalf("the queue has %d bytes of %d", st.QueueBytes, st.QueueMax)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("50 batches took %v while the endpoint fails", took)
	}
	stop()
	st := f.Stats()
	if st.Dropped["queue_full"] < 4000 || st.Dropped["shutdown"] == 0 || st.Dropped["queue_full"]+st.Dropped["shutdown"] != 5000 || st.QueueBytes != 0 {
		t.Errorf("at the end: %+v", st)
	}
}

// What waits at the end is sent while there is time.
func TestForwardDrains(t *testing.T) {
	var late atomic.Bool
	url, _ := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		if !late.Load() {
			status(503)(w, r)
		}
	})
	f, front, stop := chain(t, receiver.ForwardOptions{URL: url, Parallel: 1})
	for range 3 {
		send(t, front, 10)
	}
	eventually(t, "a failure", func() bool { return f.Stats().Failing })
	late.Store(true)
	stop()
	if st := f.Stats(); st.Sent != 30 {
		t.Errorf("at the end: %+v", st)
	}
}

// A forward to itself, straight or by another, is seen at the first batch.
func TestForwardInACircle(t *testing.T) {
	for _, scheme := range []string{"http://", "grpc://"} {
		t.Run(scheme, func(t *testing.T) {
			// Both are told each other's address before either is there.
			la, lb := listener(t), listener(t)
			fa, _ := forwarding(t, receiver.ForwardOptions{URL: scheme + lb.Addr().String()})
			fb, _ := forwarding(t, receiver.ForwardOptions{URL: scheme + la.Addr().String()})
			a := serveOn(t, la, fa)
			b := serveOn(t, lb, fb)
			front := &httptest.Server{URL: "http://" + la.Addr().String()} // a client needs no more of it
			send(t, front, 5)
			eventually(t, "the circle", func() bool { return fb.Stats().Dropped["loop"] == 5 })
			if fa.Stats().Sent != 5 || a.Stats().Spans != 5 || b.Stats().Spans != 5 {
				t.Errorf("a sent %d; a keeps %d, b %d spans, want 5 each", fa.Stats().Sent, a.Stats().Spans, b.Stats().Spans)
			}
			received := a.Stats().Received
			time.Sleep(50 * time.Millisecond)
			if n := a.Stats().Received; n != received || n != 5 {
				t.Errorf("a went on receiving: %d, then %d spans", received, n)
			}
		})
	}
}

func listener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func serveOn(t *testing.T, l net.Listener, f *receiver.Forwarder) *tracing.Store {
	t.Helper()
	store, err := tracing.New(tracing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rc, err := receiver.New(receiver.Options{Keep: store.AddOTLP, Forward: f})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, rt := range rc.Routes() {
		mux.Handle(rt.Pattern, rt.Handler)
	}
	srv := &http.Server{Handler: mux, Protocols: new(http.Protocols)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	go srv.Serve(receiver.Listen(l))
	t.Cleanup(func() { srv.Close() })
	return store
}

func TestForwardURLs(t *testing.T) {
	for in, want := range map[string]string{
		"http://c:4318":              "http://c:4318/v1/traces",
		"https://c/v1/traces":        "https://c/v1/traces",
		"https://c/otlp/":            "https://c/otlp/v1/traces",
		"https://c/otlp?tenant=a":    "https://c/otlp/v1/traces?tenant=a",
		"grpc://[::1]:4317":          "http://[::1]:4317" + exportTraces,
		"grpcs://c:443/":             "https://c:443" + exportTraces,
		"c:4317":                     "want a URL like",
		"http:///v1/traces":          "want a URL like",
		"ftp://c":                    "want http, https, grpc or grpcs",
		"grpc://c":                   "want grpc://HOST:PORT",
		"grpc://c:4317/v1/traces":    "want grpc://HOST:PORT",
		"https://u:secret@c/v1/trac": "want no credentials",
	} {
		u, _, err := receiver.ParseEndpoint(in)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = u.String()
		}
		if !strings.Contains(got, want) || strings.Contains(got, "secret") {
			t.Errorf("ParseEndpoint(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	for _, tt := range []struct{ name, lines, list, want string }{
		{"two", "A: 1\nb: x=y, z\n", "A=1,b=x%3Dy%2C%20z", "map[A:[1] B:[x=y, z]]"},
		{"none", "\n# nothing\n", " ,", "map[]"},
		{"no colon", "A 1", "A", "want NAME"},
		{"a name that is none", "A B: 1", "A B=1", "is no header's name"},
		{"no name", ": 1", "=1", "is no header's name"},
		{"a control character", "A: \x01s3cret", "A=%01s3cret", "control characters"},
		{"one of the export's own", "Content-Type: text", "grpc-timeout=1S", "cannot be set"},
	} {
		for form, parse := range map[string]func(string) (http.Header, error){tt.lines: receiver.ParseHeaders, tt.list: receiver.ParseHeaderList} {
			h, err := parse(form)
			got := fmt.Sprint(map[string][]string(h))
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, tt.want) || strings.Contains(got, "s3cret") {
				t.Errorf("%s: %q gave %s, want %s", tt.name, form, got, tt.want)
			}
		}
	}
}
