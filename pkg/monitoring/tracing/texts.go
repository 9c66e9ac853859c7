package tracing

import (
	"hash/maphash"
)

// texts are the different texts of a chunk, each once: names of operations,
// services and scopes, and the messages of resources and scopes. A number
// stands for a text within its chunk, so they go when the chunk goes.
type texts struct {
	bytes []byte
	ends  []uint32 // text i ends there and begins where text i-1 ends
	slots []uint16 // number+1 by hash, open addressing; nil once the chunk is full

	recent [64]uint16 // number+1 of texts that were asked for; see intern
}

// maxTexts is how many texts a chunk takes.
const maxTexts = 1<<15 - 8

var textSeed = maphash.MakeSeed()

func (t *texts) get(i uint16) []byte {
	from := uint32(0)
	if i > 0 {
		from = t.ends[i-1]
	}
	return t.bytes[from:t.ends[i]]
}

func (t *texts) string(i uint16) string { return alias(t.get(i)) }

// intern returns the number of b, which is copied if it is new. The few names
// that a program uses are among the recent ones: 23 ns a span of a trace without
// them, 6 ns with them (BenchmarkWholeRequest).
func (t *texts) intern(b []byte) uint16 {
	last := &t.recent[place(alias(b))%uint64(len(t.recent))]
	if n := *last; n > 0 && string(t.get(n-1)) == string(b) {
		return n - 1
	}
	n := t.number(b)
	*last = n + 1
	return n
}

// number is intern by the table.
func (t *texts) number(b []byte) uint16 {
	if 2*len(t.ends) >= len(t.slots) {
		t.rehash(max(256, 2*len(t.slots)))
	}
	slot := t.slot(b)
	if n := t.slots[slot]; n > 0 {
		return n - 1
	}
	t.bytes = append(t.bytes, b...)
	t.ends = append(t.ends, uint32(len(t.bytes)))
	t.slots[slot] = uint16(len(t.ends))
	return uint16(len(t.ends) - 1)
}

// slot returns where b is, or where it belongs.
func (t *texts) slot(b []byte) uint64 {
	mask := uint64(len(t.slots) - 1)
	for h := maphash.Bytes(textSeed, b) & mask; ; h = (h + 1) & mask {
		if n := t.slots[h]; n == 0 || string(t.get(n-1)) == string(b) {
			return h
		}
	}
}

func (t *texts) rehash(n int) {
	t.slots = make([]uint16, n)
	for i := range t.ends {
		t.slots[t.slot(t.get(uint16(i)))] = uint16(i + 1)
	}
}

// find returns the number of a text, if the chunk has it.
func (t *texts) find(s string) (uint16, bool) {
	if t.slots != nil {
		n := t.slots[t.slot([]byte(s))]
		return n - 1, n > 0
	}
	from := uint32(0)
	for i, end := range t.ends {
		if int(end-from) == len(s) && string(t.bytes[from:end]) == s {
			return uint16(i), true
		}
		from = end
	}
	return 0, false
}

// size is what the texts take, in bytes.
func (t *texts) size() int64 { return int64(len(t.bytes) + 4*len(t.ends) + 2*len(t.slots)) }
