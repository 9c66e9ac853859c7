package cache

import (
	"cmp"
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

// prefix counts the keys that begin alike. entries and bytes go down too.
type prefix struct {
	entries, bytes                atomic.Int64
	hits, misses, errors, garbled atomic.Int64
	evicted, expired, cleared     atomic.Int64
}

func (p *prefix) note(o outcome) {
	switch o {
	case hit:
		p.hits.Add(1)
	case garbled:
		p.garbled.Add(1)
		p.misses.Add(1)
	default:
		p.misses.Add(1)
	}
}

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

// sums are the counters of all prefixes together.
type sums struct {
	Bytes, Hits, Misses, Errors, Garbled, Evicted, Expired, Cleared int64
}

func (ps *prefixes) sum() (s sums) {
	ps.each(func(_ string, p *prefix) {
		s.Bytes += p.bytes.Load()
		s.Hits += p.hits.Load()
		s.Misses += p.misses.Load()
		s.Errors += p.errors.Load()
		s.Garbled += p.garbled.Load()
		s.Evicted += p.evicted.Load()
		s.Expired += p.expired.Load()
		s.Cleared += p.cleared.Load()
	})
	return s
}

func (ps *prefixes) each(f func(string, *prefix)) {
	ps.byName.Range(func(name, p any) bool {
		f(name.(string), p.(*prefix))
		return true
	})
	f(otherPrefix, &ps.other)
}

// list returns the counters, the most used first. A tier that holds no entries
// itself tells none.
func (ps *prefixes) list(holds bool) []api.CachePrefix {
	var out []api.CachePrefix
	ps.each(func(name string, p *prefix) {
		row := api.CachePrefix{
			Prefix: name, Entries: api.Count(p.entries.Load()), Hits: api.Count(p.hits.Load()), Misses: api.Count(p.misses.Load()),
			Cleared: api.CountOf(p.cleared.Load()),
		}
		if holds {
			row.Bytes = api.CountOf(p.bytes.Load())
			row.Evicted, row.Expired = api.CountOf(p.evicted.Load()), api.CountOf(p.expired.Load())
		} else {
			row.Errors = api.CountOf(p.errors.Load())
		}
		if name == otherPrefix && row.Entries+row.Hits+row.Misses+api.Count(row.Errors.Value()) == 0 {
			return
		}
		out = append(out, row)
	})
	slices.SortFunc(out, func(a, b api.CachePrefix) int {
		return cmp.Or(cmp.Compare(b.Hits+b.Misses, a.Hits+a.Misses), strings.Compare(a.Prefix, b.Prefix))
	})
	return out
}

// rate is the share of hits, 0 where nothing was asked.
func rate(hits, misses int64) float64 {
	if hits+misses == 0 {
		return 0
	}
	return float64(hits) / float64(hits+misses)
}
