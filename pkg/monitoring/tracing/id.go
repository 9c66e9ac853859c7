package tracing

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"

	"go.opentelemetry.io/otel/trace"
)

// TraceID names a trace: 16 bytes, not all zeros.
type TraceID = trace.TraceID

// SpanID names a span within its trace: 8 bytes, not all zeros.
type SpanID = trace.SpanID

// Errors of the parsers; theirs wrap them.
var (
	ErrTraceID     = errors.New("trace id")
	ErrTraceparent = errors.New("traceparent")
)

// NewTraceID returns a random trace id from a generator seeded by the system.
func NewTraceID() (id TraceID) {
	for !id.IsValid() {
		binary.BigEndian.PutUint64(id[:8], rand.Uint64())
		binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id
}

// NewSpanID returns a random span id.
func NewSpanID() (id SpanID) {
	for !id.IsValid() {
		binary.BigEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}

// ParseTraceID parses the 32 lower-case hex digits of a trace id as they stand
// in a traceparent header (W3C Trace Context, section 3.2.2.3). Its error wraps
// [ErrTraceID] if s is anything else, or all zeros, which the standard forbids.
func ParseTraceID(s string) (TraceID, error) {
	var id TraceID
	if len(s) != 32 || !unhex(id[:], s) || !id.IsValid() {
		return TraceID{}, fmt.Errorf("%w %q: want 32 lower-case hex digits, not all zeros", ErrTraceID, s)
	}
	return id, nil
}

// ParseTraceparent parses a traceparent header into a remote span context
// without a trace state (W3C Trace Context, section 3.2). A version above 00
// may have more fields behind those of 00. Its error wraps [ErrTraceparent].
func ParseTraceparent(s string) (trace.SpanContext, error) {
	var version, flags [1]byte
	var id TraceID
	var span SpanID
	ok := len(s) >= 55 && s[2] == '-' && s[35] == '-' && s[52] == '-' &&
		unhex(version[:], s[:2]) && unhex(id[:], s[3:35]) && unhex(span[:], s[36:52]) && unhex(flags[:], s[53:55]) &&
		version[0] != 0xff && (len(s) == 55 || version[0] > 0 && s[55] == '-')
	if !ok || !id.IsValid() || !span.IsValid() {
		return trace.SpanContext{}, badTraceparent(s)
	}
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: span, TraceFlags: trace.TraceFlags(flags[0]) & knownFlags, Remote: true,
	}), nil
}

// knownFlags are sampled and random; the standard wants others not passed on.
const knownFlags = 0x03

// badTraceparent is apart so that a good header costs nothing for it.
func badTraceparent(s string) error {
	return fmt.Errorf("%w %q: want 00-TRACEID-SPANID-FLAGS in lower-case hex", ErrTraceparent, s[:min(len(s), 64)])
}

// Traceparent returns the header that continues sc elsewhere, and "" if sc is
// not valid.
func Traceparent(sc trace.SpanContext) string {
	if !sc.IsValid() {
		return ""
	}
	var b [55]byte
	return string(AppendTraceparent(b[:0], sc))
}

// AppendTraceparent appends what [Traceparent] returns for a valid sc.
func AppendTraceparent(dst []byte, sc trace.SpanContext) []byte {
	id, span := sc.TraceID(), sc.SpanID()
	dst = append(dst, "00-"...)
	dst = append(hex.AppendEncode(dst, id[:]), '-')
	dst = append(hex.AppendEncode(dst, span[:]), '-')
	return hex.AppendEncode(dst, []byte{byte(sc.TraceFlags())})
}

// unhex decodes lower-case hex digits, all of s.
func unhex(dst []byte, s string) bool {
	bad := byte(0)
	for i := range dst {
		hi, lo := nibbles[s[2*i]], nibbles[s[2*i+1]]
		bad |= hi | lo
		dst[i] = hi<<4 | lo&0x0f
	}
	return bad&0xf0 == 0
}

// nibbles holds the value of each lower-case hex digit and 0xf0 for the rest.
var nibbles = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xf0
	}
	for i, c := range "0123456789abcdef" {
		t[c] = byte(i)
	}
	return t
}()
