package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

type eventsOptions struct {
	Follow bool
	Since  string
	Limit  int
}

func newBreakersEventsCmd(a *app) *cobra.Command {
	var o eventsOptions
	cmd := &cobra.Command{
		Use:   "events [NAME]",
		Short: "Show what happened to circuit breakers, and who did it",
		Long: `Show what happened to circuit breakers, newest first, of the last 1,000 changes
that a server keeps. NAME may be a pattern. With --follow each is shown as it
happens, and a stream that breaks is taken up again; -o json writes an object a
line then.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Limit < 1 || o.Limit > 1000 {
				return &usageError{fmt.Errorf("limit %d: want 1 to 1000", o.Limit), cmd.CommandPath()}
			}
			q := client.EventQuery{Since: o.Since, Limit: o.Limit}
			if len(args) == 1 {
				q.Name = args[0]
			}
			if o.Follow {
				return a.followEvents(cmd.Context(), q)
			}
			return a.breakerEvents(cmd.Context(), q)
		},
	}
	cmd.Flags().BoolVarP(&o.Follow, "follow", "f", false, "show each as it happens, until interrupted")
	cmd.Flags().StringVar(&o.Since, "since", "", "from `TIME` on: a duration back from now like 15m, RFC 3339, or Unix seconds")
	cmd.Flags().IntVarP(&o.Limit, "limit", "n", 100, "events to show, 1 to 1000")
	return cmd
}

var breakerEventsView = view[api.BreakerEvents]{
	kind: "BreakerEventList",
	items: func(all api.BreakerEvents) (items []render.Item) {
		for _, e := range all.Events {
			items = append(items, render.Item{Name: e.Name, Value: e})
		}
		return items
	},
	draw: render.BreakerEvents,
	pick: func(all api.BreakerEvents, order []int) api.BreakerEvents {
		all.Events = taken(all.Events, order)
		return all
	},
}

func (a *app) breakerEvents(ctx context.Context, q client.EventQuery) error {
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.BreakerEvents, error) {
		all, err := c.BreakerEvents(ctx, q)
		if err == nil && len(all.Events) == 0 && q.Name != "" && !strings.ContainsAny(q.Name, `*?[\`) {
			_, err = c.Breaker(ctx, q.Name) // nothing happened to it, or there is none of that name
		}
		return all, err
	})
	if err != nil {
		return err
	}
	return show(a, found(rs), breakerEventsView)
}

// eventTail writes the events of a fleet as they come, a line each.
type eventTail struct {
	followers
	fleet bool
}

// followEvents shows the events of each server until all have failed at the
// start, or ctx is done.
func (a *app) followEvents(ctx context.Context, q client.EventQuery) error {
	if err := a.checkStream("pulsectl breakers events"); err != nil {
		return err
	}
	cs, err := a.clients(ctx)
	if err != nil {
		return err
	}
	f := &eventTail{followers{app: a}, len(cs) > 1}
	return f.each(ctx, cs, func(c *client.Client) streamReader {
		q := q
		return func(opened func()) error {
			return c.FollowBreakerEvents(ctx, q, func() {
				if q.Since == "" { // from here on nothing is to be missed
					q.Since = after(api.Unix(f.now().UnixNano()))
				}
				opened()
			}, func(e api.BreakerEvent) error {
				q.Since = after(e.Time)
				return f.write(c.Instance(), e)
			})
		}
	})
}

// after is the first instant that is not t any more, as the API takes it.
func after(t api.Time) string {
	ns := t.UnixNano() + 1
	return strconv.FormatInt(ns/1e9, 10) + fmt.Sprintf(".%09d", ns%1e9)
}

func (f *eventTail) write(instance string, e api.BreakerEvent) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if done, err := f.streamed(render.Item{Instance: instance, Name: e.Name, Value: e}); done {
		return err
	}
	if !f.fleet {
		instance = ""
	}
	return render.BreakerEvent(f.streams.out, instance, e, f.renderOptions(0))
}
