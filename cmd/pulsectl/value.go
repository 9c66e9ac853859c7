package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// durationValue is a flag that takes seconds or a Go duration.
type durationValue struct{ d *time.Duration }

func (v durationValue) String() string {
	if v.d == nil {
		return "0s"
	}
	return v.d.String()
}
func (v durationValue) Type() string { return "duration" }
func (v durationValue) Set(s string) error {
	d, err := api.ParseDuration(s)
	if err != nil {
		return err
	}
	if d < 0 {
		return fmt.Errorf("duration %q: want 0 or more", s)
	}
	*v.d = d
	return nil
}

// sizeValue is a flag that takes bytes: 1048576, 64MiB, 1GB.
type sizeValue struct{ n *int64 }

var units = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1},
}

func (v sizeValue) String() string {
	if v.n == nil {
		return "0"
	}
	for i := 3; i >= 0; i-- {
		if n := *v.n; n > 0 && n%units[i].bytes == 0 {
			return strconv.FormatInt(n/units[i].bytes, 10) + units[i].suffix
		}
	}
	return strconv.FormatInt(*v.n, 10)
}
func (v sizeValue) Type() string { return "size" }
func (v sizeValue) Set(s string) error {
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if err != nil || !(n >= 0 && n*float64(u.bytes) < 1<<60) {
			break
		}
		*v.n = int64(n * float64(u.bytes))
		return nil
	}
	return fmt.Errorf("size %q: want bytes like 1048576, 64MiB or 1GB", s)
}
