package server_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// A problem is RFC 9457's, and tells what to do.
func TestProblem(t *testing.T) {
	c := contract(t, newServer(t, bare(t)))
	a := c.do("GET /monitoring/circuit-breakers/nope?x=1", nil)
	want := `{"type":"about:blank","title":"Not Found","status":404,"detail":"circuit breaker not found: \"nope\""}`
	if got := strings.TrimSpace(string(a.body)); got != want || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("problem = %s with %v, want %s", got, a.Header, want)
	}
	a = c.do("POST /monitoring/circuit-breakers/reset-all?to=open&state=x&dry_run=1", nil)
	if p := a.problem(t); len(p.Errors) != 2 || !strings.Contains(p.Detail, "to: want one of closed, half_open") {
		t.Errorf("two wrong parameters: %s", a.body)
	}
	a = c.do("GET /monitoring/circuit-breakers?state="+strings.Repeat("x", 100_000), nil)
	if len(a.body) > 1000 {
		t.Errorf("a long value is echoed in %d bytes", len(a.body))
	}
	for ask, allow := range map[string]string{
		"DELETE /monitoring/":                           "GET, HEAD",
		"GET /monitoring/circuit-breakers/reset-all":    "POST",
		"GET /monitoring/traces/cleanup":                "POST",
		"GET /monitoring/circuit-breakers/x/reset":      "POST",
		"PATCH /monitoring/circuit-breakers/github_api": "GET, HEAD",
	} {
		if got := c.do(ask, nil).Header.Get("Allow"); got != allow {
			t.Errorf("%s: Allow %q, want %q", ask, got, allow)
		}
	}
}

// A handler that panics, or whose answer cannot be told, is a 500 that the log
// explains under the request's id; the server goes on.
func TestInternalErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config func() api.Config
		told   any
		logged string
	}{
		{"panic", func() api.Config { panic("boom") }, "boom", `"msg":"handler panicked","panic":"boom"`},
		{"not encodable", func() api.Config { return api.Config{"x": map[string]any{"y": make(chan int)}} }, nil, `"msg":"request failed"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := bare(t)
			f.Config = tt.config
			var told any
			f.Panic = func(_ *http.Request, reason any) { told = reason }
			c := contract(t, newServer(t, f))
			a := c.do("GET /monitoring/debug/config", nil, "X-Request-ID", "req-7")
			if p := a.problem(t); a.StatusCode != 500 || p.RequestID != "req-7" || strings.Contains(string(a.body), "boom") {
				t.Errorf("%s: %s", a.Status, a.body)
			}
			if log := f.log.take(); !strings.Contains(log, tt.logged) || !strings.Contains(log, `"request_id":"req-7"`) {
				t.Errorf("log: %s", log)
			}
			if told != tt.told {
				t.Errorf("Panic was told %v, want %v", told, tt.told)
			}
			if a := c.do("GET /monitoring/circuit-breakers", nil); a.StatusCode != 200 {
				t.Errorf("afterwards: %s", a.Status)
			}
		})
	}
}

// An aborted handler stays aborted.
func TestAbort(t *testing.T) {
	f := bare(t)
	f.Config = func() api.Config { panic(http.ErrAbortHandler) }
	ts := httptest.NewServer(newServer(t, f))
	defer ts.Close()
	if resp, err := ts.Client().Get(ts.URL + "/monitoring/debug/config"); err == nil {
		t.Errorf("an aborted answer came through: %s", resp.Status)
	}
}

func TestRequestID(t *testing.T) {
	c := contract(t, newServer(t, bare(t)))
	for _, tt := range []struct {
		name, sent string
		kept       bool
	}{
		{"its own", "req-abc-1", true},
		{"with blanks inside", "a b", true},
		{"of 128 characters", strings.Repeat("x", 128), true},
		{"too long", strings.Repeat("x", 129), false},
		{"not ASCII", "réq", false},
		{"a tab", "a\tb", false},
		{"none", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen := map[string]bool{}
			for _, path := range []string{"/monitoring/", "/monitoring/nope", "/monitoring/circuit-breakers/"} {
				got := c.do("GET "+path, nil, "X-Request-ID", tt.sent).Header.Get("X-Request-ID")
				if (got == tt.sent) != tt.kept || !tt.kept && len(got) != 32 {
					t.Errorf("%s: id %q for %q", path, got, tt.sent)
				}
				seen[got] = true
			}
			if !tt.kept && len(seen) != 3 {
				t.Errorf("generated ids repeat: %v", seen)
			}
		})
	}
}

// A middleware's id stands, and it learns the route from its own request.
func TestBehindMiddleware(t *testing.T) {
	s := newServer(t, bare(t))
	var pattern string
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-ID", "outer")
		s.ServeHTTP(w, r)
		pattern = r.Pattern
	})
	a := contract(t, h).do("GET /monitoring/circuit-breakers/github_api", nil, "X-Request-ID", "inner")
	if a.Header.Get("X-Request-ID") != "outer" || pattern != "GET /monitoring/circuit-breakers/{name}" {
		t.Errorf("id %q, pattern %q", a.Header.Get("X-Request-ID"), pattern)
	}
}

// auditLines returns the audit records among what was logged.
func (f *fixture) auditLines(t testing.TB) []map[string]any {
	t.Helper()
	var out []map[string]any
	lines := bufio.NewScanner(strings.NewReader(f.log.take()))
	for lines.Scan() {
		var m map[string]any
		must(t, json.Unmarshal(lines.Bytes(), &m))
		if m["msg"] == "audit" {
			out = append(out, m)
		}
	}
	return out
}

// Who changed what, why, from what to what: one record for each change.
func TestAudit(t *testing.T) {
	f := bare(t)
	var secrets map[string]string
	f.Access.Tokens, secrets = tokens(t)
	c := contract(t, newServer(t, f))
	operator := []string{"X-API-Key", secrets["operator"], "X-Request-ID", "req-9", "X-Pulsectl-Reason", "INC-42\tgithub over"}
	for _, tt := range []struct {
		ask  string
		want map[string]any // nil for no record
	}{
		{"POST /monitoring/circuit-breakers/openai_api/reset?dry_run=true", nil},
		{"GET /monitoring/circuit-breakers", nil},
		{"POST /monitoring/circuit-breakers/openai_api/reset?dry_run=x", nil},
		{"POST /monitoring/circuit-breakers/openai_api/reset", map[string]any{
			"actor": "the-operator", "action": "breakers.reset", "target": "openai_api", "before": "open", "after": "closed", "outcome": "done",
		}},
		{"POST /monitoring/circuit-breakers/nope/reset", map[string]any{
			"actor": "the-operator", "action": "breakers.reset", "target": "nope", "outcome": `circuit breaker not found: "nope"`,
		}},
		{"POST /monitoring/circuit-breakers/reset-all?name=github*", map[string]any{
			"actor": "the-operator", "action": "breakers.reset_all", "after": "closed", "outcome": "done",
		}},
	} {
		c.do(tt.ask, nil, operator...)
		got := f.auditLines(t)
		if tt.want == nil {
			if len(got) > 0 {
				t.Errorf("%s: audited %v, and changes nothing", tt.ask, got)
			}
			continue
		}
		if len(got) != 1 {
			t.Fatalf("%s: %d audit records, want 1", tt.ask, len(got))
		}
		tt.want["request_id"], tt.want["reason"] = "req-9", "INC-42github over"
		for k, v := range tt.want {
			if got[0][k] != v {
				t.Errorf("%s: audit has %s %v, want %v", tt.ask, k, got[0][k], v)
			}
		}
	}
	for _, role := range []string{"viewer", "writer", ""} {
		c.do("POST /monitoring/circuit-breakers/reset-all", nil, "X-API-Key", secrets[role])
		if got := f.auditLines(t); len(got) > 0 {
			t.Errorf("by a %q: audited %v, and was refused", role, got)
		}
	}
}

// Without a token the actor is the address.
func TestAuditOfTheUnnamed(t *testing.T) {
	f := bare(t)
	contract(t, newServer(t, f)).do("POST /monitoring/circuit-breakers/reset-all", nil)
	if got := f.auditLines(t); len(got) != 1 || !strings.HasPrefix(got[0]["actor"].(string), "127.0.0.1:") {
		t.Errorf("audit = %v", got)
	}
}

// A dry run answers as the act does and changes nothing: not even once in a row.
func TestDryRun(t *testing.T) {
	f := filled(t)
	f.upload(t)
	c := contract(t, newServer(t, f))
	for _, tt := range []struct{ ask, state string }{
		{"POST /monitoring/circuit-breakers/openai_api/reset", "/monitoring/circuit-breakers/openai_api"},
		{"POST /monitoring/circuit-breakers/reset-all", "/monitoring/circuit-breakers/openai_api"},
		{"POST /monitoring/cache/memory/clear", "/monitoring/cache/memory/stats"},
		{"POST /monitoring/profiling/disable?mode=off", "/monitoring/profiling/stats"},
		{"POST /monitoring/profiling/enable", "/monitoring/profiling/stats"},
		{"POST /monitoring/profiling/capture?type=heap", "/monitoring/profiling/profiles"},
	} {
		before := steady(t, c.do("GET "+tt.state, nil).body)
		sep := "?"
		if strings.Contains(tt.ask, "?") {
			sep = "&"
		}
		dry := c.do(tt.ask+sep+"dry_run=true", nil)
		if after := steady(t, c.do("GET "+tt.state, nil).body); !bytes.Equal(before, after) {
			t.Errorf("%s: a dry run changed\n%s\nto\n%s", tt.ask, before, after)
		}
		wet := c.do(tt.ask, nil)
		if !slices.Equal(members(t, wet.body, "dry_run"), members(t, dry.body)) || wet.StatusCode != dry.StatusCode {
			t.Errorf("%s: a dry run answers %s, the act %s", tt.ask, dry.body, wet.body)
		}
		if !bytes.Contains(dry.body, []byte(`"dry_run":true`)) || bytes.Contains(wet.body, []byte("dry_run")) {
			t.Errorf("%s: dry_run belongs into the dry answer alone: %s, %s", tt.ask, dry.body, wet.body)
		}
	}
}

// steady is a body without what time alone changes.
func steady(t testing.TB, body []byte) []byte {
	t.Helper()
	var m map[string]any
	must(t, json.Unmarshal(body, &m))
	delete(m, "overhead")
	if stats, ok := m["stats"].(map[string]any); ok {
		delete(stats, "window") // it slides
	}
	b, err := json.Marshal(m)
	must(t, err)
	return b
}

func members(t testing.TB, body []byte, more ...string) []string {
	t.Helper()
	var m map[string]any
	must(t, json.Unmarshal(body, &m))
	return slices.Sorted(slices.Values(slices.AppendSeq(more, maps.Keys(m))))
}

// The server owns /monitoring and the probes at the root, and nothing else.
func TestHas(t *testing.T) {
	s := newServer(t, bare(t))
	for path, want := range map[string]bool{
		"/monitoring": true, "/monitoring/": true, "/monitoring/x": true, "/health": true, "/health/live": true, "/health/ready": true,
		"/": false, "/monitoringx": false, "/health/": false, "/healthz": false, "/v1/traces": false,
	} {
		if got := s.Has(path); got != want {
			t.Errorf("Has(%q) = %v, want %v", path, got, want)
		}
	}
}

// A server without rooms answers too.
func TestZeroOptions(t *testing.T) {
	s, err := server.New(server.Options{})
	must(t, err)
	c := contract(t, s)
	for _, op := range c.served() {
		method, path, _ := strings.Cut(op, " ")
		if method != http.MethodGet || strings.Contains(path, "debug/config") {
			continue
		}
		a := c.do("GET "+strings.NewReplacer("{name}", "x", "{id}", "x", "/stream", "/stream?status=none", "/monitoring/events", "/monitoring/events?kind=none").Replace(path), nil)
		if a.StatusCode >= 500 && a.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %s: %s", op, a.Status, a.body)
		}
	}
}

// Whatever stands in a query, the answer is an answer: never a 500, never larger
// than what was asked with, and a 422 says which parameter.
func FuzzQuery(f *testing.F) {
	f.Add("limit=51&since=1e400&q=\x00")
	f.Add("dry_run=true&max_age_seconds=60&duration=1h&slow_threshold=NaN")
	f.Add("name=[a-&state=open;to=x&pattern=**[")
	f.Add("since=-1&since=9999999999999&type=cpu&n=999999999999&%zz")
	fx := bare(f)
	fx.Log, fx.Access.AllowAnonymous = nil, true
	s := newServer(f, fx)
	asks := []string{
		"GET /monitoring/circuit-breakers", "POST /monitoring/circuit-breakers/github_api/reset", "POST /monitoring/circuit-breakers/reset-all",
		"GET /monitoring/profiling/profiles", "POST /monitoring/profiling/enable", "POST /monitoring/profiling/disable",
		"POST /monitoring/profiling/cleanup", "GET /monitoring/profiling/profiles/x/top", "GET /monitoring/traces", "POST /monitoring/traces/cleanup",
	}
	f.Fuzz(func(t *testing.T, query string) {
		for _, ask := range asks {
			method, path, _ := strings.Cut(ask, " ")
			r := httptest.NewRequest(method, path, nil)
			r.URL.RawQuery = query
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code >= 500 || !json.Valid(w.Body.Bytes()) || w.Body.Len() > 64<<10 {
				t.Fatalf("%s?%q: %d with %d bytes: %.300s", ask, query, w.Code, w.Body.Len(), w.Body)
			}
			var p api.Error
			if w.Code == http.StatusUnprocessableEntity && (json.Unmarshal(w.Body.Bytes(), &p) != nil || len(p.Errors) == 0) {
				t.Fatalf("%s?%q: a 422 that names nothing: %s", ask, query, w.Body)
			}
		}
	})
}
