package server

import (
	"errors"
	"fmt"
	"net/http"
	"path"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

const breakersPath = "/monitoring/circuit-breakers"

func (s *Server) breakerRoutes() []route {
	return []route{
		s.get(breakersPath, "every circuit breaker", s.listBreakers),
		s.get(breakersPath+"/{name}", "one circuit breaker", s.getBreaker),
		s.action("breakers.reset", breakersPath+"/{name}/reset", "reset one circuit breaker", s.resetBreaker),
		s.action("breakers.reset_all", breakersPath+"/reset-all", "reset every circuit breaker", s.resetAllBreakers),
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

func (s *Server) resetBreaker(r *http.Request, dry bool) (change, error) {
	p := query(r)
	to := resetTarget(p)
	if err := p.problem(); err != nil {
		return change{}, err
	}
	b, err := s.breaker(r)
	if err != nil {
		return change{Target: r.PathValue("name")}, err
	}
	before := b.State()
	if !dry {
		before = b.Reset(to, breaker.Control{})
	}
	now := b.Snapshot()
	return change{b.Name(), before, now.State, api.BreakerReset{
		Message: fmt.Sprintf("Circuit breaker '%s' reset", b.Name()), Breaker: &now, PreviousState: before, DryRun: dry,
	}}, nil
}

func (s *Server) resetAllBreakers(r *http.Request, dry bool) (change, error) {
	p := query(r)
	to, only := resetTarget(p), breakerState(p, "state", "")
	all, err := s.matchBreakers(p)
	if err != nil {
		return change{}, err
	}
	out := api.BreakersReset{
		Message: "All circuit breakers reset", Reset: []api.ResetBreaker{},
		Skipped: []api.SkippedBreaker{}, Total: api.CountOf(len(all)), DryRun: dry,
	}
	for _, b := range all {
		before := b.State()
		if only != "" && before != only {
			continue
		}
		if !dry {
			before = b.Reset(to, breaker.Control{})
		}
		out.Reset = append(out.Reset, api.ResetBreaker{Name: b.Name(), PreviousState: before})
	}
	return change{"*", out.Reset, to, out}, nil
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
	glob := p.text("name")
	if _, err := path.Match(glob, ""); err != nil {
		p.wrong("name", fmt.Sprintf("want a pattern of *, ? and [a-z], got %.100q", glob))
	}
	if err := p.problem(); err != nil {
		return nil, err
	}
	return s.opts.Breakers.Match(glob)
}

func breakerState(p *params, name string, def api.State) api.State {
	return api.State(p.oneOf(name, string(def), string(api.StateClosed), string(api.StateOpen), string(api.StateHalfOpen)))
}

func resetTarget(p *params) api.State {
	return api.State(p.oneOf("to", string(api.StateClosed), string(api.StateClosed), string(api.StateHalfOpen)))
}
