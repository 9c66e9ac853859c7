package server_test

import (
	"bytes"
	"testing"
)

// contractCase is one request and what must come of it. {profile} is the id of
// a stored profile, {prefix} its beginning; {trace} and {start} are a trace's;
// {permit} is one that github_api gave.
type contractCase struct {
	ask    string
	status int
	names  string // the parameter that the problem must name
	has    string // what the answer must hold
	header []string
	send   func(testing.TB) []byte
}

func (tt contractCase) body(t testing.TB) []byte {
	if tt.send == nil {
		return nil
	}
	return tt.send(t)
}

func text(s string) func(testing.TB) []byte {
	return func(testing.TB) []byte { return []byte(s) }
}

func large(n int) func(testing.TB) []byte {
	return func(testing.TB) []byte { return bytes.Repeat([]byte{'x'}, n) }
}

var jsonBody = []string{"Content-Type", "application/json"}

var form = []string{"Content-Type", "application/x-www-form-urlencoded"}

var contractCases = []contractCase{
	{ask: "GET /monitoring/", status: 200, has: `"capabilities":["dry_run"`},
	{ask: "GET /monitoring/?unknown=ignored", status: 200},
	{ask: "GET /monitoring/openapi.json", status: 200},
	{ask: "GET /monitoring/nope", status: 404},
	{ask: "GET /monitoring/%00%0a", status: 404},
	{ask: "GET /elsewhere", status: 404},
	{ask: "DELETE /monitoring/", status: 405},
	{ask: "BREW /monitoring/circuit-breakers", status: 405},
	{ask: "PUT /monitoring/circuit-breakers/github_api/reset", status: 405},
	{ask: "GET /monitoring/circuit-breakers/github_api/reset", status: 405},

	{ask: "GET /monitoring/metrics", status: 200, has: "pulse_api_info"},
	{ask: "GET /monitoring/metrics", status: 200, has: "# EOF", header: []string{"Accept", "application/openmetrics-text;version=1.0.0"}},
	{ask: "GET /monitoring/metrics", status: 200, header: []string{"Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"}},
	{ask: "POST /monitoring/metrics", status: 405},
	{ask: "GET /monitoring/health/detailed", status: 503, has: `"error":"dial mail.internal: connection refused"`},
	{ask: "GET /monitoring/health", status: 503, has: `"status":"unhealthy"`},
	{ask: "GET /health", status: 503},
	{ask: "GET /monitoring/health/ready", status: 200, has: `"ready":true`},
	{ask: "GET /health/ready", status: 200},
	{ask: "GET /monitoring/health/live", status: 200},
	{ask: "GET /health/live", status: 200, has: `"version":"1.2.3"`},
	{ask: "POST /health/live", status: 405},
	{ask: "GET /monitoring/system/info", status: 200},
	{ask: "GET /monitoring/debug/config", status: 200},

	{ask: "GET /monitoring/circuit-breakers", status: 200, has: `"openai_api"`},
	{ask: "GET /monitoring/circuit-breakers?state=open&name=*_api", status: 200, has: "502 Bad Gateway"},
	{ask: "GET /monitoring/circuit-breakers?state=open&state=closed", status: 200, has: "github_api"},
	{ask: "GET /monitoring/circuit-breakers?state=ajar", status: 422, names: "state"},
	{ask: "GET /monitoring/circuit-breakers?name=[", status: 422, names: "name"},
	{ask: "GET /monitoring/circuit-breakers?a=%zz", status: 422, names: "query"},
	{ask: "GET /monitoring/circuit-breakers/github_api", status: 200},
	{ask: "GET /monitoring/circuit-breakers/nope", status: 404},
	{ask: "GET /monitoring/circuit-breakers/openai%2Fv1", status: 404},
	{ask: "POST /monitoring/circuit-breakers/openai_api/reset?dry_run=true", status: 200, has: `"dry_run":true`},
	{ask: "POST /monitoring/circuit-breakers/openai_api/reset?to=half_open", status: 200, has: `"previous_state":"open"`},
	{ask: "POST /monitoring/circuit-breakers/openai_api/reset?to=open", status: 422, names: "to"},
	{ask: "POST /monitoring/circuit-breakers/openai_api/reset?dry_run=maybe", status: 422, names: "dry_run"},
	{ask: "POST /monitoring/circuit-breakers/openai_api/reset?dry_run", status: 422, names: "dry_run"},
	{ask: "POST /monitoring/circuit-breakers/openai_api/reset", status: 422, names: "body", header: form, send: text("dry_run=true")},
	{ask: "POST /monitoring/circuit-breakers/nope/reset", status: 404},
	{ask: "GET /monitoring/circuit-breakers/events?limit=1000&name=openai*&since=1h", status: 200, has: `"reason":"1 failures in a row: 502 Bad Gateway"`},
	{ask: "GET /monitoring/circuit-breakers/events?stream=false", status: 200, has: `"from":"closed","to":"open"`},
	{ask: "GET /monitoring/circuit-breakers/events?stream=perhaps", status: 422, names: "stream"},
	{ask: "GET /monitoring/circuit-breakers/events?limit=0&stream=true", status: 422, names: "limit"},
	{ask: "GET /monitoring/circuit-breakers/events?since=later", status: 422, names: "since"},
	{ask: "GET /monitoring/circuit-breakers/events?name=[", status: 422, names: "name"},
	{ask: "POST /monitoring/circuit-breakers/events", status: 405},
	{ask: "POST /monitoring/circuit-breakers/github_api/force-open?dry_run=true", status: 200, has: `"state":"open","mode":"forced_open","until":`},
	{ask: "POST /monitoring/circuit-breakers/github_api/force-open?for=-1", status: 422, names: "for"},
	{ask: "POST /monitoring/circuit-breakers/github_api/disable?for=721h", status: 422, names: "for"},
	{ask: "POST /monitoring/circuit-breakers/github_api/disable?for=10m&dry_run=x", status: 422, names: "dry_run"},
	{ask: "POST /monitoring/circuit-breakers/nope/force-open", status: 404},
	{ask: "POST /monitoring/circuit-breakers/nope/automatic", status: 404},
	{ask: "POST /monitoring/circuit-breakers/github_api/force-open?for=0", status: 200, has: `"previous_state":"closed","previous_mode":"automatic","state":"open","mode":"forced_open"}`},
	{ask: "POST /monitoring/circuit-breakers/github_api/acquire", status: 503, has: `"state":"open","retry_after":`},
	{ask: "POST /monitoring/circuit-breakers/reset-all?name=github*", status: 200, has: `"reset":[],"skipped":[{"name":"github_api","reason":"forced open`},
	{ask: "POST /monitoring/circuit-breakers/github_api/automatic", status: 200, has: `"previous_mode":"forced_open","state":"half_open","mode":"automatic"`},
	{ask: "POST /monitoring/circuit-breakers/github_api/disable?for=10m", status: 200, has: `"state":"closed","mode":"disabled","until":`},
	{ask: "POST /monitoring/circuit-breakers/github_api/automatic?dry_run=true", status: 200, has: `"state":"closed","mode":"automatic","dry_run":true`},
	{ask: "POST /monitoring/circuit-breakers/github_api/automatic", status: 200, has: `"previous_mode":"disabled","state":"closed"`},
	{ask: "POST /monitoring/circuit-breakers/github_api/acquire?dry_run=true", status: 200, has: `"permit":"","state":"closed","timeout":30.0`},
	{ask: "POST /monitoring/circuit-breakers/github_api/acquire?permit={permit}", status: 200, has: `"timeout":7.0}`},
	{ask: "POST /monitoring/circuit-breakers/github_api/acquire?permit={permit}&dry_run=1", status: 200, has: `"dry_run":true`},
	{ask: "POST /monitoring/circuit-breakers/openai_api/acquire?permit={permit}", status: 404},
	{ask: "POST /monitoring/circuit-breakers/github_api/acquire?permit=nope", status: 404},
	{ask: "POST /monitoring/circuit-breakers/github_api/acquire?lease=0.5", status: 422, names: "lease"},
	{ask: "POST /monitoring/circuit-breakers/nope/acquire", status: 404},
	{ask: "POST /monitoring/circuit-breakers/nope/acquire?create=true&failure_threshold=0", status: 422, names: "failure_threshold"},
	{ask: "POST /monitoring/circuit-breakers/nope/acquire?create=true&recovery_timeout=0", status: 422, names: "recovery_timeout"},
	{ask: "POST /monitoring/circuit-breakers/nope/acquire?create=true", status: 422, names: "body", header: form, send: text("failure_threshold=2")},
	{ask: "POST /monitoring/circuit-breakers/no%20pe/acquire?create=true", status: 422, names: "name"},
	{ask: "POST /monitoring/circuit-breakers/job/acquire?create=true&dry_run=true", status: 200, has: `"created":true`},
	{ask: "GET /monitoring/circuit-breakers/job", status: 404},
	{ask: "POST /monitoring/circuit-breakers/job/acquire?create=true&failure_threshold=2&timeout=0", status: 200, has: `"created":true,"config":{"failure_threshold":2,"recovery_timeout":60.0,"success_threshold":3,"timeout":0.0`},
	{ask: "POST /monitoring/circuit-breakers/job/acquire?timeout=9", status: 200, has: `"timeout":9.0,"config":{"failure_threshold":2,`},
	{ask: "POST /monitoring/circuit-breakers/github_api/report?dry_run=true", status: 200, has: `"dry_run":true`, header: jsonBody, send: text(`{"permit":"{permit}","outcome":"success"}`)},
	{ask: "POST /monitoring/circuit-breakers/github_api/report", status: 422, names: "outcome", header: jsonBody, send: text(`{"permit":"{permit}","outcome":"fine"}`)},
	{ask: "POST /monitoring/circuit-breakers/github_api/report", status: 422, names: "permit", header: jsonBody, send: text(`{"outcome":"success"}`)},
	{ask: "POST /monitoring/circuit-breakers/github_api/report", status: 400, header: jsonBody, send: text(`permit`)},
	{ask: "POST /monitoring/circuit-breakers/github_api/report", status: 413, header: jsonBody, send: large(65 << 10)},
	{ask: "POST /monitoring/circuit-breakers/github_api/report", status: 200, has: `"state":"closed"`, header: jsonBody, send: text(`{"permit":"{permit}","outcome":"ignored"}`)},
	{ask: "POST /monitoring/circuit-breakers/github_api/report", status: 409, header: jsonBody, send: text(`{"permit":"{permit}","outcome":"ignored"}`)},
	{ask: "POST /monitoring/circuit-breakers/nope/report", status: 404, header: jsonBody, send: text(`{"permit":"{permit}","outcome":"ignored"}`)},
	{ask: "POST /monitoring/circuit-breakers/reset-all?name=none", status: 200, has: `"reset":[],"skipped":[],"total":0`},
	{ask: "POST /monitoring/circuit-breakers/reset-all?state=ajar", status: 422, names: "state"},
	{ask: "POST /monitoring/circuit-breakers/reset-all?to=open", status: 422, names: "to"},
	{ask: "POST /monitoring/circuit-breakers/reset-all", status: 200, has: `"total":3`, header: form},
	{ask: "GET /monitoring/health/detailed", status: 200, has: `"failed":0`}, // the circuits are closed again
	{ask: "GET /monitoring/health", status: 200, has: `"status":"degraded"`},
	{ask: "GET /health", status: 200},

	{ask: "GET /monitoring/cache/status", status: 200, has: `"connected":true`},
	{ask: "GET /monitoring/cache/redis/info", status: 200, has: `"role":"master"`},
	{ask: "GET /monitoring/cache/memory/stats", status: 200, has: `"prefix":"user"`},
	{ask: "POST /monitoring/cache/memory/clear?pattern=user:*&dry_run=true", status: 200, has: `"cleared":1`},
	{ask: "POST /monitoring/cache/redis/clear?pattern=user:*&dry_run=true", status: 200, has: `"cleared":1`},
	{ask: "POST /monitoring/cache/redis/clear?pattern=nope*", status: 200, has: `"cleared":0`},
	{ask: "POST /monitoring/cache/redis/clear", status: 200, has: `"cleared":1`},
	{ask: "POST /monitoring/cache/memory/clear?dry_run=", status: 422, names: "dry_run"},
	{ask: "POST /monitoring/cache/memory/clear", status: 200, has: `"cleared":1`},
	{ask: "POST /monitoring/cache/disk/clear", status: 404},
	{ask: "GET /monitoring/cache/memory/clear", status: 405},

	{ask: "GET /monitoring/traces", status: 200, has: `"status":"active"`},
	{ask: "GET /monitoring/traces?state=finished", status: 200, has: `"deadlock"`},
	{ask: "GET /monitoring/traces?state=all&view=summary&limit=1000&sort=slowest", status: 200, has: `"total":2`},
	{ask: "GET /monitoring/traces?state=all&limit=1", status: 200, has: `"next":"`},
	{ask: "GET /monitoring/traces?state=all&service=contract&status=error&min_duration=0&max_duration=1h&since=15m&until=2100-01-01T00:00:00Z&tag=db.system=postgresql&tag=ratio&q=retry", status: 200, has: `"total":1`},
	{ask: "GET /monitoring/traces?state=all&has_profile=true", status: 200, has: `"traces":[]`},
	{ask: "GET /monitoring/traces?trace_id={trace}", status: 200, has: `"trace":`},
	{ask: "GET /monitoring/traces?trace_id=", status: 200},
	{ask: "GET /monitoring/traces?trace_id=ffffffffffffffffffffffffffffffff", status: 404},
	{ask: "GET /monitoring/traces?trace_id=%20", status: 404},
	{ask: "GET /monitoring/traces?limit=0", status: 422, names: "limit"},
	{ask: "GET /monitoring/traces?limit=101", status: 422, names: "limit"},
	{ask: "GET /monitoring/traces?limit=1001&view=summary", status: 422, names: "limit"},
	{ask: "GET /monitoring/traces?limit=abc", status: 422, names: "limit"},
	{ask: "GET /monitoring/traces?view=none", status: 422, names: "view"},
	{ask: "GET /monitoring/traces?state=gone", status: 422, names: "state"},
	{ask: "GET /monitoring/traces?status=fine", status: 422, names: "status"},
	{ask: "GET /monitoring/traces?sort=name", status: 422, names: "sort"},
	{ask: "GET /monitoring/traces?min_duration=long", status: 422, names: "min_duration"},
	{ask: "GET /monitoring/traces?max_duration=-1", status: 422, names: "max_duration"},
	{ask: "GET /monitoring/traces?since=soon", status: 422, names: "since"},
	{ask: "GET /monitoring/traces?until=-5m", status: 422, names: "until"},
	{ask: "GET /monitoring/traces?tag=a~(", status: 422, names: "tag"},
	{ask: "GET /monitoring/traces?has_profile=perhaps", status: 422, names: "has_profile"},
	{ask: "GET /monitoring/traces?cursor=nonsense", status: 422, names: "cursor"},
	{ask: "GET /monitoring/traces/{trace}", status: 200, has: `"request_id":"req-1"`},
	{ask: "GET /monitoring/traces/{start}", status: 200, has: `"user_id":"ada"`},
	{ask: "GET /monitoring/traces/{trace}?format=json", status: 200},
	{ask: "GET /monitoring/traces/{trace}?format=dot", status: 422, names: "format"},
	{ask: "GET /monitoring/traces/nope", status: 404},
	{ask: "GET /monitoring/traces/cleanup", status: 405},
	{ask: "POST /monitoring/traces/cleanup?dry_run=true", status: 200, has: `"dry_run":true`},
	{ask: "POST /monitoring/traces/cleanup?max_age_seconds=60", status: 200, has: `"removed":0`},
	{ask: "POST /monitoring/traces/cleanup?max_age_seconds=59", status: 422, names: "max_age_seconds"},
	{ask: "POST /monitoring/traces/cleanup?max_age_seconds=3601", status: 422, names: "max_age_seconds"},

	{ask: "GET /monitoring/profiling/stats", status: 200},
	{ask: "GET /monitoring/profiling/profiles", status: 200, has: `"total_profiles":1`},
	{ask: "GET /monitoring/profiling/profiles?limit=50&type=goroutine&trigger=upload&since=15m&operation=job", status: 200},
	{ask: "GET /monitoring/profiling/profiles?limit=0", status: 422, names: "limit"},
	{ask: "GET /monitoring/profiling/profiles?limit=51", status: 422, names: "limit"},
	{ask: "GET /monitoring/profiling/profiles?limit=ten", status: 422, names: "limit"},
	{ask: "GET /monitoring/profiling/profiles?limit=1e1", status: 422, names: "limit"},
	{ask: "GET /monitoring/profiling/profiles?trigger=whim", status: 422, names: "trigger"},
	{ask: "GET /monitoring/profiling/profiles?since=yesterday", status: 422, names: "since"},
	{ask: "GET /monitoring/profiling/profiles?profile_id={profile}", status: 200, has: `"profile":`},
	{ask: "GET /monitoring/profiling/profiles?profile_id=nope", status: 404},
	{ask: "GET /monitoring/profiling/profiles/{profile}", status: 200},
	{ask: "GET /monitoring/profiling/profiles/{prefix}", status: 200},
	{ask: "GET /monitoring/profiling/profiles/{profile}", status: 200, header: []string{"Accept", "application/octet-stream"}},
	{ask: "GET /monitoring/profiling/profiles/{profile}?format=pprof", status: 200},
	{ask: "GET /monitoring/profiling/profiles/{profile}?format=svg", status: 422, names: "format"},
	{ask: "GET /monitoring/profiling/profiles/nope", status: 404},
	{ask: "GET /monitoring/profiling/profiles/nope?format=pprof", status: 404},
	{ask: "GET /monitoring/profiling/profiles/{profile}/top?n=3&sort=cum", status: 200},
	{ask: "GET /monitoring/profiling/profiles/{profile}/top?n=-1", status: 422, names: "n"},
	{ask: "GET /monitoring/profiling/profiles/{profile}/top?sort=name", status: 422, names: "sort"},
	{ask: "GET /monitoring/profiling/profiles/{profile}/top?focus=(", status: 422, names: "focus"},
	{ask: "GET /monitoring/profiling/profiles/nope/top", status: 404},
	{ask: "POST /monitoring/profiling/profiles?operation=job&label=k=v&label=k2=v", status: 201, send: heapProfile},
	{ask: "POST /monitoring/profiling/profiles?label=novalue", status: 422, names: "label", send: heapProfile},
	{ask: "POST /monitoring/profiling/profiles?operation=%1b[2J", status: 422, names: "operation", send: heapProfile},
	{ask: "POST /monitoring/profiling/profiles", status: 400, send: text("no profile")},
	{ask: "POST /monitoring/profiling/profiles", status: 400, send: text("\x1f\x8b\x08 half a gzip")},
	{ask: "POST /monitoring/profiling/profiles", status: 400},
	{ask: "POST /monitoring/profiling/profiles", status: 413, send: large(65 << 20)},
	{ask: "POST /monitoring/profiling/capture?type=goroutine", status: 202, has: `"profile_id":"`},
	{ask: "POST /monitoring/profiling/capture?type=heap&dry_run=true", status: 202, has: `"dry_run":true`},
	{ask: "POST /monitoring/profiling/capture?seconds=0", status: 422, names: "seconds"},
	{ask: "POST /monitoring/profiling/capture?seconds=301", status: 422, names: "seconds"},
	{ask: "POST /monitoring/profiling/capture?type=gpu", status: 422, names: "type"},
	{ask: "POST /monitoring/profiling/enable?duration=1m&slow_threshold=250ms", status: 200, has: `"enabled_until":`},
	{ask: "POST /monitoring/profiling/enable?duration=0", status: 200},
	{ask: "POST /monitoring/profiling/enable?duration=-1s", status: 422, names: "duration"},
	{ask: "POST /monitoring/profiling/enable?slow_threshold=never", status: 422, names: "slow_threshold"},
	{ask: "POST /monitoring/profiling/disable", status: 200, has: `"mode":"watch"`},
	{ask: "POST /monitoring/profiling/disable?mode=off", status: 200, has: `"mode":"off"`},
	{ask: "POST /monitoring/profiling/disable?mode=on", status: 422, names: "mode"},
	{ask: "POST /monitoring/profiling/cleanup?max_age_seconds=300", status: 200, has: `"removed":0`},
	{ask: "POST /monitoring/profiling/cleanup?max_age_seconds=299", status: 422, names: "max_age_seconds"},
	{ask: "POST /monitoring/profiling/cleanup?max_age_seconds=86401", status: 422, names: "max_age_seconds"},
}
