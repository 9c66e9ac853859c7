package fleet

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

//go:embed look.lua
var lookLua string

var look = redis.NewScript(lookLua)

// position is how far follow has read.
type position struct {
	epoch  string // "" before the table was read
	seq    uint64 // of the last move
	cursor string // in the log; beyond seq where it has entries that are not ours
}

const (
	maxRead      = 512         // moves read at once
	lookEvery    = time.Second // how long a loss of moves goes unnoticed: by failover, flush, eviction
	leastBackoff = 100 * time.Millisecond
	mostBackoff  = 2 * time.Second
)

// errStale says that the table must be read anew.
var errStale = errors.New("the log is not where it was")

// follow reads what the fleet does until ctx is done.
func (f *Fleet) follow(ctx context.Context) {
	for backoff := leastBackoff; ctx.Err() == nil; {
		err := f.sync(ctx)
		if err == nil {
			f.say(func(l *link) { l.synced, l.stale, l.read = true, false, nil })
			f.signal()
			if f.Status().Shared {
				backoff = leastBackoff
			}
			err = f.tail(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		wait := 10 * time.Millisecond // a log that is never right does not make us spin
		if !errors.Is(err, errStale) {
			f.say(func(l *link) { l.synced, l.read = false, err })
		}
		if !f.Status().Shared {
			wait, backoff = backoff, min(2*backoff, mostBackoff)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// tail follows the log from the position on. It returns why it cannot.
func (f *Fleet) tail(ctx context.Context) error {
	looked := time.Now()
	for {
		entries, err := f.read(ctx)
		if err != nil {
			return err
		}
		if err := f.takeIn(entries); err != nil {
			return err
		}
		f.mu.Lock()
		stale := f.link.stale
		f.mu.Unlock()
		if stale {
			return errStale
		}
		if len(entries) > 0 && time.Since(looked) < lookEvery {
			continue
		}
		at, err := f.look(ctx, false, "")
		if err != nil {
			return err
		}
		if at.epoch != f.epoch || at.seq < f.seq || len(entries) == 0 && at.seq > f.seq && f.missed(ctx, at.seq) {
			return errStale
		}
		f.mu.Lock()
		f.link.clock = at.clock // Redis's clock may have been set
		f.mu.Unlock()
		looked = time.Now()
	}
}

// missed tells whether moves up to seq are not to be had from the log: it reads
// once more, for they may have come after the last reading.
func (f *Fleet) missed(ctx context.Context, seq uint64) bool {
	entries, err := f.read(ctx)
	return err != nil || f.takeIn(entries) != nil || f.seq < seq
}

// read waits up to a second for the log to grow.
func (f *Fleet) read(ctx context.Context) ([]redis.XMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, lookEvery+f.opts.Timeout)
	defer cancel()
	out, err := f.reader.XRead(ctx, &redis.XReadArgs{Streams: []string{f.stream, f.cursor}, Count: maxRead, Block: lookEvery}).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, err
	case len(out) != 1:
		return nil, errAnswer
	}
	return out[0].Messages, nil
}

// takeIn takes in what the log has, in its order.
func (f *Fleet) takeIn(entries []redis.XMessage) error {
	for _, e := range entries {
		f.cursor = e.ID
		text, _ := e.Values["m"].(string)
		r, err := parseRecord(text)
		if err != nil || e.ID != strconv.FormatUint(r.seq, 10)+"-0" {
			f.mu.Lock()
			f.count.Ignored++
			f.mu.Unlock()
			continue
		}
		if r.epoch != f.epoch || r.seq != f.seq+1 {
			return errStale // trimmed before we read it, or of another life of this Redis
		}
		f.seq = r.seq
		f.receive(r)
	}
	return nil
}

// receive takes in one move of the log.
func (f *Fleet) receive(r record) {
	f.mu.Lock()
	if r.body.Origin != f.origin {
		f.count.Received++
	}
	f.fold(r)
	f.mu.Unlock()
	f.settle(r.body.Name)
}

// sync reads the whole table.
func (f *Fleet) sync(ctx context.Context) error {
	at, err := f.look(ctx, true, "")
	if err == nil && at.epoch == f.epoch && at.seq < f.seq {
		// A failover lost moves. What was lost must not be mistaken for what takes its numbers.
		at, err = f.look(ctx, true, at.epoch)
	}
	if err != nil {
		return err
	}
	f.merge(at)
	for name := range at.table {
		f.settle(name)
	}
	return nil
}

// merge takes in the whole table. In another epoch what was known of the fleet
// counts no more, and what is open here and missing there is told again.
func (f *Fleet) merge(at place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	anew := f.epoch != "" && f.epoch != at.epoch
	f.epoch, f.seq, f.cursor = at.epoch, at.seq, strconv.FormatUint(at.seq, 10)+"-0"
	f.link.epoch, f.link.clock = at.epoch, at.clock
	f.count.Ignored += at.ignored
	f.count.Syncs++
	if anew {
		for name, en := range f.entries {
			en.shared, en.base = record{}, 0
			if _, there := at.table[name]; !there && en.local.Generation != 0 && !plain(en.local) {
				f.enqueue(name, en)
			}
		}
	}
	for _, r := range at.table {
		f.fold(r)
	}
}

// place is where the fleet is.
type place struct {
	epoch   string
	seq     uint64
	clock   time.Duration // Redis's time at Fleet.born, since 1970
	table   map[string]record
	ignored int64 // fields that are not ours
}

// look asks where the fleet is, whole with its table. If it is in the epoch
// end, it begins another.
func (f *Fleet) look(ctx context.Context, whole bool, end string) (place, error) {
	ctx, cancel := context.WithTimeout(ctx, f.opts.Timeout)
	defer cancel()
	asked := time.Now()
	out, err := look.Run(ctx, f.reader, []string{f.table, f.stream}, breaker.MaxBreakers, maxRecord, keepKeys.Milliseconds(), random(), bit(whole), end).Slice()
	if err != nil {
		return place{}, err
	}
	got := time.Now()
	at, now, err := parsePlace(out)
	at.clock = time.Duration(now)*time.Millisecond - asked.Add(got.Sub(asked)/2).Sub(f.born)
	return at, err
}

// parsePlace reads what look.lua gives.
func parsePlace(out []any) (at place, now int64, err error) {
	if len(out) < 4 {
		return at, 0, errAnswer
	}
	epoch, ok := out[0].(string)
	seq, ok2 := out[1].(string)
	clock, ok3 := out[2].(string)
	ignored, ok4 := out[3].(int64)
	if !ok || !ok2 || !ok3 || !ok4 {
		return at, 0, errAnswer
	}
	at = place{epoch: epoch, ignored: ignored, table: map[string]record{}}
	if at.seq, err = strconv.ParseUint(seq, 10, 53); err != nil {
		return at, 0, fmt.Errorf("%w: %w", errAnswer, err)
	}
	if now, err = strconv.ParseInt(clock, 10, 53); err != nil {
		return at, 0, fmt.Errorf("%w: %w", errAnswer, err)
	}
	for i := 4; i+1 < len(out); i += 2 {
		name, _ := out[i].(string)
		text, _ := out[i+1].(string)
		r, err := parseRecord(text)
		if err != nil || r.body.Name != name || r.seq > at.seq {
			at.ignored++
			continue
		}
		at.table[name] = r
	}
	return at, now, nil
}
