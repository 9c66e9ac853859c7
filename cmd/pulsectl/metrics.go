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

// promForm is the form of -o that Prometheus reads, of metrics alone.
const promForm = "prom"

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
		Short:   "Metrics: list, get, top, query, graph, exemplars",
		Args:    cobra.NoArgs,
	}
	list := newMetricsListCmd(a)
	cmd.RunE, cmd.Annotations = list.RunE, list.Annotations
	cmd.Flags().AddFlagSet(list.Flags())
	cmd.AddCommand(list, newMetricsGetCmd(a), newMetricsTopCmd(a), newMetricsQueryCmd(a), newMetricsGraphCmd(a), newMetricsExemplarsCmd(a))
	return cmd
}

type metricsOptions struct {
	glob   string
	sortBy string
	limit  limitFlag
	watch  watchFlag
}

func newMetricsListCmd(a *app) *cobra.Command {
	var o metricsOptions
	cmd := &cobra.Command{
		Use:   "list [GLOB]",
		Short: "List the metric families",
		Long: `List the metric families with their type, number of series, unit and help. A
server without the /monitoring API is asked for /metrics, where any exporter of
Prometheus has them. With --watch also how many series there are more than at
the look before.

  pulsectl metrics list 'pulse_api_cache_*'
  pulsectl metrics list --sort-by series -n 10      what takes the most room
  pulsectl metrics list -o prom -s http://127.0.0.1:9100`,
		Args: cobra.MaximumNArgs(1),

		Annotations: map[string]string{ownForms: promForm},
		RunE: func(cmd *cobra.Command, args []string) error {
			glob, err := globArg(args)
			if err == nil && o.sortBy != "name" && o.sortBy != "series" {
				err = fmt.Errorf("sort-by %q: want name or series", o.sortBy)
			}
			if err != nil {
				return asUsage(cmd, err)
			}
			o.glob = glob
			return a.metrics(cmd.Context(), &o)
		},
	}
	o.limit.register(cmd, "families to show")
	o.watch.register(cmd)
	cmd.Flags().StringVar(&o.sortBy, "sort-by", "name", "name, or series: the most first")
	return cmd
}

// globArg is the pattern of families that may be a command's argument. The
// interval of --watch, which needs a "=", would be one that no family matches.
func globArg(args []string) (string, error) {
	if len(args) == 0 {
		return "*", nil
	}
	if _, err := api.ParseDuration(args[0]); err == nil {
		return "", fmt.Errorf("pattern %q: no metric has such a name; an interval stands behind a =, as in --watch=%[1]s", args[0])
	}
	if _, err := path.Match(args[0], ""); err != nil {
		return "", fmt.Errorf("pattern %q: want *, ? and [a-z]", args[0])
	}
	return args[0], nil
}

// matching is what a checked pattern matches.
func matching(glob string) func(string) bool {
	return func(name string) bool {
		match, _ := path.Match(glob, name)
		return match
	}
}

func (a *app) metrics(ctx context.Context, o *metricsOptions) error {
	before := map[string]int{} // series of each instance's families
	return a.watch(ctx, o.watch.every, func(ctx context.Context, a *app) error {
		whole := !a.form.drawn() || len(a.flags.fields) > 0
		q := client.MetricQuery{Matches: matching(o.glob), Count: !whole}
		rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) ([]api.MetricFamily, error) { return c.Metrics(ctx, q) })
		if err != nil {
			return err
		}
		for _, r := range rs {
			seriesChanges(before, r)
			if o.sortBy == "series" {
				slices.SortStableFunc(r.Value, func(a, b api.MetricFamily) int { return b.SeriesCount - a.SeriesCount })
			}
		}
		return showMetrics(a, rs, view[[]api.MetricFamily]{
			kind: "MetricList",
			items: func(fs []api.MetricFamily) (items []render.Item) {
				for _, f := range fs {
					items = append(items, render.Item{Name: f.Name, Value: f})
				}
				return items
			},
			draw:  render.MetricFamilies,
			limit: o.limit.rows(),
		}, func(fs []api.MetricFamily) []api.MetricFamily { return fs })
	})
}

// seriesChanges tells how many series there are more than before, and keeps how
// many there are now.
func seriesChanges(before map[string]int, r api.Result[[]api.MetricFamily]) {
	_, looked := before[r.Instance]
	for i := range r.Value {
		f := &r.Value[i]
		key := r.Instance + " " + f.Name
		if looked {
			n := f.SeriesCount - before[key]
			f.SeriesChange = &n
		}
		before[key] = f.SeriesCount
	}
	if r.Error == nil {
		before[r.Instance] = 1
	}
}

// showMetrics is show, in Prometheus's own form too.
func showMetrics[T any](a *app, rs []api.Result[T], v view[T], families func(T) []api.MetricFamily) error {
	if a.form.name != promForm {
		return show(a, rs, v)
	}
	failed := a.report(failures(rs))
	all := make([]api.Result[[]api.MetricFamily], len(rs))
	for i, r := range rs {
		all[i] = api.Result[[]api.MetricFamily]{Instance: r.Instance, Error: r.Error}
		if r.Error == nil {
			all[i].Value = families(r.Value)
		}
	}
	if err := render.Exposition(a.streams.out, all); err != nil {
		return err
	}
	if len(failed) > 0 {
		return &fleetError{failed, len(rs) - len(failed)}
	}
	return nil
}
