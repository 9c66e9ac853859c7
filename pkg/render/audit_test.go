package render_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

func TestAudit(t *testing.T) {
	a := api.Audit{Total: 212, Dropped: 7, Entries: []api.AuditEntry{
		{Time: *unix(38 * time.Second), Actor: "ops", Reason: "INC-42 github outage over", Action: "breakers.reset", Target: "github_api",
			Before: "open", After: "closed", Status: 200, RequestID: "8f14e45fceea167a5a36dedd4bea2543"},
		{Time: *unix(64 * time.Second), Actor: "127.0.0.1:48978", Action: "cache.redis.clear", Target: "user:\x1b[2J*",
			Before: map[string]any{"omitted": true, "bytes": 18230.0}, After: 1204.0, Status: 502, RequestID: "c9f0f895fb98ab9159f51fd0297e236d"},
		{Time: *unix(2 * time.Minute), Actor: "ops", Reason: "INC-42", Action: "breakers.force_open", Target: "linear_api",
			Before: map[string]any{"state": "half_open", "mode": "automatic"}, After: map[string]any{"state": "open", "mode": "forced_open", "for": "15m0s"},
			Status: 200, RequestID: "6512bd43d9caa6e02c990b0a82652dca"},
		{Time: *unix(27 * 24 * time.Hour), Actor: "deploy", Action: "profiling.enable", After: "on", Status: 200, RequestID: "45c48cce2e2d7fbdea1afc51c7c6ad26"},
	}}
	one := []api.Result[api.Audit]{{Instance: "http://127.0.0.1:8000", Value: a}}
	golden(t, "audit", func(w *bytes.Buffer, o render.Options) error { return render.Audit(w, one, o) })
	fleet := append(one, refused[api.Audit]("http://10.0.0.2:8000"), api.Result[api.Audit]{Instance: "http://10.0.0.3:8000"})
	golden(t, "audit-fleet", func(w *bytes.Buffer, o render.Options) error { return render.Audit(w, fleet, o) })
	none := []api.Result[api.Audit]{{Instance: "http://10.0.0.3:8000"}}
	golden(t, "audit-none", func(w *bytes.Buffer, o render.Options) error { return render.Audit(w, none, o) })
	golden(t, "audit-tail", func(w *bytes.Buffer, o render.Options) error {
		for i, e := range a.Entries {
			where := ""
			if i == 3 {
				where = "http://10.0.0.2:8000"
			}
			if err := render.AuditChange(w, where, e, o); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestAuditCheck(t *testing.T) {
	head := strings.Repeat("0f8a", 16)
	whole := api.AuditCheck{Entries: 412, First: 13, Last: 424, Since: unix(27 * 24 * time.Hour), Until: unix(38 * time.Second), Head: head, Whole: true}
	broken := whole
	broken.Unchained, broken.Whole, broken.Breaks = 3, false, []api.AuditBreak{{Seq: 13, Detail: "the entry was changed: its hash is another"}, {Seq: 201, Detail: "entries 198 to 200 are missing"}}
	for name, rs := range map[string][]api.Result[api.AuditCheck]{
		"audit-whole":  {{Instance: "http://127.0.0.1:8000", Value: whole}},
		"audit-broken": {{Instance: "http://127.0.0.1:8000", Value: broken}},
		"audit-checks": {{Instance: "http://10.0.0.1:8000", Value: whole}, refused[api.AuditCheck]("http://10.0.0.2:8000"), {Instance: "http://10.0.0.3:8000", Value: api.AuditCheck{Whole: true}}},
	} {
		golden(t, name, func(w *bytes.Buffer, o render.Options) error { return render.AuditCheck(w, rs, o) })
	}
}
