package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/receiver"
	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// The door for OTLP, mounted beside the API, is in the document too.
func TestContractOfTheReceiver(t *testing.T) {
	f := filled(t)
	var secrets map[string]string
	f.Access.Tokens, secrets = tokens(t)
	s := newServer(t, f)
	door := value(receiver.New(receiver.Options{Keep: f.Traces.AddOTLP}))(t)
	mux := http.NewServeMux()
	mux.Handle("/", s)
	for _, rt := range door.Routes() {
		mux.Handle(rt.Pattern, s.Protect(server.Writer, false, rt.Handler))
	}
	c := contract(t, mux)
	const span = `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"job","startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000001000000000"}]}]}]}`
	for _, tt := range []struct {
		name, role, kind, body string
		status                 int
	}{
		{"JSON", "writer", "application/json", span, 200},
		{"protobuf", "operator", "application/x-protobuf", "", 200},
		{"partly", "writer", "application/json", `{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"no ids"}]}]}]}`, 200},
		{"broken JSON", "writer", "application/json", `{"resourceSpans":`, 400},
		{"broken protobuf", "writer", "application/x-protobuf", "\xff\xff", 400},
		{"another form", "writer", "text/plain", span, 415},
		{"a viewer's", "viewer", "application/json", span, 403},
		{"a stranger's", "", "application/json", span, 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := c.do("POST /v1/traces", []byte(tt.body), "Content-Type", tt.kind, "X-API-Key", secrets[tt.role])
			if a.StatusCode != tt.status {
				t.Errorf("%s, want %d: %s", a.Status, tt.status, a.body)
			}
		})
	}
}

// The whole of a service that embeds the stack keeps the contract, its
// configuration among it.
func TestContractEmbedded(t *testing.T) {
	m := value(monitoring.New(monitoring.Options{Service: "embedding", RedisURL: testkit.Redis(t).URL()}))(t)
	value(m.Breaker("github_api", breaker.Options{}))(t)
	run(t, m.Run)
	mux := http.NewServeMux()
	m.Mount(mux)
	mux.HandleFunc("GET /priority", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	c := contract(t, m.Middleware(mux))
	if resp, err := c.Client().Get(c.URL + "/priority"); err != nil || resp.Body.Close() != nil || resp.Header.Get("X-Trace-ID") == "" {
		t.Fatalf("the service itself: %v, %v", resp, err)
	}
	fill := strings.NewReplacer("{name}", "github_api", "{id}", "nope", "{profile}", "heap", "pprof/profile", "pprof/profile?seconds=1")
	for _, op := range c.served() {
		method, path, _ := strings.Cut(op, " ")
		want := http.StatusOK
		switch {
		case method == http.MethodPost && (strings.HasSuffix(path, "/profiles") || strings.HasSuffix(path, "/report")):
			continue // they bring something
		case method == http.MethodPost:
			path += "?dry_run=true"
		case strings.Contains(path, "{id}"), strings.Contains(path, "/metrics/"), strings.HasSuffix(path, "/alerts"):
			want = http.StatusNotFound // it has no query engine either
		case strings.HasSuffix(path, "/stream") || strings.HasSuffix(path, "/events") && !strings.Contains(path, "circuit"):
			method = http.MethodHead // the answer would never end
		}
		if a := c.do(method+" "+fill.Replace(path), nil); a.StatusCode != want && a.StatusCode != http.StatusAccepted {
			t.Errorf("%s: %s, want %d: %s", op, a.Status, want, a.body)
		}
	}
	if a := c.do("GET /monitoring/traces?state=all", nil); !strings.Contains(string(a.body), `"root":"GET /priority"`) || strings.Contains(string(a.body), `GET /monitoring`) {
		t.Errorf("want the service's request traced, and the API's own not: %s", a.body)
	}
}
