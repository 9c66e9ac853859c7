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

// Status draws each server at a glance, and what to type next.
func Status(w io.Writer, rs []api.Result[api.Overview], o Options) error {
	s := newScreen(w, o)
	for i, r := range rs {
		if i > 0 {
			s.line()
		}
		if r.Error != nil {
			s.heading(instance(r.Instance), s.bad.Render("✗ no answer"))
			s.failed("", r.Error)
			continue
		}
		s.overview(r.Instance, r.Value)
	}
	return s.flush()
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
	if next := nextCommand(v); next != "" {
		s.line()
		s.line(s.muted.Render("next  "), next)
	}
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

// nextCommand is what an operator would type now, "" where nothing is wrong.
func nextCommand(v api.Overview) string {
	for _, b := range worstFirst(v.Breakers) {
		if b.State != api.StateClosed {
			return "pulsectl breakers show " + clean(b.Name)
		}
	}
	switch {
	case v.Health.Status != "" && v.Health.Status != api.Healthy:
		return "pulsectl health"
	case v.Traces != nil && v.Traces.Error != nil:
		return "pulsectl traces show " + shortTraceID(v.Traces.Error.TraceID, 8)
	}
	return ""
}
