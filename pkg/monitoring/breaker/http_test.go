package breaker_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

func TestTransportObeysRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		name, retryAfter string
		max              time.Duration
		open             time.Duration // 0: it stays closed
	}{
		{"seconds", "30", 0, 30 * time.Second},
		{"a date", time.Now().Add(40 * time.Second).UTC().Format(http.TimeFormat), 0, 40 * time.Second},
		{"bounded", "999999", 0, 5 * time.Minute},
		{"bounded as configured", "30", 10 * time.Second, 10 * time.Second},
		{"never", "30", -1, 0},
		{"none", "", 0, 0},
		{"over", "0", 0, 0},
		{"nonsense", "soon", 0, 0},
		{"too much", "99999999999999999999", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if tt.retryAfter != "" {
					w.Header().Set("Retry-After", tt.retryAfter)
				}
				w.WriteHeader(http.StatusTooManyRequests)
			}))
			defer srv.Close()
			b := newBreaker(t, breaker.Options{MaxRetryAfter: tt.max})
			resp, err := (&http.Client{Transport: breaker.Transport(b, srv.Client().Transport)}).Get(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			s := b.Snapshot()
			if tt.open == 0 {
				want(t, b, api.StateClosed)
				return
			}
			want(t, b, api.StateOpen)
			if wait := time.Until(s.RetryAt.Time); wait > tt.open || wait < tt.open-3*time.Second {
				t.Errorf("it waits %s, want %s", wait, tt.open)
			}
			if s.Why.Threshold.Kind != "retry_after" || !strings.HasPrefix(s.Why.Reason, "429 Too Many Requests") || s.Stats.FailedRequests != 0 {
				t.Errorf("why = %+v, stats %+v", s.Why, s.Stats)
			}
		})
	}
}

func TestTransportCountsFailures(t *testing.T) {
	status := http.StatusServiceUnavailable
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	b := newBreaker(t, breaker.Options{FailureThreshold: 2, Timeout: time.Second})
	c := &http.Client{Transport: breaker.Transport(b, srv.Client().Transport)}
	resp, err := c.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	srv.Close()
	if _, err := c.Get(srv.URL); err == nil {
		t.Fatal("a server that is gone answers")
	}
	want(t, b, api.StateOpen)
	if s := b.Snapshot(); len(s.Errors) != 2 || s.Errors[0].Kind != "connection_refused" || s.Errors[1].Kind != "http_503" {
		t.Errorf("errors = %+v", s.Errors)
	}
}

func TestMiddlewareSheds(t *testing.T) {
	answer := http.StatusOK
	b := newBreaker(t, breaker.Options{FailureThreshold: 2, Timeout: 50 * time.Millisecond})
	srv := httptest.NewServer(breaker.Middleware(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			<-r.Context().Done()
		case "/panic":
			panic(http.ErrAbortHandler)
		}
		if err := http.NewResponseController(w).Flush(); r.URL.Path == "/flush" && err != nil {
			t.Errorf("flush: %v", err)
		}
		w.WriteHeader(answer)
	})))
	defer srv.Close()
	get := func(path string) *http.Response {
		t.Helper()
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			return nil
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp
	}
	get("/flush")
	want(t, b, api.StateClosed)
	get("/slow")
	get("/panic")
	want(t, b, api.StateOpen)
	if s := b.Snapshot().Stats; s.Timeouts != 1 || s.FailedRequests != 2 || s.SuccessfulRequests != 1 {
		t.Errorf("stats = %+v", s)
	}
	resp := get("/")
	if resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("while it is open: %+v, want 503", resp)
	}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || n < 55 || n > 60 {
		t.Errorf("Retry-After = %q, want about a minute", resp.Header.Get("Retry-After"))
	}
}
