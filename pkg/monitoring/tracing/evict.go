package tracing

import "time"

// shrink drops the oldest spans until the store is within its bytes: a whole
// chunk of ordinary ones at a time, of which the spans of failed and slow
// traces move to the other shelf; from there a chunk goes when that shelf has
// more than half of the store, or is all there is. The caller holds no lock.
func (s *Store) shrink() {
	if s.bytes.Load() <= s.opts.MaxBytes {
		return
	}
	s.evicting.Lock()
	defer s.evicting.Unlock()
	s.packFull(0)
	for s.bytes.Load() > s.opts.MaxBytes {
		if s.evict() {
			s.packFull(0)
			continue
		}
		r, found := s.table.oldest() // finished ones are gone: those with running spans
		if !found {
			return
		}
		r.abandon(evicted)
	}
}

// evict drops the oldest chunk of a shelf. It says whether there was one. The
// caller holds evicting.
func (s *Store) evict() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh, from := &s.shelves[plain], plain
	if k := &s.shelves[kept]; len(sh.chunks) == 0 || k.bytes > s.opts.MaxBytes/2 {
		sh, from = k, kept
	}
	if len(sh.chunks) == 0 {
		return false
	}
	c := sh.chunks[0]
	if !c.full {
		c.close()
	}
	if from == plain {
		s.rescue(c)
	}
	for i := range c.trace {
		if p := c.trace[i]; p != noTrace {
			s.lose(p, from, c, i)
		}
	}
	if !c.gone {
		sh.drop(s, c)
	}
	s.settle()
	return true
}

// rescue moves the spans of failed and slow traces to the other shelf. It lets
// go of mu to unpack the chunk.
func (s *Store) rescue(c *chunk) {
	x := &s.traces
	var moving []int
	for i, p := range c.trace {
		if p != noTrace && x.matters(p, int64(s.opts.Slow)) {
			moving = append(moving, i)
		}
	}
	if len(moving) == 0 {
		return
	}
	src, messages := c.source(), make([][]byte, len(moving))
	s.mu.Unlock()
	var u unpacker
	defer u.close()
	for k, i := range moving {
		messages[k] = u.message(src, c.at[i], c.length[i])
	}
	s.mu.Lock()
	senders := make([]sender, len(c.groups))
	for k, i := range moving {
		if c.gone || c.trace[i] == noTrace || messages[k] == nil {
			continue
		}
		s.move(c, i, messages[k], &senders[c.group[i]])
	}
}

// move puts a span of a chunk on the shelf of those that matter.
func (s *Store) move(c *chunk, i int, message []byte, from *sender) {
	if from.chunk == 0 {
		g := c.groups[c.group[i]]
		*from = sender{resource: c.get(g.resource), scope: c.get(g.scope), service: c.texts.string(g.service), name: c.texts.string(g.name)}
	}
	x, p := &s.traces, c.trace[i]
	a := arrival{message: message, name: c.get(c.name[i]), from: from, row: row{
		trace: p, id: c.id[i], parent: c.parent[i], start: c.start[i], took: c.took[i], kind: c.kind[i] & 15, outcome: c.outcome(i),
	}}
	to, number := s.place(kept, &a, x.head[kept][p])
	to.arrived = max(to.arrived, c.arrived)
	x.head[kept][p] = number
	if x.flags[p]&(hasRoot|rootKept) == hasRoot && x.root[p] == c.row(i) {
		x.root[p] = number
		x.flags[p] |= rootKept
	}
	s.release(p, plain, c, i)
}

// release takes the row out of its trace's line, of which it is the oldest.
func (s *Store) release(p uint32, shelf int, c *chunk, i int) {
	c.trace[i] = noTrace
	c.live--
	if head := s.traces.head[shelf]; head[p] == c.row(i) {
		head[p] = 0
	}
}

// lose drops a span whose chunk goes.
func (s *Store) lose(p uint32, shelf int, c *chunk, i int) {
	x := &s.traces
	s.release(p, shelf, c, i)
	s.dropped[evicted].Add(1)
	x.spans[p]--
	x.lost[p]++
	if o := c.outcome(i); o == failed || o == timedOut {
		x.errors[p]--
	}
	if x.flags[p]&hasRoot != 0 && x.rootShelf(p) == shelf && x.root[p] == c.row(i) {
		x.flags[p] &^= hasRoot | rootKept
		x.began[p] = unset
	}
	if f := s.families[p]; f != nil {
		f.leave(s, c, i)
	}
	if x.spans[p] == 0 {
		s.forget(p)
	}
}

// forget takes a trace without rows out of the index.
func (s *Store) forget(p uint32) {
	s.disband(p)
	s.bytes.Add(-traceBytes)
	if n, found := s.notes[p]; found {
		s.bytes.Add(-noteBytes - int64(len(n)))
		delete(s.notes, p)
	}
	s.traces.remove(p)
}

// remove drops a whole trace. A chunk that has no other goes too; in others
// its rows stay behind until those go. The caller holds mu.
func (s *Store) remove(p uint32, why reason) {
	var empty []*chunk
	for i := range s.shelves {
		s.shelves[i].walk(s.traces.head[i][p], func(c *chunk, i int) bool {
			c.trace[i] = noTrace
			s.dropped[why].Add(1)
			if c.live--; c.live == 0 {
				empty = append(empty, c)
			}
			return true
		})
	}
	for _, c := range empty {
		s.shelfOf(c).drop(s, c)
	}
	s.forget(p)
}

func (s *Store) shelfOf(c *chunk) *shelf {
	for i := range s.shelves {
		sh := &s.shelves[i]
		if k, _ := sh.at(c.first); k == c {
			return sh
		}
	}
	return &s.shelves[plain] // it has gone
}

// removeOlder drops the finished traces that ended before t. What a dry run
// says would be freed is an estimate: chunks go as a whole.
func (s *Store) removeOlder(t time.Time, why reason, dryRun bool) (removed int, freed int64) {
	before := t.UnixNano()
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
			s.remove(p, why)
		}
		return true
	})
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
