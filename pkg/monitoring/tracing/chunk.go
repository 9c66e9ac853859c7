package tracing

import (
	"slices"
	"sync/atomic"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// chunk is some thousand spans: their messages as they were sent, one behind
// the other, and the index of them. It fills up, is packed, and goes as a
// whole. The store's mu guards it; what a row says of its message never
// changes, and neither do the bytes.
type chunk struct {
	number uint64 // no other chunk has it
	first  uint32 // number of its first row on its shelf
	rows
	texts
	groups []group
	keys   otlp.KeySet // of the attributes of its spans
	raw    []byte      // the messages; nil once packed
	packed *packed     // the same, nil until then

	places  map[group]uint16 // of groups, while it fills up
	full    bool
	gone    bool
	owed    bool        // the log has to be told anew what is in it
	struck  uint32      // rows that somebody wanted removed
	seen    atomic.Bool // a reader may have the raw messages
	live    int         // rows that belong to a trace
	through uint64      // sequence of the last record that is in it or earlier ones as a whole
	arrived int64       // when the last row came
	charged int64       // bytes that the store has counted
}

// group is what spans have in common that one instrumentation of one program
// sent; each field is a number in the chunk's texts.
type group struct {
	resource uint16 // Resource message
	scope    uint16 // InstrumentationScope message
	service  uint16 // service.name
	name     uint16 // the scope's
}

const (
	chunkBytes = 1 << 20 // of messages, when a chunk is full; less in a small store
	chunkFixed = 1024    // what a chunk takes beside its columns, texts and messages
	maxRows    = 1 << 15 // of a chunk
	groupBytes = 8

	maxTextBytes = 4 << 20 // of a chunk, but for those of its last span
	groupOpened  = 40      // more of a group while its chunk fills up
)

// newChunk returns an empty chunk with room for a little more than so many bytes of
// messages, in used if that is large enough.
func newChunk(number uint64, first uint32, raw int, used []byte) *chunk {
	c := &chunk{number: number, first: first, places: map[group]uint16{}}
	if raw > 0 {
		if c.raw = used[:0]; cap(used) < raw {
			c.raw = make([]byte, 0, raw+raw/16)
		}
	}
	return c
}

// furnish gives an empty chunk columns for a little more than so many rows: the
// spare ones, if they are neither too small nor much too large. It returns what is
// spare then.
func (c *chunk) furnish(n int, spare rows) rows {
	if have := cap(spare.trace); n > 0 && have >= n+n/32 && have <= 2*n {
		c.rows = spare
		c.truncate()
		return rows{}
	}
	if n > 0 {
		c.resize(n + n/16)
	}
	return spare
}

// fits tells whether one more span of size bytes has a place.
func (c *chunk) fits(size, limit int) bool {
	return !c.full && c.n() < maxRows && len(c.ends) < maxTexts && len(c.texts.bytes) < maxTextBytes && (len(c.raw) == 0 || len(c.raw)+size <= limit)
}

// number returns that of g among groups, where it is added if it is new.
func (g group) number(groups *[]group, places map[group]uint16) uint16 {
	i, found := places[g]
	if !found {
		i = uint16(len(*groups))
		*groups = append(*groups, g)
		places[g] = i
	}
	return i
}

// groupOf returns the group of what a sender sends.
func (t *texts) groupOf(from *sender) group {
	return group{
		resource: t.intern(from.resource), scope: t.intern(from.scope),
		service: t.intern([]byte(from.service)), name: t.intern([]byte(from.name)),
	}
}

// enroll gives a span its group and the number of its name.
func (c *chunk) enroll(a *arrival) {
	if a.from.chunk != c.number {
		a.from.group, a.from.chunk = c.groupOf(a.from).number(&c.groups, c.places), c.number
		c.keys.Join(a.from.keys)
	}
	a.row.group, a.row.name = a.from.group, c.intern(a.name)
}

// sender returns what the spans of a group come from, whose attributes have keys.
func (t *texts) sender(g group, keys *otlp.KeySet) sender {
	return sender{resource: t.get(g.resource), scope: t.get(g.scope), service: t.string(g.service), name: t.string(g.name), keys: keys}
}

// put adds a span with its message.
func (c *chunk) put(x *row, message []byte) {
	x.at, x.size = uint32(len(c.raw)), uint32(len(message))
	c.raw = append(c.raw, message...)
	c.add(x)
	c.live++
}

// close ends the filling.
func (c *chunk) close() {
	c.full = true
	c.places, c.slots = nil, nil
	if n := c.n(); cap(c.trace) > n+n/8 {
		c.resize(n)
	}
	c.texts.bytes, c.ends, c.groups = slices.Clip(c.texts.bytes), slices.Clip(c.ends), slices.Clip(c.groups)
}

func (c *chunk) rawSize() int {
	if c.packed != nil {
		return c.packed.rawSize()
	}
	return len(c.raw)
}

// size is what the chunk takes, in bytes.
func (c *chunk) size() int64 {
	n := chunkFixed + rowBytes*int64(c.n()) + c.texts.size() + groupBytes*int64(len(c.groups)) + groupOpened*int64(len(c.places)) + int64(len(c.raw))
	if c.packed != nil {
		n += c.packed.size()
	}
	return n
}

func (c *chunk) service(i int) string { return c.texts.string(c.groups[c.group[i]].service) }

func (c *chunk) operation(i int) string { return c.texts.string(c.name[i]) }
