package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/check"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// checkForms are the forms of -o that checks have beside those of every answer.
const checkForms = "nagios,text," + promForm

const checkHelp = `Judge servers as a monitoring plugin does: a line with the status, what is wrong
and performance data, then a line a problem. The exit status is 0 OK, 1 WARNING,
2 CRITICAL or 3 UNKNOWN, and no other: a server that does not answer is critical,
a wrong command line, wrong credentials and what a server does not have are
unknown. Of a fleet the worst counts.

Thresholds of numbers are ranges as the Monitoring Plugins guidelines have them:
10 alerts outside of 0 to 10, 10: below 10, ~:10 above 10, 10:20 outside of 10 to
20, @10:20 within. Durations and percentages may be written so: 250ms, 5%.
Thresholds of states are lists: half-open,open; none for no state.

-o nagios is the default; text is for people, prom for a node exporter's textfile
collector, json has it all.`

func newCheckCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "check",
		Aliases: []string{"checks"},
		Short:   "Judge servers as a monitoring plugin: 0, 1, 2 or 3",
		Long:    checkHelp,
		Example: `  pulsectl check breakers --warn half-open --crit open
  pulsectl check latency --warn 250ms --crit 1s --quantile p95
  pulsectl check errors --crit 5% -o prom > /var/lib/node_exporter/pulse.prom`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return asUsage(cmd, errors.New("want what to check: health, breakers, latency, errors or cache"))
		},
	}
	cmd.AddCommand(newCheckHealthCmd(a), newCheckBreakersCmd(a), newCheckLatencyCmd(a), newCheckErrorsCmd(a), newCheckCacheCmd(a))
	for _, c := range cmd.Commands() {
		c.Annotations = map[string]string{ownForms: checkForms}
	}
	return cmd
}

// isCheck tells whether a command ends with a plugin's statuses.
func isCheck(cmd *cobra.Command) bool {
	path := cmd.CommandPath()
	return path == "pulsectl check" || strings.HasPrefix(path, "pulsectl check ")
}

// checkFailed says of a check that could not be made that it is unknown, where a
// monitoring core reads it.
func (a *app) checkFailed(cmd *cobra.Command, err error) error {
	var ended statusError
	if err == nil || errors.As(err, &ended) {
		return err
	}
	why, _, _ := strings.Cut(failure(err), "\n") // its hint is for people
	of := []api.Result[check.Result]{{Value: check.Failed(cmd.Name(), check.Unknown, why)}}
	if werr := check.Nagios(a.streams.out, of); werr != nil {
		return werr
	}
	return statusError(check.Unknown)
}

var checkView = view[check.Result]{
	kind:    "CheckResult",
	items:   func(r check.Result) []render.Item { return []render.Item{{Name: r.Check, Value: r}} },
	draw:    render.Checks,
	partial: func(check.Result) bool { return true },
}

// judge asks every server and judges what it says.
func judge[T any](ctx context.Context, a *app, name string, f func(*client.Client, context.Context) (T, error), of func(T) check.Result) error {
	rs, err := ask(ctx, a, f)
	if err != nil {
		return err
	}
	return a.judged(ctx, results(rs, name, of))
}

// results are the results of answers. One that did not come is a result, too.
func results[T any](rs []api.Result[T], name string, of func(T) check.Result) []api.Result[check.Result] {
	out := make([]api.Result[check.Result], len(rs))
	for i, r := range rs {
		out[i] = api.Result[check.Result]{Instance: r.Instance, Error: r.Error}
		if r.Error != nil {
			out[i].Value = check.Failed(name, failedStatus(r.Error), r.Error.Error())
		} else {
			out[i].Value = of(r.Value)
		}
	}
	return out
}

// failedStatus is what a server that could not be judged is: critical where it
// did not answer, unknown where the question was wrong.
func failedStatus(e *api.Error) check.Status {
	switch problemStatus(e) {
	case exitUnreachable, exitTimeout:
		return check.Critical
	}
	return check.Unknown
}

// judged shows results and ends with the worst status.
func (a *app) judged(ctx context.Context, rs []api.Result[check.Result]) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := a.writeChecks(rs); err != nil {
		return err
	}
	if worst := check.Overall(rs); worst != check.OK {
		return statusError(worst)
	}
	return nil
}

func (a *app) writeChecks(rs []api.Result[check.Result]) error {
	switch a.form.name {
	case "", "nagios", "table":
		if len(a.flags.fields) > 0 {
			break
		}
		return check.Nagios(a.streams.out, rs)
	case promForm:
		return check.Textfile(a.streams.out, rs, float64(a.now().UnixMilli())/1000)
	case "text":
		return render.Checks(a.streams.out, rs, a.renderOptions(0))
	}
	return write(a, rs, checkView)
}
