// Package pulsectl_test holds the map of the house: which package may import
// which. A new arrow is a change of design; its commit says why.
package pulsectl_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pulsectl/pulsectl/"

// rooms says for each package which of ours it may import.
var rooms = map[string][]string{
	"pkg/api":                      {},
	"pkg/monitoring/metric":        {"pkg/api"},
	"pkg/monitoring/tracing":       {"pkg/api", "internal/otlp"},
	"pkg/monitoring/profiling":     {"pkg/api", "internal/exectrace", "internal/hotspot"},
	"pkg/monitoring/breaker":       {"pkg/api"},
	"pkg/monitoring/breaker/fleet": {"pkg/api", "pkg/monitoring/breaker"},
	"pkg/monitoring/cache":         {"pkg/api"},
	"pkg/monitoring/health":        {"pkg/api"},
	"pkg/monitoring/process":       {"pkg/api"},
	"pkg/monitoring":               {"pkg/api", "pkg/monitoring/*", "internal/server"},
	"internal/server":              {"pkg/api", "pkg/monitoring/*", "internal/hotspot", "internal/traceformat", "internal/snapshot"},
	"internal/snapshot":            {"pkg/api"},
	"internal/replay":              {"pkg/api", "pkg/client", "pkg/monitoring/*", "internal/server", "internal/snapshot"},
	"internal/otlp":                {},
	"internal/child":               {},
	"internal/contexts":            {},
	"internal/schema":              {},
	"internal/tracedb":             {},
	"internal/datadir":             {"pkg/api", "internal/tracedb", "pkg/monitoring/tracing", "pkg/monitoring/profiling"},
	"internal/traceformat":         {"internal/otlp"},
	"internal/jaegerapi":           {"pkg/api", "pkg/monitoring/tracing", "internal/traceformat"},
	"internal/receiver":            {"pkg/api", "internal/traceformat"},
	"internal/gotemplate":          {},
	"internal/rules":               {"pkg/api", "internal/gotemplate"},
	"internal/hotspot":             {"pkg/api"},
	"internal/live":                {"pkg/api", "pkg/render", "pkg/client", "internal/hotspot", "internal/scrape", "internal/waterfall"},
	"internal/exectrace":           {"pkg/api", "internal/hotspot"},
	"internal/waterfall":           {"pkg/api"},
	"internal/scrape":              {"pkg/api"},
	"internal/doctor":              {"pkg/api", "internal/scrape", "internal/waterfall"},
	"internal/condition":           {"pkg/api"},
	"internal/shipped":             {},
	"internal/check":               {"pkg/api", "internal/condition"},
	"internal/demo":                {"pkg/api", "pkg/monitoring", "pkg/monitoring/*"},
	"internal/testkit":             {},
	"pkg/client":                   {"pkg/api"},
	"pkg/render":                   {"pkg/api", "internal/hotspot", "internal/waterfall", "internal/scrape", "internal/condition", "internal/check"},
	"cmd/pulsectl":                 {"pkg/*", "internal/*"},
}

func TestImports(t *testing.T) {
	for line := range strings.Lines(list(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")) {
		f := strings.Fields(line)
		from, ours := strings.CutPrefix(f[0], module)
		if !ours {
			continue // this test's own package, at the top
		}
		allowed, known := rooms[from]
		if !known {
			t.Errorf("%s is not on the map", from)
			continue
		}
		for _, to := range f[1:] {
			if to, ours := strings.CutPrefix(to, module); ours && !slices.ContainsFunc(allowed, func(p string) bool { return covers(p, to) }) {
				t.Errorf("%s imports %s; the map allows %s", from, to, strings.Join(allowed, ", "))
			}
		}
	}
}

func covers(pattern, path string) bool {
	prefix, wild := strings.CutSuffix(pattern, "/*")
	return pattern == path || wild && strings.HasPrefix(path, prefix+"/")
}

// A service that embeds the stack links none of the command line's libraries.
func TestEmbeddingIsLight(t *testing.T) {
	heavy := []string{
		"github.com/spf13/", "github.com/charmbracelet/", "charm.land/", "github.com/olekukonko/", "google.golang.org/grpc",
		"connectrpc.com/", "go.opentelemetry.io/collector/", "github.com/prometheus/prometheus/", "github.com/cockroachdb/",
	}
	for dep := range strings.Lines(list(t, "-deps", "./pkg/monitoring")) {
		for _, h := range heavy {
			if strings.HasPrefix(dep, h) {
				t.Errorf("pkg/monitoring links %s", strings.TrimSpace(dep))
			}
		}
	}
}

func list(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}
