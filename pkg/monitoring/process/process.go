// Package process reads what this process and its host use: memory, processor,
// disk, files, limits.
//
// [Reader.Run] samples the processor once a second, so that a percentage is
// over at least the last second whoever asks how often. All else is read when
// it is asked for. What a platform cannot tell is zero where the API says so
// (open files, connections) and absent where it may be.
package process

import (
	"cmp"
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/process"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Options configures [New]. The zero value is ready to use.
type Options struct {
	CgroupRoot string // where the cgroup file system is mounted; "" means /sys/fs/cgroup
	Dir        string // whose file system disk usage is about; "" means the working directory
}

// Reader reads this process. Its methods may be called by any goroutine.
type Reader struct {
	opts    Options
	pid     int32
	started time.Time // of the process, or of the reader where that is unknown

	mu      sync.Mutex
	last    usage   // guarded by mu; the latest sample
	percent float64 // guarded by mu; between the latest two samples
	sampled bool    // guarded by mu; percent is from samples
}

// self is this process as gopsutil sees it, anew each time: it keeps what it reads
// in the value, without a lock.
func (r *Reader) self() *process.Process { return &process.Process{Pid: r.pid} }

// usage is the processor time used up to an instant.
type usage struct {
	at   time.Time
	used time.Duration
}

// New returns a reader of this process. It starts nothing. The error tells that
// the platform shows nothing of a process at all.
func New(o Options) (*Reader, error) {
	self, err := process.NewProcess(int32(os.Getpid()))
	if err != nil {
		return nil, err
	}
	o.CgroupRoot = cmp.Or(o.CgroupRoot, "/sys/fs/cgroup")
	o.Dir = cmp.Or(o.Dir, ".")
	r := &Reader{opts: o, pid: self.Pid, started: time.Now()}
	if ms, err := self.CreateTime(); err == nil && ms > 0 && time.UnixMilli(ms).Before(r.started) {
		r.started = time.UnixMilli(ms)
	}
	return r, nil
}

// Run samples the processor once a second until ctx is done.
func (r *Reader) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	r.sample()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.sample()
		}
	}
}

// sample sets the percentage to what was used since the sample before, unless
// that was less than a second ago (but for a tick's jitter).
func (r *Reader) sample() {
	used, err := r.cpuTime()
	if err != nil {
		return // the next tick asks again; the percentage stays what it was
	}
	now := usage{time.Now(), used}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.at.IsZero() {
		r.last = now
		return
	}
	if passed := now.at.Sub(r.last.at); passed > 900*time.Millisecond {
		r.percent, r.sampled = percentOf(now.used-r.last.used, passed), true
		r.last = now
	}
}

// CPUPercent returns the processor use in percent of one core: over the last
// second while Run runs, since the process began until Run had time for that.
func (r *Reader) CPUPercent() float64 {
	r.mu.Lock()
	percent, sampled := r.percent, r.sampled && time.Since(r.last.at) < 5*time.Second
	r.mu.Unlock()
	if sampled {
		return percent
	}
	used, err := r.cpuTime()
	if err != nil {
		return 0
	}
	return percentOf(used, time.Since(r.started))
}

func percentOf(used, passed time.Duration) float64 {
	if passed <= 0 || used < 0 {
		return 0
	}
	return 100 * float64(used) / float64(passed)
}

// cpuTime is the processor time the process has used, in user and kernel.
func (r *Reader) cpuTime() (time.Duration, error) {
	t, err := r.self().Times()
	if err != nil {
		return 0, err
	}
	if t == nil {
		return 0, errors.ErrUnsupported
	}
	return time.Duration((t.User + t.System) * float64(time.Second)), nil
}

// RSS returns the resident set in bytes, 0 where the platform does not tell.
func (r *Reader) RSS() uint64 {
	m, err := r.self().MemoryInfo()
	if err != nil || m == nil {
		return 0
	}
	return m.RSS
}

// Uptime returns how long the process runs.
func (r *Reader) Uptime() time.Duration { return time.Since(r.started) }

// Info returns everything of GET /monitoring/system/info, as of now.
func (r *Reader) Info() api.System {
	return api.System{Process: r.process(), System: r.host(), Uptime: api.Seconds(r.Uptime())}
}
