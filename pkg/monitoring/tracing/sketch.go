package tracing

import (
	"math/bits"
	"slices"
	"time"
)

// sketch is a histogram of durations whose buckets are 1/64 of a power of two
// wide, so that a percentile is within 1 % of the exact one. It holds only the
// stretch of buckets that is used: 64 for each doubling.
type sketch struct {
	low    int // the bucket of counts[0]
	counts []uint32
	n      int64
	max    int64
}

const (
	sketchBits = 6
	sketchSub  = 1 << sketchBits
)

// bucket returns the number of the bucket of v. Values below 128 have one each.
func bucket(v int64) int {
	u := uint64(max(v, 0))
	shift := max(bits.Len64(u)-sketchBits-1, 0)
	return shift*sketchSub + int(u>>shift)
}

// middle returns the value in the middle of a bucket.
func middle(b int) int64 {
	shift := max(b/sketchSub-1, 0)
	return int64(b-shift*sketchSub)<<shift + int64(1)<<shift/2
}

func (s *sketch) add(v int64) {
	b := bucket(v)
	switch {
	case len(s.counts) == 0:
		s.low, s.counts = b, append(s.counts, 0)
	case b < s.low:
		s.counts = slices.Insert(s.counts, 0, make([]uint32, s.low-b)...)
		s.low = b
	case b >= s.low+len(s.counts):
		s.counts = append(s.counts, make([]uint32, b-s.low-len(s.counts)+1)...)
	}
	s.counts[b-s.low]++
	s.n++
	s.max = max(s.max, v)
}

// quantile returns the value that q of all are at or below, by nearest rank.
func (s *sketch) quantile(q float64) time.Duration {
	rank := int64(q*float64(s.n) + 0.999999999)
	for i, c := range s.counts {
		if rank -= int64(c); rank <= 0 && c > 0 {
			return time.Duration(min(middle(s.low+i), s.max))
		}
	}
	return time.Duration(s.max)
}
