package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Need returns the path of a program that the test drives, which Debian has in
// the package named. Without it the test goes as [Without] says.
func Need(t testing.TB, tool, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		Without(t, "%s is not on PATH (Debian: apt-get install %s)", tool, pkg)
	}
	return path
}

// Without ends a test that lacks what it needs: it is skipped, and fails if CI
// is set, where everything has to be shown.
func Without(t testing.TB, format string, args ...any) {
	t.Helper()
	why := fmt.Sprintf(format, args...)
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}
