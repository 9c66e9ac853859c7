package tracing

import "time"

// forget takes a trace without rows out of the index.
func (s *Store) forget(p uint32) {
	x, freed := &s.traces, int64(traceBytes)
	if x.flags[p]&manyKnown != 0 {
		s.disband(p)
	}
	if x.flags[p]&noted != 0 {
		freed += noteBytes + int64(len(x.notes[p]))
	}
	s.bytes.Add(-freed)
	x.remove(p)
}

// remove drops a whole trace. The caller holds mu.
func (s *Store) remove(p uint32, why reason) {
	n := s.traces.spans[p]
	s.dropped[why].Add(int64(n))
	for shelf := range s.shelves {
		s.strike(p, shelf, why == cleaned)
	}
	s.forget(p)
}

// withdraw drops what one shelf has of a trace.
func (s *Store) withdraw(p uint32, shelf int) {
	n := s.strike(p, shelf, false)
	s.traces.head[shelf][p] = 0
	s.traces.lost[p] += n
	if s.traces.spans[p] -= n; s.traces.spans[p] == 0 {
		s.forget(p)
		return
	}
	s.traces.uncrown(p)
	s.recrown(p)
}

// strike takes the rows of a trace out of a shelf. A chunk that has no others
// goes too; in the rest they stay behind until that goes.
func (s *Store) strike(p uint32, shelf int, told bool) (n uint32) {
	var empty []*chunk
	s.shelves[shelf].walk(s.traces.head[shelf][p], func(c *chunk, i int) bool {
		n++
		c.trace[i] = noTrace
		if told {
			c.struck++
		}
		if told && c.packed != nil && s.opts.Log != nil && !c.owed {
			c.owed = true
			s.owed.rewritten = append(s.owed.rewritten, c)
		}
		if c.live--; c.live == 0 {
			empty = append(empty, c)
		}
		return true
	})
	for _, c := range empty {
		s.shelves[shelf].drop(s, c)
	}
	return n
}

// shelfNumber returns where a chunk is.
func (s *Store) shelfNumber(c *chunk) int {
	if k, _ := s.shelves[kept].at(c.first); k == c {
		return kept
	}
	return plain
}

// removeOlder drops the finished traces that ended before t. What a dry run
// says would be freed is an estimate: chunks go as a whole.
func (s *Store) removeOlder(t time.Time, why reason, dryRun bool) (removed int, freed int64) {
	before := t.UnixNano()
	defer s.settleLog()
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.bytes.Load()
	s.traces.places(func(p uint32) bool {
		if s.traces.age(p) >= before || s.table.find(s.traces.id[p]) != nil {
			return true
		}
		removed++
		if dryRun {
			freed += s.weigh(p)
		} else {
			if why == cleaned && s.opts.Log != nil {
				s.owed.removed = append(s.owed.removed, s.traces.id[p])
			}
			s.remove(p, why)
		}
		return true
	})
	if len(s.owed.removed) > 0 {
		s.owed.sequences = [numShelves]uint64{s.sequence(plain), s.sequence(kept)}
	}
	if !dryRun {
		freed = held - s.bytes.Load()
	}
	return removed, max(freed, 0)
}

// weigh returns about how many bytes a trace takes.
func (s *Store) weigh(p uint32) int64 {
	n := int64(traceBytes)
	for i := range s.shelves {
		s.shelves[i].walk(s.traces.head[i][p], func(c *chunk, i int) bool {
			n += c.charged * int64(c.length[i]) / int64(max(c.rawSize(), 1))
			return true
		})
	}
	return n
}
