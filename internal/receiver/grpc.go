package receiver

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// grpcDoor answers OTLP/gRPC: calls with one message each way (gRPC over
// HTTP/2, https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
type grpcDoor struct{ rc *Receiver }

// prefixSize is that of what stands before a message: a byte that says whether
// it is compressed, and its length.
const prefixSize = 5

// ServeHTTP takes one ExportTraceServiceRequest.
func (d grpcDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !d.speaks(w, r) {
		return
	}
	rejected, err := d.take(w, r)
	if err != nil {
		d.refuse(w, r, asRefusal(err))
		return
	}
	if d.rc.counts.add(grpcProtobuf, accepted); rejected > 0 {
		d.rc.counts.add(grpcProtobuf, partial)
	}
	body := appendResponse(make([]byte, prefixSize, 128), rejected)
	binary.BigEndian.PutUint32(body[1:], uint32(len(body)-prefixSize))
	h := w.Header()
	h.Set("Content-Type", "application/grpc+proto")
	h.Set("Trailer", "Grpc-Status")
	_, _ = w.Write(body) // a client that has gone is nobody to tell
	h.Set("Grpc-Status", "0")
}

// speaks tells whether the request is gRPC at all; if not it is answered in
// plain words.
func (d grpcDoor) speaks(w http.ResponseWriter, r *http.Request) bool {
	if isGRPC(r.Header.Get("Content-Type")) && r.ProtoMajor >= 2 {
		return true
	}
	no := &refusal{outcome: unsupported, status: http.StatusUnsupportedMediaType, message: fmt.Sprintf(
		"content type %.100q is not taken here: send application/grpc, or OTLP/HTTP to /v1/traces", r.Header.Get("Content-Type"))}
	if r.ProtoMajor < 2 {
		no.status, no.message = http.StatusHTTPVersionNotSupported, "gRPC needs HTTP/2; OTLP/HTTP goes to /v1/traces"
	}
	d.rc.refused(r, grpcProtobuf, no)
	answer(w, no.status, "text/plain; charset=utf-8", []byte(no.message+"\n"))
	return false
}

// Refuse implements [Handler].
func (d grpcDoor) Refuse(w http.ResponseWriter, r *http.Request, err *api.Error) {
	if d.speaks(w, r) {
		d.refuse(w, r, notAllowed(err))
	}
}

// refuse answers with a status alone ("Trailers-Only").
func (d grpcDoor) refuse(w http.ResponseWriter, r *http.Request, no *refusal) {
	d.rc.refused(r, grpcProtobuf, no)
	h := w.Header()
	h.Set("Content-Type", "application/grpc+proto")
	h.Set("Grpc-Status", strconv.Itoa(no.code))
	h.Set("Grpc-Message", escapeMessage(no.message))
	if no.retry > 0 {
		h.Set("Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(no.appendStatus(nil)))
	}
	if no.outcome == looped {
		h.Set(loopHeader, "true")
	}
	if no.code == codeUnimplemented {
		h.Set("Grpc-Accept-Encoding", strings.ReplaceAll(acceptEncoding, " ", ""))
	}
	w.WriteHeader(http.StatusOK)
}

// take reads the message and gives its spans to the store.
func (d grpcDoor) take(w http.ResponseWriter, r *http.Request) (rejected int, err error) {
	if no := otherSignal(r.URL.Path); no != nil {
		return 0, no
	}
	within, err := grpcTimeout(r.Header.Get("Grpc-Timeout"), d.rc.opts.BodyTimeout)
	if err != nil {
		return 0, err
	}
	in := d.rc.open()
	defer in.close()
	defer d.rc.limitBody(w, within)()
	message, compressed, err := in.message(r.Body)
	if err != nil {
		return 0, err
	}
	if compressed {
		encoding := r.Header.Get("Grpc-Encoding")
		if encoding == "" || encoding == "identity" {
			return 0, &refusal{outcome: invalid, code: codeInternal, message: "the message says that it is compressed, grpc-encoding does not say how"}
		}
		if message, err = in.inflate(encoding, message); err != nil {
			return 0, err
		}
	}
	return d.rc.keep(r, message)
}

// message reads the one message of a call.
func (in *intake) message(r io.Reader) (message []byte, compressed bool, err error) {
	if err := in.claim(firstStep); err != nil {
		return nil, false, err
	}
	if cap(in.raw) < firstStep {
		in.raw = make([]byte, 0, firstStep)
	}
	n, err := io.ReadAtLeast(r, in.raw[:firstStep], prefixSize)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, false, fmt.Errorf("the call has no message: %d bytes, want a prefix of %d and it", n, prefixSize)
	}
	if err != nil {
		return nil, false, readError(err)
	}
	in.raw = in.raw[:n]
	size, limit := int64(binary.BigEndian.Uint32(in.raw[1:])), in.rc.opts.MaxBytes
	if size > limit {
		return nil, false, tooLong(limit)
	}
	if in.raw[0] > 1 {
		return nil, false, fmt.Errorf("the message has the flags %#x: want 0 or 1", in.raw[0])
	}
	if in.raw, err = in.rest(r, prefixSize+size); err != nil {
		return nil, false, err
	}
	return in.raw[prefixSize:], in.raw[0] == 1, nil
}

// rest reads what is missing of a message that has whole bytes with its prefix.
func (in *intake) rest(r io.Reader, whole int64) ([]byte, error) {
	raw, err := in.slurp(in.raw, firstStep, r, whole, whole)
	switch n := int64(len(raw)); {
	case n > whole:
		return raw, fmt.Errorf("something follows the message of %d bytes: want one message", whole-prefixSize)
	case err != nil:
		return raw, readError(err)
	case n < whole:
		return raw, fmt.Errorf("the message is cut off: %d of %d bytes", n-prefixSize, whole-prefixSize)
	}
	return raw, nil
}

// timeoutUnits are those of a grpc-timeout header.
var timeoutUnits = map[byte]time.Duration{
	'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
}

// grpcTimeout reads a call's deadline: at most eight digits and a unit. Without
// one it is most.
func grpcTimeout(header string, most time.Duration) (time.Duration, error) {
	if header == "" {
		return most, nil
	}
	digits, unit := header[:len(header)-1], timeoutUnits[header[len(header)-1]]
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || unit == 0 || len(digits) > 8 {
		return 0, fmt.Errorf("grpc-timeout %.20q: want at most 8 digits and one of HMSmun", header)
	}
	if n > uint64(most/unit) {
		return most, nil
	}
	return time.Duration(n) * unit, nil
}

// escapeMessage writes a message as grpc-message wants it: printable ASCII, all
// else and the percent sign as %XX.
func escapeMessage(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
