package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

func newClient(t testing.TB, server string, o client.Options) *client.Client {
	t.Helper()
	c, err := client.New(server, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve starts a server of h and returns a client of it.
func serve(t testing.TB, o client.Options, h http.HandlerFunc) *client.Client {
	t.Helper()
	ts := httptest.NewServer(h)
	t.Cleanup(ts.Close)
	return newClient(t, ts.URL, o)
}

func TestNew(t *testing.T) {
	for _, tt := range []struct{ server, want string }{
		{"http://127.0.0.1:8000", "http://127.0.0.1:8000"},
		{"127.0.0.1:8000", "http://127.0.0.1:8000"},
		{"https://pulse.example/", "https://pulse.example"},
		{"https://pulse.example/behind/a/path/monitoring/", "https://pulse.example/behind/a/path"},
		{"[::1]:8000", "http://[::1]:8000"},
	} {
		if got := newClient(t, tt.server, client.Options{}).Instance(); got != tt.want {
			t.Errorf("New(%q).Instance() = %q, want %q", tt.server, got, tt.want)
		}
	}
	for _, server := range []string{"", "ftp://x", "http://", "http://me:secret@x", "http://x/?token=secret", "http://x/#y", "http://x:y", "http://\x7f"} {
		_, err := client.New(server, client.Options{})
		if err == nil {
			t.Errorf("New(%q): no error", server)
		} else if strings.Contains(err.Error(), "me:secret") {
			t.Errorf("New(%q) tells the password: %v", server, err)
		}
	}
}

// What a server may answer, and the error that becomes of it.
func TestErrors(t *testing.T) {
	const problem, asJSON, page = "application/problem+json", "application/json", "text/html"
	for _, tt := range []struct {
		name       string
		status     int
		kind, body string
		want       api.Error
	}{
		{"problem", 404, problem, `{"type":"about:blank","title":"Not Found","status":404,"detail":"no such thing"}`,
			api.Error{Type: "about:blank", Title: "Not Found", Status: 404, Detail: "no such thing"}},
		{"unauthorized", 401, problem, `{"detail":"this needs a token"}`, api.Error{Status: 401, Detail: "this needs a token"}},
		{"forbidden", 403, problem, `{"detail":"no"}`, api.Error{Status: 403, Detail: "no"}},
		{"conflict", 409, problem, `{"title":"Conflict","detail":""}`, api.Error{Status: 409, Title: "Conflict"}},
		{"the status is the answer's", 404, problem, `{"status":200,"detail":"x"}`, api.Error{Status: 404, Detail: "x"}},
		{"named parameters", 422, problem, `{"detail":"limit: too large","errors":[{"parameter":"limit","message":"too large"}]}`,
			api.Error{Status: 422, Detail: "limit: too large", Errors: []api.FieldError{{Parameter: "limit", Message: "too large"}}}},
		{"Python's list", 422, asJSON, `{"detail":[{"loc":["query","limit"],"msg":"too large","type":"x"}]}`,
			api.Error{Status: 422, Detail: "limit: too large", Errors: []api.FieldError{{Parameter: "limit", Message: "too large"}}}},
		{"Python's plain 500", 500, "text/plain; charset=utf-8", "Internal Server Error",
			api.Error{Status: 500, Detail: "the server answered 500 Internal Server Error to /monitoring/circuit-breakers"}},
		{"Python without the route", 404, asJSON, `{"detail":"Not Found"}`, api.Error{Status: 404, Detail: "this server has no /monitoring/circuit-breakers"}},
		{"half a problem", 502, problem, `{"detail":"hal`, api.Error{Status: 502, Detail: "the server answered 502 Bad Gateway to /monitoring/circuit-breakers"}},
		{"an empty problem", 503, problem, `{}`, api.Error{Status: 503, Detail: "the server answered 503 Service Unavailable to /monitoring/circuit-breakers"}},
		{"another JSON", 500, asJSON, `["x"]`, api.Error{Status: 500, Detail: "the server answered 500 Internal Server Error to /monitoring/circuit-breakers"}},
		{"an endless detail", 500, asJSON, `{"detail":"` + strings.Repeat("x", 2<<20) + `"}`,
			api.Error{Status: 500, Detail: "the server answered 500 Internal Server Error to /monitoring/circuit-breakers"}},
		{"a proxy's page", 504, page, "<html>", api.Error{Status: 504, Detail: "the server answered 504 Gateway Timeout to /monitoring/circuit-breakers"}},
		{"a redirect to nowhere", 302, page, "", api.Error{Status: 302, Detail: "the server answered 302 Found to /monitoring/circuit-breakers"}},
		{"a page for an answer", 200, page, "<html>", api.Error{Code: client.CodeUnreadable,
			Detail: "GET /monitoring/circuit-breakers: the answer is not the API's: invalid character '<' looking for beginning of value"}},
		{"half an answer", 200, asJSON, `{"x":{"name"`, api.Error{Code: client.CodeUnreadable,
			Detail: "GET /monitoring/circuit-breakers: the answer is not the API's: unexpected end of JSON input"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, client.Options{}, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			})
			_, err := c.Breakers(t.Context())
			if got := apiError(t, err); cmp.Diff(tt.want, *got) != "" {
				t.Errorf("error (-want +got):\n%s", cmp.Diff(tt.want, *got))
			}
		})
	}
}

func apiError(t testing.TB, err error) *api.Error {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) {
		t.Fatalf("error = %v, want an *api.Error", err)
	}
	return e
}

// Where no answer comes the code says why.
func TestNoAnswer(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := l.Addr().String()
	l.Close()
	for _, tt := range []struct {
		name, code, detail string
		c                  *client.Client
	}{
		{"refused", client.CodeUnreachable, "connection refused", newClient(t, refused, client.Options{})},
		{"no such host", client.CodeUnreachable, "no such host", newClient(t, "pulse.invalid", client.Options{})},
		{"cut off", client.CodeUnreachable, "EOF", serve(t, client.Options{}, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })},
		{"cut off within the body", client.CodeUnreachable, "unexpected EOF", serve(t, client.Options{}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "{")
		})},
		{"no answer", client.CodeTimeout, "no answer in time", serve(t, client.Options{Timeout: 20 * time.Millisecond}, hang)},
		{"no end", client.CodeTimeout, "no answer in time", serve(t, client.Options{Timeout: 20 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "{")
			w.(http.Flusher).Flush()
			hang(w, r)
		})},
		{"not HTTP", client.CodeUnreachable, "malformed HTTP response", newClient(t, speak(t, "SSH-2.0-OpenSSH\r\n"), client.Options{})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.c.Breakers(t.Context())
			e := apiError(t, err)
			if e.Status != 0 || e.Code != tt.code || !strings.Contains(e.Detail, tt.detail) {
				t.Errorf("error = %d %q %q, want %q %q", e.Status, e.Code, e.Detail, tt.code, tt.detail)
			}
			if tt.name == "refused" && !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%v does not wrap ECONNREFUSED", err)
			}
		})
	}
}

// speak listens and says the same to everyone.
func speak(t testing.TB, what string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, what)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, client.Options{}, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	_, err := c.Breakers(ctx)
	if e := apiError(t, err); e.Code != client.CodeCanceled || !errors.Is(err, context.Canceled) {
		t.Errorf("error = %q %q, want canceled", e.Code, e.Detail)
	}
}

// An answer without end is given up at the bound.
func TestTooLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 96 MiB")
	}
	c := serve(t, client.Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		blanks := []byte(strings.Repeat(" ", 1<<20))
		for r.Context().Err() == nil {
			if _, err := w.Write(blanks); err != nil {
				return
			}
		}
	})
	_, err := c.Breakers(t.Context())
	if e := apiError(t, err); e.Code != client.CodeUnreadable || !strings.Contains(e.Detail, "larger than") {
		t.Errorf("error = %q %q, want unreadable", e.Code, e.Detail)
	}
}

// A redirect stays on the host and keeps the method, or is not followed.
func TestRedirects(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	for _, tt := range []struct {
		name   string
		status int
		to     string
		ok     bool
	}{
		{"same host, same method", 307, "/moved", true},
		{"same host, but a GET of it", 302, "/moved", false},
		{"another host", 307, other.URL + "/moved", false},
		{"round and round", 307, "/monitoring/circuit-breakers/x/reset", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, client.Options{Token: "secret"}, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/monitoring/" {
					fmt.Fprint(w, `{"capabilities":["dry_run"]}`)
					return
				}
				if r.URL.Path != "/moved" {
					http.Redirect(w, r, tt.to, tt.status)
					return
				}
				if r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer secret" {
					t.Errorf("redirected as %s with authorization %q", r.Method, r.Header.Get("Authorization"))
				}
				fmt.Fprint(w, `{"message":"Circuit breaker 'x' reset"}`)
			})
			got, err := c.ResetBreaker(t.Context(), "x", client.Reset{})
			if tt.ok != (err == nil) || tt.ok != (got.Message != "") {
				t.Errorf("ResetBreaker = %+v, %v", got, err)
			}
			if err != nil && apiError(t, err).Status != tt.status {
				t.Errorf("error = %v, want status %d", err, tt.status)
			}
		})
	}
	if elsewhere.Load() > 0 {
		t.Error("another host was asked")
	}
}

// What a request carries.
func TestHeaders(t *testing.T) {
	var got []string
	c := serve(t, client.Options{Token: "secret", Reason: "INC-42"}, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, fmt.Sprintf("%s %s %s %s %q", r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"), r.UserAgent(), r.Header.Get("X-Pulsectl-Reason")))
		fmt.Fprint(w, `{"capabilities":["dry_run"]}`)
	})
	if _, err := c.ResetBreaker(t.Context(), "a b/c", client.Reset{Action: client.Action{DryRun: true}, HalfOpen: true}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`GET /monitoring/ Bearer secret pulsectl ""`,
		`POST /monitoring/circuit-breakers/a%20b%2Fc/reset?dry_run=true&to=half_open Bearer secret pulsectl "INC-42"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// A server that is neither Python's nor knows dry runs is not sent one.
func TestDryRunNeedsTheCapability(t *testing.T) {
	posted := false
	c := serve(t, client.Options{}, func(w http.ResponseWriter, r *http.Request) {
		posted = posted || r.Method == http.MethodPost
		if r.URL.Path != "/monitoring/" {
			fmt.Fprint(w, `{}`)
			return
		}
		fmt.Fprint(w, `{"service":"future","capabilities":["query"]}`)
	})
	_, err := c.ResetAllBreakers(t.Context(), client.Reset{Action: client.Action{DryRun: true}})
	if e := apiError(t, err); e.Code != client.CodeUnsupported || posted {
		t.Errorf("error = %v, posted %v", err, posted)
	}
}
