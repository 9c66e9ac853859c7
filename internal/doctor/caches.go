package doctor

import (
	"cmp"
	"fmt"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	// thrash: at least fewestEvictions and as many as half of the misses, from a
	// cache that is full and hits less than every second time. Each alone is
	// usual.
	fewestEvictions = 10
	thrashHits      = 0.5
	full            = 0.9
	// slowPing is ten times what Redis takes across a data centre.
	slowPing = 50 * time.Millisecond
	// redisFails is a share of lookups that says that it is not one lost packet.
	redisFails  = 0.01
	fewestAsked = 20
)

const fromCache = "cache/status"

var cacheRules = []Rule{
	{ID: "cache-thrash", About: "the memory cache evicts what is asked for again", Looks: 2, judge: cacheThrash},
	{ID: "redis-down", About: "Redis does not answer", Looks: 1, quick: true, judge: redisDown},
	{ID: "redis-slow", About: "Redis answers slowly", Looks: 1, quick: true, judge: redisSlow},
	{ID: "redis-errors", About: "lookups in Redis fail", Looks: 2, judge: redisErrors},
	{ID: "redis-evicts", About: "Redis is full and evicts keys", Looks: 2, judge: redisEvicts},
}

// caches are the caches at the second look and at the first, which may be nil.
func (j *judge) caches() (is, was *api.CacheStatus) {
	if h := j.Now.Health; h != nil {
		is = h.Cache
	}
	if h := j.Before.Health; h != nil {
		was = h.Cache
	}
	if is == nil {
		j.cannot("the server tells of no caches")
	}
	return is, was
}

func cacheThrash(j *judge) {
	c, before := j.caches()
	if c == nil || before == nil {
		return
	}
	is, was := &c.Memory.Stats, &before.Memory.Stats
	evicted, misses, hits := is.Evictions-was.Evictions, is.Misses-was.Misses, is.Hits-was.Hits
	if evicted < fewestEvictions || 2*evicted < misses || float64(hits) >= thrashHits*float64(hits+misses) {
		return
	}
	why := ""
	switch {
	case is.MaxBytes.Value() > 0 && float64(is.Bytes.Value()) >= full*float64(is.MaxBytes.Value()):
		why = fmt.Sprintf("its %s are full", bytes(is.MaxBytes.Value()))
	case is.MaxSize > 0 && float64(is.Size) >= full*float64(is.MaxSize):
		why = fmt.Sprintf("it may hold no more than %d entries", is.MaxSize)
	default:
		return // something else empties it
	}
	f := finding{Finding: api.Finding{
		Subject: "memory", Severity: api.SeverityWarning, Confidence: 0.85,
		Cause: "The memory cache thrashes: " + why + ", and what it evicts is asked for again.",
		Evidence: []api.Evidence{observed(fromCache, "in %s %d hits, %d misses, %d evicted for want of room; %d entries, %s", short(j.apart()), hits, misses, evicted,
			is.Size, bytes(is.Bytes.Value()))},
		Next: "pulsectl cache status",
	}}
	if p := mostEvicting(is.Prefixes, was.Prefixes); p != "" {
		f.Evidence = append(f.Evidence, observed(fromCache, "most of it keys that begin with %s:", p))
	}
	j.find(f)
}

// mostEvicting is the prefix that lost most entries for want of room.
func mostEvicting(is, was []api.CachePrefix) string {
	lost := map[string]int{}
	for _, p := range is {
		lost[p.Prefix] = int(p.Evicted.Value())
	}
	for _, p := range was {
		lost[p.Prefix] -= int(p.Evicted.Value())
	}
	name, _ := most(lost)
	return name
}

// redis is what the server tells of its Redis, nil if it uses none.
func (j *judge) redis() (is, was *api.RedisHealth) {
	c, before := j.caches()
	if c == nil || c.Redis.Status == api.Disabled || c.Redis.Status == "" {
		return nil, nil
	}
	if before != nil {
		was = &before.Redis
	}
	return &c.Redis, was
}

func redisDown(j *judge) {
	r, _ := j.redis()
	if r == nil || r.Status == api.Healthy {
		return
	}
	f := finding{Finding: api.Finding{
		Subject: "redis", Severity: api.SeverityCritical, Confidence: 0.95,
		Cause: fmt.Sprintf("Redis is %s: %s.", r.Status, cmp.Or(r.Reason, r.Stats.LastError, "it does not answer")), Next: "pulsectl cache info redis",
	}, dependencies: []string{"redis"}}
	if r.Status == api.Degraded {
		f.Severity = api.SeverityWarning
	}
	f.Evidence = []api.Evidence{observed(fromCache, "connected: %v, %s of lookups", r.Connected, plural(int64(r.Stats.CacheErrors), "error"))}
	for _, n := range r.Stats.Nodes {
		if n.Status != api.Healthy {
			f.Evidence = append(f.Evidence, observed(fromCache, "node %s: %s", n.Addr, cmp.Or(n.Error, n.Status)))
		}
	}
	if r.Stats.RedisURL != "" {
		f.Evidence = append(f.Evidence, observed(fromCache, "at %s", r.Stats.RedisURL))
	}
	j.find(f)
}

func redisSlow(j *judge) {
	r, was := j.redis()
	if r == nil || r.Stats.Latency == nil {
		return
	}
	if was != nil && was.Stats.Latency != nil && was.Stats.Latency.Duration() < slowPing {
		return // it was slow once
	}
	if r.Stats.Latency.Duration() < slowPing {
		return
	}
	j.find(finding{Finding: api.Finding{
		Subject: "redis", Severity: api.SeverityWarning, Confidence: 0.7, Cause: fmt.Sprintf("Redis takes %s to answer a ping.", shortSeconds(*r.Stats.Latency)),
		Evidence: []api.Evidence{observed(fromCache, "latency %s, more than %s", shortSeconds(*r.Stats.Latency), short(slowPing))}, Next: "pulsectl cache info redis",
	}, dependencies: []string{"redis"}})
}

func redisErrors(j *judge) {
	r, was := j.redis()
	if r == nil || was == nil {
		return
	}
	failed := r.Stats.CacheErrors - was.Stats.CacheErrors
	asked := r.Stats.CacheHits + r.Stats.CacheMisses - was.Stats.CacheHits - was.Stats.CacheMisses + failed
	if asked < fewestAsked {
		j.cannot("fewer than %d lookups between the looks", fewestAsked)
		return
	}
	if low, _ := sure(int64(failed), int64(asked)); low < redisFails {
		return
	}
	j.find(finding{Finding: api.Finding{
		Subject: "redis", Severity: api.SeverityWarning, Confidence: 0.9, Cause: "Lookups in Redis fail.",
		Evidence: []api.Evidence{observed(fromCache, "%d of %d in %s: %s", failed, asked, short(j.apart()), cmp.Or(r.Stats.LastError, "it does not tell why"))},
		Next:     "pulsectl cache status",
	}, dependencies: []string{"redis"}})
}

func redisEvicts(j *judge) {
	r, was := j.redis()
	if r == nil || was == nil || r.Stats.EvictedKeys == nil || was.Stats.EvictedKeys == nil {
		return
	}
	n := r.Stats.EvictedKeys.Value() - was.Stats.EvictedKeys.Value()
	if n < fewestEvictions {
		return
	}
	f := finding{Finding: api.Finding{
		Subject: "redis", Severity: api.SeverityNotice, Confidence: 0.9, Cause: "Redis is full: it evicts keys that have time left.",
		Evidence: []api.Evidence{observed(fromCache, "%d keys in %s; it uses %s", n, short(j.apart()), cmp.Or(r.Stats.RedisMemory, "what it may"))}, Next: "pulsectl cache info redis",
	}, dependencies: []string{"redis"}}
	if r.Stats.MaxMemory.Value() > 0 {
		f.Evidence = append(f.Evidence, observed(fromCache, "maxmemory %s, policy %s", bytes(r.Stats.MaxMemory.Value()), r.Stats.MaxMemoryPolicy))
	}
	if hits, asked := r.Stats.CacheHits-was.Stats.CacheHits, r.Stats.CacheHits+r.Stats.CacheMisses-was.Stats.CacheHits-was.Stats.CacheMisses; asked >= fewestAsked &&
		float64(hits) < thrashHits*float64(asked) {
		f.Severity = api.SeverityWarning
		f.Evidence = append(f.Evidence, observed(fromCache, "only %d of %d lookups hit", hits, asked))
	}
	j.find(f)
}
