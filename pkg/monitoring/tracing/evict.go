package tracing

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
	s.packFull()
	for s.bytes.Load() > s.opts.MaxBytes {
		if s.evict() {
			s.settleLog()
			s.packFull()
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
	lost := int64(0)
	for i := range c.trace {
		p := c.trace[i]
		if p == noTrace {
			continue
		}
		if lost++; s.lose(p, from, c, i) {
			headless = append(headless, p)
		}
	}
	s.dropped[evicted].Add(lost)
	for _, p := range headless {
		if int(p) < len(s.traces.spans) && s.traces.spans[p] > 0 {
			s.recrown(p)
		}
	}
	if !c.gone {
		sh.drop(s, c)
		s.recycle(c)
	}
	s.settle()
	return true
}

// recycle keeps the columns of a chunk that was dropped for the next: 116 bytes of
// garbage a span instead of 172 (BenchmarkChildSpan). Only who packs a chunk, evicts
// it or writes it to a log reads its columns without mu. The caller holds mu.
func (s *Store) recycle(c *chunk) {
	if c.packed != nil && s.opts.Log == nil {
		s.spare, c.rows = c.rows, rows{}
	}
}

// rescue moves the spans of failed and slow traces to the other shelf. It lets
// go of mu to unpack the chunk.
func (s *Store) rescue(c *chunk) {
	if s.replaying {
		return
	}
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
		*from = c.sender(c.groups[c.group[i]], &c.keys)
	}
	x, p := &s.traces, c.trace[i]
	a := arrival{message: message, name: c.get(c.name[i]), from: from, row: c.span(i)}
	if told != nil {
		told.put(message, a.row.outcome, from)
		told.note(x.id[p], x.notes[p])
	}
	if x.head[kept][p] == 0 {
		s.rewrite(p)
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

// lose drops a span whose chunk goes, and which its caller counts. It says whether that was the root.
func (s *Store) lose(p uint32, shelf int, c *chunk, i int) (headless bool) {
	x := &s.traces
	s.release(p, shelf, c, i)
	x.spans[p]--
	x.lost[p]++
	if o := c.outcome(i); o == failed || o == timedOut {
		x.errors[p]--
	}
	if x.flags[p]&hasRoot != 0 && x.rootShelf(p) == shelf && x.root[p] == c.row(i) {
		x.uncrown(p)
		headless = true
	}
	if x.flags[p]&manyKnown != 0 {
		s.families[p].leave(s, c, i)
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
				r := c.span(i)
				s.crown(p, &r, shelf, c.row(i))
			}
			return true
		})
	}
	s.traces.judge(p)
}
