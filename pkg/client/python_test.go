package client_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

// recordings reads the shared recordings of a Python server, or those kept here
// where they are not there.
func recordings(t testing.TB) (out []testkit.Recording) {
	t.Helper()
	dir, ok := testkit.Fixtures(t)
	if !ok {
		return testkit.Recordings(t)
	}
	files, err := filepath.Glob(filepath.Join(dir, "python-api", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings in %s: %v", dir, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, testkit.ReadRecording(t, b))
	}
	return out
}

// answer is what a client makes of a recorded answer: a value, or an error of a
// status whose detail says something.
type answer struct {
	ask    func(*testing.T, *client.Client) (any, error)
	status int    // of the error; 0 for none
	says   string // the error's detail, or the value as JSON, holds it
	whole  bool   // the value as JSON is the recorded body, no field less or more
}

var dry = client.Action{DryRun: true}

// answers has an entry for every recording there is.
var answers = map[string]answer{
	"a01_metrics_fresh": {ask: func(t *testing.T, c *client.Client) (any, error) { return c.Metrics(t.Context(), client.MetricQuery{}) },
		says: `"name":"pulse_api_requests_total","type":"counter"`},
	"a02_health_detailed_healthy": {ask: func(t *testing.T, c *client.Client) (any, error) { return c.Health(t.Context()) }, whole: true},
	"a06_traces_idle":             {ask: traces, says: `"traces":[],"total_active":0`},
	"a07_traces_active":           {ask: traces, says: `"trace_id":"34f481ea-0cf7-4e56-a93a-ad6579278668"`},
	"a08_trace_by_id":             {ask: trace("80e83fba-d0d1-4fed-a262-302c0ab60e08"), says: `"root":"GET /demo/slow","service":"pulse-api","span_count":4,"error_count":1,"status":"active"`},
	"a09_traces_limit_1":          {ask: traces, says: `"traces":[],"total_active":2`},
	"a10_trace_finished_404":      {ask: trace("80e83fba-d0d1-4fed-a262-302c0ab60e08"), status: 404, says: "Trace not found"},
	"a11_trace_unknown_404":       {ask: trace("nope"), status: 404, says: "Trace not found"},
	"a13_traces_422_limit_0":      {ask: traces, status: 422, says: "limit: ensure this value is greater than or equal to 1"},
	"a15_traces_422_limit_abc":    {ask: traces, status: 422, says: "limit: value is not a valid integer"},
	"a20_traces_cleanup": {ask: func(t *testing.T, c *client.Client) (any, error) {
		return c.CleanupTraces(t.Context(), 5*time.Minute, client.Action{})
	}, whole: true},
	"a22_traces_cleanup_422_59": {ask: func(t *testing.T, c *client.Client) (any, error) {
		return c.CleanupTraces(t.Context(), 59*time.Second, client.Action{})
	}, status: 422, says: "max_age_seconds: ensure this value is greater than or equal to 60"},
	"a24_traces_cleanup_get_405":       {ask: raw("GET", "/monitoring/traces/cleanup"), says: `"Method Not Allowed"`},
	"b01_breakers_initial":             {ask: breakers, whole: true},
	"b03_breakers_open":                {ask: breakers, whole: true},
	"b06_breakers_recovery_due":        {ask: breakers, whole: true},
	"b07_breakers_half_open":           {ask: breakers, whole: true},
	"b10_breaker_reset":                {ask: reset("github_api"), says: `{"message":"Circuit breaker 'github_api' reset","previous_state":"open","state":"closed"}`},
	"b12_breaker_reset_404":            {ask: reset("nope"), status: 404, says: `"nope"`},
	"b13_breaker_reset_slash_name_404": {ask: reset("openai/v1"), says: "slash"},
	"b15_breakers_reset_all": {ask: func(t *testing.T, c *client.Client) (any, error) {
		return c.ResetAllBreakers(t.Context(), client.Reset{})
	}, says: `"reset":[{"name":"github_api","previous_state":"open","state":"closed"},{"name":"linear_api","previous_state":"closed","state":"closed"}`},
	"c01_profiling_stats_empty": {ask: stats, whole: true},
	"c02_profiles_empty":        {ask: profiles, says: `{"Profiles":[],"Total":0,"Unseen":0}`},
	"c03_profile_404":           {ask: profile("nope"), status: 404, says: "Profile not found"},
	"c04_profiles_422_limit_51": {ask: profiles, status: 422, says: "limit: ensure this value is less than or equal to 50"},
	"c07_profiling_enable": {ask: func(t *testing.T, c *client.Client) (any, error) {
		return c.EnableProfiling(t.Context(), 0, 0, client.Action{})
	}, whole: true},
	"c09_profiling_stats_500": {ask: stats, status: 500, says: "profiles are unreadable on this server"},
	"c10_profiles_500":        {ask: profiles, status: 500, says: "profiles are unreadable on this server"},
	"c11_profiling_disable": {ask: func(t *testing.T, c *client.Client) (any, error) {
		return c.DisableProfiling(t.Context(), true, client.Action{})
	}, whole: true},
	"c12_profiling_cleanup": {ask: func(t *testing.T, c *client.Client) (any, error) {
		return c.CleanupProfiles(t.Context(), time.Hour, client.Action{})
	}, whole: true},
	"d01_cache_status":              {ask: func(t *testing.T, c *client.Client) (any, error) { return c.CacheStatus(t.Context()) }, whole: true},
	"d02_cache_redis_info":          {ask: raw("GET", "/monitoring/cache/redis/info"), whole: true},
	"d03_cache_memory_stats":        {ask: raw("GET", "/monitoring/cache/memory/stats"), whole: true},
	"d04_cache_redis_clear_pattern": {ask: clear("redis", "demo:a*"), says: `"pattern":"demo:a*","cleared":1`},
	"d08_cache_memory_clear":        {ask: clear("memory", ""), says: `"cleared":3`},
	"e01_system_info":               {ask: func(t *testing.T, c *client.Client) (any, error) { return c.System(t.Context()) }, whole: true},
	"e02_debug_config":              {ask: raw("GET", "/monitoring/debug/config"), whole: true},
	"e03_unknown_404": {ask: func(t *testing.T, c *client.Client) (any, error) {
		return c.CaptureProfile(t.Context(), client.Capture{Type: "cpu", Duration: time.Second}, client.Action{})
	},
		status: 404, says: "this server has no /monitoring/profiling/capture"},
	"i02_profiles_repaired": {ask: profiles, says: `"profile_id":"http_GET_/demo/cpu_1795415793436"`},
}

func traces(t *testing.T, c *client.Client) (any, error) {
	return c.Traces(t.Context(), client.TraceQuery{Spans: true})
}
func breakers(t *testing.T, c *client.Client) (any, error) { return c.Breakers(t.Context()) }
func stats(t *testing.T, c *client.Client) (any, error)    { return c.ProfilingStats(t.Context()) }
func profiles(t *testing.T, c *client.Client) (any, error) {
	return c.Profiles(t.Context(), client.ProfileQuery{})
}

func trace(id string) func(*testing.T, *client.Client) (any, error) {
	return func(t *testing.T, c *client.Client) (any, error) { return c.Trace(t.Context(), id) }
}

func profile(id string) func(*testing.T, *client.Client) (any, error) {
	return func(t *testing.T, c *client.Client) (any, error) { return c.Profile(t.Context(), id) }
}

func reset(name string) func(*testing.T, *client.Client) (any, error) {
	return func(t *testing.T, c *client.Client) (any, error) {
		return c.ResetBreaker(t.Context(), name, client.Reset{})
	}
}

func clear(tier, pattern string) func(*testing.T, *client.Client) (any, error) {
	return func(t *testing.T, c *client.Client) (any, error) {
		return c.ClearCache(t.Context(), tier, pattern, client.Action{})
	}
}

// raw asks for what no method is for.
func raw(method, path string) func(*testing.T, *client.Client) (any, error) {
	return func(t *testing.T, c *client.Client) (any, error) {
		resp, err := c.Send(t.Context(), method, path, nil, nil, nil)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		var v any
		return v, json.NewDecoder(resp.Body).Decode(&v)
	}
}

// Every recorded answer reads as what it is. Written again it has no field that
// the server did not tell.
func TestPythonAnswers(t *testing.T) {
	for _, r := range recordings(t) {
		t.Run(r.Case, func(t *testing.T) {
			want, known := answers[r.Case]
			if !known {
				t.Fatalf("no answer is expected for this recording: %s", r.How)
			}
			p := testkit.Python(t)
			p.Replay(r)
			got, err := want.ask(t, newClient(t, p.URL, client.Options{}))
			if want.status != 0 || err != nil {
				e := apiError(t, err)
				if e.Status != want.status || !strings.Contains(e.Detail, want.says) {
					t.Errorf("error = %d %q, want %d %q", e.Status, e.Detail, want.status, want.says)
				}
				return
			}
			b, err := json.Marshal(got)
			if err != nil || !strings.Contains(string(b), want.says) {
				t.Errorf("read %s, %v; want %s", b, err, want.says)
			}
			if !want.whole {
				return
			}
			body := strings.ReplaceAll(r.Body, ":s3cret@", "***@") // what it should not have told
			if strings.HasPrefix(r.Case, "d02") {
				body = r.Body
			}
			if diff := cmp.Diff(decode(t, []byte(body)), decode(t, b), cmp.Comparer(nearly)); diff != "" {
				t.Errorf("read and written again (-recorded +ours):\n%s", diff)
			}
		})
	}
}

// nearly forgives what lies below a nanosecond.
func nearly(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }

// A refusal comes before anything is sent.
func TestPythonRefusesFirst(t *testing.T) {
	for name, do := range map[string]func(*client.Client) error{
		"dry capture": func(c *client.Client) error {
			_, err := c.CaptureProfile(t.Context(), client.Capture{Type: "cpu", Duration: 1}, dry)
			return err
		},
		"dry enable": func(c *client.Client) error { _, err := c.EnableProfiling(t.Context(), 0, 0, dry); return err },
		"threshold": func(c *client.Client) error {
			_, err := c.EnableProfiling(t.Context(), 0, 1, client.Action{})
			return err
		},
		"duration": func(c *client.Client) error {
			_, err := c.EnableProfiling(t.Context(), 1, 0, client.Action{})
			return err
		},
		"dry traces": func(c *client.Client) error { _, err := c.CleanupTraces(t.Context(), time.Hour, dry); return err },
		"dry profiles": func(c *client.Client) error {
			_, err := c.CleanupProfiles(t.Context(), time.Hour, dry)
			return err
		},
		"pattern": func(c *client.Client) error {
			_, err := c.ClearCache(t.Context(), "memory", "a*", client.Action{})
			return err
		},
		"names": func(c *client.Client) error {
			return c.CanReset(t.Context(), client.Reset{}, "github_api", "openai/v1")
		},
		"raw": func(c *client.Client) error { _, err := c.DryRun(t.Context(), nil); return err },
	} {
		t.Run(name, func(t *testing.T) {
			p := testkit.Python(t)
			if e := apiError(t, do(newClient(t, p.URL, client.Options{}))); e.Code != client.CodeUnsupported || !strings.HasSuffix(e.Detail, "nothing was sent") {
				t.Errorf("error = %q %q", e.Code, e.Detail)
			}
			if got := p.Actions(); len(got) > 0 {
				t.Errorf("sent %q", got)
			}
		})
	}
}

// Whatever stands at the index, a server that tells no capabilities is given
// nothing that it could misunderstand.
func TestIndexOfOthers(t *testing.T) {
	for _, tt := range []struct {
		name, body  string
		status      int
		location    string
		unsupported bool // else the error of the index
	}{
		{"none", `{"detail":"Not Found"}`, 404, "", true},
		{"a page", `<html>`, 200, "", true},
		{"another API", `{"message":"Pulse API"}`, 200, "", true},
		{"a POST only", `{"detail":"Method Not Allowed"}`, 405, "", true},
		{"elsewhere", ``, 307, "http://elsewhere.invalid/monitoring", true},
		{"failing", `Internal Server Error`, 500, "", false},
		{"closed", `{"detail":"Not authenticated"}`, 401, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := testkit.Python(t)
			r := testkit.Recording{Status: tt.status, ContentType: "application/json", Body: tt.body, Location: tt.location}
			r.Request.Method, r.Request.Path = "GET", "/monitoring/"
			p.Replay(r)
			_, err := newClient(t, p.URL, client.Options{}).ResetAllBreakers(t.Context(), client.Reset{HalfOpen: true})
			if e := apiError(t, err); tt.unsupported != (e.Code == client.CodeUnsupported) || !tt.unsupported && e.Status != tt.status {
				t.Errorf("error = %+v", e)
			}
			if got := p.Actions(); len(got) > 0 {
				t.Errorf("sent %q", got)
			}
		})
	}
}

// What Python may write where JSON has no word for it, and other spellings.
func TestPythonSpellings(t *testing.T) {
	bodies := map[string]string{
		"GET /monitoring/circuit-breakers": `{"a":{"name":"a","state":"closed","stats":{"total_requests":4.0,"failed_requests":"3","failure_rate":NaN,"success_rate":"0.25","last_failure_time":Infinity},"config":{"timeout":30,"recovery_timeout":-Infinity}}}`,
		"GET /monitoring/traces":           `{"traces":[{"trace_id":"t","user_id":17,"start_time":1,"metadata":{"say":"NaN \" Infinity","odd":NaN},"spans":[]}],"total_active":1.0}`,
		"GET /monitoring/system/info":      `{"process":{"pid":1484.0,"cpu_percent":"1.5"},"system":{},"uptime":3}`,
		"GET /monitoring/health/detailed":  `{"status":"degraded","total_check_time_ms":NaN,"checks":{"x":{"status":"healthy","latency_ms":NaN}}}`,
	}
	c, _ := python(t, bodies)
	b, err := c.Breakers(t.Context())
	if a := b["a"]; err != nil || a.Stats.TotalRequests != 4 || a.Stats.FailedRequests != 3 || a.Stats.FailureRate != 0 || a.Stats.SuccessRate != 0.25 || !a.Stats.LastFailureTime.IsZero() || a.Config.Timeout != api.Seconds(30*time.Second) {
		t.Errorf("breakers = %+v, %v", b, err)
	}
	l, err := c.Traces(t.Context(), client.TraceQuery{})
	if err != nil || len(l.Traces) != 1 || *l.Traces[0].UserID != "17" || l.Traces[0].Metadata["say"] != `NaN " Infinity` {
		t.Errorf("traces = %+v, %v", l, err)
	}
	if s, err := c.System(t.Context()); err != nil || s.Uptime != api.Seconds(3*time.Second) || s.Process.PID != 1484 || s.Process.CPUPercent != 1.5 {
		t.Errorf("system = %+v, %v", s, err)
	}
	if h, err := c.Health(t.Context()); err != nil || h.Status != api.Degraded {
		t.Errorf("health = %+v, %v", h, err)
	}
}

// pythonWire is a Python server that answers everything with one body.
func pythonWire(body []byte) wire {
	return func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/monitoring/" {
			return &http.Response{StatusCode: 404, Header: http.Header{}, Body: http.NoBody}, nil
		}
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body))}, nil
	}
}

// FuzzAnswer: no answer makes the client panic, and what it reads can be
// written.
func FuzzAnswer(f *testing.F) {
	for _, r := range testkit.Recordings(f) {
		f.Add([]byte(r.Body))
	}
	f.Add([]byte(`{"a":NaN,"b":"\"Infinity","c":-Infinity`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c := newClient(t, "http://x.invalid", client.Options{Transport: pythonWire(body)})
		for _, ask := range []func(*testing.T, *client.Client) (any, error){traces, breakers, stats, profiles, trace("x"),
			func(t *testing.T, c *client.Client) (any, error) { return c.Health(t.Context()) },
			func(t *testing.T, c *client.Client) (any, error) { return c.CacheStatus(t.Context()) },
			func(t *testing.T, c *client.Client) (any, error) {
				return c.ProfileTop(t.Context(), "x", client.ProfileTopQuery{})
			},
		} {
			v, err := ask(t, c)
			if err != nil {
				continue
			}
			if _, err := json.Marshal(v); err != nil {
				t.Errorf("read from %q, but %v", body, err)
			}
		}
	})
}

// A top of what a Python server's summary names.
func TestPythonTop(t *testing.T) {
	const body = `{"profile":{"profile_id":"p/1","operation_name":"o","duration":0.02,"top_functions":[
{"ncalls":"12/3","tottime":"0.010","percall":"0.001","cumtime":"0.012","percall_cum":"0.004","filename_function":"/app/x.py:3(f)"},
{"ncalls":"1","tottime":"0.001","percall":"0.001","cumtime":"0.020","percall_cum":"0.02","filename_function":"/app/x.py:9(main)"},
{"ncalls":"1","tottime":"0.002","percall":"0.001","cumtime":"0.002","percall_cum":"0.02","filename_function":"{built-in method time.sleep}"}]}}`
	c, _ := python(t, map[string]string{"GET /monitoring/profiling/profiles": body})
	for _, tt := range []struct {
		name string
		q    client.ProfileTopQuery
		want []string
	}{
		{"own", client.ProfileTopQuery{}, []string{"f", "{built-in method time.sleep}", "main"}},
		{"with callees", client.ProfileTopQuery{Cum: true, Limit: 2}, []string{"main", "f"}},
		{"focus", client.ProfileTopQuery{Focus: "x.py", Ignore: "main"}, []string{"f"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			top, err := c.ProfileTop(t.Context(), "p/1", tt.q)
			var got []string
			for _, r := range top.Rows {
				got = append(got, r.Function)
			}
			if err != nil || !slices.Equal(got, tt.want) || top.Unit != "nanoseconds" || top.Total != 2e7 {
				t.Errorf("top = %+v, %v; want %v", top, err, tt.want)
			}
		})
	}
	for _, q := range []client.ProfileTopQuery{{Focus: "["}, {Ignore: "["}, {SampleType: "cpu"}} {
		if _, err := c.ProfileTop(t.Context(), "p/1", q); apiError(t, err).Status != 422 {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

// A Python server clears nothing of a Redis that does not answer, and says 200.
func TestPythonDeadRedis(t *testing.T) {
	c, _ := python(t, map[string]string{
		"POST /monitoring/cache/redis/clear": `{"message":"Cleared 0 cache entries","pattern":"*"}`,
		"GET /monitoring/cache/status":       `{"redis":{"status":"healthy","connected":true,"stats":{"connected":true}},"memory":{"status":"healthy","stats":{}}}`,
	})
	if _, err := c.ClearCache(t.Context(), "redis", "", client.Action{}); apiError(t, err).Status != 502 {
		t.Errorf("ClearCache = %v, want 502", err)
	}
}

// A prefix of an id is looked up where the server knows whole ids only.
func TestPythonPrefixes(t *testing.T) {
	p := testkit.Python(t)
	c := newClient(t, p.URL, client.Options{})
	if tr, err := c.Trace(t.Context(), "34f4"); err != nil || tr.TraceID != "34f481ea-0cf7-4e56-a93a-ad6579278668" {
		t.Errorf("trace = %q, %v", tr.TraceID, err)
	}
	if pr, err := c.Profile(t.Context(), "http_GET_/d"); err != nil || pr.ProfileID != "http_GET_/demo/cpu_1795415793436" {
		t.Errorf("profile = %q, %v", pr.ProfileID, err)
	}
	for _, id := range []string{"34f", "zzzz", ""} {
		if _, err := c.Trace(t.Context(), id); apiError(t, err).Status != 404 {
			t.Errorf("trace %q: %v", id, err)
		}
		if _, err := c.Profile(t.Context(), id); id != "" && apiError(t, err).Status != 404 {
			t.Errorf("profile %q: %v", id, err)
		}
	}
	two, _ := python(t, map[string]string{"GET /monitoring/traces": `{"traces":[{"trace_id":"abcd-1"},{"trace_id":"abcd-2"}],"total_active":2}`})
	l, err := two.Traces(t.Context(), client.TraceQuery{})
	if err != nil || len(l.Traces) != 2 {
		t.Errorf("traces = %+v, %v", l, err)
	}
}
