package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Status asks Redis how it is and adds what the tier counted: healthy; degraded
// where Redis answers but refuses writes, or a part of a Cluster does not
// answer; failed where none does. But for healthy, Reason says why. It ends
// within the tier's Timeout.
func (r *Redis) Status(ctx context.Context) api.RedisHealth {
	looks, stats, err := r.inspect(ctx)
	out := api.RedisHealth{Status: api.Healthy, Connected: stats.Connected, Stats: stats}
	switch {
	case err != nil:
		out.Status, out.Reason = api.Failed, stats.LastError
		if since := r.guard.down(); !since.IsZero() {
			out.Reason = fmt.Sprintf("for %s now: %s", time.Since(since).Round(time.Second), lastOf(err))
		}
	default:
		out.Reason = r.degraded(looks)
		if out.Reason != "" {
			out.Status = api.Degraded
		}
	}
	return out
}

// refusedFor is how long a refused write counts where none has followed it.
const refusedFor = time.Minute

// degraded says why a Redis that answers is not healthy, "" if it is.
func (r *Redis) degraded(looks []look) string {
	for _, l := range looks {
		switch {
		case l.err != nil:
			return fmt.Sprintf("the master at %s does not answer: %s", l.addr, l.err)
		case l.info["role"] == "slave":
			return "it is a replica, which takes no writes"
		case l.info["master_failover_state"] == "failover-in-progress":
			return "it is failing over"
		case full(l.info):
			return fmt.Sprintf("out of memory: %s of %s used and maxmemory-policy is noeviction, so writes are refused",
				l.info["used_memory_human"], l.info["maxmemory_human"])
		}
	}
	if no := r.refused.Load(); no != nil && time.Since(no.at) < refusedFor {
		return fmt.Sprintf("the last write, %s ago, was refused: %s", time.Since(no.at).Round(time.Second), lastOf(no.err))
	}
	return ""
}

func full(info map[string]string) bool {
	used, most := integer(info, "used_memory"), integer(info, "maxmemory")
	return most != nil && used != nil && *most > 0 && *used >= *most && info["maxmemory_policy"] == "noeviction"
}

// lastOf is the innermost error's text: what Redis itself said.
func lastOf(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// Info returns what Redis says of itself beside what the tier counted. Where
// Redis does not answer, the latter comes with the error. Of a Cluster figures
// are sums over the masters that answer, and the latency is the worst.
func (r *Redis) Info(ctx context.Context) (api.RedisStats, error) {
	_, stats, err := r.inspect(ctx)
	return stats, err
}

func (r *Redis) inspect(ctx context.Context) ([]look, api.RedisStats, error) {
	out := r.counted()
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout) // of all of it: a Cluster is asked twice
	defer cancel()
	all, err := r.masters(ctx)
	var looks []look
	if err == nil {
		looks = r.ask(ctx, all)
		err = r.sum(&out, looks)
	}
	if err != nil {
		out.LastError = err.Error()
		return looks, out, fmt.Errorf("ask redis how it is: %w", err)
	}
	out.Connected = true
	return looks, out, nil
}

// counted is what the tier knows by itself.
func (r *Redis) counted() api.RedisStats {
	s := r.prefixes.sum()
	return api.RedisStats{
		RedisURL: r.target.shown, KeyPrefix: r.opts.KeyPrefix, DefaultTTL: api.Seconds(max(r.opts.DefaultTTL, 0)), Mode: r.target.kind,
		CacheHits: api.Count(s.Hits), CacheMisses: api.Count(s.Misses), CacheErrors: api.Count(s.Errors), HitRate: rate(s.Hits, s.Misses),
		Cleared: api.CountOf(s.Cleared), Garbled: api.CountOf(s.Garbled),
		Recent: r.recent.since(time.Now(), s.Hits, s.Misses), Prefixes: r.prefixes.list(false),
	}
}

// sum adds up what the servers said. If none answered it returns why.
func (r *Redis) sum(out *api.RedisStats, looks []look) error {
	var errs []error
	var memory int64
	for _, l := range looks {
		row := api.RedisNode{Addr: l.addr, Status: api.Healthy}
		if l.err != nil {
			row.Status, row.Error = api.Failed, l.err.Error()
			errs = append(errs, l.err)
			out.Nodes = append(out.Nodes, row)
			continue
		}
		row.Keys, row.Memory, row.Latency = api.CountOf(l.keys), count(l.info, "used_memory"), secondsOf(l.latency)
		out.Nodes = append(out.Nodes, row)
		out.RedisVersion, out.Role = l.info["redis_version"], l.info["role"]
		out.MaxMemoryPolicy = l.info["maxmemory_policy"]
		memory += row.Memory.Value()
		out.RedisMemory = l.info["used_memory_human"]
		if out.Latency == nil || out.Latency.Duration() < l.latency {
			out.Latency = row.Latency
		}
		addCount(&out.Keys, row.Keys)
		for name, to := range map[string]**api.Count{
			"connected_clients": &out.RedisConnectedClients, "total_commands_processed": &out.RedisTotalCommands,
			"evicted_keys": &out.EvictedKeys, "expired_keys": &out.ExpiredKeys, "maxmemory": &out.MaxMemory,
		} {
			addCount(to, count(l.info, name))
		}
	}
	if len(looks) > 1 {
		out.RedisMemory = human(memory)
	}
	if r.target.kind != cluster {
		out.Nodes = nil // the one server is what the rest is about
	}
	if len(errs) == len(looks) {
		return cmp.Or(errors.Join(errs...), errors.New("the Cluster has no masters"))
	}
	return nil
}

// Counts are what the tier counted since it was made.
type Counts struct{ Hits, Misses, Errors, Cleared int64 }

// Counts returns what the tier counted, without asking Redis.
func (r *Redis) Counts() Counts {
	s := r.prefixes.sum()
	r.recent.since(time.Now(), s.Hits, s.Misses) // a scrape marks them, too
	return Counts{s.Hits, s.Misses, s.Errors, s.Cleared}
}

// human writes bytes as Redis does in used_memory_human.
func human(n int64) string {
	v, unit := float64(n), "B"
	for _, u := range []string{"K", "M", "G", "T"} {
		if v < 1024 {
			break
		}
		v, unit = v/1024, u
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 2, 64), ".00") + unit
}

func integer(info map[string]string, name string) *int64 {
	n, err := strconv.ParseInt(info[name], 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

func count(info map[string]string, name string) *api.Count {
	n := integer(info, name)
	if n == nil {
		return nil
	}
	return api.CountOf(*n)
}

func addCount(to **api.Count, n *api.Count) {
	if n == nil {
		return
	}
	if *to == nil {
		*to = new(api.Count)
	}
	**to += *n
}

func secondsOf(d time.Duration) *api.Seconds {
	s := api.Seconds(d)
	return &s
}
