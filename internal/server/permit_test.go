package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// permit acquires one of "NAME?query".
func (c *checked) permit(of string) string {
	c.t.Helper()
	name, query, _ := strings.Cut(of, "?")
	a := c.do("POST /monitoring/circuit-breakers/"+name+"/acquire?"+query, nil)
	var p api.BreakerPermit
	if err := json.Unmarshal(a.body, &p); err != nil || p.Permit == "" {
		c.t.Fatalf("acquire %s: %s %s", of, a.Status, a.body)
	}
	return p.Permit
}

// local is a server asked without a network, so that it lives in a bubble's
// time.
type local struct {
	t *testing.T
	h http.Handler
}

func (l local) post(path string, body any, out any) *api.Error {
	l.t.Helper()
	var send bytes.Buffer
	if body != nil {
		must(l.t, json.NewEncoder(&send).Encode(body))
	}
	r := httptest.NewRequest("POST", "/monitoring/circuit-breakers/"+path, &send)
	w := httptest.NewRecorder()
	l.h.ServeHTTP(w, r)
	if w.Code >= 300 {
		var e api.Error
		must(l.t, json.Unmarshal(w.Body.Bytes(), &e))
		return &e
	}
	must(l.t, json.Unmarshal(w.Body.Bytes(), out))
	return nil
}

func (l local) acquire(path string) api.BreakerPermit {
	l.t.Helper()
	var p api.BreakerPermit
	if e := l.post(path, nil, &p); e != nil {
		l.t.Fatalf("%s: %v", path, e)
	}
	return p
}

func permitServer(t *testing.T) (local, *breaker.Set) {
	t.Helper()
	set := new(breaker.Set)
	s := value(server.New(server.Options{Breakers: set, Access: server.Access{AllowAnonymous: true}}))(t)
	return local{t, s}, set
}

// A permit that nobody reports ends as a timeout when its time is over, and
// half-open does not stick; one that is renewed lives on, beyond the time that
// the breaker itself would give a probe.
func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, set := permitServer(t)
		first := l.acquire("job/acquire?create=true&failure_threshold=1&success_threshold=1&recovery_timeout=1m&lease=10s")
		if first.Timeout.Duration() != 10*time.Second || !first.Created {
			t.Errorf("permit = %+v", first)
		}
		b := value(set.Get("job"))(t)
		time.Sleep(9 * time.Second)
		if b.State() != api.StateClosed {
			t.Fatalf("before its time is over: %s", b.State())
		}
		time.Sleep(2 * time.Second)
		if st := b.Snapshot(); st.State != api.StateOpen || st.Stats.Timeouts != 1 {
			t.Fatalf("after its time: %s, %d timeouts", st.State, st.Stats.Timeouts)
		}
		if e := l.post("job/report", api.BreakerReport{Permit: first.Permit, Outcome: "success"}, nil); e == nil || e.Status != 409 {
			t.Errorf("report afterwards: %v", e)
		}
		var none api.BreakerPermit
		if e := l.post("job/acquire", nil, &none); e == nil || e.Status != 503 || e.State != "open" || e.RetryAfter.Duration() != time.Minute-time.Second {
			t.Errorf("acquire of an open one: %+v", e)
		}
		time.Sleep(time.Minute)
		probe := l.acquire("job/acquire?lease=10s")
		if probe.State != api.StateHalfOpen {
			t.Errorf("probe = %+v", probe)
		}
		if e := l.post("job/acquire", nil, &none); e == nil || e.State != "half_open" || e.RetryAfter.Duration() != time.Second {
			t.Errorf("a second probe: %+v", e)
		}
		for range 100 { // 10 minutes
			time.Sleep(6 * time.Second)
			if p := l.acquire("job/acquire?permit=" + probe.Permit); p.Permit != probe.Permit {
				t.Fatalf("renewed: %+v", p)
			}
		}
		if b.State() != api.StateHalfOpen {
			t.Errorf("while the probe is renewed: %s", b.State())
		}
		time.Sleep(11 * time.Second) // its holder was killed
		if b.State() != api.StateOpen {
			t.Errorf("after the probe was lost: %s", b.State())
		}
		time.Sleep(time.Minute)
		last := l.acquire("job/acquire?lease=10s")
		var told api.BreakerReported
		if e := l.post("job/report", api.BreakerReport{Permit: last.Permit, Outcome: "success"}, &told); e != nil || told.State != api.StateClosed {
			t.Errorf("report of the probe: %+v, %v", told, e)
		}
	})
}

// A breaker that a request made goes after an hour without use, not while a
// permit of it is out; the service's own stay.
func TestIdleBreakersGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, set := permitServer(t)
		value(set.Add("own", breaker.Options{}))(t)
		l.acquire("own/acquire?create=true&lease=1s")
		l.acquire("job/acquire?create=true&lease=1s")
		l.acquire("long/acquire?create=true&lease=90m")
		time.Sleep(59 * time.Minute)
		l.acquire("job/acquire?lease=1s")
		time.Sleep(59 * time.Minute)
		if _, err := set.Get("job"); err != nil {
			t.Errorf("one that is used: %v", err)
		}
		if _, err := set.Get("long"); err != nil {
			t.Errorf("one whose permit is out: %v", err)
		}
		time.Sleep(2 * time.Hour)
		for name, there := range map[string]bool{"job": false, "long": false, "own": true} {
			if _, err := set.Get(name); (err == nil) != there {
				t.Errorf("%s, in the end: %v", name, err)
			}
		}
	})
}

// Requests make 1,000 breakers and no more, and have 10,000 permits out.
func TestPermitBounds(t *testing.T) {
	l, set := permitServer(t)
	for i := range 1000 {
		l.acquire(fmt.Sprintf("job-%d/acquire?create=true", i))
	}
	var none api.BreakerPermit
	if e := l.post("one-more/acquire?create=true", nil, &none); e == nil || e.Status != 429 {
		t.Errorf("the 1,001st breaker: %v", e)
	}
	if all := set.Snapshot(); len(all) != 1000 {
		t.Errorf("%d breakers", len(all))
	}
	for range 9000 {
		l.acquire("job-1/acquire")
	}
	e := l.post("job-1/acquire", nil, &none)
	if e == nil || e.Status != 429 || e.RetryAfter == nil {
		t.Errorf("the 10,001st permit: %v", e)
	}
	if in := value(set.Get("job-1"))(t).Snapshot().Stats.InFlight.Value(); in != 9001 {
		t.Errorf("%d in flight: the refused one is not ended", in)
	}
}

// Settings in the query change a breaker that a request made, not the
// service's own; a request without any changes nothing.
func TestSettingsOfMadeBreakers(t *testing.T) {
	l, set := permitServer(t)
	value(set.Add("own", breaker.Options{}))(t)
	l.acquire("job/acquire?create=true&failure_threshold=2")
	l.acquire("job/acquire")
	for name, want := range map[string]api.Count{"own": 5, "job": 7} {
		if p := l.acquire(name + "/acquire?create=true&failure_threshold=7"); p.Config.FailureThreshold != want {
			t.Errorf("%s goes by %+v", name, p.Config)
		}
	}
	if all := value(set.Events(breaker.EventQuery{Name: "job"}))(t); len(all) != 1 || !strings.Contains(all[0].Reason, "failure threshold 7") {
		t.Errorf("events of the change: %+v", all)
	}
}

// A writer brings permits and reports, and forces nothing; a viewer does
// neither. The trace of a report's traceparent opened the breaker. Neither is
// audited; a forced state is, and tells who and why.
func TestPermitRoles(t *testing.T) {
	f := bare(t)
	tokens := ""
	secret := map[string]string{}
	for _, role := range []string{"viewer", "writer", "operator"} {
		s, line, err := server.NewToken("the-" + role + ":" + role)
		must(t, err)
		secret[role], tokens = s, tokens+line+"\n"
	}
	f.Access.Tokens = value(server.ParseTokens(strings.NewReader(tokens)))(t)
	c := contract(t, newServer(t, f))
	as := func(role string, more ...string) []string {
		return append([]string{"Authorization", "Bearer " + secret[role]}, more...)
	}
	const at = "POST /monitoring/circuit-breakers/github_api/"
	for _, tt := range []struct {
		role, verb string
		status     int
	}{
		{"viewer", "acquire", 403}, {"writer", "acquire", 200}, {"operator", "acquire", 200},
		{"writer", "force-open", 403}, {"writer", "reset", 403}, {"viewer", "disable", 403},
	} {
		if a := c.do(at+tt.verb, nil, as(tt.role)...); a.StatusCode != tt.status {
			t.Errorf("%s by a %s: %s", tt.verb, tt.role, a.Status)
		}
	}
	var p api.BreakerPermit
	must(t, json.Unmarshal(c.do(at+"acquire", nil, as("writer")...).body, &p))
	report := fmt.Sprintf(`{"permit":%q,"outcome":"failure","error":"exit status 3"}`, p.Permit)
	c.do(at+"report", []byte(report), as("writer", "Content-Type", "application/json", "Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")...)
	var b api.Breaker
	must(t, json.Unmarshal(c.do("GET /monitoring/circuit-breakers/github_api", nil, as("viewer")...).body, &b))
	if b.State != api.StateOpen || b.Why.TraceID != "4bf92f3577b34da6a3ce929d0e0e4736" || !strings.Contains(b.LastError, "exit status 3") {
		t.Errorf("after the report: %s, why %+v, last error %q", b.State, b.Why, b.LastError)
	}
	if lines := f.auditLines(t); len(lines) != 0 {
		t.Errorf("audited: %v", lines)
	}
	c.do(at+"disable?for=10m", nil, as("operator", "X-Pulsectl-Reason", "INC-42")...)
	lines := f.auditLines(t)
	if len(lines) != 1 || lines[0]["actor"] != "the-operator" || lines[0]["action"] != "breakers.disable" || lines[0]["reason"] != "INC-42" {
		t.Errorf("audited: %v", lines)
	}
	must(t, json.Unmarshal(c.do("GET /monitoring/circuit-breakers/github_api", nil, as("viewer")...).body, &b))
	if b.Forced == nil || b.Forced.Actor != "the-operator" || !strings.Contains(b.Forced.Reason, "INC-42") {
		t.Errorf("forced: %+v", b.Forced)
	}
}

// readEvents reads n events of a stream.
func readEvents(t *testing.T, body io.Reader, n int) (kinds []string, data []string) {
	t.Helper()
	in := bufio.NewScanner(body)
	for len(data) < n && in.Scan() {
		if kind, ok := strings.CutPrefix(in.Text(), "event: "); ok {
			kinds = append(kinds, kind)
		}
		if d, ok := strings.CutPrefix(in.Text(), "data: "); ok {
			data = append(data, d)
		}
	}
	return kinds, data
}

// A stream tells what has been since a time and then what happens, as it
// happens, and ends when the server does.
func TestEventStream(t *testing.T) {
	f := bare(t)
	s := newServer(t, f)
	ts := httptest.NewServer(s)
	ts.Config.RegisterOnShutdown(s.EndStreams)
	defer ts.Close()
	req := value(http.NewRequestWithContext(t.Context(), "GET", ts.URL+"/monitoring/circuit-breakers/events?stream=true&since=1h", nil))(t)
	req.Header.Set("Accept-Encoding", "gzip")
	resp := value(ts.Client().Do(req))(t)
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" || resp.Header.Get("Content-Encoding") != "" {
		t.Errorf("Content-Type %q, Content-Encoding %q", got, resp.Header.Get("Content-Encoding"))
	}
	kinds, data := readEvents(t, resp.Body, 1)
	if len(data) != 1 || kinds[0] != "transition" || !strings.Contains(data[0], `"name":"openai_api","from":"closed","to":"open"`) {
		t.Fatalf("of the past: %q %q", kinds, data)
	}
	value(value(f.Breakers.Get("github_api"))(t).ForceOpen(breaker.Control{Actor: "ada"}))(t)
	_, data = readEvents(t, resp.Body, 1)
	if len(data) != 1 || !strings.Contains(data[0], `"name":"github_api"`) || !strings.Contains(data[0], `"actor":"ada"`) {
		t.Fatalf("as it happens: %q", data)
	}
	f.Breakers.Remove("openai_api")
	again := value(f.Breakers.Add("openai_api", breaker.Options{}))(t)
	value(again.ForceOpen(breaker.Control{Actor: "bob"}))(t)
	if _, data = readEvents(t, resp.Body, 1); len(data) != 1 || !strings.Contains(data[0], `"actor":"bob"`) {
		t.Fatalf("of a breaker that was made anew: %q", data)
	}
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		ended <- ts.Config.Shutdown(ctx)
	}()
	if kinds, data = readEvents(t, resp.Body, 1); len(kinds) != 1 || kinds[0] != "end" {
		t.Errorf("at the end: %q %q", kinds, data)
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Errorf("the stream broke off: %v", err)
	}
	must(t, <-ended)
}

// There is room for 64 streams, and again when one has left.
func TestStreamPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := value(server.New(server.Options{Access: server.Access{AllowAnonymous: true}}))(t)
		ask := func(ctx context.Context) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/monitoring/circuit-breakers/events?stream=true", nil))
			return w
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		one, leave := context.WithCancel(ctx)
		go ask(one)
		for range 63 {
			go ask(ctx)
		}
		synctest.Wait()
		if w := ask(ctx); w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("the 65th: %d", w.Code)
		}
		leave()
		synctest.Wait()
		s.EndStreams()
		synctest.Wait()
		if w := ask(ctx); w.Code != 200 || !strings.Contains(w.Body.String(), "event: end") {
			t.Errorf("after the end: %d %s", w.Code, w.Body)
		}
	})
}

// deaf takes nothing after the first write, as a reader that is stuck.
type deaf struct {
	http.ResponseWriter
	wrote chan struct{}
	free  chan struct{}
	taken chan string
}

func (d *deaf) Write(p []byte) (int, error) {
	select {
	case d.wrote <- struct{}{}:
	default:
		<-d.free
	}
	d.taken <- string(p)
	return len(p), nil
}

// What a slow reader lost is told with the next that it gets; heartbeats come
// while nothing happens.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := new(breaker.Set)
		s := value(server.New(server.Options{Breakers: set, Access: server.Access{AllowAnonymous: true}}))(t)
		b := value(set.Add("a", breaker.Options{}))(t)
		ctx, cancel := context.WithCancel(t.Context())
		w := &deaf{httptest.NewRecorder(), make(chan struct{}, 1), make(chan struct{}), make(chan string, 1000)}
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/monitoring/circuit-breakers/events?stream=true", nil))
		}()
		synctest.Wait()
		<-w.taken
		for range 300 { // the first waits in a write, 256 behind it
			value(b.ForceOpen(breaker.Control{}))(t)
			synctest.Wait()
		}
		close(w.free)
		synctest.Wait()
		value(b.Disable(breaker.Control{Reason: "last"}))(t)
		synctest.Wait()
		var last string
		n := 0
		for len(w.taken) > 0 {
			last = <-w.taken
			n++
		}
		if n != 258 || !strings.Contains(last, `"lost":43`) || !strings.Contains(last, "last") {
			t.Errorf("%d events, the last: %s", n, last)
		}
		time.Sleep(16 * time.Second)
		if beat := <-w.taken; !strings.HasPrefix(beat, ": ") {
			t.Errorf("after a while of nothing: %q", beat)
		}
		cancel()
		<-done
	})
}
