package tracing

import (
	"fmt"
	"slices"
)

// Log is where a [Store] writes what it must not lose, and reads it again when
// it begins. A store without one keeps its spans in memory alone.
//
// Spans go into it twice: as a record, before they are acknowledged, and later
// in a chunk, compressed and with their index, when some thousand have come. A
// chunk stands for all records of its shelf up to its Through, which may go when
// it is written. What the store evicts it drops here too, after what it moved
// elsewhere has been recorded.
//
// The methods are called from many goroutines at once, never with a lock of the
// store held but perhaps with that of one active trace. Records may come out of
// order and after the chunk that stands for them. An error means that what was
// to be written is in memory alone; the store counts its spans in
// Stats.Unlogged and goes on.
type Log interface {
	// Record keeps r, whose Data is to be copied.
	Record(r Record) error
	// Chunk keeps c; its Data is the callee's.
	Chunk(c Chunk) error
	// Drop lets go of the chunk of that number, which need not be there.
	Drop(number uint64) error
	// Replay calls chunk for each chunk in the order of their numbers, then
	// record for each record in the order of their sequences, shelf by shelf. An
	// error that they return is about damaged data, which is to be reported and
	// stepped over. The store calls no other method until Replay has returned. It
	// takes what it can hold: of a log with more, the oldest chunks are dropped.
	Replay(chunk func(data []byte) error, record func(Record) error) error
}

// Record is spans that came together, or traces that somebody removed.
type Record struct {
	Shelf    int    // 0 for what arrives, 1 for what moves on in the store; each has its sequence
	Sequence uint64 // from 1, in steps of 1
	Data     []byte // opaque to the log
}

// Chunk is a chunk that has become full.
type Chunk struct {
	Shelf   int
	Number  uint64 // from 1; no other chunk has it
	Through uint64 // the sequence of the last record of the shelf that is in this chunk or an earlier one as a whole
	Data    []byte // see DescribeChunk
}

// What a record's data begins with.
const (
	recordRequest byte = iota // an OTLP request as it was sent
	recordForm                // a chunk's form: spans with an index
	recordRemoval             // ids of traces
)

// ChunkInfo is what a chunk's data tells at once.
type ChunkInfo struct {
	Shelf         int
	Number        uint64
	Spans, Traces int
	Start, End    int64 // of the earliest and the latest span, Unix nanoseconds; 0 without spans
	Arrived       int64 // when the last span came
}

// DescribeChunk checks a chunk's data as a whole, its checksum too, and says
// what it is. The error wraps [ErrChunk].
func DescribeChunk(data []byte) (ChunkInfo, error) {
	f, err := readForm(data)
	if err != nil {
		return ChunkInfo{}, err
	}
	c := ChunkInfo{Shelf: f.shelf, Number: f.number, Spans: f.n(), Traces: len(f.ids), Arrived: f.arrived}
	if f.n() > 0 {
		c.Start = slices.Min(f.start)
		for i := range f.start {
			c.End = max(c.End, f.rows.end(i))
		}
	}
	return c, nil
}

// sequence returns the number of the next record of a shelf, 0 if there is no
// log. The caller holds mu.
func (s *Store) sequence(shelf int) uint64 {
	if s.opts.Log == nil || s.replaying {
		return 0
	}
	s.sequences[shelf]++
	return s.sequences[shelf]
}

// record writes a record of so many spans. The caller holds no lock of the
// store.
func (s *Store) record(shelf int, sequence uint64, data []byte, spans int) {
	if sequence == 0 {
		return
	}
	if err := s.opts.Log.Record(Record{shelf, sequence, data}); err != nil {
		s.unlogged.Add(int64(spans))
	}
}

// publish writes a chunk that has been packed. The caller holds no lock.
func (s *Store) publish(c *chunk) {
	if s.opts.Log == nil {
		return
	}
	if s.replaying { // the log is being read
		s.unpublished = append(s.unpublished, c)
		return
	}
	s.mu.RLock()
	f := s.form(c)
	through := c.through
	s.mu.RUnlock()
	if f == nil {
		return
	}
	err := s.opts.Log.Chunk(Chunk{Shelf: f.shelf, Number: c.number, Through: through, Data: f.append(nil)})
	if err != nil {
		s.unlogged.Add(int64(f.n()))
	}
	s.mu.RLock()
	gone := c.gone
	s.mu.RUnlock()
	if gone { // meanwhile, and the log may have been told so before it had it
		s.discard(c.number)
	}
}

// discard drops chunks from the log. The caller holds no lock.
func (s *Store) discard(numbers ...uint64) {
	if s.opts.Log == nil {
		return
	}
	for _, n := range numbers {
		_ = s.opts.Log.Drop(n) // it is dropped again by its age, or comes again and is evicted
	}
}

// form returns what is to be written of a packed chunk, nil if it has gone. The
// caller holds mu, for reading at least.
func (s *Store) form(c *chunk) *form {
	if c.gone {
		return nil
	}
	f := &form{shelf: s.shelfNumber(c)}
	f.number, f.arrived, f.texts, f.groups, f.keys, f.packed, f.rows = c.number, c.arrived, c.texts, c.groups, c.keys, c.packed, c.rows
	f.trace = make([]uint32, c.n())
	places := map[uint32]uint32{}
	for i, p := range c.trace {
		f.trace[i] = noTrace
		if p == noTrace {
			continue
		}
		n, found := places[p]
		if !found {
			n = uint32(len(f.ids))
			places[p] = n
			f.ids = append(f.ids, s.traces.id[p])
			if s.traces.flags[p]&noted != 0 {
				f.notes = append(f.notes, notedTrace{n, s.notes[p]})
			}
		}
		f.trace[i] = n
	}
	return f
}

// owed is what the log is to be told when mu is free again.
type owed struct {
	dropped   []uint64 // chunks
	rewritten []*chunk // full ones that lost traces to somebody's wish
	removed   []TraceID
	sequences [numShelves]uint64 // of the records of removed
}

// settleLog tells the log what it is owed. The caller holds no lock.
func (s *Store) settleLog() {
	if s.opts.Log == nil || s.replaying {
		return
	}
	s.mu.Lock()
	o := s.owed
	s.owed = owed{}
	for _, c := range o.rewritten {
		c.owed = false
	}
	s.mu.Unlock()
	if len(o.removed) > 0 {
		data := []byte{recordRemoval}
		for i := range o.removed {
			data = append(data, o.removed[i][:]...)
		}
		for shelf, n := range o.sequences {
			s.record(shelf, n, data, len(o.removed))
		}
	}
	for _, c := range o.rewritten {
		s.publish(c)
	}
	s.discard(o.dropped...)
}

// replay fills the store with what the log has.
func (s *Store) replay() error {
	if s.opts.Log == nil {
		return nil
	}
	s.replaying = true
	err := s.opts.Log.Replay(s.adopt, s.again)
	s.replaying = false
	if err != nil {
		return fmt.Errorf("replay the log of traces: %w", err)
	}
	s.forgetCounts()
	s.packFull(0)
	for _, c := range s.unpublished {
		s.publish(c)
	}
	s.unpublished = nil
	s.settleLog()
	return nil
}

// forgetCounts leaves out of the figures what was counted before the restart
// already: that spans came, and that some were not kept then. What the store had
// to push out or let expire to hold the rest is lost now.
func (s *Store) forgetCounts() {
	s.received.Store(0)
	for why := range numReasons {
		if why != evicted && why != expired {
			s.dropped[why].Store(0)
		}
	}
}
