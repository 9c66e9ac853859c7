package server

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// change is what an action did, or would have done: its answer, and what the
// audit log keeps of it.
type change struct {
	Target        string
	Before, After any
	Body          any // of the answer; an [answer] where the status is not 200
}

// action is a route that changes state. f acts only if dry is false; either way
// it returns what the change is. What has changed is audited, also where f
// failed midway and returns both.
func (s *Server) action(name, path, summary string, f func(r *http.Request, dry bool) (change, error)) route {
	run := func(r *http.Request) (any, error) {
		p := query(r)
		dry := p.boolean("dry_run")
		p.noForm(r)
		if err := p.problem(); err != nil {
			return nil, err
		}
		c, err := f(r, dry)
		if !dry {
			s.audit(r, name, c, err)
		}
		return c.Body, err
	}
	return route{http.MethodPost, path, summary, Operator, s.json(run)}
}

// noForm refuses parameters in the body. They would be ignored there, and the
// request act without them: curl -d dry_run=true.
func (p *params) noForm(r *http.Request) {
	if r.ContentLength != 0 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		p.wrong("body", "parameters belong into the query, not into a form")
	}
}

// audit keeps the record of one state-changing request, and writes it to the
// log.
func (s *Server) audit(r *http.Request, action string, c change, err error) {
	outcome := "done"
	if err != nil {
		outcome = err.Error()
	}
	e := api.AuditEntry{
		Time: api.Time{Time: time.Now().UTC()}, Actor: caller(r).actor(r), Reason: reason(r), Action: action, Target: c.Target,
		Before: c.Before, After: c.After, Status: actionStatus(c, err), RequestID: requestID(r),
	}
	e, kerr := s.audits.add(e)
	if kerr != nil {
		s.log.LogAttrs(r.Context(), slog.LevelError, "audit record is not on disk", slog.Any("error", kerr), slog.String("request_id", e.RequestID))
	}
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "audit",
		slog.String("actor", e.Actor), slog.String("action", action), slog.String("target", c.Target), slog.String("reason", e.Reason),
		slog.Any("before", c.Before), slog.Any("after", c.After), slog.String("outcome", outcome), slog.String("request_id", e.RequestID),
		slog.Int64("seq", e.Seq.Value()), slog.String("hash", e.Hash))
}

// reason is why a caller says that it acts, "" if it does not.
func reason(r *http.Request) string { return printable(r.Header.Get("X-Pulsectl-Reason"), 1024) }

// printable cuts s to n bytes and drops what is no text.
func printable(s string, n int) string {
	s = strings.ToValidUTF8(s[:min(len(s), n)], "")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

// notFound makes the 404 of a thing by name.
func notFound(what, name string) error {
	return api.Errorf(http.StatusNotFound, "%s not found: %.200q", what, name)
}
