package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// System draws the process and the host of each server.
func System(w io.Writer, rs []api.Result[api.System], o Options) error {
	return screens(w, rs, o, func(s *screen, where string, v api.System) error {
		if !s.NoHeaders {
			s.heading(titled("System", where), s.muted.Render("up "+age(v.Uptime.Duration())))
			s.line()
		}
		s.facts(append(processFacts(v.Process), hostFacts(v.System)...))
		return nil
	})
}

func processFacts(p api.ProcessInfo) []fact {
	facts := []fact{
		{"process", fmt.Sprintf("pid %d", p.PID)},
		{"cpu", fmt.Sprintf("%.1f%% of a core", p.CPUPercent)},
		{"memory", size(int64(p.MemoryRSS)) + " resident, " + size(int64(p.MemoryVMS)) + " virtual"},
	}
	if p.HeapAlloc != nil {
		facts = append(facts, fact{"heap", size(p.HeapAlloc.Value()) + " in " + count(p.HeapObjects.Value()) + " objects"})
	}
	if p.Goroutines != nil {
		facts = append(facts, fact{"goroutines", count(p.Goroutines.Value()) + " on " + count(p.GOMAXPROCS.Value()) + " processors"})
	}
	if p.GCPauseP99 != nil {
		facts = append(facts, fact{"gc pause p99", duration(p.GCPauseP99.Duration())})
	}
	facts = append(facts,
		fact{"threads", count(int64(p.Threads))},
		fact{"open files", count(int64(p.OpenFiles)) + ", " + count(int64(p.Connections)) + " connections"})
	var limits []string
	if p.CgroupMemoryLimit != nil {
		limits = append(limits, size(p.CgroupMemoryLimit.Value())+" memory")
	}
	if p.CgroupCPUQuota != nil {
		limits = append(limits, number(*p.CgroupCPUQuota)+" cores")
	}
	if len(limits) > 0 {
		facts = append(facts, fact{"cgroup limit", strings.Join(limits, ", ")})
	}
	return facts
}

func hostFacts(h api.HostInfo) []fact {
	var facts []fact
	host := strings.TrimSpace(clean(h.Hostname) + "  " + strings.Trim(clean(h.OS)+"/"+clean(h.Arch), "/"))
	if host != "" {
		facts = append(facts, fact{"host", host})
	}
	facts = append(facts, fact{"cpus", count(int64(h.CPUCount))})
	if len(h.LoadAverage) == 3 {
		facts = append(facts, fact{"load", fmt.Sprintf("%.2f  %.2f  %.2f over 1, 5 and 15 minutes", h.LoadAverage[0], h.LoadAverage[1], h.LoadAverage[2])})
	}
	facts = append(facts, fact{"host memory", fmt.Sprintf("%s of %s available, %.1f%% used",
		size(int64(h.MemoryAvailable)), size(int64(h.MemoryTotal)), h.MemoryPercent)})
	if d := h.DiskUsage; d.Total > 0 {
		facts = append(facts, fact{"disk", fmt.Sprintf("%s of %s free, %s used", size(int64(d.Free)), size(int64(d.Total)), size(int64(d.Used)))})
	}
	return facts
}
