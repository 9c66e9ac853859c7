package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/scrape"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

type metricOptions struct {
	name   string
	labels []string
	match  []client.LabelMatch
	by     []string
	total  bool
	sortBy string
	rate   time.Duration
	limit  limitFlag
	watch  watchFlag
}

const metricGetHelp = `Show one metric family: its series, histograms as bars with their quantiles.

A label condition is NAME=VALUE, NAME!=VALUE, NAME=~REGEXP or NAME!~REGEXP; a
label that is not there is empty, and a regular expression is of the whole
value. --by sums the series over all other labels, histograms bucket by bucket.

With --rate it is read twice, so far apart: counters have their rates a second,
gauges their changes, and histograms show what was observed in between. With
--watch each look is compared with the one before. A counter that has fallen
began anew in between: then it has gained what it holds. Quantiles are estimates
within a bucket, from native buckets where the server has them (within 9 %).

  pulsectl metrics get pulse_api_requests_total --by endpoint,status_code --rate 5s
  pulsectl metrics get pulse_api_request_duration_seconds --label endpoint=/items -w
  pulsectl metrics get pulse_api_errors_total --label 'error_type=~http_5..' --sort-by value`

func newMetricsGetCmd(a *app) *cobra.Command {
	var o metricOptions
	cmd := &cobra.Command{
		Use:   "get NAME",
		Short: "Show one metric family: its series, histograms as bars",
		Long:  metricGetHelp,
		Args:  cobra.ExactArgs(1),

		Annotations: map[string]string{ownForms: promForm},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			if err := o.check(); err != nil {
				return asUsage(cmd, err)
			}
			return a.metric(cmd.Context(), &o)
		},
	}
	fs := cmd.Flags()
	fs.StringArrayVar(&o.labels, "label", nil, "only series of this `CONDITION`, like endpoint=/items; repeatable")
	fs.StringSliceVar(&o.by, "by", nil, "sum the series by these `LABELS`")
	fs.BoolVar(&o.total, "total", false, "sum all series")
	fs.StringVar(&o.sortBy, "sort-by", "", scrape.SeriesOrders+" (default: labels, of histograms value)")
	fs.Var(watchValue{durationValue{&o.rate}}, "rate", "read twice, so far apart, and show what changed")
	o.limit.register(cmd, "series to show")
	o.watch.register(cmd)
	return cmd
}

func (o *metricOptions) check() error {
	for _, l := range o.labels {
		m, err := client.ParseLabelMatch(l)
		if err != nil {
			return err
		}
		o.match = append(o.match, m)
	}
	switch {
	case o.rate > 0 && o.watch.every > 0:
		return fmt.Errorf("rate %v: with --watch the rates are between two looks", o.rate)
	case o.total && len(o.by) > 0:
		return fmt.Errorf("total: --by %s sums already", strings.Join(o.by, ","))
	case !scrape.SortSeries(&api.MetricFamily{}, o.sortBy):
		return fmt.Errorf("sort-by %q: want %s", o.sortBy, scrape.SeriesOrders)
	}
	return nil
}

func (a *app) metric(ctx context.Context, o *metricOptions) error {
	looks := looks{every: o.watch.every, query: client.MetricQuery{Names: []string{o.name}, Labels: o.match, Native: true}}
	return a.watch(ctx, o.watch.every, func(ctx context.Context, a *app) error {
		rs, err := looks.next(ctx, a, o.rate)
		if err != nil {
			return err
		}
		all := make([]api.Result[api.MetricFamily], len(rs))
		for i, r := range rs {
			all[i] = api.Result[api.MetricFamily]{Instance: r.Instance, Error: r.Error}
			if r.Error == nil {
				all[i].Value, all[i].Error = o.family(&r.Value)
			}
		}
		return showMetrics(a, found(all), view[api.MetricFamily]{
			kind:  "Metric",
			items: func(f api.MetricFamily) []render.Item { return []render.Item{{Name: f.Name, Value: f}} },
			draw:  render.Metric,
			limit: o.limit.rows(),
		}, func(f api.MetricFamily) []api.MetricFamily { return []api.MetricFamily{f} })
	})
}

// family is the one that was asked for, with what became of it.
func (o *metricOptions) family(v *compared) (api.MetricFamily, *api.Error) {
	found := scrape.Find(v.now, o.name)
	if found == nil {
		return api.MetricFamily{}, api.Errorf(404, "metric not found: %q; `pulsectl metrics list` shows what there is", o.name)
	}
	f := *found
	f.Series = slices.Clone(f.Series) // the look itself stays what it is, for the next one
	if v.apart > 0 {
		before := scrape.Find(v.before, o.name)
		if before == nil {
			before = &api.MetricFamily{}
		}
		scrape.Changes(before, &f, v.apart)
	}
	for i := range f.Series {
		scrape.Describe(&f.Series[i].MetricHistogram)
	}
	if o.total || len(o.by) > 0 {
		scrape.By(&f, o.by)
	}
	scrape.SortSeries(&f, o.sortBy)
	return f, nil
}

// looks reads a fleet's metrics again and again, and puts each look beside the
// one before it.
type looks struct {
	query client.MetricQuery
	every time.Duration     // that is to be between two looks; 0 for any time
	at    time.Time         // of the last look
	last  map[string]looked // by instance, the last that succeeded
}

type looked struct {
	at       time.Time
	families []api.MetricFamily
}

// compared is a look at an instance with the one before; apart is 0 where there
// is none.
type compared struct {
	before, now []api.MetricFamily
	apart       time.Duration
}

// next looks. If there was no look before and first is more than 0, it looks
// twice, so far apart.
func (l *looks) next(ctx context.Context, a *app, first time.Duration) ([]api.Result[compared], error) {
	if a.flags.from != "" && (first > 0 || l.every > 0) {
		return nil, &usageError{errors.New("a snapshot is one look: a rate takes two"), "pulsectl metrics"}
	}
	if l.last == nil {
		l.last = map[string]looked{}
		if first > 0 {
			rs, err := l.look(ctx, a)
			if err != nil || len(l.last) == 0 {
				return rs, err
			}
			if err := pause(ctx, first); err != nil {
				return nil, err
			}
		}
	}
	return l.look(ctx, a)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// look looks, not much sooner after the look before than it is to: a rate over
// a moment is noise, and a tick may be late or have waited.
func (l *looks) look(ctx context.Context, a *app) ([]api.Result[compared], error) {
	if passed := a.now().Sub(l.at); passed < l.every*9/10 {
		if err := pause(ctx, l.every-passed); err != nil {
			return nil, err
		}
	}
	l.at = a.now()
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (looked, error) {
		at := a.now()
		fs, err := c.Metrics(ctx, l.query)
		return looked{at, fs}, err
	})
	out := make([]api.Result[compared], len(rs))
	for i, r := range rs {
		out[i] = api.Result[compared]{Instance: r.Instance, Error: r.Error, Value: compared{now: r.Value.families}}
		if r.Error != nil {
			continue
		}
		if old, found := l.last[r.Instance]; found {
			out[i].Value.before, out[i].Value.apart = old.families, r.Value.at.Sub(old.at)
		}
		l.last[r.Instance] = r.Value
	}
	return out, err
}
