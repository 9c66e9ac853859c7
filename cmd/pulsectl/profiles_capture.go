package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// captureTypes are the profiles that a Go program can take, the last one only
// where its runtime has it.
var captureTypes = []string{"cpu", "heap", "allocs", "goroutine", "mutex", "block", "threadcreate", "trace", "goroutineleak"}

type captureOptions struct {
	client.Capture
	Wait bool
}

func newProfilesCaptureCmd(a *app) *cobra.Command {
	var o captureOptions
	cmd := &cobra.Command{
		Use:   "capture",
		Short: "Have the server profile itself, or a target that it knows",
		Long: `Have the server take a profile: cpu and trace over a while, 30s and 5s unless
--for says otherwise; the others at once, or with --for what came in that time.
--target is the name of a pprof endpoint in the server's configuration.

  pulsectl profiles capture --wait && pulsectl profiles top
  pulsectl profiles capture --type heap
  pulsectl profiles capture --type allocs --for 1m --wait`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("for") && o.Duration <= 0 {
				return &usageError{fmt.Errorf("for %s: want 1s to 300s", o.Duration), "pulsectl profiles capture"}
			}
			return a.captureProfile(cmd.Context(), o)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.Type, "type", "cpu", strings.Join(captureTypes, ", "))
	fs.Var(durationValue{&o.Duration}, "for", "how long it takes, 1s to 300s: cpu 30s, trace 5s; the others are at once without it")
	fs.StringVar(&o.Target, "target", "", "the `NAME` of a pprof target in the server's configuration; the server itself without")
	fs.BoolVar(&o.Wait, "wait", false, "wait until the profile is there")
	words(cmd, "type", captureTypes...)
	return cmd
}

// words completes a flag of a closed set of words.
func words(cmd *cobra.Command, flag string, all ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(all, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // there is no such flag
	}
}

func (a *app) captureProfile(ctx context.Context, o captureOptions) error {
	switch {
	case o.Duration > 0:
	case o.Type == "cpu":
		o.Duration = cpuTakes
	case o.Type == "trace":
		o.Duration = 5 * time.Second
	}
	wait := o.Duration
	if !o.Wait || a.flags.dryRun {
		wait = 0
	}
	stop := a.meanwhile("capturing "+o.Type, "", wait)
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.ProfileStarted, error) {
		started, err := c.CaptureProfile(ctx, o.Capture, a.action())
		if err == nil && o.Wait && !started.DryRun {
			err = waitForProfile(ctx, c, started.ProfileID)
		}
		return started, err
	})
	stop()
	if err != nil {
		return err
	}
	return show(a, rs, view[api.ProfileStarted]{
		kind:  "ProfileCapture",
		items: func(s api.ProfileStarted) []render.Item { return []render.Item{{Name: s.ProfileID, Value: s}} },
		draw: func(w io.Writer, rs []api.Result[api.ProfileStarted], ro render.Options) error {
			return render.Done(w, rs, func(s api.ProfileStarted) string { return captureLine(s, o) }, ro)
		},
	})
}

func captureLine(s api.ProfileStarted, o captureOptions) string {
	of := ""
	if o.Target != "" {
		of = " of " + o.Target
	}
	switch {
	case s.DryRun:
		return "would capture a " + o.Type + " profile" + of
	case o.Wait || o.Duration == 0:
		return "captured " + s.ProfileID + of
	}
	return "capturing " + s.ProfileID + of + " for " + o.Duration.String()
}

// waitForProfile asks for a profile until it is no longer active.
func waitForProfile(ctx context.Context, c *client.Client, id string) error {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		p, err := c.Profile(ctx, id)
		if err != nil || p.State != "active" {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
