package render_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

func sampleTop() api.ProfileTop {
	t := api.ProfileTop{
		ProfileID: "p_01HZX3QW5T7R", Type: "cpu", SampleType: "cpu", Unit: "nanoseconds", Total: 2e9,
		Duration: api.Seconds(30 * time.Second), Samples: 200, Functions: 28,
	}
	for _, r := range []struct {
		name      string
		flat, cum int64 // milliseconds
	}{
		{"github.com/acme/pulse/engine.cosine", 520, 520}, {"encoding/json.(*decodeState).object", 410, 410},
		{"runtime.scanobject", 230, 230}, {"runtime.memmove", 160, 160}, {"runtime.mallocgc", 140, 140},
		{"compress/flate.(*decompressor).huffmanBlock", 130, 130}, {"regexp.(*Regexp).FindAllString", 95, 95},
		{"runtime.futex", 80, 80}, {"github.com/acme/pulse/engine.(*Rank).Score", 75, 755}, {"crypto/sha256.block", 60, 60},
		{"runtime.greyobject", 60, 60}, {"syscall.write", 40, 40},
	} {
		t.Rows = append(t.Rows, api.TopEntry{
			Function: r.name, Flat: r.flat * 1e6, FlatRatio: float64(r.flat) / 2000, Cum: r.cum * 1e6, CumRatio: float64(r.cum) / 2000,
		})
	}
	return t
}

func TestProfileTop(t *testing.T) {
	one := []api.Result[api.ProfileTop]{{Instance: "http://127.0.0.1:8000", Value: sampleTop()}}
	golden(t, "top", func(w *bytes.Buffer, o render.Options) error { return render.ProfileTop(w, one, false, o) })
	heap := api.ProfileTop{
		Type: "heap", SampleType: "inuse_space", Unit: "bytes", Total: 3 << 20, Functions: 2,
		Rows: []api.TopEntry{
			{Function: "a/b.\x1b[2JNew[go.shape.struct { x/y.Z }]", Flat: 2 << 20, FlatRatio: 2. / 3, Cum: 3 << 20, CumRatio: 1},
			{Function: "main.main", Cum: 3 << 20, CumRatio: 1},
		},
	}
	fleet := []api.Result[api.ProfileTop]{{Instance: "http://a:1", Value: heap}, {Instance: "http://b:1", Error: &api.Error{Detail: "connection refused"}}, {Instance: "http://c:1"}}
	golden(t, "top-fleet", func(w *bytes.Buffer, o render.Options) error { return render.ProfileTop(w, fleet, true, o) })
}

func sampleProfile() api.Profile {
	return api.Profile{
		ProfileID: "p_4QZXABCDEFGHIJKLMNOPQRST", OperationName: "GET /report/weekly", Duration: api.Seconds(1740 * time.Millisecond),
		Type: "wall", Trigger: api.TriggerSlow, StartTime: unix(40 * time.Second), Samples: api.CountOf(31), Size: api.CountOf(2811),
		TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", Service: "pulse-api", Note: "31 samples ±18 %, from 1s on",
		Labels:        map[string]string{"method": "GET", "path": "/report/weekly", "request_id": "r-1\x1b[2J"},
		MemoryUsage:   map[string]api.Count{"parsed": 46 << 20, "begin": 44 << 20},
		CustomTimings: map[string]api.Seconds{"sort": api.Seconds(10 * time.Millisecond), "request_start": api.Seconds(1795415793 * time.Second)},
		TopFunctions: []api.TopFunction{
			{NCalls: 31, CumTime: api.Seconds(740 * time.Millisecond), FilenameFunction: "/go/src/net/http/server.go:1932(net/http.(*conn).serve)"},
			{NCalls: 29, TotTime: api.Seconds(700 * time.Millisecond), CumTime: api.Seconds(700 * time.Millisecond), FilenameFunction: "/src/demo/report.go:40(github.com/pulsectl/pulsectl/internal/demo.(*reports).waitForDatabase)"},
		},
	}
}

func sampleProfiles() render.ProfileRows {
	active := sampleProfile()
	active.ProfileID, active.State, active.OperationName, active.Samples, active.Size = "p_4QZXABZZ", "active", "POST /priority/generate", nil, nil
	python := api.Profile{ProfileID: "http_GET_/demo/cpu_1795415793436", OperationName: "GET /demo/cpu", Duration: api.Seconds(15 * time.Millisecond)}
	return render.ProfileRows{Profiles: []api.Profile{active, sampleProfile(), python}, Total: 40}
}

func TestProfiles(t *testing.T) {
	rs := []api.Result[render.ProfileRows]{{Instance: "http://127.0.0.1:8000", Value: sampleProfiles()}}
	golden(t, "profiles", func(w *bytes.Buffer, o render.Options) error { return render.Profiles(w, rs, o) })
	var none bytes.Buffer
	if err := render.Profiles(&none, []api.Result[render.ProfileRows]{{Instance: "http://a"}}, render.Options{}); err != nil || !strings.Contains(none.String(), "No profile is kept.") {
		t.Errorf("an empty list draws %q, %v", none.String(), err)
	}
}

func TestProfile(t *testing.T) {
	rs := []api.Result[api.Profile]{{Instance: "http://127.0.0.1:8000", Value: sampleProfile()}}
	golden(t, "profile", func(w *bytes.Buffer, o render.Options) error { return render.Profile(w, rs, false, o) })
}

func TestProfilingStats(t *testing.T) {
	overhead, slow := 0.0042, api.Seconds(time.Second)
	rs := []api.Result[api.ProfilingStats]{{Instance: "http://a", Value: api.ProfilingStats{
		ProfilerEnabled: true, ActiveProfiles: 2, CompletedProfiles: 1204, TotalProfiles: 40, AverageDuration: api.Seconds(1200 * time.Millisecond),
		Mode: "on", EnabledUntil: unix(-9 * time.Minute), SlowThreshold: &slow, Overhead: &overhead, Bytes: api.CountOf(1 << 20),
		Dropped: map[string]api.Count{"cool_down": 3, "evicted": 1164},
		Types:   []string{"cpu", "heap", "allocs", "goroutine", "mutex", "block", "threadcreate", "trace"}, Targets: []string{"batch", "im\x1b[2Jport"},
		Notes: []string{"another library of this process holds the flight recorder: slow requests are explained by goroutine snapshots alone"},
	}}, {Instance: "http://py", Value: api.ProfilingStats{}}}
	golden(t, "profiling-stats", func(w *bytes.Buffer, o render.Options) error { return render.ProfilingStats(w, rs, o) })
}
