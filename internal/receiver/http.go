package receiver

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	typeProto = "application/x-protobuf"
	typeJSON  = "application/json"
)

// httpDoor answers OTLP/HTTP.
type httpDoor struct{ rc *Receiver }

// ServeHTTP takes one ExportTraceServiceRequest.
func (d httpDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, known := protocolOf(r.Header.Get("Content-Type"))
	rejected, err := d.take(w, r, p, known)
	if err != nil {
		d.refuse(w, r, p, asRefusal(err))
		return
	}
	body, contentType := appendResponse(nil, rejected), typeProto
	if p == httpJSON {
		body, contentType = responseJSON(rejected), typeJSON
	}
	if d.rc.counts.add(p, accepted); rejected > 0 {
		d.rc.counts.add(p, partial)
	}
	answer(w, http.StatusOK, contentType, body)
}

// Refuse implements [Handler].
func (d httpDoor) Refuse(w http.ResponseWriter, r *http.Request, err *api.Error) {
	p, _ := protocolOf(r.Header.Get("Content-Type"))
	d.refuse(w, r, p, notAllowed(err))
}

func (d httpDoor) refuse(w http.ResponseWriter, r *http.Request, p protocol, no *refusal) {
	d.rc.refused(r, p, no)
	no.sayWhen(w.Header())
	if no.status == http.StatusUnsupportedMediaType {
		w.Header().Set("Accept-Encoding", acceptEncoding) // RFC 9110, section 12.5.3
	}
	if p == httpJSON {
		answer(w, no.status, typeJSON, no.statusJSON())
		return
	}
	answer(w, no.status, typeProto, no.appendStatus(nil))
}

func answer(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone is nobody to tell
}

// take reads the request and gives its spans to the store.
func (d httpDoor) take(w http.ResponseWriter, r *http.Request, p protocol, known bool) (rejected int, err error) {
	if no := otherSignal(r.URL.Path); no != nil {
		return 0, no
	}
	if !known {
		return 0, &refusal{outcome: unsupported, status: http.StatusUnsupportedMediaType, code: codeInvalid,
			message: fmt.Sprintf("content type %.100q is not taken: send %s or %s", r.Header.Get("Content-Type"), typeProto, typeJSON)}
	}
	in := d.rc.open()
	defer in.close()
	body, err := in.body(w, r)
	if err != nil {
		return 0, err
	}
	if p == httpJSON {
		if body, err = in.protoFromJSON(body); err != nil {
			return 0, err
		}
	}
	return d.rc.keep(r, body)
}

// body reads the body of an HTTP request and takes its compression off. It is
// good until close.
func (in *intake) body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limit := in.rc.opts.MaxBytes
	if r.ContentLength > limit {
		return nil, tooLong(limit)
	}
	defer in.rc.limitBody(w, in.rc.opts.BodyTimeout)()
	var err error
	in.raw, err = in.slurp(in.raw[:0], 0, http.MaxBytesReader(w, r.Body, limit+1), r.ContentLength, limit)
	if err != nil {
		return nil, readError(err)
	}
	return in.inflate(strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))), in.raw)
}

// What an object of OTLP/JSON takes in memory, at most about: a span's, which
// is the largest.
const objectBytes = 320

// protoFromJSON writes an OTLP/JSON request in protobuf. Three bytes of JSON can
// be an object of hundreds, so those are counted and claimed first.
func (in *intake) protoFromJSON(body []byte) ([]byte, error) {
	if err := in.claim(int64(bytes.Count(body, []byte("{")))*objectBytes + int64(len(body))); err != nil {
		return nil, err
	}
	var read ptrace.JSONUnmarshaler
	traces, err := read.UnmarshalTraces(body)
	if err != nil {
		return nil, fmt.Errorf("read OTLP/JSON request: %w", err)
	}
	var write ptrace.ProtoMarshaler
	b, err := write.MarshalTraces(traces)
	if err != nil {
		return nil, fmt.Errorf("encode OTLP/JSON request: %w", err)
	}
	return b, nil
}

// protocolOf returns how the content type says that the body is written.
// Unknown ones are answered in JSON, which everybody can read.
func protocolOf(contentType string) (p protocol, known bool) {
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return httpJSON, false
	case media == typeProto, media == "application/protobuf":
		return httpProtobuf, true
	case media == typeJSON:
		return httpJSON, true
	}
	return httpJSON, false
}
