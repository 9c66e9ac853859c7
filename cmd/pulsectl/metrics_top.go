package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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
	cmd.Flags().Var(watchValue{durationValue{&o.rate}}, "rate", "read twice, so far apart (default 2s)")
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
	looks := looks{every: o.watch.every, query: client.MetricQuery{Names: []string{scrape.Requests, scrape.Durations, scrape.InFlight}, Native: true}}
	trends := trends{}
	return a.watch(ctx, o.watch.every, func(ctx context.Context, a *app) error {
		rs, err := looks.next(ctx, a, o.rate)
		if err != nil {
			return err
		}
		all := make([]api.Result[api.RouteRates], len(rs))
		for i, r := range rs {
			all[i] = api.Result[api.RouteRates]{Instance: r.Instance, Error: r.Error}
			if r.Error != nil || r.Value.apart <= 0 {
				continue
			}
			v := scrape.Routes(r.Value.before, r.Value.now, r.Value.apart)
			scrape.SortRoutes(v.Routes, o.sortBy)
			if o.watch.every > 0 {
				step := trends.step(r.Instance)
				for i := range v.Routes {
					v.Routes[i].RecentRates = step.add(v.Routes[i].Method+" "+v.Routes[i].Endpoint, v.Routes[i].Rate)
				}
				step.end()
			}
			all[i].Value = v
		}
		return show(a, all, view[api.RouteRates]{
			kind: "RouteRateList",
			items: func(v api.RouteRates) (items []render.Item) {
				for _, r := range v.Routes {
					items = append(items, render.Item{Name: r.Method + " " + r.Endpoint, Value: r})
				}
				return items
			},
			draw:  render.RouteRates,
			limit: o.limit.rows(),
		})
	})
}

func (a *app) metricRates(ctx context.Context, o *metricsTopOptions) error {
	looks := looks{every: o.watch.every, query: client.MetricQuery{Matches: matching(o.glob)}}
	trends := trends{}
	return a.watch(ctx, o.watch.every, func(ctx context.Context, a *app) error {
		rs, err := looks.next(ctx, a, o.rate)
		if err != nil {
			return err
		}
		all := make([]api.Result[[]api.MetricRate], len(rs))
		for i, r := range rs {
			all[i] = api.Result[[]api.MetricRate]{Instance: r.Instance, Error: r.Error}
			if r.Error != nil || r.Value.apart <= 0 {
				continue
			}
			v := scrape.Rates(r.Value.before, r.Value.now, r.Value.apart)
			if o.watch.every > 0 {
				step := trends.step(r.Instance)
				for i := range v {
					v[i].RecentRates = step.add(v[i].Name+" "+api.SeriesKey(v[i].Labels), v[i].Rate)
				}
				step.end()
			}
			all[i].Value = v
		}
		return show(a, all, view[[]api.MetricRate]{
			kind: "MetricRateList",
			items: func(v []api.MetricRate) (items []render.Item) {
				for _, r := range v {
					items = append(items, render.Item{Name: r.Name, Value: r})
				}
				return items
			},
			draw:  render.MetricRates,
			limit: o.limit.rows(),
		})
	})
}

// trends are the last rates of everything that moved lately, by instance.
type trends map[string]map[string][]api.Float

// trendLength is how many rates are kept of a thing.
const trendLength = 30

// trendStep adds one look at an instance.
type trendStep struct {
	of    map[string][]api.Float
	added map[string]bool
}

func (t trends) step(instance string) trendStep {
	if t[instance] == nil {
		t[instance] = map[string][]api.Float{}
	}
	return trendStep{t[instance], map[string]bool{}}
}

// add adds the rate of a thing and returns its last ones, oldest first.
func (s trendStep) add(key string, rate api.Float) []api.Float {
	s.added[key] = true
	s.of[key] = append(s.of[key][max(len(s.of[key])-trendLength+1, 0):], rate)
	return slices.Clone(s.of[key])
}

// end adds nothing to all that was not seen, and forgets what has not moved for
// as long as is kept.
func (s trendStep) end() {
	for key, rates := range s.of {
		if s.added[key] {
			continue
		}
		s.add(key, 0)
		if !slices.ContainsFunc(rates, func(v api.Float) bool { return v != 0 }) {
			delete(s.of, key)
		}
	}
}
