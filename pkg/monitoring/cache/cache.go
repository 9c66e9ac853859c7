// Package cache keeps answers that are dear to compute: in memory, in Redis, or
// in both.
//
// A tier, [Memory] or [Redis], keeps bytes under text keys, each with a time to
// live of its own. A [Cache] puts values of one type on top of one or more
// tiers, the nearest first, and lets one caller compute what many ask for. A
// cache is never a reason to fail: where Redis does not answer GetOrLoad
// computes, and the tier counts the error and says so in its status.
// [Responses] is the same for whole HTTP answers, after RFC 9111.
package cache

import (
	"context"
	"errors"
	"time"
)

// DefaultTTL is how long a value is kept that was set with ttl 0.
const DefaultTTL = time.Hour

// Forever as a ttl keeps a value until it is evicted, deleted or cleared.
const Forever time.Duration = -1

// ErrNotFound is what a loader returns, alone or wrapped, for a thing that does
// not exist. That it does not is then cached too, for Options.NotFoundTTL.
var ErrNotFound = errors.New("not found")

// Tier is one place where values are kept. Its methods may be called by any
// goroutine.
type Tier interface {
	// Get returns the value of key and whether there is one. The caller must
	// not change it. Empty values are values.
	Get(ctx context.Context, key string) ([]byte, bool, error)

	// Set keeps value, which it copies, for ttl: 0 means [DefaultTTL] or what
	// the tier's options say, below 0 [Forever].
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error

	// Delete removes key; one that is not there is no error.
	Delete(ctx context.Context, key string) error

	// Clear removes the keys that match a glob pattern as Redis has them
	// (* ? [a-z] [^a] \). On an error it returns what was removed before, and
	// the cursor to go on from.
	Clear(ctx context.Context, pattern string, o ClearOptions) (Cleared, error)

	// Keys lists the keys that match a pattern, without their values. Looking
	// makes no key look used.
	Keys(ctx context.Context, q KeyQuery) (KeyPage, error)

	// Close ends the tier's goroutines and connections.
	Close() error

	fetch(ctx context.Context, key string) (*item, error) // nil for none; not counted
	store(ctx context.Context, key string, it *item, ttl time.Duration) error
	note(key string, it *item, o outcome)
	deadline() time.Duration // of one call; 0 for a tier that never waits
	flights() *flights
}

// ClearOptions says how a clearing goes.
type ClearOptions struct {
	DryRun bool          // only count
	Cursor string        // of a clearing that broke off or ran out of Budget; "" begins
	Budget time.Duration // stop after about that long; 0 means at the end
	Tell   func(Cleared) // told after each batch how far it is; nil for no one
}

// Cleared says how far a clearing came.
type Cleared struct {
	Keys     int64   // removed, or counted by a dry run, by this call
	Progress float64 // 0…1, about, of the whole
	Cursor   string  // to go on from; "" at the end
}

// KeyQuery selects keys of a tier.
type KeyQuery struct {
	Pattern string // "" means *
	Limit   int    // at most so many; 0 means 100
	Cursor  string // of the page before; "" begins
}

// KeyPage is a part of the keys. Where Next is not "" there may be more, even
// behind a page that has none.
type KeyPage struct {
	Keys []Key
	Next string
}

// Key is what a tier tells of one of its keys.
type Key struct {
	Name string
	Size int64         // bytes, with what the tier needs beside the value
	TTL  time.Duration // left to live; Forever for no end
	Hits int64         // below 0 where the tier does not count them
	Idle time.Duration // since it was last used; below 0 where the tier does not know
}

// item is a value as tiers pass it around. In memory it also has what Redis
// keeps in the record's head, and perhaps the value itself.
type item struct {
	data   []byte // encoded; with its head only where it is a record
	obj    any    // the value itself, nil where data is to be decoded
	head   head
	typed  bool    // by a [Cache]: head counts, data has none
	size   int64   // of what it takes, beside key and overhead
	prefix *prefix // whose counters are the key's; nil where that is to be looked up
}

// outcome is how looking for a key went.
type outcome int

const (
	hit outcome = iota
	miss
	garbled // there was something that is no value of ours: a miss
)
