package breaker

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// ErrNotFound is wrapped by errors about a breaker that is not in a [Set].
var ErrNotFound = errors.New("no such circuit breaker")

// MaxBreakers bounds a [Set]: a dependency is a handful, a made-up name is not.
const MaxBreakers = 10_000

// Set holds a process's breakers by name. Its zero value is empty and ready to
// use; it is safe for concurrent use.
type Set struct {
	mu     sync.RWMutex
	byName map[string]*Breaker
	added  func(*Breaker) // guarded by mu; nil if no one waits for breakers
	scope  atomic.Pointer[Scope]
	events events
}

// Scope says how far the set's breakers reach; see [Set.SetScope].
type Scope struct {
	Name string // api.ScopeLocal or api.ScopeShared
	Note string // what to know about it: why it is local though it should be shared; "" if nothing
}

// SetScope says how far the set's breakers reach, for their snapshots. Until it
// is called they are local.
func (s *Set) SetScope(scope Scope) { s.scope.Store(&scope) }

// OnAdd has f told of each breaker that is made from now on, before [Set.Add]
// returns it. A second call takes the place of the first; nil ends it.
func (s *Set) OnAdd(f func(*Breaker)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.added = f
}

// Add returns the breaker of a name, made from o if there is none yet. A name
// that is there with other settings is an error that tells both.
func (s *Set) Add(name string, o Options) (*Breaker, error) {
	b, err := New(name, o)
	if err != nil {
		return nil, err
	}
	there, added, err := s.put(b)
	if err == nil && there == b && added != nil {
		added(b)
	}
	return there, err
}

// put adds b unless there is one of its name already, which it returns then.
func (s *Set) put(b *Breaker) (there *Breaker, added func(*Breaker), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.byName[b.name]; old != nil {
		if there, asked := old.Options(), b.Options(); !there.same(asked) {
			return nil, nil, fmt.Errorf("breaker %s: it is there with %s, and now asked for with %s", b.name, there, asked)
		}
		return old, nil, nil
	}
	if len(s.byName) >= MaxBreakers {
		return nil, nil, fmt.Errorf("breaker %s: there are %d breakers already, the most that are kept", b.name, MaxBreakers)
	}
	if s.byName == nil {
		s.byName = map[string]*Breaker{}
	}
	b.log, b.scope = &s.events, &s.scope
	s.byName[b.name] = b
	return b, s.added, nil
}

// Get returns the breaker of a name, or an error that wraps [ErrNotFound].
func (s *Set) Get(name string) (*Breaker, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if b := s.byName[name]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("%w: %q", ErrNotFound, name)
}

// Remove takes a breaker out of the set; false if there is none of that name.
// Who holds it may go on using it. Its timers end by themselves.
func (s *Set) Remove(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, there := s.byName[name]
	delete(s.byName, name)
	return there
}

// Match returns the breakers whose names match a glob of package path, by name;
// an empty glob matches all. A malformed glob is an error.
func (s *Set) Match(glob string) ([]*Breaker, error) {
	if _, err := path.Match(glob, ""); err != nil {
		return nil, fmt.Errorf("name pattern %q: %w", glob, err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*Breaker, 0, len(s.byName))
	for name, b := range s.byName {
		if ok, _ := path.Match(glob, name); ok || glob == "" {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b *Breaker) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}

// Snapshot describes all breakers.
func (s *Set) Snapshot() api.Breakers {
	all, _ := s.Match("") // an empty glob is never malformed
	out := make(api.Breakers, len(all))
	for _, b := range all {
		out[b.name] = b.Snapshot()
	}
	return out
}

// Samples returns the counters of all breakers, by name.
func (s *Set) Samples() []Sample {
	all, _ := s.Match("")
	out := make([]Sample, len(all))
	for i, b := range all {
		out[i] = b.Sample()
	}
	return out
}
