package server_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/server"
)

// tokens makes one token of each role, and the secrets by role.
func tokens(t testing.TB) ([]server.Token, map[string]string) {
	t.Helper()
	var lines []string
	secrets := map[string]string{}
	for _, role := range []string{"viewer", "writer", "operator"} {
		secret, line, err := server.NewToken("the-" + role + ":" + role)
		must(t, err)
		lines, secrets[role] = append(lines, line), secret
	}
	return value(server.ParseTokens(strings.NewReader(strings.Join(lines, "\n"))))(t), secrets
}

// Every operation asks for the role that the document says, no more, no less.
func TestRoles(t *testing.T) {
	f := bare(t)
	var secrets map[string]string
	f.Access.Tokens, secrets = tokens(t)
	c := contract(t, newServer(t, f))
	may := map[string]string{"viewer": "public viewer", "writer": "public writer", "operator": "public viewer writer operator"}
	for op, doc := range c.operations() {
		need, _ := doc.Extensions["x-role"].(string)
		if need == "" {
			t.Errorf("%s has no x-role", op)
		}
		ask := strings.NewReplacer("{name}", "nope", "{id}", "nope", "/stream", "/stream?status=none", "/monitoring/events", "/monitoring/events?kind=none").Replace(op)
		if a := c.do(ask, nil); (need == "public") == (a.StatusCode == http.StatusUnauthorized) {
			t.Errorf("%s without a token: %s, and the document says %s", ask, a.Status, need)
		} else if need != "public" && !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("%s: 401 with WWW-Authenticate %q", ask, a.Header.Get("WWW-Authenticate"))
		}
		for role, allowed := range may {
			a := c.do(ask, nil, "Authorization", "Bearer "+secrets[role])
			if got, want := a.StatusCode != http.StatusForbidden, strings.Contains(allowed, need); got != want || a.StatusCode == http.StatusUnauthorized {
				t.Errorf("%s by a %s: %s, and the document says %s", ask, role, a.Status, need)
			}
		}
	}
}

// What a request brings, and what comes of it where there are tokens.
func TestTokens(t *testing.T) {
	all, secrets := tokens(t)
	const viewed, scraped, changed = "GET /monitoring/circuit-breakers", "GET /monitoring/metrics", "POST /monitoring/circuit-breakers/reset-all?dry_run=true"
	for _, tt := range []struct {
		name, anonymous, ask string
		status               int
		header               []string
	}{
		{"bearer", "", viewed, 200, []string{"Authorization", "Bearer " + secrets["viewer"]}},
		{"the scheme has no case", "", viewed, 200, []string{"Authorization", "bEARER " + secrets["viewer"]}},
		{"API key", "", viewed, 200, []string{"X-API-Key", secrets["viewer"]}},
		{"API key beside the application's own authorization", "", viewed, 200, []string{"Authorization", "Basic YTpi", "X-API-Key", secrets["viewer"]}},
		{"a viewer may not change", "", changed, 403, []string{"Authorization", "Bearer " + secrets["viewer"]}},
		{"an operator may", "", changed, 200, []string{"Authorization", "Bearer " + secrets["operator"]}},
		{"none", "", viewed, 401, nil},
		{"wrong", "", viewed, 401, []string{"Authorization", "Bearer pctl_nope"}},
		{"empty", "", viewed, 401, []string{"Authorization", "Bearer "}},
		{"its digest is not the token", "", viewed, 401, []string{"Authorization", "Bearer sha256:0000"}},
		{"in the query", "", viewed + "?token=" + secrets["viewer"] + "&api_key=" + secrets["viewer"], 401, nil},
		{"in a cookie", "", viewed, 401, []string{"Cookie", "token=" + secrets["viewer"]}},
		{"from a proxy", "", viewed, 200, []string{"Authorization", "Bearer " + secrets["viewer"], "X-Forwarded-For", "192.0.2.1"}},
		{"anonymous none", "none", scraped, 401, nil},
		{"anonymous metrics", "metrics", scraped, 200, nil},
		{"anonymous metrics opens nothing else", "metrics", viewed, 401, nil},
		{"anonymous viewer", "viewer", viewed, 200, nil},
		{"anonymous viewer scrapes", "viewer", scraped, 200, nil},
		{"anonymous viewer may not change", "viewer", changed, 401, nil},
		{"anonymous viewer sees no configuration", "viewer", "GET /monitoring/debug/config", 401, nil},
		{"a token gives no less than none", "viewer", viewed, 200, []string{"Authorization", "Bearer " + secrets["writer"]}},
		{"a wrong token is told, whoever may", "viewer", viewed, 401, []string{"Authorization", "Bearer pctl_nope"}},
		{"probes take any", "", "GET /health/live", 200, []string{"Authorization", "Bearer of-the-application"}},
		{"another origin", "", changed, 403, []string{"Authorization", "Bearer " + secrets["operator"], "Origin", "https://evil.example"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := bare(t)
			f.Access = server.Access{Tokens: all, Anonymous: tt.anonymous}
			if a := contract(t, newServer(t, f)).do(tt.ask, nil, tt.header...); a.StatusCode != tt.status {
				t.Errorf("%s: %s, want %d: %s", tt.ask, a.Status, tt.status, a.body)
			}
		})
	}
}

// Without tokens a server is for its own machine, seen from there.
func TestNoTokens(t *testing.T) {
	const viewed, changed = "GET /monitoring/circuit-breakers", "POST /monitoring/circuit-breakers/reset-all?dry_run=true"
	for _, tt := range []struct {
		name, ask string
		status    int
		far       bool
		header    []string
	}{
		{"over loopback", changed, 200, false, nil},
		{"by name", viewed, 200, false, []string{"Host", "localhost:8000"}},
		{"by IPv6", viewed, 200, false, []string{"Host", "[::1]:8000"}},
		{"by IPv6 without a port", viewed, 200, false, []string{"Host", "[::1]"}},
		{"from another machine", viewed, 403, true, nil},
		{"its probes from another machine", "GET /health/live", 200, true, nil},
		{"through a proxy", viewed, 403, false, []string{"X-Forwarded-For", "192.0.2.1"}},
		{"through any proxy", viewed, 403, false, []string{"X-Forwarded-Proto", "https"}},
		{"through a newer proxy", viewed, 403, false, []string{"Forwarded", "for=192.0.2.1"}},
		{"with a token that is none", viewed, 200, false, []string{"Authorization", "Bearer of-the-application"}},
		{"under a foreign name", viewed, 421, false, []string{"Host", "evil.example"}},
		{"under a foreign name with our port", viewed, 421, false, []string{"Host", "127.0.0.1.evil.example:8000"}},
		{"a page of another origin", changed, 403, false, []string{"Origin", "https://evil.example"}},
		{"a page of no origin", changed, 403, false, []string{"Origin", "null"}},
		{"another site's form", changed, 403, false, []string{"Sec-Fetch-Site", "cross-site"}},
		{"another site's link", viewed, 200, false, []string{"Sec-Fetch-Site", "cross-site"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h http.Handler = newServer(t, bare(t))
			if tt.far {
				h = stranger(h)
			}
			a := contract(t, h).do(tt.ask, nil, tt.header...)
			if a.StatusCode != tt.status {
				t.Errorf("%s: %s, want %d: %s", tt.ask, a.Status, tt.status, a.body)
			}
			if a.StatusCode == 403 && strings.HasPrefix(tt.ask, "GET") && !strings.Contains(a.problem(t).Detail, "--new-token") {
				t.Errorf("the detail does not say how to make a token: %s", a.body)
			}
		})
	}
}

// A listener on another address refuses all the same, and AllowAnonymous opens.
func TestEmbedded(t *testing.T) {
	for _, tt := range []struct {
		name   string
		allow  bool
		status int
	}{
		{"closed", false, 403},
		{"behind authentication of its own", true, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := bare(t)
			f.Access.AllowAnonymous = tt.allow
			s := newServer(t, f)
			r := httptest.NewRequest(http.MethodGet, "http://monitoring.example.com/monitoring/circuit-breakers", nil)
			r = r.WithContext(contextWithLocal(t, "198.51.100.4:80"))
			r.Host, r.RemoteAddr = "monitoring.example.com", "127.0.0.1:4000" // a proxy on the same machine
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != tt.status {
				t.Errorf("status %d, want %d: %s", w.Code, tt.status, w.Body)
			}
		})
	}
}

// Whoever has no role is not told what the errors of checks say.
func TestErrorsAreForThoseWithARole(t *testing.T) {
	f := filled(t)
	var secrets map[string]string
	f.Access.Tokens, secrets = tokens(t)
	c := contract(t, newServer(t, f))
	for _, path := range []string{"/health", "/monitoring/health"} {
		if a := c.do("GET "+path, nil); strings.Contains(string(a.body), "mail.internal") {
			t.Errorf("%s tells a stranger: %s", path, a.body)
		}
	}
	a := c.do("GET /monitoring/health/detailed", nil, "X-API-Key", secrets["viewer"])
	if !strings.Contains(string(a.body), "mail.internal") {
		t.Errorf("a viewer is not told the error: %s", a.body)
	}
}

// A header other than Authorization can prove the operator role.
func TestTrusted(t *testing.T) {
	f := bare(t)
	var secrets map[string]string
	f.Access.Tokens, secrets = tokens(t)
	s := newServer(t, f)
	for role, want := range map[string]bool{"operator": true, "viewer": false, "writer": false, "": false} {
		r := httptest.NewRequest(http.MethodGet, "/priority", nil)
		r.Header.Set("X-Pulsectl-Token", secrets[role])
		r.Header.Set("Authorization", "Bearer "+secrets["operator"]) // belongs to the application
		if got := s.Trusted(r, "X-Pulsectl-Token"); got != want {
			t.Errorf("Trusted by a %q = %v, want %v", role, got, want)
		}
	}
}

// A handler beside the server's own is behind the same door.
func TestProtect(t *testing.T) {
	f := bare(t)
	var secrets map[string]string
	f.Access.Tokens, secrets = tokens(t)
	h := newServer(t, f).Protect(server.Writer, false, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
	for role, want := range map[string]int{"writer": 202, "operator": 202, "viewer": 403, "": 401} {
		r := httptest.NewRequest(http.MethodPost, "/v1/traces", nil)
		r.Header.Set("X-API-Key", secrets[role])
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want || w.Header().Get("X-Request-ID") == "" {
			t.Errorf("by a %q: status %d with request id %q, want %d and one", role, w.Code, w.Header().Get("X-Request-ID"), want)
		}
	}
}

func TestAnonymousNonsense(t *testing.T) {
	if _, err := server.New(server.Options{Access: server.Access{Anonymous: "everyone"}}); err == nil {
		t.Error(`New with Anonymous "everyone": no error`)
	}
}

// contextWithLocal is a request's context on a listener of that address.
func contextWithLocal(t testing.TB, local string) context.Context {
	t.Helper()
	return context.WithValue(t.Context(), http.LocalAddrContextKey, value(net.ResolveTCPAddr("tcp", local))(t))
}
