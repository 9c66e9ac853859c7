package server

import (
	"context"
	"net/http"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
)

// QueryEngine answers PromQL over the server's own samples and evaluates alert
// rules. Its errors are of an [api.Error] where the caller can do something
// about them.
type QueryEngine interface {
	// Query evaluates an expression at a time; the zero time means now.
	Query(ctx context.Context, expr string, at time.Time) (*api.QueryResult, error)
	QueryRange(ctx context.Context, expr string, start, end time.Time, step time.Duration) (*api.QueryResult, error)
	// Exemplars returns those of a metric since a time, newest first, without
	// what the server knows of their traces.
	Exemplars(name string, since time.Time) *api.Exemplars
	Alerts() *api.AlertRules
	// Follow gives events of kind alert until ctx is done: how the alerts stand,
	// then each change. The channel is never closed.
	Follow(ctx context.Context) <-chan api.Event
}

func (s *Server) queryRoutes() []route {
	return []route{
		s.get("/monitoring/metrics/query", "PromQL over the server's own samples of the last hour, at one time", s.engine(s.evaluate)),
		s.get("/monitoring/metrics/query_range", "the same at each step of a span of time", s.engine(s.evaluateRange)),
		s.get("/monitoring/metrics/exemplars", "the requests that a metric's series point to, with their traces and profiles", s.engine(s.exemplars)),
		s.get("/monitoring/alerts", "the alert rules with their states", s.engine(func(q QueryEngine, _ *http.Request) (any, error) { return q.Alerts(), nil })),
	}
}

// engine asks the query engine, where there is one.
func (s *Server) engine(f func(QueryEngine, *http.Request) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		if s.opts.Query == nil {
			return nil, api.Errorf(http.StatusNotFound, "this server has no query engine: it keeps no samples of its metrics and evaluates no rules, as pulsectl serve does")
		}
		return f(s.opts.Query, r)
	}
}

func (s *Server) evaluate(q QueryEngine, r *http.Request) (any, error) {
	p := query(r)
	expr, at := p.required("expr"), p.instant("time", time.Now())
	if err := p.problem(); err != nil {
		return nil, err
	}
	return q.Query(r.Context(), expr, at)
}

func (s *Server) evaluateRange(q QueryEngine, r *http.Request) (any, error) {
	p, now := query(r), time.Now()
	expr, start, end := p.required("expr"), p.instant("start", now), p.instant("end", now)
	step := p.duration("step", 0, time.Millisecond, 24*time.Hour)
	if start.IsZero() && len(p.errs) == 0 {
		p.wrong("start", "want a time: RFC 3339, Unix seconds or a duration back from now")
	}
	if end.IsZero() {
		end = now
	}
	if err := p.problem(); err != nil {
		return nil, err
	}
	if step == 0 {
		step = max(time.Second, (end.Sub(start) / 250).Round(time.Second))
	}
	return q.QueryRange(r.Context(), expr, start, end, step)
}

func (p *params) required(name string) string {
	s := p.text(name)
	if s == "" {
		p.wrong(name, "want one")
	}
	return s
}

// exemplars joins the exemplars with what is kept of their requests.
func (s *Server) exemplars(q QueryEngine, r *http.Request) (any, error) {
	p := query(r)
	name, since, limit := p.required("name"), p.instant("since", time.Now()), p.integer("limit", 100, 1, 1000)
	if err := p.problem(); err != nil {
		return nil, err
	}
	out := q.Exemplars(name, since)
	out.Exemplars = out.Exemplars[:min(limit, len(out.Exemplars))]
	for i := range out.Exemplars {
		e := &out.Exemplars[i]
		if e.TraceID != "" {
			_, err := s.opts.Traces.GetWithin(e.TraceID, 1) // its spans matter not
			e.TraceKept = err == nil
			for _, one := range s.opts.Profiler.List(profiling.Query{TraceID: e.TraceID, Limit: 10}) {
				e.ProfileIDs = append(e.ProfileIDs, one.ProfileID)
			}
		}
	}
	return out, nil
}

// alertSource tells how the alerts stand, and then each change.
func alertSource(live <-chan api.Event) source {
	return func(ctx context.Context, send func(api.Event) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-live:
				if !send(e) {
					return
				}
			}
		}
	}
}
