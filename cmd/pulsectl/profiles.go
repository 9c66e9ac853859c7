package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

var profilesView = view[client.ProfileList]{
	kind: "ProfileList",
	items: func(l client.ProfileList) (items []render.Item) {
		for _, p := range l.Profiles {
			items = append(items, render.Item{Name: p.ProfileID, Value: p})
		}
		return items
	},
	draw: func(w io.Writer, rs []api.Result[client.ProfileList], o render.Options) error {
		rows := make([]api.Result[render.ProfileRows], len(rs))
		for i, r := range rs {
			rows[i] = api.Result[render.ProfileRows]{Instance: r.Instance, Error: r.Error, Value: render.ProfileRows{Profiles: r.Value.Profiles, Total: r.Value.Total, Unseen: r.Value.Unseen}}
		}
		return render.Profiles(w, rows, o)
	},
}

var profileView = view[api.Profile]{
	kind:  "Profile",
	items: func(p api.Profile) []render.Item { return []render.Item{{Name: p.ProfileID, Value: p}} },
	draw:  render.Profile,
}

var profilingStatsView = view[api.ProfilingStats]{
	kind:  "ProfilingStats",
	items: func(s api.ProfilingStats) []render.Item { return []render.Item{{Name: s.Mode, Value: s}} },
	draw:  render.ProfilingStats,
}

func newProfilesCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "profiles",
		Aliases: []string{"profile"},
		Short:   "Profiles of slow requests and of the process: list, show, top, capture",
		Args:    cobra.NoArgs,
	}
	list := newProfilesListCmd(a)
	cmd.RunE = list.RunE
	cmd.Flags().AddFlagSet(list.Flags())
	cmd.AddCommand(list, newProfilesShowCmd(a), newProfilesTopCmd(a), newProfilesCaptureCmd(a), newProfilesEnableCmd(a),
		newProfilesDisableCmd(a), newProfilesStatsCmd(a), newProfilesCleanupCmd(a))
	return cmd
}

func newProfilesListCmd(a *app) *cobra.Command {
	var q client.ProfileQuery
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List profiles, the newest first",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.profiles(cmd.Context(), q) },
	}
	fs := cmd.Flags()
	fs.IntVarP(&q.Limit, "limit", "n", 10, "profiles of each server, 1 to 50")
	fs.StringVar(&q.Type, "type", "", "only this `TYPE`: wall, cpu, heap, goroutine, …")
	fs.StringVar(&q.Operation, "operation", "", "only this `NAME` of an operation")
	fs.StringVar(&q.Trigger, "trigger", "", "only profiles taken for this: slow, request, manual, upload")
	fs.StringVar(&q.TraceID, "trace", "", "only profiles of this trace: its `ID`, @slowest and the like")
	fs.Var(durationValue{&q.Since}, "since", "only profiles that ended so long ago at most")
	return cmd
}

func (a *app) profiles(ctx context.Context, q client.ProfileQuery) error {
	sel, err := parseSelector(q.TraceID, "pulsectl profiles list")
	if err != nil {
		return err
	}
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (client.ProfileList, error) {
		of := q
		if sel.isName() {
			p, err := sel.summary(ctx, c, client.TraceQuery{})
			if err != nil {
				return client.ProfileList{}, err
			}
			of.TraceID = p.trace.TraceID
		}
		return c.Profiles(ctx, of)
	})
	if err != nil {
		return err
	}
	return show(a, rs, profilesView)
}

func newProfilesShowCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show the summary of one profile",
		Long:  "Show the summary of one profile, by its id or a unique prefix of 4 or more characters.",
		Args:  cobra.ExactArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return a.profile(cmd.Context(), args[0]) },
	}
}

func (a *app) profile(ctx context.Context, id string) error {
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.Profile, error) { return c.Profile(ctx, id) })
	if err != nil {
		return err
	}
	return show(a, rs, profileView)
}

func newProfilesStatsCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "Show what profiling does and costs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rs, err := ask(cmd.Context(), a, (*client.Client).ProfilingStats)
			if err != nil {
				return err
			}
			return show(a, rs, profilingStatsView)
		},
	}
}

type captureOptions struct {
	Type     string
	Duration time.Duration
	Wait     bool
}

func newProfilesCaptureCmd(a *app) *cobra.Command {
	o := captureOptions{Duration: 30 * time.Second}
	cmd := &cobra.Command{
		Use:   "capture",
		Short: "Have the server profile itself",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.captureProfile(cmd.Context(), o) },
	}
	fs := cmd.Flags()
	fs.StringVar(&o.Type, "type", "cpu", "cpu, heap or goroutine")
	fs.Var(durationValue{&o.Duration}, "for", "how long a cpu profile takes, 1s to 300s")
	fs.BoolVar(&o.Wait, "wait", false, "wait until the profile is there")
	return cmd
}

func (a *app) captureProfile(ctx context.Context, o captureOptions) error {
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.ProfileStarted, error) {
		started, err := c.CaptureProfile(ctx, o.Type, o.Duration, a.action())
		if err == nil && o.Wait && !started.DryRun {
			err = waitForProfile(ctx, c, started.ProfileID)
		}
		return started, err
	})
	if err != nil {
		return err
	}
	return show(a, rs, view[api.ProfileStarted]{
		kind:  "ProfileCapture",
		items: func(s api.ProfileStarted) []render.Item { return []render.Item{{Name: s.ProfileID, Value: s}} },
		draw: func(w io.Writer, rs []api.Result[api.ProfileStarted], ro render.Options) error {
			return render.Done(w, rs, func(s api.ProfileStarted) string { return captureLine(s, o) }, ro)
		},
	})
}

func captureLine(s api.ProfileStarted, o captureOptions) string {
	switch {
	case s.DryRun:
		return "would capture a " + o.Type + " profile"
	case o.Wait || o.Type != "cpu":
		return "captured " + s.ProfileID
	}
	return "capturing " + s.ProfileID + " for " + o.Duration.String()
}

// waitForProfile asks for a profile until it is no longer active.
func waitForProfile(ctx context.Context, c *client.Client, id string) error {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		p, err := c.Profile(ctx, id)
		if err != nil || p.State != "active" {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
