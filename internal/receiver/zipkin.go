package receiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/pulsectl/pulsectl/internal/traceformat"
)

// Bounds of what comes in as Zipkin JSON.
const (
	zipkinMaxBytes = 32 << 20         // of a request, compressed and inflated
	zipkinParallel = 2                // requests read at once: JSON takes ten times the memory of its text
	zipkinWait     = 5 * time.Second  // for a place among those
	zipkinBody     = 30 * time.Second // for a body to come in whole
)

// Zipkin is an http.Handler for POST /api/v2/spans: lists of spans in Zipkin JSON
// v2, plain, gzipped or zstd-compressed. It answers 202 when they are kept and
// 400 with a sentence where they are no such list; 503 with Retry-After means
// send it again.
type Zipkin struct {
	keep   func(body []byte) (accepted, rejected int, err error)
	log    *slog.Logger
	places chan struct{}
}

// NewZipkin returns a Zipkin that hands on what comes in as an OTLP
// ExportTraceServiceRequest in protobuf, as (*tracing.Store).AddOTLP takes it. A
// nil log discards.
func NewZipkin(keep func(body []byte) (accepted, rejected int, err error), log *slog.Logger) *Zipkin {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Zipkin{keep: keep, log: log, places: make(chan struct{}, zipkinParallel)}
}

// zipkinError is an answer that is not 202.
type zipkinError struct {
	status  int
	message string
}

func (e *zipkinError) Error() string { return e.message }

// ServeHTTP takes one list of spans.
func (z *Zipkin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rejected, err := z.take(w, r)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err == nil {
		w.WriteHeader(http.StatusAccepted)
		if rejected > 0 {
			fmt.Fprintf(w, "%d spans were not kept: a limit on the span or its trace is reached\n", rejected)
		}
		return
	}
	no := &zipkinError{http.StatusBadRequest, err.Error()}
	errors.As(err, &no)
	if no.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(no.status)
	fmt.Fprintln(w, no.message) // a client that has gone is nobody to tell
	z.log.LogAttrs(r.Context(), slog.LevelWarn, "spans refused", slog.String("remote_addr", r.RemoteAddr), slog.String("protocol", "zipkin"), slog.String("error", no.message))
}

func (z *Zipkin) take(w http.ResponseWriter, r *http.Request) (rejected int, err error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); r.Header.Get("Content-Type") != "" && (err != nil || media != "application/json") {
		return 0, &zipkinError{http.StatusUnsupportedMediaType, fmt.Sprintf("content type %.100q is not taken: send application/json", r.Header.Get("Content-Type"))}
	}
	ctx, cancel := context.WithTimeout(r.Context(), zipkinWait)
	defer cancel()
	select {
	case z.places <- struct{}{}:
		defer func() { <-z.places }()
	case <-ctx.Done():
		return 0, &zipkinError{http.StatusServiceUnavailable, "too many requests at once, send again later"}
	}
	conn := http.NewResponseController(w) // a writer that cannot set deadlines is not a connection
	_ = conn.SetReadDeadline(time.Now().Add(zipkinBody))
	defer func() { _ = conn.SetReadDeadline(time.Time{}) }()
	body, err := readZipkin(http.MaxBytesReader(w, r.Body, zipkinMaxBytes), r.Header.Get("Content-Encoding"))
	if err != nil {
		return 0, err
	}
	spans, err := traceformat.ReadZipkin(body)
	if err != nil {
		return 0, err
	}
	request, err := traceformat.Write(traceformat.Protobuf, spans)
	if err != nil {
		return 0, err
	}
	_, rejected, err = z.keep(request)
	return rejected, err
}

// readZipkin reads and inflates a body.
func readZipkin(body io.Reader, encoding string) (b []byte, err error) {
	var plain io.Reader
	switch encoding {
	case "", "identity":
		plain = body
	case "gzip":
		plain, err = gzip.NewReader(body)
	case "zstd":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderMaxMemory(zipkinMaxBytes+1)); err == nil {
			defer d.Close()
			plain = d
		}
	default:
		return nil, &zipkinError{http.StatusUnsupportedMediaType, fmt.Sprintf("content encoding %.100q is not taken: send gzip, zstd or none", encoding)}
	}
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(plain, zipkinMaxBytes+1))
	}
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long) || len(b) > zipkinMaxBytes || errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, &zipkinError{http.StatusRequestEntityTooLarge, "the request is larger than " + strconv.Itoa(zipkinMaxBytes) + " bytes, compressed or inflated: send smaller lists"}
	case err != nil:
		return nil, fmt.Errorf("read body: %w", err)
	}
	return b, nil
}
