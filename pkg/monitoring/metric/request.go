package metric

import (
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
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
	series   atomic.Pointer[map[requestKey]*requestSeries]
}

type requestKey struct {
	method uint8 // index into methods
	status uint16
}

type requestSeries struct {
	pairs []*dto.LabelPair
	*histogram
}

// routes finds routes by pattern without a lock, as a family does its series.
type routes struct {
	info   *familyInfo
	byName atomic.Pointer[map[string]*Route]
	beyond *Route
	mu     sync.Mutex // held while a map is replaced
	total  int        // series of all routes; guarded by mu
}

func (rs *routes) init(m *Metrics, limit int) {
	rs.info = &familyInfo{described: descRequests, limit: limit}
	rs.byName.Store(&map[string]*Route{})
	rs.beyond = &Route{m: m, endpoint: Unmatched, full: true}
	m.families = append(m.families, rs.info)
}

// Route returns the metrics of a route pattern as http.Request.Pattern has it;
// a method in the pattern is left out, for it has its own label. "" is
// [Unmatched].
func (m *Metrics) Route(pattern string) *Route {
	if r, ok := (*m.routes.byName.Load())[pattern]; ok {
		return r
	}
	return m.routes.add(m, pattern)
}

// add makes a route. Patterns that differ in their method alone share one.
func (rs *routes) add(m *Metrics, pattern string) *Route {
	endpoint := endpointOf(pattern)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	old := *rs.byName.Load()
	r, ok := old[pattern]
	if ok {
		return r
	}
	if r, ok = old[endpoint]; !ok {
		if len(old) >= rs.info.limit {
			return rs.beyond
		}
		r = &Route{m: m, endpoint: endpoint}
		r.series.Store(&map[requestKey]*requestSeries{})
	}
	grown := make(map[string]*Route, len(old)+2)
	maps.Copy(grown, old)
	grown[endpoint] = r
	if len(pattern) <= maxLabel && len(grown) < rs.info.limit {
		grown[strings.Clone(pattern)] = r
	}
	rs.byName.Store(&grown)
	return r
}

// endpointOf returns the label of a pattern: its path, host included.
func endpointOf(pattern string) string {
	if method, path, ok := strings.Cut(pattern, " "); ok && methodIndex(method) != otherMethod {
		pattern = strings.TrimLeft(path, " \t")
	}
	if pattern == "" {
		return Unmatched
	}
	return strings.Clone(clean(pattern))
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
	s := r.find(requestKey{method, uint16(q.Status)})
	if s == nil {
		r.m.routes.info.refused.Add(1)
		return
	}
	s.observe(q.Observation)
	if q.Status >= 400 || q.Kind != "" || q.Panic != "" {
		r.fail(methods[method], q)
	}
}

// fail counts a failed request once in the errors, by its most telling name.
func (r *Route) fail(method string, q Request) {
	kind := q.Kind
	if q.Panic != "" {
		kind = q.Panic
		count(r.m.exceptions, labels{q.Panic, r.endpoint})
	}
	if kind == "" {
		kind = "http_" + strconv.Itoa(q.Status)
	}
	count(r.m.errors, labels{method, r.endpoint, kind})
}

func (r *Route) find(k requestKey) *requestSeries {
	if r.full {
		return nil
	}
	if s, ok := (*r.series.Load())[k]; ok {
		return s
	}
	rs := &r.m.routes
	rs.mu.Lock()
	defer rs.mu.Unlock()
	old := *r.series.Load()
	if s, ok := old[k]; ok {
		return s
	}
	if rs.total >= rs.info.limit {
		return nil
	}
	rs.total++
	s := &requestSeries{
		pairs:     prometheus.MakeLabelPairs(descRequests.desc, []string{methods[k.method], r.endpoint, strconv.Itoa(int(k.status))}),
		histogram: newHistogram(requestBounds),
	}
	grown := make(map[requestKey]*requestSeries, len(old)+1)
	maps.Copy(grown, old)
	grown[k] = s
	r.series.Store(&grown)
	return s
}

// collect sends the count of each status and one histogram a method.
func (rs *routes) collect(ch chan<- prometheus.Metric) {
	seen := map[*Route]bool{}
	for _, r := range *rs.byName.Load() {
		if !seen[r] {
			seen[r] = true
			r.collect(ch)
		}
	}
}

func (r *Route) collect(ch chan<- prometheus.Metric) {
	byMethod := map[uint8]*snapshot{}
	for k, s := range *r.series.Load() {
		if byMethod[k.method] == nil {
			byMethod[k.method] = &snapshot{}
		}
		n := s.addTo(byMethod[k.method])
		ch <- sample{descRequests.desc, func(out *dto.Metric) {
			out.Label, out.Counter = s.pairs, &dto.Counter{Value: proto.Float64(float64(n))}
		}}
	}
	for method, s := range byMethod {
		pairs := prometheus.MakeLabelPairs(descRequestDuration.desc, []string{methods[method], r.endpoint})
		ch <- sample{descRequestDuration.desc, func(out *dto.Metric) {
			out.Label, out.Histogram = pairs, s.proto(requestBounds)
		}}
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
