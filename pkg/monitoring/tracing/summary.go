package tracing

import (
	"cmp"
	"slices"
	"time"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// outcomes are the statuses that outcomes stand for.
var outcomes = [...]api.Status{api.StatusOK, api.StatusOK, api.StatusError, api.StatusTimeout, api.StatusAborted}

func (o outcome) status() api.Status { return outcomes[o] }

// summary is what a list shows of a trace.
type summary struct {
	root, service string
	status        api.Status
	spans, errors int
	complete      bool
	services      []api.TraceService
	resource      []byte // of the root
}

// member is a span of either kind, as the summary looks at it.
type member struct {
	id, parent SpanID
	start      int64
	outcome    outcome
	service    string
	name       string
	resource   []byte
}

// members calls f for each span, those that ended first. What f is given is the
// same each time.
func (v *view) members(local resource, f func(*member)) {
	var m member
	for i := range v.spans {
		sp := &v.spans[i]
		m = member{sp.id, sp.parent, sp.start, sp.outcome, sp.from.service, sp.name, sp.from.resource}
		f(&m)
	}
	for i := range v.running {
		sp := &v.running[i]
		m = member{sp.SpanID, sp.ParentID, nanos(sp.Start), sp.outcome, local.service, sp.Name, local.raw}
		f(&m)
	}
}

func (v *view) summary(s *Store) summary {
	sum := summary{complete: !v.lost}
	here := v.here(s.resource)
	var root member
	var rank int
	worst, cut := v.worst, v.cut
	v.members(s.resource, func(m *member) {
		sum.count(m)
		worst, cut = worse(worst, m.outcome), cut || m.outcome == aborted
		found := !m.parent.IsValid() || here(m.parent)
		sum.complete = sum.complete && found
		if k := rootRank(m, found); k > rank || k == rank && (m.start < root.start || m.start == root.start && slices.Compare(m.id[:], root.id[:]) < 0) {
			root, rank = *m, k
		}
	})
	sum.root, sum.service, sum.resource = otlp.Text(clip(root.name, maxName)), otlp.Text(root.service), root.resource
	switch {
	case len(v.running) > 0:
		sum.status = api.StatusActive
	case rank == trueRoot:
		sum.status = verdict(root.outcome, worst).status()
	case worst == unset && cut:
		sum.status = api.StatusAborted
	default:
		sum.status = worst.status()
	}
	for i := range sum.services {
		sum.services[i].Name = otlp.Text(sum.services[i].Name)
	}
	slices.SortFunc(sum.services, func(a, b api.TraceService) int { return cmp.Compare(a.Name, b.Name) })
	return sum
}

// here returns a function that tells whether a span is in the view. Few spans
// it looks through, for many it makes a map.
func (v *view) here(local resource) func(SpanID) bool {
	if len(v.spans) <= manySpans && len(v.running) == 0 {
		return func(id SpanID) bool {
			return v.has(id)
		}
	}
	ids := make(map[SpanID]struct{}, len(v.spans)+len(v.running))
	v.members(local, func(m *member) { ids[m.id] = struct{}{} })
	return func(id SpanID) bool {
		_, found := ids[id]
		return found
	}
}

func (v *view) has(id SpanID) bool {
	for i := range v.spans {
		if v.spans[i].id == id {
			return true
		}
	}
	return false
}

// trueRoot is the rank of a span without a parent.
const trueRoot = 3

// rootRank orders what may be a trace's root: a span without a parent, then
// one whose parent is missing, then any.
func rootRank(m *member, parentFound bool) int {
	switch {
	case !m.parent.IsValid():
		return trueRoot
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
func (v *view) duration(now time.Time) time.Duration {
	if len(v.running) > 0 {
		return time.Duration(now.UnixNano() - v.start)
	}
	return time.Duration(max(v.end-v.start, 0))
}
