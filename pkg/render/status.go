package render

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Status draws whether to worry: the verdict, the worst things with what to type
// next, and then one server's facts, or a line for each server of a fleet.
func Status(w io.Writer, rs []api.Result[api.Overview], o Options) error {
	s := newScreen(w, o)
	found := worstFindings(rs)
	s.heading(s.verdictOf(rs, found), s.muted.Render(s.Now.In(s.Zone).Format("15:04:05 MST")))
	for i, f := range found {
		if i == mostWorries && !s.Wide {
			s.line()
			s.line(s.muted.Render(fmt.Sprintf("and %d more: pulsectl doctor", len(found)-i)))
			break
		}
		s.worry(f, len(rs) > 1)
	}
	s.line()
	if len(rs) > 1 {
		if err := s.fleetStatus(rs); err != nil {
			return err
		}
		if !s.Wide { // the facts tell it
			s.missing(rs)
		}
	}
	for _, r := range rs {
		if len(rs) > 1 && (!s.Wide || r.Error != nil) {
			continue
		}
		if len(rs) > 1 {
			s.line()
		}
		s.overview(r.Instance, r.Value)
	}
	if len(found) > 0 {
		s.line()
		s.line(s.muted.Render("why  "), "pulsectl doctor")
	}
	return s.flush()
}

// mostWorries is how many findings the status shows: one screen is to hold it.
const mostWorries = 5

// worstFindings are those of all servers, each once, the worst first.
func worstFindings(rs []api.Result[api.Overview]) (out []api.Finding) {
	seen := map[string]bool{}
	for _, r := range rs {
		for _, f := range r.Value.Findings {
			if key := f.Rule + " " + f.Subject; !seen[key] {
				seen[key] = true
				out = append(out, f)
			}
		}
	}
	order := map[string]int{api.SeverityCritical: 0, api.SeverityWarning: 1, api.SeverityNotice: 2}
	slices.SortStableFunc(out, func(a, b api.Finding) int { return cmp.Compare(order[a.Severity], order[b.Severity]) })
	return out
}

// verdictOf says in a few words whether to worry.
func (s *screen) verdictOf(rs []api.Result[api.Overview], found []api.Finding) string {
	n := map[verdict]int{}
	for _, r := range rs {
		if r.Error == nil {
			n[statusVerdict(r.Value.Health.Status)]++
		}
	}
	silent := len(rs) - answered(rs)
	var parts []string
	add := func(v verdict, n int, word string) {
		switch {
		case n == 0:
		case len(rs) == 1:
			parts = append(parts, s.mark(v, word))
		default:
			parts = append(parts, s.mark(v, count(int64(n))+" "+word))
		}
	}
	add(broken, silent, "without answer")
	add(broken, n[broken], "unhealthy")
	add(between, n[between], "degraded")
	switch {
	case len(parts) == 0 && len(found) == 0 && len(rs) == 1:
		return s.mark(fine, "All is well")
	case len(parts) == 0 && len(found) == 0:
		return s.mark(fine, "All is well") + s.muted.Render(fmt.Sprintf("  %d servers", len(rs)))
	case len(rs) == 1 && len(parts) == 0:
		return s.mark(between, "Healthy, but look at this")
	}
	add(fine, n[fine], "healthy")
	return strings.Join(parts, blanks(gutter))
}

// worry is a finding in two lines: what, and what to type.
func (s *screen) worry(f api.Finding, fleet bool) {
	s.hanging(s.sign(f.Severity)+" ", clean(f.Cause))
	next := clean(f.Next)
	if fleet {
		next += s.muted.Render("  at " + s.places(f.Instances))
	}
	s.hanging("  "+s.accent.Render("→ "), next)
}

// fleetStatus is a line for each server.
func (s *screen) fleetStatus(rs []api.Result[api.Overview]) error {
	cols := []column{
		{name: "STATUS"}, {name: "BREAKERS"}, {name: "CHECKS", drop: 1}, {name: "FAILED", right: true, drop: 3}, {name: "CPU", right: true, drop: 4},
		{name: "MEMORY", right: true, drop: 5}, {name: "UP", right: true, drop: 6}, {name: "VERSION", drop: 2}, {name: "SERVICE", drop: 7},
	}
	return fleetTable(s, rs, cols, func(v api.Overview) [][]string {
		bad, row := 0, make([]string, 0, len(cols))
		for _, c := range v.Health.Checks {
			if statusVerdict(c.Status) != fine {
				bad++
			}
		}
		states := map[api.State]int{}
		for _, b := range v.Breakers {
			states[b.State]++
		}
		row = append(row, s.mark(statusVerdict(v.Health.Status), clean(v.Health.Status)), s.breakerWord(states), s.checkWord(bad, len(v.Health.Checks)))
		row = append(row, failedWord(v.Traces))
		if p := v.System; p != nil {
			row = append(row, fmt.Sprintf("%.0f%%", p.Process.CPUPercent), size(int64(p.Process.MemoryRSS)))
		} else {
			row = append(row, "–", "–")
		}
		up := "–"
		if v.Health.Uptime != nil {
			up = age(v.Health.Uptime.Duration())
		}
		return [][]string{append(row, up, clean(v.Version), clean(v.Service))}
	})
}

// missing says what servers did not tell, and why.
func (s *screen) missing(rs []api.Result[api.Overview]) {
	for _, r := range rs {
		for _, part := range slices.Sorted(maps.Keys(r.Value.Missing)) {
			s.hanging(instance(r.Instance)+blanks(gutter), s.warn.Render(clean(part)+": "+clean(r.Value.Missing[part])))
		}
	}
}

func (s *screen) breakerWord(states map[api.State]int) string {
	all := states[api.StateOpen] + states[api.StateHalfOpen] + states[api.StateClosed]
	switch {
	case all == 0:
		return "–"
	case states[api.StateOpen] > 0:
		return s.bad.Render(fmt.Sprintf("%d open", states[api.StateOpen])) + s.muted.Render(fmt.Sprintf(" of %d", all))
	case states[api.StateHalfOpen] > 0:
		return s.warn.Render(fmt.Sprintf("%d half-open", states[api.StateHalfOpen])) + s.muted.Render(fmt.Sprintf(" of %d", all))
	}
	return fmt.Sprintf("%d closed", all)
}

func (s *screen) checkWord(bad, all int) string {
	switch {
	case all == 0:
		return "–"
	case bad > 0:
		return s.warn.Render(fmt.Sprintf("%d failing", bad)) + s.muted.Render(fmt.Sprintf(" of %d", all))
	}
	return fmt.Sprintf("%d pass", all)
}

func failedWord(t *api.TraceOverview) string {
	if t == nil || t.Failed == nil {
		return "–"
	}
	return count(t.Failed.Value())
}

func (s *screen) overview(server string, v api.Overview) {
	s.heading(instance(server), s.mark(statusVerdict(v.Health.Status), clean(v.Health.Status)))
	about := []string{clean(v.Service), clean(v.Version), clean(v.Environment)}
	if v.Health.Uptime != nil {
		about = append(about, "up "+age(v.Health.Uptime.Duration()))
	}
	s.line(s.muted.Render(strings.Join(slices.DeleteFunc(about, func(p string) bool { return p == "" }), "  ")))
	s.line()
	facts := append(s.checkFacts(v.Health.Checks), s.breakerFacts(v.Breakers)...)
	facts = append(facts, s.traceFacts(v.Traces)...)
	if p := v.Profiling; p != nil {
		facts = append(facts, fact{"profiling", s.profilingFact(p)})
	}
	facts = append(facts, s.cacheFacts(v.Health.Cache)...)
	if v.System != nil {
		facts = append(facts, fact{"process", s.processFact(v.System)})
	}
	for _, part := range slices.Sorted(maps.Keys(v.Missing)) {
		text := s.warn.Render(clean(v.Missing[part]))
		if m := v.Health.Monitoring; part == "profiling" && m != nil { // health knows at least that
			text = map[bool]string{true: "on", false: "off"}[m.ProfilingEnabled] + "  " + text
		}
		facts = append(facts, fact{clean(part), text})
	}
	s.facts(facts)
}

// checkFacts are how many checks pass, and a line for each that does not.
func (s *screen) checkFacts(checks map[string]api.Check) []fact {
	if len(checks) == 0 {
		return []fact{{"checks", s.muted.Render("none registered")}}
	}
	facts := []fact{{"checks", ""}}
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		c := checks[name]
		if v := statusVerdict(c.Status); v != fine {
			facts = append(facts, fact{"", s.mark(v, clean(name)) + "  " + clean(cmp.Or(c.Error, c.Status))})
		}
	}
	facts[0].text = fmt.Sprintf("%d of %d healthy", len(checks)-len(facts)+1, len(checks))
	if len(facts) == 1 {
		facts[0].text = s.mark(fine, facts[0].text)
	}
	return facts
}

// breakerFacts are how many breakers are in which state, and a line for each
// that is not closed.
func (s *screen) breakerFacts(all api.Breakers) []fact {
	if len(all) == 0 {
		return []fact{{"breakers", s.muted.Render("none registered")}}
	}
	states := map[api.State]int{}
	facts := []fact{{"breakers", ""}}
	for _, b := range worstFirst(all) {
		states[b.State]++
		if b.State == api.StateClosed {
			continue
		}
		text := s.mark(stateVerdict(b.State), clean(b.Name))
		if b.Since != nil && !b.Since.IsZero() {
			text += "  for " + age(s.Now.Sub(b.Since.Time))
		}
		if next := s.breakerNext(b); next != "" {
			text += "  " + s.muted.Render(next)
		}
		facts = append(facts, fact{"", text})
	}
	facts[0].text = s.breakerCounts(states)
	return facts
}

func (s *screen) traceFacts(t *api.TraceOverview) []fact {
	if t == nil {
		return nil
	}
	text := count(int64(t.Active)) + " active"
	if t.Kept != nil {
		text += "  " + count(t.Kept.Value()) + " kept"
	}
	if t.Failed != nil && *t.Failed > 0 {
		text += "  " + s.bad.Render("✗ "+count(t.Failed.Value())+" failed")
	}
	facts := []fact{{"traces", text}}
	if t.Slowest != nil {
		facts = append(facts, fact{"slowest", s.traceFact(t.Slowest)})
	}
	if t.Error != nil {
		facts = append(facts, fact{"last error", s.traceFact(t.Error)})
	}
	return facts
}

func (s *screen) traceFact(t *api.Trace) string {
	took := "running"
	if t.Duration != nil {
		took = duration(t.Duration.Duration())
	}
	text := fmt.Sprintf("%s  %s  %s", took, clean(t.Root), s.muted.Render(shortTraceID(t.TraceID, 8)))
	if !t.StartTime.IsZero() {
		text += s.muted.Render("  " + age(s.Now.Sub(t.StartTime.Time)) + " ago")
	}
	return text
}

func (s *screen) profilingFact(p *api.ProfilingStats) string {
	mode := cmp.Or(p.Mode, map[bool]string{true: "on", false: "off"}[p.ProfilerEnabled])
	text := fmt.Sprintf("%s  %s kept", clean(mode), count(int64(p.CompletedProfiles)))
	if p.ActiveProfiles > 0 {
		text += fmt.Sprintf("  %s being taken", count(int64(p.ActiveProfiles)))
	}
	if p.Overhead != nil {
		text += "  overhead " + share(*p.Overhead)
	}
	if p.EnabledUntil != nil && !p.EnabledUntil.IsZero() {
		text += "  until " + s.time(p.EnabledUntil.Time)
	}
	return text
}

func (s *screen) cacheFacts(c *api.CacheStatus) []fact {
	if c == nil {
		return nil
	}
	m := c.Memory.Stats
	facts := []fact{{"memory cache", fmt.Sprintf("%s  %s entries  %s", s.mark(statusVerdict(c.Memory.Status), clean(c.Memory.Status)),
		count(int64(m.Size)), hitWord(m.HitRate, int64(m.Hits+m.Misses)))}}
	if c.Redis.Status == api.Disabled {
		return facts
	}
	text := fmt.Sprintf("%s  %s", s.mark(statusVerdict(c.Redis.Status), clean(c.Redis.Status)),
		hitWord(c.Redis.Stats.HitRate, int64(c.Redis.Stats.CacheHits+c.Redis.Stats.CacheMisses)))
	if why := cmp.Or(c.Redis.Reason, c.Redis.Stats.LastError); why != "" {
		text += "  " + clean(why)
	}
	return append(facts, fact{"redis cache", text})
}

func hitWord(rate float64, asked int64) string {
	if asked == 0 {
		return "not asked yet"
	}
	return fmt.Sprintf("%s hits of %s", share(rate), count(asked))
}

func (s *screen) processFact(v *api.System) string {
	text := fmt.Sprintf("cpu %.1f%%  memory %s", v.Process.CPUPercent, size(int64(v.Process.MemoryRSS)))
	if v.Process.Goroutines != nil {
		text += fmt.Sprintf("  %s goroutines", count(v.Process.Goroutines.Value()))
	}
	return text
}
