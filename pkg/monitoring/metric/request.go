package metric

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Unmatched is the endpoint of requests that no route matched.
const Unmatched = "unmatched"

// Request is one request that has ended.
type Request struct {
	Method      string // an unknown one counts as OTHER
	Status      int    // 0 means 200, as net/http has it
	Kind        string // of the error; "" means http_<status> where that is 400 or more
	Panic       string // the type of a recovered panic; it is the error's kind then
	Observation        // how long, when, in which trace
}

// Route is one route pattern's request metrics. Keep it to save the lookup.
type Route struct {
	m        *Metrics
	endpoint string
	full     bool // stands for all routes beyond the limit
	verbs    [len(methods)]atomic.Pointer[verb]
}

// verb is a route's requests of one method: a histogram for each status, whose
// count is that of the requests.
type verb struct {
	text     []byte                           // of the labels
	statuses atomic.Pointer[[]*requestSeries] // few, by status; replaced by a longer one
}

type requestSeries struct {
	status int
	values [3]string // as descRequests has them
	text   []byte
	*histogram
}

// routes finds routes by pattern. They are of a closed set, the program's own,
// so they stay.
type routes struct {
	limited
	byName table[string, *Route]
	beyond *Route
	closed atomic.Bool // no more routes
	full   atomic.Bool // no more series
	mu     sync.Mutex
	all    roster[*Route] // guarded by mu
	total  int            // series of all routes; guarded by mu
}

func (rs *routes) init(m *Metrics, limit int) {
	rs.desc, rs.limit = descRequests, limit
	rs.byName.init()
	rs.beyond = &Route{m: m, endpoint: Unmatched, full: true}
	m.limited = append(m.limited, &rs.limited)
}

// Route returns the metrics of a route pattern as http.Request.Pattern has it;
// a method in the pattern is left out, for it has its own label. "" is
// [Unmatched].
func (m *Metrics) Route(pattern string) *Route {
	if r := m.routes.byName.find(pattern); r != nil {
		return r
	}
	return m.routes.add(m, pattern)
}

// add makes a route. Patterns that differ in their method alone share one.
func (rs *routes) add(m *Metrics, pattern string) *Route {
	endpoint := endpointOf(pattern)
	if rs.closed.Load() && rs.byName.find(endpoint) == nil {
		return rs.beyond
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r := rs.byName.find(pattern); r != nil {
		return r
	}
	r := rs.byName.find(endpoint)
	if r == nil {
		if len(rs.all.items) >= rs.limit {
			rs.closed.Store(true)
			return rs.beyond
		}
		r = &Route{m: m, endpoint: endpoint}
		rs.byName.add(endpoint, r)
		rs.all.add(r)
	}
	if len(pattern) <= maxLabel && rs.byName.used < 2*rs.limit && pattern != endpoint {
		rs.byName.add(strings.Clone(pattern), r)
	}
	return r
}

// endpointOf returns the label of a pattern: its path, host included.
func endpointOf(pattern string) string {
	_, path := CutMethod(pattern)
	if path == "" {
		return Unmatched
	}
	return strings.Clone(clean(path))
}

// CutMethod parts a pattern as [http.ServeMux] takes it from its method, which
// is "" for any. A word before a space is a method if it is one that is known,
// or if it looks like one and a path follows.
func CutMethod(pattern string) (method, path string) {
	i := strings.IndexAny(pattern, " \t")
	if i < 0 {
		return "", pattern
	}
	method, path = pattern[:i], strings.TrimLeft(pattern[i:], " \t")
	if methodIndex(method) == otherMethod && (!strings.Contains(path, "/") || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "") {
		return "", pattern
	}
	return method, path
}

// Endpoint returns the route's label: its pattern without a method, or
// [Unmatched].
func (r *Route) Endpoint() string { return r.endpoint }

// Begin counts a request as in flight until [Metrics.End].
func (m *Metrics) Begin() { m.active.Add(1) }

// End ends what [Metrics.Begin] began. The request itself is counted by
// [Route.Observe].
func (m *Metrics) End() { m.active.Add(-1) }

// Observe counts one ended request, its duration, and its error if it has one.
func (r *Route) Observe(q Request) {
	if q.Status == 0 {
		q.Status = 200
	}
	if q.Status < 100 || q.Status > 999 {
		q.Status = 999
	}
	method := methodIndex(q.Method)
	s := r.find(method, q.Status)
	if s == nil {
		r.m.routes.refused.Add(1)
		return
	}
	s.observe(&q.Observation)
	if q.Status >= 400 || q.Kind != "" || q.Panic != "" {
		r.fail(methods[method], &q)
	}
}

// fail counts a failed request once in the errors, by its most telling name.
func (r *Route) fail(method string, q *Request) {
	kind := q.Kind
	if q.Panic != "" {
		kind = q.Panic
		count(r.m.exceptions, labels{q.Panic, r.endpoint})
	}
	if kind == "" {
		kind = statusKind(q.Status)
	}
	count(r.m.errors, labels{method, r.endpoint, kind})
}

// statusKind returns http_<status>; for those that are usual without building it.
func statusKind(status int) string {
	const usual = "http_400http_401http_403http_404http_405http_409http_422http_429http_499http_500http_502http_503http_504"
	for i := 0; i < len(usual); i += 8 {
		if word := usual[i : i+8]; int(word[5]-'0')*100+int(word[6]-'0')*10+int(word[7]-'0') == status {
			return word
		}
	}
	return "http_" + strconv.Itoa(status)
}

func (r *Route) find(method uint8, status int) *requestSeries {
	if v := r.verbs[method].Load(); v != nil {
		for _, s := range *v.statuses.Load() {
			if s.status == status {
				return s
			}
		}
	}
	if r.full || r.m.routes.full.Load() {
		return nil
	}
	return r.add(method, status)
}

func (r *Route) add(method uint8, status int) *requestSeries {
	rs := &r.m.routes
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.total >= rs.limit {
		rs.full.Store(true)
		return nil
	}
	v := r.verbs[method].Load()
	if v == nil {
		v = &verb{text: descRequestDuration.appendLabels(nil, []string{methods[method], r.endpoint})}
		v.statuses.Store(&[]*requestSeries{})
	}
	old := *v.statuses.Load()
	i, ok := slices.BinarySearchFunc(old, status, func(s *requestSeries, status int) int { return cmp.Compare(s.status, status) })
	if ok {
		return old[i]
	}
	s := &requestSeries{status: status, values: [3]string{methods[method], r.endpoint, strconv.Itoa(status)}, histogram: newHistogram(requestScale)}
	s.text = descRequests.appendLabels(nil, s.values[:])
	longer := slices.Insert(slices.Clone(old), i, s)
	v.statuses.Store(&longer)
	r.verbs[method].Store(v)
	rs.total++
	return s
}

func (rs *routes) sorted() []*Route {
	return rs.all.sorted(&rs.mu, func(a, b *Route) int { return strings.Compare(a.endpoint, b.endpoint) })
}

// expose writes the count of each status, then one histogram a method.
func (rs *routes) expose(p *page) {
	all := rs.sorted()
	p.family(descRequests, func() {
		for s := range eachStatus(all) {
			p.counter(s.text, s.values[:], s.count(), s.created)
		}
	})
	p.family(descRequestDuration, func() {
		for _, r := range all {
			for method := range r.verbs {
				if v := r.verbs[method].Load(); v != nil {
					p.startHistogram()
					for _, s := range *v.statuses.Load() {
						p.addHistogram(s.histogram)
					}
					p.endHistogram(v.text, []string{methods[method], r.endpoint})
				}
			}
		}
	})
}

func eachStatus(all []*Route) func(yield func(*requestSeries) bool) {
	return func(yield func(*requestSeries) bool) {
		for _, r := range all {
			for method := range r.verbs {
				v := r.verbs[method].Load()
				if v == nil {
					continue
				}
				for _, s := range *v.statuses.Load() {
					if !yield(s) {
						return
					}
				}
			}
		}
	}
}

// methods are the label values of the method; the last is for all others.
var methods = [...]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "OTHER"}

const otherMethod = uint8(len(methods) - 1)

func methodIndex(method string) uint8 {
	for i, m := range methods {
		if m == method {
			return uint8(i)
		}
	}
	return otherMethod
}
