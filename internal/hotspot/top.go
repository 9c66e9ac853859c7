package hotspot

import (
	"cmp"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// TopOptions says which rows [Top] returns. The zero value gives all of them,
// by own value.
type TopOptions struct {
	N          int            // rows at most; 0 means all
	Cum        bool           // sort by the value with callees
	Focus      *regexp.Regexp // keep only samples with a matching frame; nil keeps all
	Ignore     *regexp.Regexp // drop samples with a matching frame; nil drops none
	SampleType string         // of the values; "" means the profile's default, or its last
}

// Function is what a profile says about one function. File and Line may be
// unknown; Samples counts the samples it was seen in.
type Function struct {
	Name      string
	File      string
	StartLine int64
	Flat, Cum int64
	Samples   int64
}

// Top returns the functions of p with their values as `go tool pprof -top`
// computes them, inlined calls being functions of their own and recursion
// counted once in Cum. It fails if p has no such sample type.
func Top(p *Profile, o TopOptions) (api.ProfileTop, error) {
	fns, sum, err := Functions(p, o)
	if err != nil {
		return api.ProfileTop{}, err
	}
	t := api.ProfileTop{
		Type: p.Type(), SampleType: sum.SampleType.Type, Unit: sum.SampleType.Unit, Total: sum.Total,
		Duration: api.Seconds(p.Duration), Samples: api.Count(sum.Samples), Functions: len(fns),
		Rows: []api.TopEntry{},
	}
	if o.N > 0 && len(fns) > o.N {
		fns = fns[:o.N]
	}
	for _, f := range fns {
		row := api.TopEntry{Function: f.Name, File: f.File, Flat: f.Flat, Cum: f.Cum}
		if t.Total != 0 {
			row.FlatRatio = float64(f.Flat) / float64(t.Total)
			row.CumRatio = float64(f.Cum) / float64(t.Total)
		}
		t.Rows = append(t.Rows, row)
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
	at, err := p.sampleIndex(o.SampleType)
	if err != nil {
		return nil, Summary{}, err
	}
	a := newAggregate(p)
	if err := a.prune(); err != nil {
		return nil, Summary{}, err
	}
	a.nodesOfLocations()
	a.focus(o.Focus, o.Ignore)
	s := a.add(at)
	s.SampleType = p.SampleTypes[at]
	return a.functions(o.Cum), s, nil
}

// sampleIndex finds a sample type by its name, as pprof does: "inuse_space"
// also finds "space", and "" the default.
func (p *Profile) sampleIndex(name string) (int, error) {
	last := len(p.SampleTypes) - 1
	wanted := cmp.Or(name, p.DefaultSampleType)
	if wanted == "" {
		return last, nil
	}
	for i, t := range p.SampleTypes {
		if t.Type == wanted || name != "" && t.Type == strings.TrimPrefix(wanted, "inuse_") {
			return i, nil
		}
	}
	if name == "" {
		return last, nil
	}
	var have []string
	for _, t := range p.SampleTypes {
		have = append(have, t.Type)
	}
	return 0, fmt.Errorf("sample type %q: the profile has %s", name, strings.Join(have, ", "))
}

// aggregate adds a profile's samples up by node: a function name, or for a
// frame without one its binary.
type aggregate struct {
	p     *Profile
	nodes []node
	byKey map[nodeKey]uint32

	locNodes []uint32 // nodes of all locations, innermost first
	locEnd   []uint32 // of location i: its nodes end here

	verdict []int8 // of each location: 1 focused, -1 ignored; nil without a filter
	dropped []int8 // of each location: 1 drops what it calls, 2 itself too; nil if none
	trim    []uint32
}

type node struct {
	name, objfile string
	fn            int32 // the first function of this node; -1 if unknown
	flat, cum     int64
	count         int64
	seen          uint32 // number of the last sample that counted it
}

type nodeKey struct {
	name, objfile string
	startLine     int64
}

func newAggregate(p *Profile) *aggregate {
	return &aggregate{p: p, byKey: make(map[nodeKey]uint32, len(p.functions))}
}

// lines returns the lines of location l that pruning left.
func (a *aggregate) lines(l uint32) []line {
	lines := a.p.linesOf(l)
	if a.trim != nil {
		lines = lines[a.trim[l]:]
	}
	return lines
}

func (a *aggregate) nodesOfLocations() {
	p := a.p
	named := make([]int32, len(p.functions)) // node of each function with a name, so that a name is hashed once
	for i := range named {
		named[i] = -1
	}
	a.locEnd = make([]uint32, len(p.locations))
	a.locNodes = make([]uint32, 0, len(p.lines))
	for l, loc := range p.locations {
		objfile := ""
		if loc.mapping >= 0 {
			objfile = p.mappings[loc.mapping]
		}
		lines := a.lines(uint32(l))
		for _, ln := range lines {
			a.locNodes = append(a.locNodes, a.nodeOf(ln.function, objfile, named))
		}
		if len(lines) == 0 {
			a.locNodes = append(a.locNodes, a.nodeOf(-1, objfile, named))
		}
		a.locEnd[l] = uint32(len(a.locNodes))
	}
}

func (a *aggregate) nodeOf(fn int32, objfile string, named []int32) uint32 {
	var k nodeKey
	if fn >= 0 {
		if named[fn] >= 0 {
			return uint32(named[fn])
		}
		k.name = a.p.strings[a.p.functions[fn].name]
	}
	if k.name == "" {
		k.objfile = objfile
		if fn >= 0 {
			k.startLine = a.p.functions[fn].startLine
		}
	}
	n, ok := a.byKey[k]
	if !ok {
		n = uint32(len(a.nodes))
		a.byKey[k] = n
		a.nodes = append(a.nodes, node{name: k.name, objfile: k.objfile, fn: fn})
	}
	if k.name != "" {
		named[fn] = int32(n)
	}
	return n
}

// add goes over the samples and returns their sums.
func (a *aggregate) add(at int) (s Summary) {
	p, types := a.p, len(a.p.SampleTypes)
	counts := p.countIndex()
	var base int64
	for i, end := range p.sampleEnd {
		v := p.values[i*types+at]
		n := int64(1)
		if counts >= 0 {
			n = p.values[i*types+counts]
		}
		s.Total += abs(v)
		s.Samples += n
		if p.isBase(i) {
			base += abs(v)
		}
		stack := p.stacks[begin(p.sampleEnd, i):end]
		if v == 0 || a.verdict != nil && !a.wanted(stack) {
			continue
		}
		if a.dropped != nil {
			stack = a.cut(stack)
		}
		a.addStack(stack, uint32(i)+1, v, n)
	}
	if base > 0 {
		s.Total = base
	}
	return s
}

// addStack adds v to each node of the stack once, and to its leaf's own value.
func (a *aggregate) addStack(stack []uint32, sample uint32, v, count int64) {
	if len(stack) == 0 {
		return
	}
	for _, l := range stack {
		for _, x := range a.locNodes[begin(a.locEnd, int(l)):a.locEnd[l]] {
			if n := &a.nodes[x]; n.seen != sample {
				n.seen = sample
				n.cum += v
				n.count += count
			}
		}
	}
	a.nodes[a.locNodes[begin(a.locEnd, int(stack[0]))]].flat += v
}

// countIndex returns the sample type that counts samples, or -1.
func (p *Profile) countIndex() int {
	return slices.IndexFunc(p.SampleTypes, func(t ValueType) bool { return t.Type == "samples" && t.Unit == "count" })
}

// isBase tells whether sample i came from the base of a difference: then the
// base is what percentages are of.
func (p *Profile) isBase(i int) bool {
	if p.labelEnd == nil {
		return false
	}
	for _, l := range p.labels[begin(p.labelEnd, i):p.labelEnd[i]] {
		if p.strings[l.key] == "pprof::base" && p.strings[l.str] == "true" {
			return true
		}
	}
	return false
}

// functions returns the nodes that have a value, sorted as pprof sorts them.
func (a *aggregate) functions(cum bool) []Function {
	kept := slices.DeleteFunc(a.nodes, func(n node) bool { return n.flat == 0 && n.cum == 0 })
	for i := range kept {
		if kept[i].name == "" {
			kept[i].name = binaryName(kept[i].objfile)
		}
	}
	slices.SortFunc(kept, func(x, y node) int {
		byFlat, byCum := cmp.Compare(abs(y.flat), abs(x.flat)), cmp.Compare(abs(y.cum), abs(x.cum))
		if cum {
			byFlat, byCum = byCum, byFlat
		}
		return cmp.Or(byFlat, strings.Compare(x.name, y.name), byCum, strings.Compare(x.objfile, y.objfile))
	})
	out := make([]Function, len(kept))
	for i, n := range kept {
		out[i] = Function{Name: n.name, Flat: n.flat, Cum: n.cum, Samples: n.count}
		if n.fn >= 0 {
			f := a.p.functions[n.fn]
			out[i].File, out[i].StartLine = a.p.strings[f.file], f.startLine
		}
	}
	return out
}

func binaryName(objfile string) string {
	if objfile == "" {
		return "<unknown>"
	}
	return "[" + filepath.Base(objfile) + "]"
}

func abs(v int64) int64 {
	if v < 0 {
		return -v
	}
	return v
}
