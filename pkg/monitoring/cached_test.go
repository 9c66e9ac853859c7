package monitoring_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
)

// A cache of the stack's goes through memory and Redis, shows in the metrics by
// cause, and leaves no goroutine behind when the stack ends.
func TestNewCache(t *testing.T) {
	ignore := goleak.IgnoreCurrent() // what other tests left running
	m, err := monitoring.New(monitoring.Options{RedisURL: testkit.Redis(t).URL(), Access: monitoring.Access{AllowAnonymous: true}})
	if err != nil {
		t.Fatal(err)
	}
	users, err := monitoring.NewCache(m, cache.Options[string]{Prefix: "user", Stale: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := monitoring.NewCache(m, cache.Options[string]{Stale: -1}); err == nil {
		t.Error("nonsense was accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	for range 3 {
		if v, err := users.GetOrLoad(ctx, "7", time.Millisecond, func(context.Context) (string, error) { return "Ada", nil }); v != "Ada" || err != nil {
			t.Errorf("GetOrLoad = %q, %v", v, err)
		}
		time.Sleep(3 * time.Millisecond) // stale: it is renewed behind us
	}
	if _, err := monitoring.Cached(ctx, m, "user:8", time.Minute, func(context.Context) (int, error) { return 0, cache.ErrNotFound }); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("Cached = %v", err)
	}
	if _, err := users.Clear(ctx, "*"); err != nil {
		t.Error(err)
	}
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/monitoring/metrics", nil))
	for _, want := range []string{
		`pulse_api_cache_requests_total{cache="memory",result="hit"} 2`, `pulse_api_cache_requests_total{cache="redis",result="miss"} 2`,
		`pulse_api_cache_evictions_total{cache="memory",reason="cleared"} 2`, `pulse_api_cache_evictions_total{cache="redis",reason="cleared"} 2`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, ignore)
}

// The first and the second caller of a URL have ids and traces of their own, and
// the API is never kept, also where it says nothing of that.
func TestCacheResponses(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{Access: monitoring.Access{AllowAnonymous: true}})
	if err != nil {
		t.Fatal(err)
	}
	keep, err := m.CacheResponses(cache.ResponseOptions{TTL: time.Minute, Skip: func(r *http.Request) bool { return r.URL.Path == "/skipped" }})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Memory.Close()
	asked := 0
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) { asked++; fmt.Fprint(w, r.PathValue("id")) })
	mux.HandleFunc("GET /skipped", func(http.ResponseWriter, *http.Request) { asked++ })
	m.Mount(mux)
	h := m.Middleware(keep(mux))
	get := func(target string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		return w
	}
	first, second := get("/users/7"), get("/users/7")
	if asked != 1 || second.Body.String() != "7" || second.Header().Get("Age") != "0" {
		t.Errorf("asked %d times: %v %q", asked, second.Header(), second.Body)
	}
	for _, name := range []string{"X-Request-ID", "X-Trace-ID"} {
		if a, b := first.Header().Values(name), second.Header().Values(name); len(a) != 1 || len(b) != 1 || a[0] == b[0] {
			t.Errorf("%s: %v and %v", name, a, b)
		}
	}
	for _, path := range []string{"/monitoring/", "/monitoring/cache/memory/stats", "/health/live", "/skipped"} {
		for range 2 {
			if w := get(path); w.Code != 200 || w.Header().Get("Age") != "" {
				t.Errorf("%s: %d %v", path, w.Code, w.Header())
			}
		}
	}
	if asked != 3 || m.Memory.Stats().Size != 1 {
		t.Errorf("asked %d times, %d answers kept", asked, m.Memory.Stats().Size)
	}
	w := get("/monitoring/metrics")
	if want := `pulse_api_requests_total{endpoint="/users/{id}",method="GET",status_code="200"} 2`; !strings.Contains(w.Body.String(), want) {
		t.Errorf("hits count under their route: no %s", want)
	}
}
