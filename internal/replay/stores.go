package replay

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/internal/snapshot"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// stores are a server's own over what the snapshot has of its stores, and what
// they cannot know: what the list said of each trace, and the traces that still
// ran.
type stores struct {
	server *server.Server
	list   api.TraceList        // of the store as it was, without its traces
	rows   map[string]api.Trace // by id
	active []api.Trace          // with their spans, newest first
}

const forever = 100 * 365 * 24 * time.Hour

func fill(from *snapshot.Server) (*stores, error) {
	s := &stores{rows: map[string]api.Trace{}}
	traces, err := tracing.New(tracing.Options{
		Service: from.Manifest.Service, MaxBytes: math.MaxInt64 / 4, MaxAge: forever,
		Mask: func(string) bool { return false }, // what had to be was masked on the way in
	})
	if err != nil {
		return nil, err
	}
	for _, p := range slices.Backward(from.Manifest.Parts) { // the oldest first
		data, _ := from.File(p.Name)
		switch {
		case !strings.HasPrefix(p.Name, "traces/") || strings.HasPrefix(p.Name, "traces/active") || p.Path != "":
		case strings.HasSuffix(p.Name, ".otlp.pb"):
			if _, _, err := traces.AddOTLP(data); err != nil {
				return nil, fmt.Errorf("%s: %w", p.Name, err)
			}
		case p.Name != "traces/store.json":
			if err := s.addRows(p.Name, data, traces); err != nil {
				return nil, err
			}
		}
	}
	if err := decode(from, "traces/store.json", &s.list); err != nil {
		return nil, err
	}
	if err := decode(from, "traces/active.json", &s.active); err != nil {
		return nil, err
	}
	profiler, err := profiles(from)
	if err != nil {
		return nil, err
	}
	var audit api.Audit
	if err := decode(from, "audit.json", &audit); err != nil {
		return nil, err
	}
	s.server, err = server.New(server.Options{
		Service: from.Manifest.Service, Version: from.Manifest.Version, Started: from.Manifest.Created.Time,
		Traces: traces, Profiler: profiler, Audit: records(audit.Entries), Access: server.Access{AllowAnonymous: true},
	})
	return s, err
}

func (s *stores) addRows(name string, data []byte, traces *tracing.Store) error {
	var rows []api.Trace
	if err := json.Unmarshal(data, &rows); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, t := range rows {
		s.rows[t.TraceID] = t
		id, err := tracing.ParseTraceID(t.TraceID)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, p := range t.ProfileIDs {
			traces.Link(id, p)
		}
	}
	return nil
}

// decode reads a part that may be missing.
func decode(from *snapshot.Server, name string, v any) error {
	data, found := from.File(name)
	if !found {
		return nil
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// profiles is a profiler that does not run, over the profiles of the snapshot.
func profiles(from *snapshot.Server) (*profiling.Profiler, error) {
	kept := profileLog{from: from}
	if err := decode(from, "profiling/profiles.json", &kept.rows); err != nil {
		return nil, err
	}
	return profiling.New(profiling.Options{
		Service: from.Manifest.Service, Store: profiling.StoreOptions{Log: kept, MaxBytes: math.MaxInt64 / 4, MaxCount: math.MaxInt32},
	})
}

// profileLog hands a store the profiles of a snapshot.
type profileLog struct {
	from *snapshot.Server
	rows []api.Profile // newest first
}

func (l profileLog) Keep(api.Profile, []byte) error { return nil }
func (l profileLog) Forget(string) error            { return nil }
func (l profileLog) Replay(f func(api.Profile, []byte, time.Time)) {
	for _, p := range slices.Backward(l.rows) {
		data, _ := l.from.File("profiling/" + p.ProfileID + ".pb.gz")
		f(p, data, l.from.Manifest.Created.Time)
	}
}

// records hands a server the audit records of a snapshot, newest first.
type records []api.AuditEntry

func (r records) Keep(api.AuditEntry) error { return nil }
func (r records) Last() []api.AuditEntry {
	all := slices.Clone(r)
	slices.Reverse(all)
	return all
}

// fromStores answers from the stores, by the server's own handler.
func (s *Server) fromStores(w http.ResponseWriter, r *http.Request) {
	st, err := s.stores()
	if err != nil {
		fail(w, err)
		return
	}
	r = r.Clone(r.Context())
	q := r.URL.Query()
	for _, name := range []string{"since", "until"} { // back from now is back from the snapshot
		if d, err := time.ParseDuration(q.Get(name)); err == nil && d >= 0 {
			q.Set(name, s.Created().Add(-d).Format(time.RFC3339Nano))
		}
	}
	r.URL.RawQuery = q.Encode()
	r.Header.Del("Accept-Encoding")
	switch id, isTrace := strings.CutPrefix(r.URL.Path, tracesPath+"/"); {
	case r.URL.Path == tracesPath && q.Get("trace_id") != "":
		id = q.Get("trace_id")
		if one, found := st.running(id); found {
			write(w, http.StatusOK, "application/json", api.TraceGet{Trace: one})
			return
		}
	case r.URL.Path == tracesPath:
		st.listTraces(w, r, q, s.Created())
		return
	case isTrace && id == "stats":
		s.traceStats(w, r, st, q)
		return
	case isTrace && id == "services" && len(q) == 0:
		if _, _, found := s.part(r.URL.Path); found {
			s.asItWas(w, r)
			return
		}
	case isTrace:
		if one, found := st.running(id); found {
			s.runningTrace(w, one, q.Get("format"))
			return
		}
	}
	st.server.ServeHTTP(w, r)
}

// traceStats is what the server said where the question is the same; else it is
// counted again, over the spans that the snapshot has.
func (s *Server) traceStats(w http.ResponseWriter, r *http.Request, st *stores, q url.Values) {
	if _, _, found := s.part(r.URL.Path); found && len(q) == 0 {
		s.asItWas(w, r)
		return
	}
	a := &answer{header: w.Header()}
	st.server.ServeHTTP(a, r)
	var out api.TraceStats
	if a.status != http.StatusOK || json.Unmarshal(a.body.Bytes(), &out) != nil || st.list.Retention == nil {
		w.WriteHeader(a.status)
		w.Write(a.body.Bytes()) // to memory
		return
	}
	out.Store = *st.list.Retention
	write(w, a.status, "application/json", out)
}

// running is the trace that still ran, of an id or its beginning.
func (st *stores) running(id string) (api.Trace, bool) {
	id = strings.ToLower(id)
	var found []api.Trace
	for _, t := range st.active {
		if len(id) >= 4 && strings.HasPrefix(t.TraceID, id) {
			found = append(found, t)
		}
	}
	if len(found) != 1 {
		return api.Trace{}, false
	}
	return found[0], true
}

func (s *Server) runningTrace(w http.ResponseWriter, t api.Trace, format string) {
	switch data, found := s.from.File("traces/active/" + t.TraceID + ".otlp.pb"); {
	case format == "" || format == "json":
		write(w, http.StatusOK, "application/json", t)
	case format == "otlp" && found:
		w.Header().Set("Content-Type", "application/x-protobuf")
		w.Write(data) // to memory
	default:
		fail(w, api.Errorf(http.StatusConflict, "trace %s still ran: a snapshot has it as json and as otlp in protobuf alone", t.TraceID))
	}
}

// listTraces is the server's list, with the rows as they were then and with the
// traces that still ran among them.
func (st *stores) listTraces(w http.ResponseWriter, r *http.Request, q url.Values, now time.Time) {
	a := &answer{header: http.Header{}}
	state := q.Get("state")
	onlyRunning := state == "" || state == "active" || q.Get("status") == string(api.StatusActive)
	st.server.ServeHTTP(a, r) // also for what it says of wrong filters
	var out api.TraceList
	if a.status != http.StatusOK || json.Unmarshal(a.body.Bytes(), &out) != nil {
		w.Header().Set("Content-Type", a.header.Get("Content-Type"))
		w.WriteHeader(a.status)
		w.Write(a.body.Bytes()) // to memory
		return
	}
	summary := q.Get("view") == "summary"
	for i, t := range out.Traces {
		if row, found := st.rows[t.TraceID]; found {
			row.Spans, row.Truncated = t.Spans, t.Truncated
			out.Traces[i] = row
		}
	}
	out.TotalActive, out.Retention = st.list.TotalActive, st.list.Retention
	if len(st.active) > 0 && q.Get("cursor") == "" && (onlyRunning || state == "all") {
		if err := st.addRunning(&out, query(q), summary, now); err != nil {
			fail(w, err)
			return
		}
	}
	write(w, http.StatusOK, "application/json", out)
}

// addRunning puts the traces that still ran, and fit, where they belong in the
// first page.
func (st *stores) addRunning(out *api.TraceList, q client.TraceQuery, summary bool, now time.Time) error {
	fits, compare, err := q.Match(now)
	if err != nil {
		return err
	}
	n := 0
	for _, t := range st.active {
		if !fits(t) {
			continue
		}
		if n++; summary {
			t.Spans = nil
		}
		out.Traces = append(out.Traces, t)
	}
	slices.SortStableFunc(out.Traces, compare)
	out.Traces = out.Traces[:min(len(out.Traces), q.Limit)]
	out.Total = api.CountOf(int(out.Total.Value()) + n)
	return nil
}

// query reads the list's filters, which the server has found in order.
func query(q url.Values) client.TraceQuery {
	limit, _ := strconv.Atoi(q.Get("limit"))
	if limit == 0 {
		limit = 10
	}
	least, _ := api.ParseDuration(q.Get("min_duration"))
	most, _ := api.ParseDuration(q.Get("max_duration"))
	return client.TraceQuery{
		Service: q.Get("service"), Operation: q.Get("operation"), Status: q.Get("status"), MinDuration: least, MaxDuration: most,
		Since: q.Get("since"), Until: q.Get("until"), Tags: q["tag"], Text: q.Get("q"), HasProfile: q.Get("has_profile") == "true",
		Sort: q.Get("sort"), Limit: limit,
	}
}
