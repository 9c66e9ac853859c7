package tracing

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// index is what a list asks of a trace, in columns, and the way from a trace's
// id to its place in them. A list is one pass over columns of numbers; a trace
// costs traceBytes. The store's mu guards it.
type index struct {
	slots []uint64 // open addressing: 32 bits of the hash, then place+1
	seeds [2]uint64
	n     int      // traces
	free  []uint32 // places

	id       []TraceID
	start    []int64 // of the earliest span, Unix nanoseconds; 0 if no span says
	end      []int64 // of the latest span
	arrived  []int64 // when something last came
	services []uint64
	head     [numShelves][]uint32 // number of the last row on each shelf
	root     []uint32             // number of the first span without a parent, on the shelf that its flag tells
	spans    []uint32             // rows; 0 for a free place
	errors   []uint32             // of these failed ones
	orphans  []uint32             // of these with a parent that has not come
	lost     []uint32             // spans that were evicted
	began    []outcome            // of the root
	worst    []outcome            // of all spans there ever were
	status   []outcome            // of the trace; see judge
	flags    []uint8
	notes    []string // encoded, where the flag noted says so
}

const traceBytes = 16 + 4*8 + 7*4 + 4 + 16 + 16 // the last for slots, of which half may be free

const (
	hasRoot   = 1 << iota
	rootKept  // the root is on the shelf kept
	profiled  // somebody linked a profile
	noted     // notes has more
	wasCut    // a span without a verdict of its own was aborted
	mixed     // it has spans of others, so orphans counts; otherwise it is 0
	manyKnown // Store.families has its spans
)

func newIndex() index { return index{seeds: [2]uint64{rand.Uint64() | 1, rand.Uint64() | 1}} }

// hash is not to be foreseen by a sender, or he could make all traces meet.
func (x *index) hash(id *TraceID) uint32 {
	a, b := binary.LittleEndian.Uint64(id[:8]), binary.LittleEndian.Uint64(id[8:])
	hi, lo := bits.Mul64(a^x.seeds[0], b^x.seeds[1])
	hi, lo = bits.Mul64(hi^lo^x.seeds[1], 0x9e3779b97f4a7c15)
	return uint32((hi ^ lo) >> 32)
}

// find returns the place of a trace.
func (x *index) find(id *TraceID) (place uint32, found bool) {
	if len(x.slots) == 0 {
		return 0, false
	}
	tag, mask := x.hash(id), uint32(len(x.slots)-1)
	for h := tag & mask; ; h = (h + 1) & mask {
		switch e := x.slots[h]; {
		case e == 0:
			return 0, false
		case uint32(e>>32) == tag && x.id[uint32(e)-1] == *id:
			return uint32(e) - 1, true
		}
	}
}

// has tells whether a place is that of the trace still.
func (x *index) has(p uint32, id *TraceID) bool { return int(p) < len(x.id) && x.id[p] == *id }

// add gives a trace that is not there a place.
func (x *index) add(id *TraceID) (place uint32) {
	if 3*len(x.slots) < 4*(x.n+1) {
		x.rehash(max(64, 2*len(x.slots)))
	}
	if last := len(x.free) - 1; last >= 0 {
		place, x.free = x.free[last], x.free[:last]
	} else {
		place = x.extend()
	}
	x.clear(place)
	x.id[place] = *id
	x.n++
	tag := x.hash(id)
	x.enter(uint64(tag)<<32 | uint64(place+1))
	return place
}

func (x *index) enter(e uint64) {
	mask := uint32(len(x.slots) - 1)
	h := uint32(e>>32) & mask
	for x.slots[h] != 0 {
		h = (h + 1) & mask
	}
	x.slots[h] = e
}

func (x *index) rehash(n int) {
	before := x.slots
	x.slots = make([]uint64, n)
	for _, e := range before {
		if e != 0 {
			x.enter(e)
		}
	}
}

// extend adds a place.
func (x *index) extend() uint32 {
	x.id = append(x.id, TraceID{})
	x.start, x.end, x.arrived = append(x.start, 0), append(x.end, 0), append(x.arrived, 0)
	x.services = append(x.services, 0)
	for i := range x.head {
		x.head[i] = append(x.head[i], 0)
	}
	x.root, x.spans, x.errors = append(x.root, 0), append(x.spans, 0), append(x.errors, 0)
	x.orphans, x.lost = append(x.orphans, 0), append(x.lost, 0)
	x.began, x.worst, x.flags = append(x.began, 0), append(x.worst, 0), append(x.flags, 0)
	x.status, x.notes = append(x.status, 0), append(x.notes, "")
	return uint32(len(x.id) - 1)
}

func (x *index) clear(p uint32) {
	x.id[p], x.start[p], x.end[p], x.arrived[p], x.services[p] = TraceID{}, 0, 0, 0, 0
	for i := range x.head {
		x.head[i][p] = 0
	}
	x.root[p], x.spans[p], x.errors[p], x.orphans[p], x.lost[p] = 0, 0, 0, 0, 0
	x.began[p], x.worst[p], x.status[p] = 0, 0, 0
	if x.flags[p]&noted != 0 { // not always: the collector hears of each pointer that is written
		x.notes[p] = ""
	}
	x.flags[p] = 0
}

// remove takes a trace out. Once the last has gone, so has the memory.
func (x *index) remove(p uint32) {
	mask := uint32(len(x.slots) - 1)
	h := x.hash(&x.id[p]) & mask
	for uint32(x.slots[h]) != p+1 {
		h = (h + 1) & mask
	}
	x.slots[h] = 0
	for next := (h + 1) & mask; x.slots[next] != 0; next = (next + 1) & mask {
		home := uint32(x.slots[next]>>32) & mask
		if (next-home)&mask >= (next-h)&mask { // it may stand at h
			x.slots[h], x.slots[next] = x.slots[next], 0
			h = next
		}
	}
	x.clear(p)
	if x.n--; x.n == 0 {
		*x = index{seeds: x.seeds}
		return
	}
	x.free = append(x.free, p)
}

// note adds what one span tells of its trace.
func (x *index) note(p uint32, r *row, services uint64, now int64) {
	if r.start > 0 && (x.start[p] == 0 || r.start < x.start[p]) {
		x.start[p] = r.start
	}
	x.end[p] = max(x.end[p], r.start+r.took)
	x.arrived[p] = max(x.arrived[p], now)
	x.services[p] |= services
	x.spans[p]++
	switch r.outcome {
	case failed, timedOut:
		x.errors[p]++
		x.worst[p] = worse(x.worst[p], r.outcome)
	case aborted:
		x.flags[p] |= wasCut
	}
}

// judge writes down how a trace ended: as its root did, and if that is well as
// its worst span did. Without a root the spans alone tell.
func (x *index) judge(p uint32) {
	if x.flags[p]&(hasRoot|wasCut) == wasCut && x.worst[p] == unset {
		x.status[p] = aborted
		return
	}
	x.status[p] = verdict(x.began[p], x.worst[p])
}

func (x *index) uncrown(p uint32) {
	x.flags[p] &^= hasRoot | rootKept
	x.began[p] = unset
}

// duration is the time between the first start and the last end.
func (x *index) duration(p uint32) int64 { return max(x.end[p]-x.start[p], 0) }

// matters tells whether a trace is kept when ordinary ones go.
func (x *index) matters(p uint32, slow int64) bool {
	return x.worst[p] != unset || x.duration(p) >= slow
}

// age returns the end of a trace, or when its last span arrived if its spans
// claim to end later than that or at no time.
func (x *index) age(p uint32) int64 {
	if x.end[p] <= 0 || x.end[p] > x.arrived[p] {
		return x.arrived[p]
	}
	return x.end[p]
}

// places calls f for the place of each trace, until it returns false.
func (x *index) places(f func(uint32) bool) {
	for p := 0; p < len(x.spans); p++ { // f may remove the trace, and the last takes the columns along
		if x.spans[p] > 0 && !f(uint32(p)) {
			return
		}
	}
}

// outcome is how a span ended, finer than OTLP's status.
type outcome uint8

const (
	unset outcome = iota
	ok
	failed
	timedOut
	aborted
)

// worse returns the worse of two outcomes, as far as they are failures.
func worse(a, b outcome) outcome {
	if b == failed || b == timedOut && a != failed {
		return b
	}
	return a
}

// verdict is how a trace ended whose root and worst span ended so.
func verdict(root, worst outcome) outcome {
	if root <= ok && worst != unset {
		return worst
	}
	return root
}

func sortIDs(ids []TraceID) {
	slices.SortFunc(ids, func(a, b TraceID) int { return slices.Compare(a[:], b[:]) })
}
