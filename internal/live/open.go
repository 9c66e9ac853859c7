package live

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// detailEvery is between two looks at something that was opened and changes.
const detailEvery = 2 * time.Second

// detailLines bounds what a row is opened to, in the unit of each drawer.
const detailLines = 2000

// Detail is what a row is opened to.
type Detail struct {
	Key  string // of the question
	Live bool   // it changes
	Draw func(io.Writer, render.Options) error
}

// question asks what stands behind a row.
type question struct {
	member  int
	key     string   // tells it from others
	title   string   // until the answer is there
	command []string // words of the command that answers the same
	ask     func(ctx context.Context, c *client.Client) (Detail, error)
}

// enter opens the selected row.
func (t *Top) enter() {
	r := t.selected()
	if r == nil {
		return
	}
	if r.Route != nil { // its traces
		filter := strings.TrimSpace(r.Route.Endpoint)
		t.show(viewTraces)
		t.view.Filter = filter
		t.arrange()
		return
	}
	q, ok := t.questionOf(r)
	switch {
	case r.Error != nil:
		t.view.Note = r.Error.Error()
		return
	case !ok:
		t.view.Note = "there is nothing behind this row"
		return
	}
	t.opened = &opened{question: q}
	t.view.Details = &render.DashDetails{Title: q.title}
	t.running = t.view.Now
	t.ask(q)
}

// ask hands a question to whoever answers them; one that waits there is not
// wanted any more.
func (t *Top) ask(q question) {
	select {
	case <-t.asks:
	default:
	}
	t.asks <- q
}

func (t *Top) questionOf(r *render.DashRow) (question, bool) {
	m := -1
	for i := range t.members {
		if t.members[i].instance == r.Instance {
			m = i
		}
	}
	breaker, trace, profile := "", "", ""
	switch e := r.Event; {
	case m < 0:
		return question{}, false
	case r.Breaker != nil:
		breaker = r.Breaker.Name
	case r.Trace != nil:
		trace = r.Trace.TraceID
	case r.Slow != nil:
		profile = r.Slow.ProfileID
	case r.Function != nil:
		profile = r.Function.ProfileID
	case e != nil && e.Breaker != nil:
		breaker = e.Breaker.Name
	case e != nil && e.Trace != nil:
		trace = e.Trace.TraceID
	case e != nil && e.Slow != nil:
		profile = e.Slow.ProfileID
	case r.Server != nil, r.Trend != nil, e != nil && e.Health != nil:
		return overviewQuestion(m), true
	case r.Cache != nil:
		return cacheQuestion(m), true
	}
	switch {
	case breaker != "":
		return breakerQuestion(m, breaker), true
	case trace != "":
		return traceQuestion(m, trace), true
	case profile != "":
		return profileQuestion(m, profile), true
	}
	return question{}, false
}

func one[T any](v T) []api.Result[T] { return []api.Result[T]{{Value: v}} }

func overviewQuestion(m int) question {
	return question{m, "status", "Status", []string{"status"}, func(ctx context.Context, c *client.Client) (Detail, error) {
		v, err := c.Overview(ctx)
		return Detail{Live: true, Draw: func(w io.Writer, o render.Options) error {
			return render.Status(w, []api.Result[api.Overview]{{Instance: c.Instance(), Value: v}}, o)
		}}, err
	}}
}

func cacheQuestion(m int) question {
	return question{m, "cache", "Caches", []string{"cache", "status"}, func(ctx context.Context, c *client.Client) (Detail, error) {
		v, err := c.CacheStatus(ctx)
		return Detail{Live: true, Draw: func(w io.Writer, o render.Options) error { return render.CacheStatus(w, one(v), o) }}, err
	}}
}

func breakerQuestion(m int, name string) question {
	return question{m, "breaker " + name, "Circuit breaker " + name, []string{"breakers", "show", name}, func(ctx context.Context, c *client.Client) (Detail, error) {
		b, err := c.Breaker(ctx, name)
		if err != nil {
			return Detail{}, err
		}
		events, eerr := c.BreakerEvents(ctx, client.EventQuery{Name: literal(name), Limit: 200}) // a Python server has none
		return Detail{Live: true, Draw: func(w io.Writer, o render.Options) error {
			if err := render.Breaker(w, one(b), o); err != nil || eerr != nil {
				return err
			}
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
			return render.BreakerEvents(w, one(events), o)
		}}, nil
	}}
}

// literal is a glob that matches a name alone.
func literal(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}

func traceQuestion(m int, id string) question {
	return question{m, "trace " + id, "Trace " + id, []string{"traces", "show", id}, func(ctx context.Context, c *client.Client) (Detail, error) {
		t, err := c.Trace(ctx, id)
		if err != nil {
			return Detail{}, err
		}
		return Detail{Live: t.Duration == nil, Draw: func(w io.Writer, o render.Options) error {
			shown, err := waterfall.Show(t, o.Now, waterfall.Options{})
			if err != nil {
				return err
			}
			o.Limit = detailLines
			return render.Trace(w, one(shown), o)
		}}, nil
	}}
}

func profileQuestion(m int, id string) question {
	return question{m, "profile " + id, "Profile " + id, []string{"profiles", "show", id}, func(ctx context.Context, c *client.Client) (Detail, error) {
		p, err := c.Profile(ctx, id)
		return Detail{Live: p.State == "active", Draw: func(w io.Writer, o render.Options) error { return render.Profile(w, one(p), false, o) }}, err
	}}
}

// open shows what a question came to, if it is still the one that was asked
// last.
func (t *Top) open(n *News) {
	d, _ := n.Value.(Detail)
	o := t.opened
	if o == nil || o.key != d.Key || o.member != n.Member {
		return
	}
	switch {
	case n.Error != nil && o.draw != nil:
		t.view.Note = "not up to date: " + n.Error.Error()
	case n.Error != nil:
		o.draw = func(w io.Writer, _ render.Options) error {
			_, err := io.WriteString(w, render.Clean(o.title)+"\n\n"+render.Clean(n.Error.Error())+"\n")
			return err
		}
	default:
		t.view.Note = ""
		o.draw, o.live = d.Draw, d.Live
	}
	t.redrawOpened()
}

// redrawOpened draws what was opened for the width of the screen.
func (t *Top) redrawOpened() {
	if t.opened == nil || t.opened.draw == nil {
		return
	}
	o := t.options
	o.Width, o.Now = render.DashInner(t.view.Width), t.view.Now
	var out bytes.Buffer
	if err := t.opened.draw(&out, o); err != nil {
		out.Reset()
		out.WriteString(render.Clean(err.Error()))
	}
	t.view.Details.Lines = strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
}

// copy puts the command that shows the same on the clipboard, and on the screen.
func (t *Top) copy() tea.Cmd {
	words, m := t.command()
	flags := t.flags
	if m >= 0 {
		flags = t.members[m].Flags
	}
	line := "pulsectl"
	for _, w := range slices.Concat(flags, words) {
		q, ok := quoted(w)
		if !ok {
			t.view.Note = "nothing copied: there are control characters in it"
			return nil
		}
		line += " " + q
	}
	t.view.Note = "copied: " + line
	return tea.SetClipboard(line)
}

// command is the one that shows what the keys are about, and the only server
// that it is to ask, -1 for all.
func (t *Top) command() (words []string, m int) {
	q, found := question{}, t.opened != nil
	if found {
		q = t.opened.question
	} else if r := t.selected(); r != nil && r.Function == nil && r.Cache == nil && !((r.Server != nil || r.Trend != nil) && len(t.members) == 1) {
		q, found = t.questionOf(r)
	}
	if found {
		words = q.command
		if len(words) > 2 && strings.HasPrefix(words[2], "-") {
			words = []string{words[0], words[1], "--", words[2]}
		}
		return words, q.member
	}
	only := -1
	if len(t.members) == 1 {
		only = 0
	}
	return [][]string{
		viewOverview: {"status"}, viewBreakers: {"breakers", "list"}, viewTraces: {"traces", "list"}, viewFunctions: {"profiles", "top"},
		viewCaches: {"cache", "status"}, viewAlerts: {"alerts", "list"}, viewRoutes: {"metrics", "top"},
	}[t.view.View], only
}

// quoted is a word as a shell must read it, false where that could do something
// on the way.
func quoted(w string) (string, bool) {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+,=", r)
	}
	switch {
	case render.Clean(w) != w:
		return "", false
	case w != "" && strings.IndexFunc(w, func(r rune) bool { return !plain(r) }) < 0:
		return w, true
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'", true
}
