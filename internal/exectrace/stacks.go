package exectrace

import (
	"iter"
	"slices"
)

const (
	maxStacks = 4096
	maxFrames = 64
)

const noStack int32 = -1

// frame is one call of a stack.
type frame struct{ function, text string } // text is "function file:line"

// stacks numbers stacks. The zero value is ready to use.
type stacks struct {
	all [][]frame // innermost first
	ids map[string]int32
	key []byte
}

// numberOf returns the number of a stack, or noStack if there are too many
// already. Without lines, stacks of the same functions are one.
func (t *stacks) numberOf(frames iter.Seq[frame], lines bool) int32 {
	t.key = t.key[:0]
	var k []frame
	for f := range frames {
		if len(k) == maxFrames {
			break
		}
		k = append(k, f)
		text := f.function
		if lines {
			text = f.text
		}
		t.key = append(append(t.key, text...), 0)
	}
	id, ok := t.ids[string(t.key)]
	switch {
	case ok:
		return id
	case len(k) == 0 || len(t.all) >= maxStacks:
		return noStack
	case t.ids == nil:
		t.ids = map[string]int32{}
	}
	id = int32(len(t.all))
	t.ids[string(t.key)] = id
	t.all = append(t.all, k)
	return id
}

// functions returns the functions of a stack, innermost first.
func (t *stacks) functions(id int32) iter.Seq[string] {
	return func(yield func(string) bool) {
		if id == noStack {
			return
		}
		for _, f := range t.all[id] {
			if !yield(f.function) {
				return
			}
		}
	}
}

// texts returns the frames of a stack as an explanation has them.
func (t *stacks) texts(id int32) []string {
	return slices.Collect(func(yield func(string) bool) {
		for _, f := range t.all[id] {
			if !yield(f.text) {
				return
			}
		}
	})
}
