package receiver

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// encoding is how a request is written, and its answer.
type encoding int

const (
	encProto encoding = iota
	encJSON
)

const (
	typeProto = "application/x-protobuf"
	typeJSON  = "application/json"
)

// Codes of google.rpc.Code.
const (
	codeInvalid       = 3
	codeExhausted     = 8
	codeUnimplemented = 12
	codeUnavailable   = 14
)

// refusal is an answer that is not 200.
type refusal struct {
	status  int // of HTTP
	code    int // of google.rpc.Code
	message string
}

func (r *refusal) Error() string { return r.message }

// accept answers with an ExportTraceServiceResponse.
func (e encoding) accept(w http.ResponseWriter, rejected int) {
	var message string
	if rejected > 0 {
		message = fmt.Sprintf("%d spans were not kept: their ids are missing or all zeros, or a limit on the span or its trace is reached", rejected)
	}
	if e == encJSON {
		answer := map[string]any{}
		if rejected > 0 {
			answer["partialSuccess"] = map[string]any{"rejectedSpans": strconv.Itoa(rejected), "errorMessage": message}
		}
		e.write(w, http.StatusOK, marshal(answer))
		return
	}
	var b []byte
	if rejected > 0 {
		partial := appendField(binary.AppendUvarint([]byte{1 << 3}, uint64(rejected)), 2, message)
		b = appendField(nil, 1, string(partial))
	}
	e.write(w, http.StatusOK, b)
}

// refuse answers with a google.rpc.Status.
func (e encoding) refuse(w http.ResponseWriter, r *refusal) {
	if r.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	if e == encJSON {
		e.write(w, r.status, marshal(map[string]any{"code": r.code, "message": r.message}))
		return
	}
	e.write(w, r.status, appendField(binary.AppendUvarint([]byte{1 << 3}, uint64(r.code)), 2, r.message))
}

func (e encoding) write(w http.ResponseWriter, status int, body []byte) {
	contentType := typeProto
	if e == encJSON {
		contentType = typeJSON
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone is nobody to tell
}

// marshal writes numbers and text, which encoding/json always can.
func marshal(v map[string]any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte("{}")
	}
	return b
}

func appendField(dst []byte, field byte, s string) []byte {
	return append(binary.AppendUvarint(append(dst, field<<3|2), uint64(len(s))), s...)
}
