package rules_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/pulsectl/pulsectl/internal/rules"
	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// ruleCases are rule files, valid or not, with where the first error is.
var ruleCases = []struct{ name, src, at string }{
	{"all there is", `
groups:
  - name: a
    interval: 30s
    limit: 10
    rules:
      - record: job:x:rate5m
        expr: |
          sum by (job) (
            rate(x_total[5m])
          )
        labels: {kind: rate}
      - alert: A
        expr: job:x:rate5m > 5 and on () vector(1) == 1
        for: 5m
        keep_firing_for: 1h30m
        labels: {severity: page, level: 3, on: true}
        annotations:
          summary: "{{ $labels.job }} has {{ $value | humanizePercentage }}"
          description: '{{ range query "up" }}{{ .Labels.job }}: {{ .Value | printf "%.2f" }}{{ end }}'
`, ""},
	{"nothing", ``, ""},
	{"no groups", `groups:`, ""},
	{"no rules", "groups:\n  - name: a\n    rules: []\n", ""},
	{"an anchor", "groups:\n  - name: a\n    rules:\n      - alert: A\n        expr: &e up == 0\n      - alert: B\n        expr: *e\n", ""},
	{"a folded expression", "groups:\n  - name: a\n    rules:\n      - alert: A\n        expr: >-\n          up\n          == 0\n", ""},
	{"no YAML", "groups: [\n", "1:"},
	{"two keys", "groups:\n  - name: a\n    name: b\n", "3:5"},
	{"an unknown field", "groups:\n  - name: a\n    rulez: []\n", "3:5"},
	{"an unknown field at the top", "group:\n  - name: a\n", "1:1"},
	{"a group without a name", "groups:\n  - rules:\n      - alert: A\n        expr: up\n", "2:5"},
	{"a name twice", "groups:\n  - name: a\n    rules: []\n  - name: a\n    rules: []\n", "4:11"},
	{"an expression", "groups:\n  - name: a\n    rules:\n      - alert: A\n        expr: sum(rate(x[5m])\n", "5:30"},
	{"an expression in a block", "groups:\n  - name: a\n    rules:\n      - alert: A\n        expr: |\n          sum(\n            rate(x[5q])\n          )\n", "7:22"},
	{"a function's argument", "groups:\n  - name: a\n    rules:\n      - alert: A\n        expr: rate(x)\n", "5:20"},
	{"no expression", "groups:\n  - name: a\n    rules:\n      - alert: A\n", "4:9"},
	{"neither alert nor record", "groups:\n  - name: a\n    rules:\n      - expr: up\n", "4:9"},
	{"both", "groups:\n  - name: a\n    rules:\n      - expr: up\n        alert: A\n        record: b\n", "5:16"},
	{"a duration", "groups:\n  - name: a\n    rules:\n      - alert: A\n        expr: up\n        for: 5\n", "6:14"},
	{"for of a record", "groups:\n  - name: a\n    rules:\n      - record: a\n        expr: up\n        for: 5m\n", "6:14"},
	{"a template", "groups:\n  - name: a\n    rules:\n      - alert: A\n        expr: up\n        annotations:\n          s: '{{ $labels.x'\n", "7:"},
	{"an unknown function", "groups:\n  - name: a\n    rules:\n      - alert: A\n        expr: up\n        annotations:\n          s: '{{ nope 1 }}'\n", "7:"},
	{"a label's name", "groups:\n  - name: a\n    rules:\n      - alert: A\n        expr: up\n        labels:\n          __name__: b\n", "7:11"},
	{"rules that are no list", "groups:\n  - name: a\n    rules: {alert: A}\n", "3:"},
	{"braces in a record", "groups:\n  - name: a\n    rules:\n      - record: 'a{b=\"c\"}'\n        expr: up\n", "4:17"},
}

// What Prometheus takes is taken, and what it refuses is refused, with the place.
func TestLintAgreesWithPromtool(t *testing.T) {
	promtool := testkit.Need(t, "promtool", "prometheus")
	dir := t.TempDir()
	for i, tt := range ruleCases {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, fmt.Sprintf("%d.yaml", i))
			if err := os.WriteFile(path, []byte(tt.src), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(promtool, "check", "rules", path).CombinedOutput()
			_, problems := rules.Parse("f", []byte(tt.src))
			if (err == nil) != (len(problems) == 0) {
				t.Errorf("promtool: %v %s\nours: %v", err, out, problems)
			}
			if tt.at != "" && (len(problems) == 0 || !strings.HasPrefix(problems[0].Error(), "f:"+tt.at)) {
				t.Errorf("problems %v, want one at %s", problems, tt.at)
			}
		})
	}
}

// FuzzParse: no file makes the reader panic, and what is taken can be evaluated.
func FuzzParse(f *testing.F) {
	for _, tt := range ruleCases {
		f.Add(tt.src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		gs, problems := rules.Parse("f", []byte(src))
		for _, p := range problems {
			if !p.Warning {
				return
			}
		}
		if _, err := rules.New(rules.Options{Groups: gs}); err != nil {
			t.Errorf("a file without problems: %v", err)
		}
	})
}

// A real Prometheus that holds the same samples answers the same.
func TestAnswersAreThoseOfPrometheus(t *testing.T) {
	promtool, prometheus := testkit.Need(t, "promtool", "prometheus"), testkit.Need(t, "prometheus", "prometheus")
	e := value(rules.New(rules.Options{}))(t)
	from := time.Now().Add(-50 * time.Minute).Truncate(30 * time.Second) // so that no query below falls on a step of a subquery
	text := backfill(e, from)
	base := startPrometheus(t, promtool, prometheus, text)
	from = from.Add(2 * time.Second) // between samples: whether one at the edge of a range counts is another thing before Prometheus 3
	end := from.Add(40 * time.Minute)
	for _, expr := range []string{
		"requests_total", "rate(requests_total[5m])", "sum by (code) (increase(requests_total[10m]))", "irate(requests_total[1m])",
		"histogram_quantile(0.9, sum by (le) (rate(took[5m])))", "max_over_time(load[10m]) - min_over_time(load[10m])",
		"topk(2, requests_total)", "absent(nope)", "requests_total offset 7m", "quantile_over_time(0.5, load[20m])", "resets(requests_total[30m])",
		"sum(rate(requests_total{code=~'5..'}[5m])) / sum(rate(requests_total[5m]))", "deriv(load[5m])", "predict_linear(load[10m], 600)",
		"max_over_time(load[10m:30s])", "label_replace(load, 'a', '$1', 'room', '(.).*')", "load > bool 3", "changes(gone[20m])", "stddev_over_time(load[5m])",
	} {
		ours := value(e.Query(t.Context(), expr, end))(t)
		theirs := ask(t, base, "query", url.Values{"query": {expr}, "time": {fmt.Sprint(end.Unix())}})
		compare(t, expr, ours.Data, theirs)
		theirs = ask(t, base, "query_range", url.Values{"query": {expr}, "start": {fmt.Sprint(from.Unix())}, "end": {fmt.Sprint(end.Unix())}, "step": {"30"}})
		ours = value(e.QueryRange(t.Context(), expr, from, end, 30*time.Second))(t)
		compare(t, expr+" over time", ours.Data, theirs)
	}
}

// backfill fills a ring with all kinds of series and writes the same in the
// OpenMetrics text that promtool reads.
func backfill(e *rules.Engine, from time.Time) string {
	var lines [4][]string
	add := func(b *rules.Batch, family int, at time.Time, v float64, pairs ...string) {
		b.Add(labels.FromStrings(pairs...), v)
		text := pairs[1]
		if len(pairs) > 2 {
			text += fmt.Sprintf("{%s=%q}", pairs[2], pairs[3])
		}
		lines[family] = append(lines[family], fmt.Sprintf("%s %v %d\n", text, v, at.Unix()))
	}
	for n := range 480 {
		at := from.Add(time.Duration(n) * 5 * time.Second)
		b := e.Ring().Scrape(at)
		for i, code := range []string{"200", "404", "500"} {
			v := float64(n * (7 - 2*i))
			if n > 300 && i == 2 {
				v = float64(n - 300) // after a restart
			}
			add(b, 0, at, v, "__name__", "requests_total", "code", code)
		}
		for i, le := range []string{"0.1", "1.0", "+Inf"} {
			add(b, 1, at, float64(n*(i+1)), "__name__", "took", "le", le)
		}
		add(b, 2, at, 5+3*math.Sin(float64(n)/20), "__name__", "load", "room", "attic")
		if n < 400 {
			add(b, 3, at, float64(n%3), "__name__", "gone")
		}
		b.Done()
	}
	var out strings.Builder
	for i, name := range []string{"requests counter", "took unknown", "load gauge", "gone gauge"} {
		fmt.Fprintf(&out, "# TYPE %s\n%s", name, strings.Join(lines[i], ""))
	}
	return out.String() + "# EOF\n"
}

func startPrometheus(t *testing.T, promtool, prometheus, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"in.om": text, "prometheus.yml": "{}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(promtool, "tsdb", "create-blocks-from", "openmetrics", filepath.Join(dir, "in.om"), filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("promtool: %v: %.500s", err, out)
	}
	l := value(net.Listen("tcp", "127.0.0.1:0"))(t)
	addr := l.Addr().String()
	l.Close()
	cmd := exec.Command(prometheus, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr, "--log.level=error")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 200 {
		if resp, err := http.Get("http://" + addr + "/-/ready"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return "http://" + addr
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("Prometheus did not start")
	return ""
}

func ask(t *testing.T, base, what string, q url.Values) api.QueryData {
	t.Helper()
	resp := value(http.Get(base + "/api/v1/" + what + "?" + q.Encode()))(t)
	defer resp.Body.Close()
	var out api.QueryResult
	body := value(io.ReadAll(resp.Body))(t)
	if err := json.Unmarshal(body, &out); err != nil || out.Status != "success" {
		t.Fatalf("%s: %v: %.300s", q, err, body)
	}
	return out.Data
}

// compare wants the same series with the same values, but for the last digits.
func compare(t *testing.T, expr string, ours, theirs api.QueryData) {
	t.Helper()
	flat := func(d api.QueryData) map[string]float64 {
		out := map[string]float64{}
		for _, s := range d.Series {
			if s.Value != nil {
				s.Values = append(s.Values, *s.Value)
			}
			for _, p := range s.Values {
				out[labels.FromMap(s.Metric).String()+" "+p.Time.Format(time.TimeOnly)] = float64(p.Value)
			}
		}
		return out
	}
	a, b := flat(ours), flat(theirs)
	if ours.ResultType != theirs.ResultType || len(a) != len(b) {
		t.Errorf("%s: %d values of a %s, Prometheus has %d of a %s", expr, len(a), ours.ResultType, len(b), theirs.ResultType)
	}
	wrong := 0
	for k, v := range b {
		got, ok := a[k]
		if same := math.IsNaN(v) && math.IsNaN(got) || math.Abs(got-v) <= 1e-9*max(1, math.Abs(v)); ok && same {
			continue
		}
		if wrong++; wrong < 3 {
			t.Errorf("%s: %s is %v (%v), Prometheus says %v", expr, k, got, ok, v)
		}
	}
}
