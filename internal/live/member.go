package live

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/pulsectl/pulsectl/internal/scrape"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// member is what is known of one server.
type member struct {
	Server
	instance string
	answered time.Time           // last
	failed   map[Part]*api.Error // what it does not tell now, and why

	index     *api.Index
	health    string
	ill       []string
	breakers  api.Breakers
	inOrder   []*api.Breaker // those, sorted by orderedBy; nil until they are needed
	orderedBy string
	counted   map[api.State]int // those, by state
	running   []api.Trace
	slow      []api.Profile // running, or just done; the newest first
	rates     api.RouteRates
	trends    scrape.Trends
	perSec    []float64 // since the session began; see render.DashServer
	p95       []float64
	top       *api.ProfileTop
	caches    [2]*api.CacheStatus // the last look and the one before
	alerts    []api.Rule          // with one alert at most each; nil until they are known
}

func newMember(s Server) member {
	return member{Server: s, instance: s.Client.Instance(), failed: map[Part]*api.Error{}}
}

// told takes one part.
func (m *member) told(n *News, now time.Time) {
	if n.Error != nil {
		m.failed[n.Part] = n.Error
		if n.Part == PartRates {
			m.looked(-1, -1)
		}
		return
	}
	delete(m.failed, n.Part)
	if n.Part == PartStream {
		m.slow = nil // which of them have ended meanwhile was missed; it tells those that run
	}
	m.answered = now
	switch v := n.Value.(type) {
	case api.Index:
		m.index = &v
	case api.Health:
		m.verdict(v.Status, illOf(v))
	case api.Breakers:
		m.breakers, m.inOrder, m.counted = v, nil, map[api.State]int{}
		for _, b := range v {
			m.counted[b.State]++
		}
	case api.TraceList:
		if n.Part == PartRunning {
			for i := range v.Traces {
				trimTrace(&v.Traces[i])
			}
			m.running = v.Traces
		}
	case api.RouteRates:
		m.rated(v)
	case api.ProfileTop:
		m.top = &v
	case api.AlertRules:
		m.alerted(v)
	case api.CacheStatus:
		m.caches = [2]*api.CacheStatus{&v, m.caches[0]}
	}
}

// verdict is how the server says it is.
func (m *member) verdict(status string, ill map[string]string) {
	m.health, m.ill = status, render.Ill(ill)
}

func illOf(h api.Health) map[string]string {
	ill := map[string]string{}
	for name, c := range h.Checks {
		if c.Status != api.Healthy && c.Status != api.Disabled && c.Status != "" {
			ill["check/"+name] = c.Status
		}
	}
	return ill
}

func (m *member) rated(v api.RouteRates) {
	m.rates = v
	if v.Total.Interval <= 0 {
		return // the first look
	}
	for i := range v.Routes {
		r := &v.Routes[i]
		r.RecentRates = m.trends.Add(r.Method+" "+r.Endpoint, r.Rate)
	}
	m.trends.End()
	p95 := -1.0
	if v.Total.P95 != nil {
		p95 = float64(*v.Total.P95)
	}
	m.looked(float64(v.Total.Rate), p95)
}

// mostLooks is how many looks a session keeps at full resolution.
const mostLooks = 1200

// looked adds a look to what was since the session began. Where there are too
// many, each two become one that has the larger value.
func (m *member) looked(perSecond, p95 float64) {
	if m.rates.Total.Interval <= 0 {
		return
	}
	m.perSec, m.p95 = halved(append(m.perSec, perSecond)), halved(append(m.p95, p95))
}

func halved(vs []float64) []float64 {
	if len(vs) < mostLooks {
		return vs
	}
	for i := range len(vs) / 2 {
		vs[i] = max(vs[2*i], vs[2*i+1])
	}
	return vs[:len(vs)/2]
}

// mostAlerts is how many alerts are kept of a server.
const mostAlerts = 500

// alerted keeps the rules that can fire, one for each alert.
func (m *member) alerted(v api.AlertRules) {
	m.alerts = []api.Rule{}
	for _, r := range render.AlertingRules(v) {
		of := r.Alerts
		r.Alerts = nil
		if len(of) == 0 || r.Health == api.RuleErr {
			m.alerts = append(m.alerts, r)
		}
		r.Health = api.RuleOK
		for i := range of {
			r.Alerts = of[i : i+1]
			m.alerts = append(m.alerts, r)
		}
	}
	m.alerts = m.alerts[:min(len(m.alerts), mostAlerts)]
}

// mostSlow is how many slow requests are kept of a server.
const mostSlow = 100

// slowed keeps a slow request in the place of what was known of it.
func (m *member) slowed(p *api.Profile) {
	m.slow = slices.DeleteFunc(m.slow, func(q api.Profile) bool { return q.ProfileID == p.ProfileID })
	m.slow = slices.Insert(m.slow, 0, *p)
	m.slow = m.slow[:min(len(m.slow), mostSlow)]
}

// slowNow are the slow requests that still run, the longest running first. Of a
// server that gives no answer nobody knows.
func (m *member) slowNow() (out []api.Profile) {
	if m.silent() != nil {
		return nil
	}
	for _, p := range m.slow {
		if p.State == "active" {
			out = append(out, p)
		}
	}
	slices.Reverse(out)
	return out
}

// silent says why the server gives no answer, nil if it does: of the parts that
// every server has, none came.
func (m *member) silent() *api.Error {
	for _, p := range []Part{PartBreakers, PartIndex, PartRates} {
		if e := m.failed[p]; e != nil && e.Status != http.StatusNotFound && e.Status != http.StatusForbidden {
			return e
		}
	}
	return nil
}

// row is the server at a glance.
func (m *member) row() *render.DashServer {
	s := &render.DashServer{
		Health: m.health, Ill: m.ill, InFlight: m.rates.InFlight, Rates: m.perSec, P95: m.p95, Breakers: m.counted, Slow: len(m.slowNow()), Since: m.answered,
	}
	if m.rates.Total.Interval > 0 {
		s.Total = &m.rates.Total
	}
	if e := m.silent(); e != nil {
		s.Failed, s.Total, s.InFlight = cmp.Or(e.Error(), "no answer"), nil, nil // those are of now or nothing
	} else if e := m.failed[PartStream]; e != nil {
		s.Deaf = "events: " + e.Error()
	}
	return s
}

// missing is the row of a server that does not tell a part, nil if it does.
func (m *member) missing(p Part) []render.DashRow {
	e := cmp.Or(m.failed[p], m.silent())
	if e == nil {
		return nil
	}
	return []render.DashRow{{Instance: m.instance, Error: e, Since: m.answered}}
}
