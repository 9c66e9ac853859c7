package render

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Health draws every dependency, the worst first, with the verdict.
func Health(w io.Writer, rs []api.Result[api.Health], o Options) error {
	s := newScreen(w, o)
	if !o.NoHeaders {
		s.heading("Health", s.healthVerdicts(rs))
		if len(rs) == 1 && rs[0].Error == nil {
			s.line(s.muted.Render(wrap(s.Width, healthFacts(rs[0].Value)...)))
		}
		s.line()
	}
	cols := []column{
		{name: "NAME"}, {name: "KIND", drop: 3}, {name: "STATUS"},
		{name: "LATENCY", right: true, drop: 2}, {name: "LAST OK", right: true, drop: 4}, {name: "DETAIL", flex: true, drop: 1},
	}
	rows := 0
	err := fleetTable(s, rs, cols, func(h api.Health) (out [][]string) {
		for _, d := range dependencies(h) {
			out = append(out, s.dependencyRow(d))
		}
		rows += len(out)
		return out
	})
	if err != nil {
		return err
	}
	if rows == 0 && answered(rs) > 0 {
		s.line(s.muted.Render("No dependency is checked."))
	}
	return s.flush()
}

func (s *screen) healthVerdicts(rs []api.Result[api.Health]) string {
	counts := map[string]int{}
	for _, r := range rs {
		if r.Error == nil {
			counts[r.Value.Status]++
		}
	}
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(counts)) {
		word := clean(status)
		if len(rs) > 1 {
			word = fmt.Sprintf("%d %s", counts[status], word)
		}
		parts = append(parts, s.mark(statusVerdict(status), word))
	}
	return strings.Join(parts, "  ")
}

func healthFacts(h api.Health) []string {
	var facts []string
	for _, text := range []string{h.Version, h.Environment} {
		if text != "" {
			facts = append(facts, clean(text))
		}
	}
	if h.Uptime != nil {
		facts = append(facts, "up "+age(h.Uptime.Duration()))
	}
	return append(facts, "checked in "+duration(fromMilliseconds(h.TotalCheckTimeMS)))
}

// HealthCheck draws one check in full.
func HealthCheck(w io.Writer, rs []api.Result[map[string]api.Check], o Options) error {
	return screens(w, rs, o, func(s *screen, where string, cs map[string]api.Check) error {
		for name, c := range cs {
			s.check(name, c)
		}
		if where != "" {
			s.facts([]fact{{"instance", where}})
		}
		return nil
	})
}

func (s *screen) check(name string, c api.Check) {
	s.heading("Check "+clean(name), s.mark(statusVerdict(c.Status), clean(c.Status)))
	s.line()
	facts := []fact{{"latency", duration(fromMilliseconds(c.LatencyMS))}}
	if !c.Bare {
		facts = append(facts, fact{"critical", yesNo(c.Critical)})
	}
	if !c.LastOK.IsZero() {
		facts = append(facts, fact{"last ok", age(s.Now.Sub(c.LastOK.Time)) + " ago, " + s.time(c.LastOK.Time)})
	}
	if c.Error != "" {
		facts = append(facts, fact{"error", s.bad.Render(clean(c.Error))})
	}
	for _, k := range slices.Sorted(maps.Keys(c.Fields)) {
		facts = append(facts, fact{clean(k), fieldText(c.Fields[k])})
	}
	s.facts(facts)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// dependency is one row: a check, a circuit, a cache.
type dependency struct {
	name, kind, status, word, detail string
	latency                          time.Duration
	lastOK                           api.Time
}

// dependencies lists all that a verdict is made of, the worst first.
func dependencies(h api.Health) []dependency {
	var out []dependency
	for name, c := range h.Checks {
		out = append(out, checkDependency(name, c))
	}
	if h.CircuitBreakers != nil {
		for name, c := range h.CircuitBreakers.Circuits {
			out = append(out, dependency{name: name, kind: "circuit", status: c.Status, word: c.Status, detail: circuitDetail(c)})
		}
	}
	if h.Cache != nil {
		out = append(out, redisDependency(h.Cache.Redis), memoryDependency(h.Cache.Memory))
	}
	slices.SortFunc(out, func(a, b dependency) int {
		return cmp.Or(-cmp.Compare(statusVerdict(a.status), statusVerdict(b.status)),
			cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name))
	})
	return out
}

func checkDependency(name string, c api.Check) dependency {
	kind := "check"
	if c.Critical {
		kind = "check, critical"
	}
	detail := clean(c.Error)
	if detail == "" {
		var flat, nested []string // the latter are for the check's own screen, if there are others
		for _, k := range slices.Sorted(maps.Keys(c.Fields)) {
			text := clean(k) + "=" + fieldText(c.Fields[k])
			if _, ok := c.Fields[k].(map[string]any); ok {
				nested = append(nested, text)
				continue
			}
			flat = append(flat, text)
		}
		if len(flat) == 0 {
			flat = nested
		}
		detail = strings.Join(flat, " ")
	}
	return dependency{name, kind, c.Status, c.Status, detail, fromMilliseconds(c.LatencyMS), c.LastOK}
}

func circuitDetail(c api.HealthCircuit) string {
	text := stateWord(c.State)
	if c.TotalRequests > 0 {
		text += fmt.Sprintf(", %s of %s failed", share(c.FailureRate), count(int64(c.TotalRequests)))
	}
	return text
}

func redisDependency(r api.RedisHealth) dependency {
	out := dependency{name: "redis", kind: "cache", status: r.Status, word: r.Status, detail: clean(cmp.Or(r.Reason, r.Stats.LastError))}
	if r.Stats.Latency != nil {
		out.latency = r.Stats.Latency.Duration()
	}
	if out.detail == "" && r.Connected {
		out.detail = hitsDetail(r.Stats.CacheHits, r.Stats.CacheMisses)
	}
	return out
}

func memoryDependency(m api.MemoryHealth) dependency {
	detail := ""
	if m.Status != api.Disabled {
		detail = hitsDetail(m.Stats.Hits, m.Stats.Misses)
	}
	return dependency{name: "memory", kind: "cache", status: m.Status, word: m.Status, detail: detail}
}

func hitsDetail(hits, misses api.Count) string {
	all := int64(hits) + int64(misses)
	if all == 0 {
		return "not asked yet"
	}
	return fmt.Sprintf("%s of %s hit", share(float64(hits)/float64(all)), count(all))
}

func (s *screen) dependencyRow(d dependency) []string {
	v := statusVerdict(d.status)
	name, latency, lastOK, detail := clean(d.name), "–", "–", d.detail
	if v != fine {
		name, detail = s.title.Render(name), s.style(v).Render(detail)
	} else {
		detail = s.muted.Render(detail)
	}
	if d.latency > 0 {
		latency = duration(d.latency)
	}
	if !d.lastOK.IsZero() {
		lastOK = age(s.Now.Sub(d.lastOK.Time))
	}
	status := s.mark(v, clean(d.word))
	switch d.status {
	case api.Disabled:
		status = s.muted.Render("– disabled")
	case "":
		status = s.muted.Render("– not told")
	}
	return []string{name, s.muted.Render(d.kind), status, latency, lastOK, detail}
}

// statusVerdict reads the words of checks, circuits and caches.
func statusVerdict(status string) verdict {
	switch status {
	case api.Healthy, api.Disabled, "": // a Python server's check may tell no status
		return fine
	case api.Degraded:
		return between
	}
	return broken
}

// fieldText writes a check's own field in few words.
func fieldText(v any) string {
	switch v := v.(type) {
	case string:
		return clean(v)
	case float64:
		return number(v)
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, clean(k)+"="+fieldText(v[k]))
		}
		return "{" + strings.Join(parts, " ") + "}"
	}
	return clean(fmt.Sprint(v))
}

func fromMilliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
