package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

func newCacheCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "cache",
		Aliases: []string{"caches"},
		Short:   "Caches: status, info, keys, clear",
		Args:    cobra.NoArgs,
	}
	status := newCacheStatusCmd(a)
	cmd.RunE = status.RunE
	cmd.Flags().AddFlagSet(status.Flags())
	cmd.AddCommand(status, newCacheInfoCmd(a), newCacheKeysCmd(a), newCacheClearCmd(a))
	return cmd
}

// cacheTiers are the caches that a command may name.
var cacheTiers = []string{"redis", "memory"}

// tierArg reads a command's first argument.
func tierArg(cmd *cobra.Command, args []string, tiers ...string) (string, error) {
	if slices.Contains(tiers, args[0]) {
		return args[0], nil
	}
	want := tiers[0]
	if len(tiers) > 1 {
		want += " or " + tiers[1]
	}
	return "", &usageError{fmt.Errorf("cache %q: want %s", args[0], want), cmd.CommandPath()}
}

// patternArg reads a command's second argument, * where there is none.
func patternArg(args []string) string {
	if len(args) < 2 || args[1] == "" {
		return "*"
	}
	return args[1]
}

type cacheStatusOptions struct {
	limit limitFlag
	watch watchFlag
}

func newCacheStatusCmd(a *app) *cobra.Command {
	var o cacheStatusOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show both caches, their hits and what they evicted",
		Long: `Show both caches: how they are and why, the share of hits since the start and
in the last minutes, entries and bytes, what left for want of room, for age and
by clearing, and the same by what keys begin with. With --watch also the share
of hits between two looks.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.cacheStatus(cmd.Context(), &o) },
	}
	o.limit.register(cmd, "prefixes to show")
	o.watch.register(cmd)
	return cmd
}

func (a *app) cacheStatus(ctx context.Context, o *cacheStatusOptions) error {
	var before []api.Result[api.CacheStatus]
	return a.watch(ctx, o.watch.every, func(ctx context.Context, a *app) error {
		rs, err := ask(ctx, a, (*client.Client).CacheStatus)
		if err != nil {
			return err
		}
		v := view[api.CacheStatus]{
			kind:  "CacheStatus",
			items: func(c api.CacheStatus) []render.Item { return []render.Item{{Name: "cache", Value: c}} },
			draw:  render.CacheStatusSince(before),
			limit: o.limit.rows(),
		}
		before = rs
		return show(a, rs, v)
	})
}

func newCacheInfoCmd(a *app) *cobra.Command {
	var w watchFlag
	cmd := &cobra.Command{
		Use:   "info redis",
		Short: "Show what Redis says of itself",
		Long: `Show the Redis cache: what Redis says of itself, of a Cluster each master, and
what was asked of it. A Redis that does not answer is a failure (status 5).`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: cacheTiers[:1],
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := tierArg(cmd, args, "redis"); err != nil {
				return err
			}
			return a.watch(cmd.Context(), w.every, redisInfo)
		},
	}
	w.register(cmd)
	return cmd
}

func redisInfo(ctx context.Context, a *app) error {
	rs, err := ask(ctx, a, (*client.Client).RedisInfo)
	if err != nil {
		return err
	}
	return show(a, rs, view[api.RedisStats]{
		kind:  "RedisInfo",
		items: func(r api.RedisStats) []render.Item { return []render.Item{{Name: "redis", Value: r}} },
		draw:  render.RedisInfo,
	})
}

type cacheKeysOptions struct {
	limit  int
	cursor string
}

func newCacheKeysCmd(a *app) *cobra.Command {
	var o cacheKeysOptions
	cmd := &cobra.Command{
		Use:   "keys redis|memory [PATTERN]",
		Short: "List keys with size, time to live and hits",
		Long: `List the keys of a cache that match a pattern of *, ? and [a-z]: their size,
the time they have left and how often they were hit, never their values.
Looking makes no key look used, so it changes nothing of what is evicted.`,
		Args:      cobra.RangeArgs(1, 2),
		ValidArgs: cacheTiers,
		RunE: func(cmd *cobra.Command, args []string) error {
			tier, err := tierArg(cmd, args, cacheTiers...)
			if err != nil {
				return err
			}
			if o.limit < 0 {
				return &usageError{fmt.Errorf("limit %d: want 0 or more", o.limit), cmd.CommandPath()}
			}
			return a.cacheKeys(cmd.Context(), tier, patternArg(args), o)
		},
	}
	cmd.Flags().IntVarP(&o.limit, "limit", "n", 100, "keys to list; 0 lists all")
	cmd.Flags().StringVar(&o.cursor, "cursor", "", "go on where an earlier list ended")
	return cmd
}

func (a *app) cacheKeys(ctx context.Context, tier, pattern string, o cacheKeysOptions) error {
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.CacheKeys, error) {
		return c.CacheKeys(ctx, tier, client.KeyQuery{Pattern: pattern, Limit: o.limit, Cursor: o.cursor})
	})
	if err != nil {
		return err
	}
	return show(a, rs, view[api.CacheKeys]{
		kind:  "CacheKeyList",
		items: keyItems,
		draw:  render.CacheKeys,
		pick: func(ks api.CacheKeys, order []int) api.CacheKeys {
			ks.Keys = taken(ks.Keys, order)
			return ks
		},
	})
}

func keyItems(ks api.CacheKeys) (out []render.Item) {
	for _, k := range ks.Keys {
		out = append(out, render.Item{Name: k.Key, Value: k})
	}
	return out
}
