package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// DashKind is what the rows of a section are.
type DashKind int

// The kinds of rows.
const (
	DashServers DashKind = iota
	DashBreakers
	DashTraces
	DashSlows
	DashEvents
	DashFunctions
	DashCaches
	DashAlerts
	DashRoutes
	DashTrends
)

// DashServer is a server at a glance.
type DashServer struct {
	Health   string // "" before it is known
	Ill      []string
	Total    *api.RouteRate // nil before two looks
	InFlight *api.Float
	Rates    []float64 // requests a second since the session began, oldest first; negative where there was no answer
	P95      []float64 // seconds, beside them; negative where nothing was timed
	Breakers map[api.State]int
	Slow     int       // requests, now
	Failed   string    // why it gives no answer; "" if it does
	Since    time.Time // of the last one; zero if there was none
	Deaf     string    // why what happens is not told as it happens; "" if it is
}

// DashFunction is a function of the profile that a section is about.
type DashFunction struct {
	api.TopEntry
	Unit      string
	Most      int64   // the largest value of all rows
	Sum       float64 // the share of it and of those before it
	Cum       bool    // sorted by the value with callees
	ProfileID string
}

// DashTrend is how a value has been since the session began, oldest first;
// negative where it was not known.
type DashTrend struct {
	Name, Unit string // "seconds", or "" for a number a second
	Values     []float64
}

// DashCache is one tier of a cache, beside the look before.
type DashCache struct {
	Now, Before api.CacheStatus
	Known       bool // there was a look before
	Redis       bool // that tier; else the memory's
}

// dashKinds says how the rows of a kind are drawn.
var dashKinds = map[DashKind]struct {
	columns func() []column
	row     func(*screen, *DashSection, *DashRow) []string
	named   bool // a row, or the section's title, says whose it is
}{
	DashServers:   {serverColumns, (*screen).serverRow, true},
	DashBreakers:  {breakerColumns, func(s *screen, _ *DashSection, r *DashRow) []string { return s.breakerRow(*r.Breaker) }, false},
	DashTraces:    {traceColumns, func(s *screen, _ *DashSection, r *DashRow) []string { return s.traceRow(r.Trace, 8) }, false},
	DashSlows:     {slowColumns, (*screen).slowRow, false},
	DashEvents:    {eventColumns, (*screen).happened, false},
	DashFunctions: {topColumns, (*screen).functionRow, true},
	DashCaches:    {cacheColumns, (*screen).cacheRow, false},
	DashAlerts:    {alertColumns, func(s *screen, _ *DashSection, r *DashRow) []string { return s.ruleRows(*r.Alert)[0] }, false},
	DashRoutes:    {routeColumns, func(s *screen, _ *DashSection, r *DashRow) []string { return s.routeRow(r.Route) }, false},
	DashTrends:    {trendColumns, (*screen).trendRow, true},
}

func serverColumns() []column {
	return []column{
		{name: "INSTANCE", flex: true}, {name: "HEALTH"}, {name: "REQ/S", right: true, drop: 2}, {name: "TREND", drop: 8}, {name: "ERRORS", right: true, drop: 3},
		{name: "P95", right: true, drop: 4}, {name: "P95 TREND", drop: 7}, {name: "IN FLIGHT", right: true, drop: 9},
		{name: "BREAKERS", drop: 6}, {name: "SLOW", right: true, drop: 5}, {name: "NOTE", flex: true, tail: true, drop: 1},
	}
}

func (s *screen) serverRow(_ *DashSection, r *DashRow) []string {
	v := r.Server
	health := s.muted.Render("– asking")
	switch {
	case v.Failed != "":
		health = s.mark(broken, "no answer")
	case v.Health != "":
		health = s.mark(statusVerdict(v.Health), clean(v.Health))
	}
	rate, failed, p95, inFlight, slow := "–", "–", "–", "–", "–"
	if t := v.Total; t != nil {
		rate = digits(float64(t.Rate))
		if t.Errors > 0 {
			failed = s.bad.Render(share(float64(t.ErrorRate)))
		}
		if t.P95 != nil {
			p95 = quantity(float64(*t.P95), "seconds")
		}
	}
	if v.InFlight != nil {
		inFlight = number(float64(*v.InFlight))
	}
	if v.Slow > 0 {
		slow = s.warn.Render(count(int64(v.Slow)))
	}
	return []string{
		instance(r.Instance), health, rate, s.session(v.Rates, s.accent), failed, p95, s.session(v.P95, s.warn), inFlight,
		s.breakerMarks(v.Breakers), slow, s.serverNote(v),
	}
}

// session draws what was since the session began.
func (s *screen) session(vs []float64, style lipgloss.Style) string {
	if len(vs) < 2 {
		return ""
	}
	n := trendCells
	if s.Width >= 180 {
		n = 2 * trendCells
	}
	if len(vs) < n {
		return blanks(n-len(vs)) + s.spark(vs, style)
	}
	return s.spark(resample(vs, n), style)
}

func trendColumns() []column {
	return []column{{name: "WHAT"}, {name: "NOW", right: true}, {name: "MOST", right: true}, {name: "TREND", drop: 1}}
}

// trendRow is a sparkline as wide as the screen has room for.
func (s *screen) trendRow(_ *DashSection, r *DashRow) []string {
	t := r.Trend
	now, most := -1.0, -1.0
	for _, v := range t.Values {
		now, most = v, max(most, v)
	}
	text := func(v float64) string {
		switch {
		case v < 0:
			return "–"
		case t.Unit == "":
			return perSecond(v, "")
		}
		return quantity(v, t.Unit)
	}
	n := min(max(s.Width-36, trendCells), 120, len(t.Values))
	style := s.accent
	if t.Unit != "" {
		style = s.warn
	}
	return []string{t.Name, text(now), text(most), s.spark(resample(t.Values, n), style)}
}

// breakerMarks counts breakers by their marks.
func (s *screen) breakerMarks(states map[api.State]int) string {
	var parts []string
	for _, st := range []api.State{api.StateOpen, api.StateHalfOpen, api.StateClosed} {
		if n := states[st]; n > 0 {
			parts = append(parts, s.mark(stateVerdict(st), count(int64(n))))
		}
	}
	if len(parts) == 0 {
		return "–"
	}
	return strings.Join(parts, " ")
}

func (s *screen) serverNote(v *DashServer) string {
	switch {
	case v.Failed != "" && v.Since.IsZero():
		return s.bad.Render(clean(v.Failed))
	case v.Failed != "":
		return s.bad.Render("as of "+age(s.Now.Sub(v.Since))+" ago: ") + clean(v.Failed)
	case len(v.Ill) > 0:
		return s.warn.Render(clean(strings.Join(v.Ill, ", ")))
	case v.Deaf != "":
		return s.muted.Render(clean(v.Deaf))
	}
	return ""
}

func slowColumns() []column {
	return []column{
		{name: "PROFILE", drop: 2}, {name: "STATE"}, {name: "OPERATION", flex: true}, {name: "TOOK", right: true}, {name: "TRACE", drop: 3}, {name: "WHY", drop: 4},
	}
}

func (s *screen) slowRow(_ *DashSection, r *DashRow) []string {
	p := r.Slow
	state, took := s.mark(fine, "done"), p.Duration.Duration()
	if p.State == "active" {
		state = s.mark(between, "running")
		if p.StartTime != nil {
			took = max(s.Now.Sub(p.StartTime.Time), took)
		}
	}
	return []string{shortID(p.ProfileID, 8), state, clean(p.OperationName), duration(took), s.muted.Render(shortTraceID(p.TraceID, 8)), clean(p.Trigger)}
}

func eventColumns() []column {
	return []column{{name: "TIME"}, {name: "EVENT", drop: 1}, {name: "WHAT", flex: true, tail: true}}
}

// happened is an event on one line.
func (s *screen) happened(_ *DashSection, r *DashRow) []string {
	e := r.Event
	kind, what := s.muted.Render(clean(e.Kind)), ""
	switch {
	case e.Breaker != nil:
		b := e.Breaker
		what = clean(b.Name) + "  " + s.stateIn(b.To, b.Mode) + s.muted.Render("  "+s.eventWhy(*b))
	case e.Trace != nil:
		t := s.traceRow(e.Trace, 8)
		what = t[1] + "  " + t[2] + "  " + t[4] + "  " + s.muted.Render(t[0])
	case e.Slow != nil:
		p := s.slowRow(nil, &DashRow{Slow: e.Slow})
		what = p[1] + "  " + p[2] + "  " + p[3] + "  " + s.muted.Render(p[0])
	case e.Health != nil:
		what = s.mark(statusVerdict(e.Health.To), clean(e.Health.To)) + s.muted.Render("  "+clean(strings.Join(Ill(e.Health.Ill), ", ")))
	case e.Alert != nil:
		what = clean(e.Alert.Rule) + "  " + s.alertState(e.Alert.State) + s.muted.Render("  "+clean(e.Alert.Group))
	case e.Audit != nil:
		what = clean(e.Audit.Actor) + "  " + clean(e.Audit.Action) + " " + clean(e.Audit.Target) + s.muted.Render("  "+clean(e.Audit.Reason))
	}
	if e.Lost > 0 {
		what = s.warn.Render(count(int64(e.Lost))+" lost before") + "  " + what
	}
	return []string{s.clock(e.Time.Time), kind, what}
}

// Ill lists what is not well, by name.
func Ill(all map[string]string) []string {
	names := slices.Sorted(maps.Keys(all))
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %s", name, all[name])
	}
	return names
}

func (s *screen) functionRow(_ *DashSection, r *DashRow) []string {
	f := r.Function
	return s.topRow(f.TopEntry, f.Unit, f.Most, f.Sum, f.Cum)
}

func (s *screen) cacheRow(_ *DashSection, r *DashRow) []string {
	c := r.Cache
	if c.Redis {
		return s.redisRow(c.Now.Redis, c.Before.Redis, c.Known)
	}
	return s.memoryRow(c.Now.Memory, c.Before.Memory, c.Known)
}

// DashFunctionsTitle says which profile functions are of.
func DashFunctionsTitle(where string, t api.ProfileTop, cum bool) (title, note string) {
	if where != "" {
		where = instance(where)
	}
	return titled(topTitle(t, cum), where), topScope(t)
}

// DashBreakersNote counts breakers by their states.
func DashBreakersNote(states map[api.State]int) string {
	var parts []string
	for _, st := range []api.State{api.StateOpen, api.StateHalfOpen, api.StateClosed} {
		if n := states[st]; n > 0 {
			parts = append(parts, count(int64(n))+" "+stateWord(st))
		}
	}
	return strings.Join(parts, ", ")
}
