package render_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/check"
	"github.com/pulsectl/pulsectl/internal/condition"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

func sampleChecks(t *testing.T) []api.Result[check.Result] {
	t.Helper()
	w, err := check.ParseWords("half-open", "open", check.BreakerStates...)
	if err != nil {
		t.Fatal(err)
	}
	crit, err := check.ParseRange("1s", check.Seconds)
	if err != nil {
		t.Fatal(err)
	}
	rejected := api.Count(1284)
	breakers := check.Breakers(api.Breakers{
		"github_api": {State: api.StateClosed, Stats: api.BreakerStats{Rejected: &rejected}},
		"openai_api": {State: api.StateOpen, Why: &api.BreakerWhy{Reason: "5 failures in a row: 502 Bad Gateway \x1b[31m"}},
		"linear_api": {State: api.StateHalfOpen, LastError: "timeout"},
	}, nil, w)
	latency := check.Latency([]check.Route{{Name: "POST /priority/generate", Calls: 40, Quantiles: map[string]float64{"p95": 1.284}}}, "p95",
		check.Limits{Crit: crit, About: func(string) bool { return true }, Over: time.Second})
	return []api.Result[check.Result]{
		{Instance: "http://10.0.0.1:8000", Value: breakers},
		{Instance: "http://10.0.0.2:8000", Value: latency},
		{Instance: "http://10.0.0.3:8000", Value: check.Failed("breakers", check.Critical, "connection refused"), Error: api.Errorf(0, "connection refused")},
	}
}

func TestChecks(t *testing.T) {
	rs := sampleChecks(t)
	golden(t, "check", func(b *bytes.Buffer, o render.Options) error { return render.Checks(b, rs[:1], o) })
	golden(t, "check-fleet", func(b *bytes.Buffer, o render.Options) error { return render.Checks(b, rs, o) })
}

func sampleWaits(t *testing.T) []api.Result[[]condition.Outcome] {
	t.Helper()
	var all []*condition.Condition
	for _, text := range []string{"breaker/*=closed", "health=healthy", `pulse_api_circuit_breaker_state{name="github_api"}<1`} {
		c, err := condition.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	seen := condition.Seen{Health: api.Health{Status: api.Healthy}, Breakers: api.Breakers{
		"github_api": {State: api.StateHalfOpen, Why: &api.BreakerWhy{Reason: "5 failures in a row: 502 Bad Gateway"}},
		"openai_api": {State: api.StateOpen, Mode: api.ModeForcedOpen, Forced: &api.BreakerForced{Actor: "ada\x1b[31m"}},
	}}
	rs := []api.Result[[]condition.Outcome]{{Instance: "http://10.0.0.1:8000"}, {Instance: "http://10.0.0.2:8000", Error: api.Errorf(0, "connection refused")}}
	for _, c := range all {
		rs[0].Value = append(rs[0].Value, c.Judge(&seen))
		rs[1].Value = append(rs[1].Value, c.Unasked("connection refused"))
	}
	return rs
}

func TestWaited(t *testing.T) {
	rs := sampleWaits(t)
	golden(t, "wait", func(b *bytes.Buffer, o render.Options) error { return render.Waited(b, rs[:1], o) })
	golden(t, "wait-fleet", func(b *bytes.Buffer, o render.Options) error { return render.Waited(b, rs, o) })
}

// What is waited for fits the terminal, however many lines it has.
func TestWaiting(t *testing.T) {
	rs := sampleWaits(t)
	golden(t, "waiting", func(b *bytes.Buffer, o render.Options) error {
		_, err := b.WriteString(strings.Join(render.Waiting(rs, 83*time.Second, 5*time.Minute, 12, o), "\n") + "\n")
		return err
	})
	lines := render.Waiting(rs, 0, 0, 3, render.Options{Width: 20})
	if len(lines) != 3 || lines[2] != "  and 4 more" || strings.Contains(strings.Join(lines, ""), "\x1b") {
		t.Errorf("%q", lines)
	}
}
