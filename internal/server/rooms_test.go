package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
	"github.com/pulsectl/pulsectl/pkg/monitoring/health"
)

// serve starts a server over loopback.
func serve(t *testing.T, o server.Options) *httptest.Server {
	t.Helper()
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(s)
	t.Cleanup(ts.Close)
	return ts
}

// call makes a request and decodes its JSON into out, unless that is nil.
func call(t *testing.T, method, url string, out any) (status int, body string, header http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			t.Fatalf("%s %s: %v in %s", method, url, err, b)
		}
	}
	return resp.StatusCode, string(b), resp.Header
}

func checks(t *testing.T, cs ...health.Check) *health.Checks {
	t.Helper()
	all := health.New(health.Options{Fresh: time.Nanosecond})
	for _, c := range cs {
		if err := all.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func failing(name string, critical bool) health.Check {
	return health.Check{Name: name, Critical: critical, Run: func(context.Context) (map[string]any, error) { return nil, errors.New("password of db is wrong") }}
}

func TestHealthStatusFollowsTheVerdict(t *testing.T) {
	var open breaker.Set
	b, err := open.Add("github_api", breaker.Options{FailureThreshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := breaker.Do(t.Context(), b, func(context.Context) (int, error) { return 0, errors.New("502") }); err == nil {
		t.Fatal("no error")
	}
	for _, tt := range []struct {
		name           string
		o              server.Options
		verdict        string
		status, readys int
	}{
		{"nothing", server.Options{}, api.Healthy, 200, 200},
		{"a failed check", server.Options{Checks: checks(t, failing("mail", false))}, api.Degraded, 200, 200},
		{"a failed critical check", server.Options{Checks: checks(t, failing("db", true))}, api.Unhealthy, 503, 503},
		{"an open breaker", server.Options{Breakers: &open}, api.Unhealthy, 503, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts := serve(t, tt.o)
			for _, path := range []string{"/monitoring/health/detailed", "/health", "/monitoring/health"} {
				var h api.Health
				if status, body, _ := call(t, "GET", ts.URL+path, &h); status != tt.status || h.Status != tt.verdict {
					t.Errorf("GET %s = %d %s", path, status, body)
				}
				if _, err := time.Parse("2006-01-02T15:04:05.000000-07:00", h.Timestamp); err != nil {
					t.Error(err)
				}
			}
			for _, prefix := range []string{"/health", "/monitoring/health"} {
				var ready api.Ready
				if status, _, _ := call(t, "GET", ts.URL+prefix+"/ready", &ready); status != tt.readys || ready.Ready != (tt.readys == 200) {
					t.Errorf("ready = %d %+v, want %d", status, ready, tt.readys)
				}
				var live api.Live
				if status, _, _ := call(t, "GET", ts.URL+prefix+"/live", &live); status != 200 || !live.Alive {
					t.Errorf("live = %d %+v", status, live)
				}
			}
		})
	}
}

// The probes need no token, and tell those without one no errors.
func TestProbesHideErrorsFromStrangers(t *testing.T) {
	o := server.Options{Checks: checks(t, failing("db", true)), Access: server.Access{Tokens: []server.Token{{Name: "ops", Role: server.Operator}}}}
	ts := serve(t, o)
	status, body, _ := call(t, "GET", ts.URL+"/health", nil)
	if status != 503 || strings.Contains(body, "password") || !strings.Contains(body, `"db"`) {
		t.Errorf("GET /health = %d %s", status, body)
	}
	if status, body, _ := call(t, "GET", ts.URL+"/monitoring/health/detailed", nil); status != 401 {
		t.Errorf("detailed = %d %s", status, body)
	}
}

func TestSystemInfo(t *testing.T) {
	ts := serve(t, server.Options{})
	var info api.System
	if status, body, _ := call(t, "GET", ts.URL+"/monitoring/system/info", &info); status != 200 || info.Process.PID == 0 || info.Process.MemoryRSS == 0 {
		t.Errorf("GET system/info = %d %s", status, body)
	}
}

func TestMetricsAreServed(t *testing.T) {
	ts := serve(t, server.Options{Service: "pulse"})
	status, body, header := call(t, "GET", ts.URL+"/monitoring/metrics", nil)
	if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), "text/plain; version=0.0.4") || !strings.Contains(body, `service="pulse"`) {
		t.Errorf("GET metrics = %d %v", status, header)
	}
}

func memoryCache(t *testing.T, n int) *cache.Memory {
	t.Helper()
	m, err := cache.NewMemory(cache.MemoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() }) // never an error
	for i := range n {
		if err := m.Set(t.Context(), fmt.Sprintf("user:%d", i), []byte("v"), 0); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestCachesAreClearedByPattern(t *testing.T) {
	ts := serve(t, server.Options{Memory: memoryCache(t, 12)})
	clear := func(query string) api.CacheCleared {
		t.Helper()
		var out api.CacheCleared
		if status, body, _ := call(t, "POST", ts.URL+"/monitoring/cache/memory/clear"+query, &out); status != 200 {
			t.Errorf("clear%s = %d %s", query, status, body)
		}
		return out
	}
	if got := clear("?pattern=user:1*&dry_run=true"); got.Cleared.Value() != 3 || !got.DryRun {
		t.Errorf("dry run = %+v", got)
	}
	if got := clear("?pattern=user:1*"); got.Cleared.Value() != 3 || got.Message != "Cleared 3 memory cache entries" {
		t.Errorf("clear = %+v", got)
	}
	if got := clear(""); got.Cleared.Value() != 9 {
		t.Errorf("clear all = %+v", got)
	}
	var stats api.MemoryStats
	if status, _, _ := call(t, "GET", ts.URL+"/monitoring/cache/memory/stats", &stats); status != 200 || stats.Size != 0 || stats.Cleared.Value() != 12 {
		t.Errorf("stats = %d %+v", status, stats)
	}
}

func TestClearRefusesNonsense(t *testing.T) {
	m := memoryCache(t, 3)
	ts := serve(t, server.Options{Memory: m})
	for _, query := range []string{"?pattern=" + strings.Repeat("x", 600), "?dry_run=perhaps"} {
		var e api.Error
		if status, body, _ := call(t, "POST", ts.URL+"/monitoring/cache/memory/clear"+query, &e); status != 422 || len(e.Errors) != 1 {
			t.Errorf("clear%.40s = %d %s", query, status, body)
		}
	}
	if m.Stats().Size != 3 {
		t.Error("a refused request cleared")
	}
}

func TestWithoutRedis(t *testing.T) {
	ts := serve(t, server.Options{})
	var status api.CacheStatus
	if code, body, _ := call(t, "GET", ts.URL+"/monitoring/cache/status", &status); code != 200 || status.Redis.Status != api.Disabled {
		t.Errorf("status = %d %s", code, body)
	}
	for _, rt := range []string{"GET /monitoring/cache/redis/info", "POST /monitoring/cache/redis/clear"} {
		method, path, _ := strings.Cut(rt, " ")
		if code, body, _ := call(t, method, ts.URL+path, nil); code != 503 || !strings.Contains(body, "REDIS_URL") {
			t.Errorf("%s = %d %s", rt, code, body)
		}
	}
}

func TestRedisKilledUnderTheServer(t *testing.T) {
	redis := testkit.Redis(t)
	c, err := cache.NewRedis(cache.RedisOptions{URL: redis.URL(), Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // closed twice is closed
	ts := serve(t, server.Options{Redis: c})
	verdict := func() (int, string) {
		var h api.Health
		status, _, _ := call(t, "GET", ts.URL+"/monitoring/health/detailed", &h)
		return status, h.Cache.Redis.Status
	}
	if status, redis := verdict(); status != 200 || redis != api.Healthy {
		t.Errorf("up: %d, redis %s", status, redis)
	}
	redis.Kill()
	if status, redis := verdict(); status != 503 || redis != api.Failed {
		t.Errorf("killed: %d, redis %s", status, redis)
	}
	if code, body, _ := call(t, "GET", ts.URL+"/monitoring/cache/redis/info", nil); code != 503 {
		t.Errorf("info = %d %s", code, body)
	}
	var e api.Error
	if code, body, _ := call(t, "POST", ts.URL+"/monitoring/cache/redis/clear", &e); code < 500 || e.Cleared == nil {
		t.Errorf("clear = %d %s", code, body)
	}
	if code, body, _ := call(t, "POST", ts.URL+"/monitoring/cache/redis/clear?dry_run=true", nil); code < 500 || strings.Contains(body, "cleared 0") {
		t.Errorf("a dry run that cleared = %d %s", code, body)
	}
	redis.Restart()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if status, redis := verdict(); status == 200 && redis == api.Healthy {
			break
		} else if time.Now().After(end) {
			t.Fatalf("10s after the restart: %d, redis %s", status, redis)
		}
	}
}
