package hotspot

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// TopOptions says which rows [Top] returns. The zero value gives all of them,
// by own value.
type TopOptions struct {
	Selection
	N   int  // rows at most; 0 means all
	Cum bool // sort by the value with callees
}

// Function is what a profile says about one function, or what the granularity
// makes of it. File and StartLine may be unknown; Samples counts the samples it
// was seen in. The names belong to the profile: who keeps them keeps all of it.
type Function struct {
	Name                string
	File                string
	StartLine           int64
	Flat, Cum           int64
	FlatRatio, CumRatio float64
	Samples             int64
}

// Top returns the functions of p with their values as `go tool pprof -top`
// computes them, inlined calls being functions of their own and recursion
// counted once in Cum. It fails if p has no such sample type.
func Top(p *Profile, o TopOptions) (api.ProfileTop, error) {
	fns, h, err := functionsOf(p, o)
	if err != nil {
		return api.ProfileTop{}, err
	}
	t := api.ProfileTop{
		Type: h.Type, SampleType: h.SampleType, Unit: h.Unit, Total: h.Total,
		Duration: api.Seconds(p.Duration), Samples: api.Count(h.Samples), Functions: len(fns),
		Rows: []api.TopEntry{},
	}
	if o.N > 0 && len(fns) > o.N {
		fns = fns[:o.N]
	}
	for _, f := range fns {
		t.Rows = append(t.Rows, api.TopEntry{ // a copy of the names, so that they do not keep the whole profile
			Function: strings.Clone(f.Name), File: strings.Clone(f.File),
			Flat: f.Flat, FlatRatio: f.FlatRatio, Cum: f.Cum, CumRatio: f.CumRatio,
		})
	}
	return t, nil
}

// Summary is what a profile's samples add up to, before focus and ignore.
type Summary struct {
	SampleType ValueType
	Total      int64 // sum of absolute values
	Samples    int64 // that were taken: of type "samples" if the profile has it, else stack records
}

// Functions is [Top] in full, with what only the summaries of a store need.
func Functions(p *Profile, o TopOptions) ([]Function, Summary, error) {
	fns, h, err := functionsOf(p, o)
	return fns, Summary{ValueType{h.SampleType, h.Unit}, h.Total, h.Samples}, err
}

func functionsOf(p *Profile, o TopOptions) ([]Function, Header, error) {
	v, err := newView(p, o.Selection)
	if err != nil {
		return nil, Header{}, err
	}
	t := newTally(v)
	h := v.each(t.add)
	order := t.sorted(o.Cum)
	out := make([]Function, len(order))
	for i, x := range order {
		n := &v.nodes[x]
		flat, cum := t.values(x)
		out[i] = Function{
			Name: n.printable(), Samples: t.count[x],
			Flat: v.out(flat), FlatRatio: h.ratio(flat), Cum: v.out(cum), CumRatio: h.ratio(cum),
		}
		if n.fn >= 0 {
			f := p.functions[n.fn]
			out[i].File, out[i].StartLine = p.strings[f.file], f.startLine
		}
	}
	h.Total = v.out(h.Total)
	return out, h, nil
}

// tally adds samples up by node. Its columns are slices of their own, because
// the innermost loop touches seen and cum only, which then stay in the cache.
type tally struct {
	v                *view
	flat, cum, count []int64
	flatDiv, cumDiv  []int64  // of Mean; nil without
	seen             []uint32 // number of the last sample that counted the node
}

func newTally(v *view) *tally {
	n := len(v.nodes)
	t := &tally{v: v, flat: make([]int64, n), cum: make([]int64, n), count: make([]int64, n), seen: make([]uint32, n)}
	if v.divisor >= 0 {
		t.flatDiv, t.cumDiv = make([]int64, n), make([]int64, n)
	}
	return t
}

// add adds a sample to each node of its stack once, and to its leaf's own value.
func (t *tally) add(s *taken) {
	if len(s.stack) == 0 || s.value == 0 && s.divisor == 0 {
		return
	}
	sample := uint32(s.number) + 1
	for _, l := range s.stack {
		for _, x := range t.v.nodesOf(l) {
			t.cumulate(x, sample, s)
		}
	}
	t.own(t.v.nodesOf(s.stack[0])[0], s)
}

// cumulate adds a sample to a node of its stack, unless it did so before.
func (t *tally) cumulate(x, sample uint32, s *taken) {
	if t.seen[x] == sample {
		return
	}
	t.seen[x] = sample
	t.cum[x] += s.value
	t.count[x] += s.count
	if t.cumDiv != nil {
		t.cumDiv[x] += s.divisor
	}
}

// own adds a sample to the node it ended in.
func (t *tally) own(x uint32, s *taken) {
	t.flat[x] += s.value
	if t.flatDiv != nil {
		t.flatDiv[x] += s.divisor
	}
}

// values returns what a node is worth: sums, or means.
func (t *tally) values(x uint32) (flat, cum int64) {
	flat, cum = t.flat[x], t.cum[x]
	if t.flatDiv != nil && t.flatDiv[x] != 0 {
		flat /= t.flatDiv[x]
	}
	if t.cumDiv != nil && t.cumDiv[x] != 0 {
		cum /= t.cumDiv[x]
	}
	return flat, cum
}

// sorted returns the nodes that have a value, sorted as pprof sorts them.
func (t *tally) sorted(byCum bool) []uint32 {
	var kept []uint32
	for x := range t.flat {
		flat, cum := t.flat[x], t.cum[x]
		if flat == 0 && cum == 0 || t.v.sel.DropNegative && (flat < 0 || flat == 0 && cum < 0) {
			continue
		}
		kept = append(kept, uint32(x))
	}
	nodes := t.v.nodes
	slices.SortFunc(kept, func(x, y uint32) int {
		first, second := cmp.Compare(abs(t.flat[y]), abs(t.flat[x])), cmp.Compare(abs(t.cum[y]), abs(t.cum[x]))
		if byCum {
			first, second = second, first
		}
		if first != 0 {
			return first
		}
		return cmp.Or(strings.Compare(nodes[x].printable(), nodes[y].printable()), second, nodes[x].compare(nodes[y].nodeKey))
	})
	return kept
}

// compare sets nodes apart that print alike.
func (k nodeKey) compare(o nodeKey) int {
	return cmp.Or(
		strings.Compare(k.name, o.name), cmp.Compare(k.address, o.address), strings.Compare(k.file, o.file),
		cmp.Compare(k.startLine, o.startLine), cmp.Compare(k.line, o.line), cmp.Compare(k.column, o.column),
		strings.Compare(k.objfile, o.objfile),
	)
}

func abs(v int64) int64 {
	if v < 0 {
		return -v
	}
	return v
}
