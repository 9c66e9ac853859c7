package metric

import (
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The native buckets: schema 3, eight to each power of two, from about a
// microsecond to 36 hours. What is shorter goes to the zero bucket, what is
// longer to the last one.
const (
	nativeSchema = 3
	nativePerTwo = 1 << nativeSchema
	nativeMinExp = -20
	nativeMaxExp = 17
	nativeZero   = 1.0 / (1 << -nativeMinExp)
	zeroKey      = nativeMinExp * nativePerTwo // stands for the zero bucket: the key below the first
)

// nativeBounds are the upper bounds of the eight buckets between 0.5 and 1, the
// lowest first.
var nativeBounds = [nativePerTwo]float64{
	0.5, 0.5452538663326288, 0.5946035575013605, 0.6484197773255048,
	0.7071067811865475, 0.7711054127039704, 0.8408964152537144, 0.9170040432046711,
}

const (
	maxClassic = 16  // buckets that a scale may have, the one above all bounds included
	maxCells   = 320 // a multiple of chunkCells
)

// scale divides durations into cells: between two neighbouring cells lies the
// bound of a native bucket, of a classic one, or of both. So one count in one
// cell stands for a count in both kinds of buckets, and these always agree.
type scale struct {
	classic []float64 // upper bounds in seconds, the last is +Inf
	upper   []int64   // by cell: its longest duration, in nanoseconds
	bucket  []uint8   // by cell: index in classic
	key     []int16   // by cell: of its native bucket, or zeroKey
	// first is the first cell that a duration may be in, by the number of its
	// bits and the four that follow the leading one. From there at most two steps
	// lead to the right cell, for a native bucket is wider than such a part.
	first [65 << 4]uint16
}

// newScale returns the scale with classic buckets up to bounds, ascending.
func newScale(bounds ...float64) *scale {
	s := &scale{classic: append(bounds, math.Inf(1))}
	ends := slices.Clone(bounds)
	for key := zeroKey; key < nativeMaxExp*nativePerTwo; key++ { // the last has no end
		ends = append(ends, nativeUpper(key))
	}
	slices.Sort(ends)
	key, bucket := zeroKey, 0
	for _, end := range append(slices.Compact(ends), math.Inf(1)) {
		s.upper = append(s.upper, longest(end))
		s.bucket = append(s.bucket, uint8(bucket))
		s.key = append(s.key, int16(key))
		if end == s.classic[bucket] {
			bucket++
		}
		if end == nativeUpper(key) {
			key++
		}
	}
	if len(s.upper) > maxCells || len(s.classic) > maxClassic {
		panic("metric: a scale of " + strconv.Itoa(len(s.upper)) + " cells") // only a change of this package's bounds can do that
	}
	for part := range s.first {
		shortest := int64(0)
		if n := part >> 4; n > 0 {
			shortest = int64(uint64(16|part&15) << 59 >> (64 - n) & math.MaxInt64)
		}
		s.first[part] = uint16(s.search(shortest))
	}
	return s
}

// nativeUpper returns the upper bound of a native bucket, 2^(key/8) seconds.
func nativeUpper(key int) float64 {
	return math.Ldexp(nativeBounds[key&(nativePerTwo-1)], key>>nativeSchema+1)
}

// longest returns the longest duration whose seconds are not above end.
func longest(end float64) int64 {
	if math.IsInf(end, 1) {
		return math.MaxInt64
	}
	d := int64(end * float64(time.Second))
	for time.Duration(d+1).Seconds() <= end {
		d++
	}
	for time.Duration(d).Seconds() > end {
		d--
	}
	return d
}

func (s *scale) search(d int64) int {
	i, _ := slices.BinarySearch(s.upper, d)
	return i
}

// cell returns the cell of a duration, which is not negative.
func (s *scale) cell(d int64) int {
	n := bits.Len64(uint64(d))
	c := int(s.first[n<<4|int(uint64(d)<<(64-n)>>59&15)])
	for d > s.upper[c] {
		c++
	}
	return c
}

// word returns the bound of a classic bucket as it stands in the label le.
func (s *scale) word(bucket int, openMetrics bool) string {
	b := s.classic[bucket]
	if math.IsInf(b, 1) {
		return "+Inf"
	}
	w := strconv.FormatFloat(b, 'g', -1, 64)
	if openMetrics && !strings.ContainsAny(w, ".e") {
		w += ".0"
	}
	return w
}
