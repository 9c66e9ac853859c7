package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// forceOrder is one of the commands that force a breaker's state, or end that.
type forceOrder struct {
	use, short, long string
	force            client.Force
	asks             string // what a person is asked, before the names
	recovery         bool   // a runbook may do it unasked
}

var (
	openOrder = forceOrder{
		use: "open", short: "Force circuit breakers open: reject every call", force: client.ForceOpen, asks: "force open",
		long: `Force circuit breakers open: every call is rejected. After --for they are
half-open, so that trial calls show whether the service is back.`,
	}
	disableOrder = forceOrder{
		use: "disable", short: "Disable circuit breakers: let every call through", force: client.Disable, asks: "disable",
		long: `Disable circuit breakers: every call is let through, whatever comes of it.
After --for they are closed and decide again.`,
	}
	enableOrder = forceOrder{
		use: "enable", short: "End a forced state: let circuit breakers decide again", force: client.Automatic, asks: "enable", recovery: true,
		long: `End a forced state of circuit breakers, so that they decide by themselves again:
one that was forced open is half-open then, a disabled one closed.`,
	}
)

type forceOptions struct{ For time.Duration }

func newBreakersForceCmd(a *app, order forceOrder) *cobra.Command {
	o := forceOptions{15 * time.Minute}
	cmd := &cobra.Command{
		Use:   order.use + " NAME…",
		Short: order.short,
		Long:  order.long,
		Args:  cobra.MinimumNArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return a.forceBreakers(cmd.Context(), order, args, o) },
	}
	if order.force != client.Automatic {
		cmd.Flags().Var(durationValue{&o.For}, "for", "how long; 0 means until told otherwise")
	}
	return cmd
}

// forceBreakers gives an order to the named breakers on each server.
func (a *app) forceBreakers(ctx context.Context, order forceOrder, names []string, o forceOptions) error {
	err := a.preview(func(a *app) error { return a.breakers(ctx, breakersOptions{names: names}) })
	if err != nil {
		return err
	}
	what := order.asks + " " + strings.Join(names, ", ")
	if order.force != client.Automatic {
		what += map[bool]string{true: " until told otherwise", false: fmt.Sprintf(" for %s", o.For)}[o.For == 0]
	}
	if err := a.confirm(ctx, what+"?", order.recovery); err != nil {
		return err
	}
	how := client.Change{Action: a.action(), Force: order.force, For: o.For}
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) ([]api.BreakerChange, error) {
		if err := c.CanChange(ctx, how); err != nil {
			return nil, err
		}
		var out []api.BreakerChange
		var first error
		for _, name := range names {
			done, err := c.ChangeBreaker(ctx, name, how)
			if err != nil {
				first = cmp.Or(first, err)
				continue
			}
			out = append(out, done)
		}
		return out, first
	})
	if err != nil {
		return err
	}
	return show(a, rs, breakerChangesView)
}

var breakerChangesView = view[[]api.BreakerChange]{
	kind:    "BreakerChangeList",
	partial: func(cs []api.BreakerChange) bool { return len(cs) > 0 },
	items: func(cs []api.BreakerChange) (items []render.Item) {
		for _, c := range cs {
			name := ""
			if c.Breaker != nil {
				name = c.Breaker.Name
			}
			items = append(items, render.Item{Name: name, Value: c})
		}
		return items
	},
	draw: render.BreakerChanges,
}
