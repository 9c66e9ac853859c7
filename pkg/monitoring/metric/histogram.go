package metric

import (
	"encoding/hex"
	"math"
	"sort"
	"sync/atomic"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The native buckets: schema 3, eight to each power of two, from about a
// microsecond to 36 hours. What is shorter goes to the zero bucket, what is
// longer to the last one.
const (
	nativeSchema  = 3
	nativePerTwo  = 1 << nativeSchema
	nativeMinExp  = -20
	nativeMaxExp  = 17
	nativeBuckets = (nativeMaxExp - nativeMinExp) * nativePerTwo
	nativeZero    = 1.0 / (1 << -nativeMinExp)
)

// nativeBounds are the upper bounds of the eight buckets between 0.5 and 1, the
// lowest first.
var nativeBounds = [nativePerTwo]float64{
	0.5, 0.5452538663326288, 0.5946035575013605, 0.6484197773255048,
	0.7071067811865475, 0.7711054127039704, 0.8408964152537144, 0.9170040432046711,
}

// exemplarEvery is the least time between two exemplars of one bucket.
const exemplarEvery = time.Second

// Observation is one duration with what is needed to find its trace again.
type Observation struct {
	Duration time.Duration // below 0 counts as 0
	End      time.Time     // when it ended; zero means now, where it matters
	Trace    [16]byte      // the trace to show as an exemplar; zero means none
}

// histogram counts durations in classic and native buckets. Writers count the
// native bucket first and readers read it last, so that the classic buckets,
// read in between, never hold more than the total.
type histogram struct {
	bounds    []float64
	classic   []atomic.Uint64 // len(bounds)+1, the last is above all bounds
	exemplars []atomic.Pointer[exemplar]
	zero      atomic.Uint64
	native    [nativeBuckets]atomic.Uint64
	sum       atomic.Int64 // nanoseconds
	created   time.Time
}

type exemplar struct {
	value float64
	at    time.Time
	trace [16]byte
}

func newHistogram(bounds []float64) *histogram {
	return &histogram{
		bounds:    bounds,
		classic:   make([]atomic.Uint64, len(bounds)+1),
		exemplars: make([]atomic.Pointer[exemplar], len(bounds)+1),
		created:   time.Now(),
	}
}

func (h *histogram) observe(o Observation) {
	d := max(o.Duration, 0)
	v := d.Seconds()
	if i := nativeIndex(v); i < 0 {
		h.zero.Add(1)
	} else {
		h.native[i].Add(1)
	}
	b := 0
	for b < len(h.bounds) && v > h.bounds[b] {
		b++
	}
	h.classic[b].Add(1)
	h.sum.Add(int64(d))
	if o.Trace != ([16]byte{}) {
		h.keepExemplar(b, v, o)
	}
}

// keepExemplar replaces a bucket's exemplar if it is old enough.
func (h *histogram) keepExemplar(b int, v float64, o Observation) {
	at := o.End
	if at.IsZero() {
		at = time.Now()
	}
	old := h.exemplars[b].Load()
	if old != nil && at.Sub(old.at) < exemplarEvery {
		return
	}
	h.exemplars[b].CompareAndSwap(old, &exemplar{v, at, o.Trace})
}

// nativeIndex returns the native bucket of v, or -1 for the zero bucket.
func nativeIndex(v float64) int {
	if v <= nativeZero {
		return -1
	}
	frac, exp := math.Frexp(v)
	i := 0
	for i < nativePerTwo && frac > nativeBounds[i] {
		i++
	}
	// Bucket k ends at 2^(k/8): frac 0.5 ends bucket (exp-1)*8.
	k := (exp-1)*nativePerTwo + i
	return min(k-nativeMinExp*nativePerTwo-1, nativeBuckets-1)
}

// snapshot is what a histogram held at one moment; snapshots add up.
type snapshot struct {
	count, zero uint64
	classic     []uint64
	native      [nativeBuckets]uint64
	sum         int64
	exemplars   []*exemplar
	created     time.Time
}

// addTo adds h to s and returns how many observations that were.
func (h *histogram) addTo(s *snapshot) (count uint64) {
	if s.classic == nil {
		s.classic = make([]uint64, len(h.classic))
		s.exemplars = make([]*exemplar, len(h.classic))
		s.created = h.created
	}
	if h.created.Before(s.created) {
		s.created = h.created
	}
	for i := range h.classic {
		s.classic[i] += h.classic[i].Load()
		if e := h.exemplars[i].Load(); e != nil && (s.exemplars[i] == nil || e.at.After(s.exemplars[i].at)) {
			s.exemplars[i] = e
		}
	}
	s.sum += h.sum.Load()
	zero := h.zero.Load()
	s.zero += zero
	count = zero
	for i := range h.native {
		n := h.native[i].Load()
		s.native[i] += n
		count += n
	}
	s.count += count
	return count
}

// proto returns the snapshot in the exposition's form, with both kinds of
// buckets.
func (s *snapshot) proto(bounds []float64) *dto.Histogram {
	out := &dto.Histogram{
		SampleCount:      proto.Uint64(s.count),
		SampleSum:        proto.Float64(time.Duration(s.sum).Seconds()),
		Schema:           proto.Int32(nativeSchema),
		ZeroThreshold:    proto.Float64(nativeZero),
		ZeroCount:        proto.Uint64(s.zero),
		CreatedTimestamp: timestamppb.New(s.created),
	}
	cumulative := uint64(0)
	for i, bound := range bounds {
		cumulative += s.classic[i]
		out.Bucket = append(out.Bucket, &dto.Bucket{
			CumulativeCount: proto.Uint64(cumulative), UpperBound: proto.Float64(bound), Exemplar: s.exemplars[i].proto(),
		})
	}
	if last := s.exemplars[len(bounds)]; last != nil { // else the encoder adds the last bucket by itself
		out.Bucket = append(out.Bucket, &dto.Bucket{
			CumulativeCount: proto.Uint64(s.count), UpperBound: proto.Float64(math.Inf(1)), Exemplar: last.proto(),
		})
	}
	s.spans(out)
	s.nativeExemplars(out)
	return out
}

// spans writes the native buckets that are not empty: runs of them as spans,
// their counts as differences.
func (s *snapshot) spans(out *dto.Histogram) {
	previous, end := int64(0), int32(0)
	for i, n := range s.native {
		if n == 0 {
			continue
		}
		key := int32(i + nativeMinExp*nativePerTwo + 1)
		if last := len(out.PositiveSpan) - 1; last >= 0 && key == end {
			*out.PositiveSpan[last].Length++
		} else {
			out.PositiveSpan = append(out.PositiveSpan, &dto.BucketSpan{Offset: proto.Int32(key - end), Length: proto.Uint32(1)})
		}
		out.PositiveDelta = append(out.PositiveDelta, int64(n)-previous)
		previous, end = int64(n), key+1
	}
	if len(out.PositiveSpan) == 0 { // marks an empty histogram as a native one
		out.PositiveSpan = []*dto.BucketSpan{{Offset: proto.Int32(0), Length: proto.Uint32(0)}}
	}
}

func (s *snapshot) nativeExemplars(out *dto.Histogram) {
	for _, e := range s.exemplars {
		if e != nil {
			out.Exemplars = append(out.Exemplars, e.proto())
		}
	}
	sort.SliceStable(out.Exemplars, func(i, j int) bool {
		return out.Exemplars[i].Timestamp.AsTime().Before(out.Exemplars[j].Timestamp.AsTime())
	})
}

func (e *exemplar) proto() *dto.Exemplar {
	if e == nil {
		return nil
	}
	return &dto.Exemplar{
		Label:     []*dto.LabelPair{{Name: proto.String("trace_id"), Value: proto.String(hex.EncodeToString(e.trace[:]))}},
		Value:     proto.Float64(e.value),
		Timestamp: timestamppb.New(e.at),
	}
}
