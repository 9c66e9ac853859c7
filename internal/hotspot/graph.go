package hotspot

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// GraphOptions says what [Peek] and [Tree] show. The zero value is all of it,
// by own value.
type GraphOptions struct {
	Selection
	Cum bool // sort by the value with callees
	N   int  // nodes at most; 0 means all

	// Nodes and calls below these shares are left out of a tree and what they
	// connected is joined; pprof's defaults are 0.005 and 0.001.
	NodeFraction, EdgeFraction float64
}

// CallGraph is functions with those that call them and those they call.
type CallGraph struct {
	Header
	Nodes   int          `json:"nodes"` // there are, shown or not
	Entries []GraphEntry `json:"entries"`
}

// GraphEntry is one function, or what the granularity makes of it.
type GraphEntry struct {
	Function  string  `json:"function"`
	File      string  `json:"file,omitempty"`
	Flat      int64   `json:"flat"`
	FlatRatio float64 `json:"flat_ratio"`
	Cum       int64   `json:"cum"`
	CumRatio  float64 `json:"cum_ratio"`
	Callers   []Call  `json:"callers"` // largest first
	Callees   []Call  `json:"callees"`
}

// Call is what passes between a function and another.
type Call struct {
	Function string  `json:"function"`
	Value    int64   `json:"value"`
	Ratio    float64 `json:"ratio"`            // of the entry's Cum
	Inline   bool    `json:"inline,omitempty"` // all of it was inlined
}

// ErrNoMatch is wrapped by the error of [Peek] where there is no such function.
var ErrNoMatch = errors.New("no function matches")

// Peek returns the functions whose names match, each with its callers and
// callees, as `go tool pprof -peek` does. The error of no match names re.
func Peek(p *Profile, re *regexp.Regexp, o GraphOptions) (*CallGraph, error) {
	v, err := newView(p, o.Selection)
	if err != nil {
		return nil, err
	}
	wanted := make([]bool, len(v.nodes))
	for i := range v.nodes {
		wanted[i] = re.MatchString(v.nodes[i].printable())
	}
	g := newCalls(v, nil, wanted)
	h := v.each(g.add)
	order := g.sorted(o.Cum)
	all := len(order)
	order = slices.DeleteFunc(order, func(x uint32) bool { return !wanted[x] })
	if len(order) == 0 {
		return nil, fmt.Errorf("%w %q", ErrNoMatch, re)
	}
	return g.graph(h, order[:limit(len(order), o.N)], all), nil
}

// Tree returns all functions with their callers and callees, as `go tool pprof
// -tree` does.
func Tree(p *Profile, o GraphOptions) (*CallGraph, error) {
	v, err := newView(p, o.Selection)
	if err != nil {
		return nil, err
	}
	g := newCalls(v, nil, nil)
	h := v.each(g.add)
	order := g.sorted(o.Cum)
	all := len(order)
	var total int64
	for _, x := range order {
		total += g.flat[x]
	}
	nodeCut, edgeCut := cutoff(total, o.NodeFraction), cutoff(total, o.EdgeFraction)
	heavy := slices.DeleteFunc(slices.Clone(order), func(x uint32) bool { return abs(g.cum[x]) < nodeCut })
	rebuild := func(kept []uint32) {
		keep := make([]bool, len(v.nodes))
		for _, x := range kept {
			keep[x] = true
		}
		g = newCalls(v, keep, nil)
		v.each(g.add)
		order = g.sorted(o.Cum)
	}
	if nodeCut > 0 && len(heavy) < len(order) {
		rebuild(heavy)
	}
	if o.N > 0 && len(order) > o.N {
		rebuild(order[:o.N])
	}
	g.trim(order, edgeCut)
	return g.graph(h, order, all), nil
}

func cutoff(total int64, fraction float64) int64 { return abs(int64(float64(total) * fraction)) }

func limit(have, n int) int {
	if n <= 0 {
		return have
	}
	return min(have, n)
}

// calls is a tally that also adds up by caller and callee.
type calls struct {
	*tally
	kept   []bool // nodes that exist; nil keeps all
	wanted []bool // nodes whose calls count; nil means all
	edges  []edge
	index  map[uint64]int32 // of an edge, by from<<32|to
}

type edge struct {
	from, to uint32
	seen     uint32 // number of the last sample that counted it
	inline   bool
	dropped  bool
	weight   int64
}

func newCalls(v *view, kept, wanted []bool) *calls {
	return &calls{tally: newTally(v), kept: kept, wanted: wanted, index: map[uint64]int32{}}
}

// add walks a stack from the root on. What is not kept joins its neighbours.
func (g *calls) add(s *taken) {
	if s.value == 0 && s.divisor == 0 {
		return
	}
	sample, parent, last := uint32(s.number)+1, int64(-1), int64(-1)
	for i := len(s.stack) - 1; i >= 0; i-- {
		nodes := g.v.nodesOf(s.stack[i])
		for ni := len(nodes) - 1; ni >= 0; ni-- {
			x := nodes[ni]
			last = int64(x)
			if g.kept != nil && !g.kept[x] {
				continue
			}
			g.cumulate(x, sample, s)
			if parent >= 0 && parent != int64(x) && (g.wanted == nil || g.wanted[parent] || g.wanted[x]) {
				g.call(uint32(parent), x, sample, s.value, ni != len(nodes)-1)
			}
			parent = int64(x)
		}
	}
	if parent >= 0 && parent == last {
		g.own(uint32(parent), s)
	}
}

func (g *calls) call(from, to, sample uint32, value int64, inline bool) {
	key := uint64(from)<<32 | uint64(to)
	at, ok := g.index[key]
	if !ok {
		at = int32(len(g.edges))
		g.index[key] = at
		g.edges = append(g.edges, edge{from: from, to: to, inline: true})
	}
	e := &g.edges[at]
	if e.seen == sample {
		return
	}
	e.seen = sample
	e.weight += value
	e.inline = e.inline && inline
}

// trim drops calls of less weight to the nodes of order.
func (g *calls) trim(order []uint32, cut int64) {
	listed := make([]bool, len(g.v.nodes))
	for _, x := range order {
		listed[x] = true
	}
	for i := range g.edges {
		if e := &g.edges[i]; listed[e.to] && abs(e.weight) < cut {
			e.dropped = true
		}
	}
}

func (g *calls) graph(h Header, order []uint32, all int) *CallGraph {
	v := g.v
	callers, callees := map[uint32][]int{}, map[uint32][]int{}
	for i, e := range g.edges {
		if !e.dropped {
			callers[e.to] = append(callers[e.to], i)
			callees[e.from] = append(callees[e.from], i)
		}
	}
	out := &CallGraph{Nodes: all, Entries: make([]GraphEntry, 0, len(order))}
	for _, x := range order {
		n := &v.nodes[x]
		flat, cum := g.values(x)
		entry := GraphEntry{
			Function: strings.Clone(n.printable()), Flat: v.out(flat), FlatRatio: h.ratio(flat), Cum: v.out(cum), CumRatio: h.ratio(cum),
			Callers: g.list(callers[x], cum, func(e *edge) uint32 { return e.from }),
			Callees: g.list(callees[x], cum, func(e *edge) uint32 { return e.to }),
		}
		if n.fn >= 0 {
			entry.File = strings.Clone(v.p.strings[v.p.functions[n.fn].file])
		}
		out.Entries = append(out.Entries, entry)
	}
	h.Total = v.out(h.Total)
	out.Header = h
	return out
}

func (g *calls) list(edges []int, cum int64, other func(*edge) uint32) []Call {
	out := make([]Call, 0, len(edges))
	slices.SortFunc(edges, func(a, b int) int {
		x, y := &g.edges[a], &g.edges[b]
		return cmp.Or(cmp.Compare(abs(y.weight), abs(x.weight)),
			strings.Compare(g.v.nodes[other(x)].printable(), g.v.nodes[other(y)].printable()))
	})
	for _, i := range edges {
		e := &g.edges[i]
		c := Call{Function: strings.Clone(g.v.nodes[other(e)].printable()), Value: g.v.out(e.weight), Inline: e.inline}
		if cum != 0 {
			c.Ratio = math.Abs(float64(e.weight) / float64(cum))
		}
		out = append(out, c)
	}
	return out
}
