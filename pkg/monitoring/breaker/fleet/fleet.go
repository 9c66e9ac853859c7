// Package fleet shares the state of circuit breakers between the replicas of a
// service, through Redis or Valkey, without a round trip in a call.
//
// A replica's breakers decide as they always do, by what the replica itself saw.
// What they decide is told behind the caller's back: a move goes into a log, a
// stream of bounded length, and into a table, a hash of each breaker's last
// move. Redis numbers the moves, so all replicas read one history. Each follows
// the log and moves its own breakers accordingly; one that starts late, or that
// missed something, reads the table.
//
// A move by itself counts only if the replica that made it knew the fleet's
// last move of that breaker; otherwise it is refused and the replica goes where
// the fleet is. An operator's order always counts, the last one wins. The
// replica whose recovery time is over first claims the probing by its move to
// half-open; the others stay open meanwhile. Without Redis each replica decides
// alone, and says so.
//
// How the parts move: collect notes what the own breakers did, write tells it,
// follow reads what the others did; the table of entries between them is
// guarded by one lock, under which nothing waits. See docs/decisions/0031.
package fleet

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// Options configures [New].
type Options struct {
	Breakers *breaker.Set // that are shared; their settings are not
	// Connect returns a client of the Redis. It is called twice: reading blocks
	// a connection and must not hold up writing. Run closes both.
	Connect func() (redis.UniversalClient, error)
	Fleet   string        // replicas that say the same here share; it is the name of the keys
	Timeout time.Duration // of one command; 0 means 2s
	MaxLog  int           // moves that the log keeps, 100 or more; 0 means 10,000
	Name    string        // of this replica, for the others' logs; "" means its host's
	Log     *slog.Logger  // nil discards
}

// Fleet is one replica's part in sharing. Make it with [New]; it does nothing
// until [Fleet.Run].
type Fleet struct {
	opts           Options
	log            *slog.Logger
	origin         string // this run of this replica
	table, stream  string // keys
	reader, writer redis.UniversalClient
	born           time.Time
	ran            atomic.Bool
	wake           chan struct{} // there is something to write; of one place

	mu      sync.Mutex
	entries map[string]*entry // guarded by mu; at most breaker.MaxBreakers
	queue   []string          // guarded by mu; names with something to write, each once
	link    link              // guarded by mu
	count   Counts            // guarded by mu

	position // of follow alone
}

// link is how this replica stands to Redis.
type link struct {
	synced bool  // the table was read, and the log is followed
	stale  bool  // writing failed: read the table anew before writing more
	read   error // why it is not synced
	write  error // why the last moves were not told, until some are
	shared bool  // as it was said last
	said   bool  // anything was
	since  time.Time
	epoch  string        // of the table that was read
	clock  time.Duration // Redis's time at f.born, since 1970
}

// Counts are what a replica sent and got since it started.
type Counts struct {
	Sent     int64 // moves that the fleet took
	Unkept   int64 // of them, those for which the table had no room: who starts late does not learn of them
	Refused  int64 // moves that came after another replica's
	Received int64 // other replicas' moves
	Applied  int64 // of them, those that moved a breaker here
	Ignored  int64 // what was in Redis and is none of ours
	Lost     int64 // own moves that came too fast; their outcome was told all the same
	Syncs    int64 // times that the whole table was read
}

// Status is how a replica stands to its fleet.
type Status struct {
	Shared bool
	Why    error     // it is not; nil if Redis was not asked yet
	Since  time.Time // of that; zero if Redis was not asked yet
	Counts
}

// New returns a replica's part in the fleet. It connects to nothing; nonsense
// in the options is an error.
func New(o Options) (*Fleet, error) {
	o.Timeout, o.MaxLog = cmp.Or(o.Timeout, 2*time.Second), cmp.Or(o.MaxLog, 10_000)
	switch {
	case o.Breakers == nil || o.Connect == nil:
		return nil, errors.New("fleet: it needs breakers, and a way to connect")
	case o.Fleet == "":
		return nil, errors.New("fleet: it has no name")
	case o.Timeout < 0:
		return nil, fmt.Errorf("fleet: timeout %v: want more than 0s", o.Timeout)
	case o.MaxLog < 100:
		return nil, fmt.Errorf("fleet: log of %d moves: want 100 or more", o.MaxLog)
	}
	if o.Name == "" {
		o.Name, _ = os.Hostname() // without one its moves have no name
	}
	o.Name = clip(o.Name, 64)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &Fleet{opts: o, log: o.Log, origin: random(), born: time.Now(), wake: make(chan struct{}, 1), entries: map[string]*entry{}}
	f.table, f.stream = keys(o.Fleet)
	var err error
	if f.reader, err = o.Connect(); err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	if f.writer, err = o.Connect(); err != nil {
		return nil, errors.Join(fmt.Errorf("fleet: %w", err), f.reader.Close())
	}
	o.Breakers.SetScope(breaker.Scope{Name: api.ScopeLocal, Note: "redis has not been asked yet: this replica decides alone until then"})
	return f, nil
}

// keys are those of a fleet, in one slot of a Cluster.
func keys(fleet string) (table, stream string) {
	tag := make([]byte, 0, len(fleet))
	for _, c := range []byte(fleet) {
		if c == '{' || c == '}' || c == '%' || c < ' ' {
			tag = fmt.Appendf(tag, "%%%02x", c)
			continue
		}
		tag = append(tag, c)
	}
	return "{" + string(tag) + "}:table", "{" + string(tag) + "}:log"
}

// random is a name that no one else has.
func random() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Run shares the breakers until ctx is done, and returns when all of it has
// ended. The breakers are local again then. It runs once.
func (f *Fleet) Run(ctx context.Context) error {
	if f.ran.Swap(true) {
		return errors.New("fleet: Run was called twice")
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	events := f.opts.Breakers.Subscribe(ctx) // before the breakers are looked at: nothing falls between
	f.opts.Breakers.OnAdd(f.adopt)
	defer f.opts.Breakers.OnAdd(nil)
	f.takeStock()
	var wg sync.WaitGroup
	wg.Go(func() { f.collect(events) })
	wg.Go(func() { f.write(ctx) })
	cut := make(chan error, 1)
	context.AfterFunc(ctx, func() { cut <- f.reader.Close() }) // or it would go on waiting for the log
	f.follow(ctx)
	wg.Wait()
	f.opts.Breakers.SetScope(breaker.Scope{Name: api.ScopeLocal, Note: "sharing has ended"})
	return errors.Join(<-cut, f.writer.Close())
}

// collect notes what the own breakers do. It does nothing slow, so that it is
// seldom too late for an event.
func (f *Fleet) collect(events <-chan breaker.Event) {
	for e := range events {
		if e.Lost > 0 {
			f.mu.Lock()
			f.count.Lost += int64(e.Lost)
			f.mu.Unlock()
			f.takeStock()
		}
		f.note(e)
	}
}

// takeStock notes where all breakers are.
func (f *Fleet) takeStock() {
	all, _ := f.opts.Breakers.Match("") // an empty pattern is never malformed
	for _, b := range all {
		f.note(b.Latest())
	}
}

// say has the breakers, and the log when it changes, tell whether they are
// shared. set changes the link under the lock.
func (f *Fleet) say(set func(*link)) {
	f.mu.Lock()
	l := &f.link
	set(l)
	shared, why := l.synced && l.write == nil, l.why()
	changed := !l.said || l.shared != shared
	l.said, l.shared = true, shared
	if changed {
		l.since = time.Now()
	}
	f.mu.Unlock()
	switch {
	case !shared:
		f.opts.Breakers.SetScope(breaker.Scope{Name: api.ScopeLocal, Note: clip("this replica decides alone until redis is back: "+why.Error(), maxWords)})
		if changed {
			f.log.LogAttrs(context.Background(), slog.LevelWarn, "circuit breakers are local", slog.String("fleet", f.opts.Fleet), slog.Any("error", why))
		}
	case changed:
		f.opts.Breakers.SetScope(breaker.Scope{Name: api.ScopeShared})
		f.log.LogAttrs(context.Background(), slog.LevelInfo, "circuit breakers are shared", slog.String("fleet", f.opts.Fleet))
	}
}

// why is why the breakers are local; nil if they are not.
func (l *link) why() error { return cmp.Or(l.read, l.write) }

// Status tells how this replica stands to its fleet.
func (f *Fleet) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Status{Shared: f.link.shared, Why: f.link.why(), Since: f.link.since, Counts: f.count}
}
