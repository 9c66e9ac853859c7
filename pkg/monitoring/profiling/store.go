package profiling

import (
	"cmp"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// StoreOptions bounds a [Store]. The zero value is ready to use.
type StoreOptions struct {
	MaxBytes int64 // of profiles kept; 0 means 64 MiB
	MaxCount int   // profiles kept; 0 means 1000
	Log      Log   // where they are written, too; nil means nowhere
}

// Log is where a [Store] writes its profiles, to find them again when it
// begins. Its methods are called with no lock held, Keep and Forget from many
// goroutines. An error means that the profile is in memory alone, or comes
// again after a restart; the store goes on.
type Log interface {
	Keep(summary api.Profile, data []byte) error
	Forget(id string) error
	// Replay calls f with each profile that is kept, oldest first.
	Replay(f func(summary api.Profile, data []byte, stored time.Time))
}

// Query selects profiles of a [Store]. The zero value means the newest ten.
type Query struct {
	Type, Operation, Trigger, TraceID string    // exact; "" means any
	Since                             time.Time // ended at this time or later; zero means any
	Limit                             int       // 0 means 10
}

func (q *Query) match(p *api.Profile) bool {
	return (q.Type == "" || q.Type == p.Type) &&
		(q.Operation == "" || q.Operation == p.OperationName) &&
		(q.Trigger == "" || q.Trigger == p.Trigger) &&
		(q.TraceID == "" || q.TraceID == p.TraceID) &&
		(q.Since.IsZero() || !ended(p).Before(q.Since))
}

func ended(p *api.Profile) time.Time {
	if p.StartTime == nil {
		return time.Time{}
	}
	return p.StartTime.Add(p.Duration.Duration())
}

// Store keeps the newest profiles within a bound of bytes and of number. When
// it is full the oldest goes first, but the slowest of each operation goes
// last. It is safe for concurrent use.
type Store struct {
	opts StoreOptions

	mu       sync.Mutex
	entries  []*entry // oldest first
	byID     map[string]*entry
	slowest  map[string]*entry // by operation
	bytes    int64
	added    int64
	duration time.Duration // of all profiles ever added
	dropped  map[string]api.Count
}

type entry struct {
	summary api.Profile // never changed once stored
	data    []byte
	stored  time.Time
	size    int64 // of data and, roughly, of summary
}

func newEntry(p api.Profile, data []byte, stored time.Time) *entry {
	return &entry{p, data, stored, int64(len(data)) + weight(&p)}
}

// weight is about how many bytes a summary takes: its texts, and what else there
// is of what it has many of.
func weight(p *api.Profile) int64 {
	n := 2048 + len(p.OperationName) + len(p.Note)
	for _, f := range p.TopFunctions {
		n += 64 + len(f.FilenameFunction)
	}
	for k, v := range p.Labels {
		n += 64 + len(k) + len(v)
	}
	n += 160 * (len(p.MemoryUsage) + len(p.CustomTimings))
	if p.Explanation == nil {
		return int64(n)
	}
	n += 32 * len(p.Explanation.Timeline)
	for _, state := range p.Explanation.States {
		for _, stack := range state.Stacks {
			n += 64
			for _, frame := range stack.Frames {
				n += 16 + len(frame)
			}
		}
	}
	return int64(n)
}

// NewStore returns a store of what its log has, empty without one.
func NewStore(o StoreOptions) *Store {
	o.MaxBytes, o.MaxCount = cmp.Or(o.MaxBytes, 64<<20), cmp.Or(o.MaxCount, 1000)
	s := &Store{opts: o, byID: map[string]*entry{}, slowest: map[string]*entry{}, dropped: map[string]api.Count{}}
	if o.Log != nil {
		var gone []string
		o.Log.Replay(func(p api.Profile, data []byte, stored time.Time) {
			gone = append(gone, s.add(newEntry(p, data, stored))...)
		})
		s.forget(gone)
	}
	return s
}

// NewID returns an id for a profile: opaque, unique and safe in a URL.
func NewID() string { return "p_" + rand.Text() }

// Add keeps a profile under its summary's id. It tells whether there was room,
// which is only not so for one that is larger than the store.
func (s *Store) Add(p api.Profile, data []byte) bool {
	e := newEntry(p, data, time.Now())
	if e.size > s.opts.MaxBytes {
		s.Drop("too_large")
		return false
	}
	gone := s.add(e)
	if s.opts.Log != nil {
		_ = s.opts.Log.Keep(p, data) // the log tells of its errors itself
		s.forget(gone)
	}
	return true
}

// add makes room for e and keeps it. It returns the ids of what had to go.
func (s *Store) add(e *entry) (gone []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.entries) > 0 && (s.bytes+e.size > s.opts.MaxBytes || len(s.entries) >= s.opts.MaxCount) {
		i := s.victim()
		gone = append(gone, s.entries[i].summary.ProfileID)
		s.remove(i)
		s.dropped["evicted"]++
	}
	s.entries = append(s.entries, e)
	s.byID[e.summary.ProfileID] = e
	s.bytes += e.size
	s.added++
	s.duration += e.summary.Duration.Duration()
	if old := s.slowest[e.summary.OperationName]; old == nil || e.summary.Duration >= old.summary.Duration {
		s.slowest[e.summary.OperationName] = e
	}
	return gone
}

// forget takes profiles out of the log.
func (s *Store) forget(ids []string) {
	if s.opts.Log == nil {
		return
	}
	for _, id := range ids {
		_ = s.opts.Log.Forget(id) // the log tells of its errors itself
	}
}

// victim returns which entry to give up: the oldest that is not the slowest of
// its operation, else the oldest.
func (s *Store) victim() int {
	i := slices.IndexFunc(s.entries, func(e *entry) bool { return s.slowest[e.summary.OperationName] != e })
	return max(i, 0)
}

func (s *Store) remove(i int) {
	e := s.entries[i]
	s.entries = slices.Delete(s.entries, i, i+1)
	delete(s.byID, e.summary.ProfileID)
	s.bytes -= e.size
	if s.slowest[e.summary.OperationName] == e {
		delete(s.slowest, e.summary.OperationName)
	}
}

// Drop counts a profile that is not kept, by reason.
func (s *Store) Drop(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped[reason]++
}

// List returns the newest profiles that match, newest first. They share their
// maps with the store: do not change them.
func (s *Store) List(q Query) []api.Profile {
	limit := cmp.Or(q.Limit, 10)
	out := []api.Profile{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range slices.Backward(s.entries) {
		if len(out) == limit {
			break
		}
		if q.match(&e.summary) {
			out = append(out, e.summary)
		}
	}
	return out
}

// Get returns the profile with this id or unique prefix of it of four or more
// characters, and its pprof. The error is an [*api.Error] with status 404.
func (s *Store) Get(id string) (api.Profile, []byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byID[id]
	if e == nil {
		found := s.withPrefix(id)
		if len(found) != 1 {
			return api.Profile{}, nil, notFound(id, found)
		}
		e = s.byID[found[0]]
	}
	return e.summary, e.data, nil
}

func (s *Store) withPrefix(id string) []string {
	if len(id) < 4 {
		return nil
	}
	var found []string
	for _, e := range s.entries {
		if strings.HasPrefix(e.summary.ProfileID, id) {
			found = append(found, e.summary.ProfileID)
		}
	}
	return found
}

func notFound(id string, candidates []string) error {
	if len(candidates) == 0 {
		return api.Errorf(404, "profile %q is not here: it may have expired, or the id is another server's", id)
	}
	e := api.Errorf(404, "profile %q could be any of %d profiles: give more of its id", id, len(candidates))
	e.Candidates = candidates[:min(len(candidates), 20)]
	return e
}

// Cleanup removes the profiles that were stored longer than maxAge ago, or only
// tells which it would with dryRun.
func (s *Store) Cleanup(maxAge time.Duration, dryRun bool) (removed int, freed int64) {
	before := time.Now().Add(-maxAge)
	var gone []string
	defer func() { s.forget(gone) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.entries) - 1; i >= 0; i-- {
		e := s.entries[i]
		if !e.stored.Before(before) {
			continue
		}
		removed++
		freed += e.size
		if !dryRun {
			gone = append(gone, e.summary.ProfileID)
			s.remove(i)
		}
	}
	return removed, freed
}

// storeStats is what a store counts.
type storeStats struct {
	kept, added, bytes int64
	average            time.Duration
	dropped            map[string]api.Count
}

func (s *Store) stats() storeStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := storeStats{kept: int64(len(s.entries)), added: s.added, bytes: s.bytes, dropped: make(map[string]api.Count, len(s.dropped))}
	if s.added > 0 {
		st.average = s.duration / time.Duration(s.added)
	}
	for k, v := range s.dropped {
		st.dropped[k] = v
	}
	return st
}
