package profiling_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
)

// TestThresholds: a route may take longer, or less, than the others.
func TestThresholds(t *testing.T) {
	p := start(t, profiling.Options{
		SlowThreshold: 100 * time.Millisecond,
		Thresholds:    map[string]time.Duration{"GET /export": time.Hour, "/ping": 20 * time.Millisecond},
		Route:         func(method, host, path string) string { return method + " " + path },
	})
	var wg sync.WaitGroup
	for path, want := range map[string]struct {
		took   time.Duration
		caught bool
	}{
		"/export": {300 * time.Millisecond, false}, "/ping": {80 * time.Millisecond, true},
		"/a": {300 * time.Millisecond, true}, "/b": {40 * time.Millisecond, false},
	} {
		wg.Go(func() {
			h := p.Begin(profiling.Request{Method: "GET", Path: path})
			waitOnDatabase(want.took)
			if id := p.End(h, profiling.Finish{Route: "GET " + path}); (id != "") != want.caught {
				t.Errorf("%s: profile %q", path, id)
			}
		})
	}
	wg.Wait()
}

// TestWaveInModeOn: of a wave of slow requests as many as may are followed and
// explained, by few snapshots, the rest is counted, and none of them waits for it.
func TestWaveInModeOn(t *testing.T) {
	const wave = 3000
	p := start(t, profiling.Options{Mode: profiling.ModeOn, SlowThreshold: 50 * time.Millisecond, RouteBurst: 32, CoolDown: time.Hour})
	eventually(t, "the flight recorder", func() bool { return p.Recording() })
	var wg sync.WaitGroup
	var mu sync.Mutex
	var worst time.Duration
	ids := map[string]bool{}
	gate := make(chan struct{})
	for i := range wave {
		h := make(chan profiling.Handle, 1)
		wg.Go(func() {
			one := p.Begin(request(fmt.Sprint(i)))
			h <- one
			<-gate
			begin := time.Now()
			id := p.End(one, profiling.Finish{Route: "/wave"})
			took := time.Since(begin)
			mu.Lock()
			defer mu.Unlock()
			worst = max(worst, took)
			if id != "" {
				ids[id] = true
			}
		})
		<-h
	}
	eventually(t, "256 followed", func() bool { return p.Stats().ActiveProfiles == 256 })
	eventually(t, "the rest counted", func() bool { return p.Stats().Dropped["captures_at_once"] == wave-256 })
	close(gate)
	wg.Wait()
	if worst > time.Second { // all of them end at once, on a busy machine
		t.Errorf("an End took %v", worst)
	}
	if len(ids) < 32 || len(ids) > 256 {
		t.Errorf("%d profiles promised", len(ids))
	}
	for id := range ids {
		get(t, p, id)
	}
	eventually(t, "all settled", func() bool { return p.Stats().ActiveProfiles == 0 })
	if d := p.Stats().Dropped; int(d["captures_at_once"]+d["cool_down"]+d["queue_full"])+len(ids) != wave {
		t.Errorf("%d of %d kept, dropped %v", len(ids), wave, d)
	}
}

// TestManyGoroutines: with many goroutines snapshots are rarer, so that they
// stay within the budget.
func TestManyGoroutines(t *testing.T) {
	p := start(t, profiling.Options{SlowThreshold: 20 * time.Millisecond})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 20_000 {
		wg.Go(func() { <-stop })
	}
	defer func() { close(stop); wg.Wait() }()
	var took time.Duration
	for took = 1500 * time.Millisecond; took < 20*time.Second; took *= 2 { // the dearer a snapshot is, the longer the budget takes to afford one
		h := p.Begin(request("t"))
		waitOnDatabase(took)
		s := get(t, p, p.End(h, profiling.Finish{Route: "/r"}))
		n := s.Samples.Value()
		t.Logf("%d goroutines: %d samples, overhead %.1f %%", runtime.NumGoroutine(), n, 100**p.Stats().Overhead)
		if most := int64(took / (25 * time.Millisecond)); n > most {
			t.Errorf("%d samples in %v, want fewer than of a small process: %d", n, took, most)
		}
		if n > 0 {
			return
		}
	}
	t.Error("never a sample")
}

// TestPprofDo: labels that a request sets with its context leave it followed.
func TestPprofDo(t *testing.T) {
	p := start(t, profiling.Options{SlowThreshold: 20 * time.Millisecond, Budget: 1})
	h := p.Begin(request("t"))
	ctx := p.Attach(t.Context(), h)
	doLabelled(ctx, func() { waitOnDatabase(200 * time.Millisecond) })
	s := get(t, p, p.End(h, profiling.Finish{Context: t.Context(), Route: "/r"}))
	if !names(s, "waitOnDatabase") || len(s.Explanation.States[0].Stacks) == 0 {
		t.Errorf("%+v", s.TopFunctions)
	}
}

// TestNotesReachTheProfile: what is noted on the context of a slow request is on
// its profile (D7).
func TestNotesReachTheProfile(t *testing.T) {
	p := start(t, profiling.Options{SlowThreshold: 20 * time.Millisecond})
	h := p.Begin(request("t"))
	ctx := p.Attach(t.Context(), h)
	profiling.FromContext(ctx).Checkpoint("parsed")
	profiling.FromContext(ctx).Timing("db", time.Second)
	profiling.FromContext(ctx).Timing(strings.Repeat("n", 1000), time.Second)
	waitOnDatabase(100 * time.Millisecond)
	s := get(t, p, p.End(h, profiling.Finish{Route: "/r"}))
	if s.MemoryUsage["parsed"] == 0 || s.CustomTimings["db"] != api.Seconds(time.Second) || s.CustomTimings[strings.Repeat("n", 128)] == 0 {
		t.Errorf("memory %v, timings %v", s.MemoryUsage, s.CustomTimings)
	}
}

func TestBeginEndDoesNotAllocate(t *testing.T) {
	p, err := profiling.New(profiling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := request("t")
	r.Start = time.Now()
	cycle := func() { p.End(p.Begin(r), profiling.Finish{Route: "/x"}) }
	for range 100 { // labels are made at their first use
		cycle()
	}
	if n := testing.AllocsPerRun(1000, cycle); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// TestBeginEndIsCheap holds the watch for slow requests to twice its goal of 70
// ns, in the best of many short runs: a busy machine is slower, not the code.
func TestBeginEndIsCheap(t *testing.T) {
	if raceSlack > 0 {
		t.Skip("the race detector is slow")
	}
	p, err := profiling.New(profiling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := request("t")
	r.Start = time.Now()
	best := time.Hour
	for range 100 {
		begin := time.Now()
		for range 1000 {
			p.End(p.Begin(r), profiling.Finish{Route: "/x"})
		}
		best = min(best, time.Since(begin)/1000)
	}
	if t.Logf("%v", best); best > 140*time.Nanosecond {
		t.Errorf("Begin and End take %v, want 70ns", best)
	}
}

// BenchmarkBeginEnd is what a request costs that is not slow: in mode watch, with
// the time read by the caller, as the middleware does, or here; and with
// profiling off.
func BenchmarkBeginEnd(b *testing.B) {
	for _, bb := range []struct {
		name string
		mode profiling.Mode
		now  bool
	}{{"watch", profiling.ModeWatch, true}, {"watch/clock", profiling.ModeWatch, false}, {"off", profiling.ModeOff, true}} {
		b.Run(bb.name, func(b *testing.B) {
			p, err := profiling.New(profiling.Options{Mode: bb.mode})
			if err != nil {
				b.Fatal(err)
			}
			r := request("t")
			if bb.now {
				r.Start = time.Now()
			}
			b.ReportAllocs()
			for b.Loop() {
				p.End(p.Begin(r), profiling.Finish{Route: "/x"})
			}
		})
	}
}
