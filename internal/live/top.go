package live

import (
	"io"
	"sync/atomic"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// The views of a [Top], in the order of their keys.
const (
	viewOverview = iota
	viewBreakers
	viewTraces
	viewFunctions
	viewCaches
	viewAlerts
	viewRoutes
	viewCount
)

var viewNames = []string{ // in that order
	"overview", "breakers", "traces", "functions", "caches", "alerts", "routes",
}

// Target is what a dashboard shows.
type Target struct {
	Name    string
	Flags   []string // what a command line must say so that it asks all the servers; nil for nothing
	Servers []Server
}

// Server is one that a dashboard shows.
type Server struct {
	Client *client.Client
	Flags  []string // what a command line must say so that it asks this server alone; nil for nothing
}

// Top is a live dashboard of several servers: a model of bubbletea. What is
// known it learns by a [Batch] of news, and it asks for more by what it wants:
// it makes no request and has no clock.
type Top struct {
	view    render.Dash
	painter *render.DashPainter
	options render.Options
	members []member
	flags   []string         // of the target
	events  []render.DashRow // the newest first
	done    []render.DashRow // finished traces, the newest first
	orders  [viewCount]int   // of each view, the place in orders

	before  string // the filter that typing replaces
	opened  *opened
	stale   bool      // what is known has changed since the rows were made
	screen  string    // the drawing; "" where something has changed
	running time.Time // when what was opened was asked for again

	wants  atomic.Uint32 // parts that are needed for what is shown, a bit each
	wake   []chan struct{}
	asks   chan question
	leaves bool // by ctrl-c
}

// opened is what a row was opened to.
type opened struct {
	question
	draw func(w io.Writer, o render.Options) error // nil until it has come
	live bool                                      // it changes: to be asked again
}

// NewTop returns a dashboard, drawn as o says.
func NewTop(target Target, o render.Options) *Top {
	t := &Top{painter: render.NewDashPainter(o), options: o, flags: target.Flags, asks: make(chan question, 1)}
	t.view = render.Dash{
		Width: o.Width, Height: 24, Now: o.Now, Scope: target.Name, Views: viewNames, Fleet: len(target.Servers) > 1,
	}
	if t.view.Width == 0 {
		t.view.Width = 120
	}
	for _, s := range target.Servers {
		t.members = append(t.members, newMember(s))
		t.wake = append(t.wake, make(chan struct{}, 1))
	}
	t.want()
	t.stale = true
	return t
}

// Init is of bubbletea's interface; nothing runs from the start.
func (t *Top) Init() tea.Cmd { return nil }

// View draws the screen.
func (t *Top) View() tea.View {
	if t.screen == "" {
		t.layOut()
		t.screen = t.painter.Screen(&t.view)
	}
	v := tea.NewView(t.screen)
	v.AltScreen = true
	return v
}

// Update takes a key, a new size, or what has become known meanwhile.
func (t *Top) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch m := msg.(type) {
	case Batch:
		t.learn(m)
	case tea.WindowSizeMsg:
		t.view.Width, t.view.Height = max(m.Width, 1), max(m.Height, 1)
		t.redrawOpened()
	case tea.PasteMsg:
		if t.view.Typing {
			t.insert(m.Content)
		}
	case tea.KeyPressMsg:
		t.screen = ""
		return t, t.press(m)
	default:
		return t, nil // bubbletea tells itself much
	}
	t.screen = ""
	return t, nil
}

// layOut makes the rows of what is shown and brings the selected one onto the
// screen.
func (t *Top) layOut() {
	v := &t.view
	if t.stale && !v.Paused {
		t.arrange()
		t.stale = false
	}
	rows := t.rows()
	v.Selected = max(min(v.Selected, rows-1), 0)
	body, line := render.DashBody(v.Height), render.DashLine(v.Sections, v.Selected)
	if v.Selected == 0 {
		line = 0 // with the title above it
	}
	v.First = scrolled(v.First, line, body)
	if d := v.Details; d != nil {
		d.First = max(min(d.First, len(d.Lines)-body), 0)
	}
}

// rows counts those of the view.
func (t *Top) rows() (n int) {
	for i := range t.view.Sections {
		n += len(t.view.Sections[i].Rows)
	}
	return n
}

// selected is the row that the keys are about, nil where there is none.
func (t *Top) selected() *render.DashRow {
	at := t.view.Selected
	for i := range t.view.Sections {
		rows := t.view.Sections[i].Rows
		if at < len(rows) {
			return &rows[at]
		}
		at -= len(rows)
	}
	return nil
}

// want says which parts what is shown needs, and has them asked for at once.
func (t *Top) want() {
	parts := uint32(1<<PartIndex | 1<<PartHealth | 1<<PartRates | 1<<PartBreakers)
	switch t.view.View {
	case viewTraces:
		parts |= 1<<PartRunning | 1<<PartFinished
	case viewFunctions:
		parts |= 1 << PartTop
	case viewCaches:
		parts |= 1 << PartCache
	case viewAlerts:
		parts |= 1 << PartAlerts
	}
	if t.view.Paused {
		parts = 0
	}
	t.wants.Store(parts)
	for _, w := range t.wake {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// learn takes what has come.
func (t *Top) learn(b Batch) {
	t.view.Now, t.stale = b.Now, true
	for i := range b.News {
		n := &b.News[i]
		switch {
		case n.Part == PartDetail:
			t.open(n)
		case n.Member >= 0 && n.Member < len(t.members):
			t.told(n)
		}
	}
	if o := t.opened; o != nil && o.live && !t.view.Paused && b.Now.Sub(t.running) >= detailEvery {
		t.running = b.Now
		t.ask(o.question)
	}
}

// told takes what one server told.
func (t *Top) told(n *News) {
	m := &t.members[n.Member]
	switch v := n.Value.(type) {
	case []api.Event:
		for i := range v {
			t.happened(m, &v[i])
		}
	case api.TraceList:
		if n.Part == PartFinished && n.Error == nil {
			t.seed(m, v)
			break
		}
	}
	m.told(n, t.view.Now)
}

// The most that is kept of what happened.
const (
	mostEvents = 300
	mostTraces = 1000
)

// happened keeps an event, and what it says of its server.
func (t *Top) happened(m *member, e *api.Event) {
	trim(e)
	row := render.DashRow{Instance: m.instance, Event: e}
	switch {
	case e.Trace != nil:
		t.done = pushed(t.done, render.DashRow{Instance: m.instance, Trace: e.Trace}, mostTraces)
		if !e.Trace.Status.Failed() && e.Lost == 0 {
			return // those that went well are told by the view of traces alone
		}
	case e.Slow != nil:
		m.slowed(e.Slow)
	case e.Health != nil:
		m.verdict(e.Health.To, e.Health.Ill)
	}
	t.events = pushed(t.events, row, mostEvents)
}

// pushed puts a row before the others, of which the last one goes where there
// are too many.
func pushed(rows []render.DashRow, r render.DashRow, most int) []render.DashRow {
	if len(rows) < most {
		rows = append(rows, render.DashRow{})
	}
	copy(rows[1:], rows)
	rows[0] = r
	return rows
}
