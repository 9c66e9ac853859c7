// Package testkit is what the tests of several packages need: golden files, the
// shared fixtures, a Python server that replays answers, a real Redis.
//
// It reports through the *testing.T it is given and is linked by tests only.
package testkit

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FixturesEnv names the environment variable that says where the shared
// fixtures are, for a checkout that does not lie beside them.
const FixturesEnv = "PULSECTL_TESTDATA"

var update = flag.Bool("update", false, "rewrite the golden files with what the tests got")

// Golden fails t unless got is what testdata/name holds, in the folder of the
// package under test. With -update it writes the file instead.
func Golden(t testing.TB, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", filepath.FromSlash(name))
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run the test with -update to write it)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what came (-update rewrites it):\n%s", path, firstDifference(got, want))
	}
}

// Fixtures returns the folder of the shared fixtures: PULSECTL_TESTDATA, or
// ../shared/testdata beside the repository or one of the folders it lies in.
// ok is false where neither is there: a test then uses its own small fixtures.
func Fixtures(t testing.TB) (dir string, ok bool) {
	t.Helper()
	if dir = os.Getenv(FixturesEnv); dir != "" {
		if !isDir(dir) {
			t.Fatalf("%s=%q: no such folder", FixturesEnv, dir)
		}
		return dir, true
	}
	root := moduleRoot(t)
	for at := filepath.Dir(root); ; at = filepath.Dir(at) {
		if dir = filepath.Join(at, "shared", "testdata"); isDir(dir) {
			return dir, true
		}
		if at == filepath.Dir(at) {
			return "", false
		}
	}
}

// moduleRoot walks up from the package under test to the folder of go.mod.
func moduleRoot(t testing.TB) string {
	t.Helper()
	at, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at
		}
		up := filepath.Dir(at)
		if up == at {
			t.Fatal("no go.mod above the package under test")
		}
		at = up
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// firstDifference shows the first line in which got and want differ.
func firstDifference(got, want []byte) string {
	g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(g), len(w)) {
		line := func(lines []string) string {
			if i < len(lines) {
				return fmt.Sprintf("%q", lines[i])
			}
			return "(the end)"
		}
		if a, b := line(g), line(w); a != b {
			return fmt.Sprintf("line %d:\n got  %s\n want %s", i+1, a, b)
		}
	}
	return "(equal)"
}
