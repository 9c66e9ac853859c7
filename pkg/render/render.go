// Package render draws what the API tells as text for a terminal, and encodes
// it for machines.
//
// Every drawer is pure: values, a writer and [Options] in, the same bytes out
// whatever the terminal or the clock. Within it a screen holds the styles and
// the width, tables and bars are built on that, and text from outside passes
// clean before it is drawn. Nothing else here or elsewhere calls lipgloss.
package render

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
)

// Color is how many colours the output takes.
type Color int

// The colour depths. NoColor means no escape code at all, bold included.
const (
	NoColor Color = iota
	Color16
	Color256
	TrueColor
)

// Options says how to draw. The zero value: 120 columns without colour on a
// dark background, in UTC, as of 1970.
type Options struct {
	Width     int // columns; 0 means 120; tables need 60
	Color     Color
	Light     bool           // the terminal's background
	Wide      bool           // drop and cut nothing
	ASCII     bool           // no other characters, for terminals that have none
	NoHeaders bool           // tables without their header, title and totals
	Order     []string       // names, in the order of their rows, for a drawer that orders by itself; nil leaves it to it
	Limit     int            // rows shown; 0 means the screen's own default, negative all
	Now       time.Time      // what ages are counted to
	Zone      *time.Location // of the times shown; nil means UTC
}

// screen is one drawing: where it goes and how things look there.
type screen struct {
	Options
	w *bufio.Writer
	r *lipgloss.Renderer

	title, muted, faint   lipgloss.Style
	ok, warn, bad, accent lipgloss.Style
}

func newScreen(w io.Writer, o Options) *screen {
	if o.Width <= 0 {
		o.Width = 120
	}
	o.Width = max(o.Width, 20)
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.ASCII {
		w = &asciiWriter{w: w}
	}
	r := lipgloss.NewRenderer(io.Discard)
	r.SetColorProfile([...]termenv.Profile{termenv.Ascii, termenv.ANSI, termenv.ANSI256, termenv.TrueColor}[o.Color])
	r.SetHasDarkBackground(!o.Light)
	style := func(c lipgloss.TerminalColor) lipgloss.Style { return r.NewStyle().Foreground(c) }
	return &screen{
		Options: o, w: bufio.NewWriter(w), r: r, title: r.NewStyle().Bold(true),
		muted: style(muted), faint: style(faint), ok: style(ok), warn: style(warn), bad: style(bad), accent: style(accent),
	}
}

// line writes one line, without the blanks at its end.
func (s *screen) line(parts ...string) {
	s.w.WriteString(strings.TrimRight(strings.Join(parts, ""), " "))
	s.w.WriteByte('\n')
}

// heading writes the first line of a screen: what it is at the left, its
// verdict or scope at the right, on two lines rather than cut.
func (s *screen) heading(what, verdict string) {
	s.line(ends(s.title.Render(what), verdict, s.Width))
}

// time writes an instant in the zone of the options.
func (s *screen) time(t time.Time) string {
	return t.In(s.Zone).Format("2006-01-02 15:04:05 MST")
}

// leftOut says how many rows of a list are not shown, and how to see them.
func (s *screen) leftOut(shown, all int, what string) {
	if shown < all {
		s.line()
		s.line(s.muted.Render(fmt.Sprintf("%s of %s %s  --limit 0 shows all", count(int64(shown)), count(int64(all)), what)))
	}
}

// flush ends a drawing; its error is the first that any write met.
func (s *screen) flush() error { return s.w.Flush() }

// mark is a state's sign with its word, in its colour.
func (s *screen) mark(v verdict, word string) string {
	switch v {
	case fine:
		return s.ok.Render("● " + word)
	case between:
		return s.warn.Render("◐ " + word)
	}
	return s.bad.Render("✗ " + word)
}

// verdict is how something is, in three steps.
type verdict int

const (
	fine verdict = iota
	between
	broken
)

// style is the colour of a verdict.
func (s *screen) style(v verdict) lipgloss.Style {
	return [...]lipgloss.Style{s.ok, s.warn, s.bad}[v]
}
