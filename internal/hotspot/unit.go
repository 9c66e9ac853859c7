package hotspot

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// unit is one of a family of units, with what one of it is of the base.
type unit struct {
	name    string
	aliases []string
	factor  float64
}

// units holds the families that pprof converts between. In each the last field
// says what an unknown target unit becomes.
var units = []struct {
	units    []unit
	fallback unit
}{
	{[]unit{
		{"B", []string{"b", "byte"}, 1},
		{"kB", []string{"kb", "kbyte", "kilobyte"}, 1 << 10},
		{"MB", []string{"mb", "mbyte", "megabyte"}, 1 << 20},
		{"GB", []string{"gb", "gbyte", "gigabyte"}, 1 << 30},
		{"TB", []string{"tb", "tbyte", "terabyte"}, 1 << 40},
		{"PB", []string{"pb", "pbyte", "petabyte"}, 1 << 50},
	}, unit{"B", nil, 1}},
	{[]unit{
		{"ns", []string{"ns", "nanosecond"}, 1},
		{"us", []string{"μs", "us", "microsecond"}, float64(time.Microsecond)},
		{"ms", []string{"ms", "millisecond"}, float64(time.Millisecond)},
		{"s", []string{"s", "sec", "second"}, float64(time.Second)},
		{"hrs", []string{"hour", "hr"}, float64(time.Hour)},
	}, unit{"s", nil, float64(time.Second)}},
	{[]unit{
		{"n*GCU", []string{"nanogcu"}, 1e-9},
		{"u*GCU", []string{"microgcu"}, 1e-6},
		{"m*GCU", []string{"milligcu"}, 1e-3},
		{"GCU", []string{"gcu"}, 1},
		{"k*GCU", []string{"kilogcu"}, 1e3},
		{"M*GCU", []string{"megagcu"}, 1e6},
		{"G*GCU", []string{"gigagcu"}, 1e9},
		{"T*GCU", []string{"teragcu"}, 1e12},
		{"P*GCU", []string{"petagcu"}, 1e15},
	}, unit{"GCU", nil, 1}},
}

func find(family []unit, name string) (unit, bool) {
	name = strings.ToLower(name)
	if len(name) > 2 {
		name = strings.TrimSuffix(name, "s")
	}
	for _, u := range family {
		if slices.Contains(u.aliases, name) {
			return u, true
		}
	}
	return unit{}, false
}

// scale converts a value between units as pprof does. To "minimum" it takes the
// largest unit that leaves at least one. The unit it returns is "" where pprof
// prints none.
func scale(value int64, from, to string) (float64, string) {
	if value < 0 && -value > 0 {
		v, u := scale(-value, from, to)
		return -v, u
	}
	for _, f := range units {
		u, ok := find(f.units, from)
		if !ok {
			continue
		}
		v := float64(value) * u.factor
		target, ok := find(f.units, to)
		if !ok {
			target = f.fallback
		}
		if to == "minimum" || to == "auto" {
			target = f.fallback
			for i, best := 0, 0.0; i < len(f.units); i++ {
				if u := f.units[i]; u.factor >= best && v/u.factor >= 1 {
					best, target = u.factor, u
				}
			}
		}
		return v / target.factor, target.name
	}
	switch to {
	case "count", "sample", "unit", "minimum", "auto":
		return float64(value), ""
	}
	return float64(value), to
}

// scaled is a number with its unit as pprof prints those of labels.
func scaled(value int64, unit string) string {
	v, u := scale(value, unit, "minimum")
	s := strings.TrimSuffix(strconv.FormatFloat(v, 'f', 2, 64), ".00")
	if s == "0" || s == "-0" {
		return "0"
	}
	return s + u
}

// sameKind tells whether values of the two units can be compared, and how many
// of to one of from is.
func sameKind(from, to string) (ratio float64, ok bool) {
	if from == to {
		return 1, true
	}
	for _, f := range units {
		a, ok := find(f.units, from)
		b, ok2 := find(f.units, to)
		if ok && ok2 {
			return a.factor / b.factor, true
		}
	}
	return 0, false
}
