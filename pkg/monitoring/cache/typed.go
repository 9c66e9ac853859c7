package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"
)

// Options configures a [Cache]. The zero value is ready to use.
type Options[T any] struct {
	Prefix         string        // before each key, with a colon: what statistics and clearing go by; "" for none
	TTL            time.Duration // of values set with ttl 0; 0 means DefaultTTL, below 0 Forever
	Stale          time.Duration // how much longer a value is served while one caller's load renews it; 0 for not
	NotFoundTTL    time.Duration // how long an ErrNotFound is kept; 0 means 10s, below 0 not at all
	MemoryTTL      time.Duration // bound of the time in a tier before the last, which other replicas do not clear; 0 for none
	RefreshTimeout time.Duration // of a load behind a stale value; 0 means 30s

	Codec   Codec[T] // the zero value means JSON
	Version uint8    // of T: values written under another are misses
	Shared  bool     // callers never change what they get, so memory may hand the same value to all
}

// Cache keeps values of one type in tiers, the nearest first. Nil and zero
// values are values like any other. It is safe for concurrent use.
//
// A memory tier hands out values without decoding them where no caller can
// change another's: of a T of numbers, texts and structs of these, or where
// Options.Shared promises it. Else each caller gets a copy of its own.
type Cache[T any] struct {
	opts  Options[T]
	tiers []Tier
	keep  bool // values themselves in memory
	plain bool // and their size is known without encoding them

	renewals *renewals // nil without Options.Stale
}

// New returns a cache over tiers, which stay their owner's to close. It starts
// nothing. No tier, and nonsense in the options, is an error.
func New[T any](o Options[T], tiers ...Tier) (*Cache[T], error) {
	if len(tiers) == 0 {
		return nil, errors.New("cache: want at least one tier")
	}
	if slices.ContainsFunc(tiers, func(t Tier) bool { return t == nil || reflect.ValueOf(t).IsNil() }) {
		return nil, errors.New("cache: a tier is nil")
	}
	if o.Stale < 0 || o.MemoryTTL < 0 || o.RefreshTimeout < 0 {
		return nil, fmt.Errorf("cache: stale %v, memory ttl %v, refresh timeout %v: want 0 or more of each", o.Stale, o.MemoryTTL, o.RefreshTimeout)
	}
	if (o.Codec.Encode == nil) != (o.Codec.Decode == nil) {
		return nil, errors.New("cache: a codec needs both Encode and Decode")
	}
	return build(o, tiers), nil
}

func build[T any](o Options[T], tiers []Tier) *Cache[T] {
	if o.Codec.Encode == nil {
		o.Codec = JSON[T]()
	}
	if o.Prefix != "" {
		o.Prefix += ":"
	}
	o.TTL = cmp.Or(o.TTL, DefaultTTL)
	o.NotFoundTTL = cmp.Or(o.NotFoundTTL, 10*time.Second)
	o.RefreshTimeout = cmp.Or(o.RefreshTimeout, 30*time.Second)
	c := &Cache[T]{opts: o, tiers: tiers, plain: isPlain(reflect.TypeFor[T]())}
	c.keep = c.plain || o.Shared
	if o.Stale > 0 {
		c.renewals = newRenewals()
	}
	return c
}

// Get returns the value of key and whether there is one. Where the cache knows
// that there is no such thing the error wraps [ErrNotFound]; another error is
// that of a tier, and no nearer one had the value.
func (c *Cache[T]) Get(ctx context.Context, key string) (v T, ok bool, err error) {
	f := c.find(ctx, c.opts.Prefix+key, 0, len(c.tiers), true)
	switch f.state {
	case found, stale:
		return f.value, true, nil
	case absent:
		return v, false, notFound(key)
	}
	return v, false, f.err
}

// Set keeps a value in all tiers for ttl: 0 means Options.TTL, below 0
// [Forever]. A value that cannot be encoded is an error, and so is what a tier
// answers; the other tiers have the value then.
func (c *Cache[T]) Set(ctx context.Context, key string, v T, ttl time.Duration) error {
	w, err := c.wrap(v, cmp.Or(ttl, c.opts.TTL))
	if err != nil {
		return fmt.Errorf("cache %q: %w", key, err)
	}
	return c.put(ctx, c.opts.Prefix+key, w, len(c.tiers), 0)
}

// Delete removes a key from all tiers.
func (c *Cache[T]) Delete(ctx context.Context, key string) error {
	var errs []error
	for _, t := range slices.Backward(c.tiers) { // or a near one would be filled again from a far one
		errs = append(errs, t.Delete(ctx, c.opts.Prefix+key))
	}
	return errors.Join(errs...)
}

// Clear removes the keys below Options.Prefix that match a pattern from all
// tiers, and returns of how many copies. Other replicas' memory keeps theirs:
// see Options.MemoryTTL.
func (c *Cache[T]) Clear(ctx context.Context, pattern string) (n int64, err error) {
	var errs []error
	for _, t := range slices.Backward(c.tiers) {
		done, err := t.Clear(ctx, escape(c.opts.Prefix)+pattern, ClearOptions{})
		n += done.Keys
		errs = append(errs, err)
	}
	return n, errors.Join(errs...)
}

// Close ends the loads behind stale values and waits for them. The cache works
// on without such loads. The tiers are their owner's to close.
func (c *Cache[T]) Close() error {
	if c.renewals != nil {
		c.renewals.close()
	}
	return nil
}

// finding is what looking for a key came to.
type finding[T any] struct {
	state findingState
	value T
	item  *item // that the value is made of
	err   error // of a tier that could not be asked
}

type findingState int

const (
	missing findingState = iota
	found
	stale
	absent
)

// find looks into the tiers from i up to n, the nearest first, and gives the
// nearer ones what a farther one had.
func (c *Cache[T]) find(ctx context.Context, key string, i, n int, counted bool) (f finding[T]) {
	for ; i < n; i++ {
		it, err := c.tiers[i].fetch(ctx, key)
		if err != nil {
			f.err = err // counted by the tier
			continue
		}
		got, how := c.unwrap(it)
		if counted {
			c.tiers[i].note(key, it, how)
		}
		if how == hit {
			if i > 0 {
				c.copyNearer(ctx, key, got, i)
			}
			return got
		}
	}
	return f
}

// unwrap makes a value of what a tier had.
func (c *Cache[T]) unwrap(it *item) (f finding[T], how outcome) {
	if it == nil {
		return f, miss
	}
	h, payload, ok := it.head, it.data, true
	if !it.typed {
		h, payload, ok = parseRecord(it.data)
	}
	if !ok || h.version != c.opts.Version {
		return f, garbled
	}
	f.item = it
	now := int64(0)
	if h.fresh != 0 || !it.typed {
		now = time.Now().UnixMilli()
	}
	switch {
	case !it.typed && h.ends != 0 && now >= h.ends:
		return f, miss // Redis is about to drop it; memory has by itself
	case h.absent:
		f.state = absent
		return f, hit
	case it.obj != nil:
		f.value, ok = it.obj.(T)
	case it.typed && payload == nil:
		ok = false // kept as another type's value, a nil interface
	default:
		var err error
		f.value, err = c.opts.Codec.try(payload)
		ok = err == nil
	}
	if !ok {
		return finding[T]{}, garbled
	}
	f.state = found
	if h.fresh != 0 && now >= h.fresh {
		f.state = stale
	}
	return f, hit
}

// written is a value ready for each kind of tier.
type written struct {
	head    head
	payload []byte // nil where only memory tiers want it, as obj
	obj     any
	size    int64
	ttl     time.Duration
}

// wrap prepares a value that is fresh for ttl. It is encoded unless memory can
// hold it as it is and no other tier is there.
func (c *Cache[T]) wrap(v T, ttl time.Duration) (w written, err error) {
	now := time.Now()
	w.ttl = ttl
	w.head = head{version: c.opts.Version}
	if c.opts.Stale > 0 && ttl >= 0 {
		w.head.fresh = until(now, ttl)
		w.ttl = ttl + min(c.opts.Stale, 1<<62-ttl)
	}
	w.head.ends = until(now, w.ttl)
	if c.keep {
		w.obj = v
	}
	if c.plain && w.obj != nil {
		w.size = plainSize(w.obj)
		if !slices.ContainsFunc(c.tiers, remote) {
			return w, nil
		}
	}
	if w.payload, err = c.opts.Codec.Encode(v); err != nil {
		return w, err
	}
	if w.payload == nil {
		w.payload = []byte{}
	}
	if w.size == 0 {
		w.size = int64(len(w.payload))
	}
	return w, nil
}

func remote(t Tier) bool { return t.deadline() > 0 }

// put keeps what was wrapped in the first n tiers. Of a far tier's deadline a
// part may be spent already.
func (c *Cache[T]) put(ctx context.Context, key string, w written, n int, spent time.Duration) error {
	var first error
	for i, t := range c.tiers[:n] {
		it, ttl := &item{head: w.head, size: w.size, typed: true, obj: w.obj}, w.ttl
		if c.opts.MemoryTTL > 0 && i < len(c.tiers)-1 && (ttl < 0 || ttl > c.opts.MemoryTTL) {
			ttl = c.opts.MemoryTTL
		}
		var err error
		switch {
		case remote(t):
			it.data = append(w.head.append(make([]byte, 0, recordHeadLen+len(w.payload))), w.payload...)
			err = storeWithin(ctx, t, key, it, ttl, t.deadline()-spent)
		case w.obj == nil:
			it.data = w.payload
			fallthrough
		default:
			err = t.store(ctx, key, it, ttl)
		}
		if err != nil && first == nil {
			first = err
		}
	}
	return first
}

func storeWithin(ctx context.Context, t Tier, key string, it *item, ttl, left time.Duration) error {
	if left <= 0 {
		return context.DeadlineExceeded
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	return t.store(ctx, key, it, ttl)
}

// copyNearer keeps in the first n tiers what the next one had, no longer than
// there.
func (c *Cache[T]) copyNearer(ctx context.Context, key string, f finding[T], n int) {
	h, payload := f.item.head, f.item.data
	if !f.item.typed {
		h, payload, _ = parseRecord(f.item.data)
	}
	w := written{head: h, payload: payload, size: int64(len(payload)), ttl: h.remaining(time.Now())}
	if w.ttl == 0 {
		return
	}
	if c.keep && !h.absent {
		w.obj = f.value
	}
	_ = c.put(ctx, key, w, n, 0) // counted by the tier
}

func notFound(key string) error { return fmt.Errorf("cache %q: %w", key, ErrNotFound) }
