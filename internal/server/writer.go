package server

import "net/http"

// sentWriter knows whether an answer has begun.
type sentWriter struct {
	http.ResponseWriter
	sent bool
}

// Unwrap is for [http.ResponseController].
func (w *sentWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *sentWriter) WriteHeader(status int) {
	w.sent = w.sent || status >= 200
	w.ResponseWriter.WriteHeader(status)
}

func (w *sentWriter) Write(p []byte) (int, error) {
	w.sent = true
	return w.ResponseWriter.Write(p)
}

// Flush sends what is written so far, where the server can.
func (w *sentWriter) Flush() {
	w.sent = true
	http.NewResponseController(w.ResponseWriter).Flush() // a writer that cannot flush has nothing to lose
}

// headerRecorder keeps the header of a mux's own answer, not its body.
type headerRecorder struct{ header http.Header }

func (w *headerRecorder) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}
func (w *headerRecorder) WriteHeader(int)             {}
func (w *headerRecorder) Write(p []byte) (int, error) { return len(p), nil }
