package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

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
	traceFilters(cmd.Flags(), &q)
	cmd.Flags().BoolVar(&q.Spans, "spans", false, "with their spans, for -o json")
	return cmd
}

// traceFilters are the filters that a list and a stream have in common.
func traceFilters(fs *pflag.FlagSet, q *client.TraceQuery) {
	fs.StringVar(&q.Service, "service", "", "only traces with a span of this service")
	fs.StringVar(&q.Operation, "operation", "", "only traces with a span of this `NAME`")
	fs.StringVar(&q.Status, "status", "", "only this: ok, error, timeout or aborted")
	fs.Var(durationValue{&q.MinDuration}, "min-duration", "only traces that took so long at least")
	fs.Var(durationValue{&q.MaxDuration}, "max-duration", "only traces that took so long at most; 0 means any")
	fs.StringArrayVar(&q.Tags, "tag", nil, "only traces with such an attribute, as in list; repeatable")
	fs.StringVarP(&q.Text, "query", "Q", "", "only traces with this `TEXT` in an operation, attribute or log message")
	fs.BoolVar(&q.HasProfile, "has-profile", false, "only traces that a profile was taken of")
}

// traceTail writes the traces of a fleet as they come, a line each.
type traceTail struct {
	*app
	q     client.TraceQuery
	names []string // of the instances, for a fleet's column

	mu    sync.Mutex // of the output
	drawn bool       // the header
}

// tailTraces follows each server until all have failed, or ctx is done.
func (a *app) tailTraces(ctx context.Context, q client.TraceQuery) error {
	switch a.flags.output {
	case "table", "wide", "json", "name":
	default:
		return &usageError{fmt.Errorf("output %s: traces that are followed come as table, wide, json or name", a.flags.output), "pulsectl traces tail"}
	}
	cs, err := a.clients(ctx)
	if err != nil {
		return err
	}
	tail := &traceTail{app: a, q: q}
	if len(cs) > 1 {
		for _, c := range cs {
			tail.names = append(tail.names, c.Instance())
		}
	}
	rs := make([]api.Result[struct{}], len(cs))
	var wg sync.WaitGroup
	for i, c := range cs {
		wg.Go(func() {
			rs[i] = api.Result[struct{}]{Instance: c.Instance(), Error: tail.follow(ctx, c)}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, r := range rs {
		if r.Error != nil && r.Error.Cause != nil && r.Error.Code == codeOutput {
			return r.Error.Cause
		}
	}
	return &fleetError{failed: a.report(failures(rs))}
}

// codeOutput marks what a write to standard output met: it is no server's.
const codeOutput = "output"

// tailAgain is the least and the most time from a stream that broke to the next
// attempt.
const tailAgain, tailAgainMost = time.Second, 15 * time.Second

// follow follows one server. It returns when ctx is done, when the server could
// not be followed in the first place, or when it has become one that refuses.
func (f *traceTail) follow(ctx context.Context, c *client.Client) *api.Error {
	wait, ever, last := tailAgain, false, ""
	for {
		err := c.FollowTraces(ctx, f.q, last, func() { ever, wait = true, tailAgain }, func(n int64) { f.lost(c, n) }, func(t api.Trace, id string) error {
			last = id
			return f.write(c.Instance(), t)
		})
		var e *api.Error
		if !errors.As(err, &e) {
			return &api.Error{Code: codeOutput, Detail: err.Error(), Cause: err}
		}
		refused := e.Status >= http.StatusBadRequest && e.Status < http.StatusInternalServerError && e.Status != http.StatusTooManyRequests
		if ctx.Err() != nil || !ever || refused {
			return e
		}
		f.say(c, fmt.Sprintf("%v; trying again in %s", e, wait))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return e
		}
		wait = min(2*wait, tailAgainMost)
	}
}

func (f *traceTail) lost(c *client.Client, n int64) {
	f.say(c, fmt.Sprintf("%d traces finished too fast to be shown", n))
}

func (f *traceTail) say(c *client.Client, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(f.streams.err, "pulsectl: %s: %s\n", render.Clean(c.Instance()), render.Clean(what))
}

func (f *traceTail) write(instance string, t api.Trace) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.streams.out
	switch f.flags.output {
	case "json":
		return render.JSONLine(out, render.Item{Instance: instance, Name: t.TraceID, Value: t})
	case "name":
		_, err := fmt.Fprintln(out, render.Clean(t.TraceID))
		return err
	}
	o := f.renderOptions(0)
	o.NoHeaders = o.NoHeaders || f.drawn
	f.drawn = true
	return render.TraceTail(out, f.names, instance, &t, o)
}
