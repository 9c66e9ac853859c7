package hotspot

import (
	"encoding/binary"
	"fmt"
)

// paths adds samples up by their call paths, which are known by the names in
// them.
type paths struct {
	v      *view
	number []uint32 // of each node's name
	names  *names

	sums   map[string]int64 // by the numbers of a path, from the root on
	order  []string         // the keys of sums, as they came
	frames int              // in all of them
	key    []byte
	err    error // there are too many; what comes then is left out
}

// names gives each name a number. Paths of two profiles can be compared if they
// share it.
type names struct {
	numbers map[string]uint32
	list    []string
}

func newNames() *names { return &names{numbers: map[string]uint32{}} }

func (n *names) number(name string) uint32 {
	at, ok := n.numbers[name]
	if !ok {
		at = uint32(len(n.list))
		n.numbers[name] = at
		n.list = append(n.list, name)
	}
	return at
}

// newPaths begins with no path. name says what a node is called.
func newPaths(v *view, n *names, name func(*node) string) *paths {
	p := &paths{v: v, names: n, number: make([]uint32, len(v.nodes)), sums: map[string]int64{}}
	for i := range v.nodes {
		p.number[i] = n.number(name(&v.nodes[i]))
	}
	return p
}

// add counts a sample that has a stack and a value.
func (p *paths) add(t *taken) {
	if t.value == 0 || len(t.stack) == 0 || p.err != nil {
		return
	}
	p.key = p.key[:0]
	frames := 0
	for i := len(t.stack) - 1; i >= 0; i-- {
		nodes := p.v.nodesOf(t.stack[i])
		if frames += len(nodes); p.frames+frames > maxFlameFrames {
			p.err = fmt.Errorf("%w: more than %d frames in different stacks", ErrTooLarge, maxFlameFrames)
			return
		}
		for ni := len(nodes) - 1; ni >= 0; ni-- {
			p.key = binary.AppendUvarint(p.key, uint64(p.number[nodes[ni]]))
		}
	}
	sum, ok := p.sums[string(p.key)]
	switch {
	case ok:
		p.sums[string(p.key)] = sum + t.value
	case len(p.order) == maxStacks:
		p.err = fmt.Errorf("%w: more than %d different stacks", ErrTooLarge, maxStacks)
	default:
		key := string(p.key)
		p.sums[key] = t.value
		p.order = append(p.order, key)
		p.frames += frames
	}
}

// path returns the names of a path.
func (p *paths) path(key string) (path []string) {
	for name := range p.each(key) {
		path = append(path, name)
	}
	return path
}

// each calls yield with the names of a path, from the root on.
func (p *paths) each(key string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for b := []byte(key); len(b) > 0; {
			x, n := binary.Uvarint(b)
			if b = b[n:]; !yield(p.names.list[x]) {
				return
			}
		}
	}
}
