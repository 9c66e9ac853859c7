package tracing

import (
	"encoding/binary"
	"sync"
	"time"
)

// table finds active traces by their id. Each shard has a lock of its own, so
// that the traces of many goroutines begin and end beside one another.
type table struct {
	seed   uint64
	shards [64]shard
}

type shard struct {
	mu          sync.Mutex
	chains      [64]*active
	first, last *active // the oldest first
	_           [40]byte
}

// place returns where a trace is. The seed keeps senders from choosing ids that
// all meet in one chain.
func (t *table) place(id TraceID) (*shard, **active) {
	h := (binary.LittleEndian.Uint64(id[8:]) ^ binary.LittleEndian.Uint64(id[:8]) ^ t.seed) * 0x9e3779b97f4a7c15
	sh := &t.shards[h>>58]
	return sh, &sh.chains[h>>52&63]
}

func (t *table) find(id TraceID) *active {
	sh, chain := t.place(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return (*chain).find(id)
}

// find looks through a chain. The shard's mu is held.
func (a *active) find(id TraceID) *active {
	for ; a != nil && a.trace != id; a = a.chain {
	}
	return a
}

// insert adds a, whose mu is held, unless its trace is there already.
func (t *table) insert(a *active, fresh bool) bool {
	sh, chain := t.place(a.trace)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !fresh && (*chain).find(a.trace) != nil {
		return false
	}
	a.chain, *chain = *chain, a
	if a.prev = sh.last; a.prev == nil {
		sh.first = a
	} else {
		a.prev.next = a
	}
	sh.last = a
	return true
}

// remove takes a out, whose mu is held.
func (t *table) remove(a *active) {
	sh, at := t.place(a.trace)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for ; *at != a; at = &(*at).chain {
	}
	*at = a.chain
	if a.prev == nil {
		sh.first = a.next
	} else {
		a.prev.next = a.next
	}
	if a.next == nil {
		sh.last = a.prev
	} else {
		a.next.prev = a.prev
	}
	a.chain, a.prev, a.next = nil, nil, nil
}

// oldest returns the trace that has been active for the longest time.
func (t *table) oldest() (ref activeRef, ok bool) {
	var since time.Time
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		if a := sh.first; a != nil && (!ok || a.clock.Before(since)) {
			ref, since, ok = activeRef{a, a.trace}, a.clock, true
		}
		sh.mu.Unlock()
	}
	return ref, ok
}
