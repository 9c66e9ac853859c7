package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

var queryView = view[api.QueryResult]{
	kind: "QueryResult",
	items: func(q api.QueryResult) (items []render.Item) {
		if t := q.Data.Text; t != nil {
			return []render.Item{{Name: t.Text, Value: t}}
		}
		for _, s := range q.Data.Series {
			items = append(items, render.Item{Name: s.Metric["__name__"], Value: s})
		}
		return items
	},
	draw: render.QueryResult,
}

const queryHelp = `Evaluate PromQL on each server's own samples of the last hour. The answer is real
PromQL; where an expression looks further back than there are samples, that is
said. A Python server, and a service that only embeds the stack, have no samples.`

func newMetricsQueryCmd(a *app) *cobra.Command {
	var at string
	var limit limitFlag
	cmd := &cobra.Command{
		Use:     "query EXPR",
		Short:   "Evaluate PromQL on the server's own samples",
		Long:    queryHelp,
		Example: "  pulsectl metrics query 'sum by (endpoint) (rate(pulse_api_requests_total[5m]))'\n  pulsectl metrics query 'up' --at 10m",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			when, err := instant(at, a.now())
			if err != nil {
				return &usageError{fmt.Errorf("--at %w", err), cmd.CommandPath()}
			}
			return a.query(cmd.Context(), args[0], when, limit.rows())
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "as of this `TIME`: 15m back, RFC 3339 or Unix seconds (default: now)")
	limit.register(cmd, "series to show")
	return cmd
}

// instant reads a time as the API takes it, "" as the zero time.
func instant(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	if seconds, err := strconv.ParseFloat(s, 64); err == nil && seconds > 0 && seconds < 1<<33 {
		return time.UnixMilli(int64(seconds * 1e3)), nil
	}
	if d, err := api.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q: want an RFC 3339 time, Unix seconds or a duration like 15m", s)
}

func (a *app) query(ctx context.Context, expr string, at time.Time, limit int) error {
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.QueryResult, error) { return c.Query(ctx, expr, at) })
	if err != nil {
		return err
	}
	v := queryView
	v.limit = limit
	return show(a, rs, v)
}
