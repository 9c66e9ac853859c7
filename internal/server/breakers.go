package server

import (
	"errors"
	"net/http"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

const breakersPath = "/monitoring/circuit-breakers"

func (s *Server) breakerRoutes() []route {
	name := breakersPath + "/{name}"
	return []route{
		s.get(breakersPath, "every circuit breaker", s.listBreakers),
		s.get(name, "one circuit breaker", s.getBreaker),
		{http.MethodGet, breakersPath + "/events", "what happened to the circuit breakers", Viewer, http.HandlerFunc(s.breakerEvents)},
		s.action("breakers.reset", name+"/reset", "reset one circuit breaker", s.resetBreaker),
		s.action("breakers.reset_all", breakersPath+"/reset-all", "reset every circuit breaker", s.resetAllBreakers),
		s.action("breakers.force_open", name+"/force-open", "reject every call of one circuit breaker", s.forceOpenBreaker),
		s.action("breakers.disable", name+"/disable", "let every call of one circuit breaker through", s.disableBreaker),
		s.action("breakers.automatic", name+"/automatic", "end the forced state of one circuit breaker", s.automaticBreaker),
		{http.MethodPost, name + "/acquire", "a permit for one call under a circuit breaker", Writer, s.json(s.acquirePermit)},
		{http.MethodPost, name + "/report", "how the call of a permit ended", Writer, s.json(s.reportPermit)},
	}
}

func (s *Server) listBreakers(r *http.Request) (any, error) {
	p := query(r)
	state := breakerState(p, "state", "")
	all, err := s.matchBreakers(p)
	if err != nil {
		return nil, err
	}
	out := api.Breakers{}
	for _, b := range all {
		if snap := b.Snapshot(); state == "" || snap.State == state {
			out[snap.Name] = snap
		}
	}
	return out, nil
}

func (s *Server) getBreaker(r *http.Request) (any, error) {
	b, err := s.breaker(r)
	if err != nil {
		return nil, err
	}
	return b.Snapshot(), nil
}

func (s *Server) breaker(r *http.Request) (*breaker.Breaker, error) {
	b, err := s.opts.Breakers.Get(r.PathValue("name"))
	if errors.Is(err, breaker.ErrNotFound) {
		return nil, notFound("circuit breaker", r.PathValue("name"))
	}
	return b, err
}

// matchBreakers returns the breakers that the parameter name selects, and the
// problem of everything that p found wrong.
func (s *Server) matchBreakers(p *params) ([]*breaker.Breaker, error) {
	glob := p.glob("name")
	if err := p.problem(); err != nil {
		return nil, err
	}
	return s.opts.Breakers.Match(glob)
}

func breakerState(p *params, name string, def api.State) api.State {
	return api.State(p.oneOf(name, string(def), string(api.StateClosed), string(api.StateOpen), string(api.StateHalfOpen)))
}
