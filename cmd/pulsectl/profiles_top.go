package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

type profileTopOptions struct {
	profileReading
	cum bool
}

func newProfilesTopCmd(a *app) *cobra.Command {
	var o profileTopOptions
	cmd := &cobra.Command{
		Use:   "top [SOURCE]",
		Short: "Show the hottest functions of a profile",
		Long: `Show the hottest functions of a profile, with the numbers of go tool pprof.

` + sourceHelp + `

  pulsectl profiles top
  pulsectl profiles top p_4QZX --cum
  pulsectl profiles top --trace @slowest
  pulsectl profiles top cpu.pb.gz -n 0 --hide '^runtime\.'
  pulsectl profiles top http://127.0.0.1:6060/debug/pprof/heap --sample-index alloc_space
  pulsectl profiles top @last --diff-base @prev`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.profileTop(cmd.Context(), args, o) },
	}
	fs := cmd.Flags()
	fs.IntVarP(&o.limit, "limit", "n", 12, "functions; 0 shows all")
	fs.BoolVar(&o.cum, "cum", false, "sort by the value with callees")
	o.register(cmd, true)
	return cmd
}

func (a *app) profileTop(ctx context.Context, args []string, o profileTopOptions) error {
	src, sel, err := o.parse(args, "pulsectl profiles top")
	if err != nil {
		return err
	}
	var rs []api.Result[api.ProfileTop]
	if o.sel.plain() && !src.isLocal() {
		rs, err = a.servedTop(ctx, src, o)
	} else {
		rs, err = a.computedTop(ctx, src, hotspot.TopOptions{Selection: sel, N: o.limit, Cum: o.cum}, &o.sel)
	}
	if err != nil {
		return err
	}
	return show(a, rs, view[api.ProfileTop]{
		kind: "ProfileTop",
		items: func(t api.ProfileTop) (items []render.Item) {
			for _, row := range t.Rows {
				items = append(items, render.Item{Name: row.Function, Value: row})
			}
			return items
		},
		unit: func(t api.ProfileTop) string { return t.Unit },
		draw: func(w io.Writer, rs []api.Result[api.ProfileTop], ro render.Options) error {
			return render.ProfileTop(w, rs, o.cum, ro)
		},
	})
}

// servedTop has the servers add up, and sends no profile about.
func (a *app) servedTop(ctx context.Context, src profileSource, o profileTopOptions) ([]api.Result[api.ProfileTop], error) {
	q := client.ProfileTopQuery{Limit: o.limit, Cum: o.cum, Focus: o.sel.focus.String(), Ignore: o.sel.ignore.String(), SampleType: o.sel.sampleType}
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.ProfileTop, error) {
		id := src.Text
		if !src.isID() {
			p, err := src.find(ctx, c)
			if err != nil {
				return api.ProfileTop{}, err
			}
			id = p.ProfileID
		}
		return c.ProfileTop(ctx, id, q)
	})
	return found(rs), err
}

// computedTop adds up here.
func (a *app) computedTop(ctx context.Context, src profileSource, o hotspot.TopOptions, f *selectFlags) ([]api.Result[api.ProfileTop], error) {
	rs, err := a.readSelected(ctx, src, f)
	if err != nil {
		return nil, err
	}
	return each(rs, func(p parsedProfile) (api.ProfileTop, error) {
		t, err := hotspot.Top(p.Profile, o)
		t.ProfileID = p.id
		return t, err
	}), nil
}
