package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const (
	maxSize     = 30 << 20 // bytes of the program
	maxResident = 30 << 10 // KiB that a list takes
)

// The program is small, and takes little memory to ask: it stands in every image
// and runs from every cron.
func TestSize(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program")
	}
	bin := filepath.Join(t.TempDir(), "pulsectl")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	info, err := os.Stat(bin)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > maxSize {
		t.Errorf("the program has %d bytes, want at most %d", info.Size(), maxSize)
	}
	t.Logf("%.1f MiB", float64(info.Size())/(1<<20))
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("memory is read from /proc")
	}
	if kib := residentOf(t, bin); kib > maxResident {
		t.Errorf("a list takes %d KiB, want at most %d", kib, maxResident)
	} else {
		t.Logf("%.1f MiB resident", float64(kib)/(1<<10))
	}
}

// residentOf is the most memory that a list of 300 breakers takes: it is read
// while the list waits to be read itself.
func residentOf(t *testing.T, bin string) int {
	t.Helper()
	var all strings.Builder
	for i := range 300 {
		fmt.Fprintf(&all, `%s"breaker_%04d":{"name":"breaker_%04d","state":"closed","stats":{"total_requests":%d},"config":{"failure_threshold":5}}`, map[bool]string{true: ","}[i > 0], i, i, i)
	}
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{"+all.String()+"}") }))
	t.Cleanup(ts.Close)
	cmd := exec.Command(bin, "breakers", "list", "-o", "json")
	cmd.Env = append(cmd.Environ(), "PULSECTL_SERVER="+ts.URL)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first := bufio.NewReaderSize(out, 16)
	if _, err := first.ReadByte(); err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, first); err != nil || n < 64<<10 { // more than a pipe holds, or it would not have waited
		t.Errorf("it wrote %d bytes: %v", n, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatalf("no VmHWM in %s", status)
	}
	kib, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kib
}
