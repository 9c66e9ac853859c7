//go:build linux

package fleet_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker/fleet"
)

// skew is a clock that is wrong by the seconds in a file.
const skew = `#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
int gettimeofday(struct timeval *tv, void *tz) {
	char text[32] = "";
	struct timespec now;
	int fd = open(getenv("SKEW_FILE"), O_RDONLY);
	if (fd >= 0) { if (read(fd, text, sizeof text - 1) < 0) text[0] = 0; close(fd); }
	syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
	tv->tv_sec = now.tv_sec + atol(text);
	tv->tv_usec = now.tv_nsec / 1000;
	return 0;
}
`

// skewedRedis is a redis-server whose clock set sets, by what it is wrong.
func skewedRedis(t *testing.T) (server *testkit.RedisServer, set func(seconds string)) {
	t.Helper()
	cc := testkit.Need(t, "cc", "gcc") // for a clock that is wrong
	dir := t.TempDir()
	source, library, file := filepath.Join(dir, "skew.c"), filepath.Join(dir, "skew.so"), filepath.Join(dir, "seconds")
	set = func(seconds string) {
		next := filepath.Join(dir, "next")
		if err := os.WriteFile(next, []byte(seconds), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, file); err != nil {
			t.Fatal(err)
		}
	}
	set("10800")
	if err := os.WriteFile(source, []byte(skew), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(cc, "-shared", "-fPIC", "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	t.Setenv("LD_PRELOAD", library)
	t.Setenv("SKEW_FILE", file)
	return testkit.Redis(t), set
}

// No replica's clock is held against Redis's, which is three hours off, then
// steps six hours back, then far ahead.
func TestClocksDiffer(t *testing.T) {
	server, set := skewedRedis(t)
	os.Unsetenv("LD_PRELOAD") // what else is started has the right time
	now := client(t, server.Addr()).Time(t.Context()).Val()
	if ahead := time.Until(now); ahead < 2*time.Hour {
		t.Fatalf("Redis is %v ahead, want 3h: the test tests nothing", ahead)
	}
	connect := connectTo(server.Addr())
	r := several(t, 2, connect, "api", "forced", "late")
	begun := time.Now()
	r[0].open("api")
	r[0].get("forced").ForceOpen(breaker.Control{For: time.Minute})
	check := func(x *replica, name string, least, most time.Duration) {
		t.Helper()
		x.is(name, api.StateOpen)
		s := x.get(name).Snapshot()
		until := s.RetryAt.Time
		if s.Forced != nil {
			until = s.Forced.Until.Time
		}
		if left := until.Sub(begun); left < least || left > most {
			t.Errorf("%s: %v from its opening to its end, want %v to %v", name, left, least, most)
		}
	}
	check(r[1], "api", 20*time.Second, 22*time.Second)
	check(r[1], "forced", time.Minute, 62*time.Second)
	time.Sleep(1500 * time.Millisecond) // which a late starter must subtract
	check(start(t, fleet.Options{Connect: connect}, "api"), "api", 20*time.Second, 22*time.Second)
	set("-10800") // the past has not happened yet: all of its time is left
	check(start(t, fleet.Options{Connect: connect}, "api", "forced"), "api", 20*time.Second, 25*time.Second)
	r[1].open("late")
	r[0].is("late", api.StateOpen)
	set("86400") // all of its time is over: it is soon probed
	last := start(t, fleet.Options{Connect: connect}, "api")
	last.is("api", api.StateHalfOpen)
}
