package monitoring_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// dependency is a server that a service calls through a [monitoring.Monitor.Transport].
type dependency struct {
	*service
	url    string
	b      *breaker.Breaker
	client http.Client
}

func newDependency(t *testing.T, o breaker.Options, h http.HandlerFunc) *dependency {
	t.Helper()
	d := &dependency{service: newService(t, monitoring.Options{})}
	var err error
	if d.b, err = d.m.Breaker("github_api", o); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	base := &http.Transport{}
	t.Cleanup(func() { base.CloseIdleConnections(); srv.CloseClientConnections(); srv.Close() })
	d.url = srv.URL
	d.client.Transport = d.m.Transport(d.b, base)
	return d
}

func (d *dependency) stats() api.BreakerStats { return d.b.Snapshot().Stats }

// A body that no one closes does not hold its permit beyond the call timeout.
func TestLeakedBodyGivesItsPermitBack(t *testing.T) {
	d := newDependency(t, breaker.Options{FailureThreshold: 1, Timeout: 100 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	resp, err := d.client.Get(d.url)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if d.stats().InFlight.Value() == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if s := d.stats(); s.InFlight.Value() != 0 || s.Timeouts != 1 || d.b.State() != api.StateOpen {
		t.Errorf("stats = %+v, want a timeout and none in flight", s)
	}
	resp.Body.Close() // at last
	if s := d.stats(); s.TotalRequests != 1 {
		t.Errorf("calls = %d, want 1", s.TotalRequests)
	}
}

func TestCallsWithoutABodyEndAtOnce(t *testing.T) {
	d := newDependency(t, breaker.Options{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	resp, err := d.client.Head(d.url)
	if err != nil {
		t.Fatal(err)
	}
	if s := d.stats(); s.InFlight.Value() != 0 || s.SuccessfulRequests != 1 {
		t.Errorf("stats = %+v, want an ended success before Close", s)
	}
	resp.Body.Close()
}

func TestStatusesAndTheBreaker(t *testing.T) {
	for _, tt := range []struct {
		status int
		failed bool
	}{{200, false}, {301, false}, {404, false}, {429, false}, {500, true}, {503, true}} {
		t.Run(strconv.Itoa(tt.status), func(t *testing.T) {
			d := newDependency(t, breaker.Options{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(tt.status) })
			resp, err := d.client.Get(d.url)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if s := d.stats(); (s.FailedRequests == 1) != tt.failed {
				t.Errorf("stats = %+v, want failed %t", s, tt.failed)
			}
		})
	}
}

func TestRedirectsAreCallsOfTheirOwn(t *testing.T) {
	d := newDependency(t, breaker.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/there", http.StatusFound)
			return
		}
		fmt.Fprint(w, r.Header["Traceparent"])
	})
	resp, err := d.client.Get(d.url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || strings.Count(string(b), "00-") != 1 {
		t.Errorf("traceparent = %q, %v; want one", b, err)
	}
	if s := d.stats(); s.SuccessfulRequests != 2 || s.InFlight.Value() != 0 {
		t.Errorf("stats = %+v, want two calls", s)
	}
}

func TestSwitchedConnectionsStayWritable(t *testing.T) {
	d := newDependency(t, breaker.Options{Timeout: 200 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		buf.Flush()
		io.Copy(conn, buf)
	})
	req, err := http.NewRequest(http.MethodGet, d.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := d.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	rw, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		t.Fatalf("the body is %T, not writable", resp.Body)
	}
	time.Sleep(300 * time.Millisecond) // longer than a call may take
	fmt.Fprintln(rw, "hello")
	if line, err := bufio.NewReader(rw).ReadString('\n'); line != "hello\n" {
		t.Errorf("echo = %q, %v", line, err)
	}
	if s := d.stats(); s.SuccessfulRequests != 1 || s.InFlight.Value() != 0 {
		t.Errorf("stats = %+v, want the handshake as a success", s)
	}
}

// closed notes that a body was closed.
type closed struct {
	io.Reader
	is bool
}

func (c *closed) Close() error { c.is = true; return nil }

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRoundTripperContract(t *testing.T) {
	s := newService(t, monitoring.Options{})
	b, err := s.m.Breaker("github_api", breaker.Options{FailureThreshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	panics := s.m.Transport(b, roundTrip(func(*http.Request) (*http.Response, error) { panic("boom") }))
	r := &http.Request{Method: http.MethodPost, URL: httptest.NewRequest(http.MethodGet, "http://x/", nil).URL} // no Header at all
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not go on")
			}
		}()
		panics.RoundTrip(r)
	}()
	if st := b.Snapshot().Stats; st.FailedRequests != 1 || st.InFlight.Value() != 0 {
		t.Errorf("after a panic: %+v", st)
	}
	body := &closed{Reader: strings.NewReader("x")}
	r.Body = body
	if _, err := panics.RoundTrip(r); !errors.Is(err, breaker.ErrOpen) || !body.is {
		t.Errorf("rejected = %v, body closed %t; want ErrOpen and a closed body", err, body.is)
	}
	if r.Header != nil {
		t.Error("the caller's request was changed")
	}
}

func TestCallersEndThroughTheTransport(t *testing.T) {
	d := newDependency(t, breaker.Options{FailureThreshold: 100}, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	get := func(ctx context.Context) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := d.client.Do(req); err == nil {
			resp.Body.Close()
			t.Error("it was answered")
		}
	}
	gone, leave := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, leave)
	get(gone)
	late, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	get(late)
	get(gone)
	if got := d.b.Sample().Calls; got["ignored"] != 2 || got["timeout"] != 1 {
		t.Errorf("calls = %v, want two ignored and a timeout", got)
	}
}

func TestWrappersSurviveWhatTheyWrap(t *testing.T) {
	s := newService(t, monitoring.Options{})
	ctx, span := s.m.StartSpan(context.Background(), "job")
	run := func(f func()) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { _ = recover() }()
			f()
		}()
		<-done
	}
	boom := func(context.Context) (int, error) { panic("boom") }
	exit := func(context.Context) (int, error) { runtime.Goexit(); return 0, nil }
	run(func() { monitoring.TrackExternalAPI(ctx, s.m, "linear", "issues", boom) })
	run(func() { monitoring.TrackExternalAPI(ctx, s.m, "linear", "issues", exit) })
	run(func() { monitoring.Trace(ctx, s.m, "exit", exit) })
	run(func() { monitoring.Profile(ctx, s.m, "boom", boom) })
	run(func() { monitoring.Cached(ctx, s.m, "key", time.Minute, boom) })
	run(func() { monitoring.Cached(ctx, s.m, "key", time.Minute, exit) })
	if v, err := monitoring.Cached(ctx, s.m, "key", time.Minute, func(context.Context) (int, error) { return 7, nil }); v != 7 || err != nil {
		t.Errorf("Cached after a panic = %v, %v", v, err)
	}
	span.End()
	s.wantMetric(t, `pulse_api_external_errors_total{error_type="panic",service="linear"} 2`)
	tr, err := s.m.Traces.Get(span.SpanContext().TraceID().String())
	if err != nil {
		t.Fatal(err)
	}
	var statuses []string
	for _, sp := range tr.Spans {
		statuses = append(statuses, string(sp.Status))
	}
	if got := strings.Join(statuses, " "); got != "ok error aborted aborted" {
		t.Errorf("statuses = %s", got)
	}
}

// Requests in flight outlive Run: the caches are closed under them then.
func TestCachedAfterRunHasEnded(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{RedisURL: "redis://" + unused(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := m.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.Run(ctx); err == nil {
		t.Error("a second Run is no error")
	}
	for range 2 {
		if v, err := monitoring.Cached(context.Background(), m, "k", time.Minute, func(context.Context) (int, error) { return 1, nil }); v != 1 || err != nil {
			t.Errorf("Cached = %d, %v", v, err)
		}
	}
	rec := httptest.NewRecorder()
	m.Middleware(http.NotFoundHandler()).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/x", nil))
	if rec.Code != http.StatusNotFound {
		t.Errorf("a request after Run = %d", rec.Code)
	}
}

// unused is an address on which no one listens.
func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestCachedWhenTheLeaderLeaves(t *testing.T) {
	s := newService(t, monitoring.Options{})
	leader, leave := context.WithCancel(context.Background())
	loading := make(chan struct{})
	go monitoring.Cached(leader, s.m, "k", time.Minute, func(ctx context.Context) (int, error) {
		close(loading)
		<-ctx.Done()
		return 0, ctx.Err()
	})
	<-loading
	time.AfterFunc(20*time.Millisecond, leave)
	v, err := monitoring.Cached(context.Background(), s.m, "k", time.Minute, func(context.Context) (int, error) { return 2, nil })
	if v != 2 || err != nil {
		t.Errorf("the follower got %d, %v; want a value of its own", v, err)
	}
}
