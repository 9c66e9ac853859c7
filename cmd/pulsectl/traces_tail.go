package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

const tracesTailHelp = `Follow the traces that finish, a line each, until interrupted.

Each filter is that of list. A trace is shown when nothing of it has arrived for
a second, ten while its root or a parent is missing. A stream that breaks is
taken up where it broke off, which is said on standard error. -o json writes an
object a line, with the spans if --spans is given.

  pulsectl traces tail --status error
  pulsectl traces tail --min-duration 500ms -o json | jq .trace_id`

func newTracesTailCmd(a *app) *cobra.Command {
	var q client.TraceQuery
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Follow the traces that finish",
		Long:  tracesTailHelp,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.tailTraces(cmd.Context(), q) },
	}
	traceFilters(cmd.Flags(), &q, "ok, error, timeout or aborted", "as in list")
	cmd.Flags().BoolVar(&q.Spans, "spans", false, "with their spans, for -o json")
	return cmd
}

// traceFilters are the filters that a list and a stream have in common, with
// what they say of statuses and attributes.
func traceFilters(fs *pflag.FlagSet, q *client.TraceQuery, statuses, tags string) {
	fs.StringVar(&q.Service, "service", "", "only traces with a span of this service")
	fs.StringVar(&q.Operation, "operation", "", "only traces with a span of this `NAME`")
	fs.StringVar(&q.Status, "status", "", "only this: "+statuses)
	fs.Var(durationValue{&q.MinDuration}, "min-duration", "only traces that took so long at least")
	fs.Var(durationValue{&q.MaxDuration}, "max-duration", "only traces that took so long at most; 0 means any")
	fs.StringArrayVar(&q.Tags, "tag", nil, "only traces with such an attribute, "+tags+"; repeatable")
	fs.StringVarP(&q.Text, "query", "Q", "", "only traces with this `TEXT` in an operation, attribute or log message")
	fs.BoolVar(&q.HasProfile, "has-profile", false, "only traces that a profile was taken of")
}

// traceTail writes the traces of a fleet as they come, a line each.
type traceTail struct {
	followers
	names []string // of the instances, for a fleet's column
	drawn bool     // the header; guarded by mu
}

// tailTraces follows each server until all have failed, or ctx is done.
func (a *app) tailTraces(ctx context.Context, q client.TraceQuery) error {
	if err := a.checkStream("pulsectl traces tail"); err != nil {
		return err
	}
	cs, err := a.clients(ctx)
	if err != nil {
		return err
	}
	tail := &traceTail{followers: followers{app: a}}
	if len(cs) > 1 {
		for _, c := range cs {
			tail.names = append(tail.names, c.Instance())
		}
	}
	return tail.each(ctx, cs, func(c *client.Client) streamReader {
		last := ""
		return func(opened func()) error {
			return c.FollowTraces(ctx, q, last, opened, func(n int64) { tail.lost(c, n) }, func(t api.Trace, id string) error {
				last = id
				return tail.write(c.Instance(), t)
			})
		}
	})
}

func (f *traceTail) lost(c *client.Client, n int64) {
	f.say(c, fmt.Sprintf("%d traces finished too fast to be shown", n))
}

func (f *traceTail) write(instance string, t api.Trace) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.streams.out
	if done, err := f.streamed(render.Item{Instance: instance, Name: t.TraceID, Value: t}); done {
		return err
	}
	o := f.renderOptions(0)
	o.NoHeaders = o.NoHeaders || f.drawn
	f.drawn = true
	return render.TraceTail(out, f.names, instance, &t, o)
}
