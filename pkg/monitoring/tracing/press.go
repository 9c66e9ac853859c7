package tracing

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"runtime"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// newPressed returns an empty form for press, which takes its memory back.
func newPressed(shelf int) *form {
	f := newForm(shelf)
	f.buf = bodies.Get().(*[]byte)
	f.raw = (*f.buf)[:0]
	return f
}

// press returns the form as a chunk's data, nil if it is larger than one can be
// read. The form is not to be used any more.
func (f *form) press() []byte {
	messages := len(f.raw)
	body := f.body()
	*f.buf, f.raw = body, nil
	defer keepBody(f.buf)
	if len(body) > maxBody {
		return nil
	}
	dst := f.head(make([]byte, 0, len(body)/5), zstdBody, len(body), messages)
	dst = presser().EncodeAll(body, dst)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst, castagnoli))
}

// record returns the form as a record's data, with its body as it is.
func (f *form) record() []byte {
	messages := len(f.raw)
	body := f.body()
	dst := append(make([]byte, 0, len(body)+32), recordForm)
	dst = append(f.head(dst, plainBody, len(body), messages), body...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[1:], castagnoli))
}

func (f *form) head(dst []byte, pressed byte, body, messages int) []byte {
	dst = append(append(dst, formHead...), pressed)
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(body)), uint64(messages))
}

// appendRequest appends a request as a record's data. S2 takes 176 ns a span of
// 390 bytes, of which 76 are written.
func appendRequest(dst, request []byte) []byte {
	if len(request) < 512 || len(request) > maxBody {
		return append(append(dst, recordRequest), request...)
	}
	dst = slices.Grow(append(dst, recordPacked), s2.MaxEncodedLen(len(request)))
	return dst[:1+len(s2.Encode(dst[1:cap(dst)], request))]
}

// unpackRequest calls do with the request of such a record.
func unpackRequest(packed []byte, do func(request []byte) error) error {
	if n, err := s2.DecodedLen(packed); err != nil || n > maxBody {
		return fmt.Errorf("%w: request out of bounds", ErrChunk)
	}
	buf := bodies.Get().(*[]byte)
	defer keepBody(buf)
	request, err := s2.Decode((*buf)[:cap(*buf)], packed)
	if err != nil {
		return fmt.Errorf("%w: unpack: %w", ErrChunk, err)
	}
	*buf = request
	return do(request)
}

// unpress returns the body of a form from the byte pressed on, and how much of it
// are messages. It is good until done is called.
func unpress(src []byte) (body []byte, messages int, done func(), err error) {
	in := formReader{src: src}
	pressed := in.bytes(1, "pressed")[0]
	size := in.below(maxBody+1, "size")
	messages = in.below(size+1, "messages")
	if pressed > zstdBody || pressed == plainBody && len(in.src) != size {
		in.bad = "body"
	}
	if in.bad != "" {
		return nil, 0, nil, fmt.Errorf("%w: %s out of bounds", ErrChunk, in.bad)
	}
	if pressed == plainBody {
		return in.src, messages, func() {}, nil
	}
	buf := bodies.Get().(*[]byte)
	body, err = unpresser().DecodeAll(in.src, (*buf)[:0])
	if err == nil && len(body) != size {
		err = fmt.Errorf("%d bytes, want %d", len(body), size)
	}
	if err != nil {
		keepBody(buf)
		return nil, 0, nil, fmt.Errorf("%w: unpack: %w", ErrChunk, err)
	}
	*buf = body
	return body, messages, func() { keepBody(buf) }, nil
}

// bodies are the memory of bodies.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// keepBody gives back what is not larger than a usual body.
func keepBody(buf *[]byte) {
	if cap(*buf) <= 4*chunkBytes {
		bodies.Put(buf)
	}
}

// presser compresses bodies, so many at a time. At its fastest zstd takes 595 ns
// a span of 390 bytes and leaves 54; S2 takes 192 and leaves 73. The window is as
// long as a chunk.
var presser = sync.OnceValue(func() *zstd.Encoder {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(min(4, runtime.GOMAXPROCS(0))),
		zstd.WithWindowSize(2*chunkBytes), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // these options are valid
	}
	return w
})

// unpresser unpacks them. A body that claims to be larger than one can be is an
// error.
var unpresser = sync.OnceValue(func() *zstd.Decoder {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBody), zstd.WithDecoderLowmem(true))
	if err != nil {
		panic(err) // these options are valid
	}
	return r
})
