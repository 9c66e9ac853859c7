package api

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
)

// RequestIDHeader carries a request's id, in and out.
const RequestIDHeader = "X-Request-ID"

// RequestID returns the id that r brings if that is 1 to 128 printable ASCII
// characters, and a fresh one otherwise.
func RequestID(r *http.Request) string {
	if id := GivenRequestID(r); id != "" {
		return id
	}
	return string(AppendRequestID(nil))
}

// GivenRequestID returns the id that r brings if [RequestID] takes it, else "".
func GivenRequestID(r *http.Request) string {
	values := r.Header[canonicalRequestID]
	if len(values) == 0 || len(values[0]) > 128 {
		return ""
	}
	id := values[0]
	for i := range len(id) {
		if id[i] < ' ' || id[i] > '~' {
			return ""
		}
	}
	return id
}

// canonicalRequestID is the header as [http.Header] keeps it. Get has to make
// that of any other spelling each time.
const canonicalRequestID = "X-Request-Id"

// AppendRequestID appends a fresh id: 32 hex digits, random but no secret.
func AppendRequestID(dst []byte) []byte {
	var b [16]byte
	binary.NativeEndian.PutUint64(b[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(b[8:], rand.Uint64())
	return hex.AppendEncode(dst, b[:])
}
