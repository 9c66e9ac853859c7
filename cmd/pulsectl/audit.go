package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

type auditOptions struct {
	Since  string
	Limit  int
	Verify bool
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
	pick: func(v api.Audit, order []int) api.Audit {
		v.Entries = taken(v.Entries, order)
		return v
	},
}

const auditListHelp = `List what was changed, newest first: who, what, why, before and after.

The records of a server are a chain: each holds the hash of the one before it.
--verify fetches all of them and checks that none was changed, taken out or put
in. It ends with 1 where the chain is broken. Records cut off at its end leave no
trace in it: compare the hash of the newest one with the server's log.`

func newAuditCmd(a *app) *cobra.Command {
	var o auditOptions
	run := func(cmd *cobra.Command, _ []string) error {
		if o.Verify {
			return a.verifyAudit(cmd.Context())
		}
		return a.audit(cmd.Context(), o)
	}
	cmd := &cobra.Command{Use: "audit", Short: "What was changed on the server, by whom and why", Args: cobra.NoArgs, RunE: run}
	list := &cobra.Command{
		Use:     "list",
		Short:   "List what was changed, newest first",
		Long:    auditListHelp,
		Example: "  pulsectl audit list --since 1h\n  pulsectl audit list --verify\n  pulsectl audit list -o json",
		Args:    cobra.NoArgs, RunE: run,
	}
	for _, c := range []*cobra.Command{cmd, list} {
		c.Flags().StringVar(&o.Since, "since", "", "only changes since this `TIME`: 15m back, RFC 3339 or Unix seconds")
		c.Flags().IntVarP(&o.Limit, "limit", "n", 100, "at most this many, 1 to 1000")
		c.Flags().BoolVar(&o.Verify, "verify", false, "check that the chain of records is whole; 1 if it is not")
		c.MarkFlagsMutuallyExclusive("verify", "since")
		c.MarkFlagsMutuallyExclusive("verify", "limit")
	}
	cmd.AddCommand(list, newAuditTailCmd(a))
	return cmd
}

var auditCheckView = view[api.AuditCheck]{
	kind:  "AuditCheck",
	items: func(c api.AuditCheck) []render.Item { return []render.Item{{Name: c.Head, Value: c}} },
	draw:  render.AuditCheck,
}

// verifyAudit says whether each server's records are a whole chain.
func (a *app) verifyAudit(ctx context.Context) error {
	rs, err := ask(ctx, a, (*client.Client).CheckAudit)
	if err != nil {
		return err
	}
	if err := show(a, rs, auditCheckView); err != nil {
		return err
	}
	for _, r := range rs {
		if !r.Value.Whole {
			return errNo
		}
	}
	return nil
}

func (a *app) audit(ctx context.Context, o auditOptions) error {
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.Audit, error) { return c.Audit(ctx, o.Since, o.Limit) })
	if err != nil {
		return err
	}
	return show(a, rs, auditView)
}
