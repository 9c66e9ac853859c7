package live

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/internal/scrape"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// orders are by what the rows of a view can be sorted, the first by itself.
var orders = map[int][]string{
	viewBreakers:  {"worst", "name", "failure rate", "calls"},
	viewTraces:    {"newest", "slowest"},
	viewFunctions: {"own", "with callees"},
	viewRoutes:    {"rate", "errors", "p95", "p99", "name"},
}

// order is the one that the view has now, "" where there is but one.
func (t *Top) order() string {
	if all := orders[t.view.View]; len(all) > 0 {
		return all[t.orders[t.view.View]%len(all)]
	}
	return ""
}

// arrange makes the sections of the view of what is known.
func (t *Top) arrange() {
	v := &t.view
	v.Order = t.order()
	v.Health = map[string]int{}
	for i := range t.members {
		m := &t.members[i]
		status := m.health
		if m.silent() != nil {
			status = ""
		} else if status == "" {
			continue // not known yet
		}
		v.Health[status]++
	}
	at, before := v.Selected, t.identity(t.selected())
	switch v.View {
	case viewBreakers:
		v.Sections = t.breakerSections()
	case viewTraces:
		v.Sections = t.traceSections()
	case viewFunctions:
		v.Sections = t.functionSections()
	case viewCaches:
		v.Sections = []render.DashSection{t.cacheSection()}
	case viewAlerts:
		v.Sections = []render.DashSection{t.alertSection()}
	case viewRoutes:
		v.Sections = []render.DashSection{t.routeSection()}
	default:
		v.Sections = t.overviewSections()
	}
	t.narrow()
	t.follow(at, before)
}

// follow keeps the selection on what it was on, wherever that went. On the first
// row it stays there: who has not moved sees what comes.
func (t *Top) follow(at int, before string) {
	if at == 0 || before == "" {
		return
	}
	n := 0
	for i := range t.view.Sections {
		for j := range t.view.Sections[i].Rows {
			if t.identity(&t.view.Sections[i].Rows[j]) == before {
				t.view.Selected = n
				return
			}
			n++
		}
	}
}

// identity tells a row from the others of its view.
func (t *Top) identity(r *render.DashRow) string {
	switch {
	case r == nil:
		return ""
	case r.Breaker != nil:
		return r.Instance + " breaker " + r.Breaker.Name
	case r.Trace != nil:
		return r.Instance + " trace " + r.Trace.TraceID
	case r.Slow != nil:
		return r.Instance + " slow " + r.Slow.ProfileID
	case r.Event != nil:
		return fmt.Sprintf("%s event %s %d %p", r.Instance, r.Event.Kind, r.Event.Time.UnixNano(), r.Event)
	case r.Function != nil:
		return r.Instance + " function " + r.Function.Function
	case r.Cache != nil:
		return fmt.Sprint(r.Instance, " cache ", r.Cache.Redis)
	case r.Alert != nil:
		return r.Instance + " alert " + render.AlertText(r.Alert)
	case r.Trend != nil:
		return r.Instance + " trend " + r.Trend.Name
	case r.Route != nil:
		return r.Instance + " route " + r.Route.Method + " " + r.Route.Endpoint
	}
	return r.Instance
}

// narrow leaves the rows that the filter finds.
func (t *Top) narrow() {
	want := strings.ToLower(t.view.Filter)
	if want == "" {
		return
	}
	for i := range t.view.Sections {
		sec := &t.view.Sections[i]
		all := len(sec.Rows)
		rows := make([]render.DashRow, 0, all)
		for j := range sec.Rows {
			if strings.Contains(strings.ToLower(text(&sec.Rows[j])), want) {
				rows = append(rows, sec.Rows[j])
			}
		}
		if sec.Rows = rows; len(rows) < all {
			sec.Note = strings.TrimSpace(fmt.Sprintf("%s  %d of %d rows", sec.Note, len(rows), all))
		}
	}
}

// text is what the filter looks at.
func text(r *render.DashRow) string {
	parts := []string{r.Instance}
	switch {
	case r.Error != nil:
		parts = append(parts, r.Error.Error())
	case r.Server != nil:
		parts = append(append(parts, r.Server.Health, r.Server.Failed), r.Server.Ill...)
	case r.Breaker != nil:
		parts = append(parts, r.Breaker.Name, string(r.Breaker.State), string(r.Breaker.Mode))
	case r.Trace != nil:
		parts = append(parts, traceText(r.Trace)...)
	case r.Slow != nil:
		parts = append(parts, r.Slow.ProfileID, r.Slow.OperationName, r.Slow.TraceID)
	case r.Event != nil:
		parts = append(parts, eventText(r.Event)...)
	case r.Function != nil:
		parts = append(parts, r.Function.Function)
	case r.Cache != nil:
		parts = append(parts, map[bool]string{true: "redis", false: "memory"}[r.Cache.Redis])
	case r.Alert != nil:
		parts = append(parts, render.AlertText(r.Alert))
	case r.Trend != nil:
		parts = append(parts, r.Trend.Name)
	case r.Route != nil:
		parts = append(parts, r.Route.Method+" "+r.Route.Endpoint)
	}
	return strings.Join(parts, "\n")
}

func traceText(t *api.Trace) []string {
	return []string{t.TraceID, t.Root, t.Service, string(t.Status)}
}

func eventText(e *api.Event) []string {
	parts := []string{e.Kind}
	switch {
	case e.Breaker != nil:
		parts = append(parts, e.Breaker.Name, string(e.Breaker.To), e.Breaker.Reason, e.Breaker.Actor)
	case e.Trace != nil:
		parts = append(parts, traceText(e.Trace)...)
	case e.Slow != nil:
		parts = append(parts, e.Slow.ProfileID, e.Slow.OperationName, e.Slow.TraceID)
	case e.Health != nil:
		parts = append(append(parts, e.Health.To), render.Ill(e.Health.Ill)...)
	case e.Alert != nil:
		parts = append(parts, e.Alert.Rule, e.Alert.State)
	case e.Audit != nil:
		parts = append(parts, e.Audit.Actor, e.Audit.Action, e.Audit.Target, e.Audit.Reason)
	}
	return parts
}

func (t *Top) overviewSections() []render.DashSection {
	servers := render.DashSection{Title: "Servers", Kind: render.DashServers}
	broken := render.DashSection{Title: "Breakers not closed", Kind: render.DashBreakers}
	slow := render.DashSection{Title: "Slow requests now", Kind: render.DashSlows}
	breakers := 0
	for i := range t.members {
		m := &t.members[i]
		servers.Rows = append(servers.Rows, render.DashRow{Instance: m.instance, Server: m.row()})
		breakers += len(m.breakers)
		for _, b := range m.sorted("worst") {
			if b.State == api.StateClosed {
				break // they come last
			}
			broken.Rows = append(broken.Rows, render.DashRow{Instance: m.instance, Breaker: b})
		}
		for _, p := range m.slowNow() {
			slow.Rows = append(slow.Rows, render.DashRow{Instance: m.instance, Slow: &p})
		}
	}
	sections := []render.DashSection{servers}
	if m := &t.members[0]; len(t.members) == 1 && len(m.perSec) > 1 {
		servers.Rows[0].Server.Rates, servers.Rows[0].Server.P95 = nil, nil // they have rows of their own
		trend := func(name, unit string, values []float64) render.DashRow {
			return render.DashRow{Instance: m.instance, Trend: &render.DashTrend{Name: name, Unit: unit, Values: values}}
		}
		sections = append(sections, render.DashSection{Title: "This session", Kind: render.DashTrends, Rows: []render.DashRow{
			trend("requests", "", m.perSec), trend("p95", "seconds", m.p95),
		}})
	}
	broken.Note = fmt.Sprintf("%d of %s", len(broken.Rows), render.Plural(breakers, "breaker"))
	if breakers == 0 {
		broken.Note = "none known"
	}
	if len(slow.Rows) == 0 {
		slow.Note = "none"
	}
	happened := render.DashSection{Title: "Last events", Kind: render.DashEvents, Rows: slices.Clone(t.events)}
	if len(t.events) == 0 {
		happened.Note = "none yet"
	}
	return append(sections, broken, slow, happened)
}

func (t *Top) breakerSections() []render.DashSection {
	sec := render.DashSection{Title: "Circuit breakers", Kind: render.DashBreakers}
	states := map[api.State]int{}
	for i := range t.members {
		m := &t.members[i]
		sec.Rows = append(sec.Rows, m.missing(PartBreakers)...)
		for st, n := range m.counted {
			states[st] += n
		}
		for _, b := range m.sorted(t.order()) {
			sec.Rows = append(sec.Rows, render.DashRow{Instance: m.instance, Breaker: b})
		}
	}
	sec.Note = cmp.Or(render.DashBreakersNote(states), "none registered")
	return []render.DashSection{sec}
}

// badness is the order of states, the worst first.
var badness = map[api.State]int{api.StateClosed: 2, api.StateHalfOpen: 1}

// sorted are the breakers in an order. It is kept until there are others: they
// may be ten thousand.
func (m *member) sorted(by string) []*api.Breaker {
	if m.inOrder != nil && m.orderedBy == by {
		return m.inOrder
	}
	out := make([]*api.Breaker, 0, len(m.breakers))
	for _, b := range m.breakers {
		out = append(out, &b)
	}
	slices.SortFunc(out, func(a, b *api.Breaker) int {
		first := 0
		switch by {
		case "worst":
			first = cmp.Or(cmp.Compare(badness[a.State], badness[b.State]), cmp.Compare(b.Stats.FailureRate, a.Stats.FailureRate))
		case "failure rate":
			first = cmp.Compare(b.Stats.FailureRate, a.Stats.FailureRate)
		case "calls":
			first = cmp.Compare(b.Stats.TotalRequests, a.Stats.TotalRequests)
		}
		return cmp.Or(first, cmp.Compare(a.Name, b.Name))
	})
	m.inOrder, m.orderedBy = out, by
	return out
}

func (t *Top) routeSection() render.DashSection {
	sec := render.DashSection{Title: "Routes", Kind: render.DashRoutes}
	idle, looked := 0, false
	for i := range t.members {
		m := &t.members[i]
		sec.Rows = append(sec.Rows, m.missing(PartRates)...)
		looked = looked || m.rates.Total.Interval > 0
		idle += m.rates.Idle
		rs := slices.Clone(m.rates.Routes)
		scrape.SortRoutes(rs, t.order())
		for j := range rs {
			sec.Rows = append(sec.Rows, render.DashRow{Instance: m.instance, Route: &rs[j]})
		}
	}
	switch {
	case !looked:
		sec.Note = "a rate needs two looks"
	case idle > 0:
		sec.Note = fmt.Sprintf("%d idle", idle)
	}
	return sec
}
