package otlp

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Scanner indexes requests without decoding them. Its zero value is ready; it
// is for one goroutine at a time and keeps its memory from one call to the
// next. What it found belongs to it until the next Scan.
//
// It takes what [Decoder] takes, but for requests of more than [MaxGroups], and
// sees the same in it; only the attributes of resources and unusual spans are
// decoded on the way. The index takes about three times the memory of a body of
// the smallest spans, and is small beside any other.
type Scanner struct {
	Groups  []Group
	Spans   []Entry
	Invalid int    // spans without ids that a store can find them by, which are not in Spans
	Keys    KeySet // of the attributes of Spans

	body   []byte
	res    Resource
	scope  Scope
	span   Span
	glance Glance
}

// Group is what the spans of one ScopeSpans have in common.
type Group struct {
	Resource []byte // the message as it was sent; parts of one sent in several are joined
	Service  string // service.name in it, "" if it has none
	Scope    []byte // the message as it was sent
	Name     string // the scope's name
	Ordinal  int    // of the ResourceSpans in the request, from 1
}

// MaxGroups is how many ScopeSpans with spans a request has at most.
const MaxGroups = 1 << 16

// Entry is what a scan tells of one span.
type Entry struct {
	TraceID          [16]byte
	SpanID, ParentID [8]byte
	Start, End       uint64 // Unix nanoseconds
	At, Size         uint32 // of the Span message in the request
	NameAt, Name     uint32 // of the name in the request
	Group            uint32 // in Groups
	Kind, Status     int32  // as in the protocol
	Own              bool   // has an attribute whose key begins with OwnPrefix
}

// Scan indexes an ExportTraceServiceRequest. An error wraps [ErrMalformed] and
// says what is wrong; then nothing of the index is to be used.
func (s *Scanner) Scan(body []byte) error {
	s.Groups, s.Spans, s.body = s.Groups[:0], s.Spans[:0], body
	s.Invalid, s.Keys, s.glance.keys = 0, KeySet{}, &s.Keys
	s.res.Ordinal = 0
	if uint64(len(body)) > math.MaxUint32 {
		return fmt.Errorf("%w: request of %d bytes, want less than 4 GiB", ErrMalformed, len(body))
	}
	for i := 0; i < len(body); {
		num, wire, from, to, next := element(body, i)
		switch {
		case next < 0:
			return malformed(body, i, "request")
		case num != 1:
		case wire != wireBytes:
			return wrongType("resource_spans")
		default:
			if err := s.resourceSpans(from, to); err != nil {
				return err
			}
		}
		i = next
	}
	return nil
}

// Reset lets go of what the last request left behind.
func (s *Scanner) Reset() {
	clear(s.Groups)
	*s = Scanner{Groups: s.Groups[:0], Spans: s.Spans[:0]}
}

// gather returns field 1 of the message body[from:to], which should be a
// message, has it decoded, and checks that all fields beside it are well-formed.
func (s *Scanner) gather(from, to int, what, of string, decode func([]byte) error) (found []byte, err error) {
	src := s.body[from:to]
	for i := 0; i < len(src); {
		number, wire, begin, end, next := element(src, i)
		switch {
		case next < 0:
			return nil, malformed(src, i, of)
		case number != 1:
		case wire != wireBytes:
			return nil, wrongType(what)
		default:
			if err := decode(src[begin:end]); err != nil {
				return nil, err
			}
			if found == nil {
				found = src[begin:end:end]
			} else {
				found = append(found, src[begin:end]...)
			}
		}
		i = next
	}
	return found, nil
}

func (s *Scanner) resourceSpans(from, to int) error {
	s.res = Resource{Attrs: s.res.Attrs[:0], Ordinal: s.res.Ordinal + 1}
	raw, err := s.gather(from, to, "resource", "resource_spans", s.res.decode)
	if err != nil {
		return err
	}
	src := s.body[from:to]
	for i := 0; i < len(src); {
		num, wire, begin, end, next := element(src, i)
		if num == 2 {
			if wire != wireBytes {
				return wrongType("scope_spans")
			}
			if err := s.scopeSpans(raw, from+begin, from+end); err != nil {
				return err
			}
		}
		i = next
	}
	return nil
}

func (s *Scanner) scopeSpans(resource []byte, from, to int) error {
	s.scope = Scope{Attrs: s.scope.Attrs[:0]}
	raw, err := s.gather(from, to, "scope", "scope_spans", s.scope.decode)
	if err != nil {
		return err
	}
	group := Group{Resource: resource, Service: s.res.Service, Scope: raw, Name: s.scope.Name, Ordinal: s.res.Ordinal}
	empty := true
	src := s.body[from:to]
	for i := 0; i < len(src); {
		num, wire, begin, end, next := element(src, i)
		if num == 2 {
			if wire != wireBytes {
				return wrongType("span")
			}
			if empty {
				if empty = false; len(s.Groups) == MaxGroups {
					return fmt.Errorf("%w: request with more than %d scope_spans", ErrMalformed, MaxGroups)
				}
				s.Groups = append(s.Groups, group)
			}
			if err := s.one(from+begin, from+end, len(s.Groups)-1); err != nil {
				return err
			}
		}
		i = next
	}
	return nil
}

// ScanSpans indexes Span messages that lie one behind the other in body, so many
// bytes long each, instead of a request. There are no groups; the spans are of 0.
func (s *Scanner) ScanSpans(body []byte, lengths []uint32) error {
	s.Groups, s.Spans, s.body = s.Groups[:0], slices.Grow(s.Spans[:0], len(lengths)), body
	s.Invalid, s.Keys, s.glance.keys = 0, KeySet{}, &s.Keys
	from := 0
	for _, n := range lengths {
		if int(n) > len(body)-from {
			return fmt.Errorf("%w: span of %d bytes where %d are left", ErrMalformed, n, len(body)-from)
		}
		if err := s.one(from, from+int(n), 0); err != nil {
			return err
		}
		from += int(n)
	}
	return nil
}

// one indexes the span in body[from:to].
func (s *Scanner) one(from, to, group int) error {
	raw, g, valid := s.body[from:to], &s.glance, true
	if !g.Look(raw) {
		if err := s.span.Decode(raw); err != nil {
			return err
		}
		*g = glanceOf(&s.span, g.keys)
		valid = !s.span.badIDs
	}
	if !valid || g.TraceID == [16]byte{} || g.SpanID == [8]byte{} {
		s.Invalid++
		return nil
	}
	s.Spans = append(s.Spans, Entry{
		TraceID: g.TraceID, SpanID: g.SpanID, ParentID: g.ParentID, Start: g.Start, End: g.End,
		At: uint32(from), Size: uint32(to - from), NameAt: uint32(from + g.NameAt), Name: uint32(g.Name),
		Group: uint32(group), Kind: g.Kind, Status: g.Status, Own: g.Own,
	})
	return nil
}

// glanceOf tells of a decoded span what Look would.
func glanceOf(s *Span, keys *KeySet) Glance {
	at, n := FindName(s.Raw)
	for i := range s.Attrs {
		keys.Add(alias(s.Attrs[i].Key))
	}
	return Glance{
		TraceID: s.TraceID, SpanID: s.SpanID, ParentID: s.ParentID, NameAt: at, Name: n, keys: keys,
		Kind: s.Kind, Status: s.Status, Start: s.Start, End: s.End,
		Own: slices.ContainsFunc(s.Attrs, func(a KeyValue) bool { return strings.HasPrefix(a.Key, OwnPrefix) }),
	}
}
