package monitoring

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// responseWriter notes the status. It keeps what the server's own writer can:
// [http.ResponseController] by Unwrap, Flush, Hijack, Push, and sendfile by
// ReadFrom.
type responseWriter struct {
	http.ResponseWriter
	status   int // 0 until the header is written
	hijacked bool
}

// Unwrap is for [http.ResponseController].
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *responseWriter) WriteHeader(status int) {
	w.ResponseWriter.WriteHeader(status) // panics at a status that is none: then nothing was sent
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

func (w *responseWriter) ReadFrom(r io.Reader) (int64, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return io.Copy(w.ResponseWriter, r)
}

// Flush sends what is written so far, where the server can.
func (w *responseWriter) Flush() { _ = w.FlushError() } // [http.Flusher] has no place for the error

// FlushError is Flush for [http.ResponseController].
func (w *responseWriter) FlushError() error {
	err := http.NewResponseController(w.ResponseWriter).Flush()
	if w.status == 0 && !errors.Is(err, http.ErrNotSupported) {
		w.status = http.StatusOK
	}
	return err
}

// Hijack takes the connection over, where the server can.
func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buf, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.hijacked = true
		if w.status == 0 {
			w.status = http.StatusSwitchingProtocols
		}
	}
	return conn, buf, err
}

// Push sends what the client will ask for next, where the server can.
func (w *responseWriter) Push(target string, o *http.PushOptions) error {
	if p, ok := w.ResponseWriter.(http.Pusher); ok {
		return p.Push(target, o)
	}
	return http.ErrNotSupported
}

// finish returns the status that the request counts with, after it has made an
// answer of a panic if nothing was sent yet.
func (w *responseWriter) finish(panicked, aborted bool, requestID string) int {
	switch {
	case panicked && w.status == 0 && !w.hijacked:
		w.fail(requestID)
		return http.StatusInternalServerError
	case panicked, aborted && w.status == 0:
		return http.StatusInternalServerError
	case w.status == 0:
		return http.StatusOK
	}
	return w.status
}

func (w *responseWriter) fail(requestID string) {
	h := w.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Disposition", "ETag", "Last-Modified"} {
		h.Del(name) // of the answer that the handler meant to give
	}
	h.Set("Content-Type", api.ProblemType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusInternalServerError)
	_ = json.NewEncoder(w).Encode(api.Error{
		Type: "about:blank", Title: http.StatusText(http.StatusInternalServerError), Status: http.StatusInternalServerError,
		Detail: "the request failed; the log has the reason under this request id", RequestID: requestID,
	}) // a client that has gone needs no answer
}
