package doctor

import (
	"fmt"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	// heldBack is the share of the time in which the quota stops the process:
	// below it, it is the end of a burst.
	heldBack = 0.10
	// usedUp is the share of a quota that is as good as all of it, at both looks.
	usedUp = 0.95
	// threadsWait is how many threads on average are ready and find no processor,
	// and waitShare how much of the time that they want to run: a quiet service
	// on a busy host waits as a share, but hardly in seconds.
	threadsWait = 0.3
	waitShare   = 0.3
	// diskNear, diskAt and the bytes that are enough for any log.
	diskNear, diskAt = 0.90, 0.98
	enoughDisk       = 5 << 30
)

var hostRules = []Rule{
	{ID: "cpu-quota", About: "the cgroup's quota holds the process back", Looks: 2, judge: cpuQuota},
	{ID: "cpu-host", About: "the host has too few processors for what runs on it", Looks: 2, judge: cpuHost},
	{ID: "disk", About: "the disk runs full", Looks: 1, quick: true, judge: disk},
}

func cpuQuota(j *judge) {
	is, was := j.Now.System, j.Before.System
	if is == nil || was == nil {
		j.lacks(PartSystem)
		return
	}
	quota := is.Process.CgroupCPUQuota
	if quota == nil || *quota <= 0 {
		return // nothing can hold it back
	}
	f := finding{Finding: api.Finding{
		Severity: api.SeverityWarning, Confidence: 0.9, Cause: fmt.Sprintf("Its quota of %.2g processors holds the process back.", *quota),
		Evidence: []api.Evidence{observed(fromSystem, "%.0f%% of a processor used, %.0f%% allowed", is.Process.CPUPercent, 100**quota)},
		Next:     "pulsectl profiles capture --type cpu --for 10s --wait",
	}}
	if is.Process.CgroupThrottled != nil && was.Process.CgroupThrottled != nil {
		held := is.Process.CgroupThrottled.Duration() - was.Process.CgroupThrottled.Duration()
		if held.Seconds() < heldBack*j.apart().Seconds() {
			return
		}
		f.Evidence = append(f.Evidence, observed(fromSystem, "held back for %s of %s", short(held), short(j.apart())))
		j.find(f)
		return
	}
	if limit := 100 * *quota * usedUp; is.Process.CPUPercent < limit || was.Process.CPUPercent < limit {
		return
	}
	f.Confidence = 0.7
	j.find(f)
}

func cpuHost(j *judge) {
	is, was := j.Now.System, j.Before.System
	switch {
	case is == nil || was == nil:
		j.lacks(PartSystem)
		return
	case is.Process.CPUWait == nil || was.Process.CPUWait == nil:
		j.cannot("the server does not tell how long its threads wait for a processor")
		return
	}
	waited := is.Process.CPUWait.Duration() - was.Process.CPUWait.Duration()
	ran := is.Process.CPUPercent / 100 * j.apart().Seconds()
	if s := waited.Seconds(); s < threadsWait*j.apart().Seconds() || s < waitShare*(s+ran) {
		return
	}
	f := finding{Finding: api.Finding{
		Severity: api.SeverityWarning, Confidence: 0.85, Cause: "The host starves the process: its threads are ready to run and find no processor.",
		Evidence: []api.Evidence{observed(fromSystem, "waited %s in %s, used %.0f%% of a processor", short(waited), short(j.apart()), is.Process.CPUPercent)},
		Next:     "pulsectl system",
	}}
	if l := is.System.LoadAverage; len(l) > 0 {
		f.Evidence = append(f.Evidence, observed(fromSystem, "load %.1f on %s", l[0], plural(int64(is.System.CPUCount), "processor")))
	}
	j.find(f)
}

func disk(j *judge) {
	s := j.Now.System
	if s == nil {
		j.lacks(PartSystem)
		return
	}
	d := s.System.DiskUsage
	usable := float64(d.Used + d.Free) // what is kept for the superuser is nobody's
	if usable <= 0 {
		j.cannot("the server does not tell of its disk")
		return
	}
	ratio := float64(d.Used) / usable
	if ratio < diskNear || int64(d.Free) > enoughDisk {
		return
	}
	f := finding{Finding: api.Finding{
		Severity: api.SeverityWarning, Confidence: 0.95, Cause: fmt.Sprintf("The disk is %s full.", share(ratio)),
		Evidence: []api.Evidence{observed(fromSystem, "%s of %s left", bytes(int64(d.Free)), bytes(int64(usable)))}, Next: "pulsectl system",
	}}
	if ratio >= diskAt {
		f.Severity = api.SeverityCritical
	}
	j.find(f)
}
