package doctor

import (
	"fmt"
	"time"

	"github.com/pulsectl/pulsectl/internal/scrape"
	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	// nearLimit: at nine tenths of a memory limit one large request is the end.
	nearLimit, atLimit = 0.90, 0.97
	// growthTakes is the least time over which growth is told from garbage: the
	// collector runs at least every two minutes, and under load each second.
	growthTakes = 30 * time.Second
	// grownMemory: a quarter and 64 MiB in that time are no cache warming up,
	// once the process is older than warmUp.
	grownMemory      = 0.25
	leastGrownMemory = 64 << 20
	warmUp           = 5 * time.Minute
	// manyGoroutines and what each request in flight or connection accounts for:
	// a server that has a thousand more than that does not end them.
	manyGoroutines   = 1000
	goroutinesOfWork = 20
	// grownGoroutines between two looks, without more work.
	grownGoroutines      = 0.2
	leastGrownGoroutines = 100
	// filesNear and filesAt of the limit: at the limit no connection is accepted.
	filesNear, filesAt = 0.80, 0.95
	// poolWaits is how much of the time at least one request waits for a
	// connection.
	poolWaits = 0.5
)

const (
	fromSystem  = "system/info"
	fromMetrics = "metrics"
)

var processRules = []Rule{
	{ID: "memory-limit", About: "memory is near its limit", Looks: 1, quick: true, judge: memoryLimit},
	{ID: "memory-growth", About: "memory grows and does not come back", Looks: 2, judge: memoryGrowth},
	{ID: "goroutines", About: "goroutines are started and do not end", Looks: 1, quick: true, judge: goroutines},
	{ID: "files", About: "file descriptors run out", Looks: 1, judge: files},
	{ID: "db-pool", About: "requests wait for a connection of a database pool", Looks: 2, judge: dbPool},
	{ID: "restarted", About: "the server began anew between two looks", Looks: 2, judge: restarted},
}

func memoryLimit(j *judge) {
	s := j.Now.System
	if s == nil {
		j.lacks(PartSystem)
		return
	}
	used, limit, of := int64(s.Process.MemoryRSS), s.Process.CgroupMemoryLimit.Value(), "its cgroup's limit"
	if limit <= 0 {
		used, limit, of = int64(s.System.MemoryTotal-s.System.MemoryAvailable), int64(s.System.MemoryTotal), "the host's memory"
	}
	if limit <= 0 {
		j.cannot("the server tells no limit of its memory")
		return
	}
	ratio := float64(used) / float64(limit)
	if ratio < nearLimit {
		return
	}
	f := finding{Finding: api.Finding{
		Severity: api.SeverityWarning, Confidence: 0.9, Cause: fmt.Sprintf("Memory is at %s of %s: the kernel kills what asks for more.", share(ratio), of),
		Evidence: []api.Evidence{observed(fromSystem, "%s of %s used, resident %s", bytes(used), bytes(limit), bytes(int64(s.Process.MemoryRSS)))},
		Next:     "pulsectl profiles capture --type heap --wait",
	}}
	if ratio >= atLimit {
		f.Severity = api.SeverityCritical
	}
	if s.Process.HeapAlloc != nil {
		f.Evidence = append(f.Evidence, observed(fromSystem, "of that %s heap in use", bytes(s.Process.HeapAlloc.Value())))
	}
	j.find(f)
}

// grown are the system's facts of both looks, nil with the reason told if they
// are missing or too near to one another to show growth.
func (j *judge) grown() (is, was *api.System) {
	is, was = j.Now.System, j.Before.System
	switch {
	case is == nil || was == nil:
		j.lacks(PartSystem)
	case j.apart() < growthTakes:
		j.cannot("%s are too short to tell growth from garbage: --for %s", short(j.apart()), growthTakes)
	case was.Uptime.Duration() < warmUp:
		j.cannot("the server is younger than %s: it warms up", short(warmUp))
	case is.Process.PID != was.Process.PID:
	default:
		return is, was
	}
	return nil, nil
}

func memoryGrowth(j *judge) {
	is, was := j.grown()
	if is == nil {
		return
	}
	from, to, what := int64(was.Process.MemoryRSS), int64(is.Process.MemoryRSS), "resident memory"
	if was.Process.HeapAlloc != nil && is.Process.HeapAlloc != nil && is.Process.HeapAlloc.Value()-was.Process.HeapAlloc.Value() < to-from {
		from, to, what = was.Process.HeapAlloc.Value(), is.Process.HeapAlloc.Value(), "heap"
	}
	if to-from < leastGrownMemory || float64(to-from) < grownMemory*float64(from) {
		return
	}
	f := finding{Finding: api.Finding{
		Severity: api.SeverityWarning, Confidence: 0.6, Cause: fmt.Sprintf("Memory grows by %s a minute.", bytes(perMinute(to-from, j.apart()))),
		Evidence: []api.Evidence{observed(fromSystem, "%s from %s to %s in %s", what, bytes(from), bytes(to), short(j.apart()))},
		Next:     "pulsectl profiles capture --type heap --for 30s --wait",
	}}
	if limit := is.Process.CgroupMemoryLimit.Value(); limit > int64(is.Process.MemoryRSS) {
		left := time.Duration(float64(limit-int64(is.Process.MemoryRSS)) / float64(to-from) * float64(j.apart()))
		f.Evidence = append(f.Evidence, observed(fromSystem, "at this rate the limit of %s is reached in %s", bytes(limit), short(left)))
		if left < time.Hour {
			f.Severity = api.SeverityCritical
		}
	}
	j.find(f)
}

func perMinute(n int64, over time.Duration) int64 { return int64(float64(n) / over.Minutes()) }

func goroutines(j *judge) {
	s := j.Now.System
	if s == nil || s.Process.Goroutines == nil {
		if !j.Python {
			j.lacks(PartSystem)
		}
		return
	}
	n, work := s.Process.Goroutines.Value(), int64(s.Process.Connections)
	if f := scrape.Find(j.Now.Metrics, scrape.InFlight); f != nil && len(f.Series) > 0 {
		work += int64(value(f.Series[0].Value))
	}
	f := finding{Finding: api.Finding{
		Severity: api.SeverityWarning, Confidence: 0.8, Next: "pulsectl profiles capture --type goroutine --wait",
		Evidence: []api.Evidence{observed(fromSystem, "%d goroutines, %d connections and requests in flight", n, work)},
	}}
	if n > manyGoroutines+goroutinesOfWork*work {
		f.Cause = fmt.Sprintf("There are %d goroutines, far more than work: something starts them and does not end them.", n)
		j.find(f)
		return
	}
	if j.Before.At.IsZero() {
		return
	}
	is, was := j.grown()
	if is == nil || was.Process.Goroutines == nil {
		return
	}
	before := was.Process.Goroutines.Value()
	if grew := n - before; grew >= leastGrownGoroutines && float64(grew) >= grownGoroutines*float64(before) && int64(is.Process.Connections-was.Process.Connections)*goroutinesOfWork < grew {
		f.Confidence = 0.6
		f.Cause = fmt.Sprintf("Goroutines grow by %d a minute while work does not.", perMinute(grew, j.apart()))
		f.Evidence = append(f.Evidence, observed(fromSystem, "%d more than %s ago", grew, short(j.apart())))
		j.find(f)
	}
}

func files(j *judge) {
	open, limit := gaugeOf(j.Now.Metrics, "process_open_fds"), gaugeOf(j.Now.Metrics, "process_max_fds")
	if limit <= 0 {
		j.cannot("the server tells no limit of its file descriptors")
		return
	}
	if open < filesNear*limit {
		return
	}
	f := finding{Finding: api.Finding{
		Severity: api.SeverityWarning, Confidence: 0.95, Cause: fmt.Sprintf("%s of the file descriptors are open: without them no connection is accepted.", share(open/limit)),
		Evidence: []api.Evidence{observed(fromMetrics, "%.0f open of %.0f", open, limit)}, Next: "pulsectl system",
	}}
	if s := j.Now.System; s != nil {
		f.Evidence = append(f.Evidence, observed(fromSystem, "%d of them connections", s.Process.Connections))
	}
	if open >= filesAt*limit {
		f.Severity = api.SeverityCritical
	}
	j.find(f)
}

// gaugeOf is the first series of a family, 0 if there is none.
func gaugeOf(families []api.MetricFamily, name string) float64 {
	if f := scrape.Find(families, name); f != nil && len(f.Series) > 0 {
		return value(f.Series[0].Value)
	}
	return 0
}

// gains are what the series of a counter gained between the looks, by one of
// its labels; nil if there is no such counter.
func (j *judge) gains(name, label string) map[string]float64 {
	old, now := scrape.Find(j.Before.Metrics, name), scrape.Find(j.Now.Metrics, name)
	if now == nil || old == nil {
		return nil
	}
	f := *now
	f.Series = append([]api.MetricSeries(nil), now.Series...)
	scrape.Changes(old, &f, j.apart())
	out := map[string]float64{}
	for _, s := range f.Series {
		if s.Change != nil && !s.Change.Reset {
			out[s.Labels[label]] += value(s.Change.Value)
		}
	}
	return out
}

func dbPool(j *judge) {
	waited := j.gains("pulse_api_db_connections_wait_seconds_total", "pool")
	if waited == nil {
		j.cannot("the server has no metrics of a database pool")
		return
	}
	for pool, s := range waited {
		if s < poolWaits*j.apart().Seconds() {
			continue
		}
		f := finding{Finding: api.Finding{
			Subject: pool, Severity: api.SeverityWarning, Confidence: 0.85,
			Cause:    fmt.Sprintf("The database pool %s is too small or its connections are held too long: requests wait for one.", pool),
			Evidence: []api.Evidence{observed(fromMetrics, "%s of waiting in %s", short(time.Duration(s*float64(time.Second))), short(j.apart()))},
			Next:     "pulsectl metrics get pulse_api_db_query_duration_seconds --rate 5s",
		}}
		for _, family := range []string{"active", "max"} {
			if m := scrape.Find(j.Now.Metrics, "pulse_api_db_connections_"+family); m != nil {
				for _, s := range m.Series {
					if s.Labels["pool"] == pool {
						f.Evidence = append(f.Evidence, observed(fromMetrics, "%s %.0f", family, value(s.Value)))
					}
				}
			}
		}
		j.find(f)
	}
}

func restarted(j *judge) {
	is, was := j.Now.System, j.Before.System
	if is == nil || was == nil {
		j.lacks(PartSystem)
		return
	}
	if is.Uptime >= was.Uptime && is.Process.PID == was.Process.PID {
		return
	}
	j.find(finding{Finding: api.Finding{
		Severity: api.SeverityCritical, Confidence: 0.95, Cause: "The server began anew while it was looked at.",
		Evidence: []api.Evidence{observed(fromSystem, "process %d, up %s, was process %d, up %s", is.Process.PID, shortSeconds(is.Uptime), was.Process.PID, shortSeconds(was.Uptime))},
		Next:     "pulsectl health",
	}})
}
