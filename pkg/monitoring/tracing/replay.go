package tracing

import (
	"fmt"
	"math"
	"slices"
)

// newForm returns an empty form, for a record.
func newForm(shelf int) *form {
	f := &form{shelf: shelf}
	f.places = map[group]uint16{}
	return f
}

// put adds a span with its trace's encoded note.
func (f *form) put(a arrival, note string) {
	at := slices.Index(f.ids, a.trace)
	if at < 0 {
		at = len(f.ids)
		f.ids = append(f.ids, a.trace)
		if note != "" {
			f.notes = append(f.notes, notedTrace{uint32(at), note})
		}
	}
	from := a.from
	a.row.trace, a.row.back, a.row.name = uint32(at), 0, f.intern(a.name)
	a.row.group = f.place(group{
		resource: f.intern(from.resource), scope: f.intern(from.scope),
		service: f.intern([]byte(from.service)), name: f.intern([]byte(from.name)),
	})
	f.keys.Join(from.keys)
	f.chunk.put(&a.row, a.message)
}

// record returns the form as a record's data, its messages as they are.
func (f *form) record() []byte {
	f.packed = &packed{blocks: f.raw, ends: []uint32{uint32(len(f.raw)) | plainBlock}, until: []uint32{uint32(len(f.raw))}}
	return f.append([]byte{recordForm})
}

// adopt takes a chunk from the log.
func (s *Store) adopt(data []byte) error {
	f, err := readForm(data)
	if err != nil {
		return err
	}
	defer s.shrink()
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.number == 0 || f.number > math.MaxInt64 {
		return fmt.Errorf("%w: its number is %d", ErrChunk, f.number)
	}
	c, sh := &f.chunk, &s.shelves[f.shelf]
	c.first = sh.begin()
	rows := c.trace
	c.trace = make([]uint32, len(rows))
	for i := range c.trace {
		c.trace[i] = noTrace
	}
	sh.chunks = append(sh.chunks, c)
	sh.next = c.first + uint32(c.n())
	s.chunks = max(s.chunks, c.number)
	bits := make([]uint64, len(c.groups))
	for g := range bits {
		bits[g] = s.serviceBit(c.texts.string(c.groups[g].service))
	}
	for i, n := range rows {
		if n != noTrace {
			s.readmit(f, c, i, f.ids[n], bits[c.group[i]])
		}
	}
	for _, n := range f.notes {
		s.recall(&f.ids[n.trace], n.note)
	}
	sh.charge(s, c)
	if c.live == 0 {
		sh.drop(s, c)
	}
	return nil
}

// begin closes the chunk that fills up, if any, and returns the number of the
// next row.
func (sh *shelf) begin() uint32 {
	if n := len(sh.chunks); n > 0 && !sh.chunks[n-1].full {
		sh.chunks[n-1].close()
	}
	if sh.next == 0 || sh.next > math.MaxUint32-2*maxRows {
		sh.next = 1
	}
	return sh.next
}

// readmit gives a row of an adopted chunk back to its trace, unless the store
// has the span already. The caller holds mu.
func (s *Store) readmit(f *form, c *chunk, i int, id TraceID, bit uint64) {
	r := row{id: c.id[i], parent: c.parent[i], start: c.start[i], took: c.took[i], kind: c.kind[i] & 15, outcome: c.outcome(i)}
	p, why := s.admit(&id, &r)
	if why != numReasons {
		return
	}
	number := c.row(i)
	if before := s.traces.head[f.shelf][p]; before != 0 {
		c.back[i] = number - before
	}
	c.trace[i] = p
	c.live++
	s.enlist(p, &r, f.shelf, number, bit, c.arrived)
}

// again takes a record from the log.
func (s *Store) again(r Record) error {
	if r.Shelf < 0 || r.Shelf >= numShelves || len(r.Data) == 0 {
		return fmt.Errorf("%w: record %d of shelf %d with %d bytes", ErrChunk, r.Sequence, r.Shelf, len(r.Data))
	}
	s.mu.Lock()
	s.sequences[r.Shelf] = max(s.sequences[r.Shelf], r.Sequence)
	s.mu.Unlock()
	switch kind, data := r.Data[0], r.Data[1:]; kind {
	case recordRequest:
		_, _, err := s.AddOTLP(data)
		return err
	case recordForm:
		return s.reinsert(r.Shelf, data)
	case recordRemoval:
		return s.removeAgain(r.Shelf, data)
	default:
		return fmt.Errorf("%w: record of kind %d", ErrChunk, kind)
	}
}

// reinsert keeps the spans of a form that is a record.
func (s *Store) reinsert(shelf int, data []byte) error {
	f, err := readForm(data)
	if err != nil {
		return err
	}
	senders := make([]sender, len(f.groups))
	for i, g := range f.groups {
		senders[i] = sender{resource: f.get(g.resource), scope: f.get(g.scope), service: f.texts.string(g.service), name: f.texts.string(g.name), keys: &f.keys}
	}
	var u unpacker
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, n := range f.trace {
		if n == noTrace {
			continue
		}
		a := arrival{trace: f.ids[n], name: f.get(f.name[i]), from: &senders[f.group[i]], message: u.message(f.source(), f.at[i], f.length[i]), row: row{
			id: f.id[i], parent: f.parent[i], start: f.start[i], took: f.took[i], kind: f.kind[i] & 15, outcome: f.outcome(i),
		}}
		if a.message != nil {
			s.insertOn(shelf, &a, max(f.arrived, a.row.start+a.row.took))
		}
	}
	for _, n := range f.notes {
		s.recall(&f.ids[n.trace], n.note)
	}
	s.settle()
	return nil
}

// recall gives a trace its note back.
func (s *Store) recall(id *TraceID, encoded string) {
	p, found := s.traces.find(id)
	n, err := readNote(encoded)
	if found && err == nil {
		s.annotate(p, &n)
	}
}

// removeAgain removes what a shelf has of traces.
func (s *Store) removeAgain(shelf int, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var id TraceID
	for ; len(data) >= len(id); data = data[len(id):] {
		copy(id[:], data)
		p, found := s.traces.find(&id)
		if !found {
			continue
		}
		s.withdraw(p, shelf)
	}
	return nil
}
