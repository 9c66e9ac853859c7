package hotspot_test

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pulsectl/pulsectl/internal/hotspot"
)

var pprofPath = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "tool", "-n", "pprof").Output()
	return strings.TrimSpace(string(out)), err
})

// runPprof runs `go tool pprof` on files and returns what it prints, untrimmed and
// in the profile's own unit.
func runPprof(t *testing.T, unit string, args ...string) string {
	t.Helper()
	path, err := pprofPath()
	if err != nil {
		t.Skipf("no go tool pprof: %v", err)
	}
	cmd := exec.Command(path, append([]string{"-symbolize=none", "-nodefraction=0", "-edgefraction=0", "-nodecount=0", "-unit=" + unit}, args...)...)
	cmd.Env = append(os.Environ(), "PPROF_BINARY_PATH="+t.TempDir(), "HOME="+t.TempDir(), "GOTOOLCHAIN=local")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, stderr.String())
	}
	return string(out)
}

// percent writes a share as pprof does.
func percent(ratio float64) string {
	switch ratio = math.Abs(ratio) * 100; {
	case ratio >= 99.95 && ratio <= 100.05:
		return "100%"
	case ratio >= 1:
		return fmt.Sprintf("%.2f%%", ratio)
	}
	return fmt.Sprintf("%.2g%%", ratio)
}

// number drops the unit that pprof writes behind a number.
func number(s string) string { return strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzBGCUMTP*μ_/") }

var (
	topRow   = regexp.MustCompile(`^\s*(\S+)\s+(\S+)\s+\S+\s+(\S+)\s+(\S+)\s{2}(.*?)(?: \((?:inline|partial-inline)\))?$`)
	treeRow  = regexp.MustCompile(`^\s*(\S+)\s+(\S+)\s+\S+\s+(\S+)\s+(\S+) {16}\| (.*)$`)
	callRow  = regexp.MustCompile(`^\s*(\S+)\s+(\S+) \|   (.*)$`)
	tagKey   = regexp.MustCompile(`^\s*(.*): Total (\S+) of (\S+)(?: \(\s*(\S+)\))?$`)
	tagValue = regexp.MustCompile(`^\s*(\S+)(?: \(\s*(\S+)\))?: (.*)$`)
)

// topOfPprof brings pprof's rows into the form of ours.
func topOfPprof(t *testing.T, out string) []string {
	t.Helper()
	_, body, ok := strings.Cut(out, "cum%\n")
	if !ok {
		t.Fatalf("no rows in\n%s", out)
	}
	var rows []string
	for text := range strings.Lines(body) {
		m := topRow.FindStringSubmatch(strings.TrimSuffix(text, "\n"))
		if m == nil {
			t.Fatalf("row %q of pprof", text)
		}
		rows = append(rows, strings.Join([]string{number(m[1]), m[2], number(m[3]), m[4], m[5]}, "\t"))
	}
	return rows
}

func topOfOurs(t *testing.T, p *hotspot.Profile, o hotspot.TopOptions) []string {
	t.Helper()
	top, err := hotspot.Top(p, o)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, r := range top.Rows {
		rows = append(rows, fmt.Sprintf("%d\t%s\t%d\t%s\t%s", r.Flat, percent(r.FlatRatio), r.Cum, percent(r.CumRatio), r.Function))
	}
	return rows
}

// graphOfPprof brings the blocks of -peek and -tree into the form of ours. Calls
// of equal weight stand in no order there, so they are sorted.
func graphOfPprof(t *testing.T, out string) []string {
	t.Helper()
	_, body, ok := strings.Cut(out, "+ context")
	if !ok {
		t.Fatalf("no blocks in\n%s", out)
	}
	_, body, _ = strings.Cut(body, "\n")
	var blocks []string
	for block := range strings.SplitSeq(body, "----------------------------------------------------------+-------------\n") {
		var entry string
		var calls []string
		for text := range strings.Lines(block) {
			text = strings.TrimSuffix(text, "\n")
			if m := treeRow.FindStringSubmatch(text); m != nil {
				entry = strings.Join([]string{number(m[1]), m[2], number(m[3]), m[4], m[5]}, "\t")
			} else if m := callRow.FindStringSubmatch(text); m != nil {
				side := "<"
				if entry != "" {
					side = ">"
				}
				calls = append(calls, strings.Join([]string{side, number(m[1]), m[2], m[3]}, "\t"))
			} else {
				t.Fatalf("line %q of pprof", text)
			}
		}
		if entry != "" {
			slices.Sort(calls)
			blocks = append(blocks, entry+"\n"+strings.Join(calls, "\n"))
		}
	}
	return blocks
}

func graphOfOurs(g *hotspot.CallGraph) []string {
	var blocks []string
	for _, e := range g.Entries {
		var calls []string
		for side, list := range map[string][]hotspot.Call{"<": e.Callers, ">": e.Callees} {
			for _, c := range list {
				name := c.Function
				if c.Inline {
					name += " (inline)"
				}
				calls = append(calls, fmt.Sprintf("%s\t%d\t%s\t%s", side, c.Value, percent(c.Ratio), name))
			}
		}
		slices.Sort(calls)
		blocks = append(blocks, fmt.Sprintf("%d\t%s\t%d\t%s\t%s\n%s", e.Flat, percent(e.FlatRatio), e.Cum, percent(e.CumRatio), e.Function, strings.Join(calls, "\n")))
	}
	return blocks
}

// minimum writes a value as pprof does with -unit=minimum.
func minimum(v int64, unit string) string {
	steps, factor := []string{""}, []float64{1}
	switch unit {
	case "bytes":
		steps, factor = []string{"B", "kB", "MB", "GB", "TB"}, []float64{1, 1 << 10, 1 << 20, 1 << 30, 1 << 40}
	case "nanoseconds":
		steps, factor = []string{"ns", "us", "ms", "s", "hrs"}, []float64{1, 1e3, 1e6, 1e9, 3600e9}
	}
	i := len(steps) - 1
	for i > 0 && math.Abs(float64(v)) < factor[i] {
		i--
	}
	if s := strings.TrimSuffix(fmt.Sprintf("%.2f", float64(v)/factor[i]), ".00"); s != "0" {
		return s + steps[i]
	}
	return "0"
}

func tagsOfPprof(t *testing.T, out string) []string {
	t.Helper()
	var rows []string
	for text := range strings.Lines(out) {
		text = strings.TrimSuffix(text, "\n")
		if strings.TrimSpace(text) == "" {
			continue
		}
		text = strings.Replace(text, ":  Total", ": Total", 1)
		if m := tagKey.FindStringSubmatch(text); m != nil {
			rows = append(rows, strings.Join([]string{"key", m[1], m[2], m[3]}, "\t"))
		} else if m := tagValue.FindStringSubmatch(text); m != nil {
			rows = append(rows, strings.Join([]string{m[1], cmp.Or(m[2], "0%"), strings.TrimSpace(m[3])}, "\t"))
		} else {
			t.Fatalf("line %q of pprof", text)
		}
	}
	return rows
}

func tagsOfOurs(t *testing.T, p *hotspot.Profile, s hotspot.Selection) []string {
	t.Helper()
	tags, err := hotspot.Tags(p, s)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, k := range tags.Keys {
		rows = append(rows, fmt.Sprintf("key\t%s\t%s\t%s", k.Key, minimum(k.Value, tags.Unit), minimum(tags.Total, tags.Unit)))
		for _, v := range k.Values {
			rows = append(rows, fmt.Sprintf("%s\t%s\t%s", minimum(v.Value, tags.Unit), percent(v.Ratio), v.Label))
		}
	}
	return rows
}
