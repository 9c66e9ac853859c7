package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
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
	draw: render.Traces,
	pick: func(l api.TraceList, order []int) api.TraceList {
		l.Traces = taken(l.Traces, order)
		return l
	},
	retention: func(l api.TraceList) *api.Retention { return l.Retention },
}

func newTracesCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "traces",
		Aliases: []string{"trace"},
		Short:   "Traces of requests and jobs: list, show, diff, tail, stats, services, export, import, cleanup",
		Args:    cobra.NoArgs,
	}
	list := newTracesListCmd(a)
	cmd.RunE = list.RunE
	cmd.Annotations = list.Annotations
	cmd.Flags().AddFlagSet(list.Flags())
	cmd.AddCommand(list, newTracesShowCmd(a), newTracesDiffCmd(a), newTracesCleanupCmd(a))
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

		Annotations: map[string]string{ownForms: strings.Join(traceForms, ",")},
		RunE:        func(cmd *cobra.Command, _ []string) error { return a.traces(cmd.Context(), q) },
	}
	fs := cmd.Flags()
	fs.IntVarP(&q.Limit, "limit", "n", 20, "traces of each server, 1 to 1000; to 100 with --spans")
	fs.StringVar(&q.State, "state", "all", "active, finished or all")
	traceFilters(fs, &q, "ok, error, timeout, aborted or active", "see above")
	fs.StringVar(&q.Since, "since", "", "only traces begun since then: a `TIME`, or a duration back from now like 15m")
	fs.StringVar(&q.Until, "until", "", "only traces begun until then: a `TIME`, or a duration back from now")
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

// cleanupTraces removes old traces on each server. Before a person is asked a dry
// run counts them, where the servers can do one.
func (a *app) cleanupTraces(ctx context.Context, maxAge time.Duration) error {
	clean := func(how client.Action) ([]api.Result[api.Cleanup], error) {
		return ask(ctx, a, func(c *client.Client, ctx context.Context) (api.Cleanup, error) {
			return c.CleanupTraces(ctx, maxAge, how)
		})
	}
	err := a.preview(func(a *app) error {
		rs, err := clean(client.Action{DryRun: true})
		if err != nil || len(failures(rs)) > 0 {
			return err // a server that cannot count is asked all the same
		}
		return show(a, rs, cleanupView("TraceCleanup", "traces"))
	})
	if err != nil {
		return err
	}
	if err := a.confirm(ctx, fmt.Sprintf("remove the finished traces older than %s?", maxAge), true); err != nil {
		return err
	}
	rs, err := clean(a.action())
	if err != nil {
		return err
	}
	return show(a, rs, cleanupView("TraceCleanup", "traces"))
}

func cleanupView(kind, what string) view[api.Cleanup] {
	return view[api.Cleanup]{
		kind:  kind,
		items: func(c api.Cleanup) []render.Item { return []render.Item{{Name: c.Message, Value: c}} },
		draw: func(w io.Writer, rs []api.Result[api.Cleanup], o render.Options) error {
			return render.Done(w, rs, func(c api.Cleanup) string { return cleanupLine(c, what) }, o)
		},
	}
}
