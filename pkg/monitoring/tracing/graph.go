package tracing

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// Graph returns which services call which. A call is a span whose parent is of
// another service, and a client's or producer's span that no other service's
// span stands below: then its attributes name whom it called (see peer), a
// service that sends no spans. q.Operation is that of the call, q.Service
// either side.
func (s *Store) Graph(q StatsQuery) api.ServiceGraph {
	g := graph{q: &q, crossed: map[SpanID]bool{}, nodes: map[string]*nodeSum{}, edges: map[[2]string]*callSum{}}
	var ids []TraceID
	s.mu.RLock()
	s.traces.places(func(p uint32) bool {
		ids = append(ids, s.traces.id[p])
		return true
	})
	s.mu.RUnlock()
	g.door.store = s
	defer g.unpacker.close()
	for len(ids) > 0 {
		n := min(len(ids), 512)
		g.some(ids[:n])
		ids = ids[n:]
	}
	s.eachActive(func(r activeRef) bool {
		if v, found := r.view(); found {
			g.trace(s.shown(&v))
		}
		return true
	})
	return g.result(window(q.Since, s.oldest(), time.Now()))
}

// some adds the calls of a few traces.
func (g *graph) some(ids []TraceID) {
	s := g.door.store
	views := make([]view, 0, len(ids))
	s.mu.RLock()
	for i := range ids {
		if p, found := s.traces.find(&ids[i]); found && s.table.find(ids[i]) == nil {
			views = append(views, view{id: ids[i]})
			views[len(views)-1].kept(s, p)
		}
	}
	s.mu.RUnlock()
	for i := range views {
		g.trace(&views[i])
	}
}

type graph struct {
	q     *StatsQuery
	nodes map[string]*nodeSum
	edges map[[2]string]*callSum

	crossed  map[SpanID]bool // of one trace: those with a span of another service below
	door     door
	unpacker unpacker
}

// callSum is what is added up of calls.
type callSum struct {
	sketch sketch
	errors int64
}

func (c *callSum) add(e *viewSpan) {
	c.sketch.add(max(e.took, 0))
	if e.outcome == failed || e.outcome == timedOut {
		c.errors++
	}
}

type nodeSum struct {
	spans    int64
	calls    callSum
	external bool
}

// maxNodes bounds what made-up services can take; those beyond are left out.
const maxNodes = 1000

// trace adds the calls of one trace.
func (g *graph) trace(v *view) {
	spans := v.byID()
	clear(g.crossed)
	for i := range v.spans {
		e := &v.spans[i]
		if p := spans(e.parent); p != nil && p != e && p.from.service != e.from.service {
			g.crossed[p.id] = true
		}
	}
	for i := range v.spans {
		e := &v.spans[i]
		if !g.q.Since.IsZero() && e.start < g.q.Since.UnixNano() {
			continue
		}
		caller := ""
		if p := spans(e.parent); p != nil && p != e {
			caller = p.from.service
		}
		g.visit(v, e, e.from.service, caller, g.crossed[e.id])
	}
}

// byID returns a function that finds an ended span. Few spans it looks through,
// for many it makes a map.
func (v *view) byID() func(SpanID) *viewSpan {
	if len(v.spans) <= manySpans {
		return func(id SpanID) *viewSpan {
			for i := len(v.spans) - 1; i >= 0; i-- {
				if v.spans[i].id == id {
					return &v.spans[i]
				}
			}
			return nil
		}
	}
	all := make(map[SpanID]*viewSpan, len(v.spans))
	for i := range v.spans {
		all[v.spans[i].id] = &v.spans[i]
	}
	return func(id SpanID) *viewSpan { return all[id] }
}

// The kinds of spans that matter here, as in the protocol.
const (
	kindServer   = 2
	kindClient   = 3
	kindProducer = 4
	kindConsumer = 5
)

// visit adds one span: to its service, to the edge from its caller's if that is
// another one, and to the edge to an external service if it is such a call.
func (g *graph) visit(v *view, e *viewSpan, own, caller string, crossed bool) {
	fits := g.q.Operation == "" || g.q.Operation == e.name
	if g.q.Service == "" || g.q.Service == own || g.q.Service == caller {
		if n := g.node(own, false); n != nil && fits {
			n.spans++
			if caller != own || e.kind == kindServer || e.kind == kindConsumer {
				n.calls.add(e)
			}
		}
		if caller != "" && caller != own && fits {
			g.call(caller, own, e)
		}
	}
	if crossed || !fits || e.kind != kindClient && e.kind != kindProducer {
		return
	}
	to := g.peer(v.bytes(e, &g.unpacker))
	if to == "" || to == own || g.q.Service != "" && g.q.Service != own && g.q.Service != to {
		return
	}
	if n := g.node(to, true); n != nil && g.node(own, false) != nil {
		g.call(own, to, e)
		if n.external {
			n.calls.add(e)
		}
	}
}

func (g *graph) node(name string, external bool) *nodeSum {
	n := g.nodes[name]
	switch {
	case n == nil && len(g.nodes) >= maxNodes:
		return nil
	case n == nil:
		n = &nodeSum{external: external}
		g.nodes[strings.Clone(name)] = n
	case n.external && !external: // it does send spans; its calls are counted by those
		*n = nodeSum{}
	}
	return n
}

func (g *graph) call(from, to string, e *viewSpan) {
	if g.node(from, false) == nil || g.nodes[to] == nil {
		return
	}
	key := [2]string{from, to}
	if g.edges[key] == nil {
		g.edges[[2]string{strings.Clone(from), strings.Clone(to)}] = &callSum{}
	}
	g.edges[key].add(e)
}

// peerKeys are the attributes that name whom a client calls, the best first
// (OpenTelemetry semantic conventions, the older names too).
var peerKeys = []string{
	"peer.service", "service.peer.name", "db.system.name", "db.system", "messaging.system", "rpc.service", "server.address", "net.peer.name", "http.host",
}

// peer returns the name of whom a client's encoded span says that it calls, ""
// if it does not say.
func (g *graph) peer(message []byte) string {
	best := len(peerKeys)
	name := ""
	rank := func(key string) int { return slices.Index(peerKeys, key) }
	wanted := func(key []byte) bool { return rank(alias(key)) >= 0 }
	_ = otlp.SpanAttrs(message, g.door.store.opts.MaxAttrs, wanted, func(a otlp.KeyValue) { // it was decoded before it was kept
		if n := rank(a.Key); n <= best && a.Value.Kind == otlp.KindString && a.Value.Str != "" {
			g.door.store.veil(&a)
			best, name = n, a.Value.Str
		}
	})
	return otlp.Text(clip(name, maxName))
}

func (g *graph) result(w api.StatsWindow) api.ServiceGraph {
	out := api.ServiceGraph{StatsWindow: w, Nodes: []api.ServiceNode{}, Edges: []api.ServiceEdge{}}
	for name, n := range g.nodes {
		out.Nodes = append(out.Nodes, api.ServiceNode{
			Name: name, Spans: api.Count(n.spans), Calls: api.Count(n.calls.sketch.n), Errors: api.Count(n.calls.errors),
			P95: api.Seconds(n.calls.sketch.quantile(.95)), External: n.external,
		})
	}
	seconds := w.To.Sub(w.From.Time).Seconds()
	for key, c := range g.edges {
		e := api.ServiceEdge{
			From: key[0], To: key[1], Calls: api.Count(c.sketch.n), Errors: api.Count(c.errors), P95: api.Seconds(c.sketch.quantile(.95)),
		}
		if seconds > 0 {
			e.Rate = float64(e.Calls) / seconds
		}
		out.Edges = append(out.Edges, e)
	}
	slices.SortFunc(out.Nodes, func(a, b api.ServiceNode) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(out.Edges, func(a, b api.ServiceEdge) int {
		return cmp.Or(strings.Compare(a.From, b.From), strings.Compare(a.To, b.To))
	})
	return out
}
