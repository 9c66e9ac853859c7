package main

import (
	"context"
	"errors"
	"net/http"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// pprof's own bounds: what is smaller, or beyond so many, is left out of a tree.
const (
	nodeFraction = 0.005
	edgeFraction = 0.001
	treeNodes    = 80
)

type profileTreeOptions struct {
	profileReading
	cum bool
}

func (o *profileTreeOptions) register(cmd *cobra.Command) {
	cmd.Flags().IntVarP(&o.limit, "limit", "n", 10, "functions; 0 shows all")
	cmd.Flags().BoolVar(&o.cum, "cum", false, "sort by the value with callees")
	o.profileReading.register(cmd, true)
}

func newProfilesTreeCmd(a *app) *cobra.Command {
	var o profileTreeOptions
	cmd := &cobra.Command{
		Use:   "tree [SOURCE]",
		Short: "Show the hottest functions with their callers and callees",
		Long: `Show the hottest functions of a profile, each with those that call it above and
those it calls below. What is under 0.5 % of the whole is left out and what it
connected is joined, as go tool pprof -tree does.

` + sourceHelp + `

  pulsectl profiles tree
  pulsectl profiles tree heap.pb.gz --sample-index inuse_objects -n 20`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.profileTree(cmd.Context(), args, o, "pulsectl profiles tree", func(p *hotspot.Profile, g hotspot.GraphOptions) (*hotspot.CallGraph, error) {
				g.NodeFraction, g.EdgeFraction = nodeFraction, edgeFraction
				if g.N > 0 { // fewer nodes would be joined to others, not only not shown
					g.N = max(g.N, treeNodes)
				}
				return hotspot.Tree(p, g)
			})
		},
	}
	o.register(cmd)
	return cmd
}

func newProfilesPeekCmd(a *app) *cobra.Command {
	var o profileTreeOptions
	cmd := &cobra.Command{
		Use:   "peek FUNC [SOURCE]",
		Short: "Show who calls a function and what it calls",
		Long: `Show the functions whose names match the regular expression FUNC, each with all
of its callers and callees.

` + sourceHelp + `

  pulsectl profiles peek 'json\.Unmarshal$'
  pulsectl profiles peek mallocgc cpu.pb.gz`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			const command = "pulsectl profiles peek"
			re, err := regexp.Compile(args[0])
			if err != nil {
				return &usageError{err, command}
			}
			return a.profileTree(cmd.Context(), args[1:], o, command, func(p *hotspot.Profile, g hotspot.GraphOptions) (*hotspot.CallGraph, error) {
				found, err := hotspot.Peek(p, re, g)
				if errors.Is(err, hotspot.ErrNoMatch) {
					err = api.Errorf(http.StatusNotFound, "%v", err)
				}
				return found, err
			})
		},
	}
	o.register(cmd)
	return cmd
}

func (a *app) profileTree(ctx context.Context, args []string, o profileTreeOptions, command string, f func(*hotspot.Profile, hotspot.GraphOptions) (*hotspot.CallGraph, error)) error {
	src, sel, err := o.parse(args, command)
	if err != nil {
		return err
	}
	rs, err := a.readSelected(ctx, src, &o.sel)
	if err != nil {
		return err
	}
	graphs := each(rs, func(p parsedProfile) (render.CallGraphShown, error) {
		g, err := f(p.Profile, hotspot.GraphOptions{Selection: sel, Cum: o.cum, N: o.limit})
		if err == nil && o.limit > 0 {
			g.Entries = g.Entries[:min(len(g.Entries), o.limit)]
		}
		return render.CallGraphShown{CallGraph: g, ProfileID: p.id}, err
	})
	return show(a, graphs, view[render.CallGraphShown]{
		kind: "ProfileTree",
		items: func(g render.CallGraphShown) (items []render.Item) {
			for _, e := range g.Entries {
				items = append(items, render.Item{Name: e.Function, Value: e})
			}
			return items
		},
		unit: func(g render.CallGraphShown) string { return g.Unit },
		draw: render.CallGraph,
	})
}

func newProfilesTagsCmd(a *app) *cobra.Command {
	var r profileReading
	cmd := &cobra.Command{
		Use:   "tags [SOURCE]",
		Short: "Show what the labels of a profile's samples add up to",
		Long: `Show each key of the labels that samples carry, with the values that took most.

` + sourceHelp + `

  pulsectl profiles tags
  pulsectl profiles tags heap.pb.gz -n 0`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.profileTags(cmd.Context(), args, r) },
	}
	cmd.Flags().IntVarP(&r.limit, "limit", "n", 10, "values of each key; 0 shows all")
	r.register(cmd, true)
	return cmd
}

func (a *app) profileTags(ctx context.Context, args []string, r profileReading) error {
	src, sel, err := r.parse(args, "pulsectl profiles tags")
	if err != nil {
		return err
	}
	rs, err := a.readSelected(ctx, src, &r.sel)
	if err != nil {
		return err
	}
	tags := each(rs, func(p parsedProfile) (render.TagsShown, error) {
		t, err := hotspot.Tags(p.Profile, sel)
		return render.TagsShown{TagReport: t, ProfileID: p.id}, err
	})
	limit := r.limit
	if limit == 0 {
		limit = -1
	}
	return show(a, tags, view[render.TagsShown]{
		kind: "ProfileTags",
		items: func(t render.TagsShown) (items []render.Item) {
			for _, k := range t.Keys {
				items = append(items, render.Item{Name: k.Key, Value: k})
			}
			return items
		},
		unit:  func(t render.TagsShown) string { return t.Unit },
		draw:  render.ProfileTags,
		limit: limit,
	})
}
