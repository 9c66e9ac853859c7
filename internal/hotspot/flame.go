package hotspot

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// maxFlameFrames bounds the stacks that a flame graph is made of, at four bytes
// a location.
const maxFlameFrames = 64 << 20

// FlameOptions says what [Flame] draws. The zero value is the whole profile
// from its roots.
type FlameOptions struct {
	Selection
	Function string // begin where this function is called first; "" means at the roots. Samples without it do not count
	Inverted bool   // callers instead of callees: a node's children are what called it
	MaxNodes int    // the largest nodes are kept; 0 means 1<<18, below 0 all
}

// FlameGraph is a call tree in flat arrays. Nodes[0] is the root, which stands
// for all samples; the children of a node stand one after another, largest
// first.
type FlameGraph struct {
	Header
	Width  int64       `json:"width"` // of the root: what a node's Width is a share of
	Frames []Frame     `json:"frames"`
	Nodes  []FlameNode `json:"nodes"`
	Cut    int         `json:"cut"` // nodes whose children were too many to keep
}

// FlameNode is a call on the same path as all others that it stands for.
type FlameNode struct {
	Frame  int32 `json:"frame"`  // in Frames; -1 for the root
	Parent int32 `json:"parent"` // -1 for the root
	First  int32 `json:"first"`  // its first child; 0 for none
	Count  int32 `json:"count"`  // of children
	Depth  int32 `json:"depth"`  // 0 for the root
	Cut    bool  `json:"cut,omitempty"`
	Value  int64 `json:"value"`
	Self   int64 `json:"self"`
	Width  int64 `json:"width"` // Value, or where a difference has negative samples the sum of their amounts
}

// Children returns where the children of node n stand.
func (g *FlameGraph) Children(n int32) (from, to int32) {
	return g.Nodes[n].First, g.Nodes[n].First + g.Nodes[n].Count
}

// Name returns the name of node n.
func (g *FlameGraph) Name(n int32) string {
	if f := g.Nodes[n].Frame; f >= 0 {
		return g.Frames[f].Function
	}
	return "all"
}

// Flame returns the call tree of p. It begins with the root and always looks
// next into the largest node it has not looked into, so a bound on nodes cuts
// what is too small to be seen.
func Flame(p *Profile, o FlameOptions) (*FlameGraph, error) {
	v, err := newView(p, o.Selection)
	if err != nil {
		return nil, err
	}
	b := &flameBuilder{v: v, o: o, g: &FlameGraph{}, limit: o.MaxNodes, wanted: make([]bool, len(v.nodes))}
	for i := range v.nodes {
		b.wanted[i] = o.Function != "" && v.nodes[i].printable() == o.Function
	}
	if b.limit == 0 {
		b.limit = 1 << 18
	}
	b.samples = make([]flameSample, 0, min(p.Samples(), maxStacks))
	b.stacks = make([]uint32, 0, min(p.frames, maxFlameFrames))
	var full bool
	b.g.Header = v.each(func(t *taken) { full = full || !b.collect(t) })
	if full {
		return nil, fmt.Errorf("%w: more than %d samples or %d frames in them", ErrTooLarge, maxStacks, maxFlameFrames)
	}
	b.build()
	return b.g, nil
}

// Search marks the nodes whose names match, and returns what they and all below
// them come to.
func (g *FlameGraph) Search(re *regexp.Regexp) (matched []bool, width int64) {
	byFrame := make([]bool, len(g.Frames))
	for i, f := range g.Frames {
		byFrame[i] = re.MatchString(f.Function)
	}
	matched = make([]bool, len(g.Nodes))
	within := make([]bool, len(g.Nodes)) // parents stand before their children
	for i, n := range g.Nodes {
		if n.Parent < 0 {
			continue
		}
		matched[i] = byFrame[n.Frame]
		within[i] = matched[i] || within[n.Parent]
		if matched[i] && !within[n.Parent] {
			width += n.Width
		}
	}
	return matched, width
}

// flameBuilder splits the samples below a node by their next frame. A sample is
// in the range of one node at a time, so where it stands is kept once.
type flameBuilder struct {
	v     *view
	o     FlameOptions
	g     *FlameGraph
	limit int

	bare    FlameNode // what samples without a stack come to
	wanted  []bool    // nodes that Function names
	stacks  []uint32  // locations of all samples
	samples []flameSample
	order   []uint32 // samples, those of a node side by side
	spare   []uint32
	ranges  []span // of each node, in order

	frames []int32 // by view node; -1 for none yet
	weight []int64 // of each view node among the samples being split
	at     []uint32
	found  []uint32
	queue  flameQueue
}

type span struct{ from, to uint32 }

// flameSample is a sample and where in its stack the next frame is.
type flameSample struct {
	span         // in stacks, what is left
	lines uint32 // nodes of the next location that are done
	next  uint32 // the next frame's node
	value int64
}

const noNode = ^uint32(0)

// collect keeps a sample; false means there are too many frames.
func (b *flameBuilder) collect(t *taken) bool {
	value := t.value
	if b.v.divisor >= 0 && t.divisor != 0 {
		value /= t.divisor
	}
	if value = b.v.out(value); value == 0 {
		return true
	}
	if len(t.stack) == 0 && b.o.Function == "" {
		b.bare.Value, b.bare.Width = b.bare.Value+value, b.bare.Width+abs(value)
		return true
	}
	if len(b.stacks)+len(t.stack) > maxFlameFrames || len(b.samples) == maxStacks {
		return false
	}
	s := flameSample{span: span{uint32(len(b.stacks)), 0}, value: value}
	b.stacks = append(b.stacks, t.stack...)
	s.to = uint32(len(b.stacks))
	if b.o.Function == "" || b.seek(&s) {
		b.samples = append(b.samples, s)
	}
	return true
}

// seek moves a sample to the outermost call of the wanted function.
func (b *flameBuilder) seek(s *flameSample) bool {
	for i := int(s.to) - 1; i >= int(s.from); i-- {
		nodes := b.v.nodesOf(b.stacks[i])
		for ni := len(nodes) - 1; ni >= 0; ni-- {
			if !b.wanted[nodes[ni]] {
				continue
			}
			if b.o.Inverted {
				s.from, s.lines = uint32(i), uint32(ni)
			} else {
				s.to, s.lines = uint32(i)+1, uint32(len(nodes)-1-ni)
			}
			return true
		}
	}
	return false
}

// step takes the next frame of a sample.
func (b *flameBuilder) step(s *flameSample) {
	if s.from == s.to {
		s.next = noNode
		return
	}
	l := b.stacks[s.from]
	if !b.o.Inverted {
		l = b.stacks[s.to-1]
	}
	nodes := b.v.nodesOf(l)
	if b.o.Inverted {
		s.next = nodes[s.lines]
	} else {
		s.next = nodes[len(nodes)-1-int(s.lines)]
	}
	if s.lines++; int(s.lines) < len(nodes) {
		return
	}
	s.lines = 0
	if b.o.Inverted {
		s.from++
	} else {
		s.to--
	}
}

func (b *flameBuilder) build() {
	root := FlameNode{Frame: -1, Parent: -1, Value: b.bare.Value, Self: b.bare.Value, Width: b.bare.Width}
	b.order, b.spare = make([]uint32, len(b.samples)), make([]uint32, len(b.samples))
	for i := range b.samples {
		b.order[i] = uint32(i)
		root.Value += b.samples[i].value
		root.Width += abs(b.samples[i].value)
	}
	n := len(b.v.nodes)
	b.frames, b.weight, b.at = make([]int32, n), make([]int64, n), make([]uint32, n)
	for i := range b.frames {
		b.frames[i] = -1
	}
	room := b.room()
	b.g.Nodes, b.ranges = append(make([]FlameNode, 0, room), root), append(make([]span, 0, room), span{0, uint32(len(b.order))})
	b.g.Width = root.Width
	b.queue = flameQueue{g: b.g, nodes: []int32{0}}
	if b.limit < 0 { // whole: any order will do
		for at := int32(0); int(at) < len(b.g.Nodes); at++ {
			b.split(at, true)
		}
		return
	}
	for len(b.queue.nodes) > 0 {
		b.split(b.queue.pop(), len(b.g.Nodes) < b.limit)
	}
}

// room returns how many nodes there are at most, so that they are not copied as
// they become more: pages that stay untouched cost no memory.
func (b *flameBuilder) room() int {
	frames := 1
	for _, l := range b.stacks {
		frames += len(b.v.nodesOf(l))
	}
	if b.limit > 0 {
		return min(frames, b.limit+len(b.v.nodes))
	}
	return min(frames, 1<<25)
}

// split gives node its children, or only counts what ends in it.
func (b *flameBuilder) split(node int32, children bool) {
	r := b.ranges[node]
	part := b.order[r.from:r.to]
	if len(part) == 0 {
		return
	}
	if len(part) == 1 && children {
		b.follow(node, part[0], r)
		return
	}
	b.found = b.found[:0]
	counts := b.at
	for _, i := range part {
		s := &b.samples[i]
		b.step(s)
		if s.next == noNode {
			b.g.Nodes[node].Self += s.value
			continue
		}
		if counts[s.next] == 0 {
			b.found = append(b.found, s.next)
		}
		counts[s.next]++
		b.weight[s.next] += abs(s.value)
	}
	if len(b.found) > 1 {
		slices.SortFunc(b.found, b.heavier)
	}
	if children {
		b.children(node, part, r.to)
	} else if len(b.found) > 0 {
		b.g.Nodes[node].Cut = true
		b.g.Cut++
	}
	for _, x := range b.found {
		b.weight[x], counts[x] = 0, 0
	}
}

func (b *flameBuilder) heavier(x, y uint32) int {
	return cmp.Or(cmp.Compare(b.weight[y], b.weight[x]), strings.Compare(b.v.nodes[x].name, b.v.nodes[y].name), cmp.Compare(x, y))
}

// follow gives node the child that its one sample goes to, and if the graph is
// whole all that come after. Most nodes of a deep profile are so: taking one path after
// another, BenchmarkFlame250k needs 0.6 s of processor, level by level 2.4 s.
func (b *flameBuilder) follow(node int32, sample uint32, r span) {
	s := &b.samples[sample]
	for b.step(s); s.next != noNode; b.step(s) {
		at := int32(len(b.g.Nodes))
		parent := &b.g.Nodes[node]
		parent.First, parent.Count = at, 1
		b.g.Nodes = append(b.g.Nodes, FlameNode{Frame: b.frame(s.next), Parent: node, Depth: parent.Depth + 1, Value: s.value, Width: abs(s.value)})
		if b.limit > 0 {
			b.ranges = append(b.ranges, r)
			b.queue.push(at)
			return
		}
		b.ranges = append(b.ranges, span{}) // it is done
		node = at
	}
	b.g.Nodes[node].Self += s.value
}

// children adds the nodes in found below node and sorts its samples by them;
// those that ended stay at the front.
func (b *flameBuilder) children(node int32, part []uint32, end uint32) {
	first, depth := int32(len(b.g.Nodes)), b.g.Nodes[node].Depth+1
	if len(b.found) > 0 {
		b.g.Nodes[node].First, b.g.Nodes[node].Count = first, int32(len(b.found))
	}
	total := uint32(0)
	for _, x := range b.found {
		total += b.at[x]
	}
	from := end - total
	for _, x := range b.found {
		b.g.Nodes = append(b.g.Nodes, FlameNode{Frame: b.frame(x), Parent: node, Depth: depth, Width: b.weight[x]})
		b.ranges = append(b.ranges, span{from, from + b.at[x]})
		from, b.at[x] = from+b.at[x], from
	}
	base := end - uint32(len(part))
	ended := uint32(0)
	for _, i := range part {
		x := b.samples[i].next
		if x == noNode {
			b.spare[ended] = i
			ended++
			continue
		}
		b.spare[b.at[x]-base] = i
		b.at[x]++
	}
	copy(part, b.spare[:len(part)])
	for c := range b.found {
		at := first + int32(c)
		r := b.ranges[at]
		for _, i := range b.order[r.from:r.to] {
			b.g.Nodes[at].Value += b.samples[i].value
		}
		if b.limit > 0 {
			b.queue.push(at)
		}
	}
}

// frame returns the number of a view's node in Frames.
func (b *flameBuilder) frame(x uint32) int32 {
	if f := b.frames[x]; f >= 0 {
		return f
	}
	n := &b.v.nodes[x]
	f := Frame{Function: strings.Clone(n.printable()), Line: n.line}
	if n.fn >= 0 {
		fn := b.v.p.functions[n.fn]
		f.File, f.StartLine = strings.Clone(b.v.p.strings[fn.file]), fn.startLine
	}
	b.frames[x] = int32(len(b.g.Frames))
	b.g.Frames = append(b.g.Frames, f)
	return b.frames[x]
}
