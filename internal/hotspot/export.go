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

// WriteFolded writes p as folded stacks, a line each: frames from the root on,
// separated by semicolons, a blank and the value. Equal stacks are one line.
// That form knows no negative values: with those it is an error.
func (p *Profile) WriteFolded(w io.Writer, s Selection) error {
	v, err := newView(p, s)
	if err != nil {
		return err
	}
	names := make([]string, len(v.nodes))
	for i := range v.nodes {
		names[i] = foldable.Replace(v.nodes[i].printable())
	}
	var order []string
	sums := map[string]int64{}
	var line []byte
	v.each(func(t *taken) {
		if line = v.path(line[:0], t.stack, names); len(line) == 0 || t.value == 0 {
			return
		}
		sum, ok := sums[string(line)]
		if !ok {
			order = append(order, string(line))
		}
		sums[string(line)] = sum + t.value
	})
	out := bufio.NewWriter(w)
	for _, stack := range order {
		sum := v.out(sums[stack])
		if sum < 0 {
			return fmt.Errorf("folded stacks have no negative values: a difference cannot be written so")
		}
		if sum > 0 {
			out.WriteString(stack)
			out.WriteByte(' ')
			out.WriteString(strconv.FormatInt(sum, 10))
			out.WriteByte('\n')
		}
	}
	return out.Flush()
}

// foldable keeps names from being taken for what separates them.
var foldable = strings.NewReplacer(";", ":", "\n", " ", "\r", " ")

// path appends the names of a stack from the root on.
func (v *view) path(dst []byte, stack []uint32, names []string) []byte {
	for i := len(stack) - 1; i >= 0; i-- {
		nodes := v.nodesOf(stack[i])
		for ni := len(nodes) - 1; ni >= 0; ni-- {
			if len(dst) > 0 {
				dst = append(dst, ';')
			}
			dst = append(dst, names[nodes[ni]]...)
		}
	}
	return dst
}

// WriteSpeedscope writes p for https://www.speedscope.app, under a name. That
// form knows no negative values: with those it is an error.
func (p *Profile) WriteSpeedscope(w io.Writer, name string, s Selection) error {
	v, err := newView(p, s)
	if err != nil {
		return err
	}
	var samples [][]uint32
	var weights []int64
	var total int64
	negative := false
	h := v.each(func(t *taken) {
		value := v.out(t.value)
		if value == 0 {
			return
		}
		negative = negative || value < 0
		var frames []uint32
		for i := len(t.stack) - 1; i >= 0; i-- {
			nodes := v.nodesOf(t.stack[i])
			for ni := len(nodes) - 1; ni >= 0; ni-- {
				frames = append(frames, nodes[ni])
			}
		}
		samples, weights, total = append(samples, frames), append(weights, value), total+value
	})
	if negative {
		return fmt.Errorf("speedscope's form has no negative values: a difference cannot be written so")
	}
	type frame struct {
		Name string `json:"name"`
		File string `json:"file,omitempty"`
		Line int64  `json:"line,omitempty"`
	}
	frames := make([]frame, len(v.nodes))
	for i := range v.nodes {
		n := &v.nodes[i]
		frames[i] = frame{Name: n.printable(), Line: n.line}
		if n.fn >= 0 {
			frames[i].File = p.strings[p.functions[n.fn].file]
		}
	}
	type sampled struct {
		Type       string     `json:"type"`
		Name       string     `json:"name"`
		Unit       string     `json:"unit"`
		StartValue int64      `json:"startValue"`
		EndValue   int64      `json:"endValue"`
		Samples    [][]uint32 `json:"samples"`
		Weights    []int64    `json:"weights"`
	}
	if samples == nil {
		samples, weights = [][]uint32{}, []int64{}
	}
	return json.NewEncoder(w).Encode(map[string]any{
		"$schema":  "https://www.speedscope.app/file-format-schema.json",
		"name":     name,
		"exporter": "pulsectl",
		"shared":   map[string]any{"frames": frames},
		"profiles": []sampled{{"sampled", cmp.Or(name, h.SampleType), speedscopeUnit(h.Unit), 0, total, samples, weights}},
	})
}

// speedscopeUnit returns the unit as speedscope spells it.
func speedscopeUnit(u string) string {
	switch u {
	case "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes":
		return u
	}
	return "none"
}
