package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

// eventServer has an index and streams what it is given.
func eventServer(t *testing.T, body string) *httptest.Server {
	t.Helper()
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/monitoring/" {
			fmt.Fprint(w, `{"service":"x","capabilities":["dry_run"]}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, body)
	}))
	t.Cleanup(ts.Close)
	return ts
}

func TestFollow(t *testing.T) {
	ts := eventServer(t, ": stream\n\nevent: transition\ndata: {\"name\":\"a\",\ndata: \"to\":\"open\"}\n\n: heartbeat\n\nevent: new\ndata: {}\n\nevent: transition\ndata: {\"name\":\"b\",\"lost\":3}\n\nevent: transition\ndata: {\"name\":\"cut off\"}")
	var got []api.BreakerEvent
	opened := false
	err := newClient(t, ts.URL, client.Options{}).FollowBreakerEvents(t.Context(), client.EventQuery{Name: "*"}, func() { opened = true }, func(e api.BreakerEvent) error {
		got = append(got, e)
		return nil
	})
	if e := apiError(t, err); e.Code != client.CodeEnded || !opened {
		t.Errorf("ended by %v, opened %v", err, opened)
	}
	if len(got) != 2 || got[0].To != api.StateOpen || got[1].Name != "b" || got[1].Lost != 3 {
		t.Errorf("events = %+v", got)
	}
}

// What is no stream, or none of ours, is an error that says so.
func TestFollowErrors(t *testing.T) {
	for name, body := range map[string]string{
		"an event too large": "data: " + strings.Repeat("x", 1<<20) + "\n\n",
		"many lines":         strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", 2000) + "\n",
		"no JSON":            "event: transition\ndata: {\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			err := newClient(t, eventServer(t, body).URL, client.Options{}).FollowBreakerEvents(t.Context(), client.EventQuery{}, func() {}, func(api.BreakerEvent) error { return nil })
			if e := apiError(t, err); e.Code == client.CodeEnded {
				t.Errorf("error = %v", err)
			}
		})
	}
	full := errors.New("disk full")
	ts := eventServer(t, "event: transition\ndata: {}\n\n")
	err := newClient(t, ts.URL, client.Options{}).FollowBreakerEvents(t.Context(), client.EventQuery{}, func() {}, func(api.BreakerEvent) error { return full })
	if !errors.Is(err, full) {
		t.Errorf("the caller's own error: %v", err)
	}
}

// A stream without a sign of life is dead.
func TestFollowSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		defer w.Close()
		cs := fleet(t, 1, func(r2 *http.Request) (*http.Response, error) {
			if r2.URL.Path == "/monitoring/" {
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"capabilities":["x"]}`))}, nil
			}
			context.AfterFunc(r2.Context(), func() { w.CloseWithError(r2.Context().Err()) })
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: r}, nil
		})
		go func() {
			for range 3 {
				io.WriteString(w, ": heartbeat\n\n")
				time.Sleep(15 * time.Second)
			}
		}()
		start := time.Now()
		err := cs[0].FollowBreakerEvents(t.Context(), client.EventQuery{}, func() {}, func(api.BreakerEvent) error { return nil })
		if e := apiError(t, err); e.Code != client.CodeTimeout || time.Since(start) != 75*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// A Python server is sent none of this.
func TestPythonHasNoControl(t *testing.T) {
	p := testkit.Python(t)
	c := newClient(t, p.URL, client.Options{})
	for name, do := range map[string]func() error{
		"open": func() error {
			_, err := c.ChangeBreaker(t.Context(), "github_api", client.Change{Force: client.ForceOpen})
			return err
		},
		"enable": func() error {
			_, err := c.ChangeBreaker(t.Context(), "github_api", client.Change{Force: client.Automatic})
			return err
		},
		"events":  func() error { _, err := c.BreakerEvents(t.Context(), client.EventQuery{}); return err },
		"follow":  func() error { return c.FollowBreakerEvents(t.Context(), client.EventQuery{}, func() {}, nil) },
		"state":   func() error { _, err := c.ResetAllBreakers(t.Context(), client.Reset{State: "open"}); return err },
		"by name": func() error { _, err := c.ResetAllBreakers(t.Context(), client.Reset{Name: "git*"}); return err },
	} {
		if e := apiError(t, do()); e.Code != client.CodeUnsupported {
			t.Errorf("%s: %v", name, e)
		}
	}
	if got := p.Actions(); len(got) > 0 {
		t.Errorf("sent %q", got)
	}
	if _, err := c.AcquireBreaker(t.Context(), "github_api", client.Acquire{}); apiError(t, err).Code != client.CodeUnsupported {
		t.Errorf("acquire: %v", err)
	}
}
