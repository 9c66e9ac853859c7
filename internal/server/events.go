package server

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

const (
	slowEvery   = 250 * time.Millisecond // between two looks at the profiles, while someone follows them
	healthEvery = 5 * time.Second        // between two looks at the verdict
)

// source sends the events of one kind until ctx is done. send is false when
// nobody takes them any more.
type source func(ctx context.Context, send func(api.Event) bool)

var eventKinds = []string{api.EventBreaker, api.EventSlow, api.EventTrace, api.EventAlert, api.EventHealth, api.EventAudit}

func (s *Server) eventRoutes() []route {
	return []route{{http.MethodGet, "/monitoring/events", "what happens, as server-sent events", Viewer, http.HandlerFunc(s.events)}}
}

// events answers with what happens from now on, of the kinds that are asked
// for.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	kinds, err := s.kindsOf(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "text/event-stream")
		return
	}
	leave, err := s.enterStream()
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer leave()
	ctx, cancel := context.WithCancel(r.Context())
	live := make(chan api.Event)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	send := func(e api.Event) bool {
		select {
		case live <- e:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for _, kind := range kinds {
		follow := s.source(ctx, r, kind) // from here on nothing is missed
		wg.Go(func() { follow(ctx, send) })
	}
	stream(s, w, r, nil, live, func(e api.Event) (message, bool) { return message{e.Kind, e}, true })
}

// kindsOf reads the kinds: all that the caller may see, unless some are named.
func (s *Server) kindsOf(r *http.Request) ([]string, error) {
	p := query(r)
	named, operator := p.text("kind"), caller(r).Role == Operator
	if named == "" {
		return slices.DeleteFunc(slices.Clone(eventKinds), func(k string) bool { return k == api.EventAudit && !operator }), nil
	}
	var kinds []string
	for kind := range strings.SplitSeq(named, ",") {
		switch {
		case !slices.Contains(eventKinds, kind):
			p.wrong("kind", "want some of "+strings.Join(eventKinds, ", ")+got(kind))
		case kind == api.EventAudit && !operator:
			return nil, api.Errorf(http.StatusForbidden, "the audit log is for operators: leave kind audit out, or come with an operator's token")
		case !slices.Contains(kinds, kind):
			kinds = append(kinds, kind)
		}
	}
	return kinds, p.problem()
}

// source begins to follow a kind of events.
func (s *Server) source(ctx context.Context, r *http.Request, kind string) source {
	switch kind {
	case api.EventBreaker:
		return breakerSource(s.opts.Breakers.Subscribe(ctx))
	case api.EventAudit:
		return auditSource(s.audits.subscribe(ctx))
	case api.EventTrace:
		return s.traceSource(ctx)
	case api.EventSlow:
		return slowSource(s.opts.Profiler)
	case api.EventAlert:
		if s.opts.Query == nil {
			return func(context.Context, func(api.Event) bool) {} // there are no rules that could fire
		}
		return alertSource(s.opts.Query.Follow(ctx))
	}
	return func(ctx context.Context, send func(api.Event) bool) { s.healthSource(ctx, r, send) }
}

func breakerSource(live <-chan breaker.Event) source {
	return func(_ context.Context, send func(api.Event) bool) {
		for e := range live {
			shown := e.API()
			if !send(api.Event{Kind: api.EventBreaker, Time: shown.Time, Breaker: &shown, Lost: api.Count(e.Lost)}) {
				return
			}
		}
	}
}

func auditSource(live <-chan api.AuditEntry) source {
	return func(ctx context.Context, send func(api.Event) bool) {
		for last := api.Count(0); ; {
			select {
			case <-ctx.Done():
				return
			case e := <-live:
				lost := e.Seq - last - 1
				if last == 0 {
					lost = 0
				}
				last = e.Seq
				if !send(api.Event{Kind: api.EventAudit, Time: e.Time, Audit: &e, Lost: lost}) {
					return
				}
			}
		}
	}
}

func (s *Server) traceSource(ctx context.Context) source {
	batches, err := s.opts.Traces.Subscribe(ctx, tracing.Query{})
	if err != nil { // that of a cursor, and there is none
		return func(context.Context, func(api.Event) bool) {}
	}
	return func(_ context.Context, send func(api.Event) bool) {
		lost := 0
		for b := range batches {
			lost += b.Lost
			for _, f := range b.Traces {
				at := f.Trace.StartTime
				if !f.Trace.EndTime.IsZero() {
					at = f.Trace.EndTime
				}
				if !send(api.Event{Kind: api.EventTrace, Time: at, Trace: &f.Trace, Lost: api.Count(lost)}) {
					return
				}
				lost = 0
			}
			if ctx.Err() != nil {
				return
			}
		}
	}
}

// slowSource tells each slow request when it is caught, and again when its
// profile is there.
func slowSource(p *profiling.Profiler) source {
	since := time.Now()
	return func(ctx context.Context, send func(api.Event) bool) {
		tick := time.NewTicker(slowEvery)
		defer tick.Stop()
		for told := map[string]string{}; ; { // by id, the state that was told
			newest := p.List(profiling.Query{Limit: 50})
			slices.Reverse(newest)
			now := make(map[string]string, len(newest))
			for _, one := range newest {
				now[one.ProfileID] = one.State
				state, known := told[one.ProfileID]
				if known && state == one.State || !slowSince(&one, since) {
					continue
				}
				if !send(api.Event{Kind: api.EventSlow, Time: *one.StartTime, Slow: &one}) {
					return
				}
			}
			told = now
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}
}

// slowSince tells whether a profile is of a request and was being taken at a
// time, or begun later.
func slowSince(p *api.Profile, since time.Time) bool {
	return (p.Trigger == api.TriggerSlow || p.Trigger == api.TriggerRequest) && p.StartTime != nil &&
		(p.State == "active" || p.StartTime.Add(p.Duration.Duration()).After(since))
}

// healthSource tells how things stand, and then each change.
func (s *Server) healthSource(ctx context.Context, r *http.Request, send func(api.Event) bool) {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	r = r.WithContext(ctx)
	for last := (api.HealthChange{}); ; {
		h := s.health(r)
		now := api.HealthChange{From: last.To, To: h.Status, Ill: ill(&h)}
		if ctx.Err() == nil && (now.To != last.To || !maps.Equal(now.Ill, last.Ill)) {
			if !send(api.Event{Kind: api.EventHealth, Time: api.Time{Time: time.Now().UTC()}, Health: &now}) {
				return
			}
			last = now
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ill is what is not healthy, and not turned off either.
func ill(h *api.Health) map[string]string {
	out := map[string]string{}
	add := func(name, status string) {
		if status != api.Healthy && status != api.Disabled {
			out[name] = status
		}
	}
	for name, c := range h.Checks {
		add("check/"+name, c.Status)
	}
	for name, c := range h.CircuitBreakers.Circuits {
		add("breaker/"+name, c.Status)
	}
	add("cache/redis", h.Cache.Redis.Status)
	add("cache/memory", h.Cache.Memory.Status)
	return out
}
