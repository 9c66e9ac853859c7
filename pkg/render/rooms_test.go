package render_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/pulsectl/pulsectl/internal/scrape"
	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

func refused[T any](instance string) api.Result[T] {
	return api.Result[T]{Instance: instance, Error: &api.Error{Detail: "connection refused"}}
}

func ptr[T any](v T) *T { return &v }

func sampleCaches() api.CacheStatus {
	return api.CacheStatus{
		Redis: api.RedisHealth{Status: api.Healthy, Connected: true, Stats: api.RedisStats{
			Connected: true, RedisURL: "redis://***@10.0.0.7:6379/0", KeyPrefix: "pulse_api", CacheHits: 18042, CacheMisses: 1203, CacheErrors: 4,
			RedisMemory: "1.04M", RedisConnectedClients: api.CountOf(12), RedisVersion: "7.0.15", Role: "master",
			EvictedKeys: api.CountOf(7), Latency: ptr(api.Seconds(310 * time.Microsecond)), Mode: "standalone",
			Keys: api.CountOf(48113), ExpiredKeys: api.CountOf(90210), Cleared: api.CountOf(31), Garbled: api.CountOf(2),
			MaxMemory: api.CountOf(256 << 20), MaxMemoryPolicy: "allkeys-lru",
			Recent:   &api.CacheRecent{Seconds: api.Seconds(5 * time.Minute), Hits: 880, Misses: 120, HitRate: .88},
			Prefixes: []api.CachePrefix{{Prefix: "priority", Hits: 17000, Misses: 1000, Cleared: api.CountOf(31), Errors: api.CountOf(4)}},
		}},
		Memory: api.MemoryHealth{Status: api.Healthy, Stats: api.MemoryStats{
			Size: 812, MaxSize: 10000, Hits: 231204, Misses: 9120, TotalRequests: 240324, Evictions: 120, ExpiredEvictions: 4411,
			Cleared: api.CountOf(31), Bytes: api.CountOf(11 << 20), MaxBytes: api.CountOf(64 << 20),
			Recent: &api.CacheRecent{Seconds: api.Seconds(5 * time.Minute), Hits: 9900, Misses: 100, HitRate: .99},
			Prefixes: []api.CachePrefix{
				{Prefix: "priority", Entries: 640, Hits: 200104, Misses: 4002, Bytes: api.CountOf(9 << 20), Evicted: api.CountOf(120), Expired: api.CountOf(4000), Cleared: api.CountOf(0)},
				{Prefix: "user\x1b[2J", Entries: 160, Hits: 31000, Misses: 5010},
				{Prefix: "(other)", Entries: 12, Hits: 100, Misses: 108},
			},
		}},
	}
}

func sampleHealth() api.Health {
	uptime, caches := api.Seconds(3*time.Hour+4*time.Minute), sampleCaches()
	return api.Health{
		Status: api.Unhealthy, Version: "1.4.0", Environment: "production", TotalCheckTimeMS: 12.4, Uptime: &uptime, Cache: &caches,
		Checks: map[string]api.Check{
			"database": {Status: api.Healthy, LatencyMS: 4.21, Critical: true, LastOK: *unix(2 * time.Second), Fields: map[string]any{"version": "15.20", "pool": map[string]any{"size": 10.0, "idle": 3.0}}},
			"search":   {Status: api.Unhealthy, LatencyMS: 2000, Error: "no answer within 2s", LastOK: *unix(14 * time.Minute)},
			"mail":     {Status: api.Degraded, LatencyMS: 310, Error: "degraded: queue of 1,204"},
		},
		CircuitBreakers: &api.HealthBreakers{Status: api.Failed, Circuits: map[string]api.HealthCircuit{
			"github_api": {Status: api.Healthy, State: api.StateClosed, FailureRate: 0.001, TotalRequests: 52114},
			"openai_api": {Status: api.Failed, State: api.StateOpen, FailureRate: 0.4, TotalRequests: 10, ConsecutiveFailures: 5},
		}},
	}
}

func TestHealth(t *testing.T) {
	one := []api.Result[api.Health]{{Instance: "http://127.0.0.1:8000", Value: sampleHealth()}}
	golden(t, "health", func(w *bytes.Buffer, o render.Options) error { return render.Health(w, one, o) })
	fleet := append(one, refused[api.Health]("http://10.0.0.2:8000"))
	golden(t, "health-fleet", func(w *bytes.Buffer, o render.Options) error { return render.Health(w, fleet, o) })
	check := []api.Result[map[string]api.Check]{{Instance: "http://a", Value: map[string]api.Check{"database": sampleHealth().Checks["database"]}}}
	golden(t, "health-check", func(w *bytes.Buffer, o render.Options) error { return render.HealthCheck(w, check, o) })
}

func TestSystem(t *testing.T) {
	v := api.System{
		Process: api.ProcessInfo{
			PID: 4121, MemoryRSS: 84 << 20, MemoryVMS: 1 << 30, CPUPercent: 37.2, Threads: 14, OpenFiles: 61, Connections: 22,
			Goroutines: api.CountOf(142), HeapAlloc: api.CountOf(31 << 20), HeapObjects: api.CountOf(184022), GCPauseP99: ptr(api.Seconds(212 * time.Microsecond)),
			GOMAXPROCS: api.CountOf(2), CgroupMemoryLimit: api.CountOf(512 << 20), CgroupCPUQuota: ptr(1.5),
		},
		System: api.HostInfo{
			Hostname: "pulse-7c9f", OS: "linux", Arch: "amd64", CPUCount: 8, MemoryTotal: 16 << 30, MemoryAvailable: 9 << 30, MemoryPercent: 43.75,
			LoadAverage: []float64{0.52, 0.61, 0.7}, DiskUsage: api.DiskUsage{Total: 250 << 30, Used: 61 << 30, Free: 189 << 30},
		},
		Uptime: api.Seconds(27 * time.Hour),
	}
	one := []api.Result[api.System]{{Instance: "http://127.0.0.1:8000", Value: v}}
	golden(t, "system", func(w *bytes.Buffer, o render.Options) error { return render.System(w, one, o) })
	python := api.System{Process: api.ProcessInfo{PID: 1484, MemoryRSS: 52662272, MemoryVMS: 235044864, Threads: 6, OpenFiles: 2, Connections: 4}, System: api.HostInfo{CPUCount: 2, MemoryTotal: 25276510208, MemoryAvailable: 23535194112, MemoryPercent: 6.9}}
	fleet := append(one, api.Result[api.System]{Instance: "http://py:8000", Value: python}, refused[api.System]("http://10.0.0.2:8000"))
	golden(t, "system-fleet", func(w *bytes.Buffer, o render.Options) error { return render.System(w, fleet, o) })
}

func TestCacheStatus(t *testing.T) {
	one := []api.Result[api.CacheStatus]{{Instance: "http://127.0.0.1:8000", Value: sampleCaches()}}
	golden(t, "cache", func(w *bytes.Buffer, o render.Options) error { return render.CacheStatus(w, one, o) })
	down := sampleCaches()
	down.Redis = api.RedisHealth{Status: api.Failed, Reason: "dial tcp 10.0.0.7:6379: connect: connection refused", Stats: api.RedisStats{RedisURL: "redis://10.0.0.7:6379/0", LastError: "dial tcp 10.0.0.7:6379: connect: connection refused"}}
	off := api.CacheStatus{Redis: api.RedisHealth{Status: api.Disabled}, Memory: api.MemoryHealth{Status: api.Healthy}}
	fleet := []api.Result[api.CacheStatus]{{Instance: "http://a:8000", Value: down}, {Instance: "http://b:8000", Value: off}, refused[api.CacheStatus]("http://10.0.0.2:8000")}
	golden(t, "cache-fleet", func(w *bytes.Buffer, o render.Options) error { return render.CacheStatus(w, fleet, o) })
}

// Under --watch the share of hits between two looks stands beside that of before.
func TestCacheStatusSince(t *testing.T) {
	now, before := sampleCaches(), sampleCaches()
	before.Memory.Stats.Hits, before.Memory.Stats.Misses = 230304, 9020
	before.Redis.Stats.CacheHits, before.Redis.Stats.CacheMisses = 18042, 1203 // nothing was asked since
	now.Redis.Status, now.Redis.Reason = api.Degraded, "out of memory: 256.00M of 256.00M used and maxmemory-policy is noeviction, so writes are refused"
	at := func(v api.CacheStatus) []api.Result[api.CacheStatus] {
		return []api.Result[api.CacheStatus]{{Instance: "http://127.0.0.1:8000", Value: v}}
	}
	golden(t, "cache-watch", func(w *bytes.Buffer, o render.Options) error {
		return render.CacheStatusSince(at(before))(w, at(now), o)
	})
}

func TestCacheKeys(t *testing.T) {
	rs := []api.Result[api.CacheKeys]{{Instance: "http://a", Value: api.CacheKeys{Pattern: "*", Next: ptr("kMTIzNC4wLjE3LjA"), Keys: []api.CacheKey{
		{Key: "priority:u_8812", Size: 1840, TTL: ptr(api.Seconds(42 * time.Second)), Hits: api.CountOf(12031)},
		{Key: "session:\x1b[2J", Size: 96, TTL: nil, Idle: ptr(api.Seconds(3 * time.Hour))},
		{Key: "http:api.example.com/priority/recommendations/for/a/user/with/a/long/path?1f2e3d4c5b6a798001122334", Size: 48 << 10, TTL: ptr(api.Seconds(50 * time.Hour)), Hits: api.CountOf(0)},
	}}}}
	golden(t, "cache-keys", func(w *bytes.Buffer, o render.Options) error { return render.CacheKeys(w, rs, o) })
	fleet := append(rs, api.Result[api.CacheKeys]{Instance: "http://b", Value: api.CacheKeys{Pattern: "*"}}, refused[api.CacheKeys]("http://c"))
	golden(t, "cache-keys-fleet", func(w *bytes.Buffer, o render.Options) error { return render.CacheKeys(w, fleet, o) })
	none := []api.Result[api.CacheKeys]{{Instance: "http://b", Value: api.CacheKeys{Pattern: "*"}}}
	golden(t, "cache-keys-none", func(w *bytes.Buffer, o render.Options) error { return render.CacheKeys(w, none, o) })
}

func TestRedisInfo(t *testing.T) {
	one := sampleCaches().Redis.Stats
	cluster := one
	cluster.Mode, cluster.RedisURL = "cluster", "redis+cluster://***@10.0.0.7:7000,10.0.0.7:7001"
	cluster.Nodes = []api.RedisNode{
		{Addr: "10.0.0.7:7000", Status: api.Healthy, Keys: api.CountOf(16011), Memory: api.CountOf(3 << 20), Latency: ptr(api.Seconds(280 * time.Microsecond))},
		{Addr: "10.0.0.7:7001", Status: api.Failed, Error: "i/o timeout"},
	}
	python := api.RedisStats{Connected: true, RedisURL: "redis://***@127.0.0.1:6379/0", KeyPrefix: "pulse_api", DefaultTTL: api.Seconds(time.Hour), CacheHits: 12, CacheMisses: 3, RedisMemory: "1.04M", RedisConnectedClients: api.CountOf(2), RedisTotalCommands: api.CountOf(58)}
	golden(t, "redis-info", func(w *bytes.Buffer, o render.Options) error {
		return render.RedisInfo(w, []api.Result[api.RedisStats]{{Instance: "http://a", Value: one}}, o)
	})
	fleet := []api.Result[api.RedisStats]{{Instance: "http://a", Value: cluster}, {Instance: "http://py", Value: python}, refused[api.RedisStats]("http://c")}
	golden(t, "redis-info-fleet", func(w *bytes.Buffer, o render.Options) error { return render.RedisInfo(w, fleet, o) })
}

func TestProgress(t *testing.T) {
	for _, tt := range []struct {
		share float64
		keys  int64
		want  string
	}{
		{0, 0, "clearing user:* in redis  ░░░░░░░░░░░░░░░░░░░░   0%  0 keys"},
		{.42, 420000, "clearing user:* in redis  ████████░░░░░░░░░░░░  42%  420,000 keys"},
		{1, 1000000, "clearing user:* in redis  ████████████████████ 100%  1,000,000 keys"},
	} {
		if got := render.Progress("clearing user:* in redis", tt.share, tt.keys, render.Options{Width: 80}); got != tt.want {
			t.Errorf("Progress(%v) = %q, want %q", tt.share, got, tt.want)
		}
	}
	if got := render.Progress("a\x1b[2Jb", 3, 1, render.Options{Width: 20}); len([]rune(got)) > 19 || strings.Contains(got, "\x1b") {
		t.Errorf("too wide, or not clean: %q", got)
	}
}

func TestCacheCleared(t *testing.T) {
	rs := []api.Result[api.CacheCleared]{
		{Instance: "http://a", Value: api.CacheCleared{Pattern: "user:*", Cleared: api.CountOf(20000)}},
		{Instance: "http://py", Value: api.CacheCleared{Message: "Cleared"}}, refused[api.CacheCleared]("http://c"),
	}
	golden(t, "cleared", func(w *bytes.Buffer, o render.Options) error { return render.CacheCleared(w, rs, "redis", o) })
}

func sampleFamilies() []api.MetricFamily {
	value := func(v float64, labels ...string) api.MetricSeries {
		m := api.MetricSeries{Labels: map[string]string{}, Value: ptr(api.Float(v))}
		for i := 0; i < len(labels); i += 2 {
			m.Labels[labels[i]] = labels[i+1]
		}
		return m
	}
	latency := api.MetricSeries{Labels: map[string]string{"endpoint": "/priority/generate", "method": "POST"}, MetricHistogram: api.MetricHistogram{Count: ptr(api.Float(22908)), Sum: ptr(api.Float(2874.3))}}
	for _, b := range [][2]float64{{.005, 0}, {.01, 212}, {.025, 1840}, {.05, 6312}, {.1, 14890}, {.25, 20114}, {.5, 21976}, {1, 22631}, {2.5, 22870}, {5, 22902}} {
		latency.Buckets = append(latency.Buckets, api.MetricBucket{UpperBound: api.Float(b[0]), Count: api.Float(b[1])})
	}
	empty := api.MetricSeries{Labels: map[string]string{"endpoint": "/report/weekly", "method": "GET"}, MetricHistogram: api.MetricHistogram{Count: ptr(api.Float(0)), Sum: ptr(api.Float(0))}}
	all := []api.MetricFamily{
		{Name: "go_gc_duration_seconds", Type: "summary", Unit: "seconds", Help: "A summary of the wall-time pause (stop-the-world) duration in garbage collection cycles.", Series: []api.MetricSeries{{
			MetricHistogram: api.MetricHistogram{Count: ptr(api.Float(31)), Sum: ptr(api.Float(.01))}, Quantiles: []api.MetricQuantile{{Quantile: .5, Value: .0003}, {Quantile: 1, Value: .002}},
		}}},
		{Name: "pulse_api_memory_usage_bytes", Type: "gauge", Unit: "bytes", Help: "Resident set of the process.", Series: []api.MetricSeries{value(88080384)}},
		{Name: "pulse_api_request_duration_seconds", Type: "histogram", Unit: "seconds", Help: "Time from a request's arrival to the end of its answer.", Series: []api.MetricSeries{empty, latency}},
		{Name: "pulse_api_requests_total", Type: "counter", Help: "Requests answered, by route pattern.", Series: []api.MetricSeries{
			value(22908, "endpoint", "/priority/generate", "method", "POST", "status_code", "200"), value(math.NaN(), "endpoint", "un\x1b[31mmatched", "method", "GET", "status_code", "404"),
		}},
	}
	for i := range all {
		all[i].SeriesCount = len(all[i].Series)
		for j := range all[i].Series {
			scrape.Describe(&all[i].Series[j].MetricHistogram)
		}
		scrape.SortSeries(&all[i], "")
	}
	return all
}

func TestMetrics(t *testing.T) {
	all := sampleFamilies()
	list := []api.Result[[]api.MetricFamily]{{Instance: "http://a", Value: all}}
	golden(t, "metrics", func(w *bytes.Buffer, o render.Options) error { return render.MetricFamilies(w, list, o) })
	for i, name := range []string{"metric-summary", "metric-gauge", "metric-histogram", "metric-counter"} {
		rs := []api.Result[api.MetricFamily]{{Instance: "http://a", Value: all[i]}}
		golden(t, name, func(w *bytes.Buffer, o render.Options) error { return render.Metric(w, rs, o) })
	}
	fleet := []api.Result[api.MetricFamily]{{Instance: "http://a", Value: all[2]}, refused[api.MetricFamily]("http://b")}
	golden(t, "metric-histogram-fleet", func(w *bytes.Buffer, o render.Options) error { return render.Metric(w, fleet, o) })
}

// sampleLater is a family 5 s after another look at it.
func sampleLater(f, before api.MetricFamily) api.MetricFamily {
	scrape.Changes(&before, &f, 5*time.Second)
	return f
}

func TestMetricsBetweenTwoReads(t *testing.T) {
	before, now := sampleFamilies(), sampleFamilies()
	requests := &before[3].Series[0]
	requests.Value = ptr(api.Float(21_000))
	memory := sampleLater(now[1], before[1])
	*now[1].Series[0].Change.Value = -3 << 20
	*now[2].Series[0].Count += 90
	now[2].Series[0].Buckets[len(now[2].Series[0].Buckets)-1].Count += 80
	now[3].Series = append(now[3].Series, api.MetricSeries{Labels: map[string]string{"status_code": "500"}, Value: ptr(api.Float(2))})
	began := api.MetricSeries{Labels: map[string]string{"status_code": "501"}, Value: ptr(api.Float(7)), Change: &api.MetricChange{Value: ptr(api.Float(7)), Rate: 1.4, Reset: true}}
	counters := sampleLater(now[3], before[3])
	counters.Series = append(counters.Series, began)
	latency := sampleLater(now[2], before[2])
	for name, f := range map[string]api.MetricFamily{"metric-gauge-change": memory, "metric-counter-rate": counters, "metric-histogram-interval": latency} {
		rs := []api.Result[api.MetricFamily]{{Instance: "http://a", Value: f}}
		golden(t, name, func(w *bytes.Buffer, o render.Options) error { return render.Metric(w, rs, o) })
	}
	list := sampleFamilies()
	for i := range list {
		list[i].SeriesChange = ptr([]int{0, 3, -2, 1200}[i])
	}
	rs := []api.Result[[]api.MetricFamily]{{Instance: "http://a", Value: list}, refused[[]api.MetricFamily]("http://b")}
	golden(t, "metrics-watch", func(w *bytes.Buffer, o render.Options) error { return render.MetricFamilies(w, rs, o) })
}

// A histogram with native buckets alone, and traces of its buckets.
func TestNativeHistogram(t *testing.T) {
	h := api.MetricHistogram{Count: ptr(api.Float(1031)), Sum: ptr(api.Float(88)), Native: &api.MetricNative{Schema: 3, ZeroThreshold: 1e-6, ZeroCount: 31}}
	for i := -60; i < 16; i++ {
		bound := func(i int) api.Float { return api.Float(math.Exp2(float64(i) / 8)) }
		if n := 1000 / (1 + (i+27)*(i+27)/4); n > 0 {
			h.Native.Buckets = append(h.Native.Buckets, api.MetricNativeBucket{Lower: bound(i - 1), Upper: bound(i), Count: api.Float(n)})
			*h.Count += api.Float(n)
		}
	}
	*h.Count -= 1000
	scrape.Describe(&h)
	f := api.MetricFamily{Name: "queue_wait_seconds", Type: "histogram", Unit: "seconds", SeriesCount: 1, Series: []api.MetricSeries{{MetricHistogram: h}}}
	rs := []api.Result[api.MetricFamily]{{Instance: "http://a", Value: f}}
	golden(t, "metric-native", func(w *bytes.Buffer, o render.Options) error { return render.Metric(w, rs, o) })

	all := sampleFamilies()[2]
	all.Series[0].Buckets[5].Exemplar = &api.MetricExemplar{Labels: map[string]string{"trace_id": "4bf92f3577b34da6a3ce929d0e0e\x1b[2J4736"}, Value: .18}
	var out bytes.Buffer
	if err := render.Metric(&out, []api.Result[api.MetricFamily]{{Value: all}}, render.Options{Width: 100, Wide: true}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "trace 4bf92f3577b34da6a3ce929d0e0e·4736\n") {
		t.Errorf("no trace:\n%s", out.String())
	}
}

func sampleRoutes() api.RouteRates {
	second := ptr(api.Float(.0042))
	route := func(method, endpoint string, rate, failed, client float64, p95 *api.Float) api.RouteRate {
		r := api.RouteRate{
			Method: method, Endpoint: endpoint, Interval: api.Seconds(2 * time.Second), Requests: api.Float(2 * rate), Rate: api.Float(rate),
			ErrorRate: api.Float(failed), Errors: api.Float(2 * rate * failed), ClientRate: api.Float(client),
		}
		if p95 != nil {
			r.Avg, r.P50, r.P95, r.P99 = second, second, p95, ptr(*p95*2)
		}
		return r
	}
	v := api.RouteRates{InFlight: ptr(api.Float(12)), Idle: 14, Routes: []api.RouteRate{
		route("POST", "/priority/generate", 1402, .0042, 0, ptr(api.Float(.0801))),
		route("GET", "/repos/{owner}/{repo}/pulls/{number}/reviews", 402.5, 0, .113, ptr(api.Float(1.3))),
		route("GET", "/un\x1b[2Jmatched", .5, 1, 0, nil),
	}}
	v.Routes[1].Reset = true
	v.Total = route("", "", 1805, .0033, .02, ptr(api.Float(.318)))
	return v
}

func TestRouteRates(t *testing.T) {
	one := []api.Result[api.RouteRates]{{Instance: "http://a", Value: sampleRoutes()}}
	golden(t, "routes", func(w *bytes.Buffer, o render.Options) error { return render.RouteRates(w, one, o) })
	watched := sampleRoutes()
	for i := range watched.Routes {
		for j := range 20 {
			watched.Routes[i].RecentRates = append(watched.Routes[i].RecentRates, api.Float(j*(i+1)%7))
		}
	}
	watched.Routes[2].RecentRates = []api.Float{0, 1}
	fleet := []api.Result[api.RouteRates]{{Instance: "http://a:8000", Value: watched}, refused[api.RouteRates]("http://b:8000")}
	golden(t, "routes-watch", func(w *bytes.Buffer, o render.Options) error { return render.RouteRates(w, fleet, o) })
	for name, v := range map[string]api.RouteRates{"routes-none": {}, "routes-idle": {Idle: 3, Total: api.RouteRate{Interval: api.Seconds(time.Second)}}} {
		rs := []api.Result[api.RouteRates]{{Instance: "http://a", Value: v}}
		golden(t, name, func(w *bytes.Buffer, o render.Options) error { return render.RouteRates(w, rs, o) })
	}
}

func TestMetricRates(t *testing.T) {
	rates := []api.MetricRate{
		{Name: "go_memstats_alloc_bytes_total", Type: "counter", Unit: "bytes", Interval: api.Seconds(2 * time.Second), Value: 123 << 20, Rate: 26 << 20},
		{Name: "pulse_api_request_duration_seconds", Type: "histogram", Labels: map[string]string{"endpoint": "/items\x1b]0;x\a", "method": "GET"}, Value: 87, Rate: 9.96, Reset: true},
		{Name: "process_cpu_seconds_total", Type: "counter", Unit: "seconds", Value: 12.5, Rate: .042},
		{Name: "slow_total", Type: "counter", Value: 3, Rate: .004},
	}
	rs := []api.Result[[]api.MetricRate]{{Instance: "http://a", Value: rates}}
	golden(t, "metric-rates", func(w *bytes.Buffer, o render.Options) error { return render.MetricRates(w, rs, o) })
}

// What is written for Prometheus is read as what it was, but for escapes.
func TestExposition(t *testing.T) {
	all := sampleFamilies()
	all[0].Help = "Back\\slash\nand line"
	var out bytes.Buffer
	if err := render.Exposition(&out, []api.Result[[]api.MetricFamily]{{Instance: "http://a:1", Value: all}, {Instance: "http://b:2", Value: all[1:2]}}); err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, "exposition.golden", out.Bytes())
	parser := expfmt.NewTextParser(model.UTF8Validation)
	got, err := parser.TextToMetricFamilies(&out)
	if err != nil || len(got) != 4 || len(got["pulse_api_memory_usage_bytes"].Metric) != 2 || got["pulse_api_request_duration_seconds"].Metric[0].Histogram.GetSampleCount() != 22908 {
		t.Errorf("%v, %v", got, err)
	}
}

// A hostile server's buckets must not stop the drawing.
func TestHistogramOfNonsense(t *testing.T) {
	nan, inf := api.Float(math.NaN()), api.Float(math.Inf(1))
	for _, bs := range [][]api.MetricBucket{
		nil, {{UpperBound: nan, Count: nan}}, {{UpperBound: 1, Count: inf}}, {{UpperBound: 2, Count: 5}, {UpperBound: 1, Count: 3}, {UpperBound: 3, Count: -1}},
		{{UpperBound: -inf, Count: 1}, {UpperBound: inf, Count: 2}}, {{UpperBound: -5, Count: 1}, {UpperBound: 1e300, Count: 1e300}},
	} {
		for _, n := range []*api.Float{nil, &nan, &inf, ptr(api.Float(-1)), ptr(api.Float(9))} {
			f := api.MetricFamily{Name: "x", Type: "histogram", Unit: "seconds", Series: []api.MetricSeries{{MetricHistogram: api.MetricHistogram{Buckets: bs, Count: n, Sum: n}}}}
			var out bytes.Buffer
			if err := render.Metric(&out, []api.Result[api.MetricFamily]{{Value: f}}, render.Options{Width: 60}); err != nil {
				t.Error(err)
			}
		}
	}
}
