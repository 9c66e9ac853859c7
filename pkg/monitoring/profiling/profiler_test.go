package profiling_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a Profiler until the test ends. The runtime's own profilers work
// in real time, so these tests do too.
func start(t *testing.T, o profiling.Options) *profiling.Profiler {
	t.Helper()
	p, err := profiling.New(o)
	if err != nil {
		t.Fatal(err)
	}
	run(t, p)
	return p
}

func run(t *testing.T, p *profiling.Profiler) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	eventually(t, "run", func() bool {
		_, err := p.Capture(t.Context(), profiling.CaptureOptions{Type: "goroutine"})
		return err == nil
	})
	if removed, _ := p.Cleanup(-time.Second, false); removed == 0 {
		t.Fatal("the goroutine profile was not kept")
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("%s: not within 10 s", what)
}

//go:noinline
func waitOnDatabase(d time.Duration) { time.Sleep(d) }

//go:noinline
func burnCPU(d time.Duration) {
	var sum [32]byte
	for end := time.Now().Add(d); time.Now().Before(end); {
		for range 200 {
			sum = sha256.Sum256(sum[:])
		}
	}
}

func request(id string) profiling.Request {
	return profiling.Request{Method: "GET", Host: "h", Path: "/reports/7", TraceID: id, RequestID: "r-" + id}
}

func get(t *testing.T, p *profiling.Profiler, id string) api.Profile {
	t.Helper()
	var s api.Profile
	eventually(t, "profile "+id, func() bool {
		var err error
		s, err = p.Get(id)
		return err == nil && s.State == ""
	})
	return s
}

func names(s api.Profile, function string) bool {
	for _, f := range s.TopFunctions {
		if strings.Contains(f.FilenameFunction, function) {
			return true
		}
	}
	return false
}

// TestSlowRequest: caught while it runs, explained afterwards (also D1, D2).
func TestSlowRequest(t *testing.T) {
	p := start(t, profiling.Options{Service: "shop", Budget: 1, SlowThreshold: 100 * time.Millisecond})
	listed := make(chan bool, 1)
	go func() {
		time.Sleep(200 * time.Millisecond) // 100 ms after the threshold
		l := p.List(profiling.Query{})
		listed <- len(l) == 1 && l[0].State == "active" && l[0].TraceID == "t1"
	}()
	h := p.Begin(request("t1"))
	waitOnDatabase(400 * time.Millisecond)
	id := p.End(h, profiling.Finish{Route: "GET /reports/{id}"})
	if !<-listed {
		t.Error("not listed as active 100 ms after the threshold")
	}
	if id == "" {
		t.Fatal("End returned no profile")
	}
	s := get(t, p, id)
	if s.OperationName != "GET /reports/{id}" || s.Type != "wall" || s.Trigger != api.TriggerSlow || s.TraceID != "t1" ||
		s.Service != "shop" || s.Labels["request_id"] != "r-t1" || s.Duration.Duration() < 400*time.Millisecond || s.Samples.Value() == 0 {
		t.Errorf("summary = %+v", s)
	}
	if !names(s, "waitOnDatabase") {
		t.Errorf("top functions do not name waitOnDatabase: %+v", s.TopFunctions)
	}
	for _, f := range s.TopFunctions {
		if strings.Contains(f.FilenameFunction, "(") && strings.Contains(f.FilenameFunction, "waitOnDatabase") && (f.CumTime <= 0 || f.NCalls == 0 || !strings.Contains(f.FilenameFunction, "profiler_test.go:")) {
			t.Errorf("row = %+v", f)
		}
	}
	top, err := p.Top(id[:8], profiling.TopOptions{TopOptions: hotspot.TopOptions{Cum: true}})
	if err != nil || top.Type != "wall" || top.Unit != "nanoseconds" || top.Total < int64(100*time.Millisecond) || top.Total > int64(400*time.Millisecond) {
		t.Errorf("top = %+v, %v; want 100 to 400 ms of wall time", top, err)
	}
	for range 3 { // D1: reading does not break reading
		if st := p.Stats(); st.TotalProfiles != 1 || len(st.RecentProfiles) != 1 || st.Overhead == nil || *st.Overhead <= 0 {
			t.Errorf("stats = %+v", st)
		}
	}
}

func TestFastRequestLeavesNothing(t *testing.T) {
	p := start(t, profiling.Options{})
	for range 1000 {
		if id := p.End(p.Begin(request("t")), profiling.Finish{Route: "/x"}); id != "" {
			t.Fatalf("profile %s of a fast request", id)
		}
	}
	if n := len(p.List(profiling.Query{})); n != 0 {
		t.Errorf("%d profiles", n)
	}
}

// TestManySlowAtOnce: 64 are all caught, listed and recorded, under other traffic.
func TestManySlowAtOnce(t *testing.T) {
	p := start(t, profiling.Options{SlowThreshold: 100 * time.Millisecond})
	var wg sync.WaitGroup
	ids := make([]string, 64)
	for i := range ids {
		wg.Go(func() {
			h := p.Begin(request("t"))
			waitOnDatabase(time.Second)
			ids[i] = p.End(h, profiling.Finish{Route: "GET /reports/{id}"})
		})
	}
	for range 4 {
		wg.Go(func() {
			for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
				p.End(p.Begin(request("fast")), profiling.Finish{Route: "/fast"})
			}
		})
	}
	eventually(t, "64 active", func() bool { return p.Stats().ActiveProfiles == 64 })
	wg.Wait()
	seen := map[string]bool{}
	for _, id := range ids {
		if id == "" || seen[id] {
			t.Fatalf("id %q is empty or twice", id)
		}
		seen[id] = true
		if s := get(t, p, id); !names(s, "waitOnDatabase") {
			t.Errorf("%s does not name waitOnDatabase: %s %+v", id, s.Note, s.TopFunctions)
		}
	}
	t.Logf("overhead %.2f %% of a core", 100**p.Stats().Overhead)
}

// TestForced: one request is profiled because it was asked for, no other (D8).
func TestForced(t *testing.T) {
	p := start(t, profiling.Options{})
	r := request("t2")
	r.Force = true
	patiently(t, func(wait time.Duration) (bad string) {
		h := p.Begin(r)
		promised := h.ProfileID()
		waitOnDatabase(wait)
		other := p.End(p.Begin(profiling.Request{Path: "/other"}), profiling.Finish{})
		id := p.End(h, profiling.Finish{Route: "GET /reports/{id}"})
		if id == "" || id != promised || other != "" {
			t.Fatalf("ids: promised %q, ended %q, of another request %q", promised, id, other)
		}
		if again := p.End(h, profiling.Finish{}); again != "" {
			t.Errorf("ended twice, with %q", again)
		}
		if s := get(t, p, id); s.Trigger != api.TriggerRequest || !names(s, "waitOnDatabase") {
			return fmt.Sprintf("summary = %+v", s)
		}
		return ""
	})
}

// patiently tries something with waits of 60 ms and more, for a busy machine
// comes late with its samples, until it is not bad.
func patiently(t *testing.T, try func(wait time.Duration) (bad string)) {
	t.Helper()
	bad := ""
	for wait := 60 * time.Millisecond; wait < 4*time.Second; wait *= 2 {
		if bad = try(wait); bad == "" {
			return
		}
	}
	t.Error(bad)
}

// TestNestedRecordings: neither ends or empties the other (D3), and notes reach
// the one they were made on (D7).
func TestNestedRecordings(t *testing.T) {
	p := start(t, profiling.Options{Mode: profiling.ModeOn, Budget: 1})
	patiently(t, func(wait time.Duration) string { return nested(t, p, wait) })
}

func nested(t *testing.T, p *profiling.Profiler, wait time.Duration) (bad string) {
	ctx, outer := p.Start(t.Context(), "outer", "")
	outer.Checkpoint("begin")
	inCtx, inner := p.Start(ctx, "inner", "")
	if profiling.FromContext(inCtx) != inner || profiling.FromContext(ctx) != outer {
		t.Fatal("a context is bound to another recording than its own")
	}
	profiling.FromContext(inCtx).Timing("db", 5*time.Millisecond)
	profiling.FromContext(inCtx).Timing("db", 5*time.Millisecond)
	waitOnDatabase(wait)
	innerID := inner.End()
	burnCPU(wait)
	outerID := outer.End()
	in, out := get(t, p, innerID), get(t, p, outerID)
	if in.CustomTimings["db"] != api.Seconds(10*time.Millisecond) || len(out.CustomTimings) != 0 {
		t.Errorf("timings: inner %v, outer %v", in.CustomTimings, out.CustomTimings)
	}
	if out.MemoryUsage["begin"] == 0 || len(in.MemoryUsage) != 0 {
		t.Errorf("memory: inner %v, outer %v", in.MemoryUsage, out.MemoryUsage)
	}
	if in.Trigger != api.TriggerManual || out.OperationName != "outer" {
		t.Errorf("inner trigger %q, outer operation %q", in.Trigger, out.OperationName)
	}
	if names(in, "burnCPU") {
		t.Errorf("inner names %+v", in.TopFunctions)
	}
	if !names(in, "waitOnDatabase") || !names(out, "waitOnDatabase") || !names(out, "burnCPU") {
		return fmt.Sprintf("inner names %+v, outer %+v", in.TopFunctions, out.TopFunctions)
	}
	return ""
}

// TestRecordingWithinARequest: the request sees what its recording and its
// goroutines do, and carries the notes made on its context.
func TestRecordingWithinARequest(t *testing.T) {
	p := start(t, profiling.Options{SlowThreshold: 50 * time.Millisecond, Budget: 1})
	h := p.Begin(request("t4"))
	ctx := p.Attach(t.Context(), h)
	profiling.FromContext(ctx).Timing("parse", time.Millisecond)
	_, rec := p.Start(ctx, "load", "t1")
	var wg sync.WaitGroup
	wg.Go(func() { burnCPU(250 * time.Millisecond) })
	waitOnDatabase(250 * time.Millisecond)
	wg.Wait()
	recID := rec.End()
	id := p.End(h, profiling.Finish{Context: t.Context(), Route: "/r"})
	s := get(t, p, id)
	if !names(s, "waitOnDatabase") || !names(s, "burnCPU") || s.CustomTimings["parse"] != api.Seconds(time.Millisecond) {
		t.Errorf("request = %+v", s)
	}
	if r := get(t, p, recID); r.OperationName != "load" || r.Trigger != api.TriggerSlow || r.TraceID != "t1" || !names(r, "burnCPU") {
		t.Errorf("recording = %+v", r)
	}
	if s := profiling.FromContext(t.Context()); s != nil || s.End() != "" {
		t.Error("a context without a recording has one")
	}
}

// TestCPUOfARequest: in mode on the CPU samples of a slow request are its own.
func TestCPUOfARequest(t *testing.T) {
	p := start(t, profiling.Options{Mode: profiling.ModeOn, SlowThreshold: 100 * time.Millisecond, CPUWindow: 300 * time.Millisecond})
	h := p.Begin(request("t3"))
	for end := cpuTime(t) + 700*time.Millisecond; cpuTime(t) < end; { // a busy machine gives it that later
		burnCPU(10 * time.Millisecond)
	}
	if p.End(h, profiling.Finish{Route: "/burn"}) == "" {
		t.Fatal("not caught")
	}
	eventually(t, "cpu profile", func() bool { return len(p.List(profiling.Query{Type: "cpu", TraceID: "t3"})) == 1 })
	if s := p.List(profiling.Query{Type: "cpu"})[0]; !names(s, "burnCPU") || s.Samples.Value() < 5 {
		t.Errorf("cpu profile = %+v", s)
	}
}

// TestSharedCPU: captures overlap each other and mode on, and all get theirs.
func TestSharedCPU(t *testing.T) {
	p := start(t, profiling.Options{})
	p.Enable(time.Minute, 0)
	var ids []string
	for range 4 {
		id, err := p.Capture(t.Context(), profiling.CaptureOptions{Type: "cpu", Duration: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
		if s, err := p.Get(id); err != nil || s.State != "active" {
			t.Errorf("just after its start: %+v, %v", s, err)
		}
		if _, err := p.Data(id); err == nil {
			t.Error("data of an active profile")
		}
	}
	if _, err := p.Capture(t.Context(), profiling.CaptureOptions{Type: "heap"}); status(err) != 429 {
		t.Errorf("fifth at once: %v, want 429", err)
	}
	burnCPU(1200 * time.Millisecond)
	for _, id := range ids {
		if s := get(t, p, id); !names(s, "burnCPU") || s.Type != "cpu" || s.Trigger != api.TriggerManual {
			t.Errorf("capture = %+v", s)
		}
	}
	id, err := p.Capture(t.Context(), profiling.CaptureOptions{Type: "heap"})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := p.Get(id); err != nil || s.Type != "heap" || s.Size.Value() == 0 {
		t.Errorf("heap = %+v, %v", s, err)
	}
}

func status(err error) int {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

func TestModes(t *testing.T) {
	p := start(t, profiling.Options{})
	if until := p.Enable(50*time.Millisecond, 20*time.Millisecond); until.IsZero() || p.Mode() != profiling.ModeOn || p.SlowThreshold() != 20*time.Millisecond {
		t.Errorf("enabled until %v, mode %s", until, p.Mode())
	}
	eventually(t, "back to watch", func() bool { return p.Mode() == profiling.ModeWatch })
	if p.SlowThreshold() != time.Second {
		t.Errorf("threshold stays %v", p.SlowThreshold())
	}
	if err := p.Disable(profiling.ModeOff); err != nil {
		t.Fatal(err)
	}
	if _, r := p.Start(t.Context(), "op", ""); r != nil || r.End() != "" {
		t.Error("recording while off")
	}
	if err := p.Disable("loud"); err == nil {
		t.Error("mode loud accepted")
	}
}

func TestNotRunning(t *testing.T) {
	p, err := profiling.New(profiling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Capture(t.Context(), profiling.CaptureOptions{Type: "cpu"}); !errors.Is(err, profiling.ErrNotRunning) || status(err) != 503 {
		t.Errorf("capture: %v, want ErrNotRunning and 503", err)
	}
	r := request("t")
	r.Force = true
	if id := p.End(p.Begin(r), profiling.Finish{}); id != "" {
		t.Errorf("profile %q without Run", id)
	}
}

// TestSlowWave: a wave of slow requests keeps a burst of profiles and counts the rest.
func TestSlowWave(t *testing.T) {
	p := start(t, profiling.Options{SlowThreshold: 50 * time.Millisecond, RouteBurst: 3, CoolDown: time.Hour, MaxCaptures: 16})
	var wg sync.WaitGroup
	for range 48 {
		wg.Go(func() {
			h := p.Begin(request("t"))
			waitOnDatabase(300 * time.Millisecond)
			p.End(h, profiling.Finish{Route: "/wave"})
		})
	}
	wg.Wait()
	h := p.Begin(request("t")) // quicker than each of the wave, which may have ended in the order of their times
	waitOnDatabase(150 * time.Millisecond)
	p.End(h, profiling.Finish{Route: "/wave"})
	d := p.Stats().Dropped
	for deadline := time.Now().Add(10 * time.Second); d["cool_down"] == 0 && time.Now().Before(deadline); d = p.Stats().Dropped {
		time.Sleep(5 * time.Millisecond) // what ended is stored beside the requests, not by them
	}
	if d["captures_at_once"] != 32 || d["cool_down"] == 0 || len(p.List(profiling.Query{Limit: 50})) > 16 {
		t.Errorf("dropped %v", d)
	}
}

func TestTableFull(t *testing.T) {
	p := start(t, profiling.Options{TableSize: 2})
	a, b, c := p.Begin(request("a")), p.Begin(request("b")), p.Begin(request("c"))
	for _, h := range []profiling.Handle{c, b, a} {
		p.End(h, profiling.Finish{})
	}
	if n := p.Stats().Dropped["table_full"]; n != 1 {
		t.Errorf("table_full = %d, want 1", n)
	}
	p.End(p.Begin(request("d")), profiling.Finish{})
}

func TestBadOptions(t *testing.T) {
	for _, o := range []profiling.Options{{Mode: "x"}, {SlowThreshold: -1}, {Budget: 2}, {TableSize: -1}, {MaxCaptures: -1}, {CPUWindow: 1}} {
		if _, err := profiling.New(o); err == nil {
			t.Errorf("New(%+v) accepted it", o)
		}
	}
}

func TestUpload(t *testing.T) {
	p := start(t, profiling.Options{})
	if _, err := p.AddUpload([]byte("<html>"), "op", "svc", nil); status(err) != 400 {
		t.Errorf("html: %v, want 400", err)
	}
	if _, err := p.AddUpload(make([]byte, profiling.MaxUpload+1), "op", "svc", nil); status(err) != 413 {
		t.Errorf("65 MiB: %v, want 413", err)
	}
	if n := len(p.List(profiling.Query{})); n != 0 {
		t.Fatalf("%d kept", n)
	}
	s, err := p.AddUpload([]byte("main;work 3\nmain 1\n"), "job", "cron", map[string]string{"k": "v"})
	if err != nil || s.Samples.Value() != 4 || s.Trigger != api.TriggerUpload || s.Service != "cron" || s.Labels["k"] != "v" {
		t.Fatalf("upload = %+v, %v", s, err)
	}
	data, err := p.Data(s.ProfileID)
	if err != nil || data[0] != 0x1f {
		t.Errorf("data = %.4x, %v; want gzip", data, err)
	}
	top, err := p.Top(s.ProfileID, profiling.TopOptions{TopOptions: hotspot.TopOptions{}})
	if err != nil || top.Rows[0].Function != "work" || top.ProfileID != s.ProfileID {
		t.Errorf("top = %+v, %v", top, err)
	}
	if _, err := p.Top(s.ProfileID, profiling.TopOptions{TopOptions: hotspot.TopOptions{Selection: hotspot.Selection{SampleType: "cpu"}}}); status(err) != 422 {
		t.Errorf("sample type: %v, want 422", err)
	}
}
