package tracing

import (
	"cmp"
	"slices"
	"time"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// summary is what a list shows of a trace. It is shared and not changed.
type summary struct {
	root, service string
	status        api.Status
	start, end    int64
	spans, errors int
	complete      bool
	services      []api.TraceService
	attrs         []otlp.KeyValue // of the root's resource
}

// member is a span of either kind, as the summary looks at it.
type member struct {
	id, parent SpanID
	start      int64
	outcome    outcome
	running    bool
	service    string
	name       string
	raw        string // its resource
}

// members calls f for each span, those that ended first.
func (r *record) members(local resource, f func(*member)) {
	for e := range r.spans.all {
		res := r.resources[e.resource]
		m := member{id: e.id, parent: e.parent, start: e.start, outcome: e.outcome, service: res.service, name: alias(r.name(e)), raw: res.raw.Value()}
		f(&m)
	}
	for i := range r.running {
		sp := &r.running[i]
		m := member{
			id: sp.SpanID, parent: sp.ParentID, start: nanos(sp.Start), outcome: sp.outcome, running: true,
			service: local.service, name: sp.Name, raw: local.raw.Value(),
		}
		f(&m)
	}
}

// summarize returns the trace's summary, kept until the trace changes. The
// record's mu is held.
func (s *Store) summarize(r *record) *summary {
	if r.sum != nil {
		return r.sum
	}
	sum := &summary{start: r.start, end: r.end, complete: true}
	ids := make(map[SpanID]struct{}, r.spans.n+r.open)
	r.members(s.resource, func(m *member) { ids[m.id] = struct{}{} })
	var root member
	var rank int
	worst := unset
	r.members(s.resource, func(m *member) {
		sum.count(m)
		worst = worse(worst, m.outcome)
		_, found := ids[m.parent]
		if m.parent.IsValid() && !found {
			sum.complete = false
		}
		if k := rootRank(m, found); k > rank || k == rank && m.start < root.start {
			root, rank = *m, k
		}
	})
	sum.root, sum.service = otlp.Text(root.name), root.service
	if res, err := otlp.DecodeResource([]byte(root.raw)); err == nil {
		sum.attrs = res.Attrs
	}
	sum.status = verdict(root.outcome, worst).status()
	if r.open > 0 {
		sum.status = api.StatusActive
	}
	slices.SortFunc(sum.services, func(a, b api.TraceService) int { return cmp.Compare(a.Name, b.Name) })
	r.sum = sum
	return sum
}

// rootRank orders what may be a trace's root: a span without a parent, then
// one whose parent is missing, then any.
func rootRank(m *member, parentFound bool) int {
	switch {
	case !m.parent.IsValid():
		return 3
	case !parentFound:
		return 2
	default:
		return 1
	}
}

func (sum *summary) count(m *member) {
	sum.spans++
	bad := api.Count(0)
	if m.outcome == failed || m.outcome == timedOut {
		sum.errors++
		bad = 1
	}
	for i := range sum.services {
		if sum.services[i].Name == m.service {
			sum.services[i].Spans++
			sum.services[i].Errors += bad
			return
		}
	}
	if len(sum.services) < maxServices {
		sum.services = append(sum.services, api.TraceService{Name: m.service, Spans: 1, Errors: bad})
	}
}

// maxServices bounds the summary of a trace of made-up services.
const maxServices = 256

// duration is the time between the first start and the last end, to now while
// a span runs.
func (sum *summary) duration(now time.Time) time.Duration {
	if sum.status == api.StatusActive {
		return time.Duration(now.UnixNano() - sum.start)
	}
	return time.Duration(max(sum.end-sum.start, 0))
}
