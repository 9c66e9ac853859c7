package receiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Codes of google.rpc.Code.
const (
	codeDeadline        = 4
	codeInvalid         = 3
	codeDenied          = 7
	codeExhausted       = 8
	codePrecondition    = 9
	codeUnimplemented   = 12
	codeInternal        = 13
	codeUnauthenticated = 16
)

// refusal is why a request was not taken.
type refusal struct {
	outcome outcome
	status  int           // of HTTP
	code    int           // of google.rpc.Code
	retry   time.Duration // when to send it again; 0 means never
	message string
}

func (r *refusal) Error() string { return r.message }

// sayWhen tells when to send the request again, if that is of use.
func (r *refusal) sayWhen(h http.Header) {
	if r.retry > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((r.retry+time.Second-1)/time.Second), 10))
	}
}

// asRefusal turns what went wrong with a request into its answer. An error that
// is no refusal yet is about the request's own bytes.
func asRefusal(err error) *refusal {
	var no *refusal
	switch {
	case errors.As(err, &no):
		return no
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &refusal{outcome: cutOff, status: http.StatusRequestTimeout, code: codeDeadline, message: "the request did not come in whole in time"}
	case errors.Is(err, context.Canceled), errors.Is(err, errGone):
		return &refusal{outcome: cutOff, status: http.StatusBadRequest, code: codeInvalid, message: "the request broke off: " + err.Error()}
	default:
		return &refusal{outcome: invalid, status: http.StatusBadRequest, code: codeInvalid, message: err.Error()}
	}
}

// errGone says that the connection failed while a body was read.
var errGone = errors.New("read body")

// readError tells a connection that failed from bytes that are broken.
func readError(err error) error {
	var no *refusal
	if errors.As(err, &no) || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", errGone, err)
}

// inflateError tells a body that is too large from one that is broken.
func inflateError(encoding string, err error, limit int64) error {
	var no *refusal
	switch {
	case errors.As(err, &no):
		return no
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return tooLong(limit)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("inflate %s: it ends early", encoding)
	}
	return fmt.Errorf("inflate %s: %w", encoding, err)
}

func tooLong(limit int64) *refusal {
	return &refusal{outcome: tooLarge, status: http.StatusRequestEntityTooLarge, code: codeExhausted,
		message: fmt.Sprintf("the request is larger than %d bytes, compressed or inflated: send smaller batches", limit)}
}

// retryDelay is how long a sender waits when there is no memory for its request.
const retryDelay = time.Second

func noRoom() *refusal {
	return &refusal{outcome: full, status: http.StatusTooManyRequests, code: codeExhausted, retry: retryDelay,
		message: "too many bytes of requests at once: send this again later"}
}

// notAllowed is the refusal of a request that its caller may not make.
func notAllowed(err *api.Error) *refusal {
	code := codeDenied
	if err.Status == http.StatusUnauthorized {
		code = codeUnauthenticated
	}
	return &refusal{outcome: denied, status: err.Status, code: code, message: err.Detail}
}
