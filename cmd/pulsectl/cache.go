package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

var cacheView = view[api.CacheStatus]{
	kind:  "CacheStatus",
	items: func(c api.CacheStatus) []render.Item { return []render.Item{{Name: "cache", Value: c}} },
	draw:  render.CacheStatus,
}

func newCacheCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "cache",
		Aliases: []string{"caches"},
		Short:   "Caches: status, clear",
		Args:    cobra.NoArgs,
	}
	status := newCacheStatusCmd(a)
	cmd.RunE = status.RunE
	cmd.Flags().AddFlagSet(status.Flags())
	cmd.AddCommand(status, newCacheClearCmd(a))
	return cmd
}

func newCacheStatusCmd(a *app) *cobra.Command {
	var limit limitFlag
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show both caches, their hits and what they evicted",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rs, err := ask(cmd.Context(), a, (*client.Client).CacheStatus)
			if err != nil {
				return err
			}
			v := cacheView
			v.limit = limit.rows()
			return show(a, rs, v)
		},
	}
	limit.register(cmd, "prefixes to show")
	return cmd
}

var cacheTiers = []string{"redis", "memory"}

func newCacheClearCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "clear redis|memory [PATTERN]",
		Short: "Remove keys from a cache",
		Long: `Remove the keys that match a pattern of *, ? and [a-z], or all of them, from a
cache. Of Redis only keys under the cache's own prefix are removed, in batches
that do not block it.`,
		Args:      cobra.RangeArgs(1, 2),
		ValidArgs: cacheTiers,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(cacheTiers, args[0]) {
				return &usageError{fmt.Errorf("cache %q: want redis or memory", args[0]), cmd.CommandPath()}
			}
			pattern := "*"
			if len(args) == 2 {
				pattern = args[1]
			}
			return a.clearCache(cmd.Context(), args[0], pattern)
		},
	}
}

// clearCache clears a tier on each server. Before a person is asked a dry run
// counts what would go, where the servers can do one.
func (a *app) clearCache(ctx context.Context, tier, pattern string) error {
	v := cacheClearedView(tier)
	clear := func(how client.Action) ([]api.Result[api.CacheCleared], error) {
		return ask(ctx, a, func(c *client.Client, ctx context.Context) (api.CacheCleared, error) {
			return c.ClearCache(ctx, tier, pattern, how)
		})
	}
	err := a.preview(func(a *app) error {
		rs, err := clear(client.Action{DryRun: true})
		if err != nil || len(failures(rs)) > 0 {
			return err // a server that cannot count is asked all the same
		}
		return show(a, rs, v)
	})
	if err != nil {
		return err
	}
	whole := pattern == "" || pattern == "*"
	if err := a.confirm(ctx, fmt.Sprintf("clear %s from the %s cache?", pattern, tier), !whole); err != nil {
		return err
	}
	rs, err := clear(a.action())
	if err != nil {
		return err
	}
	return show(a, rs, v)
}

func cacheClearedView(tier string) view[api.CacheCleared] {
	return view[api.CacheCleared]{
		kind:  "CacheCleared",
		items: func(c api.CacheCleared) []render.Item { return []render.Item{{Name: tier, Value: c}} },
		draw: func(w io.Writer, rs []api.Result[api.CacheCleared], o render.Options) error {
			return render.CacheCleared(w, rs, tier, o)
		},
	}
}
