package render

import (
	"strings"

	"github.com/charmbracelet/lipgloss"
)

var (
	eighths = []rune(" ▏▎▍▌▋▊▉█")
	ticks   = []rune("▁▂▃▄▅▆▇█")
)

// bar draws v of most over w cells in steps of an eighth of a cell. A value
// above zero always shows.
func bar(v, most float64, w int) string {
	if most <= 0 || v <= 0 {
		return ""
	}
	n := min(max(int(v/most*float64(w)*8+0.5), 1), w*8)
	s := strings.Repeat("█", n/8)
	if n%8 > 0 {
		s += string(eighths[n%8])
	}
	return s
}

// spark draws one tick a value, scaled from zero to the largest. Zero is a
// faint ground line, a missing value (negative) a blank.
func (s *screen) spark(vs []float64, style lipgloss.Style) string {
	top := 0.0
	for _, v := range vs {
		top = max(top, v)
	}
	var b strings.Builder
	for i := 0; i < len(vs); {
		kind := sign(vs[i])
		var run strings.Builder
		for ; i < len(vs) && sign(vs[i]) == kind; i++ {
			run.WriteRune(tick(vs[i], top))
		}
		switch kind {
		case 0:
			b.WriteString(s.faint.Render(run.String()))
		case 1:
			b.WriteString(style.Render(run.String()))
		default:
			b.WriteString(run.String())
		}
	}
	return b.String()
}

func tick(v, top float64) rune {
	switch sign(v) {
	case -1:
		return ' '
	case 0:
		return ticks[0]
	}
	return ticks[max(1, int(v/top*float64(len(ticks)-1)+0.5))]
}

func sign(v float64) int {
	switch {
	case v < 0:
		return -1
	case v > 0:
		return 1
	}
	return 0
}

// resample brings a series to exactly n points and keeps each bucket's maximum,
// so that a short spike never disappears from a narrow screen.
func resample(vs []float64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = -1
		if len(vs) == 0 {
			continue
		}
		lo, hi := i*len(vs)/n, (i+1)*len(vs)/n
		for _, v := range vs[lo:min(max(hi, lo+1), len(vs))] {
			out[i] = max(out[i], v)
		}
	}
	return out
}
