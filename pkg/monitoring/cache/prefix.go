package cache

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// maxPrefixes bounds the prefixes that are told apart; the rest share "other".
const (
	maxPrefixes  = 64
	maxPrefixLen = 64
	otherPrefix  = "(other)"
)

// prefixes counts by the text before a key's first colon.
type prefixes struct {
	byName sync.Map // string to *prefix
	mu     sync.Mutex
	count  int // guarded by mu
	other  prefix
}

type prefix struct{ entries, hits, misses atomic.Int64 }

// of returns the counters of a key. A key without a colon is in "other", and
// so are those of a prefix that came when all places were taken.
func (ps *prefixes) of(key string) *prefix {
	name, _, ok := strings.Cut(key, ":")
	if !ok || len(name) > maxPrefixLen {
		return &ps.other
	}
	if p, ok := ps.byName.Load(name); ok {
		return p.(*prefix)
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p, ok := ps.byName.Load(name); ok {
		return p.(*prefix)
	}
	if ps.count == maxPrefixes {
		return &ps.other
	}
	ps.count++
	p := new(prefix)
	ps.byName.Store(strings.Clone(name), p)
	return p
}

// list returns the counters, the most used first.
func (ps *prefixes) list() []api.CachePrefix {
	var out []api.CachePrefix
	add := func(name string, p *prefix) {
		out = append(out, api.CachePrefix{
			Prefix: name, Entries: api.Count(p.entries.Load()), Hits: api.Count(p.hits.Load()), Misses: api.Count(p.misses.Load()),
		})
	}
	ps.byName.Range(func(name, p any) bool {
		add(name.(string), p.(*prefix))
		return true
	})
	if o := &ps.other; o.entries.Load() != 0 || o.hits.Load() != 0 || o.misses.Load() != 0 {
		add(otherPrefix, o)
	}
	slices.SortFunc(out, func(a, b api.CachePrefix) int {
		if d := (b.Hits + b.Misses) - (a.Hits + a.Misses); d != 0 {
			return int(d)
		}
		return strings.Compare(a.Prefix, b.Prefix)
	})
	return out
}
