package server

import (
	"context"
	"net/http"
	"path"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// breakerEvents answers with the log of the breakers, or streams what is added
// to it.
func (s *Server) breakerEvents(w http.ResponseWriter, r *http.Request) {
	p := query(r)
	q := breaker.EventQuery{Name: p.glob("name"), Since: p.instant("since", time.Now()), Limit: p.integer("limit", 100, 1, 1000)}
	stream := p.boolean("stream")
	if err := p.problem(); err != nil {
		s.fail(w, r, err)
		return
	}
	if stream && r.Method == http.MethodGet {
		s.streamBreakerEvents(w, r, q)
		return
	}
	s.json(func(*http.Request) (any, error) {
		all, err := s.opts.Breakers.Events(q)
		return api.BreakerEvents{Events: all}, err
	}).ServeHTTP(w, r)
}

// streamBreakerEvents sends the events since q.Since, if that is given, and
// then each as it happens.
func (s *Server) streamBreakerEvents(w http.ResponseWriter, r *http.Request, q breaker.EventQuery) {
	leave, err := s.enterStream()
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer leave()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	live := s.opts.Breakers.Subscribe(ctx) // first: so that none falls between
	var past []api.BreakerEvent
	if !q.Since.IsZero() {
		if past, err = s.opts.Breakers.Events(q); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	seen, older := map[string]api.BreakerEvent{}, make([]message, len(past)) // by breaker, the last of the past
	for i, e := range past {
		if _, there := seen[e.Name]; !there { // the newest come first
			seen[e.Name] = e
		}
		older[len(past)-1-i] = message{"transition", e}
	}
	lost := 0 // told with the next event that is sent
	stream(s, w, r, older, live, func(e breaker.Event) (message, bool) {
		lost += e.Lost
		matches, _ := path.Match(q.Name, e.Name)
		last := seen[e.Name] // one that was made anew counts from 1 again
		if !matches && q.Name != "" || api.Count(e.Seq) <= last.Seq && !e.Time.After(last.Time.Time) {
			return message{}, false
		}
		e.Lost, lost = lost, 0
		return message{"transition", e.API()}, true
	})
}
