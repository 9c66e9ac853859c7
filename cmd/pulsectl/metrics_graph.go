package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// graphSteps is into how many steps a span of time is parted: more than a wide
// terminal has columns.
const graphSteps = 240

func newMetricsGraphCmd(a *app) *cobra.Command {
	var since, step string
	var limit limitFlag
	cmd := &cobra.Command{
		Use:   "graph EXPR",
		Short: "Draw PromQL over the last minutes: one series as a chart, several as a line each",
		Long:  queryHelp,
		Example: "  pulsectl metrics graph 'sum(rate(pulse_api_requests_total[1m]))'\n" +
			"  pulsectl metrics graph 'histogram_quantile(0.95, sum by (le, endpoint) (rate(pulse_api_request_duration_seconds_bucket[1m])))' --since 1h",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			now := a.now()
			from, err := instant(since, now)
			if err == nil && !from.Before(now) {
				err = fmt.Errorf("%q: want a time in the past", since)
			}
			if err != nil {
				return &usageError{fmt.Errorf("--since %w", err), cmd.CommandPath()}
			}
			every := max(time.Second, (now.Sub(from) / graphSteps).Round(time.Second))
			if step != "" {
				if every, err = api.ParseDuration(step); err != nil || every < time.Millisecond {
					return &usageError{fmt.Errorf("--step %q: want a duration like 15s", step), cmd.CommandPath()}
				}
			}
			return a.graph(cmd.Context(), args[0], from, now, every, limit.rows())
		},
	}
	cmd.Flags().StringVar(&since, "since", "15m", "from this `TIME` on: a duration back, RFC 3339 or Unix seconds")
	cmd.Flags().StringVar(&step, "step", "", "between two values, a `DURATION` (default: a 240th of the span)")
	limit.register(cmd, "series to show")
	return cmd
}

func (a *app) graph(ctx context.Context, expr string, from, to time.Time, step time.Duration, limit int) error {
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.QueryResult, error) {
		return c.QueryRange(ctx, expr, from, to, step)
	})
	if err != nil {
		return err
	}
	v := queryView
	v.limit = limit
	v.draw = func(w io.Writer, rs []api.Result[api.QueryResult], o render.Options) error {
		return render.QueryGraph(w, rs, from, to, o)
	}
	return show(a, rs, v)
}
