package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

type enableOptions struct{ For, SlowThreshold time.Duration }

func newProfilesEnableCmd(a *app) *cobra.Command {
	o := enableOptions{For: 10 * time.Minute}
	cmd := &cobra.Command{
		Use:   "enable",
		Short: "Profile more for a while: CPU windows beside snapshots of slow requests",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.switchProfiling(cmd.Context(), "enabled", func(c *client.Client, ctx context.Context) (api.ProfilingSwitch, error) {
				return c.EnableProfiling(ctx, o.For, o.SlowThreshold, a.action())
			})
		},
	}
	cmd.Flags().Var(durationValue{&o.For}, "for", "how long; 0 is until disabled, which is all that a Python server can do")
	cmd.Flags().Var(durationValue{&o.SlowThreshold}, "slow-threshold", "how long a request takes to be slow; 0 leaves the server's")
	return cmd
}

func newProfilesDisableCmd(a *app) *cobra.Command {
	var off bool
	cmd := &cobra.Command{
		Use:   "disable",
		Short: "Go back to watching slow requests only, or to nothing with --off",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.switchProfiling(cmd.Context(), "disabled", func(c *client.Client, ctx context.Context) (api.ProfilingSwitch, error) {
				return c.DisableProfiling(ctx, off, a.action())
			})
		},
	}
	cmd.Flags().BoolVar(&off, "off", false, "profile nothing, slow requests neither")
	return cmd
}

func (a *app) switchProfiling(ctx context.Context, done string, f func(*client.Client, context.Context) (api.ProfilingSwitch, error)) error {
	rs, err := ask(ctx, a, f)
	if err != nil {
		return err
	}
	return show(a, rs, view[api.ProfilingSwitch]{
		kind:  "ProfilingSwitch",
		items: func(s api.ProfilingSwitch) []render.Item { return []render.Item{{Name: s.Mode, Value: s}} },
		draw: func(w io.Writer, rs []api.Result[api.ProfilingSwitch], o render.Options) error {
			return render.Done(w, rs, func(s api.ProfilingSwitch) string { return switchLine(s, done, o) }, o)
		},
	})
}

func switchLine(s api.ProfilingSwitch, done string, o render.Options) string {
	line := "profiling " + done
	if s.DryRun {
		line = "profiling would be " + done
	}
	if s.Mode != "" {
		line += ": mode " + s.Mode
	}
	if s.EnabledUntil != nil && !s.EnabledUntil.IsZero() {
		line += " until " + s.EnabledUntil.In(o.Zone).Format("15:04:05 MST")
	}
	return line
}

func newProfilesCleanupCmd(a *app) *cobra.Command {
	maxAge := time.Hour
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove old profiles",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.cleanupProfiles(cmd.Context(), maxAge) },
	}
	cmd.Flags().Var(durationValue{&maxAge}, "max-age", "remove those stored longer ago, 5m to 24h")
	return cmd
}

func (a *app) cleanupProfiles(ctx context.Context, maxAge time.Duration) error {
	if err := a.confirm(ctx, fmt.Sprintf("remove the profiles older than %s?", maxAge), true); err != nil {
		return err
	}
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.Cleanup, error) {
		return c.CleanupProfiles(ctx, maxAge, a.action())
	})
	if err != nil {
		return err
	}
	return show(a, rs, view[api.Cleanup]{
		kind:  "ProfileCleanup",
		items: func(c api.Cleanup) []render.Item { return []render.Item{{Name: c.Message, Value: c}} },
		draw: func(w io.Writer, rs []api.Result[api.Cleanup], o render.Options) error {
			return render.Done(w, rs, func(c api.Cleanup) string { return cleanupLine(c, "profiles") }, o)
		},
	})
}

// cleanupLine says how many of what were removed.
func cleanupLine(c api.Cleanup, what string) string {
	if c.Removed == nil {
		return c.Message // a Python server counts nothing
	}
	verb := "removed"
	if c.DryRun {
		verb = "would remove"
	}
	return fmt.Sprintf("%s %d %s, %d bytes", verb, c.Removed.Value(), what, c.FreedBytes.Value())
}
