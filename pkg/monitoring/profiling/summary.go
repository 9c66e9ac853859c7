package profiling

import (
	"fmt"
	"math"
	"time"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// topFunctions bounds the list in a summary; `top` gives all of them.
const topFunctions = 30

// maxFunction bounds the bytes of a function in a summary, and in the rows of
// `top`, in which files stand once for each function.
const maxFunction = 4096

// describe fills in of p what its data says: type, samples, top functions.
func describe(p *api.Profile, parsed *hotspot.Profile, size int) error {
	fns, sum, err := hotspot.Functions(parsed, hotspot.TopOptions{Cum: true})
	if err != nil {
		return err
	}
	if p.Type == "" {
		p.Type = parsed.Type()
	}
	p.Samples, p.Size = api.CountOf(sum.Samples), api.CountOf(size)
	p.TotalCalls, p.PrimitiveCalls = api.Count(sum.Samples), api.Count(sum.Samples)
	p.TopFunctions = []api.TopFunction{}
	unit, isTime := timeUnit(sum.SampleType.Unit)
	if !isTime && sum.SampleType.Unit != "count" {
		return nil // a summary's columns are calls and seconds: bytes are for `top`
	}
	for _, f := range fns[:min(len(fns), topFunctions)] {
		row := api.TopFunction{NCalls: api.Count(f.Samples), FilenameFunction: fmt.Sprintf("%.*s:%d(%.*s)", maxFunction, f.File, f.StartLine, maxFunction, f.Name)}
		if isTime {
			row.TotTime, row.CumTime = api.Seconds(f.Flat*unit), api.Seconds(f.Cum*unit)
			if f.Samples > 0 {
				row.PerCall, row.PerCallCum = row.TotTime/api.Seconds(f.Samples), row.CumTime/api.Seconds(f.Samples)
			}
		} else {
			row.NCalls = api.Count(f.Cum)
		}
		p.TopFunctions = append(p.TopFunctions, row)
	}
	return nil
}

// timeUnit returns the nanoseconds of a pprof unit of time.
func timeUnit(unit string) (int64, bool) {
	switch unit {
	case "nanoseconds", "ns":
		return 1, true
	case "microseconds", "us":
		return int64(time.Microsecond), true
	case "milliseconds", "ms":
		return int64(time.Millisecond), true
	case "seconds", "s":
		return int64(time.Second), true
	}
	return 0, false
}

// accuracy says how far n samples can be trusted, or "" for plenty of them.
func accuracy(n int64) string {
	switch {
	case n == 0:
		return "no samples: it ended before the first"
	case n == 1:
		return "1 sample ±100 %"
	case n < 100:
		return fmt.Sprintf("%d samples ±%.0f %%", n, 100/math.Sqrt(float64(n)))
	}
	return ""
}
