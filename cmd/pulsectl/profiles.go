package main

import (
	"context"
	"io"

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

var profilingStatsView = view[api.ProfilingStats]{
	kind:  "ProfilingStats",
	items: func(s api.ProfilingStats) []render.Item { return []render.Item{{Name: s.Mode, Value: s}} },
	draw:  render.ProfilingStats,
}

func newProfilesCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "profiles",
		Aliases: []string{"profile"},
		Short:   "Profiles of slow requests and of the process: list, show, top, flame, capture",
		Args:    cobra.NoArgs,
	}
	list := newProfilesListCmd(a)
	cmd.RunE = list.RunE
	cmd.Flags().AddFlagSet(list.Flags())
	cmd.AddCommand(list, newProfilesShowCmd(a), newProfilesTopCmd(a), newProfilesFlameCmd(a), newProfilesTreeCmd(a), newProfilesPeekCmd(a),
		newProfilesTagsCmd(a), newProfilesDiffCmd(a), newProfilesCaptureCmd(a), newProfilesPullCmd(a), newProfilesUploadCmd(a), newProfilesExportCmd(a),
		newProfilesEnableCmd(a), newProfilesDisableCmd(a), newProfilesStatsCmd(a), newProfilesCleanupCmd(a))
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
	var source profileSource
	var all bool
	cmd := &cobra.Command{
		Use:   "show [SOURCE]",
		Short: "Show where a slow request's time went, or the summary of a profile",
		Long: `Show where the wall time of a slow request went: a bar for each state of its
goroutine, what it did when, where it was blocked, memory and timings, and where
each figure comes from. Of profiles without an explanation it is a summary.

` + sourceHelp + `

  pulsectl profiles show p_4QZX
  pulsectl profiles show --trace @slowest`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			src, err := source.parse(args, "pulsectl profiles show")
			if err != nil {
				return err
			}
			return a.profile(cmd.Context(), src, all)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every stack of every state, whole")
	source.register(cmd.Flags())
	return cmd
}

func (a *app) profile(ctx context.Context, src profileSource, all bool) error {
	rs, err := a.profileSummaries(ctx, src)
	if err != nil {
		return err
	}
	return show(a, found(rs), view[api.Profile]{
		kind:  "Profile",
		items: func(p api.Profile) []render.Item { return []render.Item{{Name: p.ProfileID, Value: p}} },
		draw: func(w io.Writer, rs []api.Result[api.Profile], o render.Options) error {
			return render.Profile(w, rs, all, o)
		},
	})
}

// profileSummaries asks the servers, or says what a file holds.
func (a *app) profileSummaries(ctx context.Context, src profileSource) ([]api.Result[api.Profile], error) {
	if src.isLocal() {
		rs, err := a.parseProfiles(ctx, src)
		if err != nil {
			return nil, err
		}
		return each(rs, func(p parsedProfile) (api.Profile, error) { return p.describe(), nil }), nil
	}
	return ask(ctx, a, func(c *client.Client, ctx context.Context) (api.Profile, error) {
		p, err := src.find(ctx, c)
		if err != nil || src.isID() {
			return p, err
		}
		return c.Profile(ctx, p.ProfileID) // lists leave out what is long
	})
}

// describe is the summary of a file's profile.
func (p parsedProfile) describe() api.Profile {
	out := p.summary
	out.Type, out.Duration = p.Type(), api.Seconds(p.Duration)
	out.Samples, out.Labels = api.CountOf(int64(p.Samples())), map[string]string{}
	if !p.Time.IsZero() {
		out.StartTime = &api.Time{Time: p.Time}
	}
	for _, t := range p.SampleTypes {
		out.Labels["values of "+t.Type] = t.Unit
	}
	return out
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
