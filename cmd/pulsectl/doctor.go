package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/doctor"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

type doctorOptions struct {
	apart     time.Duration
	rules     []string
	listRules bool
}

// mostApart bounds how long one is to wait for an answer.
const mostApart = 10 * time.Minute

const doctorHelp = `Say what is wrong, why, and what to type next. Each server is looked at twice; the
causes found are ranked, the worst first, each with its evidence. What one cause
explains stands below it. What could not be judged, for want of traffic or time,
is listed too: a quiet server is not called well for that.

Ends with 1 if anything is found, and with 0 if nothing is.`

func newDoctorCmd(a *app) *cobra.Command {
	o := doctorOptions{apart: 5 * time.Second}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong, with evidence, and what to type next; ends with 1 if anything is",
		Long:  doctorHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return asUsage(cmd, err)
			}
			if o.listRules {
				return a.doctorRules()
			}
			return a.doctor(cmd.Context(), &o)
		},
	}
	cmd.Flags().Var(durationValue{&o.apart}, "for", "time between the two looks; 0 looks once, up to "+mostApart.String())
	cmd.Flags().StringSliceVar(&o.rules, "rule", nil, "judge by this rule only; repeatable")
	_ = cmd.RegisterFlagCompletionFunc("rule", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, r := range doctor.Rules() {
			names = append(names, r.ID+"\t"+r.About)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}) // the flag is there
	cmd.Flags().BoolVar(&o.listRules, "list-rules", false, "list the rules, and ask no server")
	return cmd
}

func (o *doctorOptions) check() error {
	switch unknown := doctor.Unknown(o.rules); {
	case len(unknown) > 0:
		return fmt.Errorf("rule %q: there is no such rule; --list-rules lists them", unknown[0])
	case o.apart > mostApart:
		return fmt.Errorf("for %v: want %v or less", o.apart, mostApart)
	case o.apart > 0 && o.apart < time.Second:
		return fmt.Errorf("for %v: want 1s or more, or 0 to look once", o.apart)
	}
	return nil
}

func (a *app) doctor(ctx context.Context, o *doctorOptions) error {
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (doctor.Instance, error) {
		return gather(ctx, c, o.apart, a.now)
	})
	if err != nil {
		return err
	}
	var all []doctor.Instance
	for _, r := range rs {
		if r.Error == nil {
			all = append(all, r.Value)
		}
	}
	v := doctor.Diagnose(all, doctor.Options{Now: a.now(), Only: o.rules})
	err = a.showDiagnosis(rs, v)
	if err == nil {
		err = noIf(len(v.Findings) > 0)
	}
	return err
}

// showDiagnosis shows one diagnosis of a whole fleet, with the servers that
// gave no answer.
func (a *app) showDiagnosis(rs []api.Result[doctor.Instance], v api.Diagnosis) error {
	failed := failures(rs)
	whole := api.Result[api.Diagnosis]{Value: v}
	if len(rs) == 1 {
		whole.Instance, whole.Error = rs[0].Instance, rs[0].Error
	}
	of := view[api.Diagnosis]{
		kind:  "DoctorReport",
		items: func(v api.Diagnosis) []render.Item { return []render.Item{{Name: worst(v), Value: v}} },
		draw: func(w io.Writer, rs []api.Result[api.Diagnosis], o render.Options) error {
			return render.Doctor(w, rs[0].Value, failed, o)
		},
	}
	if len(rs) == 1 {
		return show(a, []api.Result[api.Diagnosis]{whole}, of)
	}
	// Those that failed are entries of the envelope's errors, beside the one item.
	all := []api.Result[api.Diagnosis]{whole}
	for _, f := range failed {
		all = append(all, api.Result[api.Diagnosis]{Instance: f.Instance, Error: f.Error})
	}
	if len(failed) == len(rs) {
		all = all[1:]
		of.draw = func(w io.Writer, _ []api.Result[api.Diagnosis], o render.Options) error {
			return render.Doctor(w, v, failed, o)
		}
	}
	return show(a, all, of)
}

// worst is the severity of the worst finding.
func worst(v api.Diagnosis) string {
	if len(v.Findings) == 0 {
		return "well"
	}
	return v.Findings[0].Severity
}

func (a *app) doctorRules() error {
	var rules []api.DoctorRule
	for _, r := range doctor.Rules() {
		rules = append(rules, api.DoctorRule{Rule: r.ID, About: r.About, Looks: r.Looks})
	}
	return show(a, []api.Result[[]api.DoctorRule]{{Value: rules}}, view[[]api.DoctorRule]{
		kind: "DoctorRuleList",
		items: func(rules []api.DoctorRule) (items []render.Item) {
			for _, r := range rules {
				items = append(items, render.Item{Name: r.Rule, Value: r})
			}
			return items
		},
		draw: func(w io.Writer, rs []api.Result[[]api.DoctorRule], o render.Options) error {
			return render.DoctorRules(w, rs[0].Value, o)
		},
	})
}
