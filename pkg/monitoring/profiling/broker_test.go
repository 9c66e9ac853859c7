package profiling_test

import (
	"bytes"
	"context"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/pprof/profile"

	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
)

func parsed(t *testing.T, data []byte) *profile.Profile {
	t.Helper()
	p, err := profile.ParseData(data)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// cpuTime is what the process has used of its processors.
func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func sampled(p *profile.Profile) (cpu time.Duration) {
	for _, s := range p.Sample {
		cpu += time.Duration(s.Value[1])
	}
	return cpu
}

// TestParallelReaders: eight readers that begin one after the other each get the
// whole of theirs, beside mode on, with at least 98 % of the processor time in
// it.
func TestParallelReaders(t *testing.T) {
	p := start(t, profiling.Options{Mode: profiling.ModeOn})
	ctx, cancel := context.WithCancel(t.Context())
	var burn sync.WaitGroup
	burn.Go(func() {
		for ctx.Err() == nil {
			burnCPU(20 * time.Millisecond)
		}
	})
	least := 0.0
	for try := 0; try < 4 && least < 0.98-raceSlack; try++ { // a busy machine makes the gaps between windows longer
		least = readAtOnce(t, p, 8, 4*time.Second)
		t.Logf("sampled at least %.1f %% of the processor time", 100*least)
	}
	cancel()
	burn.Wait()
	if least < 0.98-raceSlack {
		t.Errorf("sampled %.1f %%, want 98 %%", 100*least)
	}
}

// readAtOnce has n readers read d of CPU profile, and returns the least share of
// the processor time spent meanwhile that one of them got to see.
func readAtOnce(t *testing.T, p *profiling.Profiler, n int, d time.Duration) float64 {
	var wg sync.WaitGroup
	shares := make([]float64, n)
	for i := range n {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 5 * time.Millisecond)
			begin, before := time.Now(), cpuTime(t)
			data, note, err := p.CPUProfile(t.Context(), d)
			used := (cpuTime(t) - before).Seconds() / time.Since(begin).Seconds() * d.Seconds()
			if err != nil || note != "" && raceSlack == 0 {
				t.Errorf("reader %d: %v, %q", i, err, note)
				return
			}
			got := parsed(t, data)
			if covers := time.Duration(got.DurationNanos); covers < d*9/10 || covers > d*11/10 {
				t.Errorf("reader %d: the profile covers %v of %v", i, covers, d)
			}
			shares[i] = sampled(got).Seconds() / used
		})
	}
	wg.Wait()
	return slices.Min(shares)
}

// TestReaderLeaves: one that gives up does not hold the profiler.
func TestReaderLeaves(t *testing.T) {
	p := start(t, profiling.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := p.CPUProfile(ctx, time.Minute); err != context.DeadlineExceeded {
		t.Errorf("error %v, want the context's", err)
	}
	eventually(t, "the profiler free again", func() bool {
		err := pprof.StartCPUProfile(new(bytes.Buffer))
		if err == nil {
			pprof.StopCPUProfile()
		}
		return err == nil
	})
}

// TestProfilerTaken: who asks while another library profiles is told so, and so
// is who reads the statistics; afterwards it works.
func TestProfilerTaken(t *testing.T) {
	if err := pprof.StartCPUProfile(new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	p := start(t, profiling.Options{Mode: profiling.ModeOn})
	_, _, err := p.CPUProfile(t.Context(), time.Second)
	if status(err) != 503 || !strings.Contains(err.Error(), "another library of this process holds the CPU profiler") {
		t.Errorf("error %v, want 503 and who has it", err)
	}
	if notes := strings.Join(p.Stats().Notes, ""); !strings.Contains(notes, "CPU profiler") {
		t.Errorf("stats say %q", notes)
	}
	pprof.StopCPUProfile()
	eventually(t, "no note", func() bool { return len(p.Stats().Notes) == 0 })
	if _, _, err := p.CPUProfile(t.Context(), time.Second); err != nil {
		t.Error(err)
	}
}

// TestLabels: a profile that is handed out says whose samples are whose, of
// those that have ended and those that run, and nothing of the table's slots.
func TestLabels(t *testing.T) {
	p := start(t, profiling.Options{Route: func(method, host, path string) string { return method + " /r/{id}" }})
	type answer struct {
		data []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		data, _, err := p.CPUProfile(t.Context(), 2*time.Second)
		got <- answer{data, err}
	}()
	time.Sleep(100 * time.Millisecond) // it has begun
	for range 40 {                     // more than a slot has labels
		p.End(p.Begin(request("short")), profiling.Finish{Route: "GET /short"})
	}
	h := p.Begin(request("ended"))
	burnCPU(300 * time.Millisecond)
	p.End(h, profiling.Finish{Route: "GET /ended"})
	h = p.Begin(request("runs"))
	burnCPU(300 * time.Millisecond)
	a := <-got
	p.End(h, profiling.Finish{Route: "GET /runs"})
	if a.err != nil {
		t.Fatal(a.err)
	}
	cpu := map[string]time.Duration{}
	for _, s := range parsed(t, a.data).Sample {
		if s.Label["pulsectl_slot"] != nil {
			t.Fatalf("labels %v", s.Label)
		}
		if s.Label["route"] != nil {
			cpu[strings.Join([]string{s.Label["method"][0], s.Label["route"][0], s.Label["trace_id"][0], s.Label["request_id"][0]}, "|")] += time.Duration(s.Value[1])
		}
	}
	for _, who := range []string{"GET|GET /ended|ended|r-ended", "GET|GET /r/{id}|runs|r-runs"} {
		if cpu[who] == 0 || cpu[who] > 400*time.Millisecond {
			t.Errorf("%s: %v, want up to 300 ms, as busy as the machine is; all: %v", who, cpu[who], cpu)
		}
	}
}

func doLabelled(ctx context.Context, f func()) {
	pprof.Do(ctx, pprof.Labels("tenant", "acme"), func(context.Context) { f() })
}
