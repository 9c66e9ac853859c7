package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

const tracesShowHelp = `Show the waterfall of one trace, with its critical path: the spans that it
waited for. Runs of equal siblings share a line.

` + selectorHelp + `

  pulsectl traces show 4bf9
  pulsectl traces show @slowest --service checkout --since 1h
  pulsectl traces show @error --errors
  pulsectl traces show 4bf9 --span 00f067aa     # one span in full, and what is below it
  pulsectl traces show @p99 -o json`

type tracesShowOptions struct {
	waterfall.Options
	Narrow client.TraceQuery
	Grep   string
	Limit  int
}

func newTracesShowCmd(a *app) *cobra.Command {
	var o tracesShowOptions
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show the waterfall of one trace",
		Long:  tracesShowHelp,
		Args:  cobra.ExactArgs(1),

		Annotations: map[string]string{ownForms: strings.Join(traceForms, ",")},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Span == "" && cmd.Flags().Changed("span") {
				return &usageError{errors.New("span: an empty id names no span"), "pulsectl traces show"}
			}
			if o.Full && !cmd.Flags().Changed("limit") {
				o.Limit = 0
			}
			return a.trace(cmd.Context(), args[0], o)
		},
	}
	fs := cmd.Flags()
	fs.IntVarP(&o.Limit, "limit", "n", 200, "lines; 0 shows all")
	fs.BoolVar(&o.Filter.Errors, "errors", false, "only the ways to the spans that failed")
	fs.StringVar(&o.Span, "span", "", "only this span, in full, and those below it: its `ID` or a unique prefix")
	fs.StringVar(&o.Grep, "grep", "", "only spans whose name, attributes (KEY=VALUE) or events match `REGEXP`, and those above them")
	fs.IntVar(&o.Filter.Depth, "depth", 0, "levels below the top, deeper spans are counted; 0 shows all")
	fs.BoolVar(&o.Full, "all", false, "a line for each span, with its every attribute and event")
	narrowing(fs, &o.Narrow)
	return cmd
}

func (a *app) trace(ctx context.Context, id string, o tracesShowOptions) error {
	sel, err := parseSelector(id, "pulsectl traces show")
	if err != nil {
		return err
	}
	if err := o.check(sel); err != nil {
		return err
	}
	if form := a.traceForm(); form != "" {
		return a.exportTraces(ctx, []string{id}, exportOptions{Format: form, Narrow: o.Narrow})
	}
	rs, err := a.findTrace(ctx, sel, o.Narrow)
	if err != nil {
		return err
	}
	if o.Limit == 0 {
		o.Limit = -1 // to the drawers 0 is their own default
	}
	return show(a, found(a.layOut(rs, sel, o.Options)), view[waterfall.Shown]{
		kind: "Trace",
		items: func(v waterfall.Shown) []render.Item {
			return []render.Item{{Name: v.Trace.TraceID, Value: waterfall.Explain(v)}}
		},
		draw:  render.Trace,
		limit: o.Limit,
	})
}

func (o *tracesShowOptions) check(sel selector) error {
	const command = "pulsectl traces show"
	switch {
	case o.Limit < 0:
		return &usageError{fmt.Errorf("limit %d: want 0 or more", o.Limit), command}
	case o.Filter.Depth < 0:
		return &usageError{fmt.Errorf("depth %d: want 0 or more", o.Filter.Depth), command}
	}
	if o.Grep != "" {
		var err error
		if o.Filter.Match, err = regexp.Compile(o.Grep); err != nil {
			return &usageError{fmt.Errorf("grep: %w", err), command}
		}
	}
	return checkNarrowing(o.Narrow, command, sel)
}

// findTrace reads a file, or asks every server.
func (a *app) findTrace(ctx context.Context, sel selector, narrow client.TraceQuery) ([]api.Result[picked], error) {
	in, err := a.openTrace(sel.text)
	if err != nil {
		return nil, err
	}
	if in != nil {
		defer in.Close()
		t, err := readTrace(in)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", sel.text, err)
		}
		return []api.Result[picked]{{Instance: sel.text, Value: picked{trace: t}}}, nil
	}
	return ask(ctx, a, func(c *client.Client, ctx context.Context) (picked, error) { return sel.find(ctx, c, narrow) })
}

// layOut works out what is shown of each trace.
func (a *app) layOut(rs []api.Result[picked], sel selector, o waterfall.Options) []api.Result[waterfall.Shown] {
	out := make([]api.Result[waterfall.Shown], len(rs))
	for i, r := range rs {
		out[i] = api.Result[waterfall.Shown]{Instance: r.Instance, Error: r.Error}
		if r.Error != nil {
			continue
		}
		v, err := waterfall.Show(r.Value.trace, a.now(), o)
		if err != nil {
			out[i].Error = asProblem(err)
			continue
		}
		if r.Value.among > 0 {
			v.Chosen = fmt.Sprintf("%s of %d traces", sel.text, r.Value.among)
		}
		if r.Value.fit > int64(r.Value.among) {
			v.Chosen = fmt.Sprintf("%s of the newest %d of %d traces", sel.text, r.Value.among, r.Value.fit)
		}
		out[i].Value = v
	}
	return out
}

// asProblem is the error of one trace in the words of all commands.
func asProblem(err error) *api.Error {
	var e *api.Error
	if errors.As(err, &e) {
		return e
	}
	return &api.Error{Detail: err.Error(), Cause: err}
}
