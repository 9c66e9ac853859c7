package main

import (
	"bufio"
	"bytes"
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
	"time"
)

const (
	maxSize     = 30 << 20 // bytes of the program
	maxResident = 30 << 20 // bytes that a list takes
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
	if peak := residentOf(t, bin); peak == 0 || peak > maxResident {
		t.Errorf("a list takes %d bytes, want at most %d", peak, maxResident)
	} else {
		t.Logf("%.1f MiB resident", float64(peak)/(1<<20))
	}
}

// runMeasured runs a program and returns what it wrote and the most memory it
// had, in bytes. What the kernel tells of one that has ended counts the memory
// of the process that started it.
func runMeasured(cmd *exec.Cmd) (out []byte, peak int64, err error) {
	var to bytes.Buffer
	cmd.Stdout = &to
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for tick := time.Tick(time.Millisecond); ; {
		select {
		case err := <-ended:
			return to.Bytes(), peak, err
		case <-tick:
			peak = max(peak, peakOf(cmd.Process.Pid))
		}
	}
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peakOf is the most memory that a running process had so far, in bytes; 0 where
// that is not told.
func peakOf(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	m := highWater.FindSubmatch(status)
	if err != nil || m == nil {
		return 0
	}
	kib, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

// residentOf is the most memory that a list of 300 breakers takes: it is read
// while the list waits to be read itself.
func residentOf(t *testing.T, bin string) int64 {
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
	peak := peakOf(cmd.Process.Pid)
	if n, err := io.Copy(io.Discard, first); err != nil || n < 64<<10 { // more than a pipe holds, or it would not have waited
		t.Errorf("it wrote %d bytes: %v", n, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return peak
}
