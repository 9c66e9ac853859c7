package cache

import (
	"bufio"
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// node is one server that keeps a part of the keys: the only one, or a master
// of a Cluster.
type node struct {
	addr   string
	client *redis.Client
	guard  *guard
}

// masters returns the servers that keep the keys, by address. It asks a Cluster
// who they are, and goes by what it knew where that takes a third of the
// deadline.
func (r *Redis) masters(ctx context.Context) ([]node, error) {
	if r.cluster == nil {
		return []node{{r.one.Options().Addr, r.one, &r.guard}}, nil
	}
	var mu sync.Mutex
	var out []node
	err := r.guard.run(ctx, r.opts.Timeout, func(bounded context.Context) error {
		asking, cancel := context.WithTimeout(bounded, r.opts.Timeout/3)
		defer cancel()
		return r.cluster.ForEachMaster(asking, func(_ context.Context, c *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			addr := c.Options().Addr
			out = append(out, node{addr, c, r.nodes.of(addr)})
			return nil
		})
	})
	slices.SortFunc(out, func(a, b node) int { return cmp.Compare(a.addr, b.addr) })
	return out, err
}

// on calls f on one server under the tier's deadline, unless it is known to be
// down.
func (r *Redis) on(ctx context.Context, n node, f func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return n.guard.run(ctx, r.opts.Timeout, f)
}

// look is what one server says of itself.
type look struct {
	node
	info    map[string]string
	latency time.Duration
	keys    int64
	err     error
}

// ask has every server tell of itself, all at once.
func (r *Redis) ask(ctx context.Context, all []node) []look {
	out := make([]look, len(all))
	var wg sync.WaitGroup
	for i, n := range all {
		wg.Go(func() { out[i] = r.askOne(ctx, n) })
	}
	wg.Wait()
	return out
}

func (r *Redis) askOne(ctx context.Context, n node) look {
	out := look{node: n}
	out.err = r.on(ctx, n, func(ctx context.Context) error {
		start := time.Now()
		if err := n.client.Ping(ctx).Err(); err != nil {
			return err
		}
		out.latency = time.Since(start)
		info, err := n.client.Info(ctx, "everything").Result()
		if err != nil {
			return err
		}
		out.info = parseInfo(info)
		out.keys, err = n.client.DBSize(ctx).Result()
		return err
	})
	return out
}

// parseInfo reads an INFO answer as far as it has fields.
func parseInfo(text string) map[string]string {
	fields := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if name, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), ":"); ok {
			fields[name] = value
		}
	}
	return fields
}
