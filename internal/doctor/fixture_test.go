package doctor_test

import (
	"fmt"
	"time"

	"github.com/pulsectl/pulsectl/internal/doctor"
	"github.com/pulsectl/pulsectl/pkg/api"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func at(ago time.Duration) api.Time { return api.Time{Time: noon.Add(-ago)} }

func timeAt(ago time.Duration) *api.Time { t := at(ago); return &t }

func seconds(d time.Duration) *api.Seconds { s := api.Seconds(d); return &s }

// well is a busy server with nothing wrong, of which all could be judged.
func well() doctor.Instance {
	return doctor.Instance{
		Name: "http://a:8000", Version: "1.4.0", StartedAt: noon.Add(-3 * time.Hour),
		Clock:  &doctor.Clock{Offset: 3 * time.Millisecond, Within: 5 * time.Millisecond},
		Before: look(time.Minute), Now: look(0),
		Events: []api.BreakerEvent{}, Stats: stats(), Slow: &doctor.SlowTraces{Threshold: time.Second},
		Hot: &doctor.Hot{Apart: time.Hour, Before: top("p_before", 0.10), Now: top("p_now", 0.12)}, Missing: map[string]string{},
	}
}

func look(ago time.Duration) doctor.Look {
	served := float64(60000 - int(ago/time.Second)*10)
	return doctor.Look{
		At: noon.Add(-ago),
		Health: &api.Health{Status: api.Healthy, Version: "1.4.0", Checks: map[string]api.Check{"database": {Status: api.Healthy, Critical: true}},
			Cache: &api.CacheStatus{
				Memory: api.MemoryHealth{Status: api.Healthy, Stats: api.MemoryStats{Size: 800, MaxSize: 1000, Hits: api.Count(9 * served), Misses: api.Count(served),
					Bytes: api.CountOf(8 << 20), MaxBytes: api.CountOf(64 << 20)}},
				Redis: api.RedisHealth{Status: api.Healthy, Connected: true, Stats: api.RedisStats{CacheHits: api.Count(9 * served), CacheMisses: api.Count(served),
					Latency: seconds(time.Millisecond), EvictedKeys: api.CountOf(7), MaxMemory: api.CountOf(1 << 30), MaxMemoryPolicy: "allkeys-lru", RedisMemory: "900M"}},
			}},
		Breakers: api.Breakers{"github_api": breaker("github_api", served)},
		System: &api.System{Uptime: api.Seconds(3*time.Hour - ago),
			Process: api.ProcessInfo{PID: 7, MemoryRSS: 200 << 20, CPUPercent: 40, OpenFiles: 90, Connections: 60, Goroutines: api.CountOf(300), HeapAlloc: api.CountOf(120 << 20),
				CgroupMemoryLimit: api.CountOf(1 << 30), CgroupCPUQuota: new(float64(2)), CgroupThrottled: seconds(time.Second), CPUWait: seconds(10*time.Second - ago/100)},
			System: api.HostInfo{CPUCount: 4, MemoryTotal: 8 << 30, MemoryAvailable: 4 << 30, LoadAverage: []float64{1, 1, 1},
				DiskUsage: api.DiskUsage{Total: 100 << 30, Used: 50 << 30, Free: 45 << 30}}},
		Profiling: &api.ProfilingStats{Mode: "watch", Overhead: new(0.004), Dropped: map[string]api.Count{"evicted": api.Count(served)}},
		Metrics:   metrics(served),
	}
}

func breaker(name string, served float64) api.Breaker {
	return api.Breaker{
		Name: name, State: api.StateClosed, Mode: api.ModeAutomatic, Scope: api.ScopeShared,
		Stats: api.BreakerStats{TotalRequests: api.Count(served), FailedRequests: 5, Rejected: api.CountOf(3), InFlight: api.CountOf(1),
			Window: &api.BreakerWindow{Seconds: api.Seconds(time.Minute), Calls: 600, Failures: 3, Slow: 6, FailureRate: 0.005, SlowRate: 0.01, P95: api.Seconds(80 * time.Millisecond)}},
		Config: api.BreakerConfig{RecoveryTimeout: api.Seconds(30 * time.Second), SlowCall: api.Seconds(time.Second)},
	}
}

// open is a breaker that rejects calls.
func open(name string) api.Breaker {
	b := breaker(name, 9000)
	b.State, b.Since, b.RetryAt, b.LastError = api.StateOpen, timeAt(20*time.Second), timeAt(-10*time.Second), "502 Bad Gateway"
	b.Why = &api.BreakerWhy{Reason: "5 failures in a row: 502 Bad Gateway", OpenedAt: at(20 * time.Second), Rejected: 41, TraceID: "4bf92f3577b34da6a3ce929d0e0e4736"}
	b.Errors = []api.BreakerError{{Kind: "http_502", Message: "502 Bad Gateway", Count: 12}}
	return b
}

func number(v float64) *api.Float { f := api.Float(v); return &f }

func family(name, kind string, pairs ...any) api.MetricFamily {
	f := api.MetricFamily{Name: name, Type: kind}
	for i := 0; i+2 < len(pairs); i += 3 {
		f.Series = append(f.Series, api.MetricSeries{Labels: map[string]string{pairs[i].(string): pairs[i+1].(string)}, Value: number(pairs[i+2].(float64))})
	}
	return f
}

func metrics(served float64) []api.MetricFamily {
	return []api.MetricFamily{
		family("process_open_fds", "gauge", "", "", 90.0), family("process_max_fds", "gauge", "", "", 1024.0),
		family("pulse_api_active_connections", "gauge", "", "", 4.0),
		family("pulse_api_db_connections_wait_seconds_total", "counter", "pool", "primary", served/1e4),
		family("pulse_api_db_connections_max", "gauge", "pool", "primary", 8.0),
		family("pulse_api_spans_received_total", "counter", "", "", served*9),
		family("pulse_api_spans_dropped_total", "counter", "reason", "evicted", served, "reason", "span_limit", 3.0),
		family("pulse_api_spans_unlogged_total", "counter", "", "", 2.0),
		family("pulse_api_series_refused_total", "counter", "family", "pulse_api_requests_total", 11.0),
	}
}

const route = "POST /priority/generate"

// stats are half an hour of 300 requests each 30 s, 3 of which fail.
func stats() *api.TraceStats {
	s := &api.TraceStats{StatsWindow: api.StatsWindow{From: at(30 * time.Minute), To: at(0)}, Store: api.Retention{Traces: 5000, Oldest: at(2 * time.Hour)}}
	o := api.OperationStats{Service: "pulse-api", Operation: route, Kinds: []string{"server"}}
	for ago := 30 * time.Minute; ago > 0; ago -= 30 * time.Second {
		p95 := 100*time.Millisecond + ago/100000
		o.Series = append(o.Series, api.StatsPoint{Start: at(ago), Count: 300, Errors: 3, P50: api.Seconds(40 * time.Millisecond), P95: api.Seconds(p95)})
		o.Count += 300
	}
	s.Operations = []api.OperationStats{o}
	return s
}

// lately changes the last two minutes of a route.
func lately(in *doctor.Instance, f func(*api.StatsPoint)) {
	points := in.Stats.Operations[0].Series
	for i := range points[len(points)-4:] {
		f(&points[len(points)-4+i])
	}
}

func top(id string, hot float64) api.ProfileTop {
	return api.ProfileTop{ProfileID: id, Samples: 4000, Rows: []api.TopEntry{{Function: "score.rank", File: "score.go", FlatRatio: hot}, {Function: "json.Marshal", FlatRatio: 0.05}}}
}

// slowTrace waits for a dependency for most of its second and a half.
func slowTrace(n int, dependency string, waits time.Duration) api.Trace {
	id := func(k int) string { return fmt.Sprintf("%016x", 16*n+k+1) }
	root, took := id(0), 1500*time.Millisecond
	start := noon.Add(-time.Duration(n) * time.Second)
	span := func(k int, name, kind string, from, to time.Duration) api.Span {
		d := api.Seconds(to - from)
		s := api.Span{SpanID: id(k), OperationName: name, Kind: kind, StartTime: api.Time{Time: start.Add(from)}, EndTime: api.Time{Time: start.Add(to)}, Duration: &d,
			StartUnixNano: api.Nano(start.Add(from).UnixNano()), Status: api.StatusOK, Service: "pulse-api", Tags: api.Attributes{}}
		if k > 0 {
			s.ParentSpanID = &root
			s.Tags["peer.service"] = dependency
		}
		return s
	}
	return api.Trace{TraceID: fmt.Sprintf("%032x", n+1), Root: route, Duration: seconds(took), StartTime: api.Time{Time: start}, Status: api.StatusOK,
		Spans: []api.Span{span(0, route, "server", 0, took), span(1, "POST /v1/chat", "client", 50*time.Millisecond, 50*time.Millisecond+waits)}}
}

func slowTraces(n int, dependency string, waits time.Duration) *doctor.SlowTraces {
	s := &doctor.SlowTraces{Threshold: time.Second, Total: int64(n) * 10}
	for i := range n {
		s.Traces = append(s.Traces, slowTrace(i, dependency, waits))
	}
	return s
}

// failedTrace is one in which the call to a dependency failed, and the request
// with it.
func failedTrace(n int, dependency string) api.Trace {
	t := slowTrace(n, dependency, time.Second)
	t.Status = api.StatusError
	for i := range t.Spans {
		t.Spans[i].Status = api.StatusError
	}
	return t
}
