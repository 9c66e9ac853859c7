package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

type profileDiffOptions struct {
	sel      selectFlags
	limit    int
	cum      bool
	failOver points
	paths    int // call paths of one side
}

// diffPaths are the call paths of one side that are shown unless told otherwise.
const diffPaths = 5

// points is a growth in percentage points.
type points float64

func (p *points) Type() string { return "points" }
func (p *points) String() string {
	if *p == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(*p)*100, 'g', -1, 64) + "pp"
}
func (p *points) Set(s string) error {
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, "pp"), 64)
	if err != nil || !strings.HasSuffix(s, "pp") || !(v > 0 && v <= 100) {
		return fmt.Errorf("%q: want percentage points like 5pp", s)
	}
	*p = points(v / 100)
	return nil
}

func newProfilesDiffCmd(a *app) *cobra.Command {
	var o profileDiffOptions
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Compare two profiles: what takes a larger share of B than of A",
		Long: `Compare two profiles by each function's share of its own profile, and by what it
took a second, so that profiles of different length can be compared. Totals come
first; call paths that only one side has are listed apart.

A and B are each a SOURCE.
` + sourceHelp[:strings.Index(sourceHelp, " --trace")] + `

With --fail-over it ends with 1 if the share of any function grew by more
percentage points than that; without, it ends with 0 whatever differs.

  pulsectl profiles diff @prev @last
  pulsectl profiles diff before.pb.gz after.pb.gz --cum --fail-over 5pp`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.paths = o.limit
			if !cmd.Flags().Changed("limit") {
				o.paths = diffPaths
			}
			return a.profileDiff(cmd.Context(), args[0], args[1], o)
		},
	}
	fs := cmd.Flags()
	fs.IntVarP(&o.limit, "limit", "n", 12, "functions, and call paths that only one side has (5 without); 0 shows all")
	fs.BoolVar(&o.cum, "cum", false, "compare values with callees instead of own ones")
	fs.Var(&o.failOver, "fail-over", "end with 1 if a function's share grew by more than this: `5pp` is five percentage points")
	o.sel.register(cmd, false)
	return cmd
}

func (a *app) profileDiff(ctx context.Context, before, after string, o profileDiffOptions) error {
	const command = "pulsectl profiles diff"
	if o.limit < 0 {
		return &usageError{fmt.Errorf("limit %d: want 0 or more", o.limit), command}
	}
	sel, err := o.sel.selection(command)
	if err != nil {
		return err
	}
	if before == "-" && after == "-" {
		return &usageError{fmt.Errorf("only one side can be standard input"), command}
	}
	base, err := a.oneProfile(ctx, before, command)
	if err != nil {
		return err
	}
	p, err := a.oneProfile(ctx, after, command)
	if err != nil {
		return err
	}
	c, err := hotspot.Compare(p.Profile, base.Profile, hotspot.CompareOptions{Selection: sel, Cum: o.cum, N: o.limit, FailOver: float64(o.failOver)})
	if err != nil {
		return err
	}
	if o.paths > 0 {
		c.New.List, c.Gone.List = c.New.List[:min(len(c.New.List), o.paths)], c.Gone.List[:min(len(c.Gone.List), o.paths)]
	}
	shown := render.ProfileDiffShown{Comparison: c, A: base.summary.ProfileID, B: p.summary.ProfileID, Cum: o.cum}
	err = show(a, []api.Result[render.ProfileDiffShown]{{Instance: "", Value: shown}}, view[render.ProfileDiffShown]{
		kind: "ProfileDiff",
		items: func(d render.ProfileDiffShown) []render.Item {
			return []render.Item{{Name: d.A + ".." + d.B, Value: d}}
		},
		unit: func(d render.ProfileDiffShown) string { return d.Unit },
		draw: render.ProfileDiff,
	})
	if err == nil && !c.Passed() {
		return errNo
	}
	return err
}
