package metric

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// This is io.prometheus.client.MetricFamily, written field by field; the
// numbers are those of client_model's metrics.proto.

// openFamily begins a family, for which the buffer must be empty.
func (p *page) openFamily() {
	p.flush()
	b := appendString(p.buf, 1, p.desc.name)
	b = appendString(b, 2, p.desc.help)
	p.buf = appendVarint(b, 3, uint64(p.desc.kind))
}

// closeFamily writes the family after its length.
func (p *page) closeFamily() {
	if p.desc.unit != "" {
		p.buf = appendString(p.buf, 5, p.desc.unit)
	}
	var length [binary.MaxVarintLen64]byte
	if p.err == nil {
		_, p.err = p.out.Write(binary.AppendUvarint(length[:0], uint64(len(p.buf))))
	}
	p.flush()
}

// openMessage begins an embedded message of which only the fields will tell the
// length. closeMessage, given where it begins, writes that.
func openMessage(b []byte, field protowire.Number) ([]byte, int) {
	b = append(protowire.AppendTag(b, field, protowire.BytesType), 0)
	return b, len(b)
}

func closeMessage(b []byte, start int) []byte {
	n := len(b) - start
	if more := protowire.SizeVarint(uint64(n)) - 1; more > 0 { // than the byte that is there
		b = append(b, make([]byte, more)...)
		copy(b[start+more:], b[start:start+n])
	}
	binary.PutUvarint(b[start-1:], uint64(n))
	return b
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func appendVarint(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendZigzag(b []byte, field protowire.Number, v int64) []byte {
	return appendVarint(b, field, protowire.EncodeZigZag(v))
}

func appendDouble(b []byte, field protowire.Number, v float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), math.Float64bits(v))
}

func appendTime(b []byte, field protowire.Number, t time.Time) []byte {
	b, start := openMessage(b, field)
	b = appendVarint(b, 1, uint64(t.Unix()))
	b = appendVarint(b, 2, uint64(t.Nanosecond()))
	return closeMessage(b, start)
}

func appendPair(b []byte, name, value string) []byte {
	b, start := openMessage(b, 1)
	b = appendString(b, 1, name)
	b = appendString(b, 2, value)
	return closeMessage(b, start)
}

// openMetric begins a series with its labels.
func (p *page) openMetric(values []string) (b []byte, start int) {
	b, start = openMessage(p.buf, 4)
	for _, i := range p.desc.sorted {
		b = appendPair(b, p.desc.labels[i], values[i])
	}
	return b, start
}

func (p *page) protoNumber(values []string, v float64, created time.Time) {
	b, metric := p.openMetric(values)
	field := protowire.Number(2) // gauge
	if p.desc.kind == counterKind {
		field = 3
	}
	b, number := openMessage(b, field)
	b = appendDouble(b, 1, v)
	if !created.IsZero() {
		b = appendTime(b, 3, created)
	}
	p.buf = closeMessage(closeMessage(b, number), metric)
}

// protoHistogram writes the snapshot with both kinds of buckets.
func (p *page) protoHistogram(values []string) {
	b, metric := p.openMetric(values)
	b, histogram := openMessage(b, 7)
	s, total := &p.snap, uint64(0)
	for i, bound := range s.scale.classic {
		total += s.classic[i]
		var bucket int
		b, bucket = openMessage(b, 3)
		b = appendDouble(appendVarint(b, 1, total), 2, bound)
		b = closeMessage(s.exemplars[i].appendProto(b, 3), bucket)
	}
	b = appendVarint(b, 1, total)
	b = appendDouble(b, 2, float64(s.sum)/1e9)
	b = appendZigzag(b, 5, nativeSchema)
	b = appendDouble(b, 6, nativeZero)
	b = s.appendNative(b)
	b = appendTime(b, 15, s.created)
	b = s.appendExemplars(b)
	p.buf = closeMessage(closeMessage(b, histogram), metric)
}

// appendNative appends the native buckets that are not empty: runs of them as
// spans, their counts as differences.
func (s *snapshot) appendNative(b []byte) []byte {
	b = appendVarint(b, 7, s.cells[0]) // the zero bucket is the first cell
	const none = math.MinInt
	var deltas [maxCells]int64
	n, previous, last, spanAt, spanLen := 0, int64(0), none, 0, 0
	end := 0 // the key after the last span
	for i := 1; i < len(s.scale.key); {
		key, held := int(s.scale.key[i]), uint64(0)
		for ; i < len(s.scale.key) && int(s.scale.key[i]) == key; i++ {
			held += s.cells[i]
		}
		if held == 0 {
			continue
		}
		if key != last+1 {
			b = appendSpan(b, spanAt-end, spanLen)
			end, spanAt, spanLen = spanAt+spanLen, key, 0
		}
		deltas[n] = int64(held) - previous
		n, previous, last, spanLen = n+1, int64(held), key, spanLen+1
	}
	if n == 0 { // a span of nothing marks an empty histogram as a native one
		b, empty := openMessage(b, 12)
		return closeMessage(appendVarint(appendZigzag(b, 1, 0), 2, 0), empty)
	}
	b = appendSpan(b, spanAt-end, spanLen)
	for _, d := range deltas[:n] {
		b = appendZigzag(b, 13, d)
	}
	return b
}

func appendSpan(b []byte, offset, length int) []byte {
	if length == 0 {
		return b
	}
	b, start := openMessage(b, 12)
	return closeMessage(appendVarint(appendZigzag(b, 1, int64(offset)), 2, uint64(length)), start)
}

// appendExemplars appends the exemplars once more, by time, as native
// histograms have them.
func (s *snapshot) appendExemplars(b []byte) []byte {
	sorted := s.exemplars
	slices.SortFunc(sorted[:], func(x, y exemplar) int { return cmp.Compare(x.at, y.at) })
	for i := range sorted {
		b = sorted[i].appendProto(b, 16)
	}
	return b
}

func (e *exemplar) appendProto(b []byte, field protowire.Number) []byte {
	if e.at == 0 {
		return b
	}
	b, start := openMessage(b, field)
	b, pair := openMessage(b, 1)
	b = appendString(b, 1, "trace_id")
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = append(b, byte(2*len(e.trace)))
	b = closeMessage(hex.AppendEncode(b, e.trace[:]), pair)
	b = appendDouble(b, 2, e.took.Seconds())
	return closeMessage(appendTime(b, 3, time.Unix(0, e.at)), start)
}
