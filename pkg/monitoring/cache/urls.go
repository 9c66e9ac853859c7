package cache

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

// passFor is how long callers of a URL whose answer is not kept neither look
// nor wait for one.
const passFor = 10 * time.Second

// urls is what a response cache remembers of URLs beside their answers, in a
// fixed room: a newer key takes the place of an older one of the same slot,
// which then costs a look or a wait again.
type urls struct {
	seed  maphash.Seed
	slots [4096]urlSlot
}

type urlSlot struct {
	unkept  atomic.Uint64 // hash of the key whose answers are not kept
	until   atomic.Int64  // and until when that is taken to be so, Unix milliseconds
	changes atomic.Uint64 // how many requests may have changed answers of any key of the slot
}

func (u *urls) of(key string) (*urlSlot, uint64) {
	sum := maphash.String(u.seed, key)
	return &u.slots[sum%uint64(len(u.slots))], sum
}

// pass notes that the answers of a key are not kept.
func (u *urls) pass(key string) {
	s, sum := u.of(key)
	s.unkept.Store(sum)
	s.until.Store(time.Now().Add(passFor).UnixMilli())
}

func (u *urls) passing(key string) bool {
	s, sum := u.of(key)
	return s.unkept.Load() == sum && s.until.Load() > time.Now().UnixMilli()
}

// change notes that the answers of a key may be others from now on.
func (u *urls) change(key string) {
	s, _ := u.of(key)
	s.changes.Add(1)
}

// changes grows with each change of a key.
func (u *urls) changes(key string) uint64 {
	s, _ := u.of(key)
	return s.changes.Load()
}
