package render

// sections draws the lines of a view that are on the screen, no others: a list
// may have ten thousand rows.
func (p *DashPainter) sections(v *Dash) []string {
	var lines []string
	at, row := 0, 0 // the line and the row that the section begins with
	for i := range v.Sections {
		sec := &v.Sections[i]
		n := sec.lines()
		if at+n > v.First && at < v.First+DashBody(v.Height) {
			lines = append(lines, p.section(v, sec, v.First-at, v.First+DashBody(v.Height)-at, v.Selected-row)...)
		}
		at, row = at+n, row+len(sec.Rows)
	}
	return lines
}

// lines is how many lines a section takes: its title, a header with the rows if
// there are any, a blank one.
func (sec *DashSection) lines() int {
	if len(sec.Rows) == 0 {
		return 2
	}
	return len(sec.Rows) + 3
}

func dashLines(all []DashSection) (n int) {
	for i := range all {
		n += all[i].lines()
	}
	return max(n-1, 0) // nothing stands below the last blank
}

// DashLine is the line of a view that a row stands on, the rows counted over all
// sections.
func DashLine(all []DashSection, row int) int {
	at := 0
	for i := range all {
		if row < len(all[i].Rows) {
			return at + 2 + row
		}
		row -= len(all[i].Rows)
		at += all[i].lines()
	}
	return 0
}

// section draws the lines from one to another of a section.
func (p *DashPainter) section(v *Dash, sec *DashSection, from, to, selected int) (lines []string) {
	s := p.s
	if from <= 0 {
		lines = append(lines, beside(s.title.Render(sec.Title), s.muted.Render(clean(sec.Note))))
	}
	if len(sec.Rows) > 0 {
		first, last := max(from-2, 0), min(max(to-2, 0), len(sec.Rows))
		first = min(first, last)
		header, rows := p.rows(v, sec, first, last)
		if from <= 1 && to > 1 {
			lines = append(lines, blanks(dashIndent)+header)
		}
		for i, r := range rows {
			mark := blanks(dashIndent)
			if first+i == selected {
				mark = s.accent.Render("▌") + " "
			}
			lines = append(lines, mark+r)
		}
	}
	if to >= sec.lines() {
		lines = append(lines, "")
	}
	return lines
}

// beside is a title with what is said beside it, on one line.
func beside(title, note string) string {
	if note == "" {
		return title
	}
	return title + blanks(gutter) + note
}

// rows draws the header and some rows of a section as a table.
func (p *DashPainter) rows(v *Dash, sec *DashSection, first, last int) (header string, lines []string) {
	s, k := p.s, dashKinds[sec.Kind]
	cols, fleet := k.columns(), v.Fleet && !k.named
	if fleet {
		cols = append([]column{{name: "INSTANCE"}}, cols...)
	}
	var rows [][]string
	failed := map[int]string{}
	for i := first; i < last; i++ {
		r := &sec.Rows[i]
		var row []string
		if r.Error != nil {
			failed[i-first] = s.bad.Render("✗ " + clean(r.Error.Error()))
			if !r.Since.IsZero() {
				failed[i-first] += s.muted.Render("  as of " + age(s.Now.Sub(r.Since)) + " ago")
			}
			row = make([]string, len(cols)) // it takes no part in the widths
		} else if row = k.row(s, sec, r); fleet {
			row = append([]string{instance(r.Instance)}, row...)
		}
		if fleet {
			row[0] = instance(r.Instance)
		}
		rows = append(rows, row)
	}
	header, lines = p.table(sec.Kind, cols, rows)
	for i, text := range failed {
		where := instance(sec.Rows[first+i].Instance)
		lines[i] = where + blanks(gutter) + text
	}
	return header, lines
}

// table lays rows out as [screen.table] does. Columns keep the width they had.
func (p *DashPainter) table(kind DashKind, cols []column, rows [][]string) (header string, lines []string) {
	s := p.s
	widest := p.widest[kind]
	if len(widest) != len(cols) {
		widest = make([]int, len(cols))
		p.widest[kind] = widest
	}
	held := make([]string, len(cols))
	for c := range cols {
		for _, row := range rows {
			if n := cells(row[c]); !cols[c].flex && n > widest[c] && row[c] != "–" {
				widest[c] = n
			}
		}
		held[c] = blanks(widest[c])
	}
	shown, all := withoutEmpty(cols, append(rows[:len(rows):len(rows)], held))
	keep, widths := fitColumns(shown, all, s.Width-dashIndent)
	over := gutter*(len(keep)-1) + dashIndent - s.Width
	for _, w := range widths {
		over += w
	}
	for ; over > 0 && len(keep) > 2; keep = keep[:len(keep)-1] { // no column is seen in half
		over -= widths[len(keep)-1] + gutter
	}
	line := func(row []string, head bool) string {
		text := ""
		for i, c := range keep {
			cell := row[c]
			switch over := cells(cell) > widths[i]; {
			case over && shown[c].tail:
				cell = fit(cell, widths[i])
			case over:
				cell = fitMiddle(cell, widths[i])
			}
			if head {
				cell = s.muted.Render(cell)
			}
			if shown[c].right {
				cell = right(cell, widths[i])
			}
			if i < len(keep)-1 {
				cell += blanks(widths[i] - cells(cell) + gutter)
			}
			text += cell
		}
		return text
	}
	names := make([]string, len(shown))
	for c := range shown {
		names[c] = shown[c].name
	}
	for _, row := range all[:len(rows)] {
		lines = append(lines, line(row, false))
	}
	return line(names, true), lines
}
