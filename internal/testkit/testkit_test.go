package testkit_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pulsectl/pulsectl/internal/testkit"
)

func TestFixturesByEnvironment(t *testing.T) {
	want := t.TempDir()
	t.Setenv(testkit.FixturesEnv, want)
	if dir, ok := testkit.Fixtures(t); !ok || dir != want {
		t.Errorf("Fixtures = %q, %v, want %q", dir, ok, want)
	}
}

func TestFixturesBesideTheRepository(t *testing.T) {
	t.Setenv(testkit.FixturesEnv, "")
	top := t.TempDir()
	pkg := filepath.Join(top, "repo", "pkg", "x")
	want := filepath.Join(top, "shared", "testdata")
	for _, dir := range []string{pkg, want} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(top, "repo", "go.mod"), []byte("module x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(pkg)
	dir, ok := testkit.Fixtures(t)
	if got, err := filepath.EvalSymlinks(dir); err != nil || !ok || filepath.Base(filepath.Dir(got)) != "shared" {
		t.Errorf("Fixtures = %q, %v (%v), want %q", dir, ok, err, want)
	}
}

func TestGolden(t *testing.T) {
	testkit.Golden(t, "hello.golden", []byte("hello\nworld\n"))
}

func TestRedisSurvivesRestartsOnItsAddress(t *testing.T) {
	s := testkit.Redis(t)
	addr := s.Addr()
	s.Stop()
	s.Cont()
	s.Kill()
	s.Restart()
	if s.Addr() != addr {
		t.Errorf("address after a restart = %s, want %s", s.Addr(), addr)
	}
}
