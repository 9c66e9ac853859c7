// Package tracing records spans and keeps them as traces that can be found
// again.
//
// A [Store] takes spans on three ways: by its OpenTelemetry TracerProvider, by
// [Store.Start], the cheaper way that the middleware and monitoring.Trace go,
// and by [Store.AddOTLP] from other processes. The first two are one: what
// Start puts into the context is an OpenTelemetry span too, so either may be
// the parent of the other.
//
// A trace with a running span is active: it is in a table of its own, its spans
// in slots that others use after their end. What ended lands in the store, at
// the latest when nothing runs.
//
// There each span is one OTLP message, kept as it was sent. Some thousand of
// them lie in a chunk, one behind the other, with an index in columns; full
// chunks are packed. A table of columns, an entry a trace, answers lists. The
// oldest chunk makes room for the next; the spans of failed and slow traces move
// on then, to a shelf that ordinary ones cannot push them from while it has less
// than half of the store. Each span that is lost is counted with its reason.
//
// Readers get api values through one door, which masks secrets and applies the
// limits. A [Log] may keep what the store has beyond the end of the process.
package tracing

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Options configures a [Store]. The zero value is ready to use.
type Options struct {
	Service  string        // service.name of local spans; "" means "unknown_service"
	MaxBytes int64         // kept at most, index included; 0 means 256 MiB
	MaxAge   time.Duration // kept at most after the last span's end; 0 means 24h
	Slow     time.Duration // traces that take this long are kept like failed ones; 0 means 1s

	Sampler Sampler           // which local spans are recorded; nil means ParentBased(Always())
	Mask    func(string) bool // names of attributes and URL parameters whose values are secret; nil means SecretName

	MaxActive     int // local traces at once with running spans, the oldest is given up beyond; 0 means 10,000
	MaxSpans      int // of a trace; 0 means 250,000
	MaxAttrs      int // of a span, an event or a link; 0 means 128, at most 1024
	MaxEvents     int // of a span; 0 means 128
	MaxLinks      int // of a span; 0 means 128
	MaxValueBytes int // of a text; longer ones are cut; 0 means 16 KiB
	MaxSpanBytes  int // of a span as a whole, a foreign one cut to the limits above; 0 means 1 MiB

	Log Log // where spans outlive the process; nil means nowhere
}

// reason is why spans were dropped.
type reason int

const (
	evicted   reason = iota // to stay below MaxBytes
	expired                 // older than MaxAge
	cleaned                 // removed by Cleanup
	leaked                  // never ended, given up
	overLimit               // beyond MaxSpans
	tooLarge                // beyond MaxSpanBytes
	invalid                 // without usable ids
	duplicate               // sent again
	numReasons
)

var reasonNames = [numReasons]string{"evicted", "expired", "cleanup", "leaked", "span_limit", "too_large", "invalid", "duplicate"}

// Store keeps traces. Its methods may be called at once from many goroutines.
type Store struct {
	opts     Options
	masker   *masker
	resource resource // of local spans
	provider *provider

	bytes     atomic.Int64 // of chunks, tables and active traces
	received  atomic.Int64
	truncated atomic.Int64
	unlogged  atomic.Int64
	dropped   [numReasons]atomic.Int64

	table   table        // of active traces
	running atomic.Int64 // in table
	pool    sync.Pool    // of *active
	silent  slot         // of spans that record nothing

	evicting   sync.Mutex // taken by who makes room, before mu
	chunkBytes int        // of the messages of a full chunk

	mu          sync.RWMutex // below the mu of an active trace
	traces      index
	shelves     [numShelves]shelf
	families    map[uint32]*family // of traces with many spans, by their place
	services    map[string]int     // numbers of their bits, at most maxServiceBits
	locals      map[string]*sender // this process, by scope
	spare       rows               // of a chunk that is gone; see recycle
	unpacked    []*chunk           // full ones
	chunks      uint64             // how many there were
	owed        owed
	sequences   [numShelves]uint64 // of the last records
	replaying   bool               // only while New runs, as is the next
	unpublished []*chunk           // full ones that the log has not got
	used        [][]byte           // of chunks that were packed, for the messages of others; at most packLater
	slab        []byte             // see jot
	scratch     []byte
}

// New returns an empty Store. Options out of bounds are an error.
func New(o Options) (*Store, error) {
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"MaxBytes", o.MaxBytes}, {"MaxAge", int64(o.MaxAge)}, {"Slow", int64(o.Slow)}, {"MaxActive", int64(o.MaxActive)},
		{"MaxSpans", int64(o.MaxSpans)}, {"MaxAttrs", int64(o.MaxAttrs)}, {"MaxEvents", int64(o.MaxEvents)},
		{"MaxLinks", int64(o.MaxLinks)}, {"MaxValueBytes", int64(o.MaxValueBytes)}, {"MaxSpanBytes", int64(o.MaxSpanBytes)},
	} {
		if f.value < 0 {
			return nil, fmt.Errorf("tracing options: %s is %d, want 0 or more", f.name, f.value)
		}
	}
	if o.MaxAttrs > 1024 {
		return nil, fmt.Errorf("tracing options: MaxAttrs is %d, want at most 1024", o.MaxAttrs)
	}
	o.Service = cmp.Or(o.Service, unknownService)
	o.MaxBytes = cmp.Or(o.MaxBytes, 256<<20)
	o.MaxAge = cmp.Or(o.MaxAge, 24*time.Hour)
	o.Slow = cmp.Or(o.Slow, time.Second)
	o.MaxActive = cmp.Or(o.MaxActive, 10_000)
	o.MaxSpans = cmp.Or(o.MaxSpans, 250_000)
	o.MaxAttrs = cmp.Or(o.MaxAttrs, 128)
	o.MaxEvents = cmp.Or(o.MaxEvents, 128)
	o.MaxLinks = cmp.Or(o.MaxLinks, 128)
	o.MaxValueBytes = cmp.Or(o.MaxValueBytes, 16<<10)
	o.MaxSpanBytes = cmp.Or(o.MaxSpanBytes, 1<<20)
	s := &Store{
		opts: o, masker: newMasker(o.Mask), resource: localResource(o.Service),
		chunkBytes: int(min(max(o.MaxBytes/32, 16<<10), chunkBytes)),
		traces:     newIndex(), families: map[uint32]*family{}, services: map[string]int{},
	}
	s.provider = &provider{store: s}
	s.initActive()
	return s, s.replay()
}

// Run drops traces older than Options.MaxAge and packs full chunks until ctx is done. It looks once
// a second, or ten times in MaxAge if that is rarer.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(min(max(s.opts.MaxAge/10, time.Second), time.Minute))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			s.removeOlder(now.Add(-s.opts.MaxAge), expired, false)
			s.packFull()
		}
	}
}

// Cleanup removes the finished traces whose last span ended more than maxAge
// ago, or only counts them in a dry run. Running ones are never removed.
func (s *Store) Cleanup(maxAge time.Duration, dryRun bool) (removed int, freedBytes int64) {
	return s.removeOlder(time.Now().Add(-maxAge), cleaned, dryRun)
}

// Stats says what a [Store] holds, took in and lost.
type Stats struct {
	Traces, Active, Spans int
	Bytes                 int64
	Oldest                time.Time        // start of the oldest finished trace's first span; zero if there is none
	Received              int64            // spans taken in since the start; those of this process count when they land
	Truncated             int64            // texts of this process's spans that were cut; of others, api.Span.Dropped tells
	Unlogged              int64            // spans that Options.Log did not take
	Dropped               map[string]int64 // spans since the start by reason, each reason always present
}

// Stats returns the figures of now.
func (s *Store) Stats() Stats {
	st := Stats{Bytes: s.bytes.Load(), Received: s.received.Load(), Truncated: s.truncated.Load(), Unlogged: s.unlogged.Load(), Dropped: map[string]int64{}}
	for r := range numReasons {
		st.Dropped[reasonNames[r]] = s.dropped[r].Load()
	}
	here := map[TraceID]bool{}
	s.eachActive(func(r activeRef) bool {
		ended, running := r.extent()
		st.Spans += ended + running
		if running > 0 {
			here[r.id] = true
		}
		return true
	})
	s.mu.RLock()
	defer s.mu.RUnlock()
	st.Active = len(here)
	st.Traces = s.traces.n + st.Active
	for id := range here {
		if _, found := s.traces.find(&id); found {
			st.Traces--
		}
	}
	oldest := int64(0)
	for p, n := range s.traces.spans {
		if n == 0 {
			continue
		}
		st.Spans += int(n)
		if start := s.traces.start[p]; start > 0 && (oldest == 0 || start < oldest) {
			oldest = start
		}
	}
	if oldest > 0 {
		st.Oldest = time.Unix(0, oldest).UTC()
	}
	return st
}

// Retention returns the same in the form of the API, without the reasons that
// never occurred.
func (s *Store) Retention() api.Retention {
	st := s.Stats()
	r := api.Retention{Traces: api.Count(st.Traces), Spans: api.Count(st.Spans), Bytes: api.Count(st.Bytes), Oldest: api.Time{Time: st.Oldest}}
	for name, n := range st.Dropped {
		if n > 0 {
			if r.Dropped == nil {
				r.Dropped = map[string]api.Count{}
			}
			r.Dropped[name] = api.Count(n)
		}
	}
	return r
}

// Link notes that a profile of the trace exists. It says whether the trace is
// still kept; a trace holds at most 16 profiles, the last ones.
func (s *Store) Link(id TraceID, profileID string) bool {
	profileID = clip(profileID, 256)
	if s.activeTrace(id).link(profileID) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, found := s.traces.find(&id)
	if found {
		s.annotate(p, &note{profiles: []string{profileID}})
	}
	return found
}
