package tracing

import (
	"fmt"
	"math"
	"sync"
	"time"
	"unique"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// AddOTLP keeps the spans of an OTLP ExportTraceServiceRequest in protobuf. A
// body that is not one is an error, and then nothing of it is kept. Spans
// without usable ids or beyond a limit are rejected; a span sent again counts
// as accepted and is not kept twice. The body may be used again afterwards.
func (s *Store) AddOTLP(body []byte) (accepted, rejected int, err error) {
	in := intakes.Get().(*intake)
	defer in.release()
	in.store = s
	err = in.decoder.Split(body, in.span)
	s.received.Add(int64(in.total))
	if err != nil {
		return 0, 0, fmt.Errorf("read OTLP request: %w", err)
	}
	s.mu.Lock()
	now := time.Now().UnixNano()
	for i := range in.staged {
		in.expect(&in.staged[i])
	}
	for i := range in.staged {
		if !s.take(&in.staged[i], now) {
			in.rejected++
		}
	}
	for _, rec := range in.touched {
		s.arrive(rec)
	}
	s.mu.Unlock()
	s.shrink()
	return in.total - in.rejected, in.rejected, nil
}

// intake stages the spans of one request, so that a request that turns out to
// be broken leaves nothing behind. What it stages is at most about four times
// the body: a span that it keeps has 28 bytes of ids.
type intake struct {
	store           *Store
	decoder         otlp.Decoder
	decoded         otlp.Span
	staged          []staged
	total, rejected int
	touched         []*record // the traces of staged

	ordinal  int // of the resource below
	resource resource
}

// staged is a span on its way into its record.
type staged struct {
	trace    TraceID
	entry    entry
	rec      *record
	raw      []byte // aliases the body, unless the span had to be changed
	resource resource
	scope    string
	carried  *carried // for the trace; nil for nearly every span
}

// intakes keeps intakes with their memory, because what is staged of a request
// is as large as itself: BenchmarkAddOTLP allocates 215 kB a request of 500
// spans with them, what is kept included, and 611 kB without.
var intakes = sync.Pool{New: func() any { return new(intake) }}

// release gives the intake back, emptied of what belongs to the request.
func (in *intake) release() {
	if cap(in.staged) > 1<<14 || cap(in.decoded.Attrs) > 1<<10 || cap(in.decoded.Events) > 1<<6 || cap(in.decoded.Links) > 1<<6 {
		return
	}
	clear(in.staged)
	clear(in.touched)
	*in = intake{staged: in.staged[:0], touched: in.touched[:0]}
	intakes.Put(in)
}

func (in *intake) span(r *otlp.Resource, scope *otlp.Scope, raw []byte) error {
	in.total++
	s := in.store
	var g otlp.Glance
	var brought carried
	if !g.Look(raw, s.plainText) || g.Attrs > s.opts.MaxAttrs || g.Name > maxName || g.TraceID == [16]byte{} || g.SpanID == [8]byte{} {
		sp := &in.decoded
		if err := sp.Decode(raw); err != nil {
			return err
		}
		if !sp.Valid() {
			in.rejected++
			s.dropped[invalid].Add(1)
			return nil
		}
		brought = s.lift(sp)
		if s.restrict(sp) || brought.anything {
			raw = otlp.AppendSpan(nil, sp)
		}
		g = otlp.Glance{TraceID: sp.TraceID, SpanID: sp.SpanID, ParentID: sp.ParentID, Kind: sp.Kind, Status: sp.Status, Start: sp.Start, End: sp.End}
		g.NameAt, g.Name = otlp.FindName(raw)
	}
	if len(raw) > s.opts.MaxSpanBytes {
		in.rejected++
		s.dropped[tooLarge].Add(1)
		return nil
	}
	if in.ordinal != r.Ordinal {
		in.ordinal, in.resource = r.Ordinal, s.foreign(r)
	}
	in.staged = append(in.staged, staged{
		trace: g.TraceID, raw: raw, resource: in.resource, scope: clip(scope.Name, maxName),
		entry: entry{
			id: g.SpanID, parent: g.ParentID, start: nanos(g.Start), end: nanos(g.End), nameOff: uint32(g.NameAt), nameN: uint32(g.Name),
			kind: uint8(min(max(g.Kind, 0), 5)), outcome: outcomeOfStatus(g.Status),
		},
	})
	if last := &in.staged[len(in.staged)-1]; brought.anything {
		if brought.outcome != unset && last.entry.outcome == failed {
			last.entry.outcome = brought.outcome
		}
		if brought.ofTheRecord {
			own := brought // brought itself would be allocated for each span
			last.carried = &own
		}
	}
	return nil
}

// plainText tells whether an attribute's text is kept as it is.
func (s *Store) plainText(key, value []byte) bool {
	if len(value) > s.opts.MaxValueBytes {
		return false
	}
	n := s.masker.lookup(alias(key))
	return !n.secret && !n.url && !carrier(alias(key))
}

// nanos keeps a time that int64 cannot hold at its bound.
func nanos(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

func outcomeOfStatus(code int32) outcome {
	switch code {
	case 1:
		return ok
	case 2:
		return failed
	default:
		return unset
	}
}

// foreign returns the resource to keep: masked, and without the long tail of
// one that is too large.
func (s *Store) foreign(r *otlp.Resource) resource {
	kept := otlp.Resource{Dropped: r.Dropped}
	size := 0
	for _, a := range r.Attrs {
		a = s.fit(a)
		if size += len(a.Key) + len(a.Value.Str); len(kept.Attrs) >= s.opts.MaxAttrs || size > 64<<10 {
			kept.Dropped++
			continue
		}
		kept.Attrs = append(kept.Attrs, a)
	}
	service := r.Service
	if service == "" {
		service = "unknown_service"
	}
	return resource{service: otlp.Text(clip(service, maxName)), raw: unique.Make(string(otlp.AppendResource(nil, &kept)))}
}

// restrict masks secrets, cuts texts and drops what is beyond the limits. It
// says whether that, or the decoder's own limits, changed the span.
func (s *Store) restrict(sp *otlp.Span) bool {
	changed := sp.Cropped
	if n := s.opts.MaxEvents; len(sp.Events) > n {
		sp.DroppedEvents += uint32(len(sp.Events) - n)
		sp.Events, changed = sp.Events[:n], true
	}
	if n := s.opts.MaxLinks; len(sp.Links) > n {
		sp.DroppedLinks += uint32(len(sp.Links) - n)
		sp.Links, changed = sp.Links[:n], true
	}
	if len(sp.Name) > maxName {
		sp.Name, changed = clip(sp.Name, maxName), true
	}
	if len(sp.StatusMessage) > s.opts.MaxValueBytes {
		sp.StatusMessage, changed = clip(sp.StatusMessage, s.opts.MaxValueBytes), true
	}
	changed = s.restrictAttrs(&sp.Attrs, &sp.DroppedAttrs) || changed
	for i := range sp.Events {
		e := &sp.Events[i]
		if len(e.Name) > s.opts.MaxValueBytes {
			e.Name, changed = clip(e.Name, s.opts.MaxValueBytes), true
		}
		changed = s.restrictAttrs(&e.Attrs, &e.Dropped) || changed
	}
	for i := range sp.Links {
		changed = s.restrictAttrs(&sp.Links[i].Attrs, &sp.Links[i].Dropped) || changed
	}
	return changed
}

func (s *Store) restrictAttrs(attrs *[]otlp.KeyValue, dropped *uint32) (changed bool) {
	if n := s.opts.MaxAttrs; len(*attrs) > n {
		*dropped += uint32(len(*attrs) - n)
		*attrs, changed = (*attrs)[:n], true
	}
	for i, a := range *attrs {
		b := s.fit(a)
		if len(b.Key) > maxName {
			b.Key = clip(b.Key, maxName)
		}
		if a != b {
			(*attrs)[i], changed = b, true
		}
	}
	return changed
}

// arrive moves a record that has got spans to where it waits. The caller
// holds mu.
func (s *Store) arrive(rec *record) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.touched, rec.expected = false, 0
	if rec.open == 0 {
		s.shelve(rec)
	}
}

// expect finds the record of a staged span, and adds up what each will get, so
// that a block for it has the right size. The caller holds mu.
func (in *intake) expect(st *staged) {
	st.rec = in.store.obtain(st.trace)
	if !st.rec.touched {
		st.rec.touched = true
		in.touched = append(in.touched, st.rec)
	}
	st.rec.expected += len(st.raw)
}

// take puts a staged span into its record. The caller holds mu.
func (s *Store) take(in *staged, now int64) bool {
	rec := in.rec
	rec.mu.Lock()
	defer rec.mu.Unlock()
	before := rec.size
	accepted := true
	switch {
	case rec.has(in.entry.key()):
		s.dropped[duplicate].Add(1)
	case rec.spans.n+rec.open >= s.opts.MaxSpans:
		s.dropped[overLimit].Add(1)
		accepted = false
	default:
		in.entry.resource, in.entry.scope = rec.resourceIndex(in.resource), rec.scopeIndex(in.scope)
		rec.add(in.entry, in.raw)
		rec.arrived = now
		if in.carried != nil {
			in.carried.settle(rec)
		}
	}
	s.bytes.Add(rec.size - before)
	return accepted
}
