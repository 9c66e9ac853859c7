package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/scrape"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

type metricsTopOptions struct {
	glob   string // "": routes
	sortBy string
	rate   time.Duration
	limit  limitFlag
	watch  watchFlag
}

const metricsTopHelp = `Show which routes serve most: requests a second, the share of errors (status 500
and above) and of client errors (4xx), and the quantiles of their durations, all
of the time between two reads. With --watch each look is compared with the one
before, and each route's last rates are drawn.

With a pattern it shows which counters grow most instead, of any server that
has metrics; histograms and summaries count by their observations.

  pulsectl metrics top -w
  pulsectl metrics top --rate 10s --sort-by p99
  pulsectl metrics top 'go_*' -s http://127.0.0.1:9100`

func newMetricsTopCmd(a *app) *cobra.Command {
	var o metricsTopOptions
	cmd := &cobra.Command{
		Use:   "top [GLOB]",
		Short: "Show which routes serve most, or which counters grow most",
		Long:  metricsTopHelp,
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(args, cmd.Flags().Changed("rate")); err != nil {
				return asUsage(cmd, err)
			}
			if o.glob != "" {
				return a.metricRates(cmd.Context(), &o)
			}
			return a.routeRates(cmd.Context(), &o)
		},
	}
	cmd.Flags().Var(watchValue{durationValue{&o.rate}}, "rate", "read twice, so far apart; 2s without")
	cmd.Flags().StringVar(&o.sortBy, "sort-by", "rate", "of routes: "+scrape.RouteOrders)
	o.limit.register(cmd, "rows to show")
	o.watch.register(cmd)
	return cmd
}

func (o *metricsTopOptions) check(args []string, rateSet bool) (err error) {
	switch {
	case rateSet && o.watch.every > 0:
		return fmt.Errorf("rate %v: with --watch the rates are between two looks", o.rate)
	case !scrape.SortRoutes(nil, o.sortBy):
		return fmt.Errorf("sort-by %q: want %s", o.sortBy, scrape.RouteOrders)
	case len(args) > 0 && o.sortBy != "rate":
		return errors.New("sort-by: counters are sorted by their rate")
	}
	o.rate = cmp.Or(o.watch.every, o.rate, 2*time.Second)
	if len(args) > 0 {
		o.glob, err = globArg(args)
	}
	return err
}

func (a *app) routeRates(ctx context.Context, o *metricsTopOptions) error {
	q := client.MetricQuery{Names: []string{scrape.Requests, scrape.Durations, scrape.InFlight}, Native: true}
	return topOf(ctx, a, o, q, func(c *compared, trend func(string, api.Float) []api.Float) api.RouteRates {
		v := scrape.Routes(c.before, c.now, c.apart)
		scrape.SortRoutes(v.Routes, o.sortBy)
		for i := range v.Routes {
			r := &v.Routes[i]
			r.RecentRates = trend(r.Method+" "+r.Endpoint, r.Rate)
		}
		return v
	}, view[api.RouteRates]{
		kind: "RouteRateList",
		items: func(v api.RouteRates) (items []render.Item) {
			for _, r := range v.Routes {
				items = append(items, render.Item{Name: r.Method + " " + r.Endpoint, Value: r})
			}
			return items
		},
		draw: render.RouteRates,
	})
}

func (a *app) metricRates(ctx context.Context, o *metricsTopOptions) error {
	return topOf(ctx, a, o, client.MetricQuery{Matches: matching(o.glob)}, func(c *compared, trend func(string, api.Float) []api.Float) []api.MetricRate {
		v := scrape.Rates(c.before, c.now, c.apart)
		for i := range v {
			v[i].RecentRates = trend(v[i].Name+" "+api.SeriesKey(v[i].Labels), v[i].Rate)
		}
		return v
	}, view[[]api.MetricRate]{
		kind: "MetricRateList",
		items: func(v []api.MetricRate) (items []render.Item) {
			for _, r := range v {
				items = append(items, render.Item{Name: r.Name, Value: r})
			}
			return items
		},
		draw: render.MetricRates,
	})
}

// topOf shows what was worked out of two looks, once or again and again. of
// tells trend the rate of each thing, and gets its last ones.
func topOf[T any](ctx context.Context, a *app, o *metricsTopOptions, q client.MetricQuery,
	of func(c *compared, trend func(key string, rate api.Float) []api.Float) T, v view[T]) error {
	v.limit = o.limit.rows()
	looks := looks{every: o.watch.every, query: q}
	kept := map[string]*scrape.Trends{} // by instance
	return a.watch(ctx, o.watch.every, func(ctx context.Context, a *app) error {
		rs, err := looks.next(ctx, a, o.rate)
		if err != nil {
			return err
		}
		all := make([]api.Result[T], len(rs))
		for i, r := range rs {
			all[i] = api.Result[T]{Instance: r.Instance, Error: r.Error}
			if r.Error != nil || r.Value.apart <= 0 {
				continue
			}
			if o.watch.every == 0 {
				all[i].Value = of(&r.Value, func(string, api.Float) []api.Float { return nil })
				continue
			}
			if kept[r.Instance] == nil {
				kept[r.Instance] = &scrape.Trends{}
			}
			all[i].Value = of(&r.Value, kept[r.Instance].Add)
			kept[r.Instance].End()
		}
		return show(a, all, v)
	})
}
