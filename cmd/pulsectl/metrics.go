package main

import (
	"context"
	"fmt"
	"path"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

var metricsView = view[[]api.MetricFamily]{
	kind: "MetricList",
	items: func(fs []api.MetricFamily) (items []render.Item) {
		for _, f := range fs {
			items = append(items, render.Item{Name: f.Name, Value: f})
		}
		return items
	},
	draw: render.MetricFamilies,
}

var metricView = view[api.MetricFamily]{
	kind:  "Metric",
	items: func(f api.MetricFamily) []render.Item { return []render.Item{{Name: f.Name, Value: f}} },
	draw:  render.Metric,
}

// limitFlag is -n/--limit of a list.
type limitFlag struct {
	n   int
	set func() bool
}

func (l *limitFlag) register(cmd *cobra.Command, what string) {
	cmd.Flags().IntVarP(&l.n, "limit", "n", 0, what+"; 0 shows all (default: what a screen holds)")
	l.set = func() bool { return cmd.Flags().Changed("limit") }
}

// rows is the limit as [render.Options] takes it.
func (l *limitFlag) rows() int {
	if l.set() && l.n <= 0 {
		return -1
	}
	return l.n
}

func newMetricsCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "metrics",
		Aliases: []string{"metric"},
		Short:   "Metrics: list, get",
		Args:    cobra.NoArgs,
	}
	list := newMetricsListCmd(a)
	cmd.RunE = list.RunE
	cmd.Flags().AddFlagSet(list.Flags())
	cmd.AddCommand(list, newMetricsGetCmd(a))
	return cmd
}

func newMetricsListCmd(a *app) *cobra.Command {
	var limit limitFlag
	cmd := &cobra.Command{
		Use:   "list [GLOB]",
		Short: "List the metric families",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			glob := "*"
			if len(args) == 1 {
				glob = args[0]
			}
			if _, err := path.Match(glob, ""); err != nil {
				return &usageError{fmt.Errorf("pattern %q: want *, ? and [a-z]", glob), cmd.CommandPath()}
			}
			return a.metrics(cmd.Context(), glob, limit.rows())
		},
	}
	limit.register(cmd, "families to show")
	return cmd
}

func (a *app) metrics(ctx context.Context, glob string, limit int) error {
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) ([]api.MetricFamily, error) {
		fs, err := c.Metrics(ctx)
		return slices.DeleteFunc(fs, func(f api.MetricFamily) bool {
			match, _ := path.Match(glob, f.Name) // the pattern has been checked
			return !match
		}), err
	})
	if err != nil {
		return err
	}
	v := metricsView
	v.limit = limit
	return show(a, rs, v)
}

func newMetricsGetCmd(a *app) *cobra.Command {
	var limit limitFlag
	cmd := &cobra.Command{
		Use:   "get NAME",
		Short: "Show one metric family: its series, histograms as bars",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.metric(cmd.Context(), args[0], limit.rows())
		},
	}
	limit.register(cmd, "series to show")
	return cmd
}

func (a *app) metric(ctx context.Context, name string, limit int) error {
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.MetricFamily, error) {
		fs, err := c.Metrics(ctx)
		if err != nil {
			return api.MetricFamily{}, err
		}
		i := slices.IndexFunc(fs, func(f api.MetricFamily) bool { return f.Name == name })
		if i < 0 {
			return api.MetricFamily{}, api.Errorf(404, "metric not found: %q; `pulsectl metrics list` shows what there is", name)
		}
		return fs[i], nil
	})
	if err != nil {
		return err
	}
	v := metricView
	v.limit = limit
	return show(a, rs, v)
}
