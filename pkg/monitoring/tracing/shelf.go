package tracing

import (
	"slices"
	"sort"
)

// shelf is a line of chunks, the oldest first, of which the last fills up.
// Rows are numbered along it, on and on, so that four bytes say where a trace's
// last row is and four where the one before; after 2³² rows they begin again,
// long after the first ones went. The store's mu guards it.
type shelf struct {
	chunks []*chunk
	next   uint32 // number of the next row; 0 is none's
	bytes  int64  // of the chunks

	usedRows, usedRaw int // of the last chunk that became full; the next will be like it
}

// The shelves of a store.
const (
	plain = iota // what ordinary eviction takes from
	kept         // spans of failed and slow traces that eviction came by
	numShelves
)

// at returns the chunk that has the row, and the row's place in it.
func (sh *shelf) at(n uint32) (*chunk, int) {
	if len(sh.chunks) == 0 || n == 0 {
		return nil, 0
	}
	last := sh.chunks[len(sh.chunks)-1]
	if off := n - last.first; off < uint32(last.n()) {
		return last, int(off)
	}
	first := sh.chunks[0].first
	i := sort.Search(len(sh.chunks), func(i int) bool { return sh.chunks[i].first-first > n-first }) - 1
	if i < 0 {
		return nil, 0
	}
	c := sh.chunks[i]
	if off := n - c.first; off < uint32(c.n()) {
		return c, int(off)
	}
	return nil, 0
}

// walk calls f for a row, the row of the same trace before it, and so on.
func (sh *shelf) walk(n uint32, f func(c *chunk, i int) bool) {
	c, i := sh.at(n)
	for c != nil && f(c, i) {
		back := c.back[i]
		switch {
		case back == 0:
			return
		case uint32(i) >= back:
			i -= int(back)
		default:
			c, i = sh.at(c.row(i) - back)
		}
	}
}

// row returns the number of row i of c.
func (c *chunk) row(i int) uint32 { return c.first + uint32(i) }

// open returns the chunk that takes the next span, of size bytes. The one
// before may be full by that; then it is returned too.
func (sh *shelf) open(s *Store, size int) (c, full *chunk) {
	if n := len(sh.chunks); n > 0 {
		c = sh.chunks[n-1]
		if c.fits(size, s.chunkBytes) {
			return c, nil
		}
		if !c.full {
			c.close()
			sh.usedRows, sh.usedRaw, full = c.n(), len(c.raw), c
		}
	}
	s.chunks++
	c = newChunk(s.chunks, sh.begin(), sh.usedRaw, s.takeUsed())
	s.spare = c.furnish(sh.usedRows, s.spare)
	sh.chunks = append(sh.chunks, c)
	return c, full
}

// takeUsed returns the memory of a chunk that was packed, nil if there is none.
func (s *Store) takeUsed() (b []byte) {
	if last := len(s.used) - 1; last >= 0 {
		b, s.used = s.used[last], s.used[:last]
	}
	return b
}

// drop takes c off the shelf.
func (sh *shelf) drop(s *Store, c *chunk) {
	if i := slices.Index(sh.chunks, c); i >= 0 {
		sh.chunks = slices.Delete(sh.chunks, i, i+1)
	}
	c.gone = true
	if s.opts.Log != nil {
		s.owed.dropped = append(s.owed.dropped, c.number)
	}
	sh.bytes -= c.charged
	s.bytes.Add(-c.charged)
	c.charged = 0
	if len(sh.chunks) == 0 {
		sh.chunks, s.used, s.spare = nil, nil, rows{}
	}
}

// charge counts what c takes now.
func (sh *shelf) charge(s *Store, c *chunk) {
	n := c.size()
	if n == c.charged {
		return
	}
	sh.bytes += n - c.charged
	s.bytes.Add(n - c.charged)
	c.charged = n
}
