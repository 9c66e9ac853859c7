package tracing

import "cmp"

// maxSearch is what Query.MaxSearch is if it does not say.
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
	s.mu.RLock()
	at := make([]int32, len(s.traces.id)) // of the candidate at a place, from 1
	for i := range all {
		if p := all[i].place; s.traces.has(p, &all[i].id) {
			at[p] = int32(i + 1)
			m.known(&all[i])
		}
	}
	var chunks []*chunk
	for _, shelf := range []int{kept, plain} { // what moved on is older
		chunks = append(chunks, s.shelves[shelf].chunks...)
	}
	s.mu.RUnlock()
	left := cmp.Or(m.q.MaxSearch, maxSearch)
	for i := len(chunks) - 1; i >= 0 && !truncated; i-- {
		left -= m.chunk(chunks[i], all, at)
		truncated = left <= 0 && i > 0
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
		if n, err := readNote(s.traces.notes[c.place]); err == nil {
			c.open = m.wants.noted(s, c.open, &n)
		}
	}
	if m.wants.text != "" && s.traces.flags[c.place]&hasRoot != 0 {
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
func (m *matcher) chunk(c *chunk, all []candidate, at []int32) (read int64) {
	s := m.store
	s.mu.RLock()
	may, met, useful := m.prospect(c)
	var spans []lookup
	if useful {
		spans = m.lookups(c, all, at)
	}
	src := c.source()
	s.mu.RUnlock()
	if len(spans) == 0 {
		return 0
	}
	m.look(src, spans, all, met, may)
	for _, sp := range spans {
		read += int64(sp.size)
	}
	return read
}

// prospect says what spans of c may meet by their keys, what those of each of
// its groups have met by their resource, and whether that is anything. The
// caller holds mu.
func (m *matcher) prospect(c *chunk) (may uint64, met []uint64, useful bool) {
	may = m.wants.among(&c.keys)
	met = make([]uint64, len(c.groups))
	useful = may != 0
	for g := range c.groups {
		met[g] = m.metBy(c.get(c.groups[g].resource))
		useful = useful || met[g] != 0
	}
	return may, met, useful
}

// metBy returns the tags that a resource meets; many spans have the same one.
func (m *matcher) metBy(resource []byte) uint64 {
	tags, known := m.met[string(resource)]
	if !known {
		tags = m.wants.all &^ m.wants.tagged(m.wants.all, m.door.resource(resource))
		m.met[string(resource)] = tags
	}
	return tags
}

// look looks into spans of one chunk. A group's resource met what met says.
func (m *matcher) look(src source, spans []lookup, all []candidate, met []uint64, may uint64) {
	var u unpacker
	defer u.close()
	mentioned, of := uint64(0), -1
	for _, sp := range spans {
		open := all[sp.of].open &^ met[sp.group]
		if open == 0 || open&may == 0 {
			all[sp.of].open = open
			continue
		}
		if block := m.blockOf(src, sp.at); block != of {
			mentioned, of = m.wants.mentioned(u.all(src, block)), block
		}
		switch {
		case open&wantText != 0:
			if span, ok := m.door.open(u.message(src, sp.at, sp.size)); ok {
				open = m.wants.span(open, span)
			}
		case open&mentioned != 0:
			open = m.wants.tagsOf(&m.door, open, u.message(src, sp.at, sp.size))
		}
		all[sp.of].open = open
	}
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

// lookups returns the spans of c that belong to candidates with something open.
// The caller holds mu.
func (m *matcher) lookups(c *chunk, all []candidate, at []int32) []lookup {
	spans := m.spans[:0]
	for i, p := range c.trace {
		if int(p) >= len(at) || at[p] == 0 { // noTrace is beyond all places
			continue
		}
		of := at[p] - 1
		if all[of].open != 0 && m.store.traces.has(p, &all[of].id) {
			spans = append(spans, lookup{of, c.at[i], c.length[i], c.group[i]})
		}
	}
	m.spans = spans
	return spans
}
