package rules

import (
	"math"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// AddFamilies appends what a scrape gave, as Prometheus stores it: the buckets,
// sum and count of histograms and the quantiles of summaries as series of their
// own. The target's labels go on each; a label of the same name that is there
// already becomes exported_NAME. It returns the number of samples.
func (b *Batch) AddFamilies(fs []*dto.MetricFamily, target []labels.Label) (samples int) {
	w := familyWriter{batch: b, target: target}
	for _, f := range fs {
		for _, m := range f.Metric {
			w.metric(f, m)
		}
	}
	return w.samples
}

// familyWriter turns metrics into series. The labels of a series that the ring
// has already are not built again.
type familyWriter struct {
	batch   *Batch
	target  []labels.Label
	samples int
	pairs   []labels.Label // scratch
	build   labels.ScratchBuilder
}

func (w *familyWriter) metric(f *dto.MetricFamily, m *dto.Metric) {
	name := f.GetName()
	switch {
	case m.Histogram != nil:
		w.histogram(name, m, m.Histogram)
	case m.Summary != nil:
		for _, q := range m.Summary.Quantile {
			w.sample(name, m, "quantile", number(q.GetQuantile()), q.GetValue())
		}
		w.sample(name+"_sum", m, "", "", m.Summary.GetSampleSum())
		w.sample(name+"_count", m, "", "", float64(m.Summary.GetSampleCount()))
	case m.Counter != nil:
		w.note(w.sample(name, m, "", "", m.Counter.GetValue()), m.Counter.Exemplar)
	case m.Gauge != nil:
		w.sample(name, m, "", "", m.Gauge.GetValue())
	default:
		w.sample(name, m, "", "", m.Untyped.GetValue())
	}
}

func (w *familyWriter) histogram(name string, m *dto.Metric, h *dto.Histogram) {
	count := float64(h.GetSampleCount())
	if h.SampleCountFloat != nil {
		count = h.GetSampleCountFloat()
	}
	inf := false
	var last *series
	for _, b := range h.Bucket {
		n := float64(b.GetCumulativeCount())
		if b.CumulativeCountFloat != nil {
			n = b.GetCumulativeCountFloat()
		}
		inf = inf || math.IsInf(b.GetUpperBound(), 1)
		last = w.sample(name+"_bucket", m, "le", number(b.GetUpperBound()), n)
		w.note(last, b.Exemplar)
	}
	if len(h.Bucket) > 0 && !inf {
		last = w.sample(name+"_bucket", m, "le", "+Inf", count)
	}
	w.sample(name+"_sum", m, "", "", h.GetSampleSum())
	counted := w.sample(name+"_count", m, "", "", count)
	if last == nil {
		last = counted // of a histogram that has native buckets alone
	}
	for _, e := range h.Exemplars {
		w.note(w.bucket(name, m, h, e.GetValue(), last), e)
	}
}

// bucket is the series of the bucket that a value lies in.
func (w *familyWriter) bucket(name string, m *dto.Metric, h *dto.Histogram, v float64, above *series) *series {
	for _, b := range h.Bucket {
		if v <= b.GetUpperBound() {
			if s := w.find(name+"_bucket", m, "le", number(b.GetUpperBound())); s != nil {
				return s
			}
		}
	}
	return above
}

func number(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	if v == math.Trunc(v) && math.Abs(v) < 1e6 {
		return strconv.FormatFloat(v, 'f', 1, 64) // as Prometheus normalises le and quantile
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// sample appends one value to the series of a name, a metric's labels, and one
// more label unless its name is empty.
func (w *familyWriter) sample(name string, m *dto.Metric, extra, value string, v float64) *series {
	w.samples++
	s := w.find(name, m, extra, value)
	if s == nil {
		s = w.batch.r.create(w.labels())
	}
	w.batch.append(s, v)
	return s
}

// find returns the series of these parts if the ring has it. It leaves the
// labels in w.pairs.
func (w *familyWriter) find(name string, m *dto.Metric, extra, value string) *series {
	w.pairs = append(append(w.pairs[:0], labels.Label{Name: model.MetricNameLabel, Value: name}), w.target...)
	for _, l := range m.Label {
		w.pair(l.GetName(), l.GetValue())
	}
	if extra != "" {
		w.pair(extra, value)
	}
	hash := uint64(0)
	for _, l := range w.pairs {
		hash += w.batch.r.hashPair(l)
	}
	return w.batch.r.find(hash, w.is)
}

func (w *familyWriter) pair(name, value string) {
	if value == "" {
		return
	}
	for _, t := range w.target {
		if t.Name == name {
			name = "exported_" + name
		}
	}
	w.pairs = append(w.pairs, labels.Label{Name: name, Value: value})
}

// is tells whether a series has just the labels of w.pairs.
func (w *familyWriter) is(s *series) bool {
	for _, l := range w.pairs {
		if s.labels.Get(l.Name) != l.Value {
			return false
		}
	}
	return s.labels.Len() == len(w.pairs)
}

func (w *familyWriter) labels() labels.Labels {
	w.build.Reset()
	for _, l := range w.pairs {
		w.build.Add(l.Name, l.Value)
	}
	w.build.Sort()
	return w.build.Labels()
}

// note keeps an exemplar that names a trace or has other labels.
func (w *familyWriter) note(s *series, e *dto.Exemplar) {
	if s == nil || e == nil {
		return
	}
	out := exemplar{t: w.batch.t, value: e.GetValue()}
	if e.Timestamp != nil {
		out.t = e.Timestamp.AsTime().UnixMilli()
	}
	for _, l := range e.Label {
		switch l.GetName() {
		case "trace_id", "traceID", "traceId":
			out.traceID = strings.Clone(l.GetValue())
		default:
			if out.labels == nil {
				out.labels = map[string]string{}
			}
			out.labels[l.GetName()] = l.GetValue()
		}
	}
	w.batch.r.note(s, out)
}
