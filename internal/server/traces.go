package server

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

const tracesPath = "/monitoring/traces"

// maxSpanJSON bounds the spans of one answer.
const maxSpanJSON = 16 << 20

// The most that a filter of the list takes.
const (
	maxTags       = 16
	maxFilterText = 4096
)

func (s *Server) traceRoutes() []route {
	return []route{
		s.get(tracesPath, "traces, active ones unless told otherwise", s.listTraces),
		{http.MethodGet, tracesPath + "/{id}", "one trace, in one of several forms", Viewer, http.HandlerFunc(s.getTrace)},
		s.get(tracesPath+"/stats", "rate, errors and durations of each operation, and the store", s.traceStats),
		s.get(tracesPath+"/services", "which services call which", s.traceServices),
		{http.MethodGet, tracesPath + "/stream", "traces as they finish, as server-sent events", Viewer, http.HandlerFunc(s.streamTraces)},
		s.action("traces.cleanup", tracesPath+"/cleanup", "remove old traces", s.cleanupTraces),
	}
}

func (s *Server) listTraces(r *http.Request) (any, error) {
	p := query(r)
	if id := p.text("trace_id"); id != "" {
		one, err := s.trace(id)
		return api.TraceGet{Trace: one}, err
	}
	q := traceQuery(p, time.Now())
	if err := p.problem(); err != nil {
		return nil, err
	}
	page, err := s.opts.Traces.Find(q)
	if errors.Is(err, tracing.ErrCursor) {
		p.wrong("cursor", err.Error())
		return nil, p.problem()
	}
	if err != nil {
		return nil, err
	}
	kept := s.opts.Traces.Retention()
	out := api.TraceList{
		Traces: page.Traces, TotalActive: api.Count(page.Active), Total: api.CountOf(page.Total),
		Truncated: page.Truncated, Retention: &kept,
	}
	if page.Next != "" {
		out.Next = &page.Next
	}
	return out, nil
}

// traceQuery reads the filters of the list.
func traceQuery(p *params, now time.Time) tracing.Query {
	q := tracing.Query{Spans: p.oneOf("view", "full", "full", "summary") == "full", MaxJSON: maxSpanJSON}
	most := 100
	if !q.Spans {
		most = 1000
	}
	q.Limit = p.integer("limit", 10, 1, most)
	q.State = map[string]tracing.State{"active": tracing.Active, "finished": tracing.Finished}[p.oneOf("state", "active", "active", "finished", "all")]
	q.Sort = map[string]tracing.Sort{"slowest": tracing.Slowest, "errors": tracing.Errors, "spans": tracing.Spans}[p.oneOf("sort", "recent", "recent", "slowest", "errors", "spans")]
	q.Service, q.Operation, q.Text, q.Cursor = p.filter("service"), p.filter("operation"), p.filter("q"), p.filter("cursor")
	q.Status = api.Status(p.oneOf("status", "", "ok", "error", "timeout", "aborted", "active"))
	q.MinDuration = p.duration("min_duration", 0, 0, tracesForever)
	q.MaxDuration = p.duration("max_duration", 0, 0, tracesForever)
	if q.MaxDuration > 0 && q.MaxDuration < q.MinDuration {
		p.wrong("max_duration", "want no less than min_duration")
	}
	q.Since, q.Until, q.HasProfile = p.instant("since", now), p.instant("until", now), p.boolean("has_profile")
	tags := p.all("tag")
	if len(tags) > maxTags {
		p.wrong("tag", fmt.Sprintf("want at most %d of them, got %d", maxTags, len(tags)))
		return q
	}
	for _, text := range tags {
		if text == "" {
			continue
		}
		tag, err := tracing.ParseTag(text)
		if err != nil {
			p.wrong("tag", err.Error())
		}
		q.Tags = append(q.Tags, tag)
	}
	return q
}

// tracesForever is longer than any trace.
const tracesForever = 10 * 365 * 24 * time.Hour

// filter returns a text that is not absurdly long.
func (p *params) filter(name string) string {
	s := p.text(name)
	if len(s) > maxFilterText {
		p.wrong(name, fmt.Sprintf("want at most %d bytes, got %d", maxFilterText, len(s)))
	}
	return s
}

// trace returns the trace of an id or its prefix, or the problem.
func (s *Server) trace(id string) (api.Trace, error) {
	one, err := s.opts.Traces.GetWithin(id, maxSpanJSON)
	return one, traceProblem(id, err)
}

// traceProblem makes the 404 of a trace that there is none or several of.
func traceProblem(id string, err error) error {
	var many *tracing.AmbiguousError
	switch {
	case errors.As(err, &many):
		return &api.Error{Status: http.StatusNotFound, Detail: many.Error() + "; give more of its digits", Candidates: many.Candidates}
	case errors.Is(err, tracing.ErrNotFound):
		return notFound("trace", id)
	}
	return err
}

func (s *Server) cleanupTraces(r *http.Request, dry bool) (change, error) {
	p := query(r)
	age := time.Duration(p.integer("max_age_seconds", 300, 60, 3600)) * time.Second
	if err := p.problem(); err != nil {
		return change{}, err
	}
	removed, freed := s.opts.Traces.Cleanup(age, dry)
	return change{Target: fmt.Sprintf("older than %ds", age/time.Second), After: removed, Body: api.Cleanup{
		Message: fmt.Sprintf("Cleaned up traces older than %d seconds", age/time.Second),
		Removed: api.CountOf(removed), FreedBytes: api.CountOf(freed), DryRun: dry,
	}}, nil
}
