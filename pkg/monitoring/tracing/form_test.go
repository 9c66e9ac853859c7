package tracing_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// sealed returns a form with such a body and a checksum that is right.
func sealed(pressed byte, size, messages uint64, body []byte) []byte {
	data := append([]byte("PTC\x02"), pressed)
	data = binary.AppendUvarint(binary.AppendUvarint(data, size), messages)
	data = append(data, body...)
	return binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
}

func zstdOf(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

// unpacked returns a chunk's data with its body as it is.
func unpacked(t testing.TB, data []byte) []byte {
	t.Helper()
	r, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	size, n := binary.Uvarint(data[5:])
	messages, m := binary.Uvarint(data[5+n:])
	body, err := r.DecodeAll(data[5+n+m:len(data)-4], nil)
	if err != nil || uint64(len(body)) != size {
		t.Fatalf("%d bytes, want %d: %v", len(body), size, err)
	}
	return sealed(0, size, messages, body)
}

// packed returns the data of unpacked compressed.
func packed(t testing.TB, plain []byte) []byte {
	t.Helper()
	size, n := binary.Uvarint(plain[5:])
	messages, m := binary.Uvarint(plain[5+n:])
	return sealed(1, size, messages, zstdOf(t, plain[5+n+m:len(plain)-4]))
}

// chunkOf returns a record's form as that of chunk 1.
func chunkOf(form []byte) []byte {
	out := bytes.Clone(form)
	out[len(out)-4-2] = 1 // before the arrival, which is 0
	return resum(out)
}

// A chunk's data says the same compressed and as it is, and is a fourth of it.
func TestChunkIsCompressed(t *testing.T) {
	log := newNotebook()
	s := newStore(t, tracing.Options{Log: log})
	shop := templates(1)[0]
	for n := uint32(0); len(log.chunks) == 0; n++ {
		add(t, s, shop.request(nil, n))
	}
	for _, c := range log.chunks {
		plain := unpacked(t, c.Data)
		a, err := tracing.DescribeChunk(c.Data)
		b, plainErr := tracing.DescribeChunk(plain)
		if err != nil || plainErr != nil || a != b || a.Spans < 2000 || a.Traces < 200 || a.Traces > a.Spans/8 {
			t.Errorf("%+v, %v; unpacked %+v, %v", a, err, b, plainErr)
		}
		if perSpan := len(c.Data) / a.Spans; perSpan > 75 || len(plain)/a.Spans < 300 {
			t.Errorf("%d bytes a span, %d unpacked; want at most 75 of more than 300", perSpan, len(plain)/a.Spans)
		}
	}
}

// What is no form is an error that says so, and costs no more memory than a form
// may have.
func TestFormsThatLie(t *testing.T) {
	log := newNotebook()
	s := newStore(t, tracing.Options{MaxBytes: 1 << 20, Log: log})
	fill(t, s, 0, 40)
	var good []byte
	for _, c := range log.chunks {
		good = c.Data
	}
	old := append([]byte("PTC\x01"), good[4:]...)
	body := unpacked(t, good)
	for _, tt := range []struct {
		name string
		data []byte
		says string
	}{
		{"nothing", nil, "do not begin as one"},
		{"cut off", good[:len(good)/2], "checksum"},
		{"of before", resum(old), "version 1, want 2"},
		{"unknown compression", sealed(2, 3, 0, []byte("abc")), "body out of bounds"},
		{"no compression", sealed(1, 3, 0, []byte("abc")), "unpack"},
		{"larger than a body is", sealed(1, 65<<20, 0, zstdOf(t, make([]byte, 65<<20))), "size out of bounds"},
		{"larger than it says", sealed(1, 5, 0, zstdOf(t, make([]byte, 1<<20))), "unpack"},
		{"larger than any", sealed(1, 5, 0, zstdOf(t, make([]byte, 128<<20))), "unpack"},
		{"smaller than it says", sealed(1, 1<<20, 0, zstdOf(t, make([]byte, 5))), "unpack"},
		{"more messages than body", sealed(0, 3, 4, []byte("abc")), "messages out of bounds"},
		{"many spans", sealed(0, 5, 0, binary.AppendUvarint(nil, 1<<32)), "spans out of bounds"},
		{"long message", sealed(0, 12, 0, binary.AppendUvarint([]byte{1, 0}, math.MaxUint64)), "message out of bounds"},
		{"no messages", sealed(0, 11, 0, []byte{1, 0, 9, 1, 0, 0, 0, 0, 1, 0, 0}), "out of bounds"},
		{"no span", sealed(0, 14, 1, []byte{7, 1, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0}), "out of bounds"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := tracing.DescribeChunk(tt.data)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, tracing.ErrChunk) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("DescribeChunk = %v, want one that says %q", err, tt.says)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 160<<20 {
				t.Errorf("%d bytes allocated", n)
			}
		})
	}
	for at := len("PTC\x02") + 1; at < len(body)-4; at += 97 { // damage that no checksum tells
		damaged := bytes.Clone(body)
		damaged[at] ^= 0x55
		if _, err := tracing.DescribeChunk(resum(damaged)); err != nil && !errors.Is(err, tracing.ErrChunk) {
			t.Errorf("byte %d: %v", at, err)
		}
	}
}

// A request's record that claims to be larger than one can be is an error.
func TestRequestsThatLie(t *testing.T) {
	for name, data := range map[string][]byte{
		"large":   binary.AppendUvarint([]byte{3}, 1<<31),
		"empty":   {3},
		"cut off": append([]byte{3}, s2.Encode(nil, bytes.Repeat([]byte("span"), 1000))[:20]...),
		"no OTLP": append([]byte{3}, s2.Encode(nil, bytes.Repeat([]byte{0xff}, 1000))...),
	} {
		o := &one{notebook: *newNotebook(), record: tracing.Record{Sequence: 1, Data: data}}
		s := newStore(t, tracing.Options{Log: o})
		if o.err == nil || s.Stats().Spans != 0 {
			t.Errorf("%s: %v, %+v", name, o.err, s.Stats())
		}
	}
}

// 250,000 of the smallest spans, each a trace of its own, and spans of 1 MiB are
// there again after a restart.
func TestRestartOfExtremes(t *testing.T) {
	const many = 250_000
	log := newNotebook()
	o := tracing.Options{Log: log}
	s := newStore(t, o)
	var tiny [][]byte
	for n := range many {
		tiny = append(tiny, otlp.AppendSpan(nil, &otlp.Span{TraceID: traceID(n + 1), SpanID: spanID(n + 1)}))
	}
	add(t, s, otlp.AppendResourceSpans(nil, nil, &otlp.Scope{}, tiny...))
	for n := range 4 {
		add(t, s, batch(t, 1, 2, func(_ int, sp *otlp.Span) {
			sp.TraceID = traceID(many + n + 1)
			sp.Attrs = []otlp.KeyValue{{Key: "large", Value: otlp.String(strings.Repeat(string(rune('a'+n)), 1<<20-200))}}
		}))
	}
	want := s.Stats()
	if want.Spans != many+8 || len(log.chunks) < 15 {
		t.Fatalf("%+v in %d chunks", want, len(log.chunks))
	}
	again := newStore(t, o)
	if got := again.Stats(); got.Spans != want.Spans || got.Traces != want.Traces || log.damaged > 0 {
		t.Errorf("%+v, %d damaged; was %+v", got, log.damaged, want)
	}
	for _, n := range []int{1, many / 2, many, many + 1, many + 4} {
		id := fmt.Sprintf("%x", traceID(n))
		a, err := s.Get(id)
		b, err2 := again.Get(id)
		if err != nil || err2 != nil || asJSON(t, a) != asJSON(t, b) {
			t.Errorf("trace %d: %v, %v", n, err, err2)
		}
	}
}

// Each resource is one of its own and large: chunks stay within what can be read.
func TestRestartOfLargeResources(t *testing.T) {
	log := newNotebook()
	o := tracing.Options{Log: log}
	s := newStore(t, o)
	for n := range 400 {
		res := otlp.AppendResource(nil, &otlp.Resource{Attrs: []otlp.KeyValue{{Key: "x", Value: otlp.String(strings.Repeat(fmt.Sprint(n, " "), 10_000))}}})
		add(t, s, otlp.AppendResourceSpans(nil, res, &otlp.Scope{}, otlp.AppendSpan(nil, &otlp.Span{TraceID: traceID(n + 1), SpanID: spanID(1)})))
	}
	for _, c := range log.chunks {
		if n := len(unpacked(t, c.Data)); n > 5<<20 {
			t.Errorf("chunk %d has %d bytes", c.Number, n)
		}
	}
	if len(log.chunks) < 3 {
		t.Errorf("%d chunks", len(log.chunks))
	}
	same(t, everything(t, newStore(t, o)), everything(t, s))
}

// intruder is a log that calls when a chunk comes, before it is kept.
type intruder struct {
	*notebook
	call func()
}

func (i *intruder) Chunk(c tracing.Chunk) error {
	if call := i.call; call != nil {
		i.call = nil
		call()
	}
	return i.notebook.Chunk(c)
}

// What was removed is in no chunk that is on the disk, not even if it was removed
// while that was written.
func TestRemovedSpansLeaveTheirChunk(t *testing.T) {
	log := &intruder{notebook: newNotebook()}
	o := tracing.Options{MaxBytes: 4 << 20, Log: log}
	s := newStore(t, o)
	log.call = func() { s.Cleanup(time.Hour, false) }
	now := uint64(time.Now().UnixNano())
	for n := 0; len(log.chunks) < 2; n++ {
		add(t, s, batch(t, 1, 1, func(_ int, sp *otlp.Span) { // of long ago
			sp.TraceID, sp.Name = traceID(n+1), "a secret"
		}))
		add(t, s, batch(t, 1, 1, func(_ int, sp *otlp.Span) {
			sp.TraceID, sp.Start, sp.End, sp.Name = traceID(1<<20+n), now, now+1, "of today"
			sp.Attrs = []otlp.KeyValue{{Key: "padding", Value: otlp.String(strings.Repeat(fmt.Sprint(n), 100))}}
		}))
	}
	s.Cleanup(time.Hour, false)
	left := 0
	for _, c := range log.chunks {
		data := unpacked(t, c.Data)
		if bytes.Contains(data, []byte("a secret")) {
			t.Errorf("chunk %d has what was removed", c.Number)
		}
		left += bytes.Count(data, []byte("of today"))
	}
	if left == 0 {
		t.Error("nothing else is left")
	}
	same(t, everything(t, newStore(t, o)), everything(t, s))
}

// Each span has a sender of its own: the texts of a chunk run out, and all of
// them are there again.
func TestRestartOfManySenders(t *testing.T) {
	log := newNotebook()
	o := tracing.Options{Log: log}
	s := newStore(t, o)
	var body []byte
	for n := range 9000 {
		service, scope := fmt.Sprint("service ", n), fmt.Sprint("scope ", n)
		if n == 0 {
			scope = service // so that the last span finds room for one text, and brings four
		}
		res := otlp.AppendResource(nil, &otlp.Resource{Attrs: []otlp.KeyValue{{Key: "service.name", Value: otlp.String(service)}}})
		body = append(body, otlp.AppendResourceSpans(nil, res, &otlp.Scope{Name: scope},
			otlp.AppendSpan(nil, &otlp.Span{TraceID: traceID(n + 1), SpanID: spanID(1), Name: service}))...)
	}
	add(t, s, body)
	if len(log.chunks) != 1 {
		t.Fatalf("%d chunks, want one of as many texts as it takes", len(log.chunks))
	}
	same(t, everything(t, newStore(t, o)), everything(t, s))
	if log.damaged > 0 {
		t.Errorf("%d errors", log.damaged)
	}
}
