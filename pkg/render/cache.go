package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// CacheStatus draws both caches of each server, and what their keys begin with.
func CacheStatus(w io.Writer, rs []api.Result[api.CacheStatus], o Options) error {
	s := newScreen(w, o)
	if !o.NoHeaders {
		s.heading("Caches", s.cacheVerdicts(rs))
		s.line()
	}
	cols := []column{
		{name: "CACHE"}, {name: "STATUS"}, {name: "HIT%", right: true}, {name: "HITS", right: true}, {name: "MISSES", right: true},
		{name: "ENTRIES", right: true, drop: 1}, {name: "SIZE", right: true, drop: 2}, {name: "EVICTED", right: true, drop: 3},
		{name: "EXPIRED", right: true, drop: 4}, {name: "CLEARED", right: true, drop: 5}, {name: "ERRORS", right: true, drop: 6},
	}
	err := fleetTable(s, rs, cols, func(c api.CacheStatus) [][]string {
		return [][]string{s.memoryRow(c.Memory), s.redisRow(c.Redis)}
	})
	if err != nil {
		return err
	}
	for _, r := range rs {
		if r.Error == nil {
			s.redisFacts(r, len(rs) > 1)
		}
	}
	if err := s.prefixes(rs); err != nil {
		return err
	}
	return s.flush()
}

func (s *screen) cacheVerdicts(rs []api.Result[api.CacheStatus]) string {
	counts := map[string]int{}
	for _, r := range rs {
		if r.Error == nil {
			counts[r.Value.Memory.Status]++
			counts[r.Value.Redis.Status]++
		}
	}
	var parts []string
	for _, status := range []string{api.Failed, api.Degraded, api.Healthy} {
		if n := counts[status]; n > 0 {
			parts = append(parts, s.mark(statusVerdict(status), fmt.Sprintf("%d %s", n, status)))
		}
	}
	return strings.Join(parts, "  ")
}

func (s *screen) memoryRow(m api.MemoryHealth) []string {
	if m.Status == api.Disabled {
		return s.disabledRow("memory")
	}
	st, bytes, cleared := m.Stats, "–", "–"
	if st.Bytes != nil {
		bytes = size(st.Bytes.Value())
	}
	if st.Cleared != nil {
		cleared = count(st.Cleared.Value())
	}
	return []string{
		"memory", s.cacheMark(m.Status), hitRate(int64(st.Hits), int64(st.Misses)), count(int64(st.Hits)), count(int64(st.Misses)),
		count(int64(st.Size)) + " of " + count(int64(st.MaxSize)), bytes, count(int64(st.Evictions)), count(int64(st.ExpiredEvictions)), cleared, "–",
	}
}

func (s *screen) redisRow(r api.RedisHealth) []string {
	if r.Status == api.Disabled {
		return s.disabledRow("redis")
	}
	st, evicted, memory := r.Stats, "–", "–"
	if st.EvictedKeys != nil {
		evicted = count(st.EvictedKeys.Value())
	}
	if st.RedisMemory != "" {
		memory = clean(st.RedisMemory)
	}
	return []string{
		"redis", s.cacheMark(r.Status), hitRate(int64(st.CacheHits), int64(st.CacheMisses)), count(int64(st.CacheHits)), count(int64(st.CacheMisses)),
		"–", memory, evicted, "–", "–", count(int64(st.CacheErrors)),
	}
}

func (s *screen) disabledRow(name string) []string {
	row := []string{name, s.muted.Render("– disabled")}
	for len(row) < 11 {
		row = append(row, "–")
	}
	return row
}

func (s *screen) cacheMark(status string) string { return s.mark(statusVerdict(status), clean(status)) }

func hitRate(hits, misses int64) string {
	if hits+misses == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", 100*float64(hits)/float64(hits+misses))
}

// redisFacts says which Redis it is, and why it failed if it did.
func (s *screen) redisFacts(r api.Result[api.CacheStatus], fleet bool) {
	redis := r.Value.Redis
	if redis.Status == api.Disabled {
		return
	}
	label, st := "redis", redis.Stats
	if fleet {
		label += " of " + instance(r.Instance)
	}
	var parts []string
	add := func(text string) {
		if text != "" {
			parts = append(parts, clean(text))
		}
	}
	add(st.RedisURL)
	add(strings.TrimSpace(st.RedisVersion + " " + st.Role))
	if st.KeyPrefix != "" {
		add("keys " + st.KeyPrefix + ":*")
	}
	if st.RedisConnectedClients != nil {
		add(plural(int(st.RedisConnectedClients.Value()), "client"))
	}
	if st.Latency != nil {
		add("answers in " + duration(st.Latency.Duration()))
	}
	s.line()
	if len(parts) > 0 {
		s.facts([]fact{{label, s.muted.Render(strings.Join(parts, "  "))}})
	}
	if st.LastError != "" {
		s.facts([]fact{{label, s.bad.Render(clean(st.LastError))}})
	}
}

// prefixes draws the use of the memory cache by what keys begin with.
func (s *screen) prefixes(rs []api.Result[api.CacheStatus]) error {
	all := 0
	for _, r := range rs {
		all += len(r.Value.Memory.Stats.Prefixes)
	}
	if all == 0 {
		return nil
	}
	limit, shown := s.rows(10), 0
	s.line()
	cols := []column{
		{name: "PREFIX", flex: true}, {name: "HIT%", right: true}, {name: "HITS", right: true},
		{name: "MISSES", right: true}, {name: "ENTRIES", right: true},
	}
	ok := make([]api.Result[api.CacheStatus], 0, len(rs)) // the others had their line
	for _, r := range rs {
		if r.Error != nil {
			r = api.Result[api.CacheStatus]{Instance: r.Instance}
		}
		ok = append(ok, r)
	}
	err := fleetTable(s, ok, cols, func(c api.CacheStatus) (out [][]string) {
		for _, p := range c.Memory.Stats.Prefixes[:min(limit, len(c.Memory.Stats.Prefixes))] {
			out = append(out, []string{
				clean(p.Prefix), hitRate(int64(p.Hits), int64(p.Misses)), count(int64(p.Hits)), count(int64(p.Misses)), count(int64(p.Entries)),
			})
		}
		shown += len(out)
		return out
	})
	s.leftOut(shown, all, "prefixes")
	return err
}

// rows is how many rows a list shows: the options' limit, or def where that is 0.
func (s *screen) rows(def int) int {
	switch {
	case s.Limit < 0:
		return 1 << 30
	case s.Limit == 0:
		return def
	}
	return s.Limit
}

// CacheCleared draws what clearing the cache of a tier did.
func CacheCleared(w io.Writer, rs []api.Result[api.CacheCleared], tier string, o Options) error {
	s := newScreen(w, o)
	for _, r := range rs {
		where := ""
		if len(rs) > 1 {
			where = instance(r.Instance) + "  "
		}
		if r.Error != nil {
			if where != "" {
				s.failed(where, r.Error)
			}
			continue
		}
		verb, n := "cleared", "an unknown number of"
		if r.Value.DryRun {
			verb = "would clear"
		}
		if r.Value.Cleared != nil {
			n = count(r.Value.Cleared.Value())
		}
		text := fmt.Sprintf("%s %s entries of the %s cache", verb, n, clean(tier))
		if p := r.Value.Pattern; p != "" && p != "*" {
			text += " that match " + clean(p)
		}
		for line := range strings.SplitSeq(ansi.Wrap(where+text, s.Width, " "), "\n") {
			s.line(line)
		}
	}
	return s.flush()
}
