package tracing

import (
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// note is what is known of a trace beside its spans. The store keeps it
// encoded, so that the collector finds no pointers in it.
type note struct {
	requestID, userID string
	metadata          []otlp.KeyValue
	profiles          []string // the last maxProfiles
}

const (
	noteBytes   = 16 // what a note takes beside its text
	maxProfiles = 16
)

// The fields of an encoded note. Each is a KeyValue.
const (
	noteMetadata = 1
	noteFacts    = 2
	noteProfiles = 3
)

func (n *note) append(dst []byte) []byte {
	for _, a := range n.metadata {
		dst = otlp.AppendAttr(dst, noteMetadata, a)
	}
	if n.requestID != "" {
		dst = otlp.AppendTextAttr(dst, noteFacts, "request_id", n.requestID)
	}
	if n.userID != "" {
		dst = otlp.AppendTextAttr(dst, noteFacts, "user_id", n.userID)
	}
	for _, id := range n.profiles {
		dst = otlp.AppendAttr(dst, noteProfiles, otlp.KeyValue{Value: otlp.String(id)})
	}
	return dst
}

// readNote decodes a note; what it returns aliases src.
func readNote(src string) (n note, err error) {
	err = otlp.EachAttr(src, func(field uint32, a otlp.KeyValue) {
		switch {
		case field == noteMetadata:
			n.metadata = append(n.metadata, a)
		case field == noteFacts && a.Key == "request_id":
			n.requestID = a.Value.Str
		case field == noteFacts && a.Key == "user_id":
			n.userID = a.Value.Str
		case field == noteProfiles:
			n.profiles = append(n.profiles, a.Value.Str)
		}
	})
	return n, err
}

// merge adds what another note says; where both say something, the other counts.
func (n *note) merge(other *note) {
	if other.requestID != "" {
		n.requestID = other.requestID
	}
	if other.userID != "" {
		n.userID = other.userID
	}
	for _, a := range other.metadata {
		if at := slices.IndexFunc(n.metadata, func(b otlp.KeyValue) bool { return b.Key == a.Key }); at >= 0 {
			n.metadata[at] = a
		} else {
			n.metadata = append(n.metadata, a)
		}
	}
	for _, id := range other.profiles {
		n.link(id)
	}
}

func (n *note) link(profile string) {
	if slices.Contains(n.profiles, profile) {
		return
	}
	n.profiles = append(n.profiles[max(0, len(n.profiles)-maxProfiles+1):], profile)
}

func (n *note) empty() bool {
	return n.requestID == "" && n.userID == "" && len(n.metadata) == 0 && len(n.profiles) == 0
}

// annotate merges a note into that of a trace. The caller holds mu.
func (s *Store) annotate(p uint32, more *note) {
	if more.empty() {
		return
	}
	x, n := &s.traces, *more
	if before := x.notes[p]; before != "" {
		old, err := readNote(before)
		if err == nil {
			old.merge(more)
			n = old
		}
		s.bytes.Add(-noteBytes - int64(len(before)))
	}
	s.scratch = n.append(s.scratch[:0])
	s.writeNote(p, len(n.profiles) > 0)
}

// annotateOwn is annotate with what was said of a trace of this process. Its
// first landing, mostly the only one, takes over what is encoded already.
func (s *Store) annotateOwn(p uint32, l *local) {
	if s.traces.notes[p] != "" {
		n := l.note()
		s.annotate(p, &n)
		return
	}
	if s.scratch = l.appendNote(s.scratch[:0]); len(s.scratch) > 0 {
		s.writeNote(p, len(l.profiles) > 0)
	}
}

// writeNote makes what is in scratch the note of a trace that has none.
func (s *Store) writeNote(p uint32, profiles bool) {
	x := &s.traces
	x.notes[p] = s.jot(s.scratch)
	s.bytes.Add(noteBytes + int64(len(s.scratch)))
	x.flags[p] |= noted
	if profiles {
		x.flags[p] |= profiled
	}
}

// suggest gives a trace what its note does not say. The caller holds mu.
func (s *Store) suggest(p uint32, n *note) {
	if n.empty() {
		return
	}
	if own, err := readNote(s.traces.notes[p]); err == nil {
		n.merge(&own)
	}
	s.annotate(p, n)
}

// jot returns a copy of a short note in memory that it shares with those before
// and after it, which go about when it goes: 12 ns where one of its own takes
// 60. A note that stays for longer is written anew, see Store.rewrite.
func (s *Store) jot(note []byte) string {
	if len(note) > slabBytes/8 {
		return string(note)
	}
	if len(note) > cap(s.slab)-len(s.slab) {
		s.slab = make([]byte, 0, slabBytes)
	}
	at := len(s.slab)
	s.slab = append(s.slab, note...)
	return alias(s.slab[at:])
}

const slabBytes = 4 << 10

// rewrite gives the note of a trace memory of its own.
func (s *Store) rewrite(p uint32) {
	if s.traces.flags[p]&noted != 0 {
		s.traces.notes[p] = strings.Clone(s.traces.notes[p])
	}
}
