package tracing

import "time"

// queue is a list of records, the oldest first. The store's mu guards it.
type queue struct {
	first, last *record
	n           int
	bytes       int64
}

// move takes rec out of its queue, if it is in one, and puts it at q's end.
// Both the store's mu and the record's are held.
func (q *queue) move(rec *record) {
	rec.leave()
	rec.queue, rec.prev = q, q.last
	if q.last == nil {
		q.first = rec
	} else {
		q.last.next = rec
	}
	q.last = rec
	q.n++
	rec.charged = rec.size
	q.bytes += rec.charged
}

func (rec *record) leave() {
	q := rec.queue
	if q == nil {
		return
	}
	if rec.prev == nil {
		q.first = rec.next
	} else {
		rec.prev.next = rec.next
	}
	if rec.next == nil {
		q.last = rec.prev
	} else {
		rec.next.prev = rec.prev
	}
	q.n--
	q.bytes -= rec.charged
	rec.queue, rec.prev, rec.next = nil, nil, nil
}

// shelve puts a finished trace at the end of its queue. The caller holds both
// locks.
func (s *Store) shelve(rec *record) {
	s.shelf(rec).move(rec)
	s.note(rec)
}

func (s *Store) shelf(rec *record) *queue {
	if rec.failed || rec.end-rec.start >= int64(s.opts.Slow) {
		return &s.kept
	}
	return &s.plain
}

// obtain returns the record of id, made if it is not there.
func (s *Store) obtain(id TraceID) *record {
	rec := s.traces[id]
	if rec == nil {
		rec = newRecord(id)
		s.traces[id] = rec
		s.bytes.Add(recordBytes)
	}
	return rec
}

// shrink drops the oldest traces until the store is within its bytes. The
// caller holds no lock.
func (s *Store) shrink() {
	if s.bytes.Load() <= s.opts.MaxBytes {
		return
	}
	s.dropOldest()
	for s.bytes.Load() > s.opts.MaxBytes { // finished ones are gone: those with running spans
		r, found := s.table.oldest()
		if !found {
			return
		}
		r.abandon(evicted)
		s.dropOldest()
	}
}

func (s *Store) dropOldest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.bytes.Load() > s.opts.MaxBytes {
		switch {
		case s.kept.first != nil && (s.plain.first == nil || s.kept.bytes > s.opts.MaxBytes/2):
			s.remove(s.kept.first, evicted)
		case s.plain.first != nil:
			s.remove(s.plain.first, evicted)
		default:
			return
		}
	}
}

// remove drops a whole trace. The caller holds mu.
func (s *Store) remove(rec *record, why reason) {
	rec.mu.Lock()
	s.dropped[why].Add(int64(rec.spans.n))
	s.bytes.Add(-rec.size)
	rec.mu.Unlock()
	rec.leave()
	s.forget(rec)
	delete(s.traces, rec.id)
}

// removeOlder drops the finished traces that ended before t.
func (s *Store) removeOlder(t time.Time, why reason, dryRun bool) (removed int, freed int64) {
	before := t.UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range []*queue{&s.plain, &s.kept} {
		for rec := q.first; rec != nil; {
			next := rec.next
			if end, size := rec.age(); end < before {
				removed++
				freed += size
				if !dryRun {
					s.remove(rec, why)
				}
			}
			rec = next
		}
	}
	return removed, freed
}

// age returns the end of a finished trace, or when its last span arrived if
// its spans claim to end later than that or at no time.
func (r *record) age() (end, size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end <= 0 || r.end > r.arrived {
		return r.arrived, r.size
	}
	return r.end, r.size
}
