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
	return CacheStatusSince(nil)(w, rs, o)
}

// CacheStatusSince draws the caches beside an earlier look at them: the share of
// hits in between, and how it differs from what it was. A server that before
// has not, or whose counters have begun anew, has none.
func CacheStatusSince(before []api.Result[api.CacheStatus]) func(io.Writer, []api.Result[api.CacheStatus], Options) error {
	earlier := map[string]api.CacheStatus{}
	for _, r := range before {
		if r.Error == nil {
			earlier[r.Instance] = r.Value
		}
	}
	return func(w io.Writer, rs []api.Result[api.CacheStatus], o Options) error {
		s := newScreen(w, o)
		if !o.NoHeaders {
			s.heading("Caches", s.cacheVerdicts(rs))
			s.line()
		}
		i := -1 // of the answer whose rows are drawn
		err := fleetTable(s, rs, cacheColumns(), func(c api.CacheStatus) [][]string {
			for i++; rs[i].Error != nil; i++ {
			}
			old, known := earlier[rs[i].Instance]
			return [][]string{s.memoryRow(c.Memory, old.Memory, known), s.redisRow(c.Redis, old.Redis, known)}
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
}

func cacheColumns() []column {
	return []column{
		{name: "CACHE"}, {name: "STATUS"}, {name: "HIT%", right: true}, {name: "NOW", right: true, drop: 1}, {name: "RECENT", right: true, drop: 3},
		{name: "HITS", right: true}, {name: "MISSES", right: true},
		{name: "ENTRIES", right: true, drop: 2}, {name: "SIZE", right: true, drop: 4}, {name: "EVICTED", right: true, drop: 5},
		{name: "EXPIRED", right: true, drop: 6}, {name: "CLEARED", right: true, drop: 7}, {name: "ERRORS", right: true, drop: 8},
	}
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

func (s *screen) memoryRow(m, old api.MemoryHealth, known bool) []string {
	if m.Status == api.Disabled {
		return s.disabledRow("memory")
	}
	st, was, bytes := m.Stats, old.Stats, "–"
	if st.Bytes != nil {
		bytes = size(st.Bytes.Value())
	}
	hits, misses := int64(st.Hits), int64(st.Misses)
	return []string{
		"memory", s.cacheMark(m.Status), hitRate(hits, misses), s.hitsSince(hits, misses, int64(was.Hits), int64(was.Misses), known), s.recently(st.Recent, hits, misses),
		count(hits), count(misses), count(int64(st.Size)) + " of " + count(int64(st.MaxSize)), bytes,
		count(int64(st.Evictions)), count(int64(st.ExpiredEvictions)), told(st.Cleared), "–",
	}
}

func (s *screen) redisRow(r, old api.RedisHealth, known bool) []string {
	if r.Status == api.Disabled {
		return s.disabledRow("redis")
	}
	st, was, memory := r.Stats, old.Stats, "–"
	if st.RedisMemory != "" {
		memory = clean(st.RedisMemory)
	}
	hits, misses := int64(st.CacheHits), int64(st.CacheMisses)
	return []string{
		"redis", s.cacheMark(r.Status), hitRate(hits, misses), s.hitsSince(hits, misses, int64(was.CacheHits), int64(was.CacheMisses), known), s.recently(st.Recent, hits, misses),
		count(hits), count(misses), told(st.Keys), memory, told(st.EvictedKeys), told(st.ExpiredKeys), told(st.Cleared), count(int64(st.CacheErrors)),
	}
}

// told writes a count, or that there is none.
func told(n *api.Count) string {
	if n == nil {
		return "–"
	}
	return count(n.Value())
}

// hitsSince is the share of hits since an earlier look, and by how many points
// it differs from the share until then.
func (s *screen) hitsSince(hits, misses, oldHits, oldMisses int64, known bool) string {
	h, m := hits-oldHits, misses-oldMisses
	if !known || h < 0 || m < 0 || h+m == 0 {
		return "–"
	}
	return s.changed(h, m, oldHits, oldMisses)
}

// recently is the share of hits in the last minutes, and by how many points it
// differs from the share of before.
func (s *screen) recently(r *api.CacheRecent, hits, misses int64) string {
	if r == nil || r.Hits+r.Misses == 0 {
		return "–"
	}
	h, m := int64(r.Hits), int64(r.Misses)
	return s.changed(h, m, hits-h, misses-m)
}

func (s *screen) changed(hits, misses, oldHits, oldMisses int64) string {
	out := hitRate(hits, misses)
	if oldHits+oldMisses <= 0 {
		return out
	}
	points := 100 * (float64(hits)/float64(hits+misses) - float64(oldHits)/float64(oldHits+oldMisses))
	switch {
	case points >= 0.05:
		return out + " " + s.ok.Render(fmt.Sprintf("▲%.1f", points))
	case points <= -0.05:
		return out + " " + s.warn.Render(fmt.Sprintf("▼%.1f", -points))
	}
	return out + " " + s.muted.Render("=0.0")
}

func (s *screen) disabledRow(name string) []string {
	row := []string{name, s.muted.Render("– disabled")}
	for len(row) < 13 {
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
	if len(st.Nodes) > 0 {
		add(Plural(len(st.Nodes), "master"))
	}
	if st.KeyPrefix != "" {
		add("keys " + st.KeyPrefix + ":*")
	}
	if st.RedisConnectedClients != nil {
		add(Plural(int(st.RedisConnectedClients.Value()), "client"))
	}
	if st.Latency != nil {
		add("answers in " + duration(st.Latency.Duration()))
	}
	s.line()
	if len(parts) > 0 {
		s.facts([]fact{{label, s.muted.Render(strings.Join(parts, "  "))}})
	}
	switch {
	case redis.Reason != "":
		s.facts([]fact{{label, s.style(statusVerdict(redis.Status)).Render(clean(redis.Reason))}})
	case st.LastError != "":
		s.facts([]fact{{label, s.bad.Render(clean(st.LastError))}})
	}
}

// prefixes draws the use of the caches by what keys begin with.
func (s *screen) prefixes(rs []api.Result[api.CacheStatus]) error {
	all := 0
	for _, r := range rs {
		all += len(r.Value.Memory.Stats.Prefixes) + len(r.Value.Redis.Stats.Prefixes)
	}
	if all == 0 {
		return nil
	}
	limit, shown := s.rows(10), 0
	s.line()
	cols := []column{
		{name: "PREFIX", flex: true}, {name: "CACHE"}, {name: "HIT%", right: true}, {name: "HITS", right: true}, {name: "MISSES", right: true},
		{name: "ENTRIES", right: true}, {name: "SIZE", right: true, drop: 1}, {name: "EVICTED", right: true, drop: 2},
		{name: "EXPIRED", right: true, drop: 3}, {name: "CLEARED", right: true, drop: 4}, {name: "ERRORS", right: true, drop: 5},
	}
	ok := make([]api.Result[api.CacheStatus], 0, len(rs)) // the others had their line
	for _, r := range rs {
		if r.Error != nil {
			r = api.Result[api.CacheStatus]{Instance: r.Instance}
		}
		ok = append(ok, r)
	}
	err := fleetTable(s, ok, cols, func(c api.CacheStatus) (out [][]string) {
		out = append(prefixRows("memory", c.Memory.Stats.Prefixes, limit), prefixRows("redis", c.Redis.Stats.Prefixes, limit)...)
		shown += len(out)
		return out
	})
	s.leftOut(shown, all, "prefixes")
	return err
}

func prefixRows(tier string, ps []api.CachePrefix, limit int) (out [][]string) {
	for _, p := range ps[:min(limit, len(ps))] {
		entries, bytes := count(int64(p.Entries)), "–"
		if tier == "redis" {
			entries = "–" // it does not know them apart
		}
		if p.Bytes != nil {
			bytes = size(p.Bytes.Value())
		}
		out = append(out, []string{
			clean(p.Prefix), tier, hitRate(int64(p.Hits), int64(p.Misses)), count(int64(p.Hits)), count(int64(p.Misses)), entries, bytes,
			told(p.Evicted), told(p.Expired), told(p.Cleared), told(p.Errors),
		})
	}
	return out
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
