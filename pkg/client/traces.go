package client

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const tracesPath = "/monitoring/traces"

// TraceQuery says which traces are wanted. Each field but the zero one narrows
// it.
type TraceQuery struct {
	State       string // active, finished or all; "" means all
	Service     string // of any span
	Operation   string // of any span
	Status      string // ok, error, timeout, aborted, active
	MinDuration time.Duration
	MaxDuration time.Duration
	Since       string   // RFC 3339, Unix seconds, or a duration back from now
	Until       string   // the same
	Tags        []string // key, key=value, key!=value, key~regex, key>n, key<n
	Text        string   // in operations, tag values and log messages
	HasProfile  bool
	Sort        string // recent, slowest, errors, spans; "" means recent
	Limit       int    // 1 to 100, to 1000 without spans; 0 means 10
	Cursor      string // Next of the page before
	Spans       bool   // with the spans
}

func (q TraceQuery) values() url.Values {
	v := url.Values{"state": {cmp.Or(q.State, "all")}, "limit": {strconv.Itoa(cmp.Or(q.Limit, 10))}}
	for name, text := range map[string]string{
		"service": q.Service, "operation": q.Operation, "status": q.Status, "since": q.Since, "until": q.Until, "q": q.Text,
		"sort": q.Sort, "cursor": q.Cursor,
	} {
		if text != "" {
			v.Set(name, text)
		}
	}
	for name, d := range map[string]time.Duration{"min_duration": q.MinDuration, "max_duration": q.MaxDuration} {
		if d > 0 {
			v.Set(name, d.String())
		}
	}
	if q.HasProfile {
		v.Set("has_profile", "true")
	}
	if !q.Spans {
		v.Set("view", "summary")
	}
	if len(q.Tags) > 0 {
		v["tag"] = q.Tags
	}
	return v
}

// Traces returns the traces that match. A Python server gives its active ones
// only and applies no filter: it is asked for all it can give, the client's own
// requests are left out, and the rest is done here; what it does not tell cannot
// match.
func (c *Client) Traces(ctx context.Context, q TraceQuery) (api.TraceList, error) {
	var out api.TraceList
	python, err := c.isPython(ctx)
	if err != nil {
		return out, err
	}
	if !python {
		err := c.get(ctx, tracesPath, q.values(), &out)
		return out, err
	}
	match, err := q.matcher(time.Now())
	if err != nil {
		return out, err
	}
	if err := c.get(ctx, tracesPath, url.Values{"limit": {"100"}}, &out); err != nil {
		return out, err
	}
	all := len(out.Traces)
	out.Traces = slices.DeleteFunc(out.Traces, c.isOwn)
	out.TotalActive = max(out.TotalActive-api.Count(all-len(out.Traces)), api.Count(len(out.Traces)))
	for i := range out.Traces {
		complete(&out.Traces[i])
	}
	out.Traces = slices.DeleteFunc(out.Traces, func(t api.Trace) bool { return !match(t) })
	out.Total = api.CountOf(len(out.Traces))
	slices.SortStableFunc(out.Traces, q.compare)
	out.Traces = out.Traces[:min(len(out.Traces), cmp.Or(q.Limit, 10))]
	return out, nil
}

// isOwn tells the traces of this client's requests, the one for the list among
// them, which a Python server lists too.
func (c *Client) isOwn(t api.Trace) bool {
	target, _ := t.Metadata["http.url"].(string)
	agent, _ := t.Metadata["http.user_agent"].(string)
	target, _, _ = strings.Cut(target, "?")
	return strings.HasSuffix(strings.TrimRight(target, "/"), tracesPath) || agent == c.opts.UserAgent && strings.Contains(target, "/monitoring/")
}

// Trace returns one trace, by its id or a unique prefix of 4 or more characters.
// A Python server knows whole ids of active traces only: there a prefix is
// looked up in its list.
func (c *Client) Trace(ctx context.Context, id string) (api.Trace, error) {
	if id == "" {
		return api.Trace{}, api.Errorf(http.StatusNotFound, "an empty id names no trace")
	}
	var out api.TraceGet
	err := c.get(ctx, tracesPath, url.Values{"trace_id": {id}}, &out)
	switch {
	case err == nil && out.Trace.TraceID == "":
		return api.Trace{}, unreadable(0, "GET %s: the answer is no trace", tracesPath)
	case err == nil:
		complete(&out.Trace)
		return out.Trace, nil
	}
	var e *api.Error
	if !errors.As(err, &e) || e.Status != http.StatusNotFound {
		return api.Trace{}, err
	}
	if python, unasked := c.isPython(ctx); unasked != nil || !python {
		return api.Trace{}, err
	}
	return c.pythonTrace(ctx, id)
}

// pythonTrace finds the active trace whose id begins with a prefix.
func (c *Client) pythonTrace(ctx context.Context, prefix string) (api.Trace, error) {
	list, err := c.Traces(ctx, TraceQuery{Limit: 100})
	if err != nil {
		return api.Trace{}, err
	}
	none := api.Errorf(http.StatusNotFound, "trace not found: %q; a Python server knows traces only while they run", prefix)
	return unique("traces", prefix, list.Traces, func(t api.Trace) string { return t.TraceID }, none)
}

// CleanupTraces removes the finished traces older than maxAge, a whole number
// of seconds.
func (c *Client) CleanupTraces(ctx context.Context, maxAge time.Duration, a Action) (api.Cleanup, error) {
	var out api.Cleanup
	q := url.Values{"max_age_seconds": {strconv.FormatInt(int64(maxAge/time.Second), 10)}}
	err := c.act(ctx, tracesPath+"/cleanup", q, a, &out)
	return out, err
}

// complete works out what a Python server does not say of a trace from its
// spans.
func complete(t *api.Trace) {
	if t.SpanCount != nil {
		return
	}
	t.SpanCount = api.CountOf(len(t.Spans))
	bad := 0
	t.Status = api.StatusOK
	for _, s := range t.Spans {
		if s.Status.Failed() {
			bad++
			t.Status = s.Status
		}
		if s.ParentSpanID == nil && t.Root == "" {
			t.Root = s.OperationName
			t.Service, _ = s.Tags["service.name"].(string)
		}
	}
	for i := range t.Spans { // all are of its one process, though only the root names it
		t.Spans[i].Service = t.Service
	}
	t.ErrorCount = api.CountOf(bad)
	if t.EndTime.IsZero() {
		t.Status = api.StatusActive
	}
}
