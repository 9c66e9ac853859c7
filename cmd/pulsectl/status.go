package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

var statusView = view[api.Overview]{
	kind:  "Status",
	items: func(v api.Overview) []render.Item { return []render.Item{{Name: v.Health.Status, Value: v}} },
	draw:  render.Status,
}

func newStatusCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show each server at a glance, and what to type next",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.status(cmd.Context()) },
	}
}

func (a *app) status(ctx context.Context) error {
	rs, err := ask(ctx, a, (*client.Client).Overview)
	if err != nil {
		return err
	}
	return show(a, rs, statusView)
}

// bare is pulsectl without a command: the status on a terminal, else the help.
func (a *app) bare(cmd *cobra.Command) error {
	if _, tty := terminal(a.streams.out); tty {
		return a.status(cmd.Context())
	}
	return cmd.Help()
}
