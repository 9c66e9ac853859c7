package metric

import (
	"sync/atomic"
	"time"
)

// Observation is one duration with what is needed to find its trace again.
type Observation struct {
	Duration time.Duration // below 0 counts as 0
	End      time.Time     // when it ended; zero means now, where it matters
	Trace    [16]byte      // the trace to show as an exemplar; zero means none
}

// chunkCells is how many neighbouring cells are allocated together: two octaves,
// or two cache lines. A route whose times spread over two decades has four or
// five of the twenty chunks: 0.8 KB, where all cells would take 2.5.
const chunkCells = 16

// histogram counts durations in the cells of a scale. Its count is the sum of
// its cells: whoever reads it while others write finds each observation either
// in all buckets it belongs to and in the count, or in none.
type histogram struct {
	scale     *scale
	sum       atomic.Uint64 // nanoseconds; wraps after 584 years, which looks like a restart
	exemplars atomic.Pointer[exemplars]
	chunks    [maxCells / chunkCells]atomic.Pointer[chunk]
	created   time.Time
}

type chunk [chunkCells]atomic.Uint64

func newHistogram(s *scale) *histogram { return &histogram{scale: s, created: time.Now()} }

func (h *histogram) observe(o *Observation) {
	d := max(o.Duration, 0)
	c := h.scale.cell(int64(d))
	ch := h.chunks[c/chunkCells].Load()
	if ch == nil {
		ch = h.grow(c / chunkCells)
	}
	ch[c%chunkCells].Add(1)
	h.sum.Add(uint64(d))
	if o.Trace != ([16]byte{}) {
		h.keepExemplar(int(h.scale.bucket[c]), d, o)
	}
}

func (h *histogram) grow(i int) *chunk {
	h.chunks[i].CompareAndSwap(nil, new(chunk))
	return h.chunks[i].Load()
}

// count returns the number of observations.
func (h *histogram) count() (n uint64) {
	for i := range h.chunks {
		if ch := h.chunks[i].Load(); ch != nil {
			for j := range ch {
				n += ch[j].Load()
			}
		}
	}
	return n
}

// snapshot is what one or more histograms of a scale held when they were read.
type snapshot struct {
	scale     *scale
	sum       uint64 // nanoseconds
	classic   [maxClassic]uint64
	cells     [maxCells]uint64 // where asked for
	exemplars [maxClassic]exemplar
	created   time.Time
}

// start makes s the snapshot of no histogram.
func (s *snapshot) start(sc *scale) {
	s.scale, s.sum, s.created = sc, 0, time.Time{}
	clear(s.classic[:])
}

// add adds the classic buckets of h.
func (s *snapshot) add(h *histogram) {
	s.addSum(h)
	for i := range h.chunks {
		ch := h.chunks[i].Load()
		if ch == nil {
			continue
		}
		bucket := h.scale.bucket[i*chunkCells:]
		for j := range ch {
			if n := ch[j].Load(); n > 0 {
				s.classic[bucket[j]] += n
			}
		}
	}
}

// addCells adds the classic buckets and the cells of h.
func (s *snapshot) addCells(h *histogram) {
	s.addSum(h)
	for i := range h.chunks {
		ch := h.chunks[i].Load()
		if ch == nil {
			continue
		}
		for j := range ch {
			if n := ch[j].Load(); n > 0 {
				s.cells[i*chunkCells+j] += n
				s.classic[h.scale.bucket[i*chunkCells+j]] += n
			}
		}
	}
}

func (s *snapshot) addSum(h *histogram) {
	s.sum += h.sum.Load()
	if s.created.IsZero() || h.created.Before(s.created) {
		s.created = h.created
	}
}

// addExemplars takes the exemplars of h that are newer than those taken.
func (s *snapshot) addExemplars(h *histogram) {
	slots := h.exemplars.Load()
	if slots == nil {
		return
	}
	for i := range h.scale.classic {
		if e := slots[i].read(); e.at > s.exemplars[i].at {
			s.exemplars[i] = e
		}
	}
}
