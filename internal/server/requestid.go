package server

import (
	"context"
	"net/http"

	"github.com/pulsectl/pulsectl/pkg/api"
)

type requestIDKey struct{}

// identified gives a request its id: that which a middleware has put on the
// answer already, or its own, or a new one. It is on the answer from then on.
func identified(w http.ResponseWriter, r *http.Request) *http.Request {
	id := w.Header().Get(api.RequestIDHeader)
	if id == "" {
		id = api.RequestID(r)
		w.Header().Set(api.RequestIDHeader, id)
	}
	return r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id))
}

// requestID returns the id of a request that is identified.
func requestID(r *http.Request) string {
	id, _ := r.Context().Value(requestIDKey{}).(string)
	return id
}
