package render

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
)

// cells is the one measure of a string: terminal cells, escape codes apart.
func cells(s string) int { return lipgloss.Width(s) }

// Clean makes text from outside safe to write to a terminal: escape sequences
// and control characters become ·, tabs and newlines a blank, and nothing in it
// has a doubtful width.
func Clean(s string) string { return clean(s) }

func clean(s string) string {
	plain := func(r rune) bool { return r >= ' ' && r < 0x7f }
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == 0x1b || r >= 0x80 && r < 0xa0 && n > 1 { // a sequence is one ·, with all its parameters
			_, _, n, _ = ansi.DecodeSequence(s[i:], ansi.NormalState, nil)
			n, r = max(n, 1), 0
		}
		i += n
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			b.WriteByte(' ')
		case r == '\u200d' || r >= '\ufe00' && r <= '\ufe0f': // joiners and variation selectors
		case r == utf8.RuneError || !unicode.IsPrint(r):
			b.WriteRune('·')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// fit cuts s to w cells with an ellipsis and pads it to exactly w.
func fit(s string, w int) string {
	if w <= 0 {
		return ""
	}
	if cells(s) > w {
		s = ansi.Truncate(s, w, "…")
	}
	return s + blanks(w-cells(s))
}

// fitMiddle keeps the start and the end: "GET /repo…er}/{repo}/pulls".
func fitMiddle(s string, w int) string {
	n := cells(s)
	if n <= w || w < 8 {
		return fit(s, w)
	}
	tail := (w - 1) * 2 / 3
	return fit(ansi.Truncate(s, w-1-tail, "")+"…"+ansi.TruncateLeft(s, n-tail, ""), w)
}

// right pads on the left.
func right(s string, w int) string { return blanks(w-cells(s)) + s }

func blanks(n int) string { return strings.Repeat(" ", max(n, 0)) }

// ends puts l at the left edge and r at the right edge of w cells, on two lines
// if they do not fit on one.
func ends(l, r string, w int) string {
	if r == "" {
		return l
	}
	gap := w - cells(l) - cells(r)
	if gap < 2 {
		return l + "\n" + r
	}
	return l + blanks(gap) + r
}

// wrap joins entries with two blanks over as many lines of w cells as they need.
func wrap(w int, parts ...string) string {
	var lines []string
	for _, p := range parts {
		if n := len(lines); n > 0 && cells(lines[n-1])+2+cells(p) <= w {
			lines[n-1] += "  " + p
		} else {
			lines = append(lines, p)
		}
	}
	return strings.Join(lines, "\n")
}

// duration writes three significant digits and one unit: 4.20ms, 1.28s, 2m05s.
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + duration(-d)
	case d == 0:
		return "0"
	case d < time.Microsecond:
		return fmt.Sprintf("%dns", d)
	case d < 999500*time.Nanosecond:
		return digits(float64(d)/1e3) + "µs"
	case d < 999500*time.Microsecond:
		return digits(float64(d)/1e6) + "ms"
	case d < 59950*time.Millisecond:
		return digits(d.Seconds()) + "s"
	}
	d = d.Round(time.Second)
	switch {
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// digits writes three significant digits of a number below 1,000.
func digits(v float64) string {
	switch {
	case v < 9.995:
		return fmt.Sprintf("%.2f", v)
	case v < 99.95:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// age writes how long ago: the largest unit, and the next where it matters.
func age(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 10*time.Minute:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 10*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

// count writes 1284113 as "1,284,113".
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size writes bytes in three significant digits: 512B, 1.20KiB, 34.0MiB.
func size(n int64) string {
	v, unit := float64(n), 0
	for v >= 999.5 && unit < 5 {
		v, unit = v/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%dB", n)
	}
	return digits(v) + [...]string{"", "KiB", "MiB", "GiB", "TiB", "PiB"}[unit]
}

// share writes a ratio of 0…1 as a percentage with one decimal.
func share(ratio float64) string { return fmt.Sprintf("%.1f%%", ratio*100) }
