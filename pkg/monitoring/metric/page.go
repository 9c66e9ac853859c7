package metric

import (
	"io"
	"math"
	"strconv"
	"sync"
	"time"
)

// The formats of a page; the first two index what is rendered beforehand.
const (
	text = iota
	openMetrics
	protobuf
)

// pageBytes is how much of a page is collected before it is written: a scrape
// of any size takes this much memory, unless its format is protobuf, whose
// families stand in memory whole.
const pageBytes = 64 << 10

// keptBytes is how large a page's buffer may be to be used again: as a family
// in protobuf gets that has all the series it may have by default.
const keptBytes = 1 << 20

// page is a scrape while it is written. It belongs to one goroutine.
type page struct {
	out    io.Writer
	err    error   // of the first write that failed; nothing is written after it
	failed []error // of those that were to say what they hold
	format int
	names  map[string]bool // families asked for; nil means all

	desc   *desc // of the family that is written
	opened bool  // it has its header
	buf    []byte
	label  []byte // scratch, for the labels of a series that keeps none
	snap   snapshot
}

var pages = sync.Pool{New: func() any { return &page{buf: make([]byte, 0, pageBytes+pageBytes/4)} }}

func newPage(out io.Writer, format int, names map[string]bool) *page {
	p := pages.Get().(*page)
	p.out, p.err, p.format, p.names, p.buf = out, nil, format, names, p.buf[:0]
	return p
}

// free gives the page's memory back, unless a large family has made it large.
func (p *page) free() {
	p.out, p.names, p.desc, p.failed = nil, nil, nil, nil
	if cap(p.buf) <= keptBytes {
		pages.Put(p)
	}
}

// flush writes what has been collected.
func (p *page) flush() {
	if len(p.buf) > 0 && p.err == nil {
		_, p.err = p.out.Write(p.buf)
	}
	p.buf = p.buf[:0]
}

// has tells whether a family was asked for.
func (p *page) has(d *desc) bool { return p.err == nil && (p.names == nil || p.names[d.name]) }

// family writes a family if it was asked for: those series that write appends.
// One without series is left out.
func (p *page) family(d *desc, write func()) {
	if !p.has(d) {
		return
	}
	p.desc, p.opened = d, false
	write()
	if p.opened && p.format == protobuf {
		p.closeFamily()
	}
}

// series begins a series.
func (p *page) series() {
	if !p.opened {
		p.opened = true
		if p.format == protobuf {
			p.openFamily()
		} else {
			p.buf = append(p.buf, p.desc.header[p.format]...)
		}
	}
	if len(p.buf) >= pageBytes && p.format != protobuf {
		p.flush()
	}
}

// counter writes one series of a counter.
func (p *page) counter(labels []byte, values []string, n uint64, created time.Time) {
	p.series()
	if p.format == protobuf {
		p.protoNumber(values, float64(n), created)
		return
	}
	p.head(labels)
	p.buf = append(strconv.AppendUint(p.buf, n, 10), '\n')
}

// count writes one series of a counter whose labels are rendered here.
func (p *page) count(n uint64, values ...string) {
	p.label = p.desc.appendLabels(p.label[:0], values)
	p.counter(p.label, values, n, time.Time{})
}

// number writes one series of a gauge, or of a counter that may be a fraction.
// Its labels are rendered here.
func (p *page) number(v float64, values ...string) {
	p.series()
	if p.format == protobuf {
		p.protoNumber(values, v, time.Time{})
		return
	}
	p.label = p.desc.appendLabels(p.label[:0], values)
	p.head(p.label)
	p.buf = append(appendFloat(p.buf, v), '\n')
}

func (p *page) head(labels []byte) {
	b := append(p.buf, p.desc.name...)
	if len(labels) > 0 {
		b = append(append(append(b, '{'), labels...), '}')
	}
	p.buf = append(b, ' ')
}

// appendFloat appends v as both text formats understand it: whole numbers
// without an exponent as long as they are exact.
func appendFloat(dst []byte, v float64) []byte {
	switch {
	case v == math.Trunc(v) && math.Abs(v) < 1<<53:
		return strconv.AppendInt(dst, int64(v), 10)
	case math.IsInf(v, 1):
		return append(dst, "+Inf"...)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, 64) // with NaN and -Inf as they should be
}

// startHistogram begins the sum of histograms that endHistogram writes.
func (p *page) startHistogram() {
	p.snap.start(p.desc.scale)
	if p.format == protobuf {
		clear(p.snap.cells[:])
	}
	if p.format != text {
		clear(p.snap.exemplars[:])
	}
}

func (p *page) addHistogram(h *histogram) {
	if p.format == protobuf {
		p.snap.addCells(h)
	} else {
		p.snap.add(h)
	}
	if p.format != text {
		p.snap.addExemplars(h)
	}
}

func (p *page) endHistogram(labels []byte, values []string) {
	p.series()
	if p.format == protobuf {
		p.protoHistogram(values)
		return
	}
	d, b, total := p.desc, p.buf, uint64(0)
	head, tails := d.heads[0], d.tails[p.format]
	for i, tail := range tails {
		total += p.snap.classic[i]
		b = append(append(append(b, head...), labels...), tail...)
		b = strconv.AppendUint(b, total, 10)
		if p.format == openMetrics {
			b = p.snap.exemplars[i].appendTo(b)
		}
		b = append(b, '\n')
	}
	b = append(append(append(b, d.heads[1]...), labels...), "} "...)
	b = append(appendSeconds(b, p.snap.sum), '\n')
	b = append(append(append(b, d.heads[2]...), labels...), "} "...)
	p.buf = append(strconv.AppendUint(b, total, 10), '\n')
}

// appendSeconds appends nanoseconds as seconds, every digit of them.
func appendSeconds(dst []byte, ns uint64) []byte {
	dst = strconv.AppendUint(dst, ns/1e9, 10)
	rest := ns % 1e9
	if rest == 0 {
		return dst
	}
	var digits [10]byte
	digits[0] = '.'
	for i := 9; i > 0; i-- {
		digits[i] = byte('0' + rest%10)
		rest /= 10
	}
	n := len(digits)
	for digits[n-1] == '0' {
		n--
	}
	return append(dst, digits[:n]...)
}

const hexDigits = "0123456789abcdef"

// appendTo appends an exemplar as OpenMetrics has it, nothing where there is none.
func (e *exemplar) appendTo(dst []byte) []byte {
	if e.at == 0 {
		return dst
	}
	dst = append(dst, ` # {trace_id="`...)
	for _, c := range e.trace {
		dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
	}
	dst = append(appendSeconds(append(dst, `"} `...), uint64(e.took)), ' ')
	return appendSeconds(dst, uint64(max(e.at, 0)))
}
