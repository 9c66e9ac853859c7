package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	verdict "github.com/pulsectl/pulsectl/internal/check"
	"github.com/pulsectl/pulsectl/internal/condition"
	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/internal/schema"
	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// kinds says what the items of each kind of envelope are.
var kinds = map[string]reflect.Type{
	"Status": reflect.TypeFor[api.Overview](), "Health": reflect.TypeFor[api.Health](), "HealthCheck": reflect.TypeFor[namedCheck](), "System": reflect.TypeFor[api.System](),
	"DoctorReport": reflect.TypeFor[api.Diagnosis](), "DoctorRuleList": reflect.TypeFor[api.DoctorRule](),
	"AuditList": reflect.TypeFor[api.AuditEntry](), "ContextList": reflect.TypeFor[namedContext](), "Context": reflect.TypeFor[namedContext](), "ConfigView": reflect.TypeFor[setting](), "Version": reflect.TypeFor[build](),
	"BreakerList": reflect.TypeFor[api.Breaker](), "Breaker": reflect.TypeFor[api.Breaker](), "BreakerEventList": reflect.TypeFor[api.BreakerEvent](),
	"BreakerResetList": reflect.TypeFor[api.ResetBreaker](), "BreakerChangeList": reflect.TypeFor[api.BreakerChange](),
	"TraceList": reflect.TypeFor[api.Trace](), "Trace": reflect.TypeFor[waterfall.Explained](), "TraceDiff": reflect.TypeFor[waterfall.Diff](), "TraceStats": reflect.TypeFor[api.OperationStats](),
	"ServiceGraph": reflect.TypeFor[api.ServiceGraph](), "TraceImport": reflect.TypeFor[imported](), "TraceCleanup": reflect.TypeFor[api.Cleanup](),
	"ProfileList": reflect.TypeFor[api.Profile](), "Profile": reflect.TypeFor[api.Profile](), "ProfileTop": reflect.TypeFor[api.TopEntry](), "ProfilingStats": reflect.TypeFor[api.ProfilingStats](),
	"ProfilingSwitch": reflect.TypeFor[api.ProfilingSwitch](), "ProfileCapture": reflect.TypeFor[api.ProfileStarted](), "ProfileCleanup": reflect.TypeFor[api.Cleanup](),
	"CacheStatus": reflect.TypeFor[api.CacheStatus](), "RedisInfo": reflect.TypeFor[api.RedisStats](), "CacheKeyList": reflect.TypeFor[api.CacheKey](), "CacheCleared": reflect.TypeFor[api.CacheCleared](),
	"MetricList": reflect.TypeFor[api.MetricFamily](), "Metric": reflect.TypeFor[api.MetricFamily](),
	"ProfileFlame": reflect.TypeFor[hotspot.FlameGraph](), "ProfileTree": reflect.TypeFor[hotspot.GraphEntry](), "ProfileTags": reflect.TypeFor[hotspot.TagKey](),
	"ProfileDiff": reflect.TypeFor[render.ProfileDiffShown](), "ProfileUpload": reflect.TypeFor[api.Profile](),
	"CheckResult": reflect.TypeFor[verdict.Result](), "WaitResult": reflect.TypeFor[condition.Outcome](),
	"RouteRateList": reflect.TypeFor[api.RouteRate](), "MetricRateList": reflect.TypeFor[api.MetricRate](), "SnapshotList": reflect.TypeFor[api.Snapshot](), "AuditCheck": reflect.TypeFor[api.AuditCheck](),
	"AlertRuleList": reflect.TypeFor[groupedRule](), "RuleFileList": reflect.TypeFor[api.RuleFile](), "QueryResult": reflect.TypeFor[api.QuerySeries](), "ExemplarList": reflect.TypeFor[api.Exemplar](),
}

// selfEncoded are the types that encode themselves.
var selfEncoded = func() schema.Types {
	type object = schema.Object
	unixSeconds := object{"type": []string{"number", "null"}, "description": "seconds since 1970; null for never"}
	check := object{"type": "object", "properties": object{
		"status": object{"type": "string"}, "latency_ms": object{"type": "number"}, "error": object{"type": "string"},
		"critical": object{"type": "boolean"}, "last_ok": unixSeconds,
	}, "required": []string{"status", "latency_ms"}}
	return schema.Types{
		reflect.TypeFor[api.Time]():       unixSeconds,
		reflect.TypeFor[api.Seconds]():    {"type": "number", "description": "seconds"},
		reflect.TypeFor[api.Nano]():       {"type": "string", "pattern": "^-?[0-9]+$", "description": "nanoseconds since 1970"},
		reflect.TypeFor[api.Float]():      {"anyOf": []any{object{"type": "number"}, object{"enum": []string{"NaN", "+Inf", "-Inf"}}}},
		reflect.TypeFor[api.Check]():      check,
		reflect.TypeFor[verdict.Status](): {"enum": []string{"ok", "warning", "critical", "unknown"}},
		reflect.TypeFor[api.QueryPoint](): {"type": "array", "prefixItems": []any{unixSeconds, object{"type": "string"}}, "description": "a time and a value as text"},
		reflect.TypeFor[api.AlertValue](): {"type": "string", "description": "a number as Prometheus writes it"},
		reflect.TypeFor[namedCheck]():     {"allOf": []any{object{"type": "object", "properties": object{"name": object{"type": "string"}}, "required": []string{"name"}}, check}},
		reflect.TypeFor[api.SpanLog](): {"type": "object", "properties": object{
			"timestamp": unixSeconds, "level": object{"type": "string"}, "message": object{"type": "string"},
		}, "required": []string{"timestamp", "level", "message"}},
	}
}()

const schemas = "../../docs/schema"

// docs/schema holds the schema of each kind, as the types are. -update writes them.
func TestSchemas(t *testing.T) {
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sources {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\bkind: +"([A-Za-z]+)"|View\("([A-Z][A-Za-z]+)"`).FindAllStringSubmatch(string(src), -1) {
			if kind := m[1] + m[2]; kinds[kind] == nil && !strings.HasSuffix(name, "_test.go") {
				t.Errorf("%s shows the kind %s, of which schema_test.go knows no type", name, kind)
			}
		}
	}
	files, err := filepath.Glob(schemas + "/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if kinds[strings.TrimSuffix(filepath.Base(file), ".json")] == nil {
			t.Errorf("%s is of no kind", file)
		}
	}
	page, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	for kind, item := range kinds {
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(schema.Envelope(kind, item, selfEncoded)); err != nil {
			t.Fatal(err)
		}
		testkit.Golden(t, filepath.Join("..", schemas, kind+".json"), out.Bytes()) // beside testdata
		if !bytes.Contains(page, []byte("`"+kind+"`")) {
			t.Errorf("docs/cli.md does not name the kind %s", kind)
		}
	}
}

// checkSchema tells what of an envelope is not as its schema says.
func checkSchema(envelope []byte) (kind string, err error) {
	var head struct{ Kind string }
	if err := json.Unmarshal(envelope, &head); err != nil {
		return "", err
	}
	s, err := jsonschema.NewCompiler().Compile(filepath.Join(schemas, head.Kind+".json"))
	if err != nil {
		return head.Kind, err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(envelope))
	if err != nil {
		return head.Kind, err
	}
	return head.Kind, s.Validate(v)
}

// validScript is the scripts' command valid: what was written last, an envelope
// of the kind that it names, is as the schema says and has an item.
func validScript(ts *testscript.TestScript, _ bool, args []string) {
	out := ts.ReadFile("stdout")
	kind, err := checkSchema([]byte(out))
	if err != nil || len(args) != 1 || kind != args[0] || !strings.Contains(out, `"items": [
    {`) {
		ts.Fatalf("%s: %v", kind, err)
	}
}

// What each command really writes is as the schema of its kind says, of this
// project's servers, of a Python one, and of one that does not answer.
func TestOutputIsAsTheSchemas(t *testing.T) {
	ts := startServer(t.Context(), t, true)
	t.Cleanup(ts.Close)
	python := testkit.NewPython(t)
	t.Cleanup(python.Close)
	file := filepath.Join(t.TempDir(), "trace.json")
	env := configured(t, "contexts:\n  prod:\n    servers: [%s]\n    theme: dark\n", ts.URL)
	env["PULSECTL_SERVER"] = strings.Join([]string{ts.URL, python.URL, "http://127.0.0.1:1"}, ",")
	seen := map[string]int{}
	for _, command := range []string{
		"version", "status", "doctor --for 0", "doctor --list-rules", "wait ready --timeout 100ms", "check breakers", "check health", "check cache", "health", "health database", "system", "audit list", "context list", "context show prod", "config view",
		"breakers list", "breakers show openai_api", "breakers events", "traces list", "traces list --spans", "traces show @slowest", "traces diff @slowest @p50",
		"traces stats --interval 1m", "traces services", "traces cleanup --dry-run", "profiles list", "profiles stats", "profiles capture --type goroutine", "profiles list", "profiles show LAST", "profiles top",
		"cache status", "cache keys memory", "cache info redis", "cache clear memory user:* --dry-run", "metrics list", "metrics top --rate 200ms", "metrics top pulse_* --rate 200ms", "audit list --verify", "metrics get go_gc_duration_seconds", "metrics get pulse_api_request_duration_seconds",
		"alerts list", "metrics query pulse_api_external_errors_total", "metrics exemplars pulse_api_external_duration_seconds",
		"breakers open github_api --for 1m -y", "breakers events", "breakers enable github_api", "breakers reset openai_api", "breakers reset-all", "profiles enable --dry-run", "profiles cleanup --dry-run", "audit list",
	} {
		args := strings.Fields(strings.ReplaceAll(command, "FILE", file))
		if i := slices.Index(args, "LAST"); i >= 0 {
			name, _, _ := asked(t, env, "profiles", "list", "-o", "name", "-s", ts.URL)
			args[i], _, _ = strings.Cut(name, "\n")
		}
		out, said, status := asked(t, env, append(args, "-o", "json")...)
		if command == "traces show @slowest" {
			one, _, _ := asked(t, env, append(args, "-o", "json", "-s", ts.URL)...)
			if err := os.WriteFile(file, []byte(one), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		kind, err := checkSchema([]byte(out))
		if err != nil {
			t.Errorf("%s: status %d, %v\n%.1500s%.300s", command, status, err, out, said)
		}
		seen[kind] += strings.Count(out, `"instance"`) - strings.Count(out, `"detail"`)
	}
	for kind := range kinds {
		byScripts := slices.Contains([]string{"RedisInfo", "RuleFileList", "TraceImport", "RouteRateList", "MetricRateList", "ProfileFlame", "ProfileTree", "ProfileTags", "ProfileDiff", "ProfileUpload", "SnapshotList"}, kind)
		if seen[kind] == 0 && !byScripts {
			t.Errorf("no item of the kind %s was seen", kind)
		}
	}
}
