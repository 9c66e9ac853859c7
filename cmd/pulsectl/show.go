package main

import (
	"context"
	"fmt"
	"io"

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

func write[T any](a *app, rs []api.Result[T], v view[T]) error {
	out := a.streams.out
	switch a.flags.output {
	case "json":
		if a.watching {
			return render.JSONLine(out, envelope(a, rs, v))
		}
		return render.JSON(out, envelope(a, rs, v))
	case "yaml":
		return render.YAML(out, envelope(a, rs, v))
	case "name":
		return render.Names(out, envelope(a, rs, v))
	}
	if len(rs) == 1 && rs[0].Error != nil && !v.isPartial(rs[0].Value) {
		return nil // its line has been said
	}
	return v.draw(out, rs, a.renderOptions(v.limit))
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
		if hint := hint(f.Error); hint != "" {
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
