package tracing

import (
	"fmt"
	"math"
)

// adopt takes a chunk from the log.
func (s *Store) adopt(data []byte) error {
	f, done, err := openForm(data)
	if err != nil {
		return err
	}
	defer done()
	if f.number == 0 || f.number > math.MaxInt64 {
		return fmt.Errorf("%w: its number is %d", ErrChunk, f.number)
	}
	c, ids, err := f.chunk()
	if err != nil {
		return err
	}
	defer s.shrink()
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := &s.shelves[f.shelf]
	c.first = sh.begin()
	sh.chunks = append(sh.chunks, c)
	sh.next = c.first + uint32(c.n())
	s.chunks = max(s.chunks, c.number)
	bits := make([]uint64, len(c.groups))
	for g := range bits {
		bits[g] = s.serviceBit(c.texts.string(c.groups[g].service))
	}
	for i := range ids {
		s.readmit(f.shelf, c, i, &ids[i], bits[c.group[i]])
	}
	for _, n := range f.notes {
		s.recall(&ids[n.span], n.note)
	}
	sh.charge(s, c)
	if c.live == 0 {
		sh.drop(s, c)
	}
	return nil
}

// chunk makes the form the packed chunk that it was, whose rows belong to no
// trace yet, and says whose they are. The chunk shares no memory with the form.
func (f *form) chunk() (c *chunk, ids []TraceID, err error) {
	c = newChunk(f.number, 0, 0, nil)
	c.furnish(f.n(), rows{})
	c.raw, c.arrived = f.raw, f.arrived
	ids = make([]TraceID, 0, f.n())
	at := uint32(0)
	err = f.each(func(a *arrival) {
		ids = append(ids, a.trace)
		a.row.trace, a.row.at, a.row.size = noTrace, at, uint32(len(a.message))
		at += a.row.size
		c.enroll(a)
		c.add(&a.row)
	})
	if err != nil {
		return nil, nil, err
	}
	c.close()
	c.packed, c.raw = pack(c), nil
	return c, ids, nil
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

// readmit gives a row of an adopted chunk to its trace, unless the store has
// the span already. The caller holds mu.
func (s *Store) readmit(shelf int, c *chunk, i int, id *TraceID, bit uint64) {
	r := c.span(i)
	p, why := s.admit(id, &r)
	if why != numReasons {
		return
	}
	number := c.row(i)
	if before := s.traces.head[shelf][p]; before != 0 {
		c.back[i] = number - before
	}
	c.trace[i] = p
	c.live++
	s.enlist(p, &r, shelf, number, bit, c.arrived)
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
		return s.addAgain(data)
	case recordPacked:
		return unpackRequest(data, s.addAgain)
	case recordForm:
		return s.reinsert(r.Shelf, data)
	case recordRemoval:
		return s.removeAgain(r.Shelf, data)
	default:
		return fmt.Errorf("%w: record of kind %d", ErrChunk, kind)
	}
}

func (s *Store) addAgain(request []byte) error {
	_, _, err := s.AddOTLP(request)
	return err
}

// reinsert keeps the spans of a form that is a record.
func (s *Store) reinsert(shelf int, data []byte) error {
	f, done, err := openForm(data)
	if err != nil {
		return err
	}
	defer done()
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]TraceID, 0, f.n())
	err = f.each(func(a *arrival) {
		ids = append(ids, a.trace)
		s.insertOn(shelf, a, max(f.arrived, a.row.start+a.row.took))
	})
	for _, n := range f.notes {
		if int(n.span) < len(ids) {
			s.recall(&ids[n.span], n.note)
		}
	}
	s.settle()
	return err
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
