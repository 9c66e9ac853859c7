package demo

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// maxBody bounds the requests' bodies, in bytes.
const maxBody = 64 << 10

// handle makes a handler of f: what f returns is answered as JSON with a
// status, its error as a problem.
func (d *Demo) handle(status int, f func(http.ResponseWriter, *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := f(w, r)
		if err == nil {
			writeJSON(w, status, v)
			return
		}
		p := problem(err)
		if p.Status >= http.StatusInternalServerError {
			d.log.LogAttrs(r.Context(), slog.LevelWarn, "request not served", slog.Int("status_code", p.Status), slog.Any("error", err))
		}
		if p.RetryAfter != nil {
			w.Header().Set("Retry-After", strconv.Itoa(int(p.RetryAfter.Duration().Seconds())+1))
		}
		w.Header().Set("Content-Type", api.ProblemType)
		w.WriteHeader(p.Status)
		json.NewEncoder(w).Encode(p) // who has gone needs no answer
	})
}

// clientGone is the status of a request whose client did not wait. There is no
// standard one; logs and metrics know it from nginx.
const clientGone = 499

// problem says what an error means to the client.
func problem(err error) *api.Error {
	var p *api.Error
	var open *breaker.OpenError
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, errNotFound):
		return api.Errorf(http.StatusNotFound, "%v", err)
	case errors.As(err, &open):
		wait := api.Seconds(max(time.Until(open.RetryAt), 0))
		p = api.Errorf(http.StatusServiceUnavailable, "%s does not answer at present; try again later", open.Name)
		p.RetryAfter = &wait
		return p
	case errors.Is(err, errNotUp):
		return api.Errorf(http.StatusServiceUnavailable, "the service is starting or stopping: %v", err)
	case errors.Is(err, context.DeadlineExceeded):
		return api.Errorf(http.StatusGatewayTimeout, "a dependency took too long: %v", err)
	case errors.Is(err, context.Canceled):
		return api.Errorf(clientGone, "the client has gone")
	}
	return api.Errorf(http.StatusBadGateway, "a dependency failed: %v", err)
}

// readJSON reads a T from a request's body. Its error is a 400 or 413.
func readJSON[T any](w http.ResponseWriter, r *http.Request) (T, error) {
	var v T
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(&v)
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return v, nil
		} else if err == nil {
			err = errors.New("more than one value")
		}
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return v, api.Errorf(http.StatusRequestEntityTooLarge, "body: want at most %d bytes", tooLarge.Limit)
	}
	return v, api.Errorf(http.StatusBadRequest, "body: want one JSON object: %v", err)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // who has gone needs no answer
}
