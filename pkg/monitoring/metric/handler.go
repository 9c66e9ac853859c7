package metric

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/encoding/protodelim"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// maxScrapes bounds the scrapes at one time, with their buffers.
const maxScrapes = 40

// Handler serves a scrape as text, OpenMetrics with exemplars, or protobuf with
// native histograms, as the request's Accept asks; compressed by gzip or zstd
// if Accept-Encoding allows it; of the families in the parameters name[] alone
// if there are any. Families that cannot be collected are left out and counted
// in promhttp_metric_handler_errors_total.
func (m *Metrics) Handler() http.Handler {
	places := make(chan struct{}, maxScrapes)
	started := strconv.FormatInt(m.started.Unix(), 10)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			refuse(w)
			return
		}
		format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
		h := w.Header()
		h.Add("Vary", "Accept")
		h.Add("Vary", "Accept-Encoding")
		h.Set("Content-Type", string(format))
		h.Set("Process-Start-Time-Unix", started)
		defer limitWriting(w, r)()
		out, done := compressed(w, r)
		defer done()
		m.write(out, format, namesIn(r), gatherTime(r.Header))
	})
}

// maxWriting is what a client may take to read a scrape: its place is another's
// then.
const maxWriting = time.Minute

// limitWriting bounds how long an answer is written, unless its server has a
// bound of its own. undo is for the next answer on the connection.
func limitWriting(w http.ResponseWriter, r *http.Request) (undo func()) {
	if s, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && s.WriteTimeout > 0 {
		return func() {}
	}
	conn := http.NewResponseController(w)
	_ = conn.SetWriteDeadline(time.Now().Add(maxWriting)) // a writer that has none is no connection
	return func() { _ = conn.SetWriteDeadline(time.Time{}) }
}

// refuse answers a scrape beyond those that there is room for.
func refuse(w http.ResponseWriter) {
	p := api.Errorf(http.StatusServiceUnavailable, "%d scrapes are being answered, which is as many as may be at a time: try again", maxScrapes)
	p.Type, p.Title, p.RequestID = "about:blank", http.StatusText(p.Status), w.Header().Get(api.RequestIDHeader)
	again := api.Seconds(time.Second)
	p.RetryAfter = &again
	w.Header().Set("Retry-After", "1")
	w.Header().Set("Content-Type", api.ProblemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // a client that has gone needs no answer
}

// namesIn returns the families that a request asks for, nil where it asks for all.
func namesIn(r *http.Request) map[string]bool {
	asked := r.URL.Query()["name[]"]
	if len(asked) == 0 {
		return nil
	}
	names := make(map[string]bool, len(asked))
	for _, name := range asked {
		names[name] = true
	}
	return names
}

// write writes a whole scrape: this package's families, then the others, for
// which it waits.
func (m *Metrics) write(out io.Writer, format expfmt.Format, names map[string]bool, wait time.Duration) {
	own, known := map[expfmt.FormatType]int{
		expfmt.TypeTextPlain: text, expfmt.TypeOpenMetrics: openMetrics, expfmt.TypeProtoDelim: protobuf,
	}[format.FormatType()]
	p := newPage(out, own, names)
	defer p.free()
	var others []*dto.MetricFamily
	if known {
		m.expose(p)
		p.flush()
		m.fail(gathering, p.failed...)
		var err error
		if m.wantsOthers(names) && p.err == nil {
			others, err = m.others(wait)
		}
		m.fail(gathering, err)
	} else { // the debugging forms of protobuf
		var err error
		others, err = m.gather(wait)
		m.fail(gathering, err)
	}
	m.encode(p, format, others)
}

// fail counts failures of a cause.
func (m *Metrics) fail(cause string, errs ...error) {
	for _, err := range errs {
		if err != nil {
			m.failures.WithLabelValues(cause).Inc()
		}
	}
}

// wantsOthers tells whether any of names may be a family of another collector.
func (m *Metrics) wantsOthers(names map[string]bool) bool {
	if names == nil {
		return true
	}
	for name := range names {
		if !m.taken[name] {
			return true
		}
	}
	return false
}

// encode writes families by client_golang's encoder: each whole or not at all.
func (m *Metrics) encode(p *page, format expfmt.Format, families []*dto.MetricFamily) {
	var b bytes.Buffer
	enc := expfmt.NewEncoder(&b, format)
	for _, f := range families {
		if p.err != nil {
			return
		}
		if p.names != nil && !p.names[f.GetName()] {
			continue
		}
		b.Reset()
		if err := enc.Encode(f); err != nil {
			m.fail(encoding, err)
			continue
		}
		p.buf = append(p.buf, b.Bytes()...)
		if len(p.buf) >= pageBytes {
			p.flush()
		}
	}
	b.Reset()
	if c, ok := enc.(expfmt.Closer); ok {
		m.fail(encoding, c.Close()) // the end of OpenMetrics
	}
	p.buf = append(p.buf, b.Bytes()...)
	p.flush()
}

// Gather collects all families, by name: it makes Metrics a
// [prometheus.Gatherer]. An error comes beside what could be collected.
func (m *Metrics) Gather() ([]*dto.MetricFamily, error) { return m.gather(defaultGatherTime) }

func (m *Metrics) gather(wait time.Duration) ([]*dto.MetricFamily, error) {
	var b bytes.Buffer
	p := newPage(&b, protobuf, nil)
	m.expose(p)
	errs := p.failed
	p.free()
	var all []*dto.MetricFamily
	for b.Len() > 0 {
		f := new(dto.MetricFamily)
		if err := (protodelim.UnmarshalOptions{MaxSize: -1}).UnmarshalFrom(&b, f); err != nil {
			return nil, fmt.Errorf("gather: %w", err)
		}
		all = append(all, f)
	}
	others, err := m.others(wait)
	all = append(all, others...)
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return all, errors.Join(append(errs, err)...)
}

var (
	gzips = sync.Pool{New: func() any {
		z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
		return must(z, err)
	}}
	zstds = sync.Pool{New: func() any {
		z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(256<<10), zstd.WithLowerEncoderMem(true))
		return must(z, err)
	}}
)

// must is for options that are constants.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// compressed returns a writer that compresses as the request allows. done ends
// the answer.
func compressed(w http.ResponseWriter, r *http.Request) (out io.Writer, done func()) {
	switch coding := bestCoding(r.Header.Values("Accept-Encoding")); coding {
	case "zstd":
		z := zstds.Get().(*zstd.Encoder)
		z.Reset(w)
		w.Header().Set("Content-Encoding", coding)
		return z, func() { z.Close(); z.Reset(nil); zstds.Put(z) } // what Close cannot write the reader has no use for
	case "gzip":
		z := gzips.Get().(*gzip.Writer)
		z.Reset(w)
		w.Header().Set("Content-Encoding", coding)
		return z, func() { z.Close(); z.Reset(nil); gzips.Put(z) }
	}
	return w, func() {}
}

// bestCoding returns the content coding that Accept-Encoding values most (RFC
// 9110, section 12.5.3): of zstd and gzip in this order, or "" for none.
func bestCoding(accept []string) string {
	quality := map[string]float64{}
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		coding, params, _ := strings.Cut(part, ";")
		q := 1.0
		if name, value, ok := strings.Cut(strings.TrimSpace(params), "="); ok && strings.EqualFold(strings.TrimSpace(name), "q") {
			if v, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil && v >= 0 && v <= 1 {
				q = v
			} else {
				q = 0
			}
		}
		quality[strings.ToLower(strings.TrimSpace(coding))] = q
	}
	best, most := "", quality["identity"]
	for _, coding := range []string{"zstd", "gzip"} {
		q, named := quality[coding]
		if !named {
			q = quality["*"]
		}
		if q > 0 && q >= most && (best == "" || q > most) {
			best, most = coding, q
		}
	}
	return best
}
