package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/internal/snapshot"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

const snapshotPath = "/monitoring/snapshot"

const (
	leastSnapshot = 1 << 20
	mostSnapshot  = 1 << 30
	snapshotTime  = 5 * time.Minute
	answerTime    = 15 * time.Second // for one part's answer: a Redis that hangs holds up the rest no longer
)

// SnapshotOptions says how large a snapshot may be and why it is made.
type SnapshotOptions struct {
	MaxBytes int64  // of its parts, unpacked; 0 means 64 MiB
	Cause    string // request, crash, sigterm, periodic
	Detail   string
}

func (s *Server) snapshotRoutes() []route {
	return []route{
		{http.MethodGet, snapshotPath, "everything that this server knows, in one archive without secrets", Operator, http.HandlerFunc(s.getSnapshot)},
	}
}

func (s *Server) getSnapshot(w http.ResponseWriter, r *http.Request) {
	p := query(r)
	most := p.integer("max_bytes", snapshot.DefaultBytes, leastSnapshot, mostSnapshot)
	if err := p.problem(); err != nil {
		s.fail(w, r, err)
		return
	}
	release := func() {}
	if r.Method != http.MethodHead {
		var err error
		if release, err = s.snapshots.enter(r); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	defer release()
	pprofTime(w, snapshotTime)
	h := w.Header()
	h.Set("Content-Type", "application/gzip")
	h.Set("Content-Disposition", `attachment; filename="snapshot.tar.gz"`)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodHead {
		return
	}
	if err := s.Snapshot(r.Context(), w, SnapshotOptions{MaxBytes: int64(most), Cause: "request"}); err != nil {
		s.log.LogAttrs(r.Context(), slog.LevelWarn, "snapshot ended early", slog.Any("error", err), slog.String("request_id", requestID(r)))
		panic(http.ErrAbortHandler) // what is there must not be taken for the whole
	}
}

// Snapshot writes the archive of everything to w as it makes it, a part in
// memory at a time. Its error is w's, or that ctx is done.
func (s *Server) Snapshot(ctx context.Context, w io.Writer, o SnapshotOptions) error {
	secret := s.opts.Secret
	if secret == nil {
		secret = tracing.SecretName
	}
	m := snapshot.Manifest{
		Service: s.opts.Service, Version: s.opts.Version, Environment: s.opts.Environment, Instance: s.opts.Instance,
		Cause: o.Cause, Detail: o.Detail,
	}
	c := &collector{s: s, ctx: ctx, w: snapshot.NewWriter(w, m, o.MaxBytes, snapshot.NewRedactor(secret, os.Environ(), s.opts.Secrets...))}
	for _, step := range []func() error{c.answers, c.metrics, c.audit, c.keys, c.profiles, c.traces} {
		if err := step(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return c.w.Close()
}

// collector fills one archive.
type collector struct {
	s   *Server
	ctx context.Context
	w   *snapshot.Writer
}

// own are the routes with an answer that has a step of its own, or none to keep.
var own = map[string]bool{
	snapshotPath: true, metricsPath: true, "/monitoring/openapi.json": true, "/monitoring/events": true, "/monitoring/audit": true,
	tracesPath: true, tracesPath + "/stream": true, profilingPath + "/profiles": true,
	cachePath + "/redis/keys": true, cachePath + "/memory/keys": true,
	healthPath: true, healthPath + "/ready": true, healthPath + "/live": true,
	"/monitoring/metrics/query": true, "/monitoring/metrics/query_range": true, "/monitoring/metrics/exemplars": true, // of samples, which are not kept
}

// answers keeps what each route without a choice answers.
func (c *collector) answers() error {
	for _, rt := range c.s.routes {
		if rt.Method != http.MethodGet || own[rt.Path] || strings.Contains(rt.Path, "{") || !strings.HasPrefix(rt.Path, "/monitoring/") {
			continue
		}
		if rt.Path == "/monitoring/alerts" && c.s.opts.Query == nil {
			continue // there are none
		}
		query := ""
		if rt.Path == breakersPath+"/events" {
			query = "limit=1000"
		}
		if err := c.answer(rt, query); err != nil {
			return err
		}
	}
	return nil
}

// answer keeps one answer as it is: a value, or that a part of the server is
// not there.
func (c *collector) answer(rt route, query string) error {
	name := strings.TrimPrefix(rt.Path, "/monitoring/")
	if name == "" {
		name = "index"
	}
	a := c.ask(rt.Handler, rt.Path, query, "")
	kind, _, _ := strings.Cut(a.Header().Get("Content-Type"), ";")
	switch {
	case a.over:
		c.w.LeaveOut(name, fmt.Sprintf("the answer of GET %s is larger than there is room for", rt.Path))
		return nil
	case kind != "application/json" && a.status != http.StatusServiceUnavailable:
		if a.status < http.StatusBadRequest {
			return nil // a stream
		}
		c.w.LeaveOut(name, fmt.Sprintf("GET %s answers %d", rt.Path, a.status))
		return nil
	}
	return c.add(snapshot.Part{Name: name + ".json", Path: rt.Path, Status: a.status, ContentType: kind}, snapshot.Text, a.body.Bytes())
}

// add writes a part; one without room has been noted.
func (c *collector) add(p snapshot.Part, form snapshot.Form, data []byte) error {
	return ignoreFull(c.w.Add(p, form, data))
}

// metrics keeps one exposition in each form that clients read.
func (c *collector) metrics() error {
	for _, one := range []struct {
		name, accept string
		form         snapshot.Form
	}{
		{"metrics.txt", "text/plain;version=0.0.4", snapshot.Text},
		{"metrics.openmetrics.txt", "application/openmetrics-text;version=1.0.0", snapshot.Text},
		{"metrics.pb", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", snapshot.Metrics},
	} {
		a := c.ask(c.s.opts.Metrics.Handler(), metricsPath, "", one.accept)
		if a.over || a.status != http.StatusOK {
			c.w.LeaveOut(one.name, fmt.Sprintf("the scrape answers %d, or is larger than there is room for", a.status))
			continue
		}
		p := snapshot.Part{Name: one.name, Path: metricsPath, Status: a.status, ContentType: a.Header().Get("Content-Type")}
		if err := c.add(p, one.form, a.body.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// ask has a handler answer as it would an operator.
func (c *collector) ask(h http.Handler, path, query, accept string) *keptAnswer {
	ctx, cancel := context.WithTimeout(context.WithValue(c.ctx, identityKey{}, identity{Role: Operator}), answerTime)
	defer cancel()
	a := &keptAnswer{most: c.w.Room(), header: http.Header{}, status: http.StatusOK}
	target := path
	if query != "" {
		target += "?" + query
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		a.status = http.StatusInternalServerError
		return a
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	func() {
		defer func() {
			if reason := recover(); reason != nil { // a snapshot of a sick server is the one that is needed
				a.status, a.over = http.StatusInternalServerError, false
				a.header = http.Header{}
			}
		}()
		h.ServeHTTP(a, r)
	}()
	return a
}

// keptAnswer keeps an answer in memory, of so many bytes at most.
type keptAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
	most   int64
	over   bool
}

func (a *keptAnswer) Header() http.Header    { return a.header }
func (a *keptAnswer) WriteHeader(status int) { a.status = status }
func (a *keptAnswer) Write(p []byte) (int, error) {
	if int64(a.body.Len()+len(p)) > a.most {
		a.over = true
		a.body = bytes.Buffer{}
	}
	if a.over {
		return 0, io.ErrShortWrite
	}
	return a.body.Write(p)
}
