// Package replay answers the API of a server from its snapshot.
//
// A [Server] has what the server answered, and gives it again: as it is where a
// request has no choices, selected where it has. Traces and profiles go back
// into stores like those that they came from, behind the server's own handler,
// so that their filters, ids and forms are the same. Its now is the snapshot's.
// Whatever would change something is a conflict.
package replay

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/internal/snapshot"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
)

const (
	base         = "/monitoring/"
	breakersPath = base + "circuit-breakers"
	tracesPath   = base + "traces"
	profilesPath = base + "profiling/profiles"
)

// Server is the API of a server that is no more. It is safe for concurrent use.
type Server struct {
	from  *snapshot.Server
	parts map[string]snapshot.Part // by the path that they answer; of several the first
	mux   *http.ServeMux

	stores func() (*stores, error) // filled when they are first asked for
}

// New returns the server of what a snapshot has of one.
func New(from *snapshot.Server) *Server {
	s := &Server{from: from, parts: map[string]snapshot.Part{}, mux: http.NewServeMux()}
	for _, p := range from.Manifest.Parts {
		if _, found := s.parts[p.Path]; !found {
			s.parts[p.Path] = p
		}
	}
	s.stores = sync.OnceValues(func() (*stores, error) { return fill(from) })
	s.mux.HandleFunc("/", s.asItWas)
	for pattern, f := range map[string]func(*http.Request, url.Values) (any, error){
		breakersPath:               s.breakers,
		breakersPath + "/{name}":   s.breaker,
		breakersPath + "/events":   s.breakerEvents,
		base + "cache/redis/keys":  s.keys("redis"),
		base + "cache/memory/keys": s.keys("memory"),
		base + "traces/stream":     noStream,
		base + "events":            noStream,
		base + "snapshot":          isOne,
		tracesPath:                 nil,
		tracesPath + "/{id}":       nil,
		profilesPath:               nil,
		profilesPath + "/":         nil,
		base + "audit":             nil,
		base + "openapi.json":      nil,
		tracesPath + "/stats":      nil,
		tracesPath + "/services":   nil,
	} {
		if f == nil {
			s.mux.HandleFunc(pattern, s.fromStores)
			continue
		}
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.json(w, r, f) })
	}
	s.mux.HandleFunc(base+"metrics", s.metrics)
	return s
}

// Created is when the snapshot was made: now, for whoever asks this server.
func (s *Server) Created() time.Time { return s.from.Manifest.Created.Time }

// ServeHTTP answers as the server did.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		fail(w, api.Errorf(http.StatusConflict, "a snapshot cannot be changed"))
		return
	}
	s.mux.ServeHTTP(w, r)
}

// RoundTrip answers a client's request without any network.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	a := &answer{header: http.Header{}}
	s.ServeHTTP(a, r)
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return &http.Response{
		Status: strconv.Itoa(a.status) + " " + http.StatusText(a.status), StatusCode: a.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: a.header,
		Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: r,
	}, nil
}

// answer is a response in memory.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}
func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// asItWas gives the answer of a path again.
func (s *Server) asItWas(w http.ResponseWriter, r *http.Request) {
	data, p, found := s.part(r.URL.Path)
	if !found {
		fail(w, s.missing(r.URL.Path))
		return
	}
	w.Header().Set("Content-Type", p.ContentType)
	w.WriteHeader(p.Status)
	w.Write(data) // to memory
}

func (s *Server) part(path string) ([]byte, snapshot.Part, bool) {
	p, found := s.parts[path]
	if !found {
		return nil, p, false
	}
	data, found := s.from.File(p.Name)
	return data, p, found
}

// missing is the 404 of what the snapshot does not hold, with the reason where
// the manifest has one.
func (s *Server) missing(path string) *api.Error {
	what := strings.TrimPrefix(path, base)
	for _, l := range s.from.Manifest.LeftOut {
		if strings.TrimSuffix(l.What, ".json") == what {
			return api.Errorf(http.StatusNotFound, "the snapshot does not hold %.100s: %s", what, l.Why)
		}
	}
	return api.Errorf(http.StatusNotFound, "the snapshot does not hold %.100s", path)
}

func (s *Server) json(w http.ResponseWriter, r *http.Request, f func(*http.Request, url.Values) (any, error)) {
	v, err := f(r, r.URL.Query())
	if err != nil {
		fail(w, err)
		return
	}
	write(w, http.StatusOK, "application/json", v)
}

func fail(w http.ResponseWriter, err error) {
	p, ok := err.(*api.Error)
	if !ok {
		p = api.Errorf(http.StatusInternalServerError, "the snapshot cannot be read: %v", err)
	}
	out := *p
	out.Type, out.Title = "about:blank", http.StatusText(p.Status)
	write(w, p.Status, api.ProblemType, out)
}

func write(w http.ResponseWriter, status int, kind string, v any) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(v) // to memory, of what was JSON before
}

// read decodes what the snapshot has of a path. An answer that was a problem is
// that problem again.
func (s *Server) read(path string, v any) error {
	data, p, found := s.part(path)
	if !found {
		return s.missing(path)
	}
	if p.Status >= http.StatusMultipleChoices {
		e := &api.Error{}
		if err := json.Unmarshal(data, e); err != nil {
			return err
		}
		e.Status = p.Status
		return e
	}
	return json.Unmarshal(data, v)
}

func (s *Server) breakers(_ *http.Request, q url.Values) (any, error) {
	all := map[string]json.RawMessage{}
	if err := s.read(breakersPath, &all); err != nil {
		return nil, err
	}
	glob, state := q.Get("name"), q.Get("state")
	if _, err := path.Match(glob, ""); err != nil {
		return nil, api.Invalid("name", "want a pattern of *, ? and [a-z], got %.100q", glob)
	}
	for name, raw := range all {
		var b struct{ State string }
		if err := json.Unmarshal(raw, &b); err != nil {
			return nil, err
		}
		if fits, _ := path.Match(glob, name); glob != "" && !fits || state != "" && state != b.State {
			delete(all, name)
		}
	}
	return all, nil
}

func (s *Server) breaker(r *http.Request, _ url.Values) (any, error) {
	all := map[string]json.RawMessage{}
	if err := s.read(breakersPath, &all); err != nil {
		return nil, err
	}
	b, found := all[r.PathValue("name")]
	if !found {
		return nil, api.Errorf(http.StatusNotFound, "circuit breaker not found: %.200q", r.PathValue("name"))
	}
	return b, nil
}

func (s *Server) breakerEvents(_ *http.Request, q url.Values) (any, error) {
	if q.Get("stream") == "true" {
		return noStream(nil, nil)
	}
	var all api.BreakerEvents
	if err := s.read(breakersPath+"/events", &all); err != nil {
		return nil, err
	}
	glob := q.Get("name")
	if _, err := path.Match(glob, ""); err != nil {
		return nil, api.Invalid("name", "want a pattern of *, ? and [a-z], got %.100q", glob)
	}
	since, err := s.instant(q, "since")
	if err != nil {
		return nil, err
	}
	limit, err := number(q, "limit", 100)
	if err != nil {
		return nil, err
	}
	all.Events = slices.DeleteFunc(all.Events, func(e api.BreakerEvent) bool {
		fits, _ := path.Match(glob, e.Name)
		return glob != "" && !fits || e.Time.Before(since)
	})
	all.Events = all.Events[:min(len(all.Events), limit)]
	return all, nil
}

// keys lists a tier's keys a page at a time; the cursor is where the next page
// begins.
func (s *Server) keys(tier string) func(*http.Request, url.Values) (any, error) {
	return func(r *http.Request, q url.Values) (any, error) {
		if _, p, found := s.part(r.URL.Path); found && p.Status >= http.StatusBadRequest {
			return nil, s.read(r.URL.Path, nil)
		}
		data, found := s.from.File("cache/" + tier + "/keys.json")
		if !found {
			return nil, s.noKeys(tier, r.URL.Path)
		}
		var all api.CacheKeys
		if err := json.Unmarshal(data, &all); err != nil {
			return nil, err
		}
		if p := q.Get("pattern"); p != "" {
			all.Pattern = p
			all.Keys = slices.DeleteFunc(all.Keys, func(k api.CacheKey) bool { return !cache.Match(p, k.Key) })
		}
		limit, err := number(q, "limit", 100)
		if err != nil {
			return nil, err
		}
		from, err := number(q, "cursor", 0)
		if err != nil || from > len(all.Keys) {
			return nil, api.Invalid("cursor", "want one that an earlier answer gave")
		}
		all.Keys, all.Next = all.Keys[from:], nil
		if len(all.Keys) > limit {
			next := strconv.Itoa(from + limit)
			all.Keys, all.Next = all.Keys[:limit], &next
		}
		return all, nil
	}
}

// noKeys is why there are no keys: there was no such cache, or they were left
// out.
func (s *Server) noKeys(tier, path string) error {
	of := map[string]string{"redis": "redis/info", "memory": "memory/stats"}[tier]
	var any json.RawMessage
	if err := s.read(base+"cache/"+of, &any); err != nil {
		return err
	}
	return s.missing(path)
}

func noStream(*http.Request, url.Values) (any, error) {
	return nil, api.Errorf(http.StatusConflict, "nothing happens in a snapshot any more: there is nothing to follow")
}

func isOne(*http.Request, url.Values) (any, error) {
	return nil, api.Errorf(http.StatusConflict, "a snapshot is made of a server, not of a snapshot: copy the file")
}

// metrics gives the scrape in the form that is asked for.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	accept, name := r.Header.Get("Accept"), "metrics.txt"
	switch {
	case strings.Contains(accept, "application/vnd.google.protobuf"):
		name = "metrics.pb"
	case strings.Contains(accept, "application/openmetrics-text"):
		name = "metrics.openmetrics.txt"
	}
	for _, name := range []string{name, "metrics.txt"} {
		data, found := s.from.File(name)
		i := slices.IndexFunc(s.from.Manifest.Parts, func(p snapshot.Part) bool { return p.Name == name })
		if found && i >= 0 {
			w.Header().Set("Content-Type", s.from.Manifest.Parts[i].ContentType)
			w.Write(data) // to memory
			return
		}
	}
	fail(w, s.missing(r.URL.Path))
}

// instant reads a time as the API does; back from now is back from the snapshot.
func (s *Server) instant(q url.Values, name string) (time.Time, error) {
	text := q.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return s.Created().Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	var unix api.Time
	if err := unix.UnmarshalJSON([]byte(text)); err == nil {
		return unix.Time, nil
	}
	return time.Time{}, api.Invalid(name, "want an RFC 3339 time, Unix seconds or a duration like 15m, got %.100q", text)
}

func number(q url.Values, name string, def int) (int, error) {
	if q.Get(name) == "" {
		return def, nil
	}
	n, err := strconv.Atoi(q.Get(name))
	if err != nil || n < 0 {
		return 0, api.Invalid(name, "want a whole number, got %.100q", q.Get(name))
	}
	return n, nil
}
