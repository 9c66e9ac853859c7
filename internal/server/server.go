// Package server serves the /monitoring API over the stores it is handed.
//
// [New] returns the handler of everything below /monitoring and of the health
// probes at the root. Each route is a row of a table: method, path, who may
// call it, and a function that returns a value or an error. One wrapper turns
// values into JSON and errors into problems (RFC 9457), one checks who asks,
// one writes the audit record of what changes state.
package server

import (
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzhttp"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
	"github.com/pulsectl/pulsectl/pkg/monitoring/health"
	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
	"github.com/pulsectl/pulsectl/pkg/monitoring/process"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// Options says what a server serves and who may ask.
type Options struct {
	Service     string
	Version     string
	Commit      string
	Environment string
	Instance    string    // names this process among its replicas; "" means the host's name
	Started     time.Time // zero means now

	Breakers *breaker.Set              // nil means none
	Metrics  *metric.Metrics           // nil means the process's own alone
	Checks   *health.Checks            // nil means none
	Process  *process.Reader           // nil means one that no Run keeps
	Redis    *cache.Redis              // nil means none
	Memory   *cache.Memory             // nil means none
	Features func() api.HealthFeatures // what is recorded; nil means metrics
	Traces   *tracing.Store            // nil means one that stays empty
	Profiler *profiling.Profiler       // nil means one that does not run
	Secret   func(name string) bool    // tells whether a value of that name is a secret; nil means tracing.SecretName
	Secrets  []string                  // values that a snapshot must not hold, and URLs with passwords
	Config   func() api.Config         // the effective configuration without secrets; nil means none
	Audit    AuditKeeper               // of audit records beyond the process; nil means none
	Query    QueryEngine               // of samples and alert rules; nil means none

	Capabilities []string          // beside the API's own
	Listeners    map[string]string // addresses by what they are for; nil means not told

	Access Access                            // who may ask; the zero value: whoever comes over loopback
	Panic  func(r *http.Request, reason any) // told of each recovered panic; nil means no one
	Log    *slog.Logger                      // nil discards

	OnBreaker func(breaker.Event) // told of the breakers that requests made; nil means no one
}

// Server is the /monitoring API as a handler.
type Server struct {
	opts    Options
	access  access
	log     *slog.Logger
	mux     *http.ServeMux
	routes  []route
	fixed   map[string]string // by path without wildcards: the methods, as Allow lists them
	handler http.Handler
	uploads places
	tops    places
	audits  *auditLog

	leases   *leases
	made     made
	streams  places
	stopping chan struct{} // closed when the streams must end
	stopOnce sync.Once
	exports  places

	snapshots places
}

// New returns a server, or an error if its access rules make no sense.
func New(o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Started.IsZero() {
		o.Started = time.Now()
	}
	if o.Instance == "" {
		o.Instance, _ = os.Hostname() // empty where the host has none
	}
	if o.Breakers == nil {
		o.Breakers = new(breaker.Set)
	}
	if err := o.fill(); err != nil {
		return nil, err
	}
	acc, err := o.Access.compile()
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, access: acc, log: o.Log, mux: http.NewServeMux(), uploads: make(places, uploadPlaces), tops: make(places, topPlaces), audits: newAuditLog(o.Audit)}
	s.leases, s.made.byName = newLeases(), map[string]*time.Timer{}
	s.streams, s.stopping = make(places, maxStreams), make(chan struct{})
	s.exports, s.snapshots = make(places, maxExports), make(places, 1)
	s.routes = s.table()
	s.fixed = fixed(s.routes)
	for _, rt := range s.routes {
		s.mux.Handle(rt.Method+" "+rt.pattern(), s.guard(rt))
	}
	compress, err := gzhttp.NewWrapper(gzhttp.MinSize(1 << 10))
	if err != nil {
		return nil, err
	}
	s.handler = compress(http.HandlerFunc(s.dispatch))
	return s, nil
}

// fill makes the stores that were not handed in.
func (o *Options) fill() (err error) {
	if o.Metrics == nil {
		if o.Metrics, err = metric.New(metric.Options{Service: o.Service, Version: o.Version, Environment: o.Environment}); err != nil {
			return err
		}
	}
	if o.Checks == nil {
		o.Checks = health.New(health.Options{})
	}
	if o.Profiler == nil {
		if o.Profiler, err = profiling.New(profiling.Options{}); err != nil {
			return err
		}
	}
	if o.Traces == nil {
		if o.Traces, err = tracing.New(tracing.Options{}); err != nil {
			return err
		}
	}
	if o.Process == nil {
		o.Process, err = process.New(process.Options{})
	}
	return err
}

// ServeHTTP answers a request below /monitoring or /debug/pprof, or one of the
// root's probes.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Has tells whether the path is one that the server answers.
func (s *Server) Has(path string) bool {
	return path == "/monitoring" || strings.HasPrefix(path, "/monitoring/") || isProbe(path) || isPprof(path)
}

// dispatch finds the route, and makes problems of requests that have none.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	outer, sent := r, &sentWriter{ResponseWriter: w}
	w, r = sent, identified(w, r)
	defer func() { outer.Pattern = r.Pattern }() // a middleware reads it on its own request
	defer s.recover(sent, r)
	h, pattern := s.mux.Handler(r)
	allow := ""
	if strings.HasSuffix(pattern, "}") { // a wildcard takes what only another method has by that name
		allow = s.fixed[r.URL.Path]
	}
	if pattern != "" && allow == "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	if pattern == "" {
		var probe headerRecorder
		h.ServeHTTP(&probe, r)
		allow = probe.Header().Get("Allow")
	}
	switch {
	case allow != "":
		w.Header().Set("Allow", allow)
		s.fail(w, r, api.Errorf(http.StatusMethodNotAllowed, "%.200s does not take %.20s; it takes %s", r.URL.Path, r.Method, allow))
	case s.slashed(r) != "":
		http.Redirect(w, r, s.slashed(r), http.StatusTemporaryRedirect)
	default:
		s.fail(w, r, api.Errorf(http.StatusNotFound, "there is no %.200s on this server; GET /monitoring/ lists what there is", r.URL.Path))
	}
}

// slashed returns where the request would have a route without the slash at
// the end of its path, "" if it has none there either.
func (s *Server) slashed(r *http.Request) string {
	u := url.URL{Path: strings.TrimRight(r.URL.Path, "/"), RawPath: strings.TrimRight(r.URL.RawPath, "/"), RawQuery: r.URL.RawQuery}
	if u.Path == "" || u.Path == r.URL.Path || path.Clean(u.Path) != u.Path {
		return ""
	}
	bare := r.Clone(r.Context())
	bare.URL = &u
	if _, pattern := s.mux.Handler(bare); pattern == "" {
		return ""
	}
	return u.RequestURI()
}

// recover answers 500 where a handler panicked, and tells who wants to know. An
// answer that has begun is broken off instead: its end would be taken for its
// own.
func (s *Server) recover(w *sentWriter, r *http.Request) {
	reason := recover()
	if reason == nil {
		return
	}
	if reason == http.ErrAbortHandler {
		panic(reason)
	}
	if s.opts.Panic != nil {
		s.opts.Panic(r, reason)
	}
	s.log.LogAttrs(r.Context(), slog.LevelError, "handler panicked", slog.Any("panic", reason),
		slog.String("path", r.URL.Path), slog.String("stack", string(debug.Stack())), slog.String("request_id", requestID(r)))
	if w.sent {
		panic(http.ErrAbortHandler)
	}
	for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Disposition", "ETag", "Last-Modified"} {
		w.Header().Del(name)
	}
	s.fail(w, r, internalError())
}
