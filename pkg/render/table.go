package render

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/charmbracelet/x/ansi"
	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// column describes one column of a table without borders.
type column struct {
	name  string
	right bool // numbers
	flex  bool // gives way when the screen is narrow, down to its least
	tail  bool // what does not fit is cut at its end, not in its middle; of a dashboard's columns
	drop  int  // >0: left out when the screen is too narrow, highest first
}

const (
	gutter    = 2
	flexLeast = 24
)

// least is how few cells of all there are a flexible column is left with.
func (c *column) least(total int) int {
	if c.tail {
		return total / 4
	}
	return flexLeast
}

// tablewriter guesses from LANG whether ● and ▁ take two cells. Terminals draw
// them in one; the setting is the process's, so it is made once.
var oneCell = sync.OnceFunc(func() { twwidth.SetEastAsian(false) })

// table writes rows in the screen's width: first it drops the optional columns,
// then it cuts the flexible ones in their middle. Cells may carry colour.
func (s *screen) table(cols []column, rows [][]string) error {
	oneCell()
	width := s.Width
	if s.Wide {
		width = 1 << 20
	} else {
		cols, rows = withoutEmpty(cols, rows)
	}
	keep, widths := fitColumns(cols, rows, width)
	header, body := make([]string, len(keep)), make([][]string, len(rows))
	align, pad := make([]tw.Align, len(keep)), make([]tw.Padding, len(keep))
	for r := range rows {
		body[r] = make([]string, len(keep))
	}
	for i, c := range keep {
		header[i], align[i] = s.muted.Render(cols[c].name), tw.AlignLeft
		if cols[c].right {
			align[i] = tw.AlignRight
		}
		pad[i] = tw.Padding{Right: strings.Repeat(" ", gutter), Overwrite: true}
		for r := range rows {
			body[r][i] = rows[r][c]
			if cells(rows[r][c]) > widths[i] {
				body[r][i] = fitMiddle(rows[r][c], widths[i])
			}
		}
	}
	pad[len(pad)-1] = tw.PaddingNone
	t := newTable(&trimmer{w: s.w}, align, pad)
	if !s.NoHeaders {
		t.Header(header)
	}
	if err := t.Bulk(body); err != nil {
		return err
	}
	return t.Render()
}

// withoutEmpty leaves out the optional columns that no row has anything in: a
// Python server tells less.
func withoutEmpty(cols []column, rows [][]string) ([]column, [][]string) {
	var keep []int
	for c := range cols {
		told := func(row []string) bool { return cells(row[c]) > 0 && ansi.Strip(row[c]) != "–" }
		if cols[c].drop == 0 || slices.ContainsFunc(rows, told) {
			keep = append(keep, c)
		}
	}
	outCols, outRows := make([]column, len(keep)), make([][]string, len(rows))
	for i, c := range keep {
		outCols[i] = cols[c]
		for r := range rows {
			outRows[r] = append(outRows[r], rows[r][c])
		}
	}
	return outCols, outRows
}

func newTable(w io.Writer, align []tw.Align, pad []tw.Padding) *tablewriter.Table {
	cell := tw.CellConfig{
		Formatting: tw.CellFormatting{AutoWrap: tw.WrapNone, AutoFormat: tw.Off},
		Alignment:  tw.CellAlignment{Global: tw.AlignLeft, PerColumn: align},
		Padding:    tw.CellPadding{Global: tw.PaddingNone, PerColumn: pad},
	}
	return tablewriter.NewTable(w,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders:  tw.BorderNone,
			Settings: tw.Settings{Separators: tw.SeparatorsNone, Lines: tw.LinesNone},
		})),
		tablewriter.WithConfig(tablewriter.Config{
			Header: cell, Row: cell,
			Behavior: tw.Behavior{TrimSpace: tw.Off, TrimLine: tw.Off},
		}),
	)
}

// fitColumns says which columns stay and how many cells each gets.
func fitColumns(cols []column, rows [][]string, total int) (keep, widths []int) {
	natural := make([]int, len(cols))
	for c := range cols {
		natural[c] = cells(cols[c].name)
		for r := range rows {
			natural[c] = max(natural[c], cells(rows[r][c]))
		}
		keep = append(keep, c)
	}
	for {
		over, give := overflow(keep, natural, cols, total)
		if over <= give {
			shrink(keep, natural, cols, over, total)
			break
		}
		last := -1
		for i, c := range keep {
			if cols[c].drop > 0 && (last < 0 || cols[c].drop > cols[keep[last]].drop) {
				last = i
			}
		}
		if last < 0 {
			shrink(keep, natural, cols, over, total)
			break
		}
		keep = append(keep[:last:last], keep[last+1:]...)
	}
	for _, c := range keep {
		widths = append(widths, natural[c])
	}
	return keep, widths
}

// overflow is how many cells too wide the columns are, and how many of those
// the flexible ones can give.
func overflow(keep, natural []int, cols []column, total int) (over, give int) {
	over = gutter*(len(keep)-1) - total
	for _, c := range keep {
		over += natural[c]
		if cols[c].flex {
			give += max(natural[c]-cols[c].least(total), 0)
		}
	}
	return over, give
}

// shrink takes cells from the flexible columns, the widest first.
func shrink(keep, natural []int, cols []column, over, total int) {
	for ; over > 0; over-- {
		widest := -1
		for _, c := range keep {
			if cols[c].flex && natural[c] > cols[c].least(total) && (widest < 0 || natural[c] > natural[widest]) {
				widest = c
			}
		}
		if widest < 0 {
			return
		}
		natural[widest]--
	}
}

// trimmer cuts the blanks that tablewriter leaves at each line's end.
type trimmer struct {
	w    io.Writer
	line []byte
}

func (t *trimmer) Write(p []byte) (int, error) {
	t.line = append(t.line, p...)
	for {
		i := bytes.IndexByte(t.line, '\n')
		if i < 0 {
			return len(p), nil
		}
		if _, err := t.w.Write(append(bytes.TrimRight(t.line[:i:i], " "), '\n')); err != nil {
			return 0, err
		}
		t.line = t.line[i+1:]
	}
}
