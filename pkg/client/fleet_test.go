package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

// wire answers requests in the bubble's time: a real connection would not
// stand still in it.
type wire func(*http.Request) (*http.Response, error)

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

func fleet(t *testing.T, n int, w wire) []*client.Client {
	t.Helper()
	var all []*client.Client
	for i := range n {
		all = append(all, newClient(t, fmt.Sprintf("replica-%d:8000", i), client.Options{Transport: w}))
	}
	return all
}

func one(name string) *http.Response {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"` + name + `":{"state":"closed"}}`))}
}

// Answers come in the servers' order, at most 64 servers are asked at once.
func TestEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var now, most int
		cs := fleet(t, 200, func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return one(r.URL.Hostname()), nil
		})
		start := time.Now()
		rs := client.Each(t.Context(), cs, (*client.Client).Breakers)
		if took := time.Since(start); most != 64 || took != 4*time.Second {
			t.Errorf("at most %d at once, done in %v; want 64 and 4s", most, took)
		}
		for i, r := range rs {
			if _, ok := r.Value[fmt.Sprintf("replica-%d", i)]; !ok || r.Instance != cs[i].Instance() || r.Error != nil {
				t.Errorf("answer %d = %+v", i, r)
			}
		}
	})
}

// A server that hangs takes its own deadline and holds up no one.
func TestEachHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := map[string]time.Duration{}
		start := time.Now()
		cs := fleet(t, 3, func(r *http.Request) (*http.Response, error) {
			if r.URL.Hostname() == "replica-0" {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return one(r.URL.Hostname()), nil
		})
		var mu sync.Mutex
		rs := client.Each(t.Context(), cs, func(c *client.Client, ctx context.Context) (api.Breakers, error) {
			out, err := c.Breakers(ctx)
			mu.Lock()
			defer mu.Unlock()
			done[c.Instance()] = time.Since(start)
			return out, err
		})
		if rs[0].Error == nil || rs[0].Error.Code != client.CodeTimeout || done[cs[0].Instance()] != 10*time.Second {
			t.Errorf("the hanging one: %+v after %v", rs[0].Error, done[cs[0].Instance()])
		}
		for i := 1; i < 3; i++ {
			if rs[i].Error != nil || done[cs[i].Instance()] != 0 {
				t.Errorf("answer %d: %v after %v", i, rs[i].Error, done[cs[i].Instance()])
			}
		}
	})
}

// When the caller gives up everyone ends at once, those not yet asked too.
func TestEachCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cs := fleet(t, 40, func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		rs := client.Each(ctx, cs, (*client.Client).Breakers)
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v, want 1s", took)
		}
		for i, r := range rs {
			if r.Error == nil || r.Error.Code != client.CodeCanceled {
				t.Errorf("answer %d: %+v", i, r.Error)
			}
		}
	})
}

// An error that is none of the API's becomes one.
func TestEachForeignError(t *testing.T) {
	cs := fleet(t, 1, nil)
	rs := client.Each(t.Context(), cs, func(*client.Client, context.Context) (int, error) { return 0, errors.New("disk full") })
	if e := rs[0].Error; e == nil || e.Detail != "disk full" {
		t.Errorf("error = %+v", e)
	}
}
