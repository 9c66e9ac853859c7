package render

import (
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/internal/waterfall"
)

// axis writes the scale of a timeline: a label at each quarter, or half where
// it is narrow, the last one flush right.
func axis(total time.Duration, w int) string {
	steps := 4
	if w < 48 {
		steps = 2
	}
	line := []rune(blanks(w))
	put := func(at int, text string) {
		for i, r := range []rune(text) {
			if at+i >= 0 && at+i < w {
				line[at+i] = r
			}
		}
	}
	put(0, "0")
	for i := 1; i <= steps; i++ {
		text := duration(total * time.Duration(i) / time.Duration(steps))
		at := w*i/steps - cells(text)/2
		if i == steps {
			at = w - cells(text)
		}
		put(at, text)
	}
	return string(line)
}

// What half a cell of a timeline shows.
const (
	nothing = iota
	waiting // for a child, or running beside something slower
	working // on the critical path
)

// halves are the characters of a cell by its left and right half.
var halves = [3][3]rune{
	nothing: {' ', '╶', '▐'},
	waiting: {'╴', '─', '▐'},
	working: {'▌', '▌', '█'},
}

// timeline draws one row over w cells: a block where the trace waited for it, a
// line elsewhere. Blocks never overlap in time, so they read as one staircase.
func timeline(r *waterfall.Row, total time.Duration, w int) string {
	half := make([]int, w*2)
	fill := func(from, to time.Duration, what int) {
		scale := float64(len(half)) / float64(max(total, 1))
		a := min(int(float64(from)*scale), len(half)-1)
		b := max(int(float64(to)*scale+0.5), a+1) // a span always shows
		for i := max(a, 0); i < min(b, len(half)); i++ {
			half[i] = max(half[i], what)
		}
	}
	fill(r.Start, r.End, waiting)
	for _, c := range r.Critical {
		fill(c.From, c.To, working)
	}
	var b strings.Builder
	for i := 0; i < len(half); i += 2 {
		b.WriteRune(halves[half[i]][half[i+1]])
	}
	return strings.TrimRight(b.String(), " ")
}
