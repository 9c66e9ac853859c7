package breaker

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// Middleware returns a handler that sheds load: next's answers of 500 and more,
// and its panics, count as failures, and while the breaker is open a request is
// answered 503 with Retry-After at once. The request's context ends with the
// breaker's call timeout; a handler that runs into it counts as a timeout,
// whatever it answers. A client that goes away is ignored.
func Middleware(b *Breaker, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		permit, err := b.Allow()
		if err != nil {
			unavailable(w, err)
			return
		}
		ctx, cancel := permit.opts.callContext(r.Context())
		defer cancel()
		result := panicked(ctx)
		defer func() { permit.finish(result) }()
		sw := &statusWriter{ResponseWriter: w}
		next.ServeHTTP(sw, r.WithContext(ctx))
		switch {
		case ctx.Err() != nil:
			result = failed(ctx, b.Outcome(r.Context(), ctx, ctx.Err()), ctx.Err())
		case sw.status >= http.StatusInternalServerError:
			result = failed(ctx, Failure, StatusError{sw.status})
		default:
			result = failed(ctx, Success, nil)
		}
	})
}

// unavailable answers for an open breaker.
func unavailable(w http.ResponseWriter, err error) {
	var open *OpenError
	if errors.As(err, &open) {
		w.Header().Set("Retry-After", strconv.Itoa(open.retryAfter(time.Now())))
	}
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
}

// retryAfter is how many seconds to wait before another try, at least one: also
// for a probe that is under way, or a breaker that is open until told otherwise.
func (e *OpenError) retryAfter(now time.Time) int {
	wait := (e.RetryAt.Sub(now) + time.Second - 1) / time.Second
	return int(max(wait, 1))
}

// statusWriter notes the status of an answer. [http.ResponseController] reaches
// what the writer below it can do.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader notes the status; informational ones are not the answer.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write is an answer of 200 unless the status was written before.
func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Flush sends what is written.
func (w *statusWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap returns the writer below, for [http.ResponseController].
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
