package render_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// looks are the ways in which every screen is drawn for its golden files.
var looks = []struct {
	name string
	o    render.Options
}{
	{"60", render.Options{Width: 60, Now: noon}},
	{"80", render.Options{Width: 80, Now: noon}},
	{"140", render.Options{Width: 140, Now: noon}},
	{"80-dark", render.Options{Width: 80, Now: noon, Color: render.TrueColor}},
	{"80-light-16", render.Options{Width: 80, Now: noon, Color: render.Color16, Light: true}},
}

// golden draws a screen in each look, holds it against its golden file and
// checks what is true of all screens: no line is too wide or ends in a blank.
func golden(t *testing.T, name string, draw func(*bytes.Buffer, render.Options) error) {
	t.Helper()
	for _, l := range looks {
		var out bytes.Buffer
		if err := draw(&out, l.o); err != nil {
			t.Fatal(err)
		}
		testkit.Golden(t, name+"-"+l.name+".golden", out.Bytes())
		if l.o.Color != render.NoColor {
			continue
		}
		for line := range strings.Lines(out.String()) {
			line = strings.TrimSuffix(line, "\n")
			if n := len([]rune(line)); n > l.o.Width {
				t.Errorf("%s at %s: a line of %d cells: %q", name, l.name, n, line)
			}
			if strings.HasSuffix(line, " ") {
				t.Errorf("%s at %s: a line ends in a blank: %q", name, l.name, line)
			}
		}
	}
}

func unix(ago time.Duration) *api.Time {
	t := api.Unix(noon.Add(-ago).UnixNano())
	return &t
}

func sampleBreaker(name string, state api.State, failures, threshold api.Count, calls int64, rate float64, p95, since time.Duration, load ...float64) api.Breaker {
	return api.Breaker{
		Name: name, State: state, Mode: api.ModeAutomatic, Since: unix(since), RetryAt: &api.Time{}, Scope: "local",
		Stats: api.BreakerStats{
			TotalRequests: api.Count(calls), ConsecutiveFailures: failures, FailureRate: rate, SuccessRate: 1 - rate,
			Rejected: api.CountOf(7), SlowCalls: api.CountOf(2), InFlight: api.CountOf(1),
			Window: &api.BreakerWindow{Seconds: api.Seconds(time.Minute), Calls: 100, FailureRate: rate, P95: api.Seconds(p95), FailuresPerSecond: load},
		},
		Config: api.BreakerConfig{FailureThreshold: threshold, RecoveryTimeout: api.Seconds(time.Minute), SuccessThreshold: 3, Timeout: api.Seconds(30 * time.Second)},
	}
}

func sampleBreakers() api.Breakers {
	openai := sampleBreaker("openai_api", api.StateOpen, 5, 5, 1284, 0.312, 8400*time.Millisecond, 38*time.Second, 0, 0, 1, 0, 0, 1, 2, 1, 3, 5, 4, 6, 7, 8, 8, 8, 7, 8)
	openai.RetryAt = unix(-22 * time.Second)
	openai.LastError = "502 from \x1b[2Jhttp://127.0.0.1:9"
	openai.Stats.LastFailureTime = *unix(38 * time.Second)
	all := api.Breakers{}
	for _, b := range []api.Breaker{
		openai,
		sampleBreaker("linear_api", api.StateHalfOpen, 2, 5, 4127, 0.0804, 640*time.Millisecond, 64*time.Second, 0, 0, 0, 2, 4, 7, 8, 6, 5, 3, 2, 1, 1, 0, 0, 1, 0, 0),
		sampleBreaker("github_api", api.StateClosed, 0, 3, 52114, 0.0011, 212*time.Millisecond, 75*time.Hour, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		sampleBreaker("postgres", api.StateClosed, 0, 10, 918244, 0, 4200*time.Microsecond, 27*24*time.Hour, make([]float64, 18)...),
		sampleBreaker("redis", api.StateClosed, 0, 10, 2408113, 0, 310*time.Microsecond, 27*24*time.Hour, make([]float64, 18)...),
	} {
		all[b.Name] = b
	}
	return all
}

func TestBreakers(t *testing.T) {
	one := []api.Result[api.Breakers]{{Instance: "http://127.0.0.1:8000", Value: sampleBreakers()}}
	golden(t, "breakers", func(w *bytes.Buffer, o render.Options) error { return render.Breakers(w, one, o) })
	fleet := append(one, api.Result[api.Breakers]{Instance: "http://10.0.0.2:8000", Error: &api.Error{Detail: "connection refused"}})
	golden(t, "breakers-fleet", func(w *bytes.Buffer, o render.Options) error { return render.Breakers(w, fleet, o) })
	forced := sampleBreakers()
	for name, mode := range map[string]api.Mode{"openai_api": api.ModeForcedOpen, "redis": api.ModeDisabled} {
		b := forced[name]
		b.Mode, b.Forced = mode, &api.BreakerForced{Since: *b.Since, Until: unix(-14 * time.Minute)}
		forced[name] = b
	}
	golden(t, "breakers-forced", func(w *bytes.Buffer, o render.Options) error {
		return render.Breakers(w, []api.Result[api.Breakers]{{Instance: "http://127.0.0.1:8000", Value: forced}}, o)
	})
	python := []api.Result[api.Breakers]{{Instance: "http://py", Value: api.Breakers{"narrow": {Name: "narrow", State: api.StateClosed}}}}
	golden(t, "breakers-python", func(w *bytes.Buffer, o render.Options) error { return render.Breakers(w, python, o) })
}

func TestBreaker(t *testing.T) {
	rs := []api.Result[api.Breaker]{{Instance: "http://127.0.0.1:8000", Value: sampleBreakers()["openai_api"]}}
	golden(t, "breaker", func(w *bytes.Buffer, o render.Options) error { return render.Breaker(w, rs, o) })
}

// A fleet of two: one shares its breakers, the other has lost its Redis.
func TestBreakerScope(t *testing.T) {
	shared, alone := sampleBreakers(), sampleBreakers()
	for name, b := range shared {
		b.Scope = api.ScopeShared
		shared[name] = b
		b.Scope, b.ScopeNote = api.ScopeLocal, "this replica decides alone until redis is back: dial tcp 10.0.0.9:6379: connect: connection refused"
		alone[name] = b
	}
	fleet := []api.Result[api.Breakers]{{Instance: "http://10.0.0.1:8000", Value: shared}, {Instance: "http://10.0.0.2:8000", Value: alone}}
	golden(t, "breakers-scope", func(w *bytes.Buffer, o render.Options) error { return render.Breakers(w, fleet, o) })
	one := []api.Result[api.Breaker]{{Instance: "http://10.0.0.2:8000", Value: alone["openai_api"]}}
	golden(t, "breaker-scope", func(w *bytes.Buffer, o render.Options) error { return render.Breaker(w, one, o) })
}

func TestBreakerResets(t *testing.T) {
	v := api.BreakersReset{Total: api.CountOf(3), Reset: []api.ResetBreaker{
		{Name: "github_api", PreviousState: api.StateClosed}, {Name: "openai_api", PreviousState: api.StateOpen},
	}, Skipped: []api.SkippedBreaker{{Name: "linear_api", Reason: "forced open"}}}
	rs := []api.Result[api.BreakersReset]{{Instance: "http://a", Value: v}, {Instance: "http://b", Error: &api.Error{Detail: "no answer in time"}}}
	golden(t, "resets", func(w *bytes.Buffer, o render.Options) error {
		return render.BreakerResets(w, rs, api.StateHalfOpen, o)
	})
}

// Why it is open, by whom it was forced, what failed, and what to type next.
func TestBreakerWhy(t *testing.T) {
	b := sampleBreakers()["openai_api"]
	b.Why = &api.BreakerWhy{
		Reason: "26 of 50 calls failed: 502 Bad Gateway from http://127.0.0.1:9", OpenedAt: *unix(38 * time.Second), TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
		Rejected: 1204, Failed: 2,
		Threshold: &api.BreakerThreshold{Kind: "failure_rate", Limit: 0.5, Value: 0.52, Calls: 50, Failures: 26, Over: "1m0s"},
	}
	b.Config.FailureRate, b.Config.MinCalls, b.Config.Backoff, b.Config.MaxRecovery, b.Config.Probes = 0.5, 20, 2, api.Seconds(10*time.Minute), 2
	b.Errors = []api.BreakerError{
		{Kind: "http_502", Message: "502 Bad Gateway \x1b[2J", Count: 24, Last: *unix(38 * time.Second)},
		{Kind: "timeout", Message: "no answer in 30s", Count: 2, Last: *unix(5 * time.Minute)},
	}
	one := func(b api.Breaker) []api.Result[api.Breaker] {
		return []api.Result[api.Breaker]{{Instance: "http://127.0.0.1:8000", Value: b}}
	}
	golden(t, "breaker-why", func(w *bytes.Buffer, o render.Options) error { return render.Breaker(w, one(b), o) })
	b.Mode, b.Why.Threshold, b.Why.Reason = api.ModeForcedOpen, &api.BreakerThreshold{Kind: "forced"}, "forced open: INC-42 github outage"
	b.Forced = &api.BreakerForced{Since: *unix(38 * time.Second), Until: unix(-14 * time.Minute), Actor: "ada", Reason: "forced open: INC-42 github outage"}
	golden(t, "breaker-forced", func(w *bytes.Buffer, o render.Options) error { return render.Breaker(w, one(b), o) })
}

func sampleEvents() []api.BreakerEvent {
	return []api.BreakerEvent{
		{Seq: 4, Time: *unix(12 * time.Second), Name: "github_api", From: api.StateClosed, To: api.StateOpen, Mode: api.ModeForcedOpen, Until: unix(-15 * time.Minute), Reason: "forced open: INC-42 github outage", Actor: "ada"},
		{Seq: 3, Time: *unix(38 * time.Second), Name: "openai_api", From: api.StateHalfOpen, To: api.StateOpen, Mode: api.ModeAutomatic, Reason: "the probe failed: 502 Bad Gateway from \x1b[2Jhttps://api.openai.com/v1/chat/completions", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736"},
		{Seq: 2, Time: *unix(98 * time.Second), Name: "openai_api", From: api.StateOpen, To: api.StateHalfOpen, Mode: api.ModeAutomatic, Reason: "recovery timeout is over", Remote: true},
		{Seq: 1, Time: *unix(158 * time.Second), Name: "openai_api", From: api.StateClosed, To: api.StateOpen, Mode: api.ModeAutomatic, Reason: "5 failures in a row: 502 Bad Gateway", TraceID: "b7ad6b7169203331a3ce929d0e0e4736", Lost: 3},
	}
}

func TestBreakerEvents(t *testing.T) {
	rs := []api.Result[api.BreakerEvents]{{Instance: "http://127.0.0.1:8000", Value: api.BreakerEvents{Events: sampleEvents()}}}
	golden(t, "breaker-events", func(w *bytes.Buffer, o render.Options) error { return render.BreakerEvents(w, rs, o) })
	older := sampleEvents()
	older[3].Time = *unix(30 * time.Hour)
	fleet := []api.Result[api.BreakerEvents]{
		{Instance: "http://10.0.0.1:8000", Value: api.BreakerEvents{Events: older}}, {Instance: "http://10.0.0.2:8000", Error: &api.Error{Detail: "connection refused"}},
	}
	golden(t, "breaker-events-fleet", func(w *bytes.Buffer, o render.Options) error { return render.BreakerEvents(w, fleet, o) })
	golden(t, "breaker-events-followed", func(w *bytes.Buffer, o render.Options) error {
		for _, e := range sampleEvents() {
			if err := render.BreakerEvent(w, "http://10.0.0.1:8000", e, o); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestBreakerChanges(t *testing.T) {
	b := sampleBreakers()["github_api"]
	rs := []api.Result[[]api.BreakerChange]{
		{Instance: "http://10.0.0.1:8000", Value: []api.BreakerChange{
			{Breaker: &b, PreviousState: api.StateClosed, PreviousMode: api.ModeAutomatic, State: api.StateOpen, Mode: api.ModeForcedOpen, Until: unix(-15 * time.Minute)},
			{Breaker: &b, PreviousState: api.StateOpen, PreviousMode: api.ModeForcedOpen, State: api.StateHalfOpen, Mode: api.ModeAutomatic},
			{Breaker: &b, PreviousState: api.StateClosed, PreviousMode: api.ModeAutomatic, State: api.StateClosed, Mode: api.ModeDisabled, DryRun: true},
			{Breaker: &b, PreviousState: api.StateClosed, PreviousMode: api.ModeAutomatic, State: api.StateClosed, Mode: api.ModeAutomatic},
		}},
		{Instance: "http://10.0.0.12:8000", Error: &api.Error{Detail: "connection refused"}},
	}
	golden(t, "breaker-changes", func(w *bytes.Buffer, o render.Options) error { return render.BreakerChanges(w, rs, o) })
}
