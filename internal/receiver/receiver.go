// Package receiver is the door through which OpenTelemetry SDKs and Collectors
// bring their spans: OTLP over HTTP, in protobuf and in JSON, and OTLP over
// gRPC, plain or compressed (OTLP specification 1.x). Zipkin JSON has a door of
// its own, [Receiver.Zipkin]. A [Forwarder] sends what came in on to another
// endpoint.
//
// A [Receiver] reads a request whole into memory that it uses again, within its
// bounds, hands the bytes to Options.Keep and answers in the request's own form:
// a google.rpc.Status over HTTP, grpc-status over gRPC. A request for which
// there is no memory is answered at once: 429 with Retry-After, or
// RESOURCE_EXHAUSTED with RetryInfo, and the sender keeps it. What is wrong with
// a request is 4xx or INVALID_ARGUMENT, and not sent again.
//
// gRPC is spoken on net/http's own HTTP/2, frame by frame, because a call with
// one message each way needs no more; [Listen] reads ahead, which takes a quarter
// off what that costs (decision 18).
package receiver

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Options configures a [Receiver].
type Options struct {
	// Keep takes the spans of an ExportTraceServiceRequest in protobuf, as
	// (*tracing.Store).AddOTLP does: its error is the sender's fault. The body is
	// used again once it returns. Required.
	Keep        func(body []byte) (accepted, rejected int, err error)
	Forward     *Forwarder    // gets what was kept, too; nil means nobody
	MaxBytes    int64         // of a request, compressed and inflated; 0 means 32 MiB
	MaxInFlight int64         // bytes of all requests that are being read and kept; 0 means 128 MiB
	BodyTimeout time.Duration // for a body to come in whole; 0 means 30s
	Log         *slog.Logger  // nil discards
}

// Receiver takes requests in. Its handlers are in [Receiver.Routes].
type Receiver struct {
	opts     Options
	inflight budget
	intakes  sync.Pool     // of *intake
	zstd     *zstd.Decoder // whose DecodeAll may be called by all at once
	counts   counts
	said     atomic.Int64 // when a refusal was logged last, Unix nanoseconds
	unsaid   atomic.Int64 // refusals since then
}

// New returns a Receiver.
func New(o Options) (*Receiver, error) {
	if o.Keep == nil || o.MaxBytes < 0 || o.MaxInFlight < 0 || o.BodyTimeout < 0 {
		return nil, errors.New("receiver options: want Keep, and no negative numbers")
	}
	o.MaxBytes = cmp.Or(o.MaxBytes, 32<<20)
	o.MaxInFlight = cmp.Or(o.MaxInFlight, 128<<20)
	o.BodyTimeout = cmp.Or(o.BodyTimeout, 30*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	unzstd, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxWindow(8<<20),
		zstd.WithDecoderMaxMemory(uint64(o.MaxBytes)), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	return &Receiver{opts: o, inflight: budget{max: o.MaxInFlight}, zstd: unzstd}, nil
}

// Route is a handler with its pattern for a mux.
type Route struct {
	Pattern string
	Handler Handler
}

// Handler answers requests, and puts into its own form the refusal of one that
// may not be made.
type Handler interface {
	http.Handler
	Refuse(w http.ResponseWriter, r *http.Request, err *api.Error)
}

// Routes returns what the receiver answers: OTLP/HTTP, OTLP/gRPC, and for the
// signals that are not kept a sentence that says so.
func (rc *Receiver) Routes() []Route {
	all := []Route{
		{"POST /v1/traces", httpDoor{rc}},
		{"POST " + traceExport, grpcDoor{rc}},
	}
	for _, other := range otherSignals {
		all = append(all, Route{"POST " + other.path, httpDoor{rc}}, Route{"POST " + other.export, grpcDoor{rc}})
	}
	return all
}

// traceExport is the gRPC method that brings spans.
const traceExport = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

// otherSignals are those of OTLP that this server does not keep.
var otherSignals = []struct{ name, path, export string }{
	{"metrics", "/v1/metrics", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"},
	{"logs", "/v1/logs", "/opentelemetry.proto.collector.logs.v1.LogsService/Export"},
	{"profiles", "/v1development/profiles", "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"},
}

// otherSignal returns the refusal of a request to a path of those, nil for the
// path of traces.
func otherSignal(path string) *refusal {
	for _, s := range otherSignals {
		if path == s.path || path == s.export {
			return &refusal{outcome: unsupported, status: http.StatusNotFound, code: codeUnimplemented,
				message: "this server keeps traces only: send its " + s.name + " elsewhere, or turn their exporter off"}
		}
	}
	return nil
}

// keep hands an ExportTraceServiceRequest to the store and to the forwarder.
func (rc *Receiver) keep(r *http.Request, body []byte) (rejected int, err error) {
	via := r.Header.Get(viaHeader)
	if rc.opts.Forward.passed(via) {
		return 0, &refusal{outcome: looped, status: http.StatusLoopDetected, code: codePrecondition,
			message: "these spans were forwarded by this server and came back to it: --otlp-forward leads in a circle"}
	}
	accepted, rejected, err := rc.opts.Keep(body)
	if err != nil {
		return 0, err
	}
	rc.opts.Forward.offer(body, accepted, via)
	return rejected, nil
}

// limitBody gives the body of r until the timeout, or until the sender's own
// deadline, to come in: one that trickles must not hold memory for long.
func (rc *Receiver) limitBody(w http.ResponseWriter, within time.Duration) (restore func()) {
	conn := http.NewResponseController(w)
	if conn.SetReadDeadline(time.Now().Add(within)) != nil {
		return func() {} // not a connection: a test's recorder
	}
	return func() { _ = conn.SetReadDeadline(time.Time{}) } // it is the same connection that took the first
}

// refused counts a refusal and logs it, one a second at most.
func (rc *Receiver) refused(r *http.Request, p protocol, no *refusal) {
	rc.counts.add(p, no.outcome)
	now := time.Now().UnixNano()
	last := rc.said.Load()
	if now-last < int64(time.Second) || !rc.said.CompareAndSwap(last, now) {
		rc.unsaid.Add(1)
		return
	}
	rc.opts.Log.LogAttrs(context.WithoutCancel(r.Context()), slog.LevelWarn, "spans refused", slog.String("remote_addr", r.RemoteAddr),
		slog.String("protocol", p.String()), slog.String("error", no.message), slog.Int64("more_since", rc.unsaid.Swap(0)))
}

// isGRPC tells whether a content type is gRPC's with messages in protobuf.
func isGRPC(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.TrimSpace(media)
	return media == "application/grpc" || media == "application/grpc+proto"
}
