package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// operationOrders are what --sort-by takes: the largest first, names as they
// are spelled.
var operationOrders = map[string]func(a, b api.OperationStats) int{
	"count":   func(a, b api.OperationStats) int { return cmp.Compare(b.Count, a.Count) },
	"rate":    func(a, b api.OperationStats) int { return cmp.Compare(b.Rate, a.Rate) },
	"errors":  func(a, b api.OperationStats) int { return cmp.Compare(b.Errors, a.Errors) },
	"p50":     func(a, b api.OperationStats) int { return cmp.Compare(b.P50, a.P50) },
	"p90":     func(a, b api.OperationStats) int { return cmp.Compare(b.P90, a.P90) },
	"p95":     func(a, b api.OperationStats) int { return cmp.Compare(b.P95, a.P95) },
	"p99":     func(a, b api.OperationStats) int { return cmp.Compare(b.P99, a.P99) },
	"max":     func(a, b api.OperationStats) int { return cmp.Compare(b.Max, a.Max) },
	"service": func(a, b api.OperationStats) int { return strings.Compare(a.Service, b.Service) },
	"name":    func(a, b api.OperationStats) int { return strings.Compare(a.Operation, b.Operation) },
}

const operationOrderNames = "count, rate, errors, p50, p90, p95, p99, max, service or name"

type traceStatsOptions struct {
	client.StatsQuery
	Limit  int
	SortBy string
}

func newTracesStatsCmd(a *app) *cobra.Command {
	var o traceStatsOptions
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Rate, errors and durations of each operation",
		Long: `Show rate, errors and durations of each operation of each service, of the spans
that have ended and that the server still keeps. Percentiles are within 1 %.

  pulsectl traces stats --since 15m --sort-by p99
  pulsectl traces stats --service checkout --interval 1m -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.traceStats(cmd.Context(), o) },
	}
	statsFilters(cmd, &o.StatsQuery)
	cmd.Flags().Var(durationValue{&o.Interval}, "interval", "with a series of such intervals, for -o json and yaml; 1s to 24h")
	cmd.Flags().IntVarP(&o.Limit, "limit", "n", 30, "operations; 0 shows all")
	cmd.Flags().StringVar(&o.SortBy, "sort-by", "count", operationOrderNames)
	return cmd
}

func statsFilters(cmd *cobra.Command, q *client.StatsQuery) {
	cmd.Flags().StringVar(&q.Since, "since", "", "only spans begun since then: a `TIME`, or a duration back from now like 15m")
	cmd.Flags().StringVar(&q.Service, "service", "", "only those of this service")
	cmd.Flags().StringVar(&q.Operation, "operation", "", "only those of this `NAME`")
}

func (a *app) traceStats(ctx context.Context, o traceStatsOptions) error {
	order, known := operationOrders[o.SortBy]
	switch {
	case !known:
		return &usageError{fmt.Errorf("sort-by %q: want %s", o.SortBy, operationOrderNames), "pulsectl traces stats"}
	case o.Limit < 0:
		return &usageError{fmt.Errorf("limit %d: want 0 or more", o.Limit), "pulsectl traces stats"}
	case o.Limit == 0:
		o.Limit = -1 // to the drawers 0 is their own default
	}
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.TraceStats, error) {
		s, err := c.TraceStats(ctx, o.StatsQuery)
		slices.SortStableFunc(s.Operations, order)
		return s, err
	})
	if err != nil {
		return err
	}
	return show(a, rs, view[api.TraceStats]{
		kind: "TraceStats",
		items: func(s api.TraceStats) (items []render.Item) {
			for _, op := range s.Operations {
				items = append(items, render.Item{Name: op.Service + " " + op.Operation, Value: op})
			}
			return items
		},
		draw:      render.TraceStats,
		retention: func(s api.TraceStats) *api.Retention { return &s.Store },
		limit:     o.Limit,
	})
}

func newTracesServicesCmd(a *app) *cobra.Command {
	var q client.StatsQuery
	cmd := &cobra.Command{
		Use:   "services",
		Short: "Which services call which, how often and how well",
		Long: `Show the graph of services: below each the ones that it calls, with calls, errors
and the 95th percentile of their durations. A dependency that sends no spans
itself, such as a database, is known from its callers' and marked.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.traceServices(cmd.Context(), q) },
	}
	statsFilters(cmd, &q)
	return cmd
}

func (a *app) traceServices(ctx context.Context, q client.StatsQuery) error {
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.ServiceGraph, error) { return c.ServiceGraph(ctx, q) })
	if err != nil {
		return err
	}
	return show(a, rs, view[api.ServiceGraph]{
		kind: "ServiceGraph",
		items: func(g api.ServiceGraph) []render.Item {
			return []render.Item{{Name: fmt.Sprintf("%d services", len(g.Nodes)), Value: g}}
		},
		draw: render.ServiceGraph,
	})
}
