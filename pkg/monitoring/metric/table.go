package metric

import (
	"hash/maphash"
	"sync/atomic"
)

// table is a hash map that is read without a lock: open addressing over atomic
// pointers, so that one more entry costs one store and not a copy of all.
// Whoever changes it holds a lock of his own.
type table[K comparable, V any] struct {
	seed  maphash.Seed
	slots atomic.Pointer[slots[K, V]] // a power of two of them, never all taken
	used  int                         // guarded by the caller's lock
}

type entry[K comparable, V any] struct {
	hash  uint64
	key   K
	value V
}

type slots[K comparable, V any] []atomic.Pointer[entry[K, V]]

func (t *table[K, V]) init() {
	t.seed = maphash.MakeSeed()
	t.publish(newSlots[K, V](8), 0)
}

// newSlots returns slots with room for n entries.
func newSlots[K comparable, V any](n int) slots[K, V] {
	size := 16
	for size*3 < n*4 {
		size *= 2
	}
	return make(slots[K, V], size)
}

func (t *table[K, V]) publish(s slots[K, V], used int) {
	t.slots.Store(&s)
	t.used = used
}

// find returns the value of a key, or the zero value.
func (t *table[K, V]) find(key K) (value V) {
	hash, slots := maphash.Comparable(t.seed, key), *t.slots.Load()
	for i := hash; ; i++ {
		e := slots[i&uint64(len(slots)-1)].Load()
		if e == nil {
			return value
		}
		if e.hash == hash && e.key == key {
			return e.value
		}
	}
}

// add adds a key that is not there.
func (t *table[K, V]) add(key K, value V) {
	if old := *t.slots.Load(); (t.used+1)*4 > len(old)*3 {
		longer := newSlots[K, V](2 * t.used)
		for i := range old {
			longer.put(old[i].Load())
		}
		t.publish(longer, t.used)
	}
	t.slots.Load().put(&entry[K, V]{maphash.Comparable(t.seed, key), key, value})
	t.used++
}

// keep drops the entries that are not to be kept.
func (t *table[K, V]) keep(kept func(V) bool) {
	old, n := *t.slots.Load(), 0
	fewer := newSlots[K, V](t.used)
	for i := range old {
		if e := old[i].Load(); e != nil && kept(e.value) {
			fewer.put(e)
			n++
		}
	}
	t.publish(fewer, n)
}

func (s slots[K, V]) put(e *entry[K, V]) {
	if e == nil {
		return
	}
	i := e.hash
	for s[i&uint64(len(s)-1)].Load() != nil {
		i++
	}
	s[i&uint64(len(s)-1)].Store(e)
}
