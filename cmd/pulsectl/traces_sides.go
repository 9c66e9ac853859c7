package main

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

// side is one of the traces to compare, and where it comes from.
type side struct {
	trace    api.Trace
	source   string
	selector selector
	among    int // traces that a quantile was taken of
}

func compareSides(x, y side, a *app) *waterfall.Diff {
	d := waterfall.Compare(waterfall.New(&x.trace, a.now()), waterfall.New(&y.trace, a.now()))
	for _, s := range []struct {
		of  side
		out *waterfall.Trace
	}{{x, &d.A}, {y, &d.B}} {
		s.out.TraceID, s.out.Source, s.out.Among, s.out.Truncated = s.of.trace.TraceID, s.of.source, s.of.among, s.of.trace.Truncated
		if s.of.selector.isName() {
			s.out.Selector = s.of.selector.text
		}
	}
	return d
}

func commonSource(d *waterfall.Diff) string {
	if d.A.Source == d.B.Source {
		return d.A.Source
	}
	return ""
}

// bothSides finds the two traces, a quantile after the other side, whose root
// operation it is taken of. Servers that did not answer are silent.
func (a *app) bothSides(ctx context.Context, first, second string, narrow client.TraceQuery) (sides [2]side, silent []api.Result[*waterfall.Diff], err error) {
	const command = "pulsectl traces diff"
	sels, err := parseSelectors([]string{first, second}, narrow, command)
	if err != nil {
		return sides, nil, err
	}
	if first == "-" && second == "-" {
		return sides, nil, &usageError{errors.New("standard input holds one trace: want - once"), command}
	}
	order := []int{0, 1}
	if sels[0].rank >= 0 && sels[1].rank < 0 {
		order = []int{1, 0}
	}
	var other *api.Trace
	for _, i := range order {
		rs, err := a.candidatesFor(ctx, sels[i], narrow, other)
		if err != nil {
			return sides, nil, err
		}
		sides[i], err = a.pickSide(ctx, sels[i], rs, other)
		if err != nil {
			return sides, nil, a.unfound(rs, err)
		}
		silent = addSilent(silent, rs)
		other = &sides[i].trace
	}
	return sides, silent, nil
}

// candidatesFor asks every server, or a file, for what a side may be.
func (a *app) candidatesFor(ctx context.Context, sel selector, narrow client.TraceQuery, other *api.Trace) ([]api.Result[[]api.Trace], error) {
	if sel.isName() {
		if sel.rank >= 0 && other != nil && narrow.Operation == "" {
			narrow.Operation, _ = rootOf(other)
		}
		return ask(ctx, a, func(c *client.Client, ctx context.Context) ([]api.Trace, error) {
			all, _, err := sel.candidates(ctx, c, narrow)
			return all, err
		})
	}
	rs, err := a.findTrace(ctx, sel, narrow)
	out := make([]api.Result[[]api.Trace], len(rs))
	for i, r := range rs {
		out[i] = api.Result[[]api.Trace]{Instance: r.Instance, Error: r.Error}
		if r.Error == nil {
			out[i].Value = []api.Trace{r.Value.trace}
		}
	}
	return out, err
}

// rootOf is the operation of a trace's root and its service; a file may not name
// them.
func rootOf(t *api.Trace) (operation, service string) {
	if t.Root != "" {
		return t.Root, t.Service
	}
	l := waterfall.New(t, t.EndTime.Time)
	if l.Root < 0 {
		return "", ""
	}
	return l.Rows[l.Root].Name(), l.Rows[l.Root].Service
}

// offer is a trace that a server has for a side.
type offer struct {
	trace api.Trace
	from  string
}

// offers are what a side is chosen from: for a quantile beside another side
// those with its root operation.
func offers(sel selector, rs []api.Result[[]api.Trace], other *api.Trace) (all []offer) {
	alike := func(*api.Trace) bool { return true }
	if sel.rank >= 0 && other != nil {
		operation, service := rootOf(other)
		alike = func(t *api.Trace) bool {
			return t.Root == operation && (service == "" || t.Service == "" || t.Service == service)
		}
	}
	for _, r := range rs {
		for i := range r.Value {
			if alike(&r.Value[i]) {
				all = append(all, offer{r.Value[i], r.Instance})
			}
		}
	}
	return all
}

// pickSide chooses among what the servers offered, and fetches it whole.
func (a *app) pickSide(ctx context.Context, sel selector, rs []api.Result[[]api.Trace], other *api.Trace) (side, error) {
	s, all := side{selector: sel}, offers(sel, rs, other)
	if !sel.isName() {
		return s, s.whole(all)
	}
	but, operation := "", ""
	if other != nil {
		but = other.TraceID
		operation, _ = rootOf(other)
	}
	if sel.rank >= 0 && other != nil {
		s.among = len(all)
	}
	traces := make([]api.Trace, len(all))
	for i := range all {
		traces[i] = all[i].trace
	}
	i := sel.choose(traces, but)
	switch {
	case i < 0 && sel.rank >= 0 && other != nil:
		return s, api.Errorf(http.StatusNotFound, "no other trace of %q is kept for %s", operation, sel.text)
	case i < 0:
		return s, api.Errorf(http.StatusNotFound, "no such trace is kept: %s", sel.text)
	}
	cs, err := a.clients(ctx)
	if err != nil {
		return s, err
	}
	at := slices.IndexFunc(cs, func(c *client.Client) bool { return c.Instance() == all[i].from })
	s.source = all[i].from
	s.trace, err = wholeTrace(ctx, cs[at], all[i].trace.TraceID)
	return s, err
}

// whole takes the trace that an id names: of several servers that have it the
// one that has most of it.
func (s *side) whole(all []offer) error {
	if len(all) == 0 {
		return api.Errorf(http.StatusNotFound, "trace not found: %q", s.selector.text)
	}
	best := all[0]
	for _, o := range all {
		if o.trace.TraceID != best.trace.TraceID {
			return api.Errorf(http.StatusNotFound, "trace id %q fits one on %s and another on %s: %s, %s", s.selector.text, best.from, o.from, best.trace.TraceID, o.trace.TraceID)
		}
		if len(o.trace.Spans) > len(best.trace.Spans) {
			best = o
		}
	}
	s.trace, s.source = best.trace, best.from
	return nil
}

// unfound says what the servers answered where that is why a side is not there.
func (a *app) unfound(rs []api.Result[[]api.Trace], err error) error {
	failed := failures(rs)
	if len(failed) == 0 || answeredWith(rs) {
		return err
	}
	return &fleetError{a.report(failed), len(rs) - len(failed)}
}

// answeredWith tells whether any server offered a trace.
func answeredWith(rs []api.Result[[]api.Trace]) bool {
	for _, r := range rs {
		if len(r.Value) > 0 {
			return true
		}
	}
	return false
}

// addSilent adds the servers that could not be asked, each once. One that does
// not have a trace has answered.
func addSilent(silent []api.Result[*waterfall.Diff], rs []api.Result[[]api.Trace]) []api.Result[*waterfall.Diff] {
	for _, r := range rs {
		known := r.Error == nil || r.Error.Status == http.StatusNotFound
		for _, s := range silent {
			known = known || s.Instance == r.Instance
		}
		if !known {
			silent = append(silent, api.Result[*waterfall.Diff]{Instance: r.Instance, Error: r.Error})
		}
	}
	return silent
}
