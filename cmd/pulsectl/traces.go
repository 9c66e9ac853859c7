package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

var tracesView = view[api.TraceList]{
	kind: "TraceList",
	items: func(l api.TraceList) (items []render.Item) {
		for _, t := range l.Traces {
			items = append(items, render.Item{Name: t.TraceID, Value: t})
		}
		return items
	},
	draw:      render.Traces,
	retention: func(l api.TraceList) *api.Retention { return l.Retention },
}

func newTracesCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "traces",
		Aliases: []string{"trace"},
		Short:   "Traces of requests and jobs: list, show, tail, stats, services, export, import, cleanup",
		Args:    cobra.NoArgs,
	}
	list := newTracesListCmd(a)
	cmd.RunE = list.RunE
	cmd.Flags().AddFlagSet(list.Flags())
	cmd.AddCommand(list, newTracesShowCmd(a), newTracesCleanupCmd(a))
	cmd.AddCommand(newTracesTailCmd(a), newTracesStatsCmd(a), newTracesServicesCmd(a), newTracesExportCmd(a), newTracesImportCmd(a))
	return cmd
}

const tracesListHelp = `List traces, running and finished, the newest first.

Each filter narrows the list. --tag asks for an attribute of some span, and may
be repeated: KEY (is there), KEY=VALUE, KEY!=VALUE, KEY~REGEXP, KEY>N, KEY<N.

  pulsectl traces list --status error --since 15m
  pulsectl traces list --sort slowest --service checkout
  pulsectl traces list --tag 'http.response.status_code>499' -o json`

func newTracesListCmd(a *app) *cobra.Command {
	var q client.TraceQuery
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List traces, the newest first",
		Long:  tracesListHelp,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.traces(cmd.Context(), q) },
	}
	fs := cmd.Flags()
	fs.IntVarP(&q.Limit, "limit", "n", 20, "traces of each server, 1 to 1000; to 100 with --spans")
	fs.StringVar(&q.State, "state", "all", "active, finished or all")
	fs.StringVar(&q.Service, "service", "", "only traces with a span of this service")
	fs.StringVar(&q.Operation, "operation", "", "only traces with a span of this `NAME`")
	fs.StringVar(&q.Status, "status", "", "only this: ok, error, timeout, aborted or active")
	fs.Var(durationValue{&q.MinDuration}, "min-duration", "only traces that took so long at least")
	fs.Var(durationValue{&q.MaxDuration}, "max-duration", "only traces that took so long at most; 0 means any")
	fs.StringVar(&q.Since, "since", "", "only traces begun since then: a `TIME`, or a duration back from now like 15m")
	fs.StringVar(&q.Until, "until", "", "only traces begun until then: a `TIME`, or a duration back from now")
	fs.StringArrayVar(&q.Tags, "tag", nil, "only traces with such an attribute, see above; repeatable")
	fs.StringVarP(&q.Text, "query", "Q", "", "only traces with this `TEXT` in an operation, attribute or log message")
	fs.BoolVar(&q.HasProfile, "has-profile", false, "only traces that a profile was taken of")
	fs.StringVar(&q.Sort, "sort", "recent", "recent, slowest, errors or spans")
	fs.BoolVar(&q.Spans, "spans", false, "with their spans, for -o json and yaml")
	return cmd
}

func (a *app) traces(ctx context.Context, q client.TraceQuery) error {
	if q.Limit < 1 {
		return &usageError{fmt.Errorf("limit %d: want 1 or more", q.Limit), "pulsectl traces list"}
	}
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.TraceList, error) { return c.Traces(ctx, q) })
	if err != nil {
		return err
	}
	if a.traceForm() != "" {
		return a.exportListed(ctx, rs)
	}
	return show(a, rs, tracesView)
}

const tracesShowHelp = `Show the waterfall of one trace, with its critical path: the spans that it
waited for.

ID is a trace's id or a unique prefix of 4 or more characters, or one of
  @last     the trace begun last, of those that have finished
  @slowest  the one that took longest
  @error    the newest with a failed span

  pulsectl traces show 4bf9
  pulsectl traces show @slowest
  pulsectl traces show @error -o json`

func newTracesShowCmd(a *app) *cobra.Command {
	limit := 200
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show the waterfall of one trace",
		Long:  tracesShowHelp,
		Args:  cobra.ExactArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return a.trace(cmd.Context(), args[0], limit) },
	}
	cmd.Flags().IntVarP(&limit, "limit", "n", limit, "spans; 0 shows all")
	return cmd
}

// picks are the names for traces that need no id.
var picks = map[string]client.TraceQuery{
	"@last":    {State: "finished", Limit: 1},
	"@slowest": {State: "finished", Sort: "slowest", Limit: 1},
	"@error":   {State: "finished", Status: string(api.StatusError), Limit: 1},
}

func (a *app) trace(ctx context.Context, id string, limit int) error {
	pick, named := picks[id]
	switch {
	case limit < 0:
		return &usageError{fmt.Errorf("limit %d: want 0 or more", limit), "pulsectl traces show"}
	case id != "" && id[0] == '@' && !named:
		return &usageError{fmt.Errorf("%s: want an id, @last, @slowest or @error", id), "pulsectl traces show"}
	case limit == 0:
		limit = -1 // to the drawers 0 is their own default
	}
	if form := a.traceForm(); form != "" {
		return a.exportTraces(ctx, []string{id}, exportOptions{Format: form})
	}
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.Trace, error) {
		if !named {
			return c.Trace(ctx, id)
		}
		list, err := c.Traces(ctx, pick)
		if err != nil {
			return api.Trace{}, err
		}
		if len(list.Traces) == 0 {
			return api.Trace{}, api.Errorf(http.StatusNotFound, "the server keeps no such trace: %s", id)
		}
		return c.Trace(ctx, list.Traces[0].TraceID)
	})
	if err != nil {
		return err
	}
	return show(a, found(rs), view[api.Trace]{
		kind:  "Trace",
		items: func(t api.Trace) []render.Item { return []render.Item{{Name: t.TraceID, Value: t}} },
		draw:  render.Trace,
		limit: limit,
	})
}

// found leaves out the servers of a fleet that do not have what another has.
func found[T any](rs []api.Result[T]) []api.Result[T] {
	var kept []api.Result[T]
	have := false
	for _, r := range rs {
		have = have || r.Error == nil
		if r.Error == nil || r.Error.Status != http.StatusNotFound {
			kept = append(kept, r)
		}
	}
	if !have {
		return rs
	}
	return kept
}

func newTracesCleanupCmd(a *app) *cobra.Command {
	maxAge := 5 * time.Minute
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove old finished traces",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.cleanupTraces(cmd.Context(), maxAge) },
	}
	cmd.Flags().Var(durationValue{&maxAge}, "older-than", "remove those that ended longer ago, 1m to 1h")
	cmd.Flags().Var(durationValue{&maxAge}, "max-age", "the same as --older-than")
	return cmd
}

func (a *app) cleanupTraces(ctx context.Context, maxAge time.Duration) error {
	if err := a.confirm(ctx, fmt.Sprintf("remove the finished traces older than %s?", maxAge), true); err != nil {
		return err
	}
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.Cleanup, error) {
		return c.CleanupTraces(ctx, maxAge, a.action())
	})
	if err != nil {
		return err
	}
	return show(a, rs, view[api.Cleanup]{
		kind:  "TraceCleanup",
		items: func(c api.Cleanup) []render.Item { return []render.Item{{Name: c.Message, Value: c}} },
		draw: func(w io.Writer, rs []api.Result[api.Cleanup], o render.Options) error {
			return render.Done(w, rs, func(c api.Cleanup) string { return cleanupLine(c, "traces") }, o)
		},
	})
}
