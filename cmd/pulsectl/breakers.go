package main

import (
	"context"
	"fmt"
	"maps"
	"path"
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
	cuts: true,
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
		Short:   "Circuit breakers: list, show, steer",
		Args:    cobra.NoArgs,
	}
	list := newBreakersListCmd(a)
	cmd.PreRunE, cmd.RunE = list.PreRunE, list.RunE
	cmd.Flags().AddFlagSet(list.Flags())
	cmd.AddCommand(list, newBreakersShowCmd(a), newBreakersEventsCmd(a), newBreakersResetCmd(a), newBreakersResetAllCmd(a),
		newBreakersForceCmd(a, openOrder), newBreakersForceCmd(a, disableOrder), newBreakersForceCmd(a, enableOrder), newBreakersExecCmd(a))
	return cmd
}

type breakersOptions struct {
	OpenOnly bool
	breakerFilter
	names []string // these only, where there are any
}

// breakerFilter picks breakers out of all.
type breakerFilter struct{ State, Name string }

func (f *breakerFilter) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.State, "state", "", "those in this `STATE` only: closed, open or half-open")
	cmd.Flags().StringVar(&f.Name, "name", "", "those whose names match a `GLOB` only")
}

// check brings the state into the API's form.
func (f *breakerFilter) check() error {
	f.State = strings.ReplaceAll(f.State, "-", "_")
	if f.State != "" && !slices.Contains([]api.State{api.StateClosed, api.StateOpen, api.StateHalfOpen}, api.State(f.State)) {
		return fmt.Errorf("state %q: want closed, open or half-open", f.State)
	}
	if _, err := path.Match(f.Name, ""); err != nil {
		return fmt.Errorf("name %q: want a pattern of *, ? and [a-z]", f.Name)
	}
	return nil
}

// drops tells whether a breaker is not among those asked for.
func (o breakersOptions) drops(b api.Breaker) bool {
	matches, _ := path.Match(o.Name, b.Name) // checked
	return o.OpenOnly && b.State != api.StateOpen || o.State != "" && b.State != api.State(o.State) || o.Name != "" && !matches ||
		len(o.names) > 0 && !slices.Contains(o.names, b.Name)
}

func newBreakersListCmd(a *app) *cobra.Command {
	var o breakersOptions
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List circuit breakers and their states",
		Args:    cobra.NoArgs,
		PreRunE: func(cmd *cobra.Command, _ []string) error { return asUsage(cmd, o.check()) },
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.breakers(cmd.Context(), o) },
	}
	cmd.Flags().BoolVar(&o.OpenOnly, "open", false, "list open breakers only")
	o.register(cmd)
	return cmd
}

func (a *app) breakers(ctx context.Context, o breakersOptions) error {
	rs, err := ask(ctx, a, (*client.Client).Breakers)
	if err != nil {
		return err
	}
	for _, r := range rs {
		maps.DeleteFunc(r.Value, func(_ string, b api.Breaker) bool { return o.drops(b) })
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
