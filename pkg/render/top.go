package render

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

const topBar = 12 // cells of the bars in a top

// ProfileTop draws the hottest functions of a profile, a screen an instance.
// cum says that the rows are sorted by the value with callees.
func ProfileTop(w io.Writer, rs []api.Result[api.ProfileTop], cum bool, o Options) error {
	return screens(w, rs, o, func(s *screen, where string, t api.ProfileTop) error { return s.top(t, cum, where) })
}

func (s *screen) top(t api.ProfileTop, cum bool, where string) error {
	if !s.NoHeaders {
		s.heading(titled(topTitle(t, cum), where), s.muted.Render(topScope(t)))
		s.line()
	}
	if len(t.Rows) == 0 {
		s.line(s.muted.Render("No function has a value in this profile."))
		return nil
	}
	most := int64(0)
	for _, r := range t.Rows {
		most = max(most, leading(r, cum))
	}
	var rows [][]string
	var sum float64
	for _, r := range t.Rows {
		sum += r.FlatRatio
		rows = append(rows, s.topRow(r, t.Unit, most, sum, cum))
	}
	if err := s.table(topColumns(), rows); err != nil {
		return err
	}
	if len(t.Rows) < t.Functions && !s.NoHeaders {
		s.line()
		s.line(s.muted.Render(fmt.Sprintf("%s of %s functions, %s of the %s  --limit 0 shows all",
			count(int64(len(t.Rows))), count(int64(t.Functions)), share(sum), whole(t.Unit))))
	}
	return nil
}

func topColumns() []column {
	return []column{
		{name: "FLAT", right: true}, {name: "FLAT%", right: true, drop: 1}, {drop: 3}, {name: "SUM%", right: true, drop: 4},
		{name: "CUM", right: true}, {name: "CUM%", right: true, drop: 2}, {name: "FUNCTION", flex: true},
	}
}

// topRow is a function; most is the largest value of all, sum the share of it
// and those before it.
func (s *screen) topRow(r api.TopEntry, unit string, most int64, sum float64, cum bool) []string {
	return []string{
		amount(r.Flat, unit), part(r.Flat, r.FlatRatio), s.accent.Render(bar(float64(leading(r, cum)), float64(most), topBar)), share(sum),
		amount(r.Cum, unit), part(r.Cum, r.CumRatio), clean(hotspot.ShortName(r.Function)),
	}
}

func leading(r api.TopEntry, cum bool) int64 {
	if cum {
		return r.Cum
	}
	return r.Flat
}

func topTitle(t api.ProfileTop, cum bool) string {
	what := strings.ReplaceAll(clean(t.SampleType), "_", " ")
	switch t.SampleType {
	case "cpu":
		what = "CPU time"
	case "wall":
		what = "wall time"
	}
	if cum {
		return "Top functions by " + what + ", callees included"
	}
	return "Top functions by own " + what
}

// topScope says how much of what over which time, and which profile.
func topScope(t api.ProfileTop) string {
	scope := scopeText(t.Total, t.Unit, t.SampleType, t.Duration)
	if t.ProfileID != "" {
		scope += "  " + shortID(t.ProfileID, 8)
	}
	return scope
}

func scopeText(total int64, unit, sampleType string, over api.Seconds) string {
	scope := amount(total, unit)
	switch sampleType {
	case "cpu":
		scope += " CPU"
	default:
		scope += " " + sampleWords(sampleType)
	}
	if d := over.Duration(); d >= 10*time.Second {
		scope += " of " + age(d)
	} else if d > 0 {
		scope += " of " + duration(d)
	}
	return scope
}

// amount writes a profile's value in its unit; nothing is a dash.
func amount(v int64, unit string) string {
	if v == 0 {
		return "–"
	}
	switch unit {
	case "nanoseconds", "ns":
		return duration(time.Duration(v))
	case "microseconds", "us":
		return duration(time.Duration(v) * time.Microsecond)
	case "milliseconds", "ms":
		return duration(time.Duration(v) * time.Millisecond)
	case "seconds", "s":
		return duration(time.Duration(v) * time.Second)
	case "bytes", "byte", "b", "B":
		if v < 0 {
			return "-" + size(-v)
		}
		return size(v)
	}
	return count(v)
}

// part writes a value's share; that of nothing is a dash.
func part(v int64, ratio float64) string {
	if v == 0 {
		return "–"
	}
	return share(ratio)
}

// whole names what the shares are of.
func whole(unit string) string {
	switch amount(1, unit) {
	case "1":
		return "total"
	case "1B":
		return "bytes"
	}
	return "time"
}
