package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

const tracesDiffHelp = `Compare two traces: how much slower B is than A, where, which spans are new or
gone, whether the critical path changed, and what fails anew.

Spans are aligned by the path of their services and operations, the first of a
name with the first, the second with the second; more than two equal siblings
are compared as a run. A and B may come from different servers, or from files.

` + selectorHelp + `
A quantile is taken of the traces that have the root operation of the other side.

With --fail-over it ends with 1 if B is slower than A by more than that, or if
spans fail in B that did not in A; without, it ends with 0 whatever differs.

  pulsectl traces diff 4bf9 7c0f
  pulsectl traces diff @p50 @slowest --service checkout
  pulsectl traces diff before.json after.json --fail-over 10%`

type tracesDiffOptions struct {
	Narrow   client.TraceQuery
	Limit    int
	All      bool
	FailOver threshold
}

func newTracesDiffCmd(a *app) *cobra.Command {
	var o tracesDiffOptions
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Compare two traces: what got slower, by how much",
		Long:  tracesDiffHelp,
		Args:  cobra.ExactArgs(2),
		RunE:  func(cmd *cobra.Command, args []string) error { return a.traceDiff(cmd.Context(), args[0], args[1], o) },
	}
	fs := cmd.Flags()
	fs.IntVarP(&o.Limit, "limit", "n", 200, "rows of each table; 0 shows all")
	fs.BoolVar(&o.All, "all", false, "rows that hardly differ, too")
	fs.Var(&o.FailOver, "fail-over", "end with 1 if B is slower by more than this: `20%` of A, or a duration")
	narrowing(fs, &o.Narrow)
	return cmd
}

// threshold is how much slower is too slow: a ratio, or a duration.
type threshold struct {
	text  string
	ratio float64
	time  api.Seconds
}

func (t *threshold) String() string { return t.text }
func (t *threshold) Type() string   { return "threshold" }
func (t *threshold) Set(s string) error {
	*t = threshold{text: s}
	if percent, ok := strings.CutSuffix(s, "%"); ok {
		v, err := strconv.ParseFloat(percent, 64)
		if err != nil || !(v >= 0 && v < 1e9) {
			return fmt.Errorf("threshold %q: want one like 20%% or 50ms", s)
		}
		t.ratio = v / 100
		return nil
	}
	d, err := api.ParseDuration(s)
	if err != nil || d < 0 {
		return fmt.Errorf("threshold %q: want one like 20%% or 50ms", s)
	}
	t.time = api.Seconds(d)
	return nil
}

// exceeded tells whether B is too slow, or fails where A did not.
func (t *threshold) exceeded(d *waterfall.Diff) bool {
	over := t.time
	if strings.HasSuffix(t.text, "%") {
		over = api.Seconds(t.ratio * float64(d.A.Duration))
	}
	return t.text != "" && (d.Delta > over || len(d.NewErrors) > 0)
}

func (a *app) traceDiff(ctx context.Context, first, second string, o tracesDiffOptions) error {
	if o.Limit < 0 {
		return &usageError{fmt.Errorf("limit %d: want 0 or more", o.Limit), "pulsectl traces diff"}
	}
	sides, silent, err := a.bothSides(ctx, first, second, o.Narrow)
	if err != nil {
		return err
	}
	d := compareSides(sides[0], sides[1], a)
	rs := append([]api.Result[*waterfall.Diff]{{Instance: commonSource(d), Value: d}}, silent...)
	if o.Limit == 0 {
		o.Limit = -1
	}
	err = show(a, rs, view[*waterfall.Diff]{
		kind: "TraceDiff",
		items: func(d *waterfall.Diff) []render.Item {
			return []render.Item{{Name: d.A.TraceID + ".." + d.B.TraceID, Value: d}}
		},
		draw: func(w io.Writer, rs []api.Result[*waterfall.Diff], ro render.Options) error {
			return render.TraceDiff(w, rs, o.All, ro)
		},
		limit: o.Limit,
	})
	if err == nil && o.FailOver.exceeded(d) {
		return errNo
	}
	return err
}
