package process

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// limits are what a cgroup allows; nil means no limit, or no cgroups.
type limits struct {
	memory    *api.Count // bytes
	cores     *float64
	throttled *api.Seconds // by the quota, so far; nil without a quota
}

// readCgroup reads the limits under a mounted cgroup file system: version 2 if
// it is one, else version 1. It looks at the process's own group and its
// parents, of which the tightest counts.
func readCgroup(root string) limits {
	var out limits
	v2, memory, cpu := groupPaths()
	if exists(filepath.Join(root, "cgroup.controllers")) {
		for _, dir := range upTo(root, v2) {
			out.tighten(readNumber(filepath.Join(dir, "memory.max")), quotaV2(filepath.Join(dir, "cpu.max")))
			out.heldBack(dir, "throttled_usec", time.Microsecond)
		}
		return out
	}
	for _, dir := range upTo(filepath.Join(root, "memory"), memory) {
		out.tighten(readNumber(filepath.Join(dir, "memory.limit_in_bytes")), 0)
	}
	for _, dir := range upTo(filepath.Join(root, "cpu"), cpu) {
		quota, period := readNumber(filepath.Join(dir, "cpu.cfs_quota_us")), readNumber(filepath.Join(dir, "cpu.cfs_period_us"))
		if quota > 0 && period > 0 {
			out.tighten(0, quota/period)
		}
		out.heldBack(dir, "throttled_time", time.Nanosecond)
	}
	return out
}

// heldBack reads of a group's cpu.stat how long its quota held it back. Of
// nested groups the one that was held longest counts.
func (l *limits) heldBack(dir, field string, unit time.Duration) {
	b, err := os.ReadFile(filepath.Join(dir, "cpu.stat"))
	if err != nil || l.cores == nil {
		return
	}
	for line := range strings.Lines(string(b)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != field {
			continue
		}
		if held := api.Seconds(number(text) * float64(unit)); l.throttled == nil || held > *l.throttled {
			l.throttled = &held
		}
	}
}

// tighten takes over a limit that is lower; 0 means none. What is beyond any
// machine's memory is how version 1 writes "no limit".
func (l *limits) tighten(memory, cores float64) {
	if memory > 0 && memory < 1<<60 && (l.memory == nil || api.Count(memory) < *l.memory) {
		l.memory = api.CountOf(int64(memory))
	}
	if cores > 0 && (l.cores == nil || cores < *l.cores) {
		l.cores = &cores
	}
}

// groupPaths returns the process's groups as /proc/self/cgroup names them.
func groupPaths() (v2, memory, cpu string) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "/", "/", "/"
	}
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if parts[1] == "" {
			v2 = parts[2]
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			switch controller {
			case "memory":
				memory = parts[2]
			case "cpu":
				cpu = parts[2]
			}
		}
	}
	return v2, memory, cpu
}

// upTo lists root/path and the folders above it, down to root itself.
func upTo(root, path string) []string {
	dirs := []string{root}
	for path = filepath.Clean("/" + path); path != "/" && len(dirs) < 32; path = filepath.Dir(path) {
		dirs = append(dirs, filepath.Join(root, path))
	}
	return dirs
}

// readNumber reads a file that holds one number; 0 if it holds anything else.
func readNumber(path string) float64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	return number(strings.TrimSpace(string(b)))
}

// quotaV2 reads cpu.max, "QUOTA PERIOD" in microseconds, as cores.
func quotaV2(path string) float64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	return parseQuota(string(b))
}

func parseQuota(s string) float64 {
	quota, period, _ := strings.Cut(strings.TrimSpace(s), " ")
	if q, p := number(quota), number(period); q > 0 && p > 0 {
		return q / p
	}
	return 0
}

func number(s string) float64 {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0
	}
	return n
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
