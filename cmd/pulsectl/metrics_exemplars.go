package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

var exemplarsView = view[api.Exemplars]{
	kind: "ExemplarList",
	items: func(x api.Exemplars) (items []render.Item) {
		for _, e := range x.Exemplars {
			items = append(items, render.Item{Name: e.TraceID, Value: e})
		}
		return items
	},
	draw: render.Exemplars,
}

func newMetricsExemplarsCmd(a *app) *cobra.Command {
	var since string
	var limit limitFlag
	cmd := &cobra.Command{
		Use:   "exemplars NAME",
		Short: "The requests that a metric points to: from a latency spike to its trace",
		Long: `List the requests that the series of a metric point to, newest first, and whether
their traces and profiles are still there. What to type next is below: the trace
of the largest value, and its profile.`,
		Example: "  pulsectl metrics exemplars pulse_api_request_duration_seconds --since 15m",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.exemplars(cmd.Context(), args[0], since, limit.rows())
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "only those since this `TIME`: 15m back, RFC 3339 or Unix seconds")
	limit.register(cmd, "requests to show")
	return cmd
}

func (a *app) exemplars(ctx context.Context, name, since string, limit int) error {
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.Exemplars, error) {
		return c.Exemplars(ctx, name, since)
	})
	if err != nil {
		return err
	}
	v := exemplarsView
	v.limit = limit
	return show(a, rs, v)
}
