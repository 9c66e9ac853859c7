package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// batch is how many keys a clearing asks for and removes at a time.
const batch = 500

// maxRestarts is how often a clearing begins anew because servers changed.
const maxRestarts = 3

// place is how far a walk over the servers' keys has come. A SCAN cursor means
// nothing to another server, and after a failover or a restart the same address
// is another one: so it goes with what the servers were.
type place struct {
	servers uint32 // hash of their addresses and run ids
	node    int
	cursor  uint64
	skip    int // keys of that cursor's answer that were given out already
}

func (p place) String() string {
	return encodeCursor(fmt.Sprintf("%d.%d.%d.%d", p.servers, p.node, p.cursor, p.skip))
}

func parsePlace(cursor string) (p place, err error) {
	text, err := decodeCursor(cursor)
	if err != nil || text == "" {
		return p, err
	}
	f := strings.Split(text, ".")
	if len(f) != 4 {
		return p, ErrCursor
	}
	servers, err1 := strconv.ParseUint(f[0], 10, 32)
	node, err2 := strconv.ParseUint(f[1], 10, 16)
	scan, err3 := strconv.ParseUint(f[2], 10, 64)
	skip, err4 := strconv.ParseUint(f[3], 10, 31)
	if errors.Join(err1, err2, err3, err4) != nil {
		return p, ErrCursor
	}
	return place{uint32(servers), int(node), scan, int(skip)}, nil
}

// walk is one pass over the keys of all servers.
type walk struct {
	tier  *Redis
	all   []node
	place place
	total int64 // keys there, of all databases' own
}

// begin finds the servers, and the place to go on from: the start where they
// are not those of the cursor.
func (r *Redis) begin(ctx context.Context, cursor string) (*walk, error) {
	at, err := parsePlace(cursor)
	if err != nil {
		return nil, err
	}
	w := &walk{tier: r}
	if w.all, err = r.masters(ctx); err != nil {
		return nil, err
	}
	servers, err := w.identify(ctx)
	if err != nil {
		return nil, err
	}
	w.place = place{servers: servers}
	if at.servers == servers && at.node < len(w.all) {
		w.place = at
	}
	return w, nil
}

// identify hashes what the servers are, and counts their keys.
func (w *walk) identify(ctx context.Context) (uint32, error) {
	h := fnv.New32a()
	w.total = 0
	for _, n := range w.all {
		err := w.tier.on(ctx, n, func(ctx context.Context) error {
			info, err := n.client.Info(ctx, "server").Result()
			if err != nil {
				return err
			}
			size, err := n.client.DBSize(ctx).Result()
			w.total += size
			fmt.Fprintf(h, "%s %s\n", n.addr, parseInfo(info)["run_id"])
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return h.Sum32(), nil
}

// same tells whether the servers are still those that the walk began with.
func (w *walk) same(ctx context.Context) (bool, error) {
	again := &walk{tier: w.tier}
	var err error
	if again.all, err = w.tier.masters(ctx); err != nil {
		return false, err
	}
	servers, err := again.identify(ctx)
	return servers == w.place.servers, err
}

// next asks for one batch of the keys that match and moves on; done is true
// where there is nothing behind it.
func (w *walk) next(ctx context.Context, glob string, f func(context.Context, node, []string) error) (done bool, err error) {
	n := w.all[w.place.node]
	err = w.tier.on(ctx, n, func(ctx context.Context) error {
		keys, next, err := n.client.Scan(ctx, w.place.cursor, glob, batch).Result()
		if err != nil {
			return err
		}
		if err := f(ctx, n, keys); err != nil {
			return err
		}
		w.place.cursor = next
		if next == 0 {
			w.place.node++
		}
		return nil
	})
	return w.place.node == len(w.all), err
}

// progress is the share that is done, of what a whole walk looks at.
func (w *walk) progress() float64 {
	if w.place.node == len(w.all) {
		return 1
	}
	byNode := float64(w.place.node) / float64(len(w.all))
	if w.place.cursor == 0 {
		return byNode
	}
	return byNode + scanShare(w.place.cursor, w.total/int64(len(w.all)))/float64(len(w.all))
}

// scanShare is how much of a table a SCAN cursor has behind it: Redis counts up
// in its reversed bits, of as many as the table's size has.
func scanShare(cursor uint64, keys int64) float64 {
	bits := 2
	for int64(1)<<bits < keys || uint64(1)<<bits <= cursor {
		bits++
	}
	var share, weight float64 = 0, 0.5
	for i := range bits {
		if cursor>>(i)&1 != 0 {
			share += weight
		}
		weight /= 2
	}
	return min(share, 1)
}

// Clear implements [Tier]. It looks at keys under its own prefix only, in
// batches of SCAN and UNLINK, each under a deadline of its own, so that Redis
// serves others in between; of a Cluster on every master. Where servers change
// meanwhile it begins anew, for a SCAN does not survive that. A dry run may
// count a key twice that Redis moves meanwhile.
func (r *Redis) Clear(ctx context.Context, pattern string, o ClearOptions) (done Cleared, err error) {
	start := time.Now()
	done.Cursor = o.Cursor
	for range maxRestarts {
		w, err := r.begin(ctx, done.Cursor)
		if err != nil {
			return done, r.failed(err, "clear", pattern)
		}
		ended, err := w.clear(ctx, pattern, o, start, &done)
		if err != nil {
			return done, r.failed(err, "clear", pattern)
		}
		if !ended {
			return done, nil
		}
		same, err := w.same(ctx)
		if err != nil {
			return done, r.failed(err, "clear", pattern)
		}
		if done.Cursor = ""; same {
			done.Progress = 1
			return done, nil
		}
		if o.DryRun {
			done.Keys = 0
		}
	}
	return done, r.failed(errors.New("the servers keep changing"), "clear", pattern)
}

// clear goes on until the end, or until the budget is spent.
func (w *walk) clear(ctx context.Context, pattern string, o ClearOptions, start time.Time, done *Cleared) (ended bool, err error) {
	glob := escape(w.tier.opts.KeyPrefix) + ":" + pattern
	for !ended {
		ended, err = w.next(ctx, glob, func(ctx context.Context, n node, keys []string) error {
			removed := int64(len(keys))
			if !o.DryRun {
				var err error
				if removed, err = w.tier.unlink(ctx, n, keys); err != nil {
					return err
				}
			}
			done.Keys += removed
			return nil
		})
		if done.Cursor = w.place.String(); err != nil {
			return false, err
		}
		done.Progress = w.progress()
		if o.Tell != nil {
			o.Tell(*done)
		}
		if !ended && o.Budget > 0 && time.Since(start) >= o.Budget {
			return false, nil
		}
	}
	return true, nil
}

// unlink removes keys that one server has. A Cluster takes only keys of one
// slot at a time; one whose slot has just moved stays for the next clearing.
func (r *Redis) unlink(ctx context.Context, n node, keys []string) (removed int64, err error) {
	if len(keys) == 0 {
		return 0, nil
	}
	if r.cluster == nil {
		removed, err = n.client.Unlink(ctx, keys...).Result()
	} else {
		var cmds []redis.Cmder
		cmds, err = n.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, k := range keys {
				p.Unlink(ctx, k)
			}
			return nil
		})
		for _, c := range cmds {
			if c, ok := c.(*redis.IntCmd); ok && c.Err() == nil {
				removed += c.Val()
			}
		}
		if moved(err) {
			err = nil
		}
	}
	r.countCleared(keys, removed)
	return removed, err
}

func moved(err error) bool {
	return err != nil && (strings.HasPrefix(err.Error(), "MOVED ") || strings.HasPrefix(err.Error(), "ASK "))
}

// countCleared counts removed keys by prefix. Which of a batch were gone already
// Redis does not tell: the last ones are taken for those.
func (r *Redis) countCleared(keys []string, removed int64) {
	for _, k := range keys[:min(int64(len(keys)), removed)] {
		r.prefixes.of(strings.TrimPrefix(k, r.opts.KeyPrefix+":")).cleared.Add(1)
	}
}

// failed counts an error of an operation on many keys and tells what it was.
func (r *Redis) failed(err error, verb, pattern string) error {
	if errors.Is(err, ErrCursor) {
		return err
	}
	r.prefixes.other.errors.Add(1)
	return fmt.Errorf("%s %q in redis: %w", verb, pattern, err)
}

// keysBudget bounds the time of one page, whatever a rare pattern costs.
const keysBudget = time.Second

// Keys implements [Tier]: in the order of SCAN. A page may have fewer keys than
// Limit, or none, where keys that match are rare.
func (r *Redis) Keys(ctx context.Context, q KeyQuery) (page KeyPage, err error) {
	w, err := r.begin(ctx, q.Cursor)
	if err != nil {
		return page, r.failed(err, "list", q.Pattern)
	}
	limit := cmp.Or(q.Limit, defaultKeys)
	glob := escape(r.opts.KeyPrefix) + ":" + cmp.Or(q.Pattern, "*")
	for start := time.Now(); len(page.Keys) < limit && time.Since(start) < keysBudget; {
		at, left := w.place, 0
		done, err := w.next(ctx, glob, func(ctx context.Context, n node, keys []string) error {
			keys = keys[min(at.skip, len(keys)):]
			take := min(limit-len(page.Keys), len(keys))
			described, err := r.describe(ctx, n, keys[:take])
			page.Keys, left = append(page.Keys, described...), len(keys)-take
			at.skip += take
			return err
		})
		if err != nil {
			return page, r.failed(err, "list", q.Pattern)
		}
		if w.place.skip = 0; left > 0 { // the rest of this answer begins the next page
			w.place, done = at, false
		}
		if done {
			return page, nil
		}
	}
	page.Next = w.place.String()
	return page, nil
}

// describe asks for the sizes and ages of keys by commands that do not touch
// them: MEMORY USAGE, PTTL and OBJECT. A key that is gone meanwhile is left out.
func (r *Redis) describe(ctx context.Context, n node, keys []string) ([]Key, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	const each = 4
	cmds, err := n.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, k := range keys {
			p.MemoryUsage(ctx, k)
			p.PTTL(ctx, k)
			p.ObjectFreq(ctx, k)     // an error unless maxmemory-policy counts uses
			p.ObjectIdleTime(ctx, k) // an error if it does
		}
		return nil
	})
	if err != nil && !answered(err) || len(cmds) != each*len(keys) {
		return nil, err
	}
	var out []Key
	for i, k := range keys {
		c := cmds[each*i:]
		size, ttl := c[0].(*redis.IntCmd), c[1].(*redis.DurationCmd)
		freq, idle := c[2].(*redis.IntCmd), c[3].(*redis.DurationCmd)
		if size.Err() != nil || ttl.Err() != nil || ttl.Val() == -2 {
			continue
		}
		row := Key{Name: strings.TrimPrefix(k, r.opts.KeyPrefix+":"), Size: size.Val(), TTL: ttl.Val(), Hits: -1, Idle: -1}
		if row.TTL < 0 {
			row.TTL = Forever
		}
		if freq.Err() == nil {
			row.Hits = freq.Val()
		}
		if idle.Err() == nil {
			row.Idle = idle.Val()
		}
		out = append(out, row)
	}
	return out, nil
}
