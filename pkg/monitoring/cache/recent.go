package cache

import (
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// How far back the recent hit ratio reaches, and how dense its marks are.
const (
	recentSpan  = 5 * time.Minute
	recentEvery = 10 * time.Second
)

// recent remembers the counters of the last minutes, to tell how they change.
// It marks them when it is asked, which scrapes and screens do all the time.
type recent struct {
	mu    sync.Mutex
	marks []mark // guarded by mu; the oldest first
}

type mark struct {
	at           time.Time
	hits, misses int64
}

// since marks the counters and returns what they have grown by since the oldest
// mark within recentSpan, nil at first.
func (r *recent) since(now time.Time, hits, misses int64) *api.CacheRecent {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.marks) > 1 && now.Sub(r.marks[1].at) >= recentSpan {
		r.marks = r.marks[1:]
	}
	if n := len(r.marks); n == 0 || now.Sub(r.marks[n-1].at) >= recentEvery {
		r.marks = append(r.marks, mark{now, hits, misses})
	}
	first := r.marks[0]
	if now.Sub(first.at) < recentEvery {
		return nil // too short to mean anything
	}
	h, m := hits-first.hits, misses-first.misses
	return &api.CacheRecent{Seconds: api.Seconds(now.Sub(first.at)), Hits: api.Count(h), Misses: api.Count(m), HitRate: rate(h, m)}
}
