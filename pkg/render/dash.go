package render

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Dash is the state of a live dashboard, as far as it shows.
type Dash struct {
	Width, Height int
	Now           time.Time

	Scope   string         // whose dashboard it is
	Health  map[string]int // servers by verdict; "" are those that do not answer
	Views   []string       // by the number keys
	View    int            // the one that is shown
	Fleet   bool           // rows say whose they are
	Filter  string         // "" for none
	Typing  bool           // it is being typed
	Order   string         // by which rows are sorted; "" where there is but one order
	Paused  bool
	Note    string // what went wrong, or was done
	Help    bool
	Details *DashDetails // what stands in the view's place; nil for none

	Sections []DashSection
	Selected int // the row, counted over all sections
	First    int // the line of the view that stands first
}

// DashSection is a list within a view.
type DashSection struct {
	Title string
	Note  string // beside the title; where there are no rows it says why
	Kind  DashKind
	Rows  []DashRow
}

// DashRow is one row: the member of its section's kind is set, or Error where
// the server that should have rows has none.
type DashRow struct {
	Instance string
	Error    *api.Error
	Since    time.Time // beside Error: of what is known; zero for nothing
	Server   *DashServer
	Breaker  *api.Breaker
	Trace    *api.Trace
	Slow     *api.Profile
	Event    *api.Event
	Function *DashFunction
	Cache    *DashCache
	Alert    *api.Rule // with the one alert that the row is about, or none
	Route    *api.RouteRate
	Trend    *DashTrend
}

// DashDetails are what a row was opened to.
type DashDetails struct {
	Title string   // while there are no lines yet
	Lines []string // drawn for this width
	First int      // line that stands first
}

// The lines of the screen that are not the view's.
const (
	dashHead   = 3
	dashFoot   = 2
	dashIndent = 2 // cells left of a row, for the mark of the selected one
)

// DashBody is how many lines of a view a screen of so many lines has.
func DashBody(height int) int { return max(height-dashHead-dashFoot, 1) }

// DashInner is how wide a screen is for what a row is opened to.
func DashInner(width int) int { return max(width, 20) }

// DashPainter draws the screens of a live dashboard.
type DashPainter struct {
	o Options
	s *screen

	view   int
	widest map[DashKind][]int // cells that a column has had: columns do not jump as values change
}

// NewDashPainter returns a painter for a terminal.
func NewDashPainter(o Options) *DashPainter { return &DashPainter{o: o} }

// Screen draws the whole screen, exactly v.Height lines of at most v.Width cells.
func (p *DashPainter) Screen(v *Dash) string {
	if p.s == nil || p.s.Width != v.Width || p.view != v.View {
		o := p.o
		o.Width = v.Width
		p.s, p.view, p.widest = newScreen(io.Discard, o), v.View, map[DashKind][]int{}
		p.s.Width = v.Width // the least of other screens is more than a terminal may have
	}
	p.s.Now = v.Now
	var body []string
	switch {
	case v.Help:
		body = strings.Split(dashHelp, "\n")
	case v.Details != nil:
		body = p.details(v)
	default:
		body = p.sections(v)
	}
	lines := []string{p.title(v), p.tabs(v), ""}
	for i := range DashBody(v.Height) {
		if i < len(body) {
			lines = append(lines, body[i])
		} else {
			lines = append(lines, "")
		}
	}
	lines = append(lines, p.note(v), p.keys(v))
	for i, l := range lines {
		lines[i] = strings.TrimRight(ansi.Truncate(l, v.Width, ""), " ")
	}
	out := strings.Join(lines[:min(len(lines), max(v.Height, 1))], "\n")
	if p.o.ASCII {
		var b strings.Builder
		(&asciiWriter{w: &b}).Write([]byte(out)) // a Builder takes everything
		out = b.String()
	}
	return out
}

// title says whose dashboard it is and how that is.
func (p *DashPainter) title(v *Dash) string {
	s, verdict := p.s, p.verdict(v)
	left := s.title.Render("pulsectl top")
	room := v.Width - cells(left) - cells(verdict) - 2*gutter
	if room > 8 {
		left += blanks(gutter) + s.muted.Render(strings.TrimRight(fitMiddle(clean(v.Scope), room), " "))
	}
	if cells(left)+gutter+cells(verdict) > v.Width {
		left = ""
	}
	return blanksBetween(left, verdict, v.Width)
}

func blanksBetween(l, r string, w int) string { return l + blanks(w-cells(l)-cells(r)) + r }

func (p *DashPainter) verdict(v *Dash) string {
	var parts []string
	for _, status := range []string{"", api.Unhealthy, api.Failed, api.Degraded, api.Healthy} {
		n, word := v.Health[status], status
		if n == 0 {
			continue
		}
		mark := statusVerdict(status)
		if status == "" {
			word, mark = "no answer", broken
		}
		if v.Fleet {
			word = fmt.Sprintf("%d %s", n, word)
		}
		parts = append(parts, p.s.mark(mark, word))
	}
	if v.Paused {
		parts = append([]string{p.s.warn.Render("paused")}, parts...)
	}
	return strings.Join(parts, blanks(gutter))
}

// tabs names the views by their keys; where that is too wide, only the one that
// is shown has its name.
func (p *DashPainter) tabs(v *Dash) string {
	for _, short := range []bool{false, true} {
		var parts []string
		for i, name := range v.Views {
			key := fmt.Sprint(i + 1)
			switch {
			case i == v.View:
				parts = append(parts, p.s.title.Render("["+key+" "+name+"]"))
			case short:
				parts = append(parts, p.s.muted.Render(key))
			default:
				parts = append(parts, p.s.muted.Render(key+" "+name))
			}
		}
		if line := strings.Join(parts, blanks(gutter)); short || cells(line) <= v.Width {
			return line
		}
	}
	return ""
}

// note is the line above the keys: what was done, or how the view is narrowed.
func (p *DashPainter) note(v *Dash) string {
	var parts []string
	if v.Note != "" {
		parts = append(parts, clean(v.Note))
	}
	if v.Details == nil && !v.Help {
		if v.Filter != "" && !v.Typing {
			parts = append(parts, p.s.muted.Render("filter ")+clean(v.Filter))
		}
		if v.Order != "" {
			parts = append(parts, p.s.muted.Render("by "+v.Order))
		}
		if all := dashLines(v.Sections); all > DashBody(v.Height) {
			parts = append(parts, p.s.muted.Render(fmt.Sprintf("lines %d–%d of %s", v.First+1, min(v.First+DashBody(v.Height), all), count(int64(all)))))
		}
	} else if d := v.Details; d != nil && !v.Help && len(d.Lines) > DashBody(v.Height) {
		parts = append(parts, p.s.muted.Render(fmt.Sprintf("lines %d–%d of %s", d.First+1, min(d.First+DashBody(v.Height), len(d.Lines)), count(int64(len(d.Lines))))))
	}
	return strings.Join(parts, blanks(gutter))
}

// keys is the last line: what is being typed, or what keys there are.
func (p *DashPainter) keys(v *Dash) string {
	if v.Typing {
		return "/" + clean(v.Filter) + "█"
	}
	keys := []string{"arrows move", "enter open", "1-7 tab views", "/ filter", "? help", "s sort", "p pause", "y copy command", "q quit"}
	switch {
	case v.Help:
		keys = []string{"any key goes back", "q quit"}
	case v.Details != nil:
		keys = []string{"esc back", "arrows scroll", "y copy command", "? help", "q quit"}
	}
	last := keys[len(keys)-1] // how to get out is always said
	line := ""
	for _, k := range keys[:len(keys)-1] {
		if cells(line)+cells(k)+cells(last)+2*gutter <= v.Width {
			line += k + blanks(gutter)
		}
	}
	return p.s.muted.Render(line + last)
}

const dashHelp = `What happens on the servers, as it happens. It changes nothing.

  1 to 7, tab        the views; shift-tab goes the other way
  arrows, j k        to the next row, to the one before; page up, page down, home, end
  enter              open a row: the waterfall of a trace, the events of a breaker,
                     where the time of a slow request went, the traces of a route
  esc                back; ends a filter, too
  /                  show only the rows with a text in them; upper and lower case are one
  s                  another order, where a view has several
  p                  pause: what is shown stays; once more goes on
  y                  copy the command that shows the same, and say it
  q, ctrl-c          quit`

// details draws as much of what was opened as there is room for.
func (p *DashPainter) details(v *Dash) []string {
	d := v.Details
	if d.Lines == nil {
		return []string{p.s.title.Render(clean(d.Title)), "", p.s.muted.Render("asking …")}
	}
	first := min(d.First, len(d.Lines))
	return d.Lines[first:min(first+DashBody(v.Height), len(d.Lines))]
}
