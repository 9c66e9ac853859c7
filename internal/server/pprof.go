package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
)

// pprofPath is where Go's tools look for profiles.
const pprofPath = "/debug/pprof/"

// pprofSlack is how much longer than its profile takes an answer may.
const pprofSlack = 30 * time.Second

// The pages of net/http/pprof, with its parameters, behind this server's rules
// of access. Two of them are not there: cmdline may hold secrets, and symbol is
// for profiles without names, which Go does not write.
func (s *Server) pprofRoutes() []route {
	return []route{
		{http.MethodGet, pprofPath, "the profiles of this process, for go tool pprof", Viewer, http.HandlerFunc(s.pprofIndex)},
		{http.MethodGet, pprofPath + "profile", "the CPU profile of a time; any number of readers share it", Viewer, http.HandlerFunc(s.pprofCPU)},
		{http.MethodGet, pprofPath + "trace", "an execution trace of a time, for go tool trace", Operator, http.HandlerFunc(s.pprofTrace)},
		{http.MethodGet, pprofPath + "{profile}", "a profile that the runtime keeps, or what it gained in a time", Viewer, http.HandlerFunc(s.pprofLookup)},
	}
}

func isPprof(path string) bool {
	return path == strings.TrimSuffix(pprofPath, "/") || strings.HasPrefix(path, pprofPath)
}

func (s *Server) pprofIndex(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	for _, typ := range profiling.Types() {
		page := typ
		if typ == "cpu" {
			page = "profile?seconds=30"
		}
		fmt.Fprintln(w, pprofPath+page) // a client that has gone needs no answer
	}
}

// pprofTime lets an answer take d though the service cuts off slow ones.
func pprofTime(w http.ResponseWriter, d time.Duration) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d + pprofSlack)) // a writer without deadlines has none to lengthen
}

func (s *Server) pprofCPU(w http.ResponseWriter, r *http.Request) {
	p := query(r)
	d := p.duration("seconds", 30*time.Second, time.Second, 300*time.Second)
	if err := p.problem(); err != nil {
		s.fail(w, r, err)
		return
	}
	pprofTime(w, d)
	data, note, err := s.opts.Profiler.CPUProfile(r.Context(), d)
	s.pprofAnswer(w, r, "profile", data, note, err)
}

func (s *Server) pprofLookup(w http.ResponseWriter, r *http.Request) {
	p, typ := query(r), r.PathValue("profile")
	if typ == "cmdline" || typ == "symbol" || typ == "cpu" || !slices.Contains(profiling.Types(), typ) {
		s.fail(w, r, api.Errorf(http.StatusNotFound, "there is no profile %.100s here; %s lists what there is", typ, pprofPath))
		return
	}
	o := profiling.LookupOptions{
		Duration: p.duration("seconds", 0, time.Second, 300*time.Second), GC: p.integer("gc", 0, 0, 1) == 1, Debug: p.integer("debug", 0, 0, 2),
	}
	if o.Duration > 0 && o.Debug > 0 {
		p.wrong("debug", "a difference is no text: want 0")
	}
	if err := p.problem(); err != nil {
		s.fail(w, r, err)
		return
	}
	pprofTime(w, o.Duration)
	data, note, err := s.opts.Profiler.Lookup(r.Context(), typ, o)
	if err == nil && o.Debug > 0 {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	s.pprofAnswer(w, r, typ, data, note, err)
}

// pprofAnswer sends a profile; what it lacks is in X-Profile-Note.
func (s *Server) pprofAnswer(w http.ResponseWriter, r *http.Request, name string, data []byte, note string, err error) {
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := w.Header()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	}
	if note != "" {
		h.Set("X-Profile-Note", note)
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.Write(data) // a client that has gone needs no answer
}

func (s *Server) pprofTrace(w http.ResponseWriter, r *http.Request) {
	p := query(r)
	d := p.duration("seconds", time.Second, 10*time.Millisecond, time.Minute)
	if err := p.problem(); err != nil {
		s.fail(w, r, err)
		return
	}
	pprofTime(w, d)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	out := &traceWriter{w: w, gone: cancel}
	if _, err := s.opts.Profiler.Trace(ctx, out, d, 0); err != nil {
		s.fail(w, r, err)
	}
}

// traceWriter sends a trace as it is recorded, and ends it when the client has
// gone.
type traceWriter struct {
	w    http.ResponseWriter
	gone func()
	sent bool
}

func (t *traceWriter) Write(b []byte) (int, error) {
	if !t.sent {
		t.sent = true
		h := t.w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Disposition", `attachment; filename="trace"`)
		h.Set("Cache-Control", "no-store")
	}
	n, err := t.w.Write(b)
	if err != nil {
		t.gone()
	}
	return n, err
}
