package check_test

import (
	"bytes"
	"math"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/check"
	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// The table of the Monitoring Plugins guidelines, and the units that are ours.
func TestRange(t *testing.T) {
	inf := math.Inf(1)
	for _, tt := range []struct {
		text        string
		unit        check.Unit
		alerts, not []float64
		plain       string
	}{
		{"10", check.Plain, []float64{-.1, 10.1, inf, math.NaN()}, []float64{0, 10}, "10"},
		{"10:", check.Plain, []float64{9.9, -inf}, []float64{10, inf}, "10:"},
		{"~:10", check.Plain, []float64{10.1}, []float64{10, -inf}, "~:10"},
		{"10:20", check.Plain, []float64{9.9, 20.1}, []float64{10, 20}, "10:20"},
		{"@10:20", check.Plain, []float64{10, 15, 20}, []float64{9.9, 20.1}, "@10:20"},
		{"@0:0", check.Plain, []float64{0}, []float64{1, -1}, "@0"},
		{"~:", check.Plain, []float64{math.NaN()}, []float64{-inf, 0, inf}, "~:"},
		{"-3:3", check.Plain, []float64{-3.1, 3.1}, []float64{-3, 3}, "-3:3"},
		{":5", check.Plain, []float64{-1, 6}, []float64{0, 5}, "5"},
		{"1e3", check.Plain, []float64{1001}, []float64{1000}, "1000"},
		{"250ms", check.Seconds, []float64{.26, -1}, []float64{0, .25}, "0.25"},
		{"1.5:2m", check.Seconds, []float64{1, 121}, []float64{1.5, 120}, "1.5:120"},
		{"5%", check.Ratio, []float64{.051}, []float64{0, .05}, "0.05"},
		{"80%:", check.Ratio, []float64{.79}, []float64{.8, 1}, "0.8:"},
	} {
		r, err := check.ParseRange(tt.text, tt.unit)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, v := range tt.alerts {
			if !r.Alerts(v) {
				t.Errorf("%s does not alert of %v", tt.text, v)
			}
		}
		for _, v := range tt.not {
			if r.Alerts(v) {
				t.Errorf("%s alerts of %v", tt.text, v)
			}
		}
		if r.String() != tt.plain {
			t.Errorf("%s is written %s, want %s", tt.text, r, tt.plain)
		}
	}
	for _, text := range []string{"", "@", "x", "20:10", "1:x", "1:2:3", "5%", "250ms", "NaN", "1:Inf"} {
		if _, err := check.ParseRange(text, check.Plain); err == nil || !strings.HasPrefix(err.Error(), "threshold ") {
			t.Errorf("ParseRange(%q) error = %v", text, err)
		}
	}
	if (*check.Range)(nil).Alerts(math.NaN()) {
		t.Error("no range alerts")
	}
}

// What parses is written so that it parses again, and alerts of the same.
func FuzzRange(f *testing.F) {
	for _, text := range []string{"10", "10:", "~:10", "@10:20", "~:", "5%", "250ms", "-1e-3:2", "@~:0"} {
		f.Add(text, 1.5, 2)
	}
	f.Fuzz(func(t *testing.T, text string, v float64, unit int) {
		r, err := check.ParseRange(text, check.Unit(unit))
		if err != nil {
			return
		}
		again, err := check.ParseRange(r.String(), check.Plain)
		if err != nil {
			t.Fatalf("%q is written %q, which does not parse: %v", text, r, err)
		}
		near := math.Abs(v-r.Low) < 1e-6 || math.Abs(v-r.High) < 1e-6 // it is written with nine decimals
		if !near && r.Alerts(v) != again.Alerts(v) {
			t.Fatalf("%q and %q differ at %v", text, r, v)
		}
	})
}

func words(t *testing.T, warn, crit string, known []string) check.Words {
	t.Helper()
	w, err := check.ParseWords(warn, crit, known...)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func limit(t *testing.T, text string, u check.Unit) *check.Range {
	t.Helper()
	r, err := check.ParseRange(text, u)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func every(string) bool { return true }

var (
	rejected = api.Count(7)
	breakers = api.Breakers{
		"github_api": {State: api.StateClosed, Mode: api.ModeAutomatic, Stats: api.BreakerStats{Rejected: &rejected}},
		"openai_api": {State: api.StateOpen, Why: &api.BreakerWhy{Reason: "5 failures in a row: 502 Bad Gateway"}},
		"linear_api": {State: api.StateHalfOpen, LastError: "timeout"},
		"old|new":    {State: api.StateOpen, Mode: api.ModeForcedOpen, Forced: &api.BreakerForced{Actor: "ada", Reason: "INC-1\x1b[31m"}},
		"off":        {State: api.StateClosed, Mode: api.ModeDisabled},
	}
	health = api.Health{Status: api.Unhealthy, Checks: map[string]api.Check{
		"database": {Status: api.Healthy, LatencyMS: 4.2}, "disk": {Status: api.Unhealthy, Error: "full", LatencyMS: 1},
	}, CircuitBreakers: &api.HealthBreakers{Circuits: map[string]api.HealthCircuit{"openai_api": {State: api.StateOpen}, "github_api": {State: api.StateClosed}}},
		Cache: &api.CacheStatus{Redis: api.RedisHealth{Status: api.Failed, Reason: "connection refused"}}}
	caches = api.CacheStatus{
		Memory: api.MemoryHealth{Status: api.Healthy, Stats: api.MemoryStats{Size: 3, MaxSize: 1000, Hits: 100, Recent: &api.CacheRecent{Seconds: api.Seconds(5 * time.Minute), Hits: 3, Misses: 1}}},
		Redis:  api.RedisHealth{Status: api.Disabled},
	}
)

func routes() []check.Route {
	f := func(v float64) *api.Float { x := api.Float(v); return &x }
	return check.OfRates(api.RouteRates{Routes: []api.RouteRate{
		{Method: "GET", Endpoint: "/a", Requests: 100, Errors: 2, P95: f(.25)},
		{Method: "POST", Endpoint: "/b", Requests: 10, Errors: 1, P95: f(1.5)},
		{Method: "GET", Endpoint: "/rare", Requests: 1, Errors: 1, P95: f(9)},
	}})
}

func TestJudges(t *testing.T) {
	limits := func(u check.Unit, warn, crit string) check.Limits {
		return check.Limits{Warn: limit(t, warn, u), Crit: limit(t, crit, u), About: every, MinCalls: 2, Over: 10 * time.Second}
	}
	good := health
	good.Status, good.Checks = api.Healthy, map[string]api.Check{"database": health.Checks["database"]}
	for _, tt := range []struct {
		name   string
		got    check.Result
		status check.Status
		says   string // the summary, then the names of the problems
	}{
		{"breakers", check.Breakers(breakers, nil, words(t, "half-open", "open", check.BreakerStates)), check.Critical, "2 open, 1 half-open, 2 closed of 5: old|new openai_api linear_api"},
		{"breakers of no states", check.Breakers(breakers, nil, words(t, "none", "", check.BreakerStates)), check.OK, "2 open, 1 half-open, 2 closed of 5:"},
		{"breakers that somebody moved", check.Breakers(breakers, nil, words(t, "forced_open,disabled", "none", check.BreakerStates)), check.Warning, "2 open, 1 half-open, 2 closed of 5: off old|new"},
		{"some breakers", check.Breakers(breakers, []string{"lin*"}, words(t, "half-open", "open", check.BreakerStates)), check.Warning, "1 half-open of 1: linear_api"},
		{"breakers that are not there", check.Breakers(breakers, []string{"nope", "github_api"}, words(t, "half-open", "open", check.BreakerStates)), check.Unknown, "1 closed of 1: nope"},
		{"no breakers", check.Breakers(nil, nil, words(t, "half-open", "open", check.BreakerStates)), check.OK, "no circuit breakers:"},
		{"health", check.Health(health, nil, words(t, "degraded", "unhealthy", check.HealthStates)), check.Critical, "unhealthy: breaker/openai_api cache/redis disk"},
		{"good health", check.Health(good, nil, words(t, "degraded", "unhealthy", check.HealthStates)), check.OK, "healthy:"},
		{"health that is a warning", check.Health(health, nil, words(t, "unhealthy", "none", check.HealthStates)), check.Warning, "unhealthy: breaker/openai_api cache/redis disk"},
		{"health of no known word", check.Health(api.Health{Status: "fine"}, nil, words(t, "degraded", "unhealthy", check.HealthStates)), check.Unknown, "fine: health"},
		{"one check", check.Health(health, []string{"database"}, words(t, "degraded", "unhealthy", check.HealthStates)), check.OK, "1 of 1 checks healthy:"},
		{"two checks", check.Health(health, []string{"database", "disk"}, words(t, "degraded", "unhealthy", check.HealthStates)), check.Critical, "1 of 2 checks healthy: disk"},
		{"a check that is not there", check.Health(health, []string{"nope"}, words(t, "degraded", "unhealthy", check.HealthStates)), check.Unknown, "0 of 1 checks healthy: nope"},
		{"caches", check.Cache(caches, "", words(t, "degraded", "failed", check.CacheStates), check.HitRatio{}), check.OK, "memory healthy, redis disabled:"},
		{"a cache that is not there", check.Cache(caches, "redis", words(t, "degraded", "failed", check.CacheStates), check.HitRatio{}), check.Unknown, "redis disabled: redis"},
		{"hits", check.Cache(caches, "memory", words(t, "degraded", "failed", check.CacheStates), check.HitRatio{Warn: limit(t, "90%:", check.Ratio), Crit: limit(t, "50%:", check.Ratio)}), check.Warning, "memory healthy: memory"},
		{"latency", check.Latency(routes(), "p95", limits(check.Seconds, "200ms", "1s")), check.Critical, "p95 of 2 routes at most 1.5s (POST /b): POST /b GET /a"},
		{"latency of what is not timed", check.Latency(routes(), "p50", limits(check.Seconds, "1", "2")), check.OK, "no route was timed for a p50 in 10s:"},
		{"errors", check.Errors(routes(), limits(check.Ratio, "1%", "5%")), check.Critical, "2.73% of 110 requests failed in 10s: POST /b GET /a"},
		{"errors of nothing", check.Errors(nil, limits(check.Ratio, "1%", "5%")), check.OK, "no requests in 10s:"},
		{"errors of little", check.Errors(routes()[2:], limits(check.Ratio, "1%", "5%")), check.OK, "no route had 2 requests in 10s:"},
	} {
		says := tt.got.Summary + ":"
		for _, p := range tt.got.Problems {
			says += " " + p.Name
		}
		if tt.got.Status != tt.status || tt.got.Code != int(tt.status) || says != tt.says {
			t.Errorf("%s: %v, %s; want %v, %s", tt.name, tt.got.Status, says, tt.status, tt.says)
		}
	}
}

func TestOfSpans(t *testing.T) {
	rs := check.OfSpans(api.TraceStats{Operations: []api.OperationStats{
		{Service: "shop", Operation: "GET /a", Kinds: []string{"server"}, Count: 4, Errors: 1, P95: api.Seconds(time.Second)},
		{Service: "shop", Operation: "SELECT", Kinds: []string{"client", "internal"}, Count: 4},
	}})
	if len(rs) != 1 || rs[0].Name != "shop GET /a" || rs[0].Errors != 1 || rs[0].Quantiles["p95"] != 1 {
		t.Errorf("%+v", rs)
	}
}

func TestWordsErrors(t *testing.T) {
	if _, err := check.ParseWords("half-open", "broken", check.BreakerStates...); err == nil || !strings.Contains(err.Error(), `there is no state "broken"`) {
		t.Errorf("error = %v", err)
	}
}

func of(rs ...check.Result) (out []api.Result[check.Result]) {
	for i, r := range rs {
		out = append(out, api.Result[check.Result]{Instance: "http://10.0.0." + string(rune('1'+i)) + ":8000", Value: r})
	}
	return out
}

func results(t *testing.T) map[string][]api.Result[check.Result] {
	bs := check.Breakers(breakers, nil, words(t, "half-open", "open", check.BreakerStates))
	l := check.Limits{Warn: limit(t, "200ms", check.Seconds), Crit: limit(t, "1s", check.Seconds), About: every, MinCalls: 2, Over: time.Second}
	many := api.Breakers{}
	for i := range 500 {
		many[strings.Repeat("very long name ", 4)+string(rune('A'+i%26))+string(rune('A'+i/26))] = api.Breaker{State: api.StateOpen}
	}
	return map[string][]api.Result[check.Result]{
		"breakers": of(bs),
		"fleet":    of(check.Breakers(nil, nil, check.Words{}), bs, check.Failed("breakers", check.Critical, "connection refused"), check.Failed("breakers", check.Unknown, "no token")),
		"latency":  of(check.Latency(append(routes(), check.Route{Name: "GET /it's=|x", Calls: 9, Quantiles: map[string]float64{"p95": math.Inf(1)}}, check.Route{Name: "GET /q='1'", Calls: 8, Quantiles: map[string]float64{"p95": 1e-7}}), "p95", l)),
		"cache":    of(check.Cache(caches, "", words(t, "degraded", "failed", check.CacheStates), check.HitRatio{Warn: limit(t, "90%:", check.Ratio)})),
		"health":   of(check.Health(health, nil, words(t, "degraded", "unhealthy", check.HealthStates))),
		"many":     of(check.Breakers(many, nil, words(t, "half-open", "open", check.BreakerStates))),
	}
}

// perf is one item of performance data, by the Monitoring Plugins guidelines.
var perf = regexp.MustCompile(`^('(?:[^'=|]|'')+'|[^\s'=|]+)=(-?[0-9.]+)(s|%|B|c)?(;(@?[-0-9.~]*:?[-0-9.]*)){0,2}(;-?[0-9.]*){0,2}( |$)`)

func TestNagios(t *testing.T) {
	for name, rs := range results(t) {
		var out bytes.Buffer
		if err := check.Nagios(&out, rs); err != nil {
			t.Fatal(err)
		}
		testkit.Golden(t, "nagios-"+name+".golden", out.Bytes())
		first, _, _ := strings.Cut(out.String(), "\n")
		text, data, _ := strings.Cut(first, " | ")
		if strings.Contains(text, "|") || strings.Count(out.String(), "|") > 1 || out.Len() > 8192 || strings.Contains(out.String(), "\x1b") {
			t.Errorf("%s: %d bytes: %s", name, out.Len(), out.String())
		}
		for data != "" {
			m := perf.FindString(data)
			if m == "" {
				t.Fatalf("%s: no performance data: %s", name, data)
			}
			data = data[len(m):]
		}
	}
}

// promtool takes the textfile as it is.
func TestTextfile(t *testing.T) {
	promtool := testkit.Need(t, "promtool", "prometheus")
	for name, rs := range results(t) {
		var out bytes.Buffer
		if err := check.Textfile(&out, rs, 1.7e9); err != nil {
			t.Fatal(err)
		}
		if name != "many" {
			testkit.Golden(t, "textfile-"+name+".golden", out.Bytes())
		}
		cmd := exec.Command(promtool, "check", "metrics")
		cmd.Stdin = &out
		if said, err := cmd.CombinedOutput(); err != nil || len(said) > 0 {
			t.Errorf("%s: promtool: %v: %s", name, err, said)
		}
	}
}
