package api

import (
	"fmt"
	"strconv"
	"time"
)

// ParseDuration reads a duration as parameters and settings write it: a bare
// number is seconds, all else a Go duration like 250ms or 10m.
func ParseDuration(s string) (time.Duration, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		if !(f > -1e9 && f < 1e9) {
			return 0, fmt.Errorf("duration %q: want fewer than 1e9 seconds", s)
		}
		return time.Duration(f * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("duration %q: want seconds, or a duration like 250ms or 10m", s)
	}
	return d, nil
}
