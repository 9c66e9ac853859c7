package receiver

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/pulsectl/pulsectl/internal/traceformat"
)

// Bounds of what comes in as Zipkin JSON, beside the receiver's own.
const (
	zipkinParallel = 2               // requests read at once: JSON takes ten times the memory of its text
	zipkinWait     = 5 * time.Second // for a place among those
)

// Zipkin is an http.Handler for POST /api/v2/spans: lists of spans in Zipkin JSON
// v2, plain or compressed as OTLP may be. It answers 202 when they are kept and
// 400 with a sentence where they are no such list; 429 or 503 with Retry-After
// means send it again.
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
	no.sayWhen(w.Header())
	w.WriteHeader(no.status)
	fmt.Fprintln(w, no.message) // a client that has gone is nobody to tell
}

func (z *Zipkin) take(w http.ResponseWriter, r *http.Request) (rejected int, err error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); r.Header.Get("Content-Type") != "" && (err != nil || media != "application/json") {
		return 0, &refusal{outcome: unsupported, status: http.StatusUnsupportedMediaType,
			message: fmt.Sprintf("content type %.100q is not taken: send application/json", r.Header.Get("Content-Type"))}
	}
	ctx, cancel := context.WithTimeout(r.Context(), zipkinWait)
	defer cancel()
	select {
	case z.places <- struct{}{}:
		defer func() { <-z.places }()
	case <-ctx.Done():
		return 0, &refusal{outcome: full, status: http.StatusServiceUnavailable, retry: retryDelay, message: "too many requests at once, send again later"}
	}
	in := z.rc.open()
	defer in.close()
	body, err := in.body(w, r)
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
