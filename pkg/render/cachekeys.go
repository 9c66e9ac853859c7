package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// CacheKeys draws keys of a cache: size, time left to live, hits.
func CacheKeys(w io.Writer, rs []api.Result[api.CacheKeys], o Options) error {
	s := newScreen(w, o)
	cols := []column{
		{name: "KEY", flex: true}, {name: "SIZE", right: true}, {name: "TTL", right: true},
		{name: "HITS", right: true, drop: 1}, {name: "IDLE", right: true, drop: 2},
	}
	listed := 0
	err := fleetTable(s, rs, cols, func(ks api.CacheKeys) (out [][]string) {
		for _, k := range ks.Keys {
			ttl, idle := "–", "–"
			if k.TTL != nil {
				ttl = age(k.TTL.Duration())
			}
			if k.Idle != nil {
				idle = age(k.Idle.Duration())
			}
			out = append(out, []string{clean(k.Key), size(int64(k.Size)), ttl, told(k.Hits), idle})
		}
		listed += len(out)
		return out
	})
	if err != nil {
		return err
	}
	s.moreKeys(rs, listed)
	return s.flush()
}

// moreKeys says of a list that was empty that it was, and of one that was cut
// off how it goes on.
func (s *screen) moreKeys(rs []api.Result[api.CacheKeys], listed int) {
	if listed == 0 && answered(rs) > 0 {
		s.line(s.muted.Render("no keys match"))
	}
	for _, r := range rs {
		if r.Error != nil || r.Value.Next == nil {
			continue
		}
		where := ""
		if len(rs) > 1 {
			where = instance(r.Instance) + "  "
		}
		s.line()
		for line := range strings.SplitSeq(wrap(s.Width, where+"there are more;", "--limit 0 lists all,", "--cursor "+clean(*r.Value.Next)+" goes on"), "\n") {
			s.line(s.muted.Render(line))
		}
	}
}

// RedisInfo draws what each server's Redis says of itself.
func RedisInfo(w io.Writer, rs []api.Result[api.RedisStats], o Options) error {
	return screens(w, rs, o, func(s *screen, where string, st api.RedisStats) error {
		if !o.NoHeaders {
			s.heading(titled("Redis", where), clean(st.RedisURL))
			s.line()
		}
		s.facts(redisLines(st))
		if len(st.Nodes) == 0 {
			return nil
		}
		s.line()
		cols := []column{
			{name: "MASTER", flex: true}, {name: "STATUS"}, {name: "KEYS", right: true}, {name: "MEMORY", right: true}, {name: "LATENCY", right: true, drop: 1},
		}
		if err := s.table(cols, s.nodeRows(st.Nodes)); err != nil {
			return err
		}
		for _, n := range st.Nodes {
			if n.Error != "" {
				s.facts([]fact{{clean(n.Addr), s.bad.Render(clean(n.Error))}})
			}
		}
		return nil
	})
}

func (s *screen) nodeRows(nodes []api.RedisNode) (rows [][]string) {
	for _, n := range nodes {
		memory, latency := "–", "–"
		if n.Memory != nil {
			memory = size(n.Memory.Value())
		}
		if n.Latency != nil {
			latency = duration(n.Latency.Duration())
		}
		rows = append(rows, []string{clean(n.Addr), s.cacheMark(n.Status), told(n.Keys), memory, latency})
	}
	return rows
}

func redisLines(st api.RedisStats) (out []fact) {
	add := func(label, text string) {
		if text = strings.TrimSpace(text); text != "" {
			out = append(out, fact{label, clean(text)})
		}
	}
	add("version", strings.TrimSpace(st.RedisVersion+"  "+st.Mode+"  "+st.Role))
	if st.Latency != nil {
		add("latency", duration(st.Latency.Duration()))
	}
	memory := st.RedisMemory
	if n := st.MaxMemory; n != nil && n.Value() > 0 {
		memory += " of " + size(n.Value())
	}
	add("memory", memory+"  "+st.MaxMemoryPolicy)
	var keys []string
	for _, k := range []struct {
		n    *api.Count
		what string
	}{{st.Keys, "in the database"}, {st.EvictedKeys, "evicted"}, {st.ExpiredKeys, "expired"}} {
		if k.n != nil {
			keys = append(keys, told(k.n)+" "+k.what)
		}
	}
	add("keys", strings.Join(keys, "  "))
	clients := told(st.RedisConnectedClients)
	if st.RedisTotalCommands != nil {
		clients += "  " + told(st.RedisTotalCommands) + " commands so far"
	}
	add("clients", clients)
	if st.KeyPrefix != "" {
		kept := ""
		if st.DefaultTTL > 0 {
			kept = "  kept " + age(st.DefaultTTL.Duration()) + " unless told otherwise"
		}
		add("prefix", st.KeyPrefix+":*"+kept)
	}
	use := fmt.Sprintf("%s %% hits  %s hits  %s misses  %s errors", hitRate(int64(st.CacheHits), int64(st.CacheMisses)),
		count(int64(st.CacheHits)), count(int64(st.CacheMisses)), count(int64(st.CacheErrors)))
	if st.Cleared != nil {
		use += "  " + told(st.Cleared) + " cleared"
	}
	if st.Garbled != nil && st.Garbled.Value() > 0 {
		use += "  " + told(st.Garbled) + " unreadable"
	}
	add("use", use)
	return out
}
