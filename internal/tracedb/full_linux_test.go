package tracedb_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/internal/tracedb"
)

// A disk that is full refuses, keeps what it has, and takes more once there is
// room again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		testkit.Without(t, "mounting a small disk: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 500<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	db, log, _, _ := open(t, dir, tracedb.Options{SegmentBytes: 100 << 10})
	n := 0
	for ; n < 10_000; n++ {
		if _, _, err := log.Append(1, []byte(payload(n))); err != nil {
			if !errors.Is(err, tracedb.ErrFull) {
				t.Fatalf("append to a full disk = %v, want ErrFull", err)
			}
			break
		}
	}
	if n == 0 || n == 10_000 {
		t.Fatalf("full after %d records", n)
	}
	if _, _, err := log.Append(1, []byte("x")); !errors.Is(err, tracedb.ErrFull) {
		t.Errorf("at once again: %v, want ErrFull", err)
	}
	os.Remove(ballast)
	time.Sleep(1100 * time.Millisecond) // the disk is real, and so is the wait
	if _, _, err := log.Append(1, []byte(payload(n))); err != nil {
		t.Errorf("with room again: %v", err)
	}
	db.Close()
	db, _, report, got := open(t, dir, small)
	if len(got) != n+1 || report.Damaged != 0 || report.Torn != 0 {
		t.Errorf("%d records, want %d; %+v", len(got), n+1, report)
	}
	db.Close()
}
