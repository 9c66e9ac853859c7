package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// cacheClearing is one clearing as the operator wrote it.
type cacheClearing struct{ tier, pattern, cursor string }

func newCacheClearCmd(a *app) *cobra.Command {
	var o cacheClearing
	cmd := &cobra.Command{
		Use:   "clear redis|memory [PATTERN]",
		Short: "Remove keys from a cache",
		Long: `Remove the keys that match a pattern of *, ? and [a-z], or all of them, from a
cache. Of Redis only keys under the cache's own prefix are removed, in batches
that do not block it, on every master of a Cluster. One that breaks off says how
many it removed, and the --cursor that goes on from there.`,
		Args:      cobra.RangeArgs(1, 2),
		ValidArgs: cacheTiers,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.tier, err = tierArg(cmd, args, cacheTiers...); err != nil {
				return err
			}
			o.pattern = patternArg(args)
			return a.clearCache(cmd.Context(), o)
		},
	}
	cmd.Flags().StringVar(&o.cursor, "cursor", "", "go on where an earlier clearing of Redis broke off")
	return cmd
}

// clearCache clears a tier on each server. Before a person is asked a dry run
// counts what would go, where the servers can do one.
func (a *app) clearCache(ctx context.Context, o cacheClearing) error {
	v := cacheClearedView(o.tier)
	err := a.preview(func(a *app) error {
		rs, err := a.clearEach(ctx, o, client.Action{DryRun: true})
		if err != nil || len(failures(rs)) > 0 {
			return err // a server that cannot count is asked all the same
		}
		return show(a, rs, v)
	})
	if err != nil {
		return err
	}
	if err := a.confirm(ctx, fmt.Sprintf("clear %s from the %s cache?", o.pattern, o.tier), o.pattern != "*"); err != nil {
		return err
	}
	rs, err := a.clearEach(ctx, o, a.action())
	if err != nil {
		return err
	}
	err = show(a, rs, v)
	a.hintToGoOn(o, rs)
	return err
}

// clearEach clears a tier on each server, with a line on a terminal that says
// how far it is.
func (a *app) clearEach(ctx context.Context, o cacheClearing, how client.Action) ([]api.Result[api.CacheCleared], error) {
	verb := "clearing"
	if how.DryRun {
		verb = "counting"
	}
	line := a.progress(fmt.Sprintf("%s %s in %s", verb, o.pattern, o.tier))
	defer line.done()
	return ask(ctx, a, func(c *client.Client, ctx context.Context) (api.CacheCleared, error) {
		return c.Clear(ctx, o.tier, client.Clearing{Action: how, Pattern: o.pattern, Cursor: o.cursor, Tell: func(so api.CacheCleared) {
			share := 1.0
			if so.Progress != nil {
				share = *so.Progress
			}
			line.tell(c.Instance(), share, so.Cleared.Value())
		}})
	})
}

// hintToGoOn says how a clearing that broke off goes on.
func (a *app) hintToGoOn(o cacheClearing, rs []api.Result[api.CacheCleared]) {
	for _, r := range rs {
		if r.Error == nil || r.Error.Next == "" {
			continue
		}
		where := ""
		if len(rs) > 1 {
			where = " --server " + r.Instance
		}
		fmt.Fprintf(a.streams.err, "  to go on: pulsectl cache clear %s %s --cursor %s%s\n", o.tier, shellWord(o.pattern), render.Clean(r.Error.Next), render.Clean(where))
	}
}

// shellWord quotes a word for a shell.
func shellWord(s string) string { return "'" + strings.ReplaceAll(render.Clean(s), "'", `'\''`) + "'" }

func cacheClearedView(tier string) view[api.CacheCleared] {
	return view[api.CacheCleared]{
		kind:  "CacheCleared",
		items: func(c api.CacheCleared) []render.Item { return []render.Item{{Name: tier, Value: c}} },
		draw: func(w io.Writer, rs []api.Result[api.CacheCleared], o render.Options) error {
			return render.CacheCleared(w, rs, tier, o)
		},
	}
}
