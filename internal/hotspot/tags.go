package hotspot

import (
	"cmp"
	"slices"
	"strings"
)

// TagReport is what the labels of a profile's samples add up to.
type TagReport struct {
	Header
	Keys []TagKey `json:"keys"` // by name
}

// TagKey is one key of labels.
type TagKey struct {
	Key    string     `json:"key"`
	Value  int64      `json:"value"` // of all samples with a label of this key
	Ratio  float64    `json:"ratio"`
	Values []TagValue `json:"values"` // largest first
}

// TagValue is one value of a label, numbers with their unit.
type TagValue struct {
	Label string  `json:"label"`
	Value int64   `json:"value"`
	Ratio float64 `json:"ratio"`
}

// Tags returns the labels of a profile with the values of their samples, as
// `go tool pprof -tags` does.
func Tags(p *Profile, s Selection) (*TagReport, error) {
	v, err := newView(p, s)
	if err != nil {
		return nil, err
	}
	v.labels = true
	units := p.labelUnits()
	totals, sums := map[string]int64{}, map[string]map[string]int64{}
	h := v.each(func(t *taken) {
		for _, l := range t.labels {
			key, text := p.strings[l.key], p.strings[l.str]
			if l.str == 0 {
				text = scaled(l.num, units[key])
			}
			if sums[key] == nil {
				sums[key] = map[string]int64{}
			}
			sums[key][text] += t.value
			totals[key] += t.value
		}
	})
	if h.Total < 0 {
		h.Total = 0 // a mean may be: pprof tells no shares of it
	}
	out := &TagReport{Keys: []TagKey{}}
	for key, values := range sums {
		k := TagKey{Key: strings.Clone(key), Value: v.out(totals[key]), Ratio: h.ratio(totals[key])}
		for text, sum := range values {
			k.Values = append(k.Values, TagValue{strings.Clone(text), v.out(sum), h.ratio(sum)})
		}
		slices.SortFunc(k.Values, func(a, b TagValue) int {
			return cmp.Or(cmp.Compare(abs(b.Value), abs(a.Value)), strings.Compare(a.Label, b.Label))
		})
		out.Keys = append(out.Keys, k)
	}
	slices.SortFunc(out.Keys, func(a, b TagKey) int { return strings.Compare(a.Key, b.Key) })
	h.Total = v.out(h.Total)
	out.Header = h
	return out, nil
}
