package metric

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// maxLabel bounds a label's value in bytes.
const maxLabel = 128

// labels are a series' label values, in the order of its description.
type labels [3]string

// counter is a series that only grows.
type counter struct{ n atomic.Uint64 }

// familyInfo is what all families have in common.
type familyInfo struct {
	described
	limit   int
	refused atomic.Uint64
}

// family is a set of series of one kind. Lookup takes no lock: the map is
// never changed but replaced by a longer one, which the limit keeps cheap.
type family[S any] struct {
	*familyInfo
	newSeries func() *S
	series    atomic.Pointer[map[labels]*series[S]]
	mu        sync.Mutex // held while the map is replaced
}

type series[S any] struct {
	pairs []*dto.LabelPair
	data  *S
}

func newFamily[S any](m *Metrics, d described, limit int) *family[S] {
	f := &family[S]{familyInfo: &familyInfo{described: d, limit: limit}, newSeries: func() *S { return new(S) }}
	f.series.Store(&map[labels]*series[S]{})
	m.families = append(m.families, f.familyInfo)
	return f
}

func newHistograms(m *Metrics, d described, bounds []float64, limit int) *family[histogram] {
	f := newFamily[histogram](m, d, limit)
	f.newSeries = func() *histogram { return newHistogram(bounds) }
	return f
}

// get returns the series of l, made if need be, or nil where the family is
// full: that is then counted as refused.
func (f *family[S]) get(l labels) *S {
	for i := range l {
		l[i] = clean(l[i])
	}
	if s, ok := (*f.series.Load())[l]; ok {
		return s.data
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	old := *f.series.Load()
	if s, ok := old[l]; ok {
		return s.data
	}
	if len(old) >= f.limit {
		f.refused.Add(1)
		return nil
	}
	s := &series[S]{prometheus.MakeLabelPairs(f.desc, l[:len(f.labels)]), f.newSeries()}
	grown := make(map[labels]*series[S], len(old)+1)
	maps.Copy(grown, old)
	grown[l] = s
	f.series.Store(&grown)
	return s.data
}

// clean returns s as a label's value: valid UTF-8 of bounded length.
func clean(s string) string {
	if len(s) > maxLabel {
		s = s[:maxLabel]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func count(f *family[counter], l labels) {
	if c := f.get(l); c != nil {
		c.n.Add(1)
	}
}

func observe(f *family[histogram], l labels, o Observation) {
	if h := f.get(l); h != nil {
		h.observe(o)
	}
}

func collectCounters(ch chan<- prometheus.Metric, f *family[counter]) {
	for _, s := range *f.series.Load() {
		n := s.data.n.Load()
		ch <- sample{f.desc, func(out *dto.Metric) {
			out.Label, out.Counter = s.pairs, &dto.Counter{Value: proto.Float64(float64(n))}
		}}
	}
}

func collectHistograms(ch chan<- prometheus.Metric, f *family[histogram], bounds []float64) {
	for _, s := range *f.series.Load() {
		var now snapshot
		s.data.addTo(&now)
		ch <- sample{f.desc, func(out *dto.Metric) { out.Label, out.Histogram = s.pairs, now.proto(bounds) }}
	}
}
