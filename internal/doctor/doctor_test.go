package doctor_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/doctor"
	"github.com/pulsectl/pulsectl/pkg/api"
)

func named(name string, fs ...change) doctor.Instance {
	in := well()
	in.Name = name
	for _, f := range fs {
		f(&in)
	}
	return in
}

func opens(name string) change {
	return func(in *doctor.Instance) { in.Now.Breakers[name] = open(name) }
}

func failing(dependency string) change {
	return func(in *doctor.Instance) {
		lately(in, func(p *api.StatsPoint) { p.Errors = 120 })
		for i := range 5 {
			in.Failed = append(in.Failed, failedTrace(i, dependency))
		}
	}
}

// An open breaker explains the errors of a route whose failed traces blame it,
// and a slow dependency the breaker that timeouts opened: one cause, not three.
func TestCausesExplainEffects(t *testing.T) {
	in := named("http://a:8000", opens("openai_api"), failing("openai_api"), func(in *doctor.Instance) {
		in.Now.Health.Checks["openai"] = api.Check{Status: api.Unhealthy, Error: "no answer"}
	})
	v := diagnose(in)
	if len(v.Findings) != 1 || v.Findings[0].Rule != "breaker-open" || len(v.Findings[0].Effects) != 2 {
		t.Fatalf("found %q", rules(v.Findings))
	}
	if e := v.Findings[0].Effects; e[0].Rule != "check-failing" || e[1].Rule != "route-errors" || e[1].Subject != route || len(e[1].Evidence) < 3 {
		t.Errorf("it explains %+v", e)
	}

	in = named("http://a:8000", opens("openai_api"), failing("openai_api"), func(in *doctor.Instance) {
		b := in.Now.Breakers["openai_api"]
		b.Why.Reason = "5 failures in a row: call timeout: context deadline exceeded"
		in.Now.Breakers["openai_api"] = b
		in.Slow = slowTraces(6, "openai_api", 1300*time.Millisecond)
	})
	v = diagnose(in)
	if len(v.Findings) != 1 || v.Findings[0].Rule != "dependency-slow" || v.Findings[0].Severity != api.SeverityCritical ||
		!slices.Equal(rules(v.Findings), []string{"dependency-slow", "breaker-open", "route-errors"}) {
		t.Errorf("found %q, %+v", rules(v.Findings), v.Findings)
	}
}

// What has nothing to do with one another stays apart, the worst first.
func TestUnrelatedFindingsStayApart(t *testing.T) {
	v := diagnose(named("http://a:8000", gain("pulse_api_series_refused_total", 4), failing("github_api"), opens("openai_api"), func(in *doctor.Instance) {
		in.Now.Profiling.Overhead = new(0.2)
	}))
	want := []string{"breaker-open", "route-errors", "series-refused", "profiling-cost"}
	got := rules(v.Findings)
	slices.Sort(got[:2]) // both are critical
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	// at another server
	v = diagnose(named("http://a:8000", opens("openai_api")), named("http://b:8000", failing("openai_api")))
	if len(v.Findings) != 2 {
		t.Errorf("found %q", rules(v.Findings))
	}
}

// The same trouble at several servers is one finding that names them.
func TestFleet(t *testing.T) {
	v := diagnose(named("http://a:8000", opens("openai_api")), named("http://b:8000"), named("http://c:8000", opens("openai_api")))
	if len(v.Findings) != 1 || !slices.Equal(v.Findings[0].Instances, []string{"http://a:8000", "http://c:8000"}) {
		t.Fatalf("found %+v", v.Findings)
	}
	for _, e := range v.Findings[0].Evidence {
		if e.Instance == "" {
			t.Errorf("evidence of no instance: %+v", e)
		}
	}
	off := func(d time.Duration) change {
		return func(in *doctor.Instance) { in.Clock = &doctor.Clock{Offset: d, Within: 20 * time.Millisecond} }
	}
	version := func(v string, ago time.Duration) change {
		return func(in *doctor.Instance) { in.Version, in.StartedAt = v, noon.Add(-ago) }
	}
	for _, tt := range []struct {
		name string
		a, b change
		want string // rule and severity
	}{
		{"clocks apart", off(-time.Second), off(2 * time.Second), "clock-skew warning"},
		{"clocks within what can be told", off(-400 * time.Millisecond), off(600 * time.Millisecond), ""},
		{"this machine is wrong", off(20 * time.Second), off(20 * time.Second), "clock-skew notice"},
		{"two versions", version("1.4.0", time.Hour), version("1.5.0", time.Hour), "version-skew warning"},
		{"a rollout", version("1.4.0", time.Hour), version("1.5.0", time.Minute), "version-skew notice"},
		{"one version", version("1.4.0", time.Hour), version("1.4.0", time.Minute), ""},
	} {
		got := ""
		for _, f := range diagnose(named("http://a:8000", tt.a), named("http://b:8000", tt.b)).Findings {
			got = strings.TrimSpace(got + " " + f.Rule + " " + f.Severity)
		}
		if got != tt.want {
			t.Errorf("%s: found %q, want %q", tt.name, got, tt.want)
		}
	}
}

// What was not told is listed with the reason, and nothing is made of it: a
// Python server's is little, and of one look there are no rates.
func TestNotJudged(t *testing.T) {
	python := doctor.Instance{Name: "http://py:8000", Python: true, Now: look(0), Before: look(time.Minute), Missing: map[string]string{
		doctor.PartEvents: "this server has no events", doctor.PartStats: "a Python server knows traces only while they run",
		doctor.PartSlow: "none are kept", doctor.PartProfiling: "profiles are unreadable", doctor.PartHot: "unreadable",
	}}
	for _, l := range []*doctor.Look{&python.Now, &python.Before} {
		l.Profiling, l.Metrics = nil, nil
		l.System.Process.Goroutines, l.System.Process.CgroupMemoryLimit, l.System.Process.CPUWait = nil, nil, nil
	}
	once := well()
	once.Before = doctor.Look{}
	for name, tt := range map[string]struct {
		in   doctor.Instance
		want []string
	}{
		"python": {python, []string{"breaker-flapping", "dependency-slow", "route-errors", "route-slower", "hot-function", "profiles-dropped", "profiling-cost",
			"files", "db-pool", "cpu-host", "spans-dropped", "spans-unlogged", "traces-short", "series-refused", "clock-skew", "version-skew"}},
		"one look": {once, []string{"breaker-idle", "profiles-dropped", "cache-thrash", "redis-errors", "redis-evicts", "memory-growth", "db-pool", "restarted",
			"cpu-quota", "cpu-host", "spans-dropped", "spans-unlogged", "traces-short", "series-refused"}},
		"nothing at all": {doctor.Instance{Name: "x"}, nil},
	} {
		v := diagnose(tt.in)
		var got []string
		for _, u := range v.NotJudged {
			if u.Why == "" || !slices.Equal(u.Instances, []string{tt.in.Name}) {
				t.Errorf("%s: not whole: %+v", name, u)
			}
			got = append(got, u.Rule)
		}
		if len(v.Findings) > 0 || tt.want != nil && !slices.Equal(got, tt.want) {
			t.Errorf("%s: found %q, not judged\n%q, want\n%q", name, rules(v.Findings), got, tt.want)
		}
	}
}

// The metrics of two looks stand in for the trace statistics that a server does
// not have, if there was traffic between them.
func TestRoutesFromMetrics(t *testing.T) {
	serves := func(before, now [2]float64) doctor.Instance { // good ones, failed ones
		in := well()
		in.Stats = nil
		for i, l := range []*doctor.Look{&in.Before, &in.Now} {
			f := api.MetricFamily{Name: "pulse_api_requests_total", Type: "counter"}
			for k, status := range []string{"200", "500"} {
				f.Series = append(f.Series, api.MetricSeries{Labels: map[string]string{"method": "GET", "endpoint": "/priority", "status_code": status},
					Value: number([2][2]float64{before, now}[i][k])})
			}
			l.Metrics = append(l.Metrics, f)
		}
		return in
	}
	if got := rules(diagnose(serves([2]float64{9000, 10}, [2]float64{9060, 40})).Findings); !slices.Equal(got, []string{"route-errors"}) {
		t.Errorf("a third of the requests fails: found %q", got)
	}
	if got := rules(diagnose(serves([2]float64{9000, 10}, [2]float64{9004, 13})).Findings); len(got) > 0 {
		t.Errorf("seven requests: found %q", got)
	}
	if got := rules(diagnose(serves([2]float64{9000, 900}, [2]float64{9100, 901})).Findings); len(got) > 0 {
		t.Errorf("the errors are of before: found %q", got)
	}
}

func TestOnlyAndQuick(t *testing.T) {
	in := named("http://a:8000", opens("openai_api"), gain("pulse_api_series_refused_total", 4))
	v := doctor.Diagnose([]doctor.Instance{in}, doctor.Options{Now: noon, Only: []string{"series-refused"}})
	if v.Rules != 1 || !slices.Equal(rules(v.Findings), []string{"series-refused"}) {
		t.Errorf("only one: %d rules, %q", v.Rules, rules(v.Findings))
	}
	in.Before, in.Events, in.Stats, in.Slow, in.Hot, in.Clock = doctor.Look{}, nil, nil, nil, nil, nil
	v = doctor.Diagnose([]doctor.Instance{in}, doctor.Options{Now: noon, Quick: true})
	if len(v.NotJudged) > 0 || !slices.Equal(rules(v.Findings), []string{"breaker-open"}) {
		t.Errorf("quick: %q, not judged %v", rules(v.Findings), v.NotJudged)
	}
	if got := doctor.Unknown([]string{"files", "nope"}); !slices.Equal(got, []string{"nope"}) {
		t.Errorf("unknown: %q", got)
	}
}

// Names from outside are one argument of the command to type.
func TestNextIsSafeToPaste(t *testing.T) {
	in := named("http://a:8000", opens("x; rm -rf ~ 'y'"))
	if got, want := diagnose(in).Findings[0].Next, `pulsectl breakers show 'x; rm -rf ~ '\''y'\'''`; got != want {
		t.Errorf("next %s, want %s", got, want)
	}
}

// A fleet of fifty with a thousand breakers each is judged in a moment.
func TestManyServers(t *testing.T) {
	var all []doctor.Instance
	for i := range 50 {
		in := named(fmt.Sprintf("http://%d:8000", i))
		for k := range 1000 {
			name := fmt.Sprintf("b%d", k)
			in.Now.Breakers[name] = open(name)
		}
		all = append(all, in)
	}
	begun := time.Now()
	v := diagnose(all...)
	if took := time.Since(begun); len(v.Findings) != 1000 || took > 20*time.Second {
		t.Errorf("%d findings in %v", len(v.Findings), took)
	}
}
