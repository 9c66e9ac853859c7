package api

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Time is an instant from 1970 to 2262, exact to the nanosecond. In JSON it is
// the number of seconds since 1970 with as many decimals as the instant needs;
// the zero Time, and any outside those years, is null. It decodes any JSON
// number, a number in quotes, and null.
type Time struct{ time.Time }

// Unix returns the Time that is ns nanoseconds after 1970, in UTC. A zero or
// negative ns gives the zero Time.
func Unix(ns int64) Time {
	if ns <= 0 {
		return Time{}
	}
	return Time{time.Unix(0, ns).UTC()}
}

// MarshalJSON writes Unix seconds, or null for the zero Time.
func (t Time) MarshalJSON() ([]byte, error) {
	ns := t.UnixNano()
	if ns <= 0 || !t.Equal(time.Unix(0, ns)) { // beyond 2262 UnixNano is any number
		return []byte("null"), nil
	}
	return appendSeconds(nil, ns), nil
}

// UnmarshalJSON reads Unix seconds, or null as the zero Time.
func (t *Time) UnmarshalJSON(b []byte) error {
	ns, err := parseSeconds(b)
	if err != nil {
		return fmt.Errorf("time %.40s: want Unix seconds", b)
	}
	*t = Unix(ns)
	return nil
}

// Seconds is a duration. In JSON it is a number of seconds, computed from
// nanoseconds. It decodes any JSON number, a number in quotes, and null as 0.
type Seconds time.Duration

// Duration returns s as a time.Duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) }

// MarshalJSON writes seconds as a decimal number.
func (s Seconds) MarshalJSON() ([]byte, error) { return appendSeconds(nil, int64(s)), nil }

// UnmarshalJSON reads a number of seconds.
func (s *Seconds) UnmarshalJSON(b []byte) error {
	ns, err := parseSeconds(b)
	if err != nil {
		return fmt.Errorf("duration %.40s: want seconds", b)
	}
	*s = Seconds(ns)
	return nil
}

// Count is a number of things or of bytes. It decodes 3, 3.0, "3" and what
// Python's profiler writes for recursive calls, "3/1" (all calls, then the
// primitive ones; the first counts).
type Count int64

// UnmarshalJSON reads a whole number, however it is written.
func (c *Count) UnmarshalJSON(b []byte) error {
	s := unquote(b)
	s, _, _ = strings.Cut(s, "/")
	if s == "null" || s == "" {
		*c = 0
		return nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		*c = Count(n)
		return nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) > math.MaxInt64/2 {
		return fmt.Errorf("count %.40s: want a whole number", b)
	}
	*c = Count(f)
	return nil
}

// CountOf returns a pointer to a Count of n, for the optional fields.
func CountOf[N ~int | ~int64 | ~uint64 | ~uint32](n N) *Count {
	c := Count(n)
	return &c
}

// Value returns what c points to, and 0 for nil.
func (c *Count) Value() int64 {
	if c == nil {
		return 0
	}
	return int64(*c)
}

// appendSeconds writes ns nanoseconds as decimal seconds without trailing
// zeros: 1500000000 is 1.5. No float is involved, so nothing is rounded.
func appendSeconds(dst []byte, ns int64) []byte {
	u := uint64(ns)
	if ns < 0 {
		dst, u = append(dst, '-'), -u
	}
	dst = strconv.AppendUint(dst, u/1e9, 10)
	frac := u % 1e9
	if frac == 0 {
		return append(dst, '.', '0')
	}
	digits := fmt.Appendf(nil, ".%09d", frac)
	return append(dst, bytes.TrimRight(digits, "0")...)
}

// parseSeconds reads a decimal number of seconds as nanoseconds: exactly where
// it is written without an exponent, by way of a float where it is not.
func parseSeconds(b []byte) (int64, error) {
	s := unquote(b)
	if s == "null" || s == "" {
		return 0, nil
	}
	if ns, ok := parseDecimal(s); ok {
		return ns, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) > math.MaxInt64/2e9 {
		return 0, strconv.ErrRange
	}
	return int64(math.Round(f * 1e9)), nil
}

func parseDecimal(s string) (ns int64, ok bool) {
	digits, negative := strings.CutPrefix(s, "-")
	whole, frac, _ := strings.Cut(digits, ".")
	if len(whole) == 0 || len(whole) > 10 || len(frac) > 32 {
		return 0, false
	}
	sec, err := strconv.ParseUint(whole, 10, 64)
	if err != nil {
		return 0, false
	}
	nano := uint64(0)
	for i := range 9 {
		nano *= 10
		if i < len(frac) {
			if frac[i] < '0' || frac[i] > '9' {
				return 0, false
			}
			nano += uint64(frac[i] - '0')
		}
	}
	for i := 9; i < len(frac); i++ { // finer than we keep: round half up, once
		if frac[i] < '0' || frac[i] > '9' {
			return 0, false
		}
		if i == 9 && frac[i] >= '5' {
			nano++
		}
	}
	u := sec*1e9 + nano // ten digits of seconds fit
	switch {
	case negative && u <= 1<<63:
		return int64(-u), true
	case !negative && u < 1<<63:
		return int64(u), true
	}
	return 0, false
}

func unquote(b []byte) string {
	if len(b) >= 2 && b[0] == '"' && b[len(b)-1] == '"' {
		b = b[1 : len(b)-1]
	}
	return string(b)
}
