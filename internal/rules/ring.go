package rules

import (
	"cmp"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

const (
	chunkSamples  = 120 // at most in one chunk, as in Prometheus: what is dropped at once
	chunkBytes    = 256 // a chunk that takes more is full too
	chunkStart    = 32  // bytes that a chunk begins with: 120 equal samples
	maxExemplars  = 16  // kept of one series
	chunkOverhead = 64  // bytes of a chunk beside its samples: the struct, its place in the list
	openOverhead  = 64  // bytes of the appender of an open chunk
	seriesBytes   = 224 // bytes of a series beside its labels and chunks: the struct, its places in the two maps
	exemplarBytes = 128 // of one exemplar, with a trace id
	trimEvery     = 12  // scrapes between two looks for what is too old
)

// RingOptions bounds a [Ring].
type RingOptions struct {
	Keep     time.Duration // how long samples are kept; 0 means 1h
	MaxBytes int64         // memory for them; 0 means 64 MiB
}

// Ring keeps the latest samples of many series. One goroutine appends, any
// number read.
type Ring struct {
	keep     int64 // milliseconds
	maxBytes int64
	seed     maphash.Seed

	mu      sync.RWMutex
	series  map[uint64][]*series // by hash of the labels
	byName  map[string][]*series
	n       int
	start   int64 // milliseconds: since then all samples are kept; math.MaxInt64 while there are none
	bytes   int64
	fixed   int64  // of them, those that no dropping of old samples frees: about
	noted   int64  // of them, those of exemplars
	dropped int64  // samples that left before their time, for want of memory
	refused int64  // samples of series that had no room
	scrape  uint32 // counts the scrapes
}

// series is one line of samples. Its chunks are in the order of time; only the
// last is appended to.
type series struct {
	labels    labels.Labels
	hash      uint64
	chunks    []chunk
	app       chunkenc.Appender // of the last chunk; nil when that is full
	exemplars []exemplar        // oldest first
	seen      uint32            // the scrape that had it last
	stale     bool              // its last sample is the mark that it has ended
	manual    bool              // rules write it: a scrape without it does not end it
}

type chunk struct {
	min, max int64 // milliseconds
	data     *chunkenc.XORChunk
}

// exemplar is one observation of a series with its request's trace.
type exemplar struct {
	t       int64 // milliseconds
	value   float64
	traceID string
	labels  map[string]string // beside the trace id; nil for none
}

// NewRing returns an empty ring.
func NewRing(o RingOptions) *Ring {
	return &Ring{
		keep: cmp.Or(o.Keep, time.Hour).Milliseconds(), maxBytes: cmp.Or(o.MaxBytes, 64<<20),
		seed:   maphash.MakeSeed(),
		series: map[uint64][]*series{}, byName: map[string][]*series{}, start: math.MaxInt64,
	}
}

// RingStats says what a ring holds.
type RingStats struct {
	Series  int
	Samples int64
	Bytes   int64
	Start   time.Time // since then all samples are kept; zero while there are none
	Dropped int64     // samples that left before their time, for want of memory
	Refused int64     // samples of series for which there was no room
}

// Stats counts what the ring holds.
func (r *Ring) Stats() RingStats {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := RingStats{Series: r.n, Bytes: r.bytes, Start: r.startTime(), Dropped: r.dropped, Refused: r.refused}
	for _, same := range r.series {
		for _, s := range same {
			for _, c := range s.chunks {
				out.Samples += int64(c.data.NumSamples())
			}
		}
	}
	return out
}

// Start is since when all samples are kept, zero while there are none.
func (r *Ring) Start() time.Time {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.startTime()
}

func (r *Ring) startTime() time.Time {
	if r.start == math.MaxInt64 {
		return time.Time{}
	}
	return time.UnixMilli(r.start).UTC()
}

// A Batch appends the samples of one time. The ring is locked until Done.
type Batch struct {
	r      *Ring
	t      int64
	scrape bool
}

// Scrape begins a batch of all samples there are at a time: series that it has
// no sample of have ended.
func (r *Ring) Scrape(at time.Time) *Batch {
	r.mu.Lock()
	r.scrape++
	return &Batch{r, at.UnixMilli(), true}
}

// Write begins a batch of samples that rules make.
func (r *Ring) Write(at time.Time) *Batch {
	r.mu.Lock()
	return &Batch{r, at.UnixMilli(), false}
}

// Add appends one sample. One that is no later than the last of its series is
// left out, one of a new series for which there is no room is counted as
// refused.
func (b *Batch) Add(ls labels.Labels, v float64) { b.add(ls, v) }

func (b *Batch) add(ls labels.Labels, v float64) *series {
	s := b.r.find(b.r.hash(ls), func(s *series) bool { return labels.Equal(s.labels, ls) })
	if s == nil {
		s = b.r.create(ls)
	}
	b.append(s, v)
	return s
}

// append adds a sample to a series; nil stands for one that had no room.
func (b *Batch) append(s *series, v float64) {
	r := b.r
	if s == nil {
		r.refused++
		return
	}
	s.seen, s.stale, s.manual = r.scrape, value.IsStaleNaN(v), !b.scrape
	if len(s.chunks) > 0 && b.t <= s.chunks[len(s.chunks)-1].max {
		return
	}
	if s.app == nil {
		c := chunkenc.NewXORChunk()
		c.Reset(make([]byte, 2, chunkStart)) // two for the number of samples
		s.app, _ = c.Appender()              // of an empty chunk, which has nothing that could be wrong
		s.chunks = append(s.chunks, chunk{min: b.t, data: c})
		r.bytes += chunkOverhead + openOverhead + chunkStart
	}
	c := &s.chunks[len(s.chunks)-1]
	before := cap(c.data.Bytes())
	s.app.Append(0, b.t, v)
	c.max = b.t
	if c.data.NumSamples() == chunkSamples || len(c.data.Bytes()) >= chunkBytes {
		c.data.Compact()
		s.app = nil
		r.bytes -= openOverhead
	}
	r.bytes += int64(cap(c.data.Bytes()) - before)
	if r.start == math.MaxInt64 {
		r.start = b.t
	}
}

// Done ends the batch: series that a scrape had no sample of get the mark that
// they have ended, and what is too old or too much goes.
func (b *Batch) Done() {
	r := b.r
	defer r.mu.Unlock()
	if !b.scrape {
		return
	}
	for _, same := range r.series {
		for _, s := range same {
			if s.seen != r.scrape && !s.stale && !s.manual {
				b.append(s, math.Float64frombits(value.StaleNaN))
			}
		}
	}
	if r.scrape%trimEvery == 0 {
		r.trim(b.t - r.keep)
	}
	for i, from := int64(1), r.start; i < 8 && r.bytes > r.maxBytes; i++ {
		r.dropped += r.trim(from + (b.t-from)*i/8)
	}
}

// hash is the same in whatever order labels come: the sum of those of each.
func (r *Ring) hash(ls labels.Labels) (sum uint64) {
	ls.Range(func(l labels.Label) { sum += r.hashPair(l) })
	return sum
}

// hashPair has a seed of the ring's own: nobody can make up labels that meet.
func (r *Ring) hashPair(l labels.Label) uint64 {
	return maphash.String(r.seed, l.Name)*31 ^ maphash.String(r.seed, l.Value)
}

// find returns the series of a hash that is the one, nil if there is none.
func (r *Ring) find(hash uint64, is func(*series) bool) *series {
	for _, s := range r.series[hash] {
		if is(s) {
			return s
		}
	}
	return nil
}

// create makes room for a series, or returns nil. What the series themselves
// need may take three quarters of the memory; the rest is for older samples.
func (r *Ring) create(ls labels.Labels) *series {
	need := r.need(ls)
	if r.fixed+need > r.maxBytes-r.maxBytes/4 {
		return nil
	}
	s := &series{labels: ls, hash: r.hash(ls)}
	name := ls.Get(model.MetricNameLabel)
	r.series[s.hash] = append(r.series[s.hash], s)
	r.byName[name] = append(r.byName[name], s)
	r.n++
	r.fixed += need
	r.bytes += int64(seriesBytes + ls.ByteSize())
	return s
}

// need is about what a series takes with one open chunk.
func (r *Ring) need(ls labels.Labels) int64 {
	return int64(seriesBytes+chunkOverhead+openOverhead+2*chunkStart) + int64(ls.ByteSize())
}

// trim drops the chunks that end before a time, and the series that have none
// left, and returns how many samples that were.
func (r *Ring) trim(before int64) (samples int64) {
	for hash, same := range r.series {
		kept := same[:0]
		for _, s := range same {
			samples += r.trimSeries(s, before)
			if len(s.chunks) > 0 {
				kept = append(kept, s)
				continue
			}
			r.forget(s)
		}
		clear(same[len(kept):])
		if len(kept) == 0 {
			delete(r.series, hash)
		} else {
			r.series[hash] = kept
		}
	}
	if r.start < before {
		r.start = before
	}
	return samples
}

func (r *Ring) trimSeries(s *series, before int64) (samples int64) {
	n := 0
	for n < len(s.chunks) && s.chunks[n].max < before {
		c := s.chunks[n]
		r.bytes -= chunkOverhead + int64(cap(c.data.Bytes()))
		if n == len(s.chunks)-1 && s.app != nil {
			s.app, r.bytes = nil, r.bytes-openOverhead
		}
		samples += int64(c.data.NumSamples())
		n++
	}
	s.chunks = slices.Delete(s.chunks, 0, n)
	old := 0
	for old < len(s.exemplars) && s.exemplars[old].t < before {
		old++
	}
	s.exemplars = slices.Delete(s.exemplars, 0, old)
	r.forgetExemplars(old)
	return samples
}

// forget takes a series out of the names and the sum of bytes.
func (r *Ring) forget(s *series) {
	name := s.labels.Get(model.MetricNameLabel)
	of := r.byName[name]
	if i := slices.Index(of, s); i >= 0 {
		of[i] = of[len(of)-1]
		of[len(of)-1] = nil
		r.byName[name] = of[:len(of)-1]
	}
	if len(r.byName[name]) == 0 {
		delete(r.byName, name)
	}
	r.n--
	r.fixed -= r.need(s.labels)
	r.bytes -= int64(seriesBytes + s.labels.ByteSize())
	r.forgetExemplars(len(s.exemplars))
}

func (r *Ring) forgetExemplars(n int) {
	r.noted -= int64(n) * exemplarBytes
	r.bytes -= int64(n) * exemplarBytes
}

// note keeps an exemplar of a series, unless it is its newest one already. All
// exemplars may take a sixteenth of the memory; then a series gives up its own
// oldest, or has none.
func (r *Ring) note(s *series, e exemplar) {
	n := len(s.exemplars)
	if n > 0 && (s.exemplars[n-1].traceID == e.traceID && s.exemplars[n-1].t == e.t || e.t < s.exemplars[n-1].t) {
		return
	}
	if n == maxExemplars || r.noted+exemplarBytes > r.maxBytes/16 {
		if n == 0 {
			return
		}
		s.exemplars = slices.Delete(s.exemplars, 0, 1)
		r.forgetExemplars(1)
	}
	s.exemplars = append(s.exemplars, e)
	r.noted += exemplarBytes
	r.bytes += exemplarBytes
}
