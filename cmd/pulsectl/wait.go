package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pulsectl/pulsectl/internal/condition"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

type waitOptions struct {
	conditions []*condition.Condition
	timeout    time.Duration // 0: without an end
	every      time.Duration
}

const waitHelp = `Wait until every condition is met at every server, all at the same look:

  breaker/NAME=closed          also open and half-open; NAME may be a pattern
  check/NAME=healthy           a health check: healthy, degraded, unhealthy
  cache/redis=healthy          or memory: healthy, degraded, failed, disabled
  health=healthy               the verdict: healthy, degraded, unhealthy
  ready                        the critical health checks pass
  'METRIC{LABEL="VALUE"}<0.1'  every series that matches, also > <= >= == !=

Several states with commas are each good enough, != is any other. In a pattern *
is also what a slash is. Servers that do not answer are asked again until the
time is up: they may be restarting.

It ends with 124 when the time is up, and at once where waiting cannot help:
with 3 if no server knows the name, with 1 if an operator has forced a breaker
without an end, with 6 if asking is not allowed.`

func newWaitCmd(a *app) *cobra.Command {
	var o waitOptions
	cmd := &cobra.Command{
		Use:   "wait COND…",
		Short: "Wait until conditions are met at every server",
		Long:  waitHelp,
		Example: `  pulsectl wait 'breaker/*=closed' health=healthy --timeout 5m
  pulsectl wait ready check/database=healthy
  pulsectl wait 'pulse_api_active_connections<10' 'breaker/github_api!=open'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, text := range args {
				c, err := condition.Parse(text)
				if err != nil {
					return asUsage(cmd, err)
				}
				o.conditions = append(o.conditions, c)
			}
			return a.wait(cmd.Context(), &o)
		},
	}
	o.timeout, o.every = 5*time.Minute, 2*time.Second
	cmd.Flags().Var(durationValue{&o.timeout}, "timeout", "how long to wait; 0 without an end")
	cmd.Flags().Var(watchValue{durationValue{&o.every}}, "every", "how often to look")
	return cmd
}

// outcomes are how the conditions stand at each server.
type outcomes = []api.Result[[]condition.Outcome]

var waitView = view[[]condition.Outcome]{
	kind: "WaitResult",
	items: func(os []condition.Outcome) (items []render.Item) {
		for _, o := range os {
			items = append(items, render.Item{Name: o.Condition, Value: o})
		}
		return items
	},
	draw:    render.Waited,
	partial: func([]condition.Outcome) bool { return true },
}

func (a *app) wait(ctx context.Context, o *waitOptions) error {
	until, cancel := ctx, context.CancelFunc(func() {})
	if o.timeout > 0 {
		until, cancel = context.WithTimeout(ctx, o.timeout)
	}
	defer cancel()
	begun := a.now()
	needs, known := condition.NeedsOf(o.conditions), make([]bool, len(o.conditions))
	paint := painter{file: a.streams.err}
	defer paint.clear()
	var last outcomes
	for {
		rs, err := ask(until, a, func(c *client.Client, ctx context.Context) ([]condition.Outcome, error) {
			return o.look(ctx, c, needs)
		})
		if err != nil || a.curl != nil { // nothing was sent
			return err
		}
		if until.Err() == nil || last == nil { // else its answers were cut off
			last = rs
			o.unasked(last)
			if done, err := o.settled(last, known); done {
				paint.clear()
				return a.waited(last, err)
			}
		}
		paint.lines(a, func(most int, ro render.Options) []string {
			return render.Waiting(last, a.now().Sub(begun), o.timeout, most, ro)
		})
		if pause(until, o.every) == nil {
			continue
		}
		paint.clear()
		if ctx.Err() != nil {
			return a.waited(last, ctx.Err())
		}
		return a.waited(last, fmt.Errorf("wait: %w after %v", errTimeIsUp, o.timeout))
	}
}

// errTimeIsUp has the status of a deadline, in words of its own.
var errTimeIsUp = timeIsUp{}

type timeIsUp struct{}

func (timeIsUp) Error() string        { return "the conditions were not met" }
func (timeIsUp) Is(target error) bool { return target == context.DeadlineExceeded }

// look asks one server for what the conditions are judged by.
func (o *waitOptions) look(ctx context.Context, c *client.Client, needs condition.Needs) ([]condition.Outcome, error) {
	var seen condition.Seen
	var errs [5]error
	if needs.Ready {
		var r api.Ready
		r, errs[0] = c.Ready(ctx)
		seen.Ready = r.Ready
	}
	if needs.Health {
		seen.Health, errs[1] = c.Health(ctx)
	}
	if needs.Breakers {
		seen.Breakers, errs[2] = c.Breakers(ctx)
	}
	if needs.Cache {
		seen.Cache, errs[3] = c.CacheStatus(ctx)
	}
	if needs.Metrics != nil {
		seen.Metrics, errs[4] = c.Metrics(ctx, client.MetricQuery{Names: needs.Metrics})
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	out := make([]condition.Outcome, len(o.conditions))
	for i, c := range o.conditions {
		out[i] = c.Judge(&seen)
	}
	return out, nil
}

// unasked puts outcomes where a server could not be asked.
func (o *waitOptions) unasked(rs outcomes) {
	for i := range rs {
		if rs[i].Error == nil {
			continue
		}
		rs[i].Value = make([]condition.Outcome, len(o.conditions))
		for j, c := range o.conditions {
			rs[i].Value[j] = c.Unasked(rs[i].Error.Error())
		}
	}
}

// settled tells whether there is nothing more to wait for, and the error that
// it ends with. known are the conditions whose names some server has had.
func (o *waitOptions) settled(rs outcomes, known []bool) (done bool, err error) {
	met, never := true, ""
	absent, asked := make([]string, len(known)), true
	for _, r := range rs {
		if r.Error != nil && !mayPass(r.Error) {
			return true, &fleetError{failed: []*api.Error{r.Error}}
		}
		asked = asked && r.Error == nil
		for i, c := range r.Value {
			met, known[i] = met && c.Met, known[i] || c.Matched > 0 && !c.Absent
			if c.Absent {
				absent[i] = c.Reason
			}
			if never == "" && c.Never != "" {
				never = c.Never
			}
		}
	}
	if met {
		return true, nil
	}
	for i := range known {
		if asked && !known[i] && absent[i] != "" {
			return true, api.Errorf(http.StatusNotFound, "wait: %s: %s", o.conditions[i], absent[i])
		}
	}
	if never != "" {
		return true, fmt.Errorf("wait: %s: %w", never, errNever)
	}
	return false, nil
}

// mayPass tells whether a failure may be over at the next look.
func mayPass(e *api.Error) bool {
	switch problemStatus(e) {
	case exitUnreachable, exitTimeout, exitInterrupted:
		return true
	}
	return false
}

// errNever has the status of an answer that is no.
var errNever = never{}

type never struct{}

func (never) Error() string { return "waiting does not help" }

// waited shows how it ended. What servers failed with is said where that is why.
func (a *app) waited(rs outcomes, err error) error {
	if err != nil {
		a.report(failures(rs))
	}
	if werr := write(a, rs, waitView); werr != nil {
		return werr
	}
	if errors.Is(err, errNever) {
		fmt.Fprintln(a.streams.err, "pulsectl: "+render.Clean(err.Error()))
		return errNo
	}
	return err
}

// painter draws lines over those that it drew before, on a terminal.
type painter struct {
	file  io.Writer
	drawn int
}

// lines draws; make is told how many lines there may be, and how to draw them.
func (p *painter) lines(a *app, make func(most int, o render.Options) []string) {
	columns, tty := terminal(p.file)
	if !tty {
		return
	}
	most := 12
	if f, ok := p.file.(*os.File); ok {
		if _, rows, err := term.GetSize(int(f.Fd())); err == nil && rows > 2 {
			most = min(most, rows-1)
		}
	}
	o := a.renderOptions(0)
	o.Width = max(columns, 20)
	p.clear()
	all := make(most, o)
	io.WriteString(p.file, strings.Join(all, "\n")+"\n")
	p.drawn = len(all)
}

// clear takes away what was drawn.
func (p *painter) clear() {
	if p.drawn > 0 {
		fmt.Fprintf(p.file, "\x1b[%dA\r\x1b[J", p.drawn)
		p.drawn = 0
	}
}
