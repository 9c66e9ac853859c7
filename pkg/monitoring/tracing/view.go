package tracing

import (
	"fmt"
	"strings"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// view is a trace as one reader has it: its index is a copy, its messages stay
// where they are. What runs of it in this process is a part of it.
type view struct {
	id         TraceID
	note       note
	spans      []viewSpan // ended ones, in no order
	running    []runningSpan
	start, end int64
	lost       bool    // spans of it were evicted
	worst      outcome // of all spans it had in the store, lost ones too
	cut        bool    // one of these was aborted
}

// viewSpan is an ended span of a view.
type viewSpan struct {
	row
	source  source
	message []byte // instead of source, if the span has not landed
	name    string // not yet valid UTF-8
	from    *origins
}

// origins is what spans come from, as a reader needs it.
type origins struct {
	service, scope string // not yet valid UTF-8
	resource       []byte // Resource message
	scopeRaw       []byte // InstrumentationScope message
}

func (v *view) bytes(sp *viewSpan, u *unpacker) []byte {
	if sp.message != nil {
		return sp.message
	}
	return u.message(sp.source, sp.at, sp.size)
}

// kept adds what the store has of the trace at p. The caller holds mu, for
// reading at least.
func (v *view) kept(s *Store, p uint32) {
	x := &s.traces
	v.start, v.end, v.lost = x.start[p], x.end[p], x.lost[p] > 0
	v.worst, v.cut = x.worst[p], x.flags[p]&wasCut != 0
	if x.flags[p]&noted != 0 {
		if known, err := readNote(x.notes[p]); err == nil {
			v.note = known
		}
	}
	v.spans = make([]viewSpan, 0, x.spans[p])
	var of *chunk
	var from []*origins
	for i := range s.shelves {
		s.shelves[i].walk(x.head[i][p], func(c *chunk, i int) bool {
			if c != of {
				of, from = c, make([]*origins, len(c.groups))
			}
			g := c.group[i]
			if from[g] == nil {
				from[g] = c.origins(g)
			}
			v.spans = append(v.spans, viewSpan{source: c.source(), name: c.operation(i), from: from[g], row: c.span(i)})
			return true
		})
	}
}

func (c *chunk) origins(g uint16) *origins {
	of := c.groups[g]
	return &origins{service: c.texts.string(of.service), scope: c.texts.string(of.name), resource: c.get(of.resource), scopeRaw: c.get(of.scope)}
}

// shown returns the view of an active trace, with what has landed of it.
func (s *Store) shown(a *activeView) *view {
	v := &view{id: a.trace}
	s.mu.RLock()
	if p, found := s.traces.find(&a.trace); found {
		v.kept(s, p)
	}
	s.mu.RUnlock()
	n := a.note()
	v.note.merge(&n)
	known := map[spanKey]struct{}{}
	for i := range v.spans {
		if len(a.spans) == 0 {
			break // there is nothing to compare
		}
		known[spanKey{v.spans[i].id, v.spans[i].start, v.spans[i].took}] = struct{}{}
	}
	from := make([]*origins, len(a.scopes))
	for i := range a.spans {
		sp := &a.spans[i]
		if _, landed := known[spanKey{sp.id, sp.start, sp.end - sp.start}]; landed {
			continue // while we looked from one to the other
		}
		if from[sp.scope] == nil {
			from[sp.scope] = s.ownOrigins(a.scopes[sp.scope])
		}
		v.spans = append(v.spans, viewSpan{
			message: a.message(sp), name: alias(a.name(sp)), from: from[sp.scope],
			row: row{id: sp.id, parent: sp.parent, start: sp.start, took: sp.end - sp.start, kind: sp.kind, outcome: sp.outcome},
		})
		v.end = max(v.end, sp.end)
	}
	v.running = a.running
	if v.start == 0 || a.start < v.start {
		v.start = a.start
	}
	return v
}

func (s *Store) ownOrigins(scope string) *origins {
	return &origins{s.resource.service, scopeName(scope), s.resource.raw, scopeMessage(scope)}
}

// view returns the trace with this id.
func (s *Store) view(id TraceID) (*view, error) {
	if a, active := s.activeTrace(id).view(); active {
		return s.shown(&a), nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, found := s.traces.find(&id)
	if !found {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	v := &view{id: id}
	v.kept(s, p)
	return v, nil
}

// resource is what the spans of this process come from.
type resource struct {
	service string
	raw     []byte // an encoded Resource message
}

func localResource(service string) resource {
	service = strings.ToValidUTF8(service, "\uFFFD")
	return resource{service, otlp.AppendResource(nil, &otlp.Resource{Attrs: []otlp.KeyValue{{Key: "service.name", Value: otlp.String(service)}}})}
}
