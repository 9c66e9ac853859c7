package demo_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pulsectl/pulsectl/internal/demo"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a demo below a monitor, both until the test ends.
func start(t *testing.T, speed float64, o monitoring.Options) (*monitoring.Monitor, *httptest.Server) {
	t.Helper()
	m, err := monitoring.New(o)
	if err != nil {
		t.Fatal(err)
	}
	d, err := demo.NewAtSpeed(m, nil, speed)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	d.Mount(mux)
	m.Mount(mux)
	server := httptest.NewServer(m.Middleware(mux))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- m.Run(ctx) }()
	go func() { done <- d.Run(ctx, server.URL) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		server.Close()
	})
	return m, server
}

// What the package promises of its first 30 seconds, twice as fast. A machine
// that stalls gets further rounds.
func TestFirstThirtySeconds(t *testing.T) {
	const speed = 2
	m, _ := start(t, speed, monitoring.Options{Service: "pulse-api", SlowThreshold: time.Second / speed})
	open := map[string]bool{}
	wanted := []struct {
		what string
		seen func() bool
	}{
		{"each breaker is seen open, and has closed by itself", func() bool {
			recovered := 0
			for name, b := range m.Breakers.Snapshot() {
				open[name] = open[name] || b.State == api.StateOpen
				if open[name] && b.Stats.CircuitOpens > 0 && b.Stats.CircuitCloses > 0 {
					recovered++
				}
			}
			return recovered == 3
		}},
		{"rejected calls are counted", func() bool {
			return *m.Breakers.Snapshot()["github_api"].Stats.Rejected > 0
		}},
		{"slow requests have profiles, with functions of theirs", func() bool {
			for _, p := range m.Profiles.List(profiling.Query{Type: "wall", Limit: 50}) {
				if p.Trigger == api.TriggerSlow && p.TraceID != "" && len(p.TopFunctions) > 0 {
					return true
				}
			}
			return false
		}},
		{"a recording has its checkpoints and timings", func() bool {
			return slices.ContainsFunc(m.Profiles.List(profiling.Query{Operation: "weekly_report", Limit: 50}), func(p api.Profile) bool {
				return len(p.MemoryUsage) > 0 && p.CustomTimings["compress"] > 0
			})
		}},
		{"a slow trace leads to its profile", func() bool {
			return found(t, m, tracing.Query{HasProfile: true, MinDuration: time.Second / speed})
		}},
		{"errors have traces", func() bool {
			return found(t, m, tracing.Query{Status: api.StatusError, Operation: "POST /priority/generate"}) &&
				found(t, m, tracing.Query{Text: "502 Bad Gateway"})
		}},
		{"cut-off calls have traces", func() bool { return found(t, m, tracing.Query{Text: "call timeout"}) }},
		{"the cache has hits and misses", func() bool {
			st := m.Memory.Stats()
			return st.Hits > 0 && st.Misses > 0
		}},
	}
	for begin := time.Now(); len(wanted) > 0 && time.Since(begin) < time.Minute; time.Sleep(20 * time.Millisecond) {
		for i := len(wanted) - 1; i >= 0; i-- {
			if wanted[i].seen() {
				t.Logf("after %v of its time: %s", (speed * time.Since(begin)).Round(100*time.Millisecond), wanted[i].what)
				wanted = slices.Delete(wanted, i, i+1)
			}
		}
	}
	for _, w := range wanted {
		t.Errorf("not seen: %s", w.what)
	}
}

func found(t *testing.T, m *monitoring.Monitor, q tracing.Query) bool {
	t.Helper()
	q.Limit = 1
	page, err := m.Traces.Find(q)
	if err != nil {
		t.Fatal(err)
	}
	return page.Total > 0
}
