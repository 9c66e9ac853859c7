package process_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pulsectl/pulsectl/pkg/monitoring/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func reader(t *testing.T, o process.Options) *process.Reader {
	t.Helper()
	r, err := process.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestInfoIsMeasured(t *testing.T) {
	runtime.GC()
	got := reader(t, process.Options{}).Info()
	p, h := got.Process, got.System
	if p.PID != os.Getpid() || p.MemoryRSS <= 0 || p.MemoryVMS < p.MemoryRSS || p.Threads <= 0 ||
		p.Goroutines.Value() < 1 || p.HeapAlloc.Value() < 1 || p.HeapObjects.Value() < 1 || p.GCPauseP99 == nil || *p.GCPauseP99 <= 0 ||
		int(p.GOMAXPROCS.Value()) != runtime.GOMAXPROCS(0) {
		t.Errorf("process = %+v", p)
	}
	if runtime.GOOS == "linux" && p.OpenFiles < 3 {
		t.Errorf("open files = %d, want at least the standard three", p.OpenFiles)
	}
	if h.Hostname == "" || h.OS != runtime.GOOS || int(h.CPUCount) != runtime.NumCPU() || h.MemoryTotal <= 0 ||
		h.MemoryAvailable > h.MemoryTotal || h.MemoryPercent <= 0 || h.MemoryPercent > 100 || h.DiskUsage.Total <= 0 {
		t.Errorf("host = %+v", h)
	}
	if runtime.GOOS != "windows" && len(h.LoadAverage) != 3 {
		t.Errorf("load average = %v, want three", h.LoadAverage)
	}
	if got.Uptime <= 0 {
		t.Errorf("uptime = %v", got.Uptime.Duration())
	}
}

func burn(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
	}
}

func TestCPUPercentBeforeRunIsSinceTheStart(t *testing.T) {
	burn(200 * time.Millisecond)
	if got := reader(t, process.Options{}).CPUPercent(); got <= 0 {
		t.Errorf("CPUPercent = %v, want more than 0", got)
	}
}

func TestRunMeasuresTheLastSecond(t *testing.T) {
	r := reader(t, process.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	burn(2200 * time.Millisecond)
	if got := r.CPUPercent(); got < 5 { // a core is shared with other tests
		t.Errorf("busy: CPUPercent = %v", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if r.RSS() == 0 {
		t.Error("RSS = 0")
	}
}

func TestCgroupVersion2(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "cgroup.controllers"), "cpu memory\n")
	write(t, filepath.Join(root, "memory.max"), "536870912\n")
	write(t, filepath.Join(root, "cpu.max"), "150000 100000\n")
	write(t, filepath.Join(root, "cpu.stat"), "usage_usec 9\nnr_throttled 3\nthrottled_usec 2500000\n")
	p := reader(t, process.Options{CgroupRoot: root}).Info().Process
	if p.CgroupMemoryLimit.Value() != 512<<20 || p.CgroupCPUQuota == nil || *p.CgroupCPUQuota != 1.5 {
		t.Errorf("limits = %v, %v, want 512 MiB and 1.5 cores", p.CgroupMemoryLimit.Value(), p.CgroupCPUQuota)
	}
	if p.CgroupThrottled == nil || p.CgroupThrottled.Duration() != 2500*time.Millisecond {
		t.Errorf("held back for %v, want 2.5s", p.CgroupThrottled)
	}
}

func TestCgroupWithoutLimits(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"version 2": {"cgroup.controllers": "", "memory.max": "max\n", "cpu.max": "max 100000\n"},
		"version 1": {"memory/memory.limit_in_bytes": "9223372036854771712\n", "cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
		"none":      {},
		"nonsense":  {"cgroup.controllers": "", "memory.max": "lots", "cpu.max": ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for path, text := range files {
				write(t, filepath.Join(root, path), text)
			}
			p := reader(t, process.Options{CgroupRoot: root}).Info().Process
			if p.CgroupMemoryLimit != nil || p.CgroupCPUQuota != nil || p.CgroupThrottled != nil {
				t.Errorf("limits = %v, %v, want none", p.CgroupMemoryLimit.Value(), *p.CgroupCPUQuota)
			}
		})
	}
}

func TestCgroupVersion1(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "memory/memory.limit_in_bytes"), "1073741824\n")
	write(t, filepath.Join(root, "cpu/cpu.cfs_quota_us"), "50000\n")
	write(t, filepath.Join(root, "cpu/cpu.cfs_period_us"), "100000\n")
	write(t, filepath.Join(root, "cpu/cpu.stat"), "nr_periods 9\nthrottled_time 1500000000\n")
	p := reader(t, process.Options{CgroupRoot: root}).Info().Process
	if p.CgroupMemoryLimit.Value() != 1<<30 || p.CgroupCPUQuota == nil || *p.CgroupCPUQuota != 0.5 {
		t.Errorf("limits = %v, %v, want 1 GiB and half a core", p.CgroupMemoryLimit.Value(), p.CgroupCPUQuota)
	}
	if p.CgroupThrottled == nil || p.CgroupThrottled.Duration() != 1500*time.Millisecond {
		t.Errorf("held back for %v, want 1.5s", p.CgroupThrottled)
	}
}

// More goroutines than processors want to run: some of their threads wait.
func TestWaitForAProcessor(t *testing.T) {
	r := reader(t, process.Options{})
	before := r.Info().Process.CPUWait
	if before == nil {
		t.Skip("the kernel does not count waits")
	}
	runtime.GOMAXPROCS(4 * runtime.NumCPU())
	defer runtime.GOMAXPROCS(runtime.NumCPU())
	end := time.Now().Add(300 * time.Millisecond)
	var wg sync.WaitGroup
	for range 4 * runtime.NumCPU() {
		wg.Go(func() {
			for time.Now().Before(end) {
			}
		})
	}
	wg.Wait()
	if after := r.Info().Process.CPUWait; after == nil || after.Duration()-before.Duration() < 300*time.Millisecond {
		t.Errorf("threads waited %v, then %v", before.Duration(), after)
	}
}

// Many may ask at once, as a fleet's operators do; the race detector watches.
func TestAskedAtOnce(t *testing.T) {
	r := reader(t, process.Options{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if p := r.Info().Process; p.Threads == 0 || p.MemoryRSS == 0 {
				t.Errorf("info = %+v", p)
			}
		})
	}
	wg.Wait()
}
