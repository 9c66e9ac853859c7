package receiver

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// readBody reads and inflates a body of at most limit bytes either way.
func readBody(body io.Reader, contentEncoding string, limit int64) ([]byte, error) {
	plain, err := inflate(body, contentEncoding, limit)
	if err != nil {
		return nil, bodyError(err, limit)
	}
	defer plain.Close()
	b, err := io.ReadAll(io.LimitReader(plain, limit+1))
	switch {
	case err != nil:
		return nil, bodyError(err, limit)
	case int64(len(b)) > limit:
		return nil, tooLarge(limit)
	}
	return b, nil
}

func inflate(body io.Reader, contentEncoding string, limit int64) (io.ReadCloser, error) {
	switch contentEncoding {
	case "", "identity":
		return io.NopCloser(body), nil
	case "gzip":
		return gzip.NewReader(body)
	case "zstd":
		d, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderMaxMemory(uint64(limit)+1))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	default:
		return nil, &refusal{http.StatusUnsupportedMediaType, codeInvalid, fmt.Sprintf("content encoding %q is not taken: send gzip, zstd or none", contentEncoding)}
	}
}

// bodyError tells a body that is too large from one that is broken.
func bodyError(err error, limit int64) error {
	var long *http.MaxBytesError
	var no *refusal
	switch {
	case errors.As(err, &no):
		return err
	case errors.As(err, &long), errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return tooLarge(limit)
	default:
		return fmt.Errorf("read body: %w", err)
	}
}

func tooLarge(limit int64) *refusal {
	return &refusal{http.StatusRequestEntityTooLarge, codeExhausted, fmt.Sprintf("the request is larger than %d bytes, compressed or inflated: send smaller batches", limit)}
}
