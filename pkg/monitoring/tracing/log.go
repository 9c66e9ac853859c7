package tracing

import (
	"fmt"
	"slices"
)

// Log is where a [Store] writes what it must not lose, and reads it again when
// it begins. A store without one keeps its spans in memory alone.
//
// Spans go into it twice: as a record, before they are acknowledged, and later
// in a chunk, compressed, when some thousand have come. A chunk stands for all
// records of its shelf up to its Through, which may go when it is written. What
// the store evicts it drops here too, after what it moved elsewhere has been
// recorded.
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
	recordForm                // a form: spans, and what their messages do not tell
	recordRemoval             // ids of traces
	recordPacked              // a request, compressed with S2
)

// ChunkInfo is what a chunk's data tells at once.
type ChunkInfo struct {
	Shelf         int
	Number        uint64
	Spans, Traces int
	Start, End    int64 // of the earliest and the latest span, Unix nanoseconds; 0 without spans
	Arrived       int64 // when the last span came
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

// publish writes a chunk that has been packed, whose messages are in src. The
// caller holds no lock.
func (s *Store) publish(c *chunk, src source) {
	if s.opts.Log == nil {
		return
	}
	if s.replaying { // the log is being read
		s.unpublished = append(s.unpublished, c)
		return
	}
	for s.writeChunk(c, src) {
	}
}

// writeChunk writes a chunk as it is now. It is true if that has changed
// meanwhile, and what was written may have come after what is newer.
func (s *Store) writeChunk(c *chunk, src source) (again bool) {
	s.mu.RLock()
	o := s.outline(c)
	s.mu.RUnlock()
	if o == nil {
		return false
	}
	data := o.form(src).press()
	if data == nil || s.opts.Log.Chunk(Chunk{Shelf: o.shelf, Number: c.number, Through: o.through, Data: data}) != nil {
		s.unlogged.Add(int64(len(o.rows)))
	}
	s.mu.RLock()
	gone, struck := c.gone, c.struck
	s.mu.RUnlock()
	if gone { // and the log may have been told so before it had it
		s.discard(c.number)
	}
	return !gone && struck != o.struck
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

// outline is what has to be known under mu of a chunk that is to be written;
// the rest of it does not change.
type outline struct {
	c       *chunk
	shelf   int
	through uint64
	arrived int64
	struck  uint32
	rows    []uint32              // those that belong to a trace
	noted   map[uint32]notedTrace // what is known of their traces, by row
}

// notedTrace is a trace with its encoded note.
type notedTrace struct {
	id   TraceID
	note string
}

// outline returns that of a packed chunk, nil if it has gone. The caller holds
// mu, for reading at least.
func (s *Store) outline(c *chunk) *outline {
	if c.gone {
		return nil
	}
	o := &outline{c: c, shelf: s.shelfNumber(c), through: c.through, arrived: c.arrived, struck: c.struck,
		rows: make([]uint32, 0, c.live), noted: map[uint32]notedTrace{}}
	for i, p := range c.trace {
		if p == noTrace {
			continue
		}
		o.rows = append(o.rows, uint32(i))
		if s.traces.flags[p]&noted != 0 {
			o.noted[uint32(i)] = notedTrace{s.traces.id[p], s.traces.notes[p]}
		}
	}
	return o
}

// form returns the form of the chunk, whose messages are in src.
func (o *outline) form(src source) *form {
	c, f := o.c, newPressed(o.shelf)
	f.number, f.arrived = c.number, o.arrived
	f.raw = slices.Grow(f.raw, c.rawSize()+c.rawSize()/16)
	f.group, f.length = make([]uint16, 0, len(o.rows)), make([]uint32, 0, len(o.rows))
	senders := make([]sender, len(c.groups))
	for i, g := range c.groups {
		senders[i] = c.sender(g, &c.keys)
	}
	var u unpacker
	defer u.close()
	for _, i := range o.rows {
		message := u.message(src, c.at[i], c.length[i])
		if message == nil {
			continue // its block is damaged
		}
		f.put(message, c.outcome(int(i)), &senders[c.group[i]])
		if t, found := o.noted[i]; found {
			f.note(t.id, t.note)
		}
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
		s.publish(c, source{packed: c.packed})
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
	s.packFull()
	for _, c := range s.unpublished {
		s.publish(c, source{packed: c.packed})
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
