// Package receiver is the door through which OpenTelemetry SDKs and Collectors
// bring their spans: OTLP over HTTP, in protobuf and in JSON, plain, gzipped
// or zstd-compressed (OTLP specification 1.x, "OTLP/HTTP").
//
// A [Receiver] reads a request whole, within its bounds, hands it to the
// store and answers in the request's own encoding. What a sender should send
// again is answered 503 with Retry-After, what is wrong with 4xx.
package receiver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// Options configures a [Receiver].
type Options struct {
	Store       *tracing.Store // where the spans go; required
	MaxBytes    int64          // of a request, compressed and inflated; 0 means 32 MiB
	Parallel    int            // protobuf requests read at once; 0 means 8. JSON, which takes ten times the memory, has a quarter
	Wait        time.Duration  // for a place among those; 0 means 5s, then 503
	BodyTimeout time.Duration  // for a body to come in whole; 0 means 30s
	Log         *slog.Logger   // nil discards
}

// Receiver is an http.Handler for POST /v1/traces.
type Receiver struct {
	opts  Options
	proto chan struct{} // places
	json  chan struct{}
}

// New returns a Receiver.
func New(o Options) (*Receiver, error) {
	if o.Store == nil || o.MaxBytes < 0 || o.Parallel < 0 || o.Wait < 0 || o.BodyTimeout < 0 {
		return nil, errors.New("receiver options: want a store, and no negative numbers")
	}
	o.MaxBytes = cmp.Or(o.MaxBytes, 32<<20)
	o.Parallel = cmp.Or(o.Parallel, 8)
	o.Wait = cmp.Or(o.Wait, 5*time.Second)
	o.BodyTimeout = cmp.Or(o.BodyTimeout, 30*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Receiver{opts: o, proto: make(chan struct{}, o.Parallel), json: make(chan struct{}, max(o.Parallel/4, 1))}, nil
}

// ServeHTTP takes one ExportTraceServiceRequest.
func (rc *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	enc, known := encodingOf(r.Header.Get("Content-Type"))
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		enc.refuse(w, &refusal{http.StatusMethodNotAllowed, codeUnimplemented, "traces are sent with POST"})
		return
	}
	if !known {
		enc.refuse(w, &refusal{http.StatusUnsupportedMediaType, codeInvalid,
			fmt.Sprintf("content type %q is not taken: send %s or %s", r.Header.Get("Content-Type"), typeProto, typeJSON)})
		return
	}
	rejected, err := rc.take(w, r, enc)
	var no *refusal
	switch {
	case errors.As(err, &no):
		enc.refuse(w, no)
	case err != nil:
		enc.refuse(w, &refusal{http.StatusBadRequest, codeInvalid, err.Error()})
	default:
		enc.accept(w, rejected)
	}
	if err != nil {
		rc.opts.Log.LogAttrs(r.Context(), slog.LevelWarn, "traces refused", slog.String("remote_addr", r.RemoteAddr), slog.String("error", err.Error()))
	}
}

// take reads the request and gives its spans to the store.
func (rc *Receiver) take(w http.ResponseWriter, r *http.Request, enc encoding) (rejected int, err error) {
	places := rc.proto
	if enc == encJSON {
		places = rc.json
	}
	ctx, cancel := context.WithTimeout(r.Context(), rc.opts.Wait)
	defer cancel()
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	case <-ctx.Done():
		return 0, &refusal{http.StatusServiceUnavailable, codeUnavailable, "too many requests at once, send again later"}
	}
	// A sender that trickles its body must not keep its place; a writer that
	// cannot set deadlines is not a connection.
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(rc.opts.BodyTimeout))
	defer func() { _ = conn.SetReadDeadline(time.Time{}) }()
	body, err := readBody(http.MaxBytesReader(w, r.Body, rc.opts.MaxBytes), r.Header.Get("Content-Encoding"), rc.opts.MaxBytes)
	if err != nil {
		return 0, err
	}
	if enc == encJSON {
		if body, err = protoFromJSON(body); err != nil {
			return 0, err
		}
	}
	_, rejected, err = rc.opts.Store.AddOTLP(body)
	return rejected, err
}

// protoFromJSON writes an OTLP/JSON request in protobuf.
func protoFromJSON(body []byte) ([]byte, error) {
	var in ptrace.JSONUnmarshaler
	traces, err := in.UnmarshalTraces(body)
	if err != nil {
		return nil, fmt.Errorf("read OTLP/JSON request: %w", err)
	}
	var out ptrace.ProtoMarshaler
	b, err := out.MarshalTraces(traces)
	if err != nil {
		return nil, fmt.Errorf("encode OTLP/JSON request: %w", err)
	}
	return b, nil
}

// encodingOf returns how the content type says that the body is written.
// Unknown ones are answered in JSON, which everybody can read.
func encodingOf(contentType string) (enc encoding, known bool) {
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case err == nil && media == typeProto:
		return encProto, true
	case err == nil && media == typeJSON:
		return encJSON, true
	default:
		return encJSON, false
	}
}
