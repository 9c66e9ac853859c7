package check

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Unit is what the bounds of a [Range] are in, and how people may write them.
type Unit int

// The units.
const (
	Plain   Unit = iota // a number
	Seconds             // also a duration: 250ms
	Ratio               // 0 to 1, also a percentage: 5%
)

// Range is a threshold as the Monitoring Plugins guidelines have it: an alert is
// raised if a value is outside of Low and High, or with Inside within them, the
// bounds included. The zero value alerts of everything but 0; a nil one never.
type Range struct {
	Low, High float64 // -Inf and +Inf where there is no bound
	Inside    bool
}

// ParseRange reads [@]START:END, START: or END, where ~ as START is negative
// infinity and END alone begins at 0.
func ParseRange(text string, u Unit) (*Range, error) {
	r := &Range{High: math.Inf(1)}
	rest, inside := strings.CutPrefix(strings.TrimSpace(text), "@")
	r.Inside = inside
	low, high, both := strings.Cut(rest, ":")
	if !both {
		low, high = "0", low
		if high == "" {
			return nil, fmt.Errorf("threshold %q: want [@]START:END, START: or END", text)
		}
	}
	var err error
	switch low {
	case "~":
		r.Low = math.Inf(-1)
	case "": // 0
	default:
		if r.Low, err = u.parse(low); err != nil {
			return nil, fmt.Errorf("threshold %q: %w", text, err)
		}
	}
	if high != "" {
		if r.High, err = u.parse(high); err != nil {
			return nil, fmt.Errorf("threshold %q: %w", text, err)
		}
	}
	if r.Low > r.High {
		return nil, fmt.Errorf("threshold %q: it starts above its end", text)
	}
	return r, nil
}

// parse reads a bound in the form that the unit allows.
func (u Unit) parse(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	switch {
	case err == nil && !math.IsNaN(v) && !math.IsInf(v, 0):
		return v, nil
	case u == Seconds:
		d, err := api.ParseDuration(s)
		if err != nil {
			return 0, fmt.Errorf("%q: want seconds, or a duration like 250ms", s)
		}
		return d.Seconds(), nil
	case u == Ratio:
		if digits, percent := strings.CutSuffix(s, "%"); percent {
			if v, err := strconv.ParseFloat(digits, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
				return v / 100, nil
			}
		}
		return 0, fmt.Errorf("%q: want a number from 0 to 1, or a percentage", s)
	}
	return 0, fmt.Errorf("%q: want a number", s)
}

// Alerts tells whether a value raises an alert. What is no number does.
func (r *Range) Alerts(v float64) bool {
	if r == nil {
		return false
	}
	return (v >= r.Low && v <= r.High) == r.Inside
}

// String is the range as the guidelines write it, "" for nil.
func (r *Range) String() string { return r.scaled(1) }

// scaled is the range of values that are so many times as large.
func (r *Range) scaled(by float64) string {
	if r == nil {
		return ""
	}
	var b strings.Builder
	if r.Inside {
		b.WriteByte('@')
	}
	switch {
	case math.IsInf(r.Low, -1):
		b.WriteString("~:")
	case r.Low != 0 || math.IsInf(r.High, 1):
		b.WriteString(plain(r.Low*by) + ":")
	}
	if !math.IsInf(r.High, 1) {
		b.WriteString(plain(r.High * by))
	}
	return b.String()
}

// plain writes a number without an exponent, which not all readers know.
func plain(v float64) string {
	if math.Abs(v) >= 1e15 || v != 0 && math.Abs(v) < 1e-9 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	s := strconv.FormatFloat(v, 'f', 9, 64)
	s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	if s == "-0" {
		return "0"
	}
	return s
}
