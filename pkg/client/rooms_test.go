package client_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

const (
	pythonRedis  = `{"redis":{"status":"healthy","connected":true,"stats":{"connected":true,"redis_url":"redis://:s3cret@127.0.0.1:16379/0","key_prefix":"pulse_api","default_ttl":3600,"cache_hits":12,"cache_misses":3,"cache_errors":0,"hit_rate":0.8,"redis_memory":"1.00M","redis_connected_clients":1,"redis_total_commands":55}},"memory":{"status":"healthy","stats":{"size":3,"max_size":1000,"hits":12,"misses":3,"hit_rate":0.8,"evictions":0,"expired_evictions":0,"total_requests":15}}}`
	pythonHealth = `{"status":"healthy","timestamp":"2026-11-23T06:36:14.773391+00:00","version":"1.0.0","environment":"development","total_check_time_ms":19.9,"checks":{"database":{"status":"healthy","latency_ms":19.57,"version":"15.20"}},"cache":{"redis":{"status":"healthy","connected":true,"stats":{"connected":true,"redis_url":"redis://:s3cret@h/0"}},"memory":{"status":"healthy","stats":{}}}}`
	pythonText   = "# HELP pulse_api_requests_total Total\n# TYPE pulse_api_requests_total counter\npulse_api_requests_total{endpoint=\"/x\",method=\"GET\",status_code=\"200\"} 1.0\n# HELP pulse_api_request_duration_seconds Took\n# TYPE pulse_api_request_duration_seconds histogram\npulse_api_request_duration_seconds_bucket{le=\"0.1\"} 3.0\npulse_api_request_duration_seconds_bucket{le=\"+Inf\"} 4.0\npulse_api_request_duration_seconds_count 4.0\npulse_api_request_duration_seconds_sum 0.5\n"
)

func TestPythonCaches(t *testing.T) {
	c, asked := python(t, map[string]string{
		"GET /monitoring/cache/status":        pythonRedis,
		"POST /monitoring/cache/redis/clear":  `{"message":"Cleared 17 cache entries","pattern":"demo:a*"}`,
		"POST /monitoring/cache/memory/clear": `{"message":"Cleared 3 memory cache entries"}`,
	})
	st, err := c.CacheStatus(t.Context())
	if err != nil || st.Redis.Status != api.Healthy || st.Memory.Stats.Size != 3 || st.Redis.Stats.RedisURL != "redis://***@127.0.0.1:16379/0" {
		t.Errorf("status = %+v, %v", st, err)
	}
	for tier, want := range map[string]int64{"redis": 17, "memory": 3} {
		if got, err := c.ClearCache(t.Context(), tier, "*", client.Action{}); err != nil || got.Cleared.Value() != want {
			t.Errorf("clear %s = %+v, %v, want %d", tier, got, err, want)
		}
	}
	if got, err := c.ClearCache(t.Context(), "redis", "demo:a*", client.Action{}); err != nil || got.Cleared.Value() != 17 {
		t.Errorf("clear by pattern = %+v, %v", got, err)
	}
	before := asked["POST /monitoring/cache/memory/clear"]
	for _, refused := range []struct {
		tier, pattern string
		how           client.Action
	}{
		{"memory", "user:*", client.Action{}}, {"redis", "*", client.Action{DryRun: true}}, {"memory", "*", client.Action{DryRun: true}},
	} {
		var e *api.Error
		if _, err := c.ClearCache(t.Context(), refused.tier, refused.pattern, refused.how); !errors.As(err, &e) || e.Code != client.CodeUnsupported {
			t.Errorf("clear %+v: %v, want a refusal", refused, err)
		}
	}
	for request, n := range asked {
		if strings.Contains(request, "dry_run") || strings.Contains(request, "memory/clear?") || request == "POST /monitoring/cache/memory/clear" && n != before {
			t.Errorf("%s was sent", request)
		}
	}
}

// A Python server calls a Redis healthy that does not answer.
func TestPythonHealth(t *testing.T) {
	c, _ := python(t, map[string]string{"GET /monitoring/health/detailed": pythonHealth})
	h, err := c.Health(t.Context())
	if err != nil || h.Status != api.Unhealthy || h.Cache.Redis.Status != api.Failed || h.Cache.Redis.Connected || h.Checks["database"].Fields["version"] != "15.20" {
		t.Errorf("health = %+v, %v", h, err)
	}
	if strings.Contains(h.Cache.Redis.Stats.RedisURL, "s3cret") {
		t.Errorf("the URL shows the password: %s", h.Cache.Redis.Stats.RedisURL)
	}
}

func TestUnhealthyIsAnAnswer(t *testing.T) {
	for _, tt := range []struct {
		name, contentType, body string
		status                  int
		want                    string // the verdict; "" for an error
	}{
		{"unhealthy", "application/json", `{"status":"unhealthy","checks":{}}`, 503, api.Unhealthy},
		{"a proxy's 503", "text/html", `<h1>Service Unavailable</h1>`, 503, ""},
		{"a problem", api.ProblemType, `{"status":503,"detail":"starting"}`, 503, ""},
		{"no status", "application/json", `{}`, 200, ""},
		{"no token", api.ProblemType, `{"status":401,"detail":"no"}`, 401, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.contentType)
				w.WriteHeader(tt.status)
				w.Write([]byte(tt.body))
			}))
			defer ts.Close()
			c, err := client.New(ts.URL, client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if h, err := c.Health(t.Context()); h.Status != tt.want && tt.want != "" || (err == nil) != (tt.want != "") {
				t.Errorf("health = %+v, %v", h, err)
			}
		})
	}
}

func TestPythonMetrics(t *testing.T) {
	c, _ := python(t, map[string]string{"GET /monitoring/metrics": pythonText})
	fs, err := c.Metrics(t.Context(), client.MetricQuery{})
	if err != nil || len(fs) != 2 {
		t.Fatalf("metrics = %+v, %v", fs, err)
	}
	h := fs[0].Series[0]
	if fs[0].Type != "histogram" || fs[0].Unit != "seconds" || *h.Count != 4 || len(h.Buckets) != 2 || h.Buckets[0] != (api.MetricBucket{UpperBound: .1, Count: 3}) {
		t.Errorf("histogram = %+v", fs[0])
	}
	if b, err := json.Marshal(fs); err != nil || !strings.Contains(string(b), `{"le":"+Inf","count":4}`) {
		t.Errorf("JSON = %s, %v", b, err)
	}
}

// Everything recorded from a real Python server must be readable.
func TestRecordedPythonAnswers(t *testing.T) {
	dir, ok := testkit.Fixtures(t)
	if !ok {
		t.Skip("the recorded answers are not here")
	}
	bodies := map[string]string{}
	for name, route := range map[string]string{
		"a01_metrics_fresh": "GET /monitoring/metrics", "a02_health_detailed_healthy": "GET /monitoring/health/detailed",
		"d01_cache_status": "GET /monitoring/cache/status", "e01_system_info": "GET /monitoring/system/info",
		"d04_cache_redis_clear_pattern": "POST /monitoring/cache/redis/clear", "d08_cache_memory_clear": "POST /monitoring/cache/memory/clear",
	} {
		b, err := os.ReadFile(filepath.Join(dir, "python-api", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var recorded struct{ Body string }
		if err := json.Unmarshal(b, &recorded); err != nil {
			t.Fatal(err)
		}
		bodies[route] = recorded.Body
	}
	c, _ := python(t, bodies)
	if fs, err := c.Metrics(t.Context(), client.MetricQuery{}); err != nil || len(fs) < 5 {
		t.Errorf("metrics: %d families, %v", len(fs), err)
	}
	if h, err := c.Health(t.Context()); err != nil || h.Status != api.Healthy || len(h.CircuitBreakers.Circuits) != 5 {
		t.Errorf("health = %+v, %v", h, err)
	}
	if s, err := c.System(t.Context()); err != nil || s.Process.PID != 1484 || s.Uptime == 0 {
		t.Errorf("system = %+v, %v", s, err)
	}
	if st, err := c.CacheStatus(t.Context()); err != nil || st.Redis.Stats.CacheHits != 12 || strings.Contains(st.Redis.Stats.RedisURL, "s3cret") {
		t.Errorf("caches = %+v, %v", st, err)
	}
	if got, err := c.ClearCache(t.Context(), "redis", "demo:a*", client.Action{}); err != nil || got.Cleared.Value() != 1 {
		t.Errorf("clear = %+v, %v", got, err)
	}
}

func FuzzParseMetrics(f *testing.F) { // property: what parses can be told in JSON
	f.Add([]byte(pythonText))
	f.Add([]byte("a{b=\"c\"} NaN\n# TYPE s summary\ns{quantile=\"0.5\"} +Inf\ns_count 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		fs, err := client.ParseMetrics(text)
		if err != nil {
			return
		}
		if _, err := json.Marshal(fs); err != nil {
			t.Errorf("families of %q: %v", text, err)
		}
	})
}
