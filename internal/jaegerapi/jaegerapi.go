// Package jaegerapi answers as the query service of Jaeger does (its HTTP/JSON
// API, cmd/query/app/http_handler.go), as far as Grafana's Jaeger data source
// and the Jaeger UI ask it, over the traces of this server.
//
// A search is one of traces here: durations are the trace's, where Jaeger
// compares those of spans. Operations and dependencies are of all that is kept.
// Answers are bounded; a trace that was cut says so among its warnings.
package jaegerapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/internal/traceformat"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// Patterns are the routes of a Handler, for a mux.
var Patterns = []string{
	"GET /api/services", "GET /api/services/{service}/operations", "GET /api/operations", "GET /api/traces", "GET /api/traces/{id}", "GET /api/dependencies",
}

// Bounds of an answer.
const (
	maxBytes     = 16 << 20 // of the spans in protobuf
	maxTraces    = 1500     // the most that the UI offers
	maxIDs       = 100
	maxTags      = 16
	defaultLimit = 100 // as Jaeger's own
)

// handler answers from a store.
type handler struct{ store *tracing.Store }

// New returns the handler of all Patterns.
func New(store *tracing.Store) http.Handler {
	h := handler{store}
	mux := http.NewServeMux()
	for i, f := range []func(*http.Request) (any, error){h.services, h.operations, h.kinds, h.search, h.trace, h.dependencies} {
		mux.Handle(Patterns[i], answer(f))
	}
	return mux
}

// answer writes what f returns in Jaeger's envelope.
func answer(f func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := f(r)
		out, status := traceformat.JaegerAnswer{Data: data}, http.StatusOK
		if list, ok := data.([]string); ok {
			out.Total = len(list)
		} else if list, ok := data.([]operation); ok {
			out.Total = len(list)
		}
		if err != nil {
			var e *api.Error
			if !errors.As(err, &e) {
				e = api.Errorf(http.StatusInternalServerError, "the server could not answer")
			}
			status, out.Data = e.Status, nil
			out.Errors = []traceformat.JaegerError{{Code: e.Status, Message: e.Detail, TraceID: r.PathValue("id")}}
		}
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(status)
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(out) // a client that has gone needs no answer
	})
}

func bad(format string, args ...any) error {
	return api.Errorf(http.StatusBadRequest, format, args...)
}

func (h handler) services(*http.Request) (any, error) {
	names := []string{}
	for _, op := range h.store.Operations(tracing.StatsQuery{}) {
		if op.Service != "" {
			names = append(names, op.Service)
		}
	}
	return slices.Compact(names), nil // they come by service
}

func (h handler) operations(r *http.Request) (any, error) {
	names := []string{}
	for _, op := range h.store.Operations(tracing.StatsQuery{Service: r.PathValue("service")}) {
		names = append(names, op.Operation)
	}
	return names, nil
}

// operation is one of /api/operations.
type operation struct {
	Name     string `json:"name"`
	SpanKind string `json:"spanKind"`
}

func (h handler) kinds(r *http.Request) (any, error) {
	service, kind := r.FormValue("service"), r.FormValue("spanKind")
	if service == "" {
		return nil, bad("parameter 'service' is required")
	}
	out := []operation{}
	for _, op := range h.store.Operations(tracing.StatsQuery{Service: service}) {
		for _, k := range op.Kinds {
			if kind == "" || kind == k {
				out = append(out, operation{op.Operation, k})
			}
		}
	}
	return out, nil
}

func (h handler) trace(r *http.Request) (any, error) {
	t, err := h.one(r.PathValue("id"), maxBytes)
	if err != nil {
		return nil, err
	}
	return []traceformat.JaegerTrace{t}, nil
}

// one returns the trace of an id, which may have lost its leading zeros.
func (h handler) one(id string, most int) (t traceformat.JaegerTrace, err error) {
	if id = strings.ToLower(id); len(id) == 0 || len(id) > 32 || strings.Trim(id, "0123456789abcdef") != "" {
		return t, bad("trace id %.64q: want up to 32 hex digits", id)
	}
	request, truncated, err := h.store.Export(strings.Repeat("0", 32-len(id))+id, most)
	if errors.Is(err, tracing.ErrNotFound) {
		return t, api.Errorf(http.StatusNotFound, "trace not found")
	}
	if err != nil {
		return t, err
	}
	data, _, err := traceformat.Read(request)
	if err != nil {
		return t, err
	}
	all := traceformat.JaegerTraces(data)
	if len(all) == 0 {
		return t, api.Errorf(http.StatusNotFound, "trace not found")
	}
	if truncated {
		all[0].Warnings = append(all[0].Warnings, "spans were left out: the answer is bounded")
	}
	return all[0], nil
}

func (h handler) search(r *http.Request) (any, error) {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, bad("the query cannot be parsed: %v", err)
	}
	ids := v["traceID"]
	if len(ids) > maxIDs {
		return nil, bad("parameter 'traceID': want at most %d of them, got %d", maxIDs, len(ids))
	}
	if len(ids) == 0 {
		q, err := query(v, time.Now())
		if err != nil {
			return nil, err
		}
		page, err := h.store.Find(q)
		if err != nil {
			return nil, err
		}
		for _, t := range page.Traces {
			ids = append(ids, t.TraceID)
		}
	}
	return h.all(ids)
}

// all returns traces as long as there is room for them; those that are not
// there are left out.
func (h handler) all(ids []string) ([]traceformat.JaegerTrace, error) {
	out := []traceformat.JaegerTrace{}
	left := maxBytes
	for _, id := range ids {
		t, err := h.one(id, max(left, 1))
		var e *api.Error
		switch {
		case errors.As(err, &e) && e.Status == http.StatusNotFound:
			continue
		case err != nil:
			return nil, err
		}
		for i := range t.Spans {
			left -= 200 + 40*len(t.Spans[i].Tags) + 60*len(t.Spans[i].Logs)
		}
		if out = append(out, t); left <= 0 {
			break
		}
	}
	return out, nil
}

// query reads the parameters of a search, whose times are microseconds.
func query(v url.Values, now time.Time) (tracing.Query, error) {
	q := tracing.Query{Service: v.Get("service"), Operation: v.Get("operation"), Limit: defaultLimit}
	if q.Service == "" {
		return q, bad("parameter 'service' is required")
	}
	if q.Operation == "all" {
		q.Operation = ""
	}
	var err error
	if s := v.Get("limit"); s != "" {
		if q.Limit, err = strconv.Atoi(s); err != nil || q.Limit < 1 || q.Limit > maxTraces {
			return q, bad("unable to parse param 'limit': want 1 to %d, got %.64q", maxTraces, s)
		}
	}
	for name, d := range map[string]*time.Duration{"minDuration": &q.MinDuration, "maxDuration": &q.MaxDuration} {
		if s := v.Get(name); s != "" {
			if *d, err = time.ParseDuration(s); err != nil || *d < 0 {
				return q, bad("unable to parse param '%s': want a duration like 250ms, got %.64q", name, s)
			}
		}
	}
	if q.Since, q.Until, err = window(v, now); err != nil {
		return q, err
	}
	err = tags(v, &q)
	return q, err
}

// window reads the time that a search covers.
func window(v url.Values, now time.Time) (since, until time.Time, err error) {
	until = now
	for name, t := range map[string]*time.Time{"start": &since, "end": &until} {
		if s := v.Get(name); s != "" {
			us, err := strconv.ParseInt(s, 10, 64)
			if err != nil || us < 0 || us > 1<<53 {
				return since, until, bad("unable to parse param '%s': want microseconds since 1970, got %.64q", name, s)
			}
			*t = time.UnixMicro(us)
		}
	}
	if s := v.Get("lookback"); s != "" && s != "custom" && since.IsZero() {
		d, err := lookback(s)
		if err != nil {
			return since, until, err
		}
		since = until.Add(-d)
	}
	return since, until, nil
}

// lookback reads a duration as the UI writes it: 20m, 1h, 2d, 1w too.
func lookback(s string) (time.Duration, error) {
	for suffix, unit := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if n, err := strconv.ParseUint(strings.TrimSuffix(s, suffix), 10, 16); err == nil && strings.HasSuffix(s, suffix) {
			return time.Duration(n) * unit, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, bad("unable to parse param 'lookback': want a duration like 1h or 2d, got %.64q", s)
	}
	return d, nil
}

// tags reads the tags of a search: a JSON object in tags, key:value in tag. The
// tag error is a status here.
func tags(v url.Values, q *tracing.Query) error {
	wanted := map[string]string{}
	for _, s := range v["tag"] {
		key, value, ok := strings.Cut(s, ":")
		if !ok {
			return bad("malformed 'tag' parameter, expecting key:value, received: %.100q", s)
		}
		wanted[key] = value
	}
	for _, s := range v["tags"] {
		var m api.Attributes // which keeps numbers as they are written
		if err := json.Unmarshal([]byte(s), &m); err != nil {
			return bad("malformed 'tags' parameter, cannot unmarshal JSON: %.200v", err)
		}
		for k, value := range m {
			wanted[k] = fmt.Sprint(value)
		}
	}
	if len(wanted) > maxTags {
		return bad("parameter 'tags': want at most %d, got %d", maxTags, len(wanted))
	}
	for key, value := range wanted {
		if key == "error" && value == "true" {
			q.Status = api.StatusError
			continue
		}
		tag, err := tracing.ParseTag(key + "=" + value)
		if err != nil {
			return bad("parameter 'tags': %v", err)
		}
		q.Tags = append(q.Tags, tag)
	}
	return nil
}

// dependency is an edge of /api/dependencies.
type dependency struct {
	Parent    string    `json:"parent"`
	Child     string    `json:"child"`
	CallCount api.Count `json:"callCount"`
}

// dependencies answers with the calls since endTs less lookback, in
// milliseconds; those after endTs count too.
func (h handler) dependencies(r *http.Request) (any, error) {
	end := time.Now()
	back := 24 * time.Hour
	if s := r.FormValue("endTs"); s != "" {
		ms, err := strconv.ParseInt(s, 10, 64)
		if err != nil || ms < 0 || ms > 1<<50 {
			return nil, bad("unable to parse param 'endTs': want milliseconds since 1970, got %.64q", s)
		}
		end = time.UnixMilli(ms)
	}
	if s := r.FormValue("lookback"); s != "" {
		ms, err := strconv.ParseInt(s, 10, 64)
		if err != nil || ms < 0 || ms > 1<<40 {
			return nil, bad("unable to parse param 'lookback': want milliseconds, got %.64q", s)
		}
		back = time.Duration(ms) * time.Millisecond
	}
	out := []dependency{}
	for _, e := range h.store.Graph(tracing.StatsQuery{Since: end.Add(-back)}).Edges {
		out = append(out, dependency{e.From, e.To, e.Calls})
	}
	return out, nil
}
