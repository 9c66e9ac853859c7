package tracing

// maxSearch is how many bytes of spans one query unpacks and reads at most.
const maxSearch = 1 << 30

// candidate is a trace whose index fits and whose spans are to be looked into.
type candidate struct {
	hit
	place uint32
	open  uint64 // what no span has met yet
}

// search looks into the spans of candidates and gives found those that match:
// chunk by chunk, so that each block is unpacked once, the newest first. It says
// whether it stopped before the end.
func (m *matcher) search(all []candidate, found *top) (truncated bool) {
	s := m.store
	at := map[uint32]int32{}
	s.mu.RLock()
	for i := range all {
		if at[all[i].place] = int32(i); s.traces.has(all[i].place, &all[i].id) {
			m.known(&all[i])
		}
	}
	var chunks []*chunk
	for i := range s.shelves {
		chunks = append(chunks, s.shelves[i].chunks...)
	}
	s.mu.RUnlock()
	var work int64
	for i := len(chunks) - 1; i >= 0 && !truncated; i-- {
		work += m.chunk(chunks[i], all, at)
		truncated = work > maxSearch && i > 0
	}
	for i := range all {
		if all[i].open == 0 {
			found.add(all[i].hit)
		}
	}
	return truncated
}

// known looks at what the store knows of a candidate beside its spans. The
// caller holds mu.
func (m *matcher) known(c *candidate) {
	s := m.store
	if s.traces.flags[c.place]&noted != 0 {
		if n, err := readNote(s.notes[c.place]); err == nil {
			c.open = m.wants.noted(s, c.open, &n)
		}
	}
	if s.traces.flags[c.place]&hasRoot != 0 {
		if ch, i := s.shelves[s.traces.rootShelf(c.place)].at(s.traces.root[c.place]); ch != nil {
			c.open = m.wants.root(s, c.open, ch.get(ch.groups[ch.group[i]].resource))
		}
	}
}

// lookup is a span of a candidate.
type lookup struct {
	of       int32 // among the candidates
	at, size uint32
	group    uint16
}

// chunk looks into the spans that c has of candidates. It returns how many
// bytes of spans it read for that.
func (m *matcher) chunk(c *chunk, all []candidate, at map[uint32]int32) int64 {
	src, spans, resources := m.lookups(c, all, at)
	if len(spans) == 0 {
		return 0
	}
	met := make([]uint64, len(resources))
	for g := range resources {
		if resources[g] != nil {
			met[g] = m.wants.all &^ m.wants.tagged(m.wants.all, m.door.resource(resources[g]))
		}
	}
	var u unpacker
	defer u.close()
	mentioned, of := uint64(0), -1
	read := int64(0)
	for _, sp := range spans {
		open := all[sp.of].open &^ met[sp.group]
		if open&^wantText != 0 || open == 0 {
			if block := m.blockOf(src, sp.at); block != of {
				mentioned, of = m.wants.mentioned(u.all(src, block)), block
			}
		}
		if open != 0 && (open&wantText != 0 || open&mentioned != 0) {
			message := u.message(src, sp.at, sp.size)
			read += int64(len(message))
			if m.wants.maybe(open, message) {
				if span, ok := m.door.open(message); ok {
					open = m.wants.span(open, span)
				}
			}
		}
		all[sp.of].open = open
	}
	return read + u.raw
}

// blockOf returns the number of the block that has the message.
func (m *matcher) blockOf(src source, at uint32) int {
	if src.packed == nil {
		return 0
	}
	i, _ := src.packed.block(at)
	return i
}

// all returns a block, which is all there is of a chunk that is not packed.
func (u *unpacker) all(src source, block int) []byte {
	if src.packed == nil {
		return src.raw
	}
	return u.block(src.packed, block)
}

// lookups returns the spans of c that belong to candidates with something open,
// and the resources that they come from.
func (m *matcher) lookups(c *chunk, all []candidate, at map[uint32]int32) (src source, spans []lookup, resources [][]byte) {
	s := m.store
	s.mu.RLock()
	defer s.mu.RUnlock()
	resources = make([][]byte, len(c.groups))
	for i, p := range c.trace {
		if p == noTrace {
			continue
		}
		of, found := at[p]
		if !found || all[of].open == 0 || !s.traces.has(p, &all[of].id) {
			continue
		}
		g := c.group[i]
		if resources[g] == nil {
			resources[g] = c.get(c.groups[g].resource)
		}
		spans = append(spans, lookup{of, c.at[i], c.length[i], g})
	}
	return c.source(), spans, resources
}
