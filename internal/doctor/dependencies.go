package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	// fewestSlow traces of a route that wait for the same: two may be chance.
	fewestSlow = 3
	// mostOfIt is the share of a slow trace's critical path that makes one
	// dependency its cause: more than all else together.
	mostOfIt = 0.5
	// agreeing is the share of a route's slow traces that blame the same.
	agreeing = 0.6
	// slowRequests is the share of a route's requests that must be slow: a
	// hundredth is what p99 is for.
	slowRequests = 0.01
)

var dependencyRules = []Rule{
	{ID: "check-failing", About: "a health check fails", Looks: 1, quick: true, judge: checkFailing},
	{ID: "dependency-slow", About: "slow requests of a route wait for the same dependency", Looks: 1, judge: dependencySlow},
}

func checkFailing(j *judge) {
	h := j.Now.Health
	if h == nil {
		j.lacks("health")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(h.Checks)) {
		c := h.Checks[name]
		if c.Status == api.Healthy || c.Status == api.Disabled || c.Status == "" {
			continue
		}
		f := finding{Finding: api.Finding{
			Subject: name, Severity: api.SeverityWarning, Confidence: 0.95,
			Cause: fmt.Sprintf("Health check %s is %s: %s.", name, c.Status, cmp.Or(c.Error, "it does not tell why")),
			Next:  "pulsectl health " + argument(name),
		}, dependencies: []string{name}}
		text := fmt.Sprintf("it took %s", short(time.Duration(c.LatencyMS*float64(time.Millisecond))))
		if c.Critical {
			text = "the service calls it critical; " + text
			if c.Status != api.Degraded {
				f.Severity = api.SeverityCritical
			}
		}
		if !c.LastOK.IsZero() {
			text += fmt.Sprintf("; last passed %s ago", short(max(j.now.Sub(c.LastOK.Time), 0)))
		}
		f.Evidence = []api.Evidence{observed("health/detailed", "%s", text)}
		j.find(f)
	}
}

// blamed is what the slow traces of a route waited for.
type blamed struct {
	route     string
	traces    int            // slow ones of the route
	by        map[string]int // of those, by the dependency that is most of their critical path
	shares    map[string][]float64
	durations []time.Duration
	slowest   map[string]string // trace id
}

func dependencySlow(j *judge) {
	if j.Slow == nil {
		j.lacks(PartSlow)
		return
	}
	for _, b := range j.blame() {
		dependency, n := most(b.by)
		if b.traces < fewestSlow || n < fewestSlow || float64(n) < agreeing*float64(b.traces) {
			continue
		}
		estimate := float64(j.Slow.Total) * float64(b.traces) / float64(len(j.Slow.Traces))
		calls := j.callsOf(b.route, SlowSpan)
		if calls > 0 && estimate < slowRequests*float64(calls) {
			continue
		}
		shares := b.shares[dependency]
		slices.Sort(shares)
		slices.Sort(b.durations)
		f := finding{Finding: api.Finding{
			Subject: dependency, Severity: api.SeverityWarning, Confidence: 0.7 + 0.25*float64(n)/float64(b.traces),
			Cause: fmt.Sprintf("%s is slow: %s waits for it.", dependency, b.route),
			Evidence: []api.Evidence{observed("traces", "in %d of %d traces of %s that took more than %s, half of them %s or longer, it is %s of the critical path (median)",
				n, b.traces, b.route, short(j.Slow.Threshold), short(b.durations[len(b.durations)/2]), share(shares[len(shares)/2]))},
			Next: "pulsectl traces show " + argument(b.slowest[dependency]),
		}, dependencies: []string{dependency}, routes: []string{b.route}}
		if calls > 0 {
			f.Evidence = append(f.Evidence, observed("traces/stats", "about %.0f of %s of the route in %s were slow", estimate, plural(calls, "request"), short(SlowSpan)))
		}
		j.find(f)
	}
}

// blame finds of each slow trace what it waited for most.
func (j *judge) blame() (out []*blamed) {
	routes := map[string]*blamed{}
	for i := range j.Slow.Traces {
		t := &j.Slow.Traces[i]
		if t.Root == "" || t.Duration == nil || t.Truncated {
			continue
		}
		b := routes[t.Root]
		if b == nil {
			b = &blamed{route: t.Root, by: map[string]int{}, shares: map[string][]float64{}, slowest: map[string]string{}}
			routes[t.Root], out = b, append(out, b)
		}
		b.traces++
		b.durations = append(b.durations, t.Duration.Duration())
		l := waterfall.New(t, j.now)
		waited := map[string]int{} // nanoseconds
		for r := range l.Rows {
			if s := l.Rows[r].Span; s != nil && len(l.Rows[r].Critical) > 0 {
				if d := dependencyOf(s); d != "" {
					waited[d] += int(l.Rows[r].OnPath())
				}
			}
		}
		if d, ns := most(waited); l.Path > 0 && float64(ns) >= mostOfIt*float64(l.Path) {
			b.by[d]++
			b.shares[d] = append(b.shares[d], float64(ns)/float64(l.Path))
			if b.slowest[d] == "" { // they come slowest first
				b.slowest[d] = t.TraceID
			}
		}
	}
	return out
}

// most is the largest number and its name, of equals the first by name.
func most(of map[string]int) (name string, n int) {
	for _, k := range slices.Sorted(maps.Keys(of)) {
		if of[k] > n {
			name, n = k, of[k]
		}
	}
	return name, n
}

// peers are the attributes that name whom a client calls, the best first
// (OpenTelemetry semantic conventions, the older names too).
var peers = []string{"peer.service", "service.peer.name", "db.system.name", "db.system", "messaging.system", "rpc.service", "server.address", "net.peer.name", "http.host"}

// dependencyOf names whom a span calls: "" for work of the service's own.
func dependencyOf(s *api.Span) string {
	if s.Kind != "client" && s.Kind != "producer" {
		return ""
	}
	for _, key := range peers {
		if name, ok := s.Tags[key].(string); ok && name != "" {
			return name
		}
	}
	if table, ok := s.Tags["db.collection.name"].(string); ok && table != "" {
		return "database table " + table
	}
	return s.OperationName
}
