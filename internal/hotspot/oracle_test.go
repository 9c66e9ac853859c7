package hotspot_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/internal/testkit"
)

// fixtures returns the folder of real profiles, or "".
func fixtures(t testing.TB) string {
	t.Helper()
	dir, ok := testkit.Fixtures(t)
	if !ok {
		return ""
	}
	return filepath.Join(dir, "profiles")
}

// realProfiles returns the profiles of the fixture folder and of ./testdata
// that pprof can read.
func realProfiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/profiles/*")
	if err != nil {
		t.Fatal(err)
	}
	if dir := fixtures(t); dir != "" {
		more, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	return slices.DeleteFunc(files, func(f string) bool {
		ext := filepath.Ext(f)
		return ext == ".txt" || ext == ".md"
	})
}

type row struct {
	name      string
	flat, cum int64
}

var rawRow = regexp.MustCompile(`^\s*(-?[\d.e+]+)[a-zA-Z]*\s+\S+\s+\S+\s+(-?[\d.e+]+)[a-zA-Z]*\s+\S+\s{2}(.*?)( \((?:inline|partial-inline)\))?$`)

// pprofTop asks pprof for its rows, in the profile's own unit.
func pprofTop(t *testing.T, file string, args ...string) []row {
	t.Helper()
	unit := "-unit=" + unitOf(t, file, args)
	args = append([]string{"tool", "pprof", "-symbolize=none", "-top", "-nodefraction=0", "-nodecount=0", unit}, append(args, file)...)
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "PPROF_BINARY_PATH="+t.TempDir(), "HOME="+t.TempDir(), "GOTOOLCHAIN=local")
	for _, v := range []string{"GOCACHE", "GOPATH", "GOMODCACHE"} {
		out, err := exec.Command("go", "env", v).Output()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(cmd.Env, v+"="+strings.TrimSpace(string(out)))
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, stderr.String())
	}
	_, body, ok := strings.Cut(string(out), "cum%\n")
	if !ok {
		t.Fatalf("no rows in\n%s", out)
	}
	var rows []row
	for text := range strings.Lines(body) {
		m := rawRow.FindStringSubmatch(strings.TrimSuffix(text, "\n"))
		if m == nil {
			t.Fatalf("row %q of pprof", text)
		}
		rows = append(rows, row{m[3], number(t, m[1]), number(t, m[2])})
	}
	return rows
}

func unitOf(t *testing.T, file string, args []string) string {
	t.Helper()
	o := hotspot.TopOptions{}
	for _, a := range args {
		if v, ok := strings.CutPrefix(a, "-sample_index="); ok {
			o.SampleType = v
		}
	}
	top, err := hotspot.Top(read(t, file), o)
	if err != nil {
		t.Fatal(err)
	}
	return top.Unit
}

func number(t *testing.T, s string) int64 {
	t.Helper()
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int64(f)
}

func read(t testing.TB, file string) *hotspot.Profile {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := hotspot.Parse(b, hotspot.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return p
}

// TestTopEqualsPprof compares every row, in its order, with `go tool pprof`.
func TestTopEqualsPprof(t *testing.T) {
	files := realProfiles(t)
	if fixtures(t) == "" {
		t.Log("no folder of real profiles; only the ones generated here are compared")
	}
	files = append(files, generated(t)...)
	for _, file := range files {
		for _, v := range []struct {
			name string
			o    hotspot.TopOptions
			args []string
		}{
			{"flat", hotspot.TopOptions{}, nil},
			{"cum", hotspot.TopOptions{Cum: true}, []string{"-cum"}},
			{"focus", hotspot.TopOptions{Selection: hotspot.Selection{Focus: regexp.MustCompile(`runtime|main|_server`)}}, []string{"-focus=runtime|main|_server"}},
			{"ignore", hotspot.TopOptions{Selection: hotspot.Selection{Ignore: regexp.MustCompile(`malloc|function0`)}}, []string{"-ignore=malloc|function0"}},
			{"first sample type", hotspot.TopOptions{Selection: hotspot.Selection{SampleType: firstType(t, file)}}, []string{"-sample_index=" + firstType(t, file)}},
		} {
			t.Run(filepath.Base(file)+"/"+v.name, func(t *testing.T) {
				t.Parallel()
				want := pprofTop(t, file, v.args...)
				top, err := hotspot.Top(read(t, file), v.o)
				if err != nil {
					t.Fatal(err)
				}
				var got []row
				for _, r := range top.Rows {
					got = append(got, row{r.Function, r.Flat, r.Cum})
				}
				compareRows(t, got, want)
			})
		}
	}
}

func firstType(t *testing.T, file string) string {
	t.Helper()
	return read(t, file).SampleTypes[0].Type
}

// compareRows compares values to what pprof prints of them: two decimals, cut
// when it scales.
func compareRows(t *testing.T, got, want []row) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d rows, pprof has %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("row %d is\n %+v, of pprof\n %+v", i, got[i], want[i])
		}
	}
}

// generated writes small profiles with the oddities that parsers trip over.
func generated(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	var files []string
	for name, p := range oddities() {
		file := filepath.Join(dir, name+".pb.gz")
		var b bytes.Buffer
		if err := p.Write(&b); err != nil {
			t.Fatal(fmt.Errorf("%s: %w", name, err))
		}
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}
