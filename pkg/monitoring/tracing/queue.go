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

// settle puts a record without running spans where it waits for its end.
func (s *Store) settle(rec *record) {
	s.mu.Lock()
	rec.mu.Lock()
	if !rec.gone && rec.open == 0 {
		s.shelve(rec)
	}
	rec.mu.Unlock()
	s.mu.Unlock()
	s.shrink()
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

// shrink drops the oldest traces until the store is within its bytes.
func (s *Store) shrink() {
	if s.bytes.Load() <= s.opts.MaxBytes {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.bytes.Load() > s.opts.MaxBytes {
		switch {
		case s.kept.first != nil && (s.plain.first == nil || s.kept.bytes > s.opts.MaxBytes/2):
			s.remove(s.kept.first, evicted)
		case s.plain.first != nil:
			s.remove(s.plain.first, evicted)
		case s.active.first != nil:
			s.remove(s.active.first, evicted)
		default:
			return
		}
	}
}

// limitActive gives up the oldest traces with running spans beyond MaxActive:
// their spans that ended stay as a finished trace, the others are dropped. The
// caller holds mu.
func (s *Store) limitActive() {
	for s.active.n > s.opts.MaxActive {
		rec := s.active.first
		rec.mu.Lock()
		s.leak(rec)
		empty := rec.spans.n == 0
		if !empty {
			s.shelve(rec)
		}
		rec.mu.Unlock()
		if empty {
			s.remove(rec, leaked)
		}
	}
}

// leak ends the running spans of rec without keeping them. The caller holds
// the record's mu.
func (s *Store) leak(rec *record) {
	for rec.running != nil {
		sp := rec.running
		s.charge(rec, -sp.charged)
		sp.finish()
		s.dropped[leaked].Add(1)
	}
}

// remove drops a whole trace. The caller holds mu.
func (s *Store) remove(rec *record, why reason) {
	rec.mu.Lock()
	s.leak(rec)
	rec.gone = true
	s.dropped[why].Add(int64(rec.spans.n))
	s.bytes.Add(-rec.size)
	rec.mu.Unlock()
	rec.leave()
	s.forget(rec)
	delete(s.traces, rec.id)
}

// charge adds n bytes to the record's size and the store's. The caller holds
// the record's mu.
func (s *Store) charge(rec *record, n int64) {
	rec.size += n
	s.bytes.Add(n)
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
