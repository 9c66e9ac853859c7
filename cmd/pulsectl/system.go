package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

var systemView = view[api.System]{
	kind: "System",
	items: func(v api.System) []render.Item {
		return []render.Item{{Name: strconv.Itoa(v.Process.PID), Value: v}}
	},
	draw: render.System,
}

func newSystemCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "system",
		Short: "The server's process and its host",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rs, err := ask(cmd.Context(), a, (*client.Client).System)
			if err != nil {
				return err
			}
			return show(a, rs, systemView)
		},
	}
}
