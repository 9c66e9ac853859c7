package render_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

func sampleFindings() []api.Finding {
	return []api.Finding{
		{
			Rule: "dependency-slow", Subject: "openai_api", Severity: api.SeverityCritical, Confidence: 0.95,
			Cause: "openai_api is slow: POST /priority/generate waits for it.",
			Evidence: []api.Evidence{
				{Text: "in 18 of 18 traces of POST /priority/generate that took more than 1s, half of them 1.53s or longer, it is 96% of the critical path (median)", Source: "traces"},
				{Text: "about 28 of 223 requests of the route in 5m00s were slow", Source: "traces/stats"},
			},
			Next: "pulsectl traces show 6c4f38b5db36bb9a9166f6bf6a53b386", Instances: []string{"http://127.0.0.1:8000"},
			Effects: []api.Effect{
				{Rule: "breaker-open", Subject: "openai_api", Severity: api.SeverityCritical, Cause: "Circuit breaker openai_api is open: 5 failures in a row: call timeout."},
				{Rule: "route-errors", Subject: "POST /priority/generate", Severity: api.SeverityWarning, Cause: "POST /priority/generate fails for 12% of its requests."},
			},
		},
		{
			Rule: "check-failing", Subject: "search", Severity: api.SeverityWarning, Confidence: 0.95, Cause: "Health check search is degraded: the index is \x1b[2J1m30s behind.",
			Evidence: []api.Evidence{{Text: "it took 1.2ms", Source: "health/detailed", Instance: "http://127.0.0.1:8000"}}, Next: "pulsectl health search",
			Instances: []string{"http://127.0.0.1:8000", "http://127.0.0.1:8001"},
		},
		{
			Rule: "version-skew", Severity: api.SeverityNotice, Confidence: 0.6, Cause: "Replicas run 2 versions; one began 4m00s ago, so a rollout may be on its way.",
			Evidence: []api.Evidence{{Text: "1.4.0: http://127.0.0.1:8000", Source: "monitoring/"}, {Text: "1.5.0: http://127.0.0.1:8001", Source: "monitoring/"}},
			Next:     "pulsectl status", Instances: []string{"http://127.0.0.1:8000", "http://127.0.0.1:8001"},
		},
	}
}

func TestDoctor(t *testing.T) {
	fleet := api.Diagnosis{
		Instances: []string{"http://127.0.0.1:8000", "http://127.0.0.1:8001"}, Interval: api.Seconds(5 * time.Second), Rules: 34, Findings: sampleFindings(),
		NotJudged: []api.Unjudged{
			{Rule: "route-slower", Why: "4 routes without enough of a past: fewer than 100 requests in 2m00s", Instances: []string{"http://127.0.0.1:8000", "http://127.0.0.1:8001"}},
			{Rule: "memory-growth", Why: "5s are too short to tell growth from garbage: --for 30s", Instances: []string{"http://127.0.0.1:8001"}},
		},
	}
	silent := []api.Result[struct{}]{{Instance: "http://127.0.0.1:8002", Error: &api.Error{Detail: "connection refused"}}}
	golden(t, "doctor-fleet", func(w *bytes.Buffer, o render.Options) error { return render.Doctor(w, fleet, silent, o) })
	one := fleet
	one.Instances, one.Findings = one.Instances[:1], one.Findings[:1]
	golden(t, "doctor", func(w *bytes.Buffer, o render.Options) error { return render.Doctor(w, one, nil, o) })
	well := api.Diagnosis{Instances: one.Instances, Interval: one.Interval, Rules: 34}
	golden(t, "doctor-well", func(w *bytes.Buffer, o render.Options) error { return render.Doctor(w, well, nil, o) })
	rules := []api.DoctorRule{{Rule: "breaker-open", Looks: 1, About: "a breaker rejects calls, and why it opened"}, {Rule: "cpu-host", Looks: 2, About: "the host has too few processors for what runs on it"}}
	golden(t, "doctor-rules", func(w *bytes.Buffer, o render.Options) error { return render.DoctorRules(w, rules, o) })
}
