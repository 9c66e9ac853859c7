package metric

import (
	"encoding/binary"
	"sync/atomic"
	"time"
)

// exemplarEvery is the least time between two exemplars of one bucket.
const exemplarEvery = time.Second

// exemplar is an observation that a bucket shows. The zero value is none.
type exemplar struct {
	took  time.Duration
	at    int64 // Unix nanoseconds
	trace [16]byte
}

// exemplars are the slots of a histogram's classic buckets. They are made with
// the first observation that has a trace.
type exemplars [maxClassic]exemplarSlot

// exemplarSlot holds an exemplar in place. Its version is odd while a writer,
// of which there is one at a time, changes it: a reader that sees it odd or
// changed has read nothing.
type exemplarSlot struct {
	version atomic.Uint32
	at      atomic.Int64
	took    atomic.Int64
	trace   [2]atomic.Uint64
}

// keepExemplar replaces a bucket's exemplar if it is old enough.
func (h *histogram) keepExemplar(bucket int, took time.Duration, o *Observation) {
	slots := h.exemplars.Load()
	if slots == nil {
		h.exemplars.CompareAndSwap(nil, new(exemplars))
		slots = h.exemplars.Load()
	}
	end := o.End
	if end.IsZero() {
		end = time.Now()
	}
	s, at := &slots[bucket], end.UnixNano()
	if at-s.at.Load() < int64(exemplarEvery) {
		return
	}
	v := s.version.Load()
	if v&1 == 1 || !s.version.CompareAndSwap(v, v+1) {
		return // another one is at it
	}
	s.at.Store(at)
	s.took.Store(int64(took))
	s.trace[0].Store(binary.BigEndian.Uint64(o.Trace[:8]))
	s.trace[1].Store(binary.BigEndian.Uint64(o.Trace[8:]))
	s.version.Store(v + 2)
}

// read returns the slot's exemplar; none where it is being changed.
func (s *exemplarSlot) read() (e exemplar) {
	v := s.version.Load()
	e.at, e.took = s.at.Load(), time.Duration(s.took.Load())
	binary.BigEndian.PutUint64(e.trace[:8], s.trace[0].Load())
	binary.BigEndian.PutUint64(e.trace[8:], s.trace[1].Load())
	if v&1 == 1 || s.version.Load() != v {
		return exemplar{}
	}
	return e
}
