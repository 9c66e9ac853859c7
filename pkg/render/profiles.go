package render

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// ProfileRows is what [Profiles] draws of one instance.
type ProfileRows struct {
	Profiles []api.Profile
	Total    int64 // there are, shown or not
	Unseen   int64 // newer ones that the server does not list
}

// Profiles draws a table of profiles in the order they come.
func Profiles(w io.Writer, rs []api.Result[ProfileRows], o Options) error {
	s := newScreen(w, o)
	shown, total, active := 0, int64(0), 0
	var ids []string
	for _, r := range rs {
		shown, total = shown+len(r.Value.Profiles), total+r.Value.Total
		for _, p := range r.Value.Profiles {
			ids = append(ids, p.ProfileID)
			if p.State == "active" {
				active++
			}
		}
	}
	if !o.NoHeaders {
		verdict := count(total) + " profiles"
		if active > 0 {
			verdict = s.mark(between, fmt.Sprintf("%d active", active)) + "  " + verdict
		}
		s.heading("Profiles", verdict)
		s.line()
	}
	cols := []column{
		{name: "ID", flex: true}, {name: "TYPE", drop: 1}, {name: "OPERATION", flex: true}, {name: "TOOK", right: true},
		{name: "SAMPLES", right: true, drop: 3}, {name: "SIZE", right: true, drop: 6}, {name: "WHY", drop: 4},
		{name: "TRACE", drop: 5}, {name: "AGE", right: true, drop: 2},
	}
	n := uniquePrefix(ids)
	err := fleetTable(s, rs, cols, func(v ProfileRows) [][]string {
		var rows [][]string
		for _, p := range v.Profiles {
			rows = append(rows, s.profileRow(p, n))
		}
		return rows
	})
	if err != nil {
		return err
	}
	switch {
	case shown == 0 && answered(rs) > 0:
		s.line(s.muted.Render("No profile is kept."))
	case !o.NoHeaders && int64(shown) < total:
		s.line()
		s.line(s.muted.Render(wrap(s.Width, profilesLeftOut(int64(shown), total, rs)...)))
	}
	return s.flush()
}

// profilesLeftOut says how many profiles are not shown, and why.
func profilesLeftOut(shown, total int64, rs []api.Result[ProfileRows]) []string {
	unseen := int64(0)
	for _, r := range rs {
		unseen += r.Value.Unseen
	}
	parts := []string{count(shown) + " of " + count(total) + " profiles"}
	if shown+unseen < total {
		parts = append(parts, "--limit 50 shows more")
	}
	if unseen > 0 {
		parts = append(parts, "a Python server lists its oldest, "+count(unseen)+" newer ones remain unseen")
	}
	return parts
}

// uniquePrefix is how many characters tell ids apart, 8 at least.
func uniquePrefix(ids []string) int {
	sorted := slices.Compact(slices.Sorted(slices.Values(ids)))
	n := 8
	for i := 1; i < len(sorted); i++ { // the longest beginning that two share is one of neighbours
		a, b, same := sorted[i-1], sorted[i], 0
		for same < len(a) && a[same] == b[same] { // a is not b, and not longer where b begins with it
			same++
		}
		n = max(n, same+1)
	}
	return n
}

// shortID cuts an id of this project's servers to n characters, which suffice
// wherever an id is asked for. Others are kept whole.
func shortID(id string, n int) string {
	if strings.HasPrefix(id, "p_") && len(id) > n {
		id = id[:n]
	}
	return clean(id)
}

func (s *screen) profileRow(p api.Profile, n int) []string {
	samples, bytes, ago := "–", "–", "–"
	if p.Samples != nil {
		samples = count(p.Samples.Value())
	}
	if p.Size != nil {
		bytes = size(p.Size.Value())
	}
	if p.StartTime != nil {
		ago = age(s.Now.Sub(p.StartTime.Add(p.Duration.Duration())))
	}
	took := duration(p.Duration.Duration())
	if p.State == "active" {
		took, ago = s.warn.Render("◐ "+took), "now"
	}
	trace := p.TraceID
	return []string{
		shortID(p.ProfileID, n), clean(p.Type), clean(p.OperationName), took, samples, bytes, clean(p.Trigger),
		clean(trace[:min(len(trace), 8)]), ago,
	}
}

// Profile draws one profile: of an explained request where its time went, of
// others a summary. With all it has every stack of the explanation.
func Profile(w io.Writer, rs []api.Result[api.Profile], all bool, o Options) error {
	return screens(w, rs, o, func(s *screen, where string, p api.Profile) error {
		if err := s.profile(p, all); err != nil {
			return err
		}
		if where != "" {
			s.facts([]fact{{"instance", where}})
		}
		return nil
	})
}

func (s *screen) profile(p api.Profile, all bool) error {
	if p.Explanation != nil {
		return s.explained(p, all)
	}
	state := s.mark(fine, "done")
	if p.State == "active" {
		state = s.mark(between, "active")
	}
	s.heading("Profile "+shortID(p.ProfileID, 8)+"  "+clean(p.OperationName), state)
	s.line()
	s.facts(s.profileFacts(p))
	if len(p.TopFunctions) > 0 {
		if err := s.summaryFunctions(p); err != nil {
			return err
		}
	}
	if next := nextOf(p); len(next) > 0 {
		s.line()
		s.next(next...)
	}
	return nil
}

// summaryFunctions writes the functions that the summary itself names.
func (s *screen) summaryFunctions(p api.Profile) error {
	s.line()
	cols := []column{
		{name: "CALLS", right: true, drop: 2}, {name: "OWN", right: true}, {name: "TOTAL", right: true},
		{name: "FUNCTION", flex: true}, {name: "WHERE", drop: 1},
	}
	if p.Type != "" {
		cols[0].name = "SAMPLES"
	}
	fns := p.TopFunctions
	most := cmp.Or(s.Limit, 12)
	if most > 0 {
		fns = fns[:min(len(fns), most)]
	}
	var rows [][]string
	for _, f := range fns {
		where, name := splitFunction(f.FilenameFunction)
		rows = append(rows, []string{
			count(int64(f.NCalls)), timeOrNothing(f.TotTime), timeOrNothing(f.CumTime),
			clean(hotspot.ShortName(name)), s.muted.Render(clean(where)),
		})
	}
	if err := s.table(cols, rows); err != nil {
		return err
	}
	s.leftOut(len(fns), len(p.TopFunctions), "functions of the summary")
	return nil
}

func timeOrNothing(d api.Seconds) string {
	if d == 0 {
		return "–"
	}
	return duration(d.Duration())
}

// splitFunction takes "path/file.go:12(pkg.Func)" apart; of the path the file
// stays.
func splitFunction(s string) (where, name string) {
	where, name, ok := strings.Cut(s, "(")
	if !ok {
		return "", s
	}
	return where[strings.LastIndexByte(where, '/')+1:], strings.TrimSuffix(name, ")")
}

func (s *screen) profileFacts(p api.Profile) []fact {
	facts := []fact{{"id", clean(p.ProfileID)}}
	add := func(label, text string) {
		if text != "" {
			facts = append(facts, fact{label, text})
		}
	}
	add("type", clean(p.Type))
	took := duration(p.Duration.Duration())
	if p.StartTime != nil {
		took += ", since " + s.time(p.StartTime.Time)
	}
	add("took", took)
	if p.Samples != nil {
		add("samples", count(p.Samples.Value()))
	} else if p.Type == "" {
		add("calls", count(int64(p.TotalCalls)))
	}
	add("note", clean(p.Note))
	add("why", clean(p.Trigger))
	add("service", clean(p.Service))
	add("trace", clean(p.TraceID))
	for _, k := range slices.Sorted(maps.Keys(p.Labels)) {
		add(strings.ReplaceAll(clean(k), "_", " "), clean(p.Labels[k]))
	}
	for _, k := range checkpoints(p) {
		add("memory", size(int64(p.MemoryUsage[k]))+" at "+clean(k))
	}
	for _, k := range timings(p) {
		add("timing", duration(p.CustomTimings[k].Duration())+" "+clean(k))
	}
	if p.Size != nil {
		add("size", size(p.Size.Value()))
	}
	return facts
}

// ProfilingStats draws what profiling does and costs.
func ProfilingStats(w io.Writer, rs []api.Result[api.ProfilingStats], o Options) error {
	return screens(w, rs, o, func(s *screen, where string, st api.ProfilingStats) error {
		s.heading(titled("Profiling", where), s.profilingMode(st))
		s.line()
		s.facts(s.statsFacts(st))
		return nil
	})
}

func (s *screen) profilingMode(st api.ProfilingStats) string {
	mode := cmp.Or(clean(st.Mode), "off")
	if st.ProfilerEnabled {
		mode = "on"
	}
	if st.EnabledUntil != nil && !st.EnabledUntil.IsZero() {
		mode += " for " + age(st.EnabledUntil.Sub(s.Now)+time.Second-1)
	}
	if mode == "off" {
		return s.muted.Render(mode)
	}
	return s.mark(fine, mode)
}

func (s *screen) statsFacts(st api.ProfilingStats) []fact {
	facts := []fact{
		{"active", count(int64(st.ActiveProfiles))}, {"kept", count(int64(st.TotalProfiles))},
		{"completed", count(int64(st.CompletedProfiles))},
	}
	if st.AverageDuration > 0 {
		facts = append(facts, fact{"took", "on average " + duration(st.AverageDuration.Duration())})
	}
	if st.Bytes != nil {
		facts = append(facts, fact{"memory", size(st.Bytes.Value())})
	}
	if st.SlowThreshold != nil {
		facts = append(facts, fact{"slow from", duration(st.SlowThreshold.Duration())})
	}
	if st.Overhead != nil {
		facts = append(facts, fact{"overhead", fmt.Sprintf("%.2f%% of a core", 100**st.Overhead)})
	}
	for _, k := range slices.Sorted(maps.Keys(st.Dropped)) {
		facts = append(facts, fact{"dropped", count(int64(st.Dropped[k])) + " " + strings.ReplaceAll(clean(k), "_", " ")})
	}
	for _, list := range []struct {
		label string
		names []string
	}{{"captures", st.Types}, {"targets", st.Targets}} {
		if len(list.names) > 0 {
			facts = append(facts, fact{list.label, clean(strings.Join(list.names, ", "))})
		}
	}
	for _, n := range st.Notes {
		facts = append(facts, fact{"note", clean(n)})
	}
	return facts
}

// Done draws one line an instance about an action that was taken.
func Done[T any](w io.Writer, rs []api.Result[T], say func(T) string, o Options) error {
	s := newScreen(w, o)
	for _, r := range rs {
		where := ""
		if len(rs) > 1 {
			where = instance(r.Instance) + blanks(gutter)
		}
		switch {
		case r.Error == nil:
			s.line(where, clean(say(r.Value)))
		case where != "":
			s.failed(where, r.Error)
		}
	}
	return s.flush()
}
