package tracing

import (
	"slices"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// local is what a trace of this process hands to the store: when none of its
// spans runs any more, and before that each time the ended ones have grown to
// landAt bytes. Spans come once; what was said of the trace comes again with
// each landing. The store copies what it keeps; the tracer uses the memory again.
type local struct {
	trace             TraceID
	at                int64 // now
	requestID, userID string
	metadata          []otlp.KeyValue
	profiles          []string    // ids linked while it was active
	spans             []localSpan // in the order of their ends
	buf               []byte      // encoded Span messages (without tag and length), one behind the other
	scopes            []string
}

// localSpan says where a span's message lies in local.buf, and what the index
// needs of it.
type localSpan struct {
	id, parent     SpanID
	start, end     int64
	off, size      uint32 // of the message in buf
	nameOff, nameN uint32 // of the name in the message
	scope          uint16 // in scopes
	kind           uint8
	outcome        outcome
}

// land keeps the spans of l. The caller may hold the mu of their active trace,
// so nothing in here waits for one.
func (s *Store) land(l *local) {
	s.mu.Lock()
	rec := s.obtain(l.trace)
	rec.mu.Lock()
	before := rec.size
	s.dropped[overLimit].Add(rec.take(s, l))
	s.bytes.Add(rec.size - before)
	s.shelve(rec)
	rec.mu.Unlock()
	s.mu.Unlock()
}

// take adds a copy of l to the record, whose mu is held. It returns how many
// spans were beyond the limit.
func (r *record) take(s *Store, l *local) (beyond int64) {
	if l.requestID != "" {
		r.size += int64(len(l.requestID) - len(r.requestID))
		r.requestID = l.requestID
	}
	if l.userID != "" {
		r.size += int64(len(l.userID) - len(r.userID))
		r.userID = l.userID
	}
	for _, a := range l.metadata {
		r.setMetadata(a)
	}
	for _, id := range l.profiles {
		r.link(id)
	}
	for i := range l.spans {
		sp := &l.spans[i]
		e := entry{
			id: sp.id, parent: sp.parent, start: sp.start, end: sp.end, nameOff: sp.nameOff, nameN: sp.nameN,
			kind: sp.kind, outcome: sp.outcome, resource: r.resourceIndex(s.resource), scope: r.scopeIndex(l.scopes[sp.scope]),
		}
		if r.seen != nil && r.has(e.key()) {
			continue
		}
		if r.spans.n >= s.opts.MaxSpans {
			beyond++
			continue
		}
		r.add(e, l.buf[sp.off:sp.off+sp.size])
	}
	r.arrived = l.at
	return beyond
}

func (r *record) setMetadata(a otlp.KeyValue) {
	at := slices.IndexFunc(r.metadata, func(b otlp.KeyValue) bool { return b.Key == a.Key })
	if at < 0 {
		r.metadata = append(r.metadata, a)
		r.size += int64(64 + len(a.Key) + len(a.Value.Str))
		return
	}
	r.size += int64(len(a.Value.Str) - len(r.metadata[at].Value.Str))
	r.metadata[at] = a
}

// link notes a profile; the last 16 stay.
func (r *record) link(id string) {
	if slices.Contains(r.profiles, id) {
		return
	}
	if len(r.profiles) == maxProfiles {
		r.profiles = append(r.profiles[:0:0], r.profiles[1:]...)
	}
	r.profiles = append(r.profiles, id)
}

const maxProfiles = 16

// shown returns the trace of an active one as the readers take it: what is
// kept of it and what runs in one record, which is theirs alone.
func (s *Store) shown(v *activeView) *record {
	r := newRecord(v.trace)
	s.mu.Lock()
	if kept := s.traces[v.trace]; kept != nil {
		kept.mu.Lock()
		r.copy(kept)
		kept.mu.Unlock()
	}
	s.mu.Unlock()
	r.take(s, &v.local)
	r.running, r.open = v.running, len(v.running)
	if r.start == 0 || v.start < r.start {
		r.start = v.start
	}
	return r
}

// copy adds all of what other has, which is locked.
func (r *record) copy(other *record) {
	r.requestID, r.userID = other.requestID, other.userID
	r.metadata, r.profiles = slices.Clone(other.metadata), slices.Clone(other.profiles)
	r.arrived, r.seen = other.arrived, map[entryKey]struct{}{}
	for e := range other.spans.all {
		of := *e
		of.resource, of.scope = r.resourceIndex(other.resources[e.resource]), r.scopeIndex(other.scopes[e.scope])
		r.add(of, other.message(e))
	}
}
