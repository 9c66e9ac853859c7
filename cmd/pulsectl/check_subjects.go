package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/check"
	"github.com/pulsectl/pulsectl/internal/condition"
	"github.com/pulsectl/pulsectl/internal/scrape"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

// thresholds are --warn and --crit of a check.
type thresholds struct{ warn, crit string }

func (t *thresholds) register(cmd *cobra.Command, warn, crit, what string) {
	cmd.Flags().StringVar(&t.warn, "warn", warn, "WARNING: "+what)
	cmd.Flags().StringVar(&t.crit, "crit", crit, "CRITICAL: "+what)
}

// ranges are the thresholds as ranges, nil for one that is empty.
func (t *thresholds) ranges(u check.Unit) (warn, crit *check.Range, err error) {
	for _, r := range []struct {
		text string
		to   **check.Range
	}{{t.warn, &warn}, {t.crit, &crit}} {
		if r.text == "" {
			continue
		}
		if *r.to, err = check.ParseRange(r.text, u); err != nil {
			return nil, nil, err
		}
	}
	return warn, crit, nil
}

func newCheckHealthCmd(a *app) *cobra.Command {
	var t thresholds
	cmd := &cobra.Command{
		Use:   "health [CHECK…]",
		Short: "Judge the health, or some of its checks",
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := check.ParseWords(t.warn, t.crit, check.HealthStates...)
			if err != nil {
				return asUsage(cmd, err)
			}
			return judge(cmd.Context(), a, "health", (*client.Client).Health, func(h api.Health) check.Result { return check.Health(h, args, w) })
		},
	}
	t.register(cmd, api.Degraded, api.Unhealthy, "`STATES` of "+strings.Join(check.HealthStates, ", "))
	return cmd
}

func newCheckBreakersCmd(a *app) *cobra.Command {
	var t thresholds
	cmd := &cobra.Command{
		Use:   "breakers [NAME…]",
		Short: "Judge the circuit breakers, or some of them; NAME may be a pattern",
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, pattern := range args {
				if _, err := path.Match(pattern, ""); err != nil {
					return asUsage(cmd, fmt.Errorf("name %q: want a pattern of *, ? and [a-z]", pattern))
				}
			}
			w, err := check.ParseWords(t.warn, t.crit, check.BreakerStates...)
			if err != nil {
				return asUsage(cmd, err)
			}
			return judge(cmd.Context(), a, "breakers", (*client.Client).Breakers, func(all api.Breakers) check.Result { return check.Breakers(all, args, w) })
		},
	}
	t.register(cmd, "half-open", string(api.StateOpen), "`STATES` of "+strings.Join(check.BreakerStates, ", "))
	return cmd
}

func newCheckCacheCmd(a *app) *cobra.Command {
	var t, hits thresholds
	cmd := &cobra.Command{
		Use:       "cache [redis|memory]",
		Short:     "Judge the caches: how they are, and their share of hits",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"redis", "memory"},
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := check.ParseWords(t.warn, t.crit, check.CacheStates...)
			if err != nil {
				return asUsage(cmd, err)
			}
			var ratio check.HitRatio
			if ratio.Warn, ratio.Crit, err = hits.ranges(check.Ratio); err != nil {
				return asUsage(cmd, err)
			}
			tier := strings.Join(args, "")
			return judge(cmd.Context(), a, "cache", (*client.Client).CacheStatus, func(c api.CacheStatus) check.Result { return check.Cache(c, tier, w, ratio) })
		},
	}
	t.register(cmd, api.Degraded, api.Failed, "`STATES` of "+strings.Join(check.CacheStates, ", "))
	cmd.Flags().StringVar(&hits.warn, "warn-hits", "", "WARNING: `RANGE` of the share of hits in the last minutes: 80%:")
	cmd.Flags().StringVar(&hits.crit, "crit-hits", "", "CRITICAL: the same")
	return cmd
}

// routesOptions are what the checks of routes have in common.
type routesOptions struct {
	thresholds
	over     time.Duration
	since    time.Duration // 0: two reads of the metrics
	route    string
	minCalls int
	quantile string
}

func (o *routesOptions) register(cmd *cobra.Command) {
	o.over = 5 * time.Second
	fs := cmd.Flags()
	fs.Var(watchValue{durationValue{&o.over}}, "over", "read the metrics twice, so far apart")
	fs.Var(watchValue{durationValue{&o.since}}, "since", "not of two reads but of the traces of this `TIME`, at once")
	fs.StringVar(&o.route, "route", "*", "only routes that match a `GLOB`: '/api/*', 'GET /items'")
	fs.IntVar(&o.minCalls, "min-calls", 1, "requests before a route is judged")
}

// limits checks the flags.
func (o *routesOptions) limits(cmd *cobra.Command, u check.Unit) (l check.Limits, err error) {
	quantiles := []string{"avg", "p50", "p95", "p99"}
	if o.since > 0 {
		quantiles = []string{"p50", "p90", "p95", "p99", "max"}
	}
	_, badGlob := path.Match(o.route, "")
	switch {
	case o.since > 0 && cmd.Flags().Changed("over"):
		return l, errors.New("since: of traces there are no two reads: want --over or --since")
	case badGlob != nil:
		return l, fmt.Errorf("route %q: want a pattern of *, ? and [a-z]", o.route)
	case o.quantile != "" && !slices.Contains(quantiles, o.quantile):
		return l, fmt.Errorf("quantile %q: want %s; of --since there are p50, p90, p95, p99, max", o.quantile, strings.Join(quantiles, ", "))
	}
	l = check.Limits{MinCalls: float64(o.minCalls), Over: o.over, About: o.about}
	if o.since > 0 {
		l.Over = o.since
	}
	l.Warn, l.Crit, err = o.ranges(u)
	return l, err
}

// about tells whether a route is judged, by its name, or that without the method
// or service before it. The API's own routes are only if they are named: some
// are streams, which take as long as somebody listens.
func (o *routesOptions) about(name string) bool {
	_, rest, _ := strings.Cut(name, " ")
	if o.route == "*" {
		return !strings.Contains(name, " /monitoring/")
	}
	return condition.Matches(o.route, name) || condition.Matches(o.route, rest)
}

func newCheckLatencyCmd(a *app) *cobra.Command {
	var o routesOptions
	cmd := &cobra.Command{
		Use:   "latency",
		Short: "Judge how long each route takes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := o.limits(cmd, check.Seconds)
			if err != nil {
				return asUsage(cmd, err)
			}
			return a.checkRoutes(cmd.Context(), "latency", &o, func(rs []check.Route) check.Result { return check.Latency(rs, o.quantile, l) })
		},
	}
	o.thresholds.register(cmd, "1s", "5s", "`RANGE` of seconds, or of durations like 250ms")
	o.register(cmd)
	cmd.Flags().StringVar(&o.quantile, "quantile", "p95", "avg, p50, p95, p99; of --since p50, p90, p95, p99, max")
	return cmd
}

func newCheckErrorsCmd(a *app) *cobra.Command {
	var o routesOptions
	cmd := &cobra.Command{
		Use:   "errors",
		Short: "Judge the share of each route's requests that fail",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := o.limits(cmd, check.Ratio)
			if err != nil {
				return asUsage(cmd, err)
			}
			return a.checkRoutes(cmd.Context(), "errors", &o, func(rs []check.Route) check.Result { return check.Errors(rs, l) })
		},
	}
	o.thresholds.register(cmd, "1%", "5%", "`RANGE` of a share, or of percentages: 5%")
	o.register(cmd)
	return cmd
}

// checkRoutes judges what routes served, by two reads of the metrics or by the
// statistics of traces.
func (a *app) checkRoutes(ctx context.Context, name string, o *routesOptions, of func([]check.Route) check.Result) error {
	if o.since > 0 {
		q := client.StatsQuery{Since: o.since.String()}
		return judge(ctx, a, name, func(c *client.Client, ctx context.Context) (api.TraceStats, error) { return c.TraceStats(ctx, q) },
			func(v api.TraceStats) check.Result { return of(check.OfSpans(v)) })
	}
	looks := looks{query: client.MetricQuery{Names: []string{scrape.Requests, scrape.Durations}, Native: true}}
	rs, err := looks.next(ctx, a, o.over)
	if err != nil {
		return err
	}
	return a.judged(ctx, results(rs, name, func(c compared) check.Result {
		if c.apart <= 0 {
			return check.Failed(name, check.Unknown, "the first of two reads was not answered")
		}
		return of(check.OfRates(scrape.Routes(c.before, c.now, c.apart)))
	}))
}
