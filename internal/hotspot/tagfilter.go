package hotspot

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var rangeExpr = regexp.MustCompile("([+-]?[[:digit:]]+)([[:alpha:]]+)?")

// tagMatch tells whether the labels of a sample match.
type tagMatch func(labels []label) bool

// tagFilter compiles an expression of TagFocus or TagIgnore; nil if it is "".
func (p *Profile) tagFilter(what, expr string, units map[string]string) (tagMatch, error) {
	if expr == "" {
		return nil, nil
	}
	key, value, keyed := strings.Cut(expr, "=")
	if !keyed {
		key, value = "", expr
	}
	within, err := parseRange(value)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", what, expr, err)
	}
	if within != nil {
		return func(labels []label) bool {
			for _, l := range labels {
				if k := p.strings[l.key]; l.str == 0 && (!keyed || k == key) && within(l.num, units[k]) {
					return true
				}
			}
			return false
		}, nil
	}
	var all []*regexp.Regexp
	for part := range strings.SplitSeq(value, ",") {
		re, err := regexp.Compile(part)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		all = append(all, re)
	}
	if keyed { // any expression, of the values of one key
		return func(labels []label) bool {
			return slices.ContainsFunc(all, func(re *regexp.Regexp) bool {
				return slices.ContainsFunc(labels, func(l label) bool {
					return l.str != 0 && p.strings[l.key] == key && re.MatchString(p.strings[l.str])
				})
			})
		}, nil
	}
	return func(labels []label) bool { // every expression, each of any label
		for _, re := range all {
			if !slices.ContainsFunc(labels, func(l label) bool {
				return l.str != 0 && re.MatchString(p.strings[l.key]+":"+p.strings[l.str])
			}) {
				return false
			}
		}
		return true
	}, nil
}

// parseRange reads a range of numbers, "32kb", ":64kb", "4mb:" or "12kb:64mb",
// both ends included; nil if expr is something else.
func parseRange(expr string) (func(v int64, unit string) bool, error) {
	ends := rangeExpr.FindAllStringSubmatch(expr, 2)
	if len(ends) == 0 {
		return nil, nil
	}
	var low, high float64
	n, err := strconv.ParseInt(ends[0][1], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s is out of range", ends[0][1])
	}
	low, unit := scale(n, ends[0][2], ends[0][2])
	var within func(v float64) bool
	switch first := ends[0][0]; {
	case len(ends) == 1 && expr == first:
		within = func(v float64) bool { return v == low }
	case len(ends) == 1 && expr == first+":":
		within = func(v float64) bool { return v >= low }
	case len(ends) == 1 && expr == ":"+first:
		within = func(v float64) bool { return v <= low }
	case len(ends) == 2 && expr == first+":"+ends[1][0]:
		if n, err = strconv.ParseInt(ends[1][1], 10, 64); err != nil {
			return nil, fmt.Errorf("%s is out of range", ends[1][1])
		}
		var unit2 string
		if high, unit2 = scale(n, ends[1][2], unit); unit != unit2 {
			return nil, nil
		}
		within = func(v float64) bool { return v >= low && v <= high }
	default:
		return nil, nil
	}
	return func(v int64, u string) bool {
		scaled, su := scale(v, u, unit)
		return su == unit && within(scaled)
	}, nil
}

// labelUnits returns the unit of each key of numeric labels: the first that a
// sample names, else bytes for what is known to be, else the key itself.
func (p *Profile) labelUnits() map[string]string {
	units := map[string]string{}
	p.eachSample(true, func(_ int, s *sample) {
		for _, l := range s.labels {
			if k := p.strings[l.key]; l.str == 0 && units[k] == "" {
				units[k] = p.strings[l.unit]
			}
		}
	})
	for k, u := range units {
		switch {
		case u != "":
		case k == "alignment" || k == "request":
			units[k] = "bytes"
		default:
			units[k] = k
		}
	}
	return units
}
