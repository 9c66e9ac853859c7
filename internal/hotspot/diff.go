package hotspot

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// DiffOptions says how [Diff] compares. The zero value compares as `go tool
// pprof -diff_base` does.
type DiffOptions struct {
	Normalize bool // scale the profile to the base's total first
	Subtract  bool // as -base: percentages are of the difference, not of the base
}

// Diff returns p minus base: a profile whose samples are those of both, the
// base's being negative. It fails if they have no sample type in common.
func Diff(p, base *Profile, o DiffOptions) (*Profile, error) {
	after, before := source{p: p}, source{p: base, label: !o.Subtract}
	if o.Normalize {
		if err := compatible(p, base); err != nil {
			return nil, err
		}
		have, want := p.totals(), base.totals()
		ratios := make([]float64, len(have))
		for i := range have {
			if have[i] != 0 {
				ratios[i] = float64(want[i]) / float64(have[i])
			}
		}
		after.scales = append(after.scales, ratios)
	}
	minus := make([]float64, len(base.SampleTypes))
	for i := range minus {
		minus[i] = -1
	}
	before.scales = append(before.scales, minus)
	return merge([]*source{&after, &before})
}

// Merge returns the sum of profiles, which must have a sample type in common.
// The samples of each stack become one.
func Merge(profiles ...*Profile) (*Profile, error) {
	if len(profiles) == 0 {
		return nil, fmt.Errorf("merge profiles: there are none")
	}
	sources := make([]*source, len(profiles))
	for i, p := range profiles {
		sources[i] = &source{p: p}
	}
	return merge(sources)
}

// totals returns the sums of each sample type.
func (p *Profile) totals() []int64 {
	sums := make([]int64, len(p.SampleTypes))
	p.eachSample(false, func(_ int, s *sample) {
		for i, v := range s.values {
			sums[i] += v
		}
	})
	return sums
}

// source is a profile to merge and what happens to its values before.
type source struct {
	p      *Profile
	label  bool        // mark its samples as those of the base
	scales [][]float64 // factors of each sample type, one after another
	pick   []int       // its sample types that are kept, in the order of the result
	units  []float64   // factors of those

	values []int64
}

// scaled returns the values of a sample after all that happens to them; false
// where nothing of it is left, as pprof decides it.
func (s *source) scaled(values []int64) ([]int64, bool) {
	s.values = append(s.values[:0], values...)
	for _, ratios := range s.scales {
		if !scaleValues(s.values, ratios) {
			return nil, false
		}
	}
	n := len(values)
	for _, i := range s.pick {
		s.values = append(s.values, s.values[i])
	}
	return s.values[n:], scaleValues(s.values[n:], s.units)
}

// repicked tells whether the result has not simply all of the sample types.
func (s *source) repicked() bool {
	for i, at := range s.pick {
		if i != at {
			return true
		}
	}
	return len(s.pick) != len(s.p.SampleTypes)
}

// scaleValues multiplies. It tells whether a value that was scaled is not zero,
// true if all factors are 1.
func scaleValues(values []int64, ratios []float64) bool {
	ones, some := true, false
	for i, r := range ratios {
		if r != 1 {
			ones = false
			values[i] = int64(math.Round(float64(values[i]) * r))
			some = some || values[i] != 0
		}
	}
	return ones || some
}

// compatible tells whether two profiles have the same types of values.
func compatible(p, base *Profile) error {
	if p.PeriodType != base.PeriodType {
		return fmt.Errorf("the profiles measure different things: %s and %s", p.PeriodType, base.PeriodType)
	}
	if !slices.Equal(p.SampleTypes, base.SampleTypes) {
		return fmt.Errorf("the profiles have different values: %s and %s", typesOf(p), typesOf(base))
	}
	return nil
}

// String is the type with its unit: cpu/nanoseconds.
func (t ValueType) String() string { return t.Type + "/" + t.Unit }

func typesOf(p *Profile) string {
	var all []string
	for _, t := range p.SampleTypes {
		all = append(all, t.String())
	}
	return strings.Join(all, ", ")
}

// agree finds the sample types that all sources have and the finest unit of each.
func agree(sources []*source) ([]ValueType, ValueType, error) {
	first := sources[0].p
	var types []ValueType
	for n, t := range first.SampleTypes {
		at := make([]int, len(sources))
		for i, s := range sources {
			have := s.p.SampleTypes
			if at[i] = n; n >= len(have) || have[n].Type != t.Type {
				at[i] = slices.IndexFunc(have, func(o ValueType) bool { return o.Type == t.Type })
			}
		}
		if slices.Contains(at, -1) {
			continue
		}
		common := t
		for i, s := range sources {
			var err error
			if common, err = finer(common, s.p.SampleTypes[at[i]]); err != nil {
				return nil, common, err
			}
			s.pick = append(s.pick, at[i])
		}
		types = append(types, common)
	}
	if len(types) == 0 {
		return nil, ValueType{}, fmt.Errorf("the profiles have no values in common: %s and %s", typesOf(first), typesOf(sources[len(sources)-1].p))
	}
	period := first.PeriodType
	for _, s := range sources {
		var err error
		if period, err = finer(period, s.p.PeriodType); err != nil {
			return nil, period, err
		}
		if s.p.PeriodType.Type != first.PeriodType.Type {
			return nil, period, fmt.Errorf("the profiles measure different things: %s and %s", first.PeriodType, s.p.PeriodType)
		}
		for i, at := range s.pick {
			ratio, _ := scale(1, s.p.SampleTypes[at].Unit, types[i].Unit)
			s.units = append(s.units, ratio)
		}
	}
	return types, period, nil
}

// finer returns the one of two types with the finer unit.
func finer(a, b ValueType) (ValueType, error) {
	if _, ok := sameKind(a.Unit, b.Unit); !ok || strings.TrimSuffix(a.Type, "s") != strings.TrimSuffix(b.Type, "s") {
		return a, fmt.Errorf("the profiles have values that cannot be compared: %s and %s", a, b)
	}
	if ratio, _ := scale(1, b.Unit, a.Unit); ratio < 1 {
		return b, nil
	}
	return a, nil
}
