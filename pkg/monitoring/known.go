package monitoring

import (
	"maps"
	"sync"
	"sync/atomic"
)

// known remembers what was made of each key, without a lock for who asks: its map
// is never changed but replaced by a longer one. Keys are of closed sets; of those
// beyond the limit nothing is remembered. The zero known is ready to use.
type known[K comparable, V any] struct {
	byKey atomic.Pointer[map[K]*V]
	mu    sync.Mutex // held while the map is replaced
}

const maxKnown = 1000

// get returns what build makes of a key, which may be part of something large:
// build returns one beside it that is to be kept.
func (k *known[K, V]) get(key K, build func(K) (K, *V)) *V {
	if m := k.byKey.Load(); m != nil {
		if v := (*m)[key]; v != nil {
			return v
		}
	}
	key, v := build(key)
	k.mu.Lock()
	defer k.mu.Unlock()
	grown := map[K]*V{}
	if m := k.byKey.Load(); m != nil {
		if len(*m) >= maxKnown {
			return v
		}
		grown = maps.Clone(*m)
	}
	grown[key] = v
	k.byKey.Store(&grown)
	return v
}
