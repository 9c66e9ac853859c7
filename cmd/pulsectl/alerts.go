package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/rules"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// groupedRule is an item of a list of rules.
type groupedRule struct {
	Group string `json:"group"`
	File  string `json:"file"`
	api.Rule
}

var alertsView = view[api.AlertRules]{
	kind: "AlertRuleList",
	items: func(a api.AlertRules) (items []render.Item) {
		for _, g := range a.Data.Groups {
			for _, r := range g.Rules {
				items = append(items, render.Item{Name: r.Name, Value: groupedRule{g.Name, g.File, r}})
			}
		}
		return items
	},
	draw: render.Alerts,
}

func newAlertsCmd(a *app) *cobra.Command {
	list := &cobra.Command{
		Use:   "list",
		Short: "List the rules that the server evaluates, with their alerts",
		Long: `List the alert rules that the server evaluates (pulsectl serve --rules FILE), those
that fire first. It ends with 0 whatever they say: alerts eval and check rules
end with 1.`,
		Args: cobra.NoArgs,
	}
	list.RunE = func(cmd *cobra.Command, _ []string) error { return a.alerts(cmd.Context()) }
	cmd := &cobra.Command{
		Use:     "alerts",
		Aliases: []string{"alert"},
		Short:   "Alert rules: list, eval, lint",
		Args:    cobra.NoArgs,
		RunE:    list.RunE,
	}
	cmd.AddCommand(list, newAlertsEvalCmd(a), newAlertsLintCmd(a))
	return cmd
}

func (a *app) alerts(ctx context.Context) error {
	rs, err := ask(ctx, a, (*client.Client).Alerts)
	if err != nil {
		return err
	}
	return show(a, rs, alertsView)
}

const alertsEvalHelp = `Evaluate Prometheus rule files on each server's own samples of the last hour, as
if the server had always evaluated them: for, keep_firing_for, labels and
annotations included. The server need not know the files. Series that the files
record are replaced by their expressions.

It ends with 1 when an alert fires, with 0 when none does, and with 2 when a rule
cannot be evaluated. Where the hour has not been filled yet, it says how much
history is missing: an alert that would fire after ten minutes cannot fire on
five minutes of samples.`

func newAlertsEvalCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "eval FILE…",
		Short:   "Evaluate rule files on live data; 1 when an alert fires",
		Long:    alertsEvalHelp,
		Example: "  pulsectl alerts eval rules.yaml\n  pulsectl alerts eval 'rules/*.yaml' -o json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			groups, err := rules.Load(args)
			if err != nil {
				return &usageError{err, cmd.CommandPath()}
			}
			return a.alertsEval(cmd.Context(), groups)
		},
	}
}

func (a *app) alertsEval(ctx context.Context, groups []rules.Group) error {
	now := a.now()
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.AlertRules, error) {
		out, err := rules.Replay(ctx, c, groups, now)
		if err != nil {
			return api.AlertRules{}, err
		}
		return *out, nil
	})
	if err != nil {
		return err
	}
	if err := show(a, rs, alertsView); err != nil {
		return err
	}
	return verdictOf(rs)
}

// verdictOf is no where an alert fires, and an error where a rule could not be
// evaluated.
func verdictOf(rs []api.Result[api.AlertRules]) error {
	var failed error
	for _, r := range rs {
		for _, g := range r.Value.Data.Groups {
			for _, rule := range g.Rules {
				if rule.State == api.AlertFiring {
					return errNo
				}
				if rule.Health == api.RuleErr && failed == nil {
					failed = fmt.Errorf("rule %q of %s: %s", rule.Name, g.File, rule.LastError)
				}
			}
		}
	}
	return failed
}

var ruleFilesView = view[[]api.RuleFile]{
	kind: "RuleFileList",
	items: func(fs []api.RuleFile) (items []render.Item) {
		for _, f := range fs {
			items = append(items, render.Item{Name: f.File, Value: f})
		}
		return items
	},
	draw: render.RuleFiles,
}

func newAlertsLintCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "lint FILE…",
		Short: "Check rule files, without a server; 2 when one is not valid",
		Long: `Check Prometheus rule files without a server: what Prometheus would refuse is an
error, with its line and column, and what cannot work here is a warning, such as a
rule that looks further back than the hour of samples that a server keeps. It
ends with 2 when there is an error.`,
		Example: "  pulsectl alerts lint 'rules/*.yaml'",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := lintFiles(args)
			if err != nil {
				return &usageError{err, cmd.CommandPath()}
			}
			if err := show(a, []api.Result[[]api.RuleFile]{{Value: files}}, ruleFilesView); err != nil {
				return err
			}
			return invalid(files)
		},
	}
}

func lintFiles(patterns []string) (out []api.RuleFile, err error) {
	paths, err := rules.Expand(patterns)
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		groups, problems, err := rules.ReadFile(path)
		if err != nil {
			return nil, err
		}
		f := api.RuleFile{File: path, Groups: len(groups), Problems: []api.RuleProblem{}}
		for _, g := range groups {
			f.Rules += len(g.Rules)
		}
		for _, p := range problems {
			f.Problems = append(f.Problems, api.RuleProblem{Line: p.Line, Column: p.Column, Message: p.Message, Warning: p.Warning})
		}
		out = append(out, f)
	}
	return out, nil
}

// invalid is the error of files that Prometheus would not take.
func invalid(files []api.RuleFile) error {
	n := 0
	for _, f := range files {
		for _, p := range f.Problems {
			if !p.Warning {
				n++
				break
			}
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%s not valid", render.Plural(n, "rule file"))
}
