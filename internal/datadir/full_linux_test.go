package datadir_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/testkit"
)

// A full disk keeps the server running from memory, and is said: in the log
// once, and by the health check until there is room again.
func TestFullDisk(t *testing.T) {
	path := t.TempDir()
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size=6m"); err != nil {
		testkit.Without(t, "mounting a small disk: %v", err)
	}
	defer syscall.Unmount(path, 0)
	ballast := filepath.Join(path, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 11<<19), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, path, 64<<20)
	s.fill(t, 0, 3000)
	want := s.content(t)
	if len(want) < 3000 || s.traces.Stats().Unlogged == 0 {
		t.Fatalf("%d traces, %+v", len(want), s.traces.Stats())
	}
	if _, err := s.dir.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("Check = %v", err)
	}
	if n := strings.Count(s.log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors logged:\n%.2000s", n, s.log)
	}
	os.Remove(ballast)
	time.Sleep(1100 * time.Millisecond) // the disk is real, and so is the wait
	s.fill(t, 3000, 3100)
	if _, err := s.dir.Check(t.Context()); err != nil {
		t.Errorf("with room again: %v", err)
	}
	all := s.content(t)
	s.stop()
	s = start(t, path, 64<<20)
	got := s.content(t)
	for id, w := range all {
		if want[id] == "" && got[id] != w {
			t.Errorf("trace %s came after there was room again, and is gone", id)
		}
	}
	s.stop()
}
