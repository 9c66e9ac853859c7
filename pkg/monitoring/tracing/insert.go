package tracing

import (
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// arrival is a span on its way into the store. The store copies what it keeps.
type arrival struct {
	trace   TraceID
	row     row // without what the chunk decides
	message []byte
	name    []byte
	from    *sender
}

// sender is what the spans of a group come from.
type sender struct {
	resource []byte // Resource message
	scope    []byte // InstrumentationScope message
	service  string
	name     string       // of the scope
	bit      uint64       // of the service, in index.services; 0 until the store has given it
	keys     *otlp.KeySet // of its spans' attributes; nil for any
	chunk    uint64       // number of the chunk that group is of
	group    uint16
}

// insert keeps a span that came at now. It returns numReasons, or why the span
// is not kept. The caller holds mu.
func (s *Store) insert(a *arrival, now int64) reason { return s.insertOn(plain, a, now) }

func (s *Store) insertOn(shelf int, a *arrival, now int64) reason {
	p, why := s.admit(&a.trace, &a.row)
	if why != numReasons {
		return why
	}
	s.add(shelf, p, a, now)
	return numReasons
}

// add gives a span that is admitted to the trace at p.
func (s *Store) add(shelf int, p uint32, a *arrival, now int64) {
	a.row.trace = p
	c, number := s.place(shelf, a, s.traces.head[shelf][p])
	c.arrived = max(c.arrived, now)
	if a.from.bit == 0 {
		a.from.bit = s.serviceBit(a.from.service)
	}
	s.enlist(p, &a.row, shelf, number, a.from.bit, now)
}

// admit returns the place of the span's trace, which may be new. The caller
// holds mu.
func (s *Store) admit(id *TraceID, r *row) (p uint32, why reason) {
	x := &s.traces
	p, found := x.find(id)
	if found {
		if x.flags[p]&mixed == 0 {
			x.flags[p] |= mixed
			s.recount(p)
		}
		switch {
		case s.meet(p, r):
			return p, duplicate
		case int(x.spans[p]) >= s.opts.MaxSpans:
			return p, overLimit
		}
		return p, numReasons
	}
	p = s.found(id)
	x.flags[p] |= mixed
	if r.parent.IsValid() && r.parent != r.id {
		x.orphans[p] = 1
	}
	return p, numReasons
}

// found begins a trace.
func (s *Store) found(id *TraceID) uint32 {
	s.bytes.Add(traceBytes)
	return s.traces.add(id)
}

// enlist adds what the span tells of its trace. The caller holds mu.
func (s *Store) enlist(p uint32, r *row, shelf int, number uint32, bit uint64, now int64) {
	s.traces.note(p, r, bit, now)
	s.traces.head[shelf][p] = number
	if !r.parent.IsValid() {
		s.crown(p, r, shelf, number)
	}
	s.traces.judge(p)
}

// place puts a span into the chunk of a shelf that fills up. The trace's row
// before it there is number before.
func (s *Store) place(shelf int, a *arrival, before uint32) (c *chunk, number uint32) {
	sh := &s.shelves[shelf]
	c, full := sh.open(s, len(a.message))
	if full != nil {
		full.through = max(s.sequences[shelf], 1) - 1
		sh.charge(s, full)
		s.unpacked = append(s.unpacked, full)
	}
	c.enroll(a)
	number = c.row(c.n())
	if before != 0 {
		a.row.back = number - before
	} else {
		a.row.back = 0
	}
	c.put(&a.row, a.message)
	sh.next = number + 1
	return c, number
}

// crown makes a span without a parent the root of its trace if no earlier one is.
func (s *Store) crown(p uint32, r *row, shelf int, number uint32) {
	x := &s.traces
	if x.flags[p]&hasRoot != 0 {
		if c, i := s.shelves[x.rootShelf(p)].at(x.root[p]); c != nil &&
			(c.start[i] < r.start || c.start[i] == r.start && slices.Compare(c.id[i][:], r.id[:]) <= 0) {
			return
		}
	}
	x.root[p], x.began[p] = number, r.outcome
	x.flags[p] = x.flags[p]&^rootKept | hasRoot
	if shelf == kept {
		x.flags[p] |= rootKept
	}
}

func (x *index) rootShelf(p uint32) int {
	if x.flags[p]&rootKept != 0 {
		return kept
	}
	return plain
}

// settle counts the bytes of the chunks that have grown. The caller holds mu.
func (s *Store) settle() {
	for i := range s.shelves {
		if sh := &s.shelves[i]; len(sh.chunks) > 0 {
			sh.charge(s, sh.chunks[len(sh.chunks)-1])
		}
	}
}

// packLater is how many full chunks may wait before those who land spans pack
// them; otherwise others do, whose caller waits for nothing.
const packLater = 2

// packFull packs the chunks that have become full. The caller holds no mu.
func (s *Store) packFull() {
	for {
		s.mu.Lock()
		if len(s.unpacked) == 0 {
			s.mu.Unlock()
			return
		}
		c := s.unpacked[0]
		s.unpacked = s.unpacked[1:]
		if len(s.unpacked) == 0 {
			s.unpacked = nil
		}
		gone := c.gone
		s.mu.Unlock()
		if gone {
			continue
		}
		raw := c.raw
		p := pack(c)
		s.mu.Lock()
		if !c.gone {
			c.raw, c.packed = nil, p
			s.shelves[s.shelfNumber(c)].charge(s, c)
		}
		s.mu.Unlock()
		s.publish(c, source{raw: raw})
		s.reuse(c, raw)
	}
}

// reuse keeps the memory of a chunk that was packed for the next, if no reader
// may have it.
func (s *Store) reuse(c *chunk, raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.gone && !c.seen.Load() && cap(raw) <= 2*s.chunkBytes && len(s.used) < packLater {
		s.used = append(s.used, raw)
	}
}

// maxServiceBits is how many services have a bit of their own in the index; the
// last is shared by all others.
const maxServiceBits = 63

// serviceBit returns the bit of a service. The caller holds mu.
func (s *Store) serviceBit(name string) uint64 {
	n, found := s.services[name]
	if !found {
		if n = len(s.services); n >= maxServiceBits {
			return 1 << maxServiceBits
		}
		s.services[strings.Clone(name)] = n
	}
	return 1 << n
}
