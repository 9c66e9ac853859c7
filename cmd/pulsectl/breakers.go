package main

import (
	"cmp"
	"context"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

var breakersView = view[api.Breakers]{
	kind: "BreakerList",
	items: func(all api.Breakers) (items []render.Item) {
		for _, name := range slices.Sorted(maps.Keys(all)) {
			items = append(items, render.Item{Name: name, Value: all[name]})
		}
		return items
	},
	draw: render.Breakers,
}

var breakerView = view[api.Breaker]{
	kind:  "Breaker",
	items: func(b api.Breaker) []render.Item { return []render.Item{{Name: b.Name, Value: b}} },
	draw:  render.Breaker,
}

func newBreakersCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "breakers",
		Aliases: []string{"breaker"},
		Short:   "Circuit breakers: list, show, reset",
		Args:    cobra.NoArgs,
	}
	list := newBreakersListCmd(a)
	cmd.RunE = list.RunE
	cmd.Flags().AddFlagSet(list.Flags())
	cmd.AddCommand(list, newBreakersShowCmd(a), newBreakersResetCmd(a), newBreakersResetAllCmd(a))
	return cmd
}

type breakersOptions struct{ OpenOnly bool }

func newBreakersListCmd(a *app) *cobra.Command {
	var o breakersOptions
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List circuit breakers and their states",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.breakers(cmd.Context(), o) },
	}
	cmd.Flags().BoolVar(&o.OpenOnly, "open", false, "list open breakers only")
	return cmd
}

func (a *app) breakers(ctx context.Context, o breakersOptions) error {
	rs, err := ask(ctx, a, (*client.Client).Breakers)
	if err != nil {
		return err
	}
	if o.OpenOnly {
		for _, r := range rs {
			maps.DeleteFunc(r.Value, func(_ string, b api.Breaker) bool { return b.State != api.StateOpen })
		}
	}
	return show(a, rs, breakersView)
}

func newBreakersShowCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Show one circuit breaker in full",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.breaker(cmd.Context(), args[0])
		},
	}
}

func (a *app) breaker(ctx context.Context, name string) error {
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.Breaker, error) { return c.Breaker(ctx, name) })
	if err != nil {
		return err
	}
	return show(a, rs, breakerView)
}

type resetOptions struct{ HalfOpen bool }

func (o *resetOptions) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.HalfOpen, "half-open", false, "let trial calls decide; closed breakers stay closed")
}

func newBreakersResetCmd(a *app) *cobra.Command {
	var o resetOptions
	cmd := &cobra.Command{
		Use:   "reset NAME…",
		Short: "Reset circuit breakers by name",
		Args:  cobra.MinimumNArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return a.resetBreakers(cmd.Context(), args, o) },
	}
	o.register(cmd)
	return cmd
}

// resetBreakers resets the named breakers on each server, and goes on after one
// that a server refuses: its error is the server's answer then.
func (a *app) resetBreakers(ctx context.Context, names []string, o resetOptions) error {
	if err := a.confirm(ctx, "reset "+strings.Join(names, ", ")+"?", true); err != nil {
		return err
	}
	how := client.Reset{Action: a.action(), HalfOpen: o.HalfOpen}
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.BreakersReset, error) {
		if err := c.CanReset(ctx, how, names...); err != nil {
			return api.BreakersReset{}, err
		}
		out := api.BreakersReset{Total: api.CountOf(len(names)), DryRun: a.flags.dryRun}
		var first error
		for _, name := range names {
			done, err := c.ResetBreaker(ctx, name, how)
			if err != nil {
				first = cmp.Or(first, err)
				continue
			}
			out.Reset = append(out.Reset, api.ResetBreaker{Name: name, PreviousState: done.PreviousState})
		}
		return out, first
	})
	if err != nil {
		return err
	}
	return show(a, rs, resetView(o))
}

func newBreakersResetAllCmd(a *app) *cobra.Command {
	var o resetOptions
	cmd := &cobra.Command{
		Use:   "reset-all",
		Short: "Reset every circuit breaker",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.resetAllBreakers(cmd.Context(), o) },
	}
	o.register(cmd)
	return cmd
}

func (a *app) resetAllBreakers(ctx context.Context, o resetOptions) error {
	if err := a.preview(func(a *app) error { return a.breakers(ctx, breakersOptions{}) }); err != nil {
		return err
	}
	if err := a.confirm(ctx, "reset all of these circuit breakers?", true); err != nil {
		return err
	}
	how := client.Reset{Action: a.action(), HalfOpen: o.HalfOpen}
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.BreakersReset, error) {
		return c.ResetAllBreakers(ctx, how)
	})
	if err != nil {
		return err
	}
	return show(a, rs, resetView(o))
}

func resetView(o resetOptions) view[api.BreakersReset] {
	after := api.StateClosed
	if o.HalfOpen {
		after = api.StateHalfOpen
	}
	return view[api.BreakersReset]{
		kind:    "BreakerResetList",
		partial: func(r api.BreakersReset) bool { return len(r.Reset) > 0 },
		items: func(r api.BreakersReset) (items []render.Item) {
			for _, b := range r.Reset {
				items = append(items, render.Item{Name: b.Name, Value: b})
			}
			return items
		},
		draw: func(w io.Writer, rs []api.Result[api.BreakersReset], o render.Options) error {
			return render.BreakerResets(w, rs, after, o)
		},
	}
}

// action is how the flags want every change to be made.
func (a *app) action() client.Action { return client.Action{DryRun: a.flags.dryRun} }
