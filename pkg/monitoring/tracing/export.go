package tracing

import (
	"cmp"
	"math"
	"slices"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// Export returns the trace with this id or prefix, as [Store.Get] takes it, as
// an OTLP ExportTraceServiceRequest in protobuf: its spans by resource and
// scope, each in the order of their starts, with secrets masked and within the
// limits as any reader gets them. Attributes named pulsectl.* carry what OTLP
// has no place for (request_id, user_id, metadata, profile_ids of the trace, and
// a status that is timeout or aborted); AddOTLP takes them off again. A span
// that still runs has the end 0. Spans beyond about maxBytes, 0 meaning any, are
// left out, the last ones, and then truncated is true.
func (s *Store) Export(id string, maxBytes int) (request []byte, truncated bool, err error) {
	v, err := s.find(id)
	if err != nil {
		return nil, false, err
	}
	for i := range v.note.metadata {
		s.veil(&v.note.metadata[i])
	}
	out := exporter{view: v, door: door{store: s}, left: int(newBudget(maxBytes)), index: map[parcelKey]int{}}
	defer out.unpacker.close()
	spans := make([]outgoing, 0, len(v.spans)+len(v.running))
	for i := range v.spans {
		sp := &v.spans[i]
		spans = append(spans, outgoing{start: sp.start, end: sp.start + sp.took, ended: sp})
	}
	for i := range v.running {
		sp := &v.running[i]
		spans = append(spans, outgoing{start: nanos(sp.Start), end: math.MaxInt64, running: sp})
	}
	slices.SortStableFunc(spans, func(a, b outgoing) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end)) })
	for i := range spans {
		if !out.add(&spans[i], i == 0) {
			truncated = true
			break
		}
	}
	for i := range out.parcels {
		p := &out.parcels[i]
		request = otlp.AppendResourceSpans(request, p.resource, &p.scope, p.spans...)
	}
	return request, truncated, nil
}

// outgoing is a span on its way out, ended or running.
type outgoing struct {
	start, end int64
	ended      *viewSpan
	running    *runningSpan
}

// parcel is the spans of one resource and scope.
type parcel struct {
	resource []byte
	scope    otlp.Scope
	spans    [][]byte
}

type parcelKey struct{ resource, scope string }

type exporter struct {
	view     *view
	door     door
	unpacker unpacker
	left     int // bytes
	parcels  []parcel
	index    map[parcelKey]int
}

// add encodes a span into its parcel, unless there is no room left.
func (x *exporter) add(o *outgoing, first bool) bool {
	var raw, resource, scope []byte
	var how outcome
	if o.ended != nil {
		read, ok := x.door.open(x.view.bytes(o.ended, &x.unpacker))
		if !ok {
			return true // its block is damaged
		}
		raw, how = otlp.AppendSpan(nil, read), o.ended.outcome
		resource, scope = o.ended.from.resource, o.ended.from.scopeRaw
	} else {
		read := o.running.Span
		x.door.restrict(&read)
		read.End = 0
		raw = otlp.AppendSpan(nil, &read)
		resource, scope = x.door.store.resource.raw, scopeMessage(o.running.scope)
	}
	raw = x.view.carry(raw, how, first)
	if x.left -= len(raw); x.left < 0 {
		return false
	}
	key := parcelKey{alias(resource), alias(scope)}
	i, found := x.index[key]
	if !found {
		i = len(x.parcels)
		x.index[key] = i
		x.parcels = append(x.parcels, x.parcel(resource, scope))
	}
	x.parcels[i].spans = append(x.parcels[i].spans, raw)
	return true
}

// parcel makes an empty parcel, whose resource and scope come through the door.
func (x *exporter) parcel(resource, scope []byte) (p parcel) {
	if r, err := otlp.DecodeResource(resource); err == nil {
		x.door.attrs(&r.Attrs, &r.Dropped)
		p.resource = otlp.AppendResource(nil, &r)
	}
	if sc, err := otlp.DecodeScope(scope); err == nil {
		x.door.attrs(&sc.Attrs, &sc.Dropped)
		p.scope = sc
	}
	return p
}
