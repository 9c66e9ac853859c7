package tracing

import (
	"sort"
	"sync"

	"github.com/klauspost/compress/s2"
)

// packed is the messages of a full chunk, compressed. It never changes.
//
// S2 in blocks of 15 KiB takes 128 ns a span of 432 bytes and leaves 121; in
// blocks of 64 KiB 152 ns and 102 bytes, in one of 1 MiB 185 ns and 91. Below 16
// KiB its table stays in the core's nearest cache, and the spans of one trace, of
// which most need one block, unpack in a quarter of the time. zstd at its fastest
// takes five times as long.
type packed struct {
	blocks []byte
	ends   []uint32 // block i ends there in blocks, with the highest bit set if it is not compressed
	until  []uint32 // and holds the messages that end at most there in the chunk's bytes
}

const (
	blockBytes = 15 << 10 // or a little more, of messages; a block holds whole ones, so one can be larger
	plainBlock = 1 << 31
)

// pack compresses the messages of c, which is full.
func pack(c *chunk) *packed {
	p := &packed{}
	w := workshops.Get().(*workshop)
	defer workshops.Put(w)
	out := w.out[:0]
	from := uint32(0)
	for i := range c.length {
		end := c.at[i] + c.length[i]
		if end-from < blockBytes && i < len(c.length)-1 {
			continue
		}
		block, mark := s2.Encode(w.block[:cap(w.block)], c.raw[from:end]), uint32(0)
		if cap(block) > cap(w.block) {
			w.block = block
		}
		if len(block) > int(end-from)*7/8 {
			block, mark = c.raw[from:end], plainBlock
		}
		out = append(out, block...)
		p.ends = append(p.ends, uint32(len(out))|mark)
		p.until = append(p.until, end)
		from = end
	}
	p.blocks = append(make([]byte, 0, len(out)), out...)
	w.out = out
	return p
}

// workshop is the memory that it takes to pack.
type workshop struct{ block, out []byte }

var workshops = sync.Pool{New: func() any { return &workshop{block: make([]byte, s2.MaxEncodedLen(blockBytes+16<<10))} }}

func (p *packed) rawSize() int {
	if len(p.until) == 0 {
		return 0
	}
	return int(p.until[len(p.until)-1])
}

func (p *packed) size() int64 { return int64(len(p.blocks) + 4*len(p.ends) + 4*len(p.until)) }

// block returns the number of the block that holds the message at that place,
// and where the block begins.
func (p *packed) block(at uint32) (i int, from uint32) {
	i = sort.Search(len(p.until), func(i int) bool { return p.until[i] > at })
	if i > 0 {
		from = p.until[i-1]
	}
	return i, from
}

// unpack returns block i, in buf if that is large enough.
func (p *packed) unpack(buf []byte, i int) ([]byte, error) {
	from := uint32(0)
	if i > 0 {
		from = p.ends[i-1] &^ plainBlock
	}
	b := p.blocks[from : p.ends[i]&^plainBlock]
	if p.ends[i]&plainBlock != 0 {
		return b, nil
	}
	return s2.Decode(buf[:cap(buf)], b)
}

// source is where the messages of a chunk are to be read when its store is no
// longer locked.
type source struct {
	raw    []byte
	packed *packed
}

func (c *chunk) source() source {
	if c.packed == nil && !c.seen.Load() {
		c.seen.Store(true)
	}
	return source{c.raw, c.packed}
}

// unpacker reads messages and keeps the blocks that it unpacked for the next.
// What it returns is to be used before close.
type unpacker struct {
	blocks map[blockKey]*[]byte
}

type blockKey struct {
	packed *packed
	i      int
}

const keptBlocks = 4096 // of an unpacker: 64 MiB, the spans of a trace of 160,000

var unpackBuffers = sync.Pool{New: func() any { b := make([]byte, 0, blockBytes+16<<10); return &b }}

// message returns the message at a place, nil if its block is damaged.
func (u *unpacker) message(s source, at, size uint32) []byte {
	if s.packed == nil {
		return s.raw[at : at+size]
	}
	i, from := s.packed.block(at)
	b := u.block(s.packed, i)
	if int64(at-from)+int64(size) > int64(len(b)) {
		return nil
	}
	return b[at-from : at-from+size]
}

func (u *unpacker) block(p *packed, i int) []byte {
	key := blockKey{p, i}
	if b := u.blocks[key]; b != nil {
		return *b
	}
	if u.blocks == nil {
		u.blocks = map[blockKey]*[]byte{}
	}
	if len(u.blocks) >= keptBlocks {
		u.close()
	}
	buf := unpackBuffers.Get().(*[]byte)
	b, err := p.unpack(*buf, i)
	if err != nil {
		b = nil
	}
	if p.ends[i]&plainBlock != 0 {
		unpackBuffers.Put(buf) // b is the packed bytes themselves
		buf = &b
	} else if b != nil {
		*buf = b
	}
	u.blocks[key] = buf
	return b
}

// close gives the memory back.
func (u *unpacker) close() {
	for key, b := range u.blocks {
		if key.packed.ends[key.i]&plainBlock == 0 && cap(*b) <= 4*blockBytes {
			unpackBuffers.Put(b)
		}
	}
	clear(u.blocks)
}
