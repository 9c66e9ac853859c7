package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// AuditKeeper keeps audit records beyond the process. Keep is called from many
// goroutines; its error means that the record is in memory and in the log alone.
type AuditKeeper interface {
	Keep(api.AuditEntry) error
	// Last returns what was kept before, oldest first.
	Last() []api.AuditEntry
}

const (
	maxAuditEntries = 10_000
	maxAuditState   = 4 << 10 // bytes of JSON that the state before, or after, may have
)

// auditLog holds the newest audit records, at most some 80 MB of them and
// nearly always a hundredth of that.
type auditLog struct {
	keeper AuditKeeper // nil: memory alone

	mu      sync.Mutex
	entries []api.AuditEntry // a ring, once it is full
	next    int              // where the next record goes in a full ring
	dropped int64
}

func newAuditLog(keeper AuditKeeper) *auditLog {
	l := &auditLog{keeper: keeper}
	if keeper != nil {
		for _, e := range keeper.Last() {
			l.remember(e)
		}
	}
	return l
}

// add keeps a record. An error is the keeper's: the record is in memory.
func (l *auditLog) add(e api.AuditEntry) error {
	e.Before, e.After = boundedState(e.Before), boundedState(e.After)
	l.mu.Lock()
	l.remember(e)
	l.mu.Unlock()
	if l.keeper == nil {
		return nil
	}
	return l.keeper.Keep(e)
}

func (l *auditLog) remember(e api.AuditEntry) {
	if len(l.entries) < maxAuditEntries {
		l.entries = append(l.entries, e)
		return
	}
	l.entries[l.next] = e
	l.next = (l.next + 1) % maxAuditEntries
	l.dropped++
}

// list returns the newest records since a time, newest first, and how many
// there are.
func (l *auditLog) list(since time.Time, limit int) api.Audit {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := api.Audit{Entries: []api.AuditEntry{}, Dropped: api.Count(l.dropped)}
	for i := range l.entries {
		e := l.entries[(l.next-1-i+2*len(l.entries))%len(l.entries)]
		if e.Time.Before(since) {
			continue
		}
		out.Total++
		if len(out.Entries) < limit {
			out.Entries = append(out.Entries, e)
		}
	}
	return out
}

// boundedState is a state as it is kept: as JSON, and one that is too large as
// how large it is.
func boundedState(v any) any {
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	switch {
	case err != nil:
		return "cannot be written as JSON: " + err.Error()
	case len(b) <= maxAuditState:
		return json.RawMessage(b)
	}
	return map[string]any{"omitted": true, "bytes": len(b)}
}

// actionStatus is the HTTP status of an action's answer.
func actionStatus(c change, err error) int {
	var p *api.Error
	a, has := c.Body.(answer)
	switch {
	case errors.As(err, &p) && p.Status != 0:
		return p.Status
	case err != nil:
		return http.StatusInternalServerError
	case has:
		return a.Status
	}
	return http.StatusOK
}

func (s *Server) auditRoutes() []route {
	rt := s.get("/monitoring/audit", "what was changed, by whom and why, newest first", s.listAudit)
	rt.Role = Operator
	return []route{rt}
}

func (s *Server) listAudit(r *http.Request) (any, error) {
	p := query(r)
	since, limit := p.instant("since", time.Now()), p.integer("limit", 100, 1, 1000)
	if err := p.problem(); err != nil {
		return nil, err
	}
	return s.audits.list(since, limit), nil
}
