package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// route is one row of the API: a method, a path in the mux's notation, who may
// call it and what it does.
type route struct {
	Method  string
	Path    string
	Summary string
	Role    Role
	Handler http.Handler
}

// pattern is Path as the mux wants it: the index matches itself only.
func (rt route) pattern() string {
	if strings.HasSuffix(rt.Path, "/") {
		return rt.Path + "{$}"
	}
	return rt.Path
}

// fixed maps each path without wildcards to its methods, as Allow lists them.
func fixed(routes []route) map[string]string {
	out := map[string]string{}
	for _, rt := range routes {
		if strings.Contains(rt.pattern(), "{") {
			continue
		}
		allow := rt.Method
		if allow == http.MethodGet {
			allow = "GET, HEAD"
		}
		if out[rt.Path] != "" {
			allow = out[rt.Path] + ", " + allow
		}
		out[rt.Path] = allow
	}
	return out
}

// table is the whole API, noun by noun.
func (s *Server) table() []route {
	var all []route
	all = append(all, s.indexRoutes()...)
	all = append(all, s.openapiRoutes()...)
	all = append(all, s.metricRoutes()...)
	all = append(all, s.queryRoutes()...)
	all = append(all, s.healthRoutes()...)
	all = append(all, s.systemRoutes()...)
	all = append(all, s.configRoutes()...)
	all = append(all, s.auditRoutes()...)
	all = append(all, s.eventRoutes()...)
	all = append(all, s.traceRoutes()...)
	all = append(all, s.breakerRoutes()...)
	all = append(all, s.cacheRoutes()...)
	all = append(all, s.profilingRoutes()...)
	all = append(all, s.pprofRoutes()...)
	all = append(all, s.snapshotRoutes()...)
	return all
}

// get is a route that reads.
func (s *Server) get(path, summary string, f func(*http.Request) (any, error)) route {
	return route{http.MethodGet, path, summary, Viewer, s.json(f)}
}

// json answers with what f returns: a value as JSON, an error as a problem. A
// value that is an [answer] brings its own status.
func (s *Server) json(f func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		status := http.StatusOK
		if a, ok := v.(answer); ok {
			status, v = a.Status, a.Body
		}
		s.write(w, r, status, "application/json", v)
	})
}

// answer is a JSON body with a status other than 200.
type answer struct {
	Status int
	Body   any
}

func (s *Server) write(w http.ResponseWriter, r *http.Request, status int, contentType string, v any) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		s.fail(w, r, fmt.Errorf("encode the answer: %w", err)) // a problem itself can always be encoded
		return
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(body.Bytes()) // a client that has gone needs no answer
}

// fail answers with a problem. An error that is no [api.Error] is ours: it is
// logged, and the client gets the request id to find it by.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var p *api.Error
	switch {
	case errors.As(err, &p):
	case r.Context().Err() != nil: // no one waits for this answer
		p = api.Errorf(http.StatusServiceUnavailable, "the request was given up before it was answered")
	default:
		s.log.LogAttrs(r.Context(), slog.LevelError, "request failed", slog.String("path", r.URL.Path),
			slog.Any("error", err), slog.String("request_id", w.Header().Get(api.RequestIDHeader)))
		p = internalError()
	}
	out := *p
	if out.Status == 0 {
		out.Status = http.StatusInternalServerError
	}
	out.Type = "about:blank"
	if out.Title == "" {
		out.Title = http.StatusText(out.Status)
	}
	if out.Status >= 500 {
		out.RequestID = w.Header().Get(api.RequestIDHeader)
	}
	if out.RetryAfter != nil {
		w.Header().Set("Retry-After", strconv.FormatInt(ceilSeconds(out.RetryAfter.Duration()), 10))
	}
	s.write(w, r, out.Status, api.ProblemType, &out)
}

func internalError() *api.Error {
	return api.Errorf(http.StatusInternalServerError, "the server could not answer; its log has the reason under this request id")
}

// ceilSeconds rounds up: who retries too early is refused again.
func ceilSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
