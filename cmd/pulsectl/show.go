package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// view says how an answer is shown: as items of a kind for machines, drawn for
// people.
type view[T any] struct {
	kind      string
	items     func(T) []render.Item
	draw      func(io.Writer, []api.Result[T], render.Options) error
	retention func(T) *api.Retention // of a list that a store bounds; nil for others
	unit      func(T) string         // of the items' values, where they have one; nil for others
	limit     int                    // rows to draw; see render.Options.Limit
	pick      func(T, []int) T       // the answer with those items in that order; nil where a drawer orders by itself
	cuts      bool                   // the drawer orders by itself, or by render.Options.Order, and leaves out what is beyond the limit
	partial   func(T) bool           // tells whether an answer beside an error has things to show; nil for never
}

// ask asks every server the same.
func ask[T any](ctx context.Context, a *app, f func(*client.Client, context.Context) (T, error)) ([]api.Result[T], error) {
	cs, err := a.clients(ctx)
	if err != nil {
		return nil, err
	}
	return client.Each(ctx, cs, f), nil
}

// show writes answers in the form that -o asks for, says which servers failed,
// and returns the error that decides the exit status. It is the only code that
// knows -o.
func show[T any](a *app, rs []api.Result[T], v view[T]) error {
	failed := a.report(failures(rs))
	if err := write(a, rs, v); err != nil {
		return err
	}
	if len(failed) > 0 {
		return &fleetError{failed, len(rs) - len(failed)}
	}
	return nil
}

// write writes answers, the drawn ones a page at a time where there is one.
func write[T any](a *app, rs []api.Result[T], v view[T]) error {
	if !a.form.drawn() {
		return writeTo(a.streams.out, a, rs, v)
	}
	return a.page(func(out io.Writer) error { return writeTo(out, a, rs, v) })
}

func writeTo[T any](out io.Writer, a *app, rs []api.Result[T], v view[T]) error {
	if a.form.drawn() && len(rs) == 1 && rs[0].Error != nil && !v.isPartial(rs[0].Value) {
		return nil // its line has been said
	}
	if a.form.drawn() && a.flags.sortBy == "" && a.flags.limit == 0 && len(a.flags.fields) == 0 {
		return v.draw(out, rs, a.renderOptions(v.limit))
	}
	if v.cuts && a.form.drawn() && a.flags.sortBy == "" && len(a.flags.fields) == 0 {
		return v.draw(out, rs, a.renderOptions(a.flags.limit))
	}
	e, order := envelope(a, rs, v), []int(nil)
	if a.flags.sortBy != "" {
		var known bool
		if order, known = render.Sort(e.Items, a.flags.sortBy); !known && len(e.Items) > 0 {
			return a.unknownFields(e, strings.TrimPrefix(a.flags.sortBy, "-"))
		}
		e.Items = taken(e.Items, order)
	}
	if n := a.flags.limit; n > 0 && n < len(e.Items) {
		e.LeftOut = len(e.Items) - n
		if !v.cuts || !a.form.drawn() { // such a drawer says so itself
			a.note("%d of %d shown; --limit 0 shows all", n, len(e.Items))
		}
		e.Items = e.Items[:n]
	}
	switch unknown := render.Unknown(e.Items, a.flags.fields); {
	case len(unknown) > 0:
		return a.unknownFields(e, unknown...)
	case !a.form.drawn():
		return a.encode(out, e)
	case v.cuts && len(rs) == 1 && len(a.flags.fields) == 0:
		return v.draw(out, rs, a.inOrder(e))
	case len(a.flags.fields) > 0 || v.pick == nil || len(rs) > 1:
		return render.Fields(out, e, a.flags.fields, strings.TrimPrefix(a.flags.sortBy, "-"), a.renderOptions(0))
	}
	if order == nil {
		order = allOf(len(e.Items) + e.LeftOut)
	}
	picked := []api.Result[T]{{Instance: rs[0].Instance, Value: v.pick(rs[0].Value, order[:len(e.Items)]), Error: rs[0].Error}}
	return v.draw(out, picked, a.renderOptions(-1))
}

// inOrder has a drawer that orders by itself follow the envelope's order.
func (a *app) inOrder(e render.Envelope) render.Options {
	o := a.renderOptions(a.flags.limit)
	o.Order = []string{}
	for _, it := range e.Items {
		o.Order = append(o.Order, it.Name)
	}
	return o
}

// unknownFields is the error of fields that no item has.
func (a *app) unknownFields(e render.Envelope, names ...string) error {
	have, err := render.Columns(e.Items, false)
	if err != nil {
		return err
	}
	return &usageError{fmt.Errorf("there is no field %s; there is: %s", strings.Join(names, ", "), strings.Join(have, ", ")), "pulsectl"}
}

// taken are elements in an order, those that are in it.
func taken[E any](all []E, order []int) []E {
	out := make([]E, len(order))
	for i, at := range order {
		out[i] = all[at]
	}
	return out
}

func allOf(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// note tells something about a result on standard error, unless that is to be
// quiet.
func (a *app) note(format string, args ...any) {
	if !a.flags.quiet {
		fmt.Fprintf(a.streams.err, "%s\n", render.Clean(fmt.Sprintf(format, args...)))
	}
}

func envelope[T any](a *app, rs []api.Result[T], v view[T]) render.Envelope {
	e := render.NewEnvelope(v.kind, a.now())
	e.Context = a.target.name
	for _, r := range rs {
		if r.Error != nil {
			e.Errors = append(e.Errors, render.Failure{Instance: r.Instance, Status: r.Error.Status, Detail: r.Error.Error()})
		}
		if r.Error != nil && !v.isPartial(r.Value) {
			continue
		}
		for _, it := range v.items(r.Value) {
			it.Instance = r.Instance
			e.Items = append(e.Items, it)
		}
		if v.unit != nil {
			e.Unit = v.unit(r.Value)
		}
		if v.retention != nil && len(rs) == 1 {
			e.Retention = v.retention(r.Value)
		}
	}
	return e
}

func (v view[T]) isPartial(value T) bool { return v.partial != nil && v.partial(value) }

// failures collects the servers that failed, with their errors.
func failures[T any](rs []api.Result[T]) (failed []api.Result[struct{}]) {
	for _, r := range rs {
		if r.Error != nil {
			failed = append(failed, api.Result[struct{}]{Instance: r.Instance, Error: r.Error})
		}
	}
	return failed
}

// report says on standard error which servers failed and why, a line each, with
// a hint where there is one thing to try.
func (a *app) report(failed []api.Result[struct{}]) (errs []*api.Error) {
	for _, f := range failed {
		fmt.Fprintf(a.streams.err, "pulsectl: %s: %s\n", render.Clean(f.Instance), render.Clean(f.Error.Error()))
		if hint := hint(f.Error); hint != "" && !a.flags.quiet {
			fmt.Fprintf(a.streams.err, "  %s\n", hint)
		}
		errs = append(errs, f.Error)
	}
	return errs
}

func hint(e *api.Error) string {
	switch {
	case e.Status == 401:
		return "set PULSECTL_TOKEN, or PULSECTL_TOKEN_FILE to a file of mode 0600; or give the context a token-file or token-command"
	case e.Code == client.CodeUnreachable:
		return "is the server running there? --server URL names another"
	case e.Code == client.CodeTimeout:
		return "--request-timeout allows it more time"
	}
	return ""
}
