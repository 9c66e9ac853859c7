package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

type resetOptions struct {
	HalfOpen bool
	Stagger  time.Duration
	breakerFilter
}

func (o *resetOptions) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.HalfOpen, "half-open", false, "let trial calls decide; closed breakers stay closed")
	cmd.Flags().Var(durationValue{&o.Stagger}, "stagger", "from one server to the next; 0 means all at once")
}

func (o *resetOptions) after() api.State {
	if o.HalfOpen {
		return api.StateHalfOpen
	}
	return api.StateClosed
}

func newBreakersResetCmd(a *app) *cobra.Command {
	var o resetOptions
	cmd := &cobra.Command{
		Use:   "reset NAME…",
		Short: "Reset circuit breakers by name",
		Long:  "Reset circuit breakers by name. That ends a forced state too.",
		Args:  cobra.MinimumNArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return a.resetBreakers(cmd.Context(), args, o) },
	}
	o.register(cmd)
	return cmd
}

func newBreakersResetAllCmd(a *app) *cobra.Command {
	var o resetOptions
	cmd := &cobra.Command{
		Use:   "reset-all",
		Short: "Reset every circuit breaker",
		Long:  "Reset every circuit breaker, those in a forced state apart.",
		Example: `  pulsectl breakers reset-all --half-open --stagger 5s
  pulsectl breakers reset-all --state open --name '*_api'`,
		Args:    cobra.NoArgs,
		PreRunE: func(cmd *cobra.Command, _ []string) error { return asUsage(cmd, o.check()) },
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.resetBreakers(cmd.Context(), nil, o) },
	}
	o.register(cmd)
	o.breakerFilter.register(cmd)
	return cmd
}

// resetBreakers resets the named breakers, or without names all that o selects,
// on each server. A person is shown before what would change.
func (a *app) resetBreakers(ctx context.Context, names []string, o resetOptions) error {
	if err := a.preview(func(a *app) error { return a.previewReset(ctx, names, o) }); err != nil {
		return err
	}
	what := "reset these circuit breakers?"
	if len(names) > 0 {
		what = "reset " + strings.Join(names, ", ") + "?"
	}
	if err := a.confirm(ctx, what, true); err != nil {
		return err
	}
	rs, err := askInTurn(ctx, a, o.Stagger, resetter(names, o, a.action()))
	if err != nil {
		return err
	}
	return show(a, rs, resetView(o))
}

// previewReset shows a dry run, or where a server cannot do one the breakers
// themselves.
func (a *app) previewReset(ctx context.Context, names []string, o resetOptions) error {
	rs, err := ask(ctx, a, resetter(names, o, client.Action{DryRun: true}))
	if err != nil {
		return err
	}
	for _, f := range failures(rs) {
		if f.Error.Code == client.CodeUnsupported {
			return a.breakers(ctx, breakersOptions{breakerFilter: o.breakerFilter, names: names})
		}
	}
	return show(a, rs, resetView(o))
}

// resetter returns what resets breakers on one server. It goes on after a name
// that the server refuses: its error is the server's answer then.
func resetter(names []string, o resetOptions, act client.Action) func(*client.Client, context.Context) (api.BreakersReset, error) {
	how := client.Reset{Action: act, HalfOpen: o.HalfOpen, State: api.State(o.State), Name: o.Name}
	if len(names) == 0 {
		return func(c *client.Client, ctx context.Context) (api.BreakersReset, error) {
			return c.ResetAllBreakers(ctx, how)
		}
	}
	return func(c *client.Client, ctx context.Context) (api.BreakersReset, error) {
		if err := c.CanReset(ctx, how, names...); err != nil {
			return api.BreakersReset{}, err
		}
		out := api.BreakersReset{Total: api.CountOf(len(names)), DryRun: act.DryRun}
		var first error
		for _, name := range names {
			done, err := c.ResetBreaker(ctx, name, how)
			if err != nil {
				first = cmp.Or(first, err)
				continue
			}
			out.Reset = append(out.Reset, api.ResetBreaker{Name: name, PreviousState: done.PreviousState, State: done.State})
		}
		return out, first
	}
}

func resetView(o resetOptions) view[api.BreakersReset] {
	return view[api.BreakersReset]{
		kind:    "BreakerResetList",
		partial: func(r api.BreakersReset) bool { return len(r.Reset) > 0 },
		items: func(r api.BreakersReset) (items []render.Item) {
			for _, b := range r.Reset {
				items = append(items, render.Item{Name: b.Name, Value: b})
			}
			return items
		},
		draw: func(w io.Writer, rs []api.Result[api.BreakersReset], ro render.Options) error {
			return render.BreakerResets(w, rs, o.after(), ro)
		},
	}
}

// askInTurn asks every server the same: all at once, or with a pause one after
// the other. Then a terminal is told of each as it is done.
func askInTurn[T any](ctx context.Context, a *app, pause time.Duration, f func(*client.Client, context.Context) (T, error)) ([]api.Result[T], error) {
	cs, err := a.clients(ctx)
	if err != nil {
		return nil, err
	}
	if pause == 0 || a.curl != nil || len(cs) == 1 {
		return client.Each(ctx, cs, f), nil
	}
	_, tty := terminal(a.streams.err)
	left := len(cs)
	told := func(r api.Result[T]) {
		left--
		if tty && left > 0 && !a.flags.quiet {
			word := "done"
			if r.Error != nil {
				word = "failed"
			}
			fmt.Fprintf(a.streams.err, "%s: %s; %d to go, the next in %s\n", render.Clean(r.Instance), word, left, pause)
		}
	}
	return client.InTurn(ctx, cs, pause, told, f), nil
}

// action is how the flags want every change to be made.
func (a *app) action() client.Action { return client.Action{DryRun: a.flags.dryRun} }
