package process

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// process describes this process. What a call cannot tell stays zero.
func (r *Reader) process() api.ProcessInfo {
	out := api.ProcessInfo{PID: os.Getpid(), CPUPercent: r.CPUPercent()}
	self := r.self()
	if m, err := self.MemoryInfo(); err == nil && m != nil {
		out.MemoryRSS, out.MemoryVMS = api.Count(m.RSS), api.Count(m.VMS)
	}
	if n, err := self.NumThreads(); err == nil {
		out.Threads = api.Count(n)
	}
	if n, err := self.NumFDs(); err == nil {
		out.OpenFiles = api.Count(n)
	}
	if conns, err := self.Connections(); err == nil {
		out.Connections = api.Count(len(conns))
	}
	readRuntime(&out)
	limits := readCgroup(r.opts.CgroupRoot)
	out.CgroupMemoryLimit, out.CgroupCPUQuota, out.CgroupThrottled = limits.memory, limits.cores, limits.throttled
	out.CPUWait = cpuWait("/proc/self/task")
	return out
}

// cpuWait adds up how long the threads that there are were ready to run and had
// no processor: the second number of their schedstat, in nanoseconds. It is nil
// where the kernel does not count that.
func cpuWait(tasks string) *api.Seconds {
	files, err := filepath.Glob(filepath.Join(tasks, "*", "schedstat"))
	if err != nil || len(files) == 0 {
		return nil
	}
	total := api.Seconds(0)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		if f := strings.Fields(string(b)); len(f) > 1 {
			total += api.Seconds(number(f[1]))
		}
	}
	return &total
}

// readRuntime fills in what the Go runtime tells of itself.
func readRuntime(out *api.ProcessInfo) {
	samples := []metrics.Sample{
		{Name: "/sched/goroutines:goroutines"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/objects:objects"}, {Name: "/sched/gomaxprocs:threads"},
		{Name: "/sched/pauses/total/gc:seconds"},
	}
	metrics.Read(samples)
	for i, field := range []**api.Count{&out.Goroutines, &out.HeapAlloc, &out.HeapObjects, &out.GOMAXPROCS} {
		if samples[i].Value.Kind() == metrics.KindUint64 {
			*field = api.CountOf(samples[i].Value.Uint64())
		}
	}
	if samples[4].Value.Kind() == metrics.KindFloat64Histogram {
		p99 := quantile(samples[4].Value.Float64Histogram(), 0.99)
		out.GCPauseP99 = &p99
	}
}

// quantile returns the upper bound of the bucket in which q of h lies, 0 for an
// empty h. The pauses are since the process began.
func quantile(h *metrics.Float64Histogram, q float64) api.Seconds {
	total := uint64(0)
	for _, n := range h.Counts {
		total += n
	}
	if total == 0 {
		return 0
	}
	rank, seen := uint64(q*float64(total-1))+1, uint64(0)
	for i, n := range h.Counts {
		if seen += n; seen >= rank {
			bound := h.Buckets[i+1]
			if bound > 1e9 { // the last bucket has no end
				bound = h.Buckets[i]
			}
			return api.Seconds(bound * float64(time.Second))
		}
	}
	return 0
}

// host describes the machine. What a call cannot tell stays zero.
func (r *Reader) host() api.HostInfo {
	out := api.HostInfo{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUCount: api.Count(runtime.NumCPU())}
	if name, err := os.Hostname(); err == nil {
		out.Hostname = name
	}
	if m, err := mem.VirtualMemory(); err == nil {
		out.MemoryTotal, out.MemoryAvailable = api.Count(m.Total), api.Count(m.Available)
		out.MemoryPercent = m.UsedPercent
		if m.Total > 0 { // of what is not available, as psutil has it
			out.MemoryPercent = 100 * (1 - float64(m.Available)/float64(m.Total))
		}
	}
	if l, err := load.Avg(); err == nil {
		out.LoadAverage = []float64{l.Load1, l.Load5, l.Load15}
	}
	if d, err := disk.Usage(r.opts.Dir); err == nil {
		out.DiskUsage = api.DiskUsage{Total: api.Count(d.Total), Used: api.Count(d.Used), Free: api.Count(d.Free)}
	}
	return out
}
