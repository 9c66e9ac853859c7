package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

type auditOptions struct {
	Since string
	Limit int
}

var auditView = view[api.Audit]{
	kind: "AuditList",
	items: func(v api.Audit) (items []render.Item) {
		for _, e := range v.Entries {
			items = append(items, render.Item{Name: e.RequestID, Value: e})
		}
		return items
	},
	draw: render.Audit,
}

func newAuditCmd(a *app) *cobra.Command {
	var o auditOptions
	run := func(cmd *cobra.Command, _ []string) error { return a.audit(cmd.Context(), o) }
	cmd := &cobra.Command{Use: "audit", Short: "What was changed on the server, by whom and why", Args: cobra.NoArgs, RunE: run}
	list := &cobra.Command{
		Use:     "list",
		Short:   "List what was changed, newest first",
		Example: "  pulsectl audit list --since 1h\n  pulsectl audit list -o json",
		Args:    cobra.NoArgs, RunE: run,
	}
	for _, c := range []*cobra.Command{cmd, list} {
		c.Flags().StringVar(&o.Since, "since", "", "only changes since this `TIME`: 15m back, RFC 3339 or Unix seconds")
		c.Flags().IntVarP(&o.Limit, "limit", "n", 100, "at most this many, 1 to 1000")
	}
	cmd.AddCommand(list)
	return cmd
}

func (a *app) audit(ctx context.Context, o auditOptions) error {
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.Audit, error) { return c.Audit(ctx, o.Since, o.Limit) })
	if err != nil {
		return err
	}
	return show(a, rs, auditView)
}
