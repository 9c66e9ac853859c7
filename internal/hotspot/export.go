package hotspot

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxExport bounds what is written of a profile: names stand in it as often as
// they were called.
const maxExport = 512 << 20

// WriteFolded writes p as folded stacks, a line each: frames from the root on,
// separated by semicolons, a blank and the value. Equal stacks are one line.
// That form knows no negative values: with those it is an error.
func (p *Profile) WriteFolded(w io.Writer, s Selection) error {
	v, err := newView(p, s)
	if err != nil {
		return err
	}
	stacks := newPaths(v, newNames(), func(n *node) string { return foldable.Replace(n.printable()) })
	v.each(stacks.add)
	if stacks.err != nil {
		return stacks.err
	}
	for _, sum := range stacks.sums {
		if v.out(sum) < 0 {
			return fmt.Errorf("folded stacks have no negative values: a difference cannot be written so")
		}
	}
	out := newExport(w)
	for _, stack := range stacks.order {
		sum := v.out(stacks.sums[stack])
		if sum == 0 {
			continue
		}
		separator := ""
		for name := range stacks.each(stack) {
			out.text(separator, name)
			separator = ";"
		}
		out.text(" ", strconv.FormatInt(sum, 10), "\n")
	}
	return out.end()
}

// foldable keeps names from being taken for what separates them.
var foldable = strings.NewReplacer(";", ":", "\n", " ", "\r", " ")

// export writes text up to maxExport.
type export struct {
	b    *bufio.Writer
	left int // below 0 there was too much
}

func newExport(w io.Writer) *export { return &export{bufio.NewWriter(w), maxExport} }

func (e *export) text(parts ...string) {
	for _, s := range parts {
		if e.left -= len(s); e.left >= 0 {
			e.b.WriteString(s)
		}
	}
}

// number writes one of a list of numbers.
func (e *export) number(n int64, first bool) {
	if !first {
		e.text(",")
	}
	e.text(strconv.FormatInt(n, 10))
}

// json writes a value as JSON.
func (e *export) json(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // unreachable: it is made of texts and numbers
	}
	e.text(string(b))
}

func (e *export) end() error {
	if e.left < 0 {
		return fmt.Errorf("%w: in that form it takes more than %d MiB", ErrTooLarge, maxExport>>20)
	}
	return e.b.Flush()
}

// WriteSpeedscope writes p for https://www.speedscope.app, under a name. That
// form knows no negative values: with those it is an error. Samples are written
// as they are read, none is kept.
func (p *Profile) WriteSpeedscope(w io.Writer, name string, s Selection) error {
	v, err := newView(p, s)
	if err != nil {
		return err
	}
	var total int64
	negative := false
	h := v.each(func(t *taken) {
		value := v.out(t.value)
		negative, total = negative || value < 0, total+value
	})
	if negative {
		return fmt.Errorf("speedscope's form has no negative values: a difference cannot be written so")
	}
	out := newExport(w)
	out.text(`{"$schema":"https://www.speedscope.app/file-format-schema.json","exporter":"pulsectl","name":`)
	out.json(name)
	out.text(`,"shared":{"frames":[`)
	for i := range v.nodes {
		out.speedscopeFrame(p, &v.nodes[i], i == 0)
	}
	out.text(`]},"profiles":[{"type":"sampled","name":`)
	out.json(cmp.Or(name, h.SampleType))
	out.text(`,"unit":"`, speedscopeUnit(h.Unit), `","startValue":0,"endValue":`, strconv.FormatInt(total, 10))
	out.speedscopeSamples(v)
	out.text("}]}\n")
	return out.end()
}

func (e *export) speedscopeFrame(p *Profile, n *node, first bool) {
	frame := struct {
		Name string `json:"name"`
		File string `json:"file,omitempty"`
		Line int64  `json:"line,omitempty"`
	}{Name: n.printable(), Line: n.line}
	if n.fn >= 0 {
		frame.File = p.strings[p.functions[n.fn].file]
	}
	if !first {
		e.text(",")
	}
	e.json(frame)
}

// speedscopeSamples writes the stacks, and then their values.
func (e *export) speedscopeSamples(v *view) {
	first := true
	each := func(f func(t *taken)) {
		first = true
		v.each(func(t *taken) {
			if v.out(t.value) != 0 && e.left >= 0 {
				f(t)
				first = false
			}
		})
	}
	e.text(`,"samples":[`)
	each(func(t *taken) {
		if !first {
			e.text(",")
		}
		e.text("[")
		outermost := true
		for i := len(t.stack) - 1; i >= 0; i-- {
			nodes := v.nodesOf(t.stack[i])
			for ni := len(nodes) - 1; ni >= 0; ni-- {
				e.number(int64(nodes[ni]), outermost)
				outermost = false
			}
		}
		e.text("]")
	})
	e.text(`],"weights":[`)
	each(func(t *taken) { e.number(v.out(t.value), first) })
	e.text("]")
}

// speedscopeUnit returns the unit as speedscope spells it.
func speedscopeUnit(u string) string {
	switch u {
	case "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes":
		return u
	}
	return "none"
}
