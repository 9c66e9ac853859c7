package hotspot

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// CompareOptions says how [Compare] looks at two profiles. The zero value
// compares own values of all functions.
type CompareOptions struct {
	Selection
	Cum      bool    // compare and judge values with callees instead of own values
	N        int     // rows, new and gone stacks at most, each; 0 means all
	FailOver float64 // of growth in a function's share: 0.05 is five percentage points; 0 judges nothing
}

// Comparison is what changed between two profiles. Shares and values per second
// make profiles of different length comparable; Before and After are as the
// profiles have them.
type Comparison struct {
	SampleType string `json:"sample_type"`
	Unit       string `json:"unit"` // of Before too, whatever its own is
	Before     Side   `json:"before"`
	After      Side   `json:"after"`

	Rows      []Change `json:"rows"` // largest change of share first
	Functions int      `json:"functions"`
	New       Stacks   `json:"new"`  // on one side only
	Gone      Stacks   `json:"gone"` //

	Swapped string `json:"swapped,omitempty"` // why the sides look swapped, in a sentence
	Note    string `json:"note,omitempty"`    // what limits the comparison, in a sentence

	FailOver float64  `json:"fail_over,omitempty"`
	Over     []Change `json:"over,omitempty"` // whose share grew by more, largest first
}

// Side is one of the profiles compared.
type Side struct {
	Total     int64   `json:"total"`
	Samples   int64   `json:"samples"`
	Seconds   float64 `json:"seconds"`              // that it covers; 0 if not told
	PerSecond float64 `json:"per_second,omitempty"` // of Total; 0 without Seconds
}

// Change is one function on both sides.
type Change struct {
	Function        string  `json:"function"`
	File            string  `json:"file,omitempty"`
	Before          int64   `json:"before"`
	After           int64   `json:"after"`
	BeforeRatio     float64 `json:"before_ratio"` // of its side's total
	AfterRatio      float64 `json:"after_ratio"`
	Delta           float64 `json:"delta"` // AfterRatio - BeforeRatio: 0.05 is five percentage points
	BeforePerSecond float64 `json:"before_per_second,omitempty"`
	AfterPerSecond  float64 `json:"after_per_second,omitempty"`
}

// Stacks are call paths that one side has and the other has not.
type Stacks struct {
	Count int        `json:"count"` // there are, listed or not
	Value int64      `json:"value"`
	Ratio float64    `json:"ratio"` // of their side's total
	List  []OneStack `json:"list"`  // largest first
}

// OneStack is a call path, the outermost call first.
type OneStack struct {
	Functions []string `json:"functions"`
	Value     int64    `json:"value"`
	Ratio     float64  `json:"ratio"`
}

// Passed tells whether no function's share grew by more than was allowed.
func (c *Comparison) Passed() bool { return len(c.Over) == 0 }

// fewSamples is where a share of a side is mostly noise: ten percent.
const fewSamples = 100

// Compare sets p against base, function by function and stack by stack. It fails if
// they have no such values in common.
func Compare(p, base *Profile, o CompareOptions) (*Comparison, error) {
	shared := newNames()
	after, err := survey(p, o.Selection, shared)
	if err != nil {
		return nil, err
	}
	o.SampleType = p.SampleTypes[after.v.at].Type
	if !slices.ContainsFunc(base.SampleTypes, func(t ValueType) bool { return t.Type == o.SampleType }) {
		return nil, fmt.Errorf("the base has no %s, but %s: they cannot be compared", p.SampleTypes[after.v.at], typesOf(base))
	}
	before, err := survey(base, o.Selection, shared)
	if err != nil {
		return nil, fmt.Errorf("the base: %w", err)
	}
	ratio, ok := sameKind(before.h.Unit, after.h.Unit)
	if !ok || before.h.SampleType != after.h.SampleType {
		return nil, fmt.Errorf("the base has %s in %s, the profile %s in %s: they cannot be compared",
			before.h.SampleType, before.h.Unit, after.h.SampleType, after.h.Unit)
	}
	before.convert(ratio)
	c := &Comparison{SampleType: after.h.SampleType, Unit: after.h.Unit, Before: before.side(), After: after.side(), FailOver: o.FailOver}
	c.rows(before, after, o)
	c.New, c.Gone = after.without(before, o.N), before.without(after, o.N)
	c.Swapped = swapped(p, base, c)
	c.Note = c.limits()
	return c, nil
}

// surveyed is one side: values by function and by stack.
type surveyed struct {
	v      *view
	h      Header
	byName map[string]*valued
	stacks *paths
}

type valued struct {
	file      string
	flat, cum int64
}

// survey takes the names of both sides from one list.
func survey(p *Profile, s Selection, n *names) (*surveyed, error) {
	v, err := newView(p, s)
	if err != nil {
		return nil, err
	}
	out := &surveyed{v: v, byName: map[string]*valued{}, stacks: newPaths(v, n, (*node).printable)}
	t := newTally(v)
	out.h = v.each(func(s *taken) {
		t.add(s)
		out.stacks.add(s)
	})
	if out.stacks.err != nil {
		return nil, out.stacks.err
	}
	for x := range v.nodes {
		flat, cum := t.values(uint32(x))
		if flat == 0 && cum == 0 {
			continue
		}
		name := n.list[out.stacks.number[x]]
		f := out.byName[name]
		if f == nil {
			f = &valued{}
			out.byName[name] = f
			if n := &v.nodes[x]; n.fn >= 0 {
				f.file = p.strings[p.functions[n.fn].file]
			}
		}
		f.flat += flat
		f.cum += cum
	}
	return out, nil
}

// convert multiplies all values, to another unit.
func (s *surveyed) convert(ratio float64) {
	if ratio == 1 {
		return
	}
	by := func(v int64) int64 { return int64(math.Round(float64(v) * ratio)) }
	s.h.Total = by(s.h.Total)
	for _, f := range s.byName {
		f.flat, f.cum = by(f.flat), by(f.cum)
	}
	for k, v := range s.stacks.sums {
		s.stacks.sums[k] = by(v)
	}
}

func (s *surveyed) side() Side {
	return Side{Total: s.v.out(s.h.Total), Samples: s.h.Samples, Seconds: s.h.Seconds, PerSecond: s.perSecond(s.h.Total)}
}

func (s *surveyed) perSecond(v int64) float64 {
	if s.h.Seconds <= 0 {
		return 0
	}
	return float64(s.v.out(v)) / s.h.Seconds
}

// rows compares the functions of both sides.
func (c *Comparison) rows(before, after *surveyed, o CompareOptions) {
	add := func(name string, b, a *valued) {
		r := Change{Function: name, File: cmp.Or(a.file, b.file)}
		was, is := b.flat, a.flat
		if o.Cum {
			was, is = b.cum, a.cum
		}
		if was == 0 && is == 0 {
			return
		}
		r.Before, r.After = before.v.out(was), after.v.out(is)
		r.BeforeRatio, r.AfterRatio = before.h.ratio(was), after.h.ratio(is)
		r.BeforePerSecond, r.AfterPerSecond = before.perSecond(was), after.perSecond(is)
		r.Delta = r.AfterRatio - r.BeforeRatio
		c.Rows = append(c.Rows, r)
	}
	c.Rows = []Change{}
	none := &valued{}
	for name, a := range after.byName {
		add(name, cmp.Or(before.byName[name], none), a)
	}
	for name, b := range before.byName {
		if after.byName[name] == nil {
			add(name, b, none)
		}
	}
	slices.SortFunc(c.Rows, func(a, b Change) int {
		return cmp.Or(cmp.Compare(math.Abs(b.Delta), math.Abs(a.Delta)),
			cmp.Compare(b.AfterRatio, a.AfterRatio), strings.Compare(a.Function, b.Function))
	})
	if o.FailOver > 0 {
		for _, r := range c.Rows {
			if r.Delta > o.FailOver {
				c.Over = append(c.Over, r)
			}
		}
	}
	c.Functions = len(c.Rows)
	c.Rows = c.Rows[:limit(len(c.Rows), o.N)]
}

// without returns the stacks of s that other has not, by their names.
func (s *surveyed) without(other *surveyed, n int) Stacks {
	var own []string
	for _, k := range s.stacks.order {
		if _, theirs := other.stacks.sums[k]; !theirs && s.stacks.sums[k] != 0 {
			own = append(own, k)
		}
	}
	slices.SortFunc(own, func(a, b string) int {
		if by := cmp.Compare(abs(s.stacks.sums[b]), abs(s.stacks.sums[a])); by != 0 {
			return by
		}
		return slices.Compare(s.stacks.path(a), s.stacks.path(b))
	})
	out := Stacks{Count: len(own), List: []OneStack{}}
	for i, k := range own {
		v := s.stacks.sums[k]
		out.Value += v
		if i < limit(len(own), n) {
			out.List = append(out.List, OneStack{s.stacks.path(k), s.v.out(v), s.h.ratio(v)})
		}
	}
	out.Value, out.Ratio = s.v.out(out.Value), s.h.ratio(out.Value)
	return out
}

// cumulative tells whether values of a type only ever grow while a process
// lives, so that a later profile of it cannot have less.
func cumulative(sampleType string) bool {
	switch sampleType {
	case "alloc_objects", "alloc_space", "contentions", "delay":
		return true
	}
	return false
}

// swapped says why the base looks like the later one of the two.
func swapped(p, base *Profile, c *Comparison) string {
	switch {
	case !p.Time.IsZero() && !base.Time.IsZero() && p.Time.Before(base.Time):
		return fmt.Sprintf("the base was taken %s after the profile", base.Time.Sub(p.Time))
	case cumulative(c.SampleType) && p.Duration == 0 && base.Duration == 0 && c.After.Total < c.Before.Total:
		return fmt.Sprintf("%s only grows while a process lives, and the base has more of it", c.SampleType)
	}
	return ""
}

// limits says what the comparison cannot tell.
func (c *Comparison) limits() string {
	least := min(c.Before.Samples, c.After.Samples)
	switch {
	case c.Before.Total == 0 && c.After.Total == 0:
		return "neither side has any samples"
	case c.Before.Total == 0:
		return "the base has no samples"
	case c.After.Total == 0:
		return "the profile has no samples"
	case (c.SampleType == "cpu" || c.SampleType == "wall" || c.SampleType == "samples") && least < fewSamples:
		return fmt.Sprintf("one side has %d samples: a share of it can be off by %.0f %%", least, 100/math.Sqrt(float64(max(least, 1))))
	}
	return ""
}
