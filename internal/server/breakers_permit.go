package server

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

const (
	maxMade      = 1000             // breakers that requests made
	madeIdle     = time.Hour        // after which one of them that nobody uses is dropped
	defaultLease = 30 * time.Second // of a permit of a breaker without a call timeout
	maxReport    = 64 << 10         // bytes of a report
	maxSettings  = 24 * time.Hour   // of a breaker's durations
)

// made are the breakers that requests made, with the timers that drop them.
type made struct {
	mu     sync.Mutex
	byName map[string]*time.Timer
}

// acquirePermit gives a permit, or renews one.
func (s *Server) acquirePermit(r *http.Request) (any, error) {
	p, name := query(r), r.PathValue("name")
	p.noForm(r)
	dry, create, id := p.boolean("dry_run"), p.boolean("create"), p.text("permit")
	lease := p.duration("lease", 0, time.Second, maxSettings)
	want := readSettings(p)
	if err := p.problem(); err != nil {
		return nil, err
	}
	if id != "" {
		return s.renewPermit(r, id, dry)
	}
	b, created, err := s.breakerFor(r, create, want, dry)
	if err != nil {
		return nil, err
	}
	snap := b.Snapshot()
	out := api.BreakerPermit{State: snap.State, Created: created, Config: &snap.Config, DryRun: dry}
	out.Timeout = api.Seconds(leaseTerm(lease, snap.Config))
	if dry {
		if snap.State == api.StateOpen {
			return nil, rejection(&breaker.OpenError{Name: name, State: snap.State, RetryAt: retryAt(snap)})
		}
		return out, nil
	}
	permit, err := b.Allow()
	var open *breaker.OpenError
	if errors.As(err, &open) {
		return nil, rejection(open)
	}
	if err != nil {
		return nil, err
	}
	permit.Keep() // the lease has its own time
	out.State = b.State()
	if out.Permit, err = s.leases.grant(b.Name(), permit, out.Timeout.Duration()); err != nil {
		permit.Done(breaker.Ignored, "")
		return nil, err
	}
	return out, nil
}

func (s *Server) renewPermit(r *http.Request, id string, dry bool) (any, error) {
	name := r.PathValue("name")
	b, err := s.breaker(r)
	if err != nil {
		return nil, err
	}
	if dry {
		return api.BreakerPermit{State: b.State(), DryRun: true}, s.leases.check(name, id)
	}
	term, err := s.leases.renew(name, id)
	if err != nil {
		return nil, err
	}
	s.touch(name)
	return api.BreakerPermit{Permit: id, State: b.State(), Timeout: api.Seconds(term)}, nil
}

func leaseTerm(asked time.Duration, c api.BreakerConfig) time.Duration {
	switch {
	case asked > 0:
		return asked
	case c.Timeout > 0:
		return c.Timeout.Duration()
	}
	return defaultLease
}

func retryAt(b api.Breaker) time.Time {
	if b.RetryAt == nil {
		return time.Time{}
	}
	return b.RetryAt.Time
}

// rejection is the 503 of a call that a breaker did not let through.
func rejection(e *breaker.OpenError) *api.Error {
	// A probe that is under way may end at any time: a second is soon enough.
	wait, when := time.Second, "a trial call is under way"
	switch left := time.Until(e.RetryAt); {
	case e.State != api.StateOpen:
	case e.RetryAt.IsZero():
		wait, when = defaultForce, "it is forced open until told otherwise"
	default:
		wait = max(left, time.Second)
		when = fmt.Sprintf("try again in %s", (wait + time.Second - 1).Truncate(time.Second))
	}
	retry := api.Seconds(wait)
	out := api.Errorf(http.StatusServiceUnavailable, "circuit breaker %s is %s: %s", e.Name, stateWords[e.State], when)
	out.State, out.RetryAfter = string(e.State), &retry
	return out
}

var stateWords = map[api.State]string{api.StateClosed: "closed", api.StateOpen: "open", api.StateHalfOpen: "half-open"}

// settings are those of a breaker that stand in a query; nil ones do not.
type breakerSettings struct {
	failures, successes *int
	recovery, timeout   *time.Duration
}

func readSettings(p *params) (out breakerSettings) {
	integer := func(name string) *int {
		n := p.integer(name, 0, 1, 1_000_000)
		if p.text(name) == "" {
			return nil
		}
		return &n
	}
	duration := func(name string, least time.Duration) *time.Duration {
		d := p.duration(name, 0, least, maxSettings)
		if p.text(name) == "" {
			return nil
		}
		return &d
	}
	return breakerSettings{
		integer("failure_threshold"), integer("success_threshold"),
		duration("recovery_timeout", time.Millisecond), duration("timeout", 0),
	}
}

// onto returns options with the settings that are given in their place.
func (st breakerSettings) onto(o breaker.Options) breaker.Options {
	if st.failures != nil {
		o.FailureThreshold = *st.failures
	}
	if st.successes != nil {
		o.SuccessThreshold = *st.successes
	}
	if st.recovery != nil {
		o.RecoveryTimeout, o.MaxRecovery = *st.recovery, 0
	}
	if st.timeout != nil {
		o.Timeout = *st.timeout
	}
	if st.timeout != nil && *st.timeout == 0 {
		o.Timeout = -1 // none
	}
	return o
}

// breakerFor finds the breaker, or makes it. One that a request made takes over
// the settings that stand in the query; the service's own keep theirs.
func (s *Server) breakerFor(r *http.Request, create bool, want breakerSettings, dry bool) (b *breaker.Breaker, created bool, err error) {
	name := r.PathValue("name")
	if b, err = s.opts.Breakers.Get(name); err == nil {
		if s.touch(name) && !dry {
			err = reconfigure(b, want, control(r))
		}
		return b, false, err
	}
	if !create {
		return nil, false, notFound("circuit breaker", name)
	}
	if dry {
		b, err = breaker.New(name, want.onto(breaker.Options{}))
		return b, true, invalidBreaker(err)
	}
	s.made.mu.Lock()
	defer s.made.mu.Unlock()
	if len(s.made.byName) >= maxMade {
		return nil, false, api.Errorf(http.StatusTooManyRequests, "requests have made %d circuit breakers already, the most that are kept; one that is idle for %s goes", maxMade, madeIdle)
	}
	if b, err = s.opts.Breakers.Get(name); err == nil { // another request was faster
		return b, false, nil
	}
	if b, err = s.opts.Breakers.Add(name, want.onto(breaker.Options{OnEvent: s.opts.OnBreaker})); err != nil {
		return nil, false, invalidBreaker(err)
	}
	s.made.byName[name] = time.AfterFunc(madeIdle, func() { s.dropIdle(name) })
	return b, true, nil
}

func invalidBreaker(err error) error {
	if err == nil {
		return nil
	}
	return api.Invalid("name", "%v", err)
}

func reconfigure(b *breaker.Breaker, want breakerSettings, c breaker.Control) error {
	is := b.Options()
	if is.Timeout == 0 {
		is.Timeout = -1 // as Options takes it
	}
	o := want.onto(is)
	if o.FailureThreshold == is.FailureThreshold && o.SuccessThreshold == is.SuccessThreshold && o.RecoveryTimeout == is.RecoveryTimeout && o.Timeout == is.Timeout {
		return nil
	}
	return b.Configure(o, c)
}

// touch notes that a breaker is used, and tells whether a request made it.
func (s *Server) touch(name string) bool {
	s.made.mu.Lock()
	defer s.made.mu.Unlock()
	t := s.made.byName[name]
	if t != nil {
		t.Reset(madeIdle)
	}
	return t != nil
}

func (s *Server) dropIdle(name string) {
	s.made.mu.Lock()
	defer s.made.mu.Unlock()
	if t := s.made.byName[name]; t != nil && s.leases.holds(name) {
		t.Reset(madeIdle)
		return
	}
	delete(s.made.byName, name)
	s.opts.Breakers.Remove(name)
}

var outcomes = map[string]breaker.Outcome{
	api.OutcomeSuccess: breaker.Success, api.OutcomeFailure: breaker.Failure,
	api.OutcomeTimeout: breaker.Timeout, api.OutcomeIgnored: breaker.Ignored,
}

// reportPermit takes the outcome of a call.
func (s *Server) reportPermit(r *http.Request) (any, error) {
	p, name := query(r), r.PathValue("name")
	dry := p.boolean("dry_run")
	p.noForm(r)
	if err := p.problem(); err != nil {
		return nil, err
	}
	in, err := readReport(r)
	if err != nil {
		return nil, err
	}
	out := api.BreakerReported{Message: fmt.Sprintf("Circuit breaker '%s' was told: %s", printable(name, 128), in.Outcome), DryRun: dry}
	b, err := s.breaker(r)
	if err != nil {
		return nil, err
	}
	if dry {
		out.State = b.State()
		return out, s.leases.check(name, in.Permit)
	}
	permit, err := s.leases.end(name, in.Permit)
	if err != nil {
		return nil, err
	}
	ctx := r.Context()
	if sc, err := tracing.ParseTraceparent(r.Header.Get("Traceparent")); err == nil {
		ctx = trace.ContextWithRemoteSpanContext(ctx, sc) // of the call
	}
	permit.End(ctx, outcomes[in.Outcome], reported(in))
	s.touch(name)
	out.State = b.State()
	return out, nil
}

// reported is the error that a caller tells, nil of a success.
func reported(in api.BreakerReport) error {
	if in.Outcome == api.OutcomeSuccess {
		return nil
	}
	return errors.New(cmp.Or(printable(in.Error, 1024), in.Outcome))
}

func readReport(r *http.Request) (in api.BreakerReport, err error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxReport+1))
	switch {
	case err != nil:
		return in, api.Errorf(http.StatusBadRequest, "the report broke off: %v", err)
	case len(body) > maxReport:
		return in, api.Errorf(http.StatusRequestEntityTooLarge, "the report is larger than %d bytes", maxReport)
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return in, api.Errorf(http.StatusBadRequest, `the report is not JSON like {"permit":"…","outcome":"success"}: %v`, err)
	}
	if _, ok := outcomes[in.Outcome]; !ok {
		return in, api.Invalid("outcome", "want success, failure, timeout or ignored, got %.100q", in.Outcome)
	}
	if in.Permit == "" {
		return in, api.Invalid("permit", "want the permit that acquire gave")
	}
	return in, nil
}
