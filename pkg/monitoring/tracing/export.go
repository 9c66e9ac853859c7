package tracing

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// Export returns the trace with this id or prefix, as [Store.Get] takes it, as
// an OTLP ExportTraceServiceRequest in protobuf: its spans as they were sent,
// by resource and scope, each in the order of their starts. Attributes named
// pulsectl.* carry what OTLP has no place for (request_id, user_id, metadata,
// profile_ids of the trace, and a status that is timeout or aborted); AddOTLP
// takes them off again. A span that still runs has the end 0. Spans beyond
// about maxBytes, 0 meaning any, are left out, the last ones, and then truncated
// is true.
func (s *Store) Export(id string, maxBytes int) (request []byte, truncated bool, err error) {
	rec, err := s.find(id)
	if err != nil {
		return nil, false, err
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	out := exporter{rec: rec, left: int(newBudget(maxBytes)), index: map[origin]int{}}
	for e := range rec.spans.all {
		out.spans = append(out.spans, outgoing{start: e.start, end: e.end, entry: e})
	}
	for sp := rec.running; sp != nil; sp = sp.next {
		out.spans = append(out.spans, outgoing{start: sp.begun, end: 1<<63 - 1, running: sp})
	}
	slices.SortStableFunc(out.spans, func(a, b outgoing) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end)) })
	for i := range out.spans {
		if !out.add(s, &out.spans[i], i == 0) {
			truncated = true
			break
		}
	}
	for i := range out.groups {
		g := &out.groups[i]
		request = otlp.AppendResourceSpans(request, []byte(g.raw.Value()), &otlp.Scope{Name: g.scope}, g.spans...)
	}
	return request, truncated, nil
}

// find is lookup with the bounds of an id.
func (s *Store) find(id string) (*record, error) {
	if len(id) < 4 || len(id) > 32 {
		return nil, fmt.Errorf("%w: %q is no trace id nor 4 or more of its first digits", ErrNotFound, clip(id, 64))
	}
	return s.lookup(id)
}

// outgoing is a span on its way out, ended or running.
type outgoing struct {
	start, end int64
	entry      *entry
	running    *span
}

// origin is what the spans of a group have in common.
type origin struct {
	resource
	scope string
}

type group struct {
	origin
	spans [][]byte
}

type exporter struct {
	rec    *record
	spans  []outgoing
	left   int // bytes
	groups []group
	index  map[origin]int
}

// add encodes a span into its group, unless there is no room left.
func (x *exporter) add(s *Store, o *outgoing, first bool) bool {
	var raw []byte
	var from origin
	var how outcome
	if e := o.entry; e != nil {
		raw, how = x.rec.message(e), e.outcome
		from = origin{x.rec.resources[e.resource], x.rec.scopes[e.scope]}
	} else {
		head := o.running.head(0)
		raw, _ = otlp.AppendSpanHead(nil, &head)
		if o.running.buf != nil {
			raw = append(raw, *o.running.buf...)
		}
		from = origin{s.resource, x.rec.scopes[o.running.scope]}
	}
	raw = x.rec.carry(raw[:len(raw):len(raw)], how, first) // the block behind it is not ours
	if x.left -= len(raw); x.left < 0 {
		return false
	}
	i, found := x.index[from]
	if !found {
		i = len(x.groups)
		x.index[from] = i
		x.groups = append(x.groups, group{origin: from})
	}
	x.groups[i].spans = append(x.groups[i].spans, raw)
	return true
}
