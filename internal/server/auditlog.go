package server

import (
	"context"
	"encoding/json"
	"errors"
	"math"
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
// nearly always a hundredth of that. Each is chained to the one before it, also
// to the last one of the process before where a keeper has that.
type auditLog struct {
	keeper AuditKeeper // nil: memory alone

	order sync.Mutex // held while a record is made and written: on disk they stand in their order
	last  api.AuditEntry

	mu      sync.Mutex
	entries []api.AuditEntry // a ring, once it is full
	next    int              // where the next record goes in a full ring
	dropped int64
	readers map[chan api.AuditEntry]struct{}
}

func newAuditLog(keeper AuditKeeper) *auditLog {
	l := &auditLog{keeper: keeper, readers: map[chan api.AuditEntry]struct{}{}}
	if keeper != nil {
		for _, e := range keeper.Last() {
			l.remember(e)
			l.last = e
		}
	}
	return l
}

// add chains a record and keeps it. An error is that of a record without its
// place in the chain, or the keeper's: the record is in memory.
func (l *auditLog) add(e api.AuditEntry) (api.AuditEntry, error) {
	e.Before, e.After = boundedState(e.Before), boundedState(e.After)
	l.order.Lock()
	defer l.order.Unlock()
	e, err := e.Chain(l.last)
	l.last = e
	l.mu.Lock()
	l.remember(e)
	for ch := range l.readers {
		select {
		case ch <- e:
		default: // it is behind, and sees the gap by the numbers
		}
	}
	l.mu.Unlock()
	if l.keeper != nil {
		err = errors.Join(err, l.keeper.Keep(e))
	}
	return e, err
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

// subscribe returns the records from now on, until ctx is done.
func (l *auditLog) subscribe(ctx context.Context) <-chan api.AuditEntry {
	ch := make(chan api.AuditEntry, 256)
	l.mu.Lock()
	l.readers[ch] = struct{}{}
	l.mu.Unlock()
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		delete(l.readers, ch)
		l.mu.Unlock()
	})
	return ch
}

// list returns the newest records since a time and below a number, newest
// first, and how many there are. A before of 0 is above all numbers.
func (l *auditLog) list(since time.Time, before api.Count, limit int) api.Audit {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := api.Audit{Entries: []api.AuditEntry{}, Dropped: api.Count(l.dropped)}
	for i := range l.entries {
		e := l.entries[(l.next-1-i+2*len(l.entries))%len(l.entries)]
		if e.Time.Before(since) || before > 0 && e.Seq >= before {
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
	since, before, limit := p.instant("since", time.Now()), p.integer("before", 0, 1, math.MaxInt), p.integer("limit", 100, 1, 1000)
	if err := p.problem(); err != nil {
		return nil, err
	}
	return s.audits.list(since, api.Count(before), limit), nil
}
