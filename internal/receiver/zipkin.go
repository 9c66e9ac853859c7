package receiver

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	rc     *Receiver
	places chan struct{}
}

// Zipkin returns a door for Zipkin's reporters. What comes in is handed on as an
// OTLP ExportTraceServiceRequest in protobuf, counted and its refusals logged
// with those of OTLP.
func (rc *Receiver) Zipkin() *Zipkin {
	return &Zipkin{rc: rc, places: make(chan struct{}, zipkinParallel)}
}

// zipkinError is an answer that is not 202.
func zipkinError(o outcome, status int, message string) error {
	return &refusal{outcome: o, status: status, message: message}
}

// ServeHTTP takes one list of spans.
func (z *Zipkin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rejected, err := z.take(w, r)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err == nil {
		z.rc.counts.add(zipkinJSON, accepted)
		w.WriteHeader(http.StatusAccepted)
		if rejected > 0 {
			z.rc.counts.add(zipkinJSON, partial)
			fmt.Fprintf(w, "%d spans were not kept: a limit on the span or its trace is reached\n", rejected)
		}
		return
	}
	no := asRefusal(err)
	z.rc.refused(r, zipkinJSON, no)
	if no.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(no.status)
	fmt.Fprintln(w, no.message) // a client that has gone is nobody to tell
}

func (z *Zipkin) take(w http.ResponseWriter, r *http.Request) (rejected int, err error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); r.Header.Get("Content-Type") != "" && (err != nil || media != "application/json") {
		return 0, zipkinError(unsupported, http.StatusUnsupportedMediaType, fmt.Sprintf("content type %.100q is not taken: send application/json", r.Header.Get("Content-Type")))
	}
	ctx, cancel := context.WithTimeout(r.Context(), zipkinWait)
	defer cancel()
	select {
	case z.places <- struct{}{}:
		defer func() { <-z.places }()
	case <-ctx.Done():
		return 0, zipkinError(full, http.StatusServiceUnavailable, "too many requests at once, send again later")
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
	return z.rc.keep(r, request)
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
		return nil, zipkinError(unsupported, http.StatusUnsupportedMediaType, fmt.Sprintf("content encoding %.100q is not taken: send gzip, zstd or none", encoding))
	}
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(plain, zipkinMaxBytes+1))
	}
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long) || len(b) > zipkinMaxBytes || errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, zipkinError(tooLarge, http.StatusRequestEntityTooLarge, "the request is larger than "+strconv.Itoa(zipkinMaxBytes)+" bytes, compressed or inflated: send smaller lists")
	case err != nil:
		return nil, fmt.Errorf("read body: %w", err)
	}
	return b, nil
}
