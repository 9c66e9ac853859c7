package server

import (
	"fmt"
	"net/http"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

const (
	defaultForce = 15 * time.Minute    // how long a forced state holds
	maxForce     = 30 * 24 * time.Hour // beyond that it is a change of configuration; 0 is until told otherwise
)

// control says who gives an order and why.
func control(r *http.Request) breaker.Control {
	return breaker.Control{Actor: caller(r).actor(r), Reason: reason(r)}
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
	before, after := reset(b, to, control(r), dry)
	now := b.Snapshot()
	return change{b.Name(), before, after, api.BreakerReset{
		Message: fmt.Sprintf("Circuit breaker '%s' reset", b.Name()), Breaker: &now, PreviousState: before, State: after, DryRun: dry,
	}}, nil
}

// reset resets a breaker, or tells where that would lead.
func reset(b *breaker.Breaker, to api.State, c breaker.Control, dry bool) (before, after api.State) {
	if !dry {
		before = b.Reset(to, c)
		return before, b.State()
	}
	if before = b.State(); before == api.StateClosed {
		to = before // there is nothing to probe
	}
	return before, to
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
		if only != "" && b.State() != only {
			continue
		}
		if b.Mode() != api.ModeAutomatic {
			out.Skipped = append(out.Skipped, api.SkippedBreaker{Name: b.Name(), Reason: skipReason(b)})
			continue
		}
		before, after := reset(b, to, control(r), dry)
		out.Reset = append(out.Reset, api.ResetBreaker{Name: b.Name(), PreviousState: before, State: after})
	}
	return change{"*", out.Reset, to, out}, nil
}

// skipReason says why a breaker is left alone when all are reset.
func skipReason(b *breaker.Breaker) string {
	snap := b.Snapshot()
	words := "forced open"
	if snap.Mode == api.ModeDisabled {
		words = "disabled"
	}
	if until := forcedUntil(snap); until != nil {
		words += " until " + until.UTC().Format(time.RFC3339)
	}
	return words + "; a reset by name ends that"
}

// forcedUntil is when a forced state ends by itself, nil if never or if there
// is none.
func forcedUntil(b api.Breaker) *api.Time {
	if b.Forced == nil || b.Forced.Until == nil || b.Forced.Until.IsZero() {
		return nil
	}
	return b.Forced.Until
}

func (s *Server) forceOpenBreaker(r *http.Request, dry bool) (change, error) {
	return s.changeBreaker(r, dry, api.ModeForcedOpen, (*breaker.Breaker).ForceOpen)
}

func (s *Server) disableBreaker(r *http.Request, dry bool) (change, error) {
	return s.changeBreaker(r, dry, api.ModeDisabled, (*breaker.Breaker).Disable)
}

func (s *Server) automaticBreaker(r *http.Request, dry bool) (change, error) {
	return s.changeBreaker(r, dry, api.ModeAutomatic, func(b *breaker.Breaker, c breaker.Control) (api.State, error) {
		return b.Automatic(c), nil
	})
}

// changeBreaker gives an order to one breaker; a dry run tells where it would
// lead.
func (s *Server) changeBreaker(r *http.Request, dry bool, mode api.Mode, order func(*breaker.Breaker, breaker.Control) (api.State, error)) (change, error) {
	p, c := query(r), control(r)
	if mode != api.ModeAutomatic {
		c.For = p.duration("for", defaultForce, 0, maxForce)
	}
	if err := p.problem(); err != nil {
		return change{}, err
	}
	b, err := s.breaker(r)
	if err != nil {
		return change{Target: r.PathValue("name")}, err
	}
	was := b.Snapshot()
	out := api.BreakerChange{PreviousState: was.State, PreviousMode: was.Mode, Mode: mode, DryRun: dry}
	if dry {
		out.State, out.Breaker = led(was, mode), &was
		if c.For > 0 {
			until := api.Unix(time.Now().Add(c.For).UnixNano())
			out.Until = &until
		}
	} else {
		if out.PreviousState, err = order(b, c); err != nil {
			return change{}, err
		}
		now := b.Snapshot()
		out.State, out.Mode, out.Breaker, out.Until = now.State, now.Mode, &now, forcedUntil(now)
	}
	out.Message = fmt.Sprintf("Circuit breaker '%s' is %s", b.Name(), modeWords[mode])
	if dry {
		out.Message = fmt.Sprintf("Circuit breaker '%s' would be %s", b.Name(), modeWords[mode])
	}
	before := map[string]any{"state": out.PreviousState, "mode": out.PreviousMode}
	after := map[string]any{"state": out.State, "mode": out.Mode, "for": c.For.String()}
	return change{b.Name(), before, after, out}, nil
}

var modeWords = map[api.Mode]string{api.ModeAutomatic: "automatic", api.ModeForcedOpen: "forced open", api.ModeDisabled: "disabled"}

// led is the state that a change of mode leads to.
func led(was api.Breaker, to api.Mode) api.State {
	switch {
	case to == api.ModeForcedOpen:
		return api.StateOpen
	case to == api.ModeDisabled:
		return api.StateClosed
	case was.Mode == api.ModeForcedOpen:
		return api.StateHalfOpen
	}
	return was.State
}

func resetTarget(p *params) api.State {
	return api.State(p.oneOf("to", string(api.StateClosed), string(api.StateClosed), string(api.StateHalfOpen)))
}
