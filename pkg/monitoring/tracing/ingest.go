package tracing

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// AddOTLP keeps the spans of an OTLP ExportTraceServiceRequest in protobuf, as
// they were sent. A body that is not one is an error, and then nothing of it is
// kept. Spans without usable ids or beyond a limit are rejected; a span sent
// again counts as accepted and is not kept twice. What AddOTLP has returned can
// be read. The body may be used again afterwards.
func (s *Store) AddOTLP(body []byte) (accepted, rejected int, err error) {
	in := intakes.Get().(*intake)
	defer in.release()
	err = in.scanner.Scan(body)
	total := len(in.scanner.Spans) + in.scanner.Invalid
	s.received.Add(int64(total))
	if err != nil {
		return 0, 0, fmt.Errorf("read OTLP request: %w", err)
	}
	rejected = in.scanner.Invalid
	s.dropped[invalid].Add(int64(rejected))
	s.hail(in)
	s.liftAll(in, body)
	now := time.Now().UnixNano()
	s.mu.Lock()
	sequence := s.sequence(plain)
	for i := range in.scanner.Spans {
		why := s.take(in, body, &in.scanner.Spans[i], now)
		if why == numReasons {
			continue
		}
		s.dropped[why].Add(1)
		if why != duplicate {
			rejected++
		}
	}
	s.settle()
	waiting := len(s.unpacked)
	s.mu.Unlock()
	s.logRequest(sequence, body, len(in.scanner.Spans))
	if waiting > 0 {
		s.packFull()
	}
	s.shrink()
	return total - rejected, rejected, nil
}

// logRequest records a request as it was sent.
func (s *Store) logRequest(sequence uint64, body []byte, spans int) {
	if sequence == 0 {
		return
	}
	buf := bodies.Get().(*[]byte)
	defer keepBody(buf)
	*buf = appendRequest((*buf)[:0], body)
	s.record(plain, sequence, *buf, spans)
}

// intake is what it takes to read one request, used again for the next.
type intake struct {
	scanner otlp.Scanner
	senders []sender // one a group
	arrival arrival
	lifted  map[uint32]*carried // by the place of their span; of a huge one always
}

var intakes = sync.Pool{New: func() any { return new(intake) }}

// release gives the intake back, emptied of what belongs to the request.
func (in *intake) release() {
	in.scanner.Reset()
	if cap(in.scanner.Spans) > 1<<14 || cap(in.senders) > 1<<10 {
		return
	}
	clear(in.senders)
	in.senders, in.arrival, in.lifted = in.senders[:0], arrival{}, nil
	intakes.Put(in)
}

// hail makes the senders of the request's groups.
func (s *Store) hail(in *intake) {
	ordinal, resource := 0, []byte(nil)
	for i := range in.scanner.Groups {
		g := &in.scanner.Groups[i]
		if g.Ordinal != ordinal {
			ordinal, resource = g.Ordinal, s.trim(g.Resource)
		}
		from := sender{resource: resource, service: clip(g.Service, maxName), name: clip(g.Name, maxName), keys: &in.scanner.Keys}
		if from.scope = g.Scope; len(g.Scope) > maxScope {
			from.scope = otlp.AppendScope(nil, &otlp.Scope{Name: from.name})
		}
		if from.service == "" {
			from.service = unknownService
		}
		in.senders = append(in.senders, from)
	}
}

const (
	unknownService = "unknown_service"
	maxResource    = 64 << 10 // bytes
	maxScope       = 16 << 10 // bytes; of a larger scope only the name is kept
)

// trim leaves out the long tail of a resource that is too large, and counts it
// there as dropped.
func (s *Store) trim(raw []byte) []byte {
	if len(raw) <= maxResource {
		return raw
	}
	r, err := otlp.DecodeResource(raw)
	if err != nil {
		return nil // it was decoded before
	}
	fitting := otlp.Resource{Dropped: r.Dropped}
	size := 0
	for _, a := range r.Attrs {
		n := len(a.Key) + len(a.Value.Str) + 16
		if size+n > maxResource {
			fitting.Dropped++
			continue
		}
		size += n
		fitting.Attrs = append(fitting.Attrs, a)
	}
	return otlp.AppendResource(nil, &fitting)
}

// take keeps one span of a request. The caller holds mu.
func (s *Store) take(in *intake, body []byte, e *otlp.Entry, now int64) reason {
	c := in.lifted[e.At]
	if size := int(e.Size); size > s.opts.MaxSpanBytes && (c.message == nil || len(c.message) > s.opts.MaxSpanBytes) {
		return tooLarge
	}
	a := &in.arrival
	a.enter(body, e)
	a.from = &in.senders[e.Group]
	if c == nil {
		return s.insert(a, now)
	}
	return s.insertWith(a, c, now)
}

// enter fills a with what a scan of body told of a span in it.
func (a *arrival) enter(body []byte, e *otlp.Entry) {
	start := nanos(e.Start)
	a.trace = e.TraceID
	a.row = row{
		id: e.SpanID, parent: e.ParentID, start: start, took: nanos(e.End) - start,
		kind: uint8(min(max(e.Kind, 0), 5)), outcome: outcomeOfStatus(e.Status),
	}
	a.message, a.name = body[e.At:e.At+e.Size], body[e.NameAt:e.NameAt+min(e.Name, maxName)]
}

// liftAll takes from the spans what servers of this project gave them along, and
// cuts the huge ones.
func (s *Store) liftAll(in *intake, body []byte) {
	in.lifted = nil
	for i := range in.scanner.Spans {
		if e := &in.scanner.Spans[i]; e.Own || int(e.Size) > s.opts.MaxSpanBytes {
			if in.lifted == nil {
				in.lifted = map[uint32]*carried{}
			}
			c := s.lift(body[e.At : e.At+e.Size])
			in.lifted[e.At] = &c
		}
	}
}

// insertWith keeps a span that brought something along.
func (s *Store) insertWith(a *arrival, c *carried, now int64) reason {
	if c.message == nil {
		return s.insert(a, now)
	}
	a.message, a.name = c.message, c.message[c.nameAt:c.nameAt+min(c.nameSize, maxName)]
	if c.outcome != unset && a.row.outcome == failed {
		a.row.outcome = c.outcome
	}
	why := s.insert(a, now)
	if why == numReasons {
		s.suggest(a.row.trace, &c.note)
	}
	return why
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
