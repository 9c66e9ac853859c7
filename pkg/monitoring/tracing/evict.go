package tracing

import (
	"time"
)

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
			s.settleLog()
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
	var headless []uint32
	for i := range c.trace {
		if p := c.trace[i]; p != noTrace && s.lose(p, from, c, i) {
			headless = append(headless, p)
		}
	}
	for _, p := range headless {
		if int(p) < len(s.traces.spans) && s.traces.spans[p] > 0 {
			s.recrown(p)
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
	var told *form
	sequence := s.sequence(kept)
	if sequence > 0 {
		told = newForm(kept)
	}
	senders := make([]sender, len(c.groups))
	for k, i := range moving {
		if c.gone || c.trace[i] == noTrace || messages[k] == nil {
			continue
		}
		s.move(c, i, messages[k], &senders[c.group[i]], told)
	}
	if told != nil {
		s.mu.Unlock()
		s.record(kept, sequence, told.record(), told.n())
		s.mu.Lock()
	}
}

// move puts a span of a chunk on the shelf of those that matter.
func (s *Store) move(c *chunk, i int, message []byte, from *sender, told *form) {
	if from.chunk == 0 {
		g := c.groups[c.group[i]]
		*from = sender{resource: c.get(g.resource), scope: c.get(g.scope), service: c.texts.string(g.service), name: c.texts.string(g.name), keys: &c.keys}
	}
	x, p := &s.traces, c.trace[i]
	a := arrival{message: message, name: c.get(c.name[i]), from: from, row: row{
		trace: p, id: c.id[i], parent: c.parent[i], start: c.start[i], took: c.took[i], kind: c.kind[i] & 15, outcome: c.outcome(i),
	}}
	if told != nil {
		a.trace = x.id[p]
		told.put(a, s.notes[p])
	}
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

// lose drops a span whose chunk goes. It says whether that was the root.
func (s *Store) lose(p uint32, shelf int, c *chunk, i int) (headless bool) {
	x := &s.traces
	s.release(p, shelf, c, i)
	s.dropped[evicted].Add(1)
	x.spans[p]--
	x.lost[p]++
	if o := c.outcome(i); o == failed || o == timedOut {
		x.errors[p]--
	}
	if x.flags[p]&hasRoot != 0 && x.rootShelf(p) == shelf && x.root[p] == c.row(i) {
		x.uncrown(p)
		headless = true
	}
	if f := s.families[p]; f != nil {
		f.leave(s, c, i)
	}
	if x.spans[p] == 0 {
		s.forget(p)
	}
	return headless
}

// recrown looks for a root among the spans that a trace still has.
func (s *Store) recrown(p uint32) {
	for shelf := range s.shelves {
		s.shelves[shelf].walk(s.traces.head[shelf][p], func(c *chunk, i int) bool {
			if !c.parent[i].IsValid() {
				s.crown(p, &row{id: c.id[i], start: c.start[i], outcome: c.outcome(i)}, shelf, c.row(i))
			}
			return true
		})
	}
	s.traces.judge(p)
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
