package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/doctor"
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
		Short: "Show at a glance whether to worry, and what to type next",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.status(cmd.Context()) },
	}
}

func (a *app) status(ctx context.Context) error {
	rs, err := ask(ctx, a, (*client.Client).Overview)
	if err != nil {
		return err
	}
	a.addFindings(rs)
	return show(a, rs, statusView)
}

// addFindings gives each server what the doctor's quick rules find there.
func (a *app) addFindings(rs []api.Result[api.Overview]) {
	var all []doctor.Instance
	at := map[string]int{}
	for i := range rs {
		if rs[i].Error != nil {
			continue
		}
		v := &rs[i].Value
		v.Findings, at[rs[i].Instance] = []api.Finding{}, i
		all = append(all, doctor.Instance{Name: rs[i].Instance, Version: v.Version, Now: doctor.Look{
			At: a.now(), Health: &v.Health, Breakers: v.Breakers, System: v.System, Profiling: v.Profiling,
		}})
	}
	for _, f := range doctor.Diagnose(all, doctor.Options{Now: a.now(), Quick: true}).Findings {
		for _, name := range f.Instances {
			v := &rs[at[name]].Value
			v.Findings = append(v.Findings, f)
		}
	}
}

// bare is pulsectl without a command: the status on a terminal, else the help.
func (a *app) bare(cmd *cobra.Command) error {
	if _, tty := terminal(a.streams.out); tty {
		return a.status(cmd.Context())
	}
	return cmd.Help()
}
