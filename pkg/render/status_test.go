package render_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

func sampleOverview() api.Overview {
	uptime, took, overhead := api.Seconds(3*time.Hour+4*time.Minute), api.Seconds(4210*time.Millisecond), 0.004
	trace := func(id, root string, ago time.Duration) *api.Trace {
		return &api.Trace{TraceID: id, Root: root, StartTime: *unix(ago), Duration: &took}
	}
	return api.Overview{
		Service: "pulse-api", Version: "1.4.0", Environment: "production",
		Health: api.Health{
			Status: api.Unhealthy, Uptime: &uptime,
			Checks: map[string]api.Check{
				"database": {Status: api.Healthy, Critical: true}, "search": {Status: api.Degraded, Error: "the index is \x1b[2J1m behind"},
			},
			Cache: &api.CacheStatus{
				Memory: api.MemoryHealth{Status: api.Healthy, Stats: api.MemoryStats{Size: 812, Hits: 931, Misses: 69, HitRate: 0.931}},
				Redis:  api.RedisHealth{Status: api.Failed, Stats: api.RedisStats{LastError: "connection refused"}},
			},
		},
		Breakers: sampleBreakers(),
		Traces: &api.TraceOverview{
			Active: 3, Kept: api.CountOf(1204), Failed: api.CountOf(12),
			Slowest: trace("4bf92f3577b34da6a3ce929d0e0e4736", "GET /report/weekly", 4*time.Minute),
			Error:   trace("e6f56472f24bc571f51ba9dc8d997681", "POST /priority/generate", 5*time.Second),
		},
		Profiling: &api.ProfilingStats{Mode: "watch", CompletedProfiles: 31, ActiveProfiles: 1, Overhead: &overhead},
		System:    &api.System{Process: api.ProcessInfo{CPUPercent: 12.5, MemoryRSS: 48 << 20, Goroutines: api.CountOf(84)}},
	}
}

func TestStatus(t *testing.T) {
	sick := sampleOverview()
	sick.Findings = sampleFindings()
	healthy := api.Overview{Service: "pulse-api", Health: api.Health{Status: api.Healthy}}
	one := func(v api.Overview) []api.Result[api.Overview] {
		return []api.Result[api.Overview]{{Instance: "http://127.0.0.1:8000", Value: v}}
	}
	python := api.Overview{Service: "python", Version: "1.0.0", Health: api.Health{Status: api.Healthy}, Traces: &api.TraceOverview{Active: 2}}
	unreadable := python
	unreadable.Missing = map[string]string{"profiling": "profiles are unreadable on this server: once one has finished it answers 500"}
	worried := healthy
	worried.Findings = sampleFindings()[2:]
	for name, rs := range map[string][]api.Result[api.Overview]{
		"status": one(sick), "status-well": one(healthy), "status-worried": one(worried), "status-python": one(python),
		"status-fleet": {
			{Instance: "http://127.0.0.1:8000", Value: sick}, {Instance: "http://127.0.0.1:8001", Value: healthy},
			{Instance: "http://127.0.0.1:8002", Error: &api.Error{Detail: "connection refused"}}, {Instance: "http://py:8000", Value: unreadable},
		},
		"status-fleet-well": {{Instance: "http://127.0.0.1:8000", Value: healthy}, {Instance: "http://127.0.0.1:8001", Value: healthy}},
	} {
		golden(t, name, func(w *bytes.Buffer, o render.Options) error { return render.Status(w, rs, o) })
	}
}
