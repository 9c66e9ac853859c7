package render

import (
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/internal/waterfall"
)

// axis writes the scale of a timeline: a label at each quarter, or half where
// it is narrow, the last one flush right.
func axis(from, to time.Duration, w int) string {
	steps := 4
	switch {
	case w < 20:
		steps = 1
	case w < 48:
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
	put(0, duration(from))
	for i := 1; i <= steps; i++ {
		text := duration(from + time.Duration(float64(to-from)*float64(i)/float64(steps)))
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

// timeline draws the spans of one line over w cells: a block where the trace
// waited for them, a line elsewhere, an ellipsis at the end of one that still
// runs. Blocks never overlap in time, so they read as one staircase.
func timeline(l *waterfall.Layout, rows []int, from, to time.Duration, w int) string {
	half := make([]int, w*2)
	scale := float64(len(half)) / float64(max(to-from, 1))
	fill := func(a, b time.Duration, what int) {
		i := min(max(int(float64(a-from)*scale), 0), len(half)-1)
		j := max(int(float64(b-from)*scale+0.5), i+1) // a span always shows
		for ; i < min(j, len(half)); i++ {
			half[i] = max(half[i], what)
		}
	}
	running := false
	for _, row := range rows {
		r := &l.Rows[row]
		fill(r.Start, r.End, waiting)
		for _, c := range r.Critical {
			fill(c.From, c.To, working)
		}
		running = running || r.Running
	}
	line := make([]rune, w)
	for i := range line {
		line[i] = halves[half[2*i]][half[2*i+1]]
	}
	text := strings.TrimRight(string(line), " ")
	if running && text != "" {
		text = string([]rune(text)[:len([]rune(text))-1]) + "…"
	}
	return text
}
