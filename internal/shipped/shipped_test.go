package shipped_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/shipped"
	"github.com/pulsectl/pulsectl/internal/testkit"
)

var defaults = shipped.Thresholds{Job: shipped.DefaultJob, ErrorRate: .1, ErrorRatio: .05, Latency: time.Second, Memory: 1 << 30}

// promtool runs a command of promtool over files, which it gets written.
func promtool(t *testing.T, files map[string]string, args ...string) {
	t.Helper()
	tool, dir := testkit.Need(t, "promtool", "prometheus"), t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(tool, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("FAILED")) {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestAlerts(t *testing.T) {
	rules := shipped.Alerts(defaults)
	if strings.Contains(rules, "$JOB") || regexp.MustCompile(`\$[A-Z]`).MatchString(rules) {
		t.Errorf("a threshold was not filled in:\n%s", rules)
	}
	promtool(t, map[string]string{"alerts.yaml": rules}, "check", "rules", "alerts.yaml")
	other := shipped.Alerts(shipped.Thresholds{Job: "x", ErrorRate: 7, ErrorRatio: .25, Latency: 250 * time.Millisecond, Memory: 4096})
	for _, want := range []string{`job=~"x(-[0-9]+)?"`, "> 7\n", "> 0.25\n", "> 0.25\n", "> 4096\n"} {
		if !strings.Contains(other, want) {
			t.Errorf("the rules do not hold %q", want)
		}
	}
}

// Each alert fires, and does not.
func TestAlertsFire(t *testing.T) {
	cases, err := os.ReadFile("testdata/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules := shipped.Alerts(defaults)
	promtool(t, map[string]string{"alerts.yaml": rules, "test.yaml": string(cases)}, "test", "rules", "test.yaml")
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(rules, -1) {
		for _, want := range []string{`exp_alerts: \[\]`, `exp_alerts:\n`} {
			if !regexp.MustCompile(`alertname: ` + m[1] + `\n +eval_time: \w+\n +` + want).Match(cases) {
				t.Errorf("no test of %s has %s", m[1], want)
			}
		}
	}
}

// The rules and the dashboard name metrics that there are.
func TestMetricsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	dashboard, err := shipped.Dashboard(shipped.DefaultJob)
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`\bpulse_api_\w+`).FindAllString(shipped.Alerts(defaults)+string(dashboard), -1)
	if len(names) < 20 {
		t.Fatalf("%d metrics", len(names))
	}
	for _, name := range names {
		name = strings.TrimSuffix(name, "_bucket")
		if !bytes.Contains(page, []byte("`"+name+"`")) {
			t.Errorf("docs/api.md has no metric %s", name)
		}
	}
}

// Each query of the dashboard is PromQL, and its panels lie side by side.
func TestDashboard(t *testing.T) {
	out, err := shipped.Dashboard("my-job")
	if err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, "dashboard.golden.json", out)
	var d struct {
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatal(err)
	}
	rules := "groups:\n  - name: dashboard\n    rules:\n"
	taken, ids := map[[2]int]string{}, []int{}
	for _, p := range d.Panels {
		ids = append(ids, p.ID)
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := taken[at]; other != "" || at[0] >= 24 {
					t.Fatalf("panel %s lies upon %q", p.Title, other)
				}
				taken[at] = p.Title
			}
		}
		for _, q := range p.Targets {
			expr, err := json.Marshal(strings.ReplaceAll(q.Expr, "$__rate_interval", "1m"))
			if err != nil {
				t.Fatal(err)
			}
			rules += "      - {record: panel" + regexp.MustCompile(`\W`).ReplaceAllString(p.Title, "_") + ", expr: " + string(expr) + "}\n"
		}
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != len(d.Panels) || strings.Count(rules, "record") < 15 {
		t.Errorf("%d panels, %d queries", len(ids), strings.Count(rules, "record"))
	}
	promtool(t, map[string]string{"rules.yaml": rules}, "check", "rules", "rules.yaml")
}

func TestScrapeConfig(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]shipped.Scrape{
		"one": {Job: shipped.DefaultJob, Servers: []string{"http://127.0.0.1:8000"}},
		"fleet": {Job: "shop", Interval: 1500 * time.Millisecond, TokenFile: "TOKEN", CA: "TOKEN", Cert: "TOKEN", Key: "TOKEN", Name: "pulse.prod", Servers: []string{
			"https://10.0.0.1:8443", "https://10.0.0.2:8443/", "10.0.0.3", "http://[::1]:8000/behind/monitoring", "https://10.0.0.1:8443", "dns+https://pulse.prod:8443",
		}},
		"dns":  {Job: shipped.DefaultJob, Interval: 15 * time.Second, Servers: []string{"dns+https://pulse.prod:8443", "dns+http://pulse.dev"}},
		"name": {Job: shipped.DefaultJob, Servers: []string{"http://127.0.0.1:8000/a'b\"c: d"}},
	} {
		got, err := shipped.ScrapeConfig(s)
		if err != nil {
			t.Fatal(err)
		}
		testkit.Golden(t, "prometheus-"+name+".golden.yaml", []byte(got))
		// The certificate's files are looked into: an empty one is none.
		config := regexp.MustCompile(`(?m)^ +(ca|cert|key)_file: .*\n`).ReplaceAllString(got, "")
		promtool(t, map[string]string{"prometheus.yml": strings.ReplaceAll(config, "TOKEN", token)}, "check", "config", "prometheus.yml")
	}
	for _, server := range []string{"unix:///run/pulse.sock", "ftp://x", "http://"} {
		if _, err := shipped.ScrapeConfig(shipped.Scrape{Job: "x", Servers: []string{server}}); err == nil || !strings.Contains(err.Error(), "http and https URLs only") {
			t.Errorf("%s: error = %v", server, err)
		}
	}
	if shipped.CheckJob("a b") == nil || shipped.CheckJob("pulse-api_2") != nil {
		t.Error("job names")
	}
}
