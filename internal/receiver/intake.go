package receiver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// budget bounds the bytes of all requests that are under way.
type budget struct {
	max  int64
	used atomic.Int64
}

func (b *budget) claim(n int64) bool {
	if b.used.Add(n) > b.max {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) release(n int64) { b.used.Add(-n) }

// intake is the memory of one request: its bytes as they came, and inflated.
// What it holds is claimed from the receiver's budget before it is filled. It is
// kept for the next request, because a batch of 500 spans is 200 kB.
type intake struct {
	rc         *Receiver
	raw, plain []byte
	claimed    int64
	source     bytes.Reader // of the two below
	gzip       *gzip.Reader
	zlib       io.ReadCloser
}

// maxKept bounds the buffers that wait for the next request.
const maxKept = 4 << 20

func (rc *Receiver) open() *intake {
	if in, ok := rc.intakes.Get().(*intake); ok {
		return in
	}
	return &intake{rc: rc}
}

func (in *intake) close() {
	in.rc.inflight.release(in.claimed)
	in.claimed = 0
	in.source.Reset(nil)
	if cap(in.raw) > maxKept {
		in.raw = nil
	}
	if cap(in.plain) > maxKept {
		in.plain = nil
	}
	in.rc.intakes.Put(in)
}

// claim reserves n bytes. What no budget can hold is too large; what it cannot
// hold now is for later.
func (in *intake) claim(n int64) error {
	if most := in.rc.inflight.max; in.claimed+n > most {
		return &refusal{outcome: tooLarge, status: http.StatusRequestEntityTooLarge, code: codeExhausted,
			message: fmt.Sprintf("the request would take more memory than the %d bytes that all requests together may have: send smaller batches", most)}
	}
	if !in.rc.inflight.claim(n) {
		return noRoom()
	}
	in.claimed += n
	return nil
}

// firstStep is how much is claimed before the first byte has come. Later steps
// are three times what has: announcing a length alone holds no memory.
const firstStep = 64 << 10

// slurp appends to dst what r has, at most limit bytes in all, window of which
// are claimed already. hint is how many there will be, or less than 0 if that
// is not known. Beyond the limit dst is longer than that.
func (in *intake) slurp(dst []byte, window int64, r io.Reader, hint, limit int64) ([]byte, error) {
	for {
		if int64(len(dst)) == window {
			if window > limit {
				return dst, tooLong(in.rc.opts.MaxBytes)
			}
			step := min(max(3*window, firstStep), limit+1-window)
			if hint >= window {
				step = min(step, hint-window+1) // one more, to see the end
			}
			if err := in.claim(step); err != nil {
				return dst, err
			}
			window += step
			dst = slices.Grow(dst, int(window)-len(dst))
		}
		n, err := r.Read(dst[len(dst):window])
		dst = dst[:len(dst)+n]
		switch {
		case err == io.EOF && int64(len(dst)) > limit:
			return dst, tooLong(in.rc.opts.MaxBytes)
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst, err
		}
	}
}

// inflate returns src without its compression. The result is good until close.
func (in *intake) inflate(encoding string, src []byte) (plain []byte, err error) {
	in.source.Reset(src)
	switch encoding {
	case "", "identity":
		return src, nil
	case "gzip":
		plain, err = in.gunzip()
	case "deflate": // the zlib format (RFC 9110, section 8.4.1.2): the Python SDK can send it
		plain, err = in.unzlib()
	case "zstd":
		plain, err = in.unzstd(src)
	default:
		return nil, &refusal{outcome: unsupported, status: http.StatusUnsupportedMediaType, code: codeUnimplemented,
			message: fmt.Sprintf("the compression %.100q is not taken: send one of %s", encoding, acceptEncoding)}
	}
	if err != nil {
		return nil, inflateError(encoding, err, in.rc.opts.MaxBytes)
	}
	return plain, nil
}

// acceptEncoding lists what inflate knows.
const acceptEncoding = "gzip, zstd, deflate, identity"

func (in *intake) gunzip() ([]byte, error) {
	if in.gzip == nil {
		in.gzip = new(gzip.Reader)
	}
	if err := in.gzip.Reset(&in.source); err != nil {
		return nil, err
	}
	return in.slurpPlain(in.gzip)
}

func (in *intake) unzlib() (_ []byte, err error) {
	if in.zlib == nil {
		in.zlib, err = zlib.NewReader(&in.source)
	} else {
		err = in.zlib.(zlib.Resetter).Reset(&in.source, nil)
	}
	if err != nil {
		return nil, err
	}
	return in.slurpPlain(in.zlib)
}

func (in *intake) slurpPlain(r io.Reader) (_ []byte, err error) {
	in.plain, err = in.slurp(in.plain[:0], 0, r, -1, in.rc.opts.MaxBytes)
	return in.plain, err
}

// unzstd decodes at once, into memory that was claimed for what the frame says
// it holds: a streaming decoder would keep a window of up to 8 MiB beside it. A
// frame that does not say gets room for a guess, and then for twice as much.
func (in *intake) unzstd(src []byte) ([]byte, error) {
	limit := in.rc.opts.MaxBytes
	size, had := max(4*int64(len(src)), firstStep), int64(0)
	var head zstd.Header
	told := head.Decode(src) == nil && head.HasFCS && head.FrameContentSize <= uint64(limit)
	if told {
		size = int64(head.FrameContentSize)
	}
	for {
		size = min(size, limit)
		if err := in.claim(size - had); err != nil {
			return nil, err
		}
		in.plain = slices.Grow(in.plain[:0], int(size))
		out, err := in.rc.zstd.DecodeAll(src, in.plain[:0:size])
		short := errors.Is(err, zstd.ErrDecoderSizeExceeded) || err != nil && !told // the decoder has several errors for it
		if !short || size == limit {
			return out, err
		}
		size, had = max(2*size, firstStep), size
	}
}
