package hotspot

import (
	"cmp"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// view is a profile as a [Selection] sees it: which nodes each location stands
// for, and what becomes of a stack.
type view struct {
	p       *Profile
	at      int // the sample type
	divisor int // the sample type that Mean divides by; -1 without
	ratio   float64
	sel     Selection

	nodes    []node
	locNodes []uint32 // nodes of all locations, innermost first
	locEnd   []uint32 // of location i: its nodes end here
	flags    []uint8  // of location i; nil if nothing is filtered by name

	cutting, naming, from, below bool // which steps of stack there are to do
	focused, ignored             tagMatch
	labels                       bool // a pass needs the labels anyway
	buffer                       []uint32
}

// What the names of a location say.
const (
	flagFocus   uint8 = 1 << iota // it is focused
	flagIgnore                    // its samples are dropped
	flagHide                      // it is left out
	flagDrop                      // drop_frames drops it, and what it calls
	flagDropOut                   // drop_frames drops what it calls
	flagFrom                      // ShowFrom matches
	flagBelow                     // PruneFrom matches
)

// node is what samples are added up by: a function, or what the granularity
// makes of it. Two nodes differ in their key.
type node struct {
	nodeKey
	fn int32 // the first function of this node; -1 if unknown
}

type nodeKey struct {
	name, file, objfile     string
	address                 uint64
	line, column, startLine int64
}

// newView works a selection out for the locations of p.
func newView(p *Profile, s Selection) (*view, error) {
	at, err := p.sampleIndex(s.SampleType)
	if err != nil {
		return nil, err
	}
	if s.Granularity, err = ParseGranularity(string(s.Granularity)); err != nil {
		return nil, err
	}
	v := &view{p: p, at: at, divisor: -1, sel: s, ratio: 1 / cmp.Or(s.DivideBy, 1)}
	if s.Mean {
		v.divisor = 0
	}
	if s.TagFocus != "" || s.TagIgnore != "" {
		units := p.labelUnits()
		if v.focused, err = p.tagFilter("tagfocus", s.TagFocus, units); err != nil {
			return nil, err
		}
		if v.ignored, err = p.tagFilter("tagignore", s.TagIgnore, units); err != nil {
			return nil, err
		}
	}
	l, err := newLocator(v)
	if err != nil {
		return nil, err
	}
	l.all()
	return v, nil
}

// header says what the values of v are; its total is still to be counted.
func (v *view) header() Header {
	p := v.p
	h := Header{Type: p.Type(), SampleType: p.SampleTypes[v.at].Type, Unit: p.SampleTypes[v.at].Unit, Seconds: p.Duration.Seconds()}
	if v.sel.Mean {
		h.SampleType = "mean_" + h.SampleType
	}
	return h
}

// out scales a value as DivideBy asks.
func (v *view) out(value int64) int64 {
	if v.ratio > 0 && v.ratio != 1 {
		return int64(float64(value) * v.ratio)
	}
	return value
}

// printable returns a node's name as pprof prints it.
func (n *node) printable() string {
	if n.address == 0 && n.line == 0 && n.file == "" && n.name != "" {
		return n.name
	}
	var parts []string
	if n.address != 0 {
		parts = append(parts, hex16(n.address))
	}
	if n.name != "" {
		parts = append(parts, n.name)
	}
	switch {
	case n.line != 0:
		s := n.file + ":" + strconv.FormatInt(n.line, 10)
		if n.column != 0 {
			s += ":" + strconv.FormatInt(n.column, 10)
		}
		parts = append(parts, s)
	case n.file != "":
		parts = append(parts, n.file)
	case n.name != "":
	case n.objfile != "":
		parts = append(parts, "["+filepath.Base(n.objfile)+"]")
	default:
		parts = append(parts, "<unknown>")
	}
	return strings.Join(parts, " ")
}

func hex16(v uint64) string {
	s := strconv.FormatUint(v, 16)
	return strings.Repeat("0", 16-len(s)) + s
}

// stack returns what of a stack is selected; false means its sample does not
// count. The result is valid until the next call.
func (v *view) stack(s []uint32) ([]uint32, bool) {
	if v.flags == nil {
		return s, true
	}
	if v.cutting {
		s = v.cut(s)
	}
	if v.naming {
		if !v.wanted(s) {
			return nil, false
		}
		if s = v.unhidden(s); len(s) == 0 {
			return nil, false
		}
	}
	if v.from {
		i := len(s) - 1
		for i >= 0 && v.flags[s[i]]&flagFrom == 0 {
			i--
		}
		if i < 0 {
			return nil, false
		}
		s = s[:i+1]
	}
	if v.below {
		if i := slices.IndexFunc(s, func(l uint32) bool { return v.flags[l]&flagBelow != 0 }); i > 0 {
			s = s[i:]
		}
	}
	return s, true
}

// wanted tells whether a stack has a focused location and no ignored one.
func (v *view) wanted(stack []uint32) bool {
	found := uint8(0)
	for _, l := range stack {
		f := v.flags[l]
		if f&flagIgnore != 0 {
			return false
		}
		found |= f & flagFocus
	}
	return found != 0
}

// unhidden leaves the hidden locations out.
func (v *view) unhidden(stack []uint32) []uint32 {
	hidden := func(l uint32) bool { return v.flags[l]&flagHide != 0 }
	if !slices.ContainsFunc(stack, hidden) {
		return stack
	}
	v.buffer = slices.DeleteFunc(append(v.buffer[:0], stack...), hidden)
	return v.buffer
}

// cut takes from a stack what drop_frames drops: from the root on, after the
// first frame that stays.
func (v *view) cut(stack []uint32) []uint32 {
	user := false
	for i := len(stack) - 1; i >= 0; i-- {
		switch f := v.flags[stack[i]]; {
		case f&(flagDrop|flagDropOut) == 0:
			user = true
		case user && f&flagDrop != 0:
			return stack[i+1:]
		case user:
			return stack[i:]
		}
	}
	return stack
}

// labelled tells whether the labels of a sample are selected.
func (v *view) labelled(labels []label) bool {
	return (v.focused == nil || v.focused(labels)) && (v.ignored == nil || !v.ignored(labels))
}

// nodesOf returns the nodes of location l, innermost first.
func (v *view) nodesOf(l uint32) []uint32 {
	return v.locNodes[begin(v.locEnd, int(l)):v.locEnd[l]]
}

// taken is a sample as selected.
type taken struct {
	number         int      // of the sample in its profile
	stack          []uint32 // locations that stay, leaf first; until the next sample
	value, divisor int64
	count          int64 // how often it was taken, where the profile says so, else 1
	labels         []label
}

// each calls f with every sample that is selected. It returns the header with
// the total.
func (v *view) each(f func(*taken)) Header {
	h, p := v.header(), v.p
	counts := p.countIndex()
	var all, base sums
	var t taken // one for all, since it is handed out by its address
	p.eachSample(v.labels || v.focused != nil || v.ignored != nil || p.hasBase, func(i int, s *sample) {
		t = taken{number: i, value: s.values[v.at], count: 1, labels: s.labels}
		if v.divisor >= 0 {
			t.divisor = s.values[v.divisor]
		}
		if counts >= 0 {
			t.count = s.values[counts]
		}
		h.Samples += t.count
		if !v.sel.Relative {
			v.sum(&t, &all, &base)
		}
		var ok bool
		if t.stack, ok = v.stack(s.stack); !ok || !v.labelled(s.labels) {
			return
		}
		if v.sel.Relative {
			v.sum(&t, &all, &base)
		}
		f(&t)
	})
	if base.total > 0 {
		all = base
	}
	if h.Total = all.total; all.divisor != 0 {
		h.Total /= all.divisor
	}
	return h
}

type sums struct{ total, divisor int64 }

func (v *view) sum(t *taken, all, base *sums) {
	all.total += abs(t.value)
	all.divisor += t.divisor
	if v.p.hasBase && v.p.isBase(t.labels) {
		base.total += abs(t.value)
		base.divisor += t.divisor
	}
}

// countIndex returns the sample type that counts samples, or -1.
func (p *Profile) countIndex() int {
	return slices.IndexFunc(p.SampleTypes, func(t ValueType) bool { return t.Type == "samples" && t.Unit == "count" })
}

// isBase tells whether a sample came from the base of a difference: then the
// base is what percentages are of.
func (p *Profile) isBase(labels []label) bool {
	for _, l := range labels {
		if l.str != 0 && p.strings[l.key] == baseLabel && p.strings[l.str] == "true" {
			return true
		}
	}
	return false
}

// baseLabel is how pprof marks the samples of a base.
const baseLabel = "pprof::base"

// binary returns the file of a mapping as pprof shows it: a profile of a server
// may name its address there.
func (m *mapping) binary() string {
	if m.buildID == "" && strings.Contains(m.file, ":") {
		if u, err := url.Parse(m.file); err == nil && u.IsAbs() {
			return ""
		}
	}
	return m.file
}

// matches is what a pattern says about names and binaries of a profile.
type matches struct{ function, mapping []bool }

func (p *Profile) match(re *regexp.Regexp, binaries []string) *matches {
	if re == nil {
		return nil
	}
	m := &matches{make([]bool, len(p.functions)), make([]bool, len(binaries))}
	for i, f := range p.functions {
		m.function[i] = re.MatchString(p.strings[f.name]) || re.MatchString(p.strings[f.file])
	}
	for i, b := range binaries {
		m.mapping[i] = re.MatchString(b)
	}
	return m
}

func (m *matches) line(ln line) bool { return ln.function >= 0 && m.function[ln.function] }

func (m *matches) binary(l location) bool { return l.mapping >= 0 && m.mapping[l.mapping] }

func (m *matches) any(lines []line, l location) bool {
	return slices.ContainsFunc(lines, m.line) || m.binary(l)
}
