package profiling_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"runtime/trace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
)

// work is a request with known waits. Each does one thing for about part.
const part = 120 * time.Millisecond

var sink []byte

//go:noinline
func waitOnLock(mu *sync.Mutex) {
	mu.Lock()
	defer mu.Unlock()
}

//go:noinline
func waitOnChannel(c chan struct{}) { <-c }

//go:noinline
func waitOnNetwork(t *testing.T, c net.Conn) {
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

//go:noinline
func allocate() {
	for range 64 {
		sink = make([]byte, 1<<20)
	}
}

// doWaits does all of them and returns how long each took, by state.
func doWaits(t *testing.T) map[string]time.Duration {
	took := map[string]time.Duration{}
	timed := func(state string, f func()) {
		begin := time.Now()
		f()
		took[state] += time.Since(begin)
	}
	var mu sync.Mutex
	mu.Lock()
	time.AfterFunc(part, mu.Unlock)
	timed(api.StateMutex, func() { waitOnLock(&mu) })
	timed(api.StateSleep, func() { waitOnDatabase(part) })
	c := make(chan struct{})
	time.AfterFunc(part, func() { close(c) })
	timed(api.StateChannel, func() { waitOnChannel(c) })
	near, far := connection(t)
	time.AfterFunc(part, func() { far.Write([]byte{1}) })
	timed(api.StateNetwork, func() { waitOnNetwork(t, near) })
	timed(api.StateRunning, func() { burnCPU(part) })
	allocate()
	return took
}

func connection(t *testing.T) (near, far net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// traffic is other requests beside the one that is looked at.
func traffic(p *profiling.Profiler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				h := p.Begin(request("other"))
				time.Sleep(2 * time.Millisecond)
				p.End(h, profiling.Finish{Route: "/other"})
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

func stateTime(x *api.Explanation, state string) time.Duration {
	for _, s := range x.States {
		if s.State == state {
			return s.Duration.Duration()
		}
	}
	return 0
}

func checkSum(t *testing.T, s api.Profile) {
	t.Helper()
	var sum time.Duration
	for _, one := range s.Explanation.States {
		sum += one.Duration.Duration()
	}
	if wall := s.Explanation.Wall.Duration(); sum != wall || wall != s.Duration.Duration() {
		t.Errorf("the states sum to %v of %v; the request took %v", sum, wall, s.Duration)
	}
}

// TestExplainedByTrace: in mode on each state is within 2 ms or 2 % of what the
// request did, its own time and not that of the traffic beside it.
func TestExplainedByTrace(t *testing.T) {
	p := start(t, profiling.Options{Mode: profiling.ModeOn, SlowThreshold: 200 * time.Millisecond})
	eventually(t, "the flight recorder", func() bool { return p.Recording() })
	var bad string
	for range 5 { // a busy machine makes a sleep's end late for one of the clocks
		stop := traffic(p)
		h := p.Begin(request("waits"))
		took := doWaits(t)
		id := p.End(h, profiling.Finish{Route: "GET /waits"})
		stop()
		if id == "" {
			t.Fatal("not caught")
		}
		s := get(t, p, id)
		x := s.Explanation
		if x == nil || x.Source != "exact (trace)" {
			t.Fatalf("explanation = %+v", x)
		}
		checkSum(t, s)
		if x.Allocated == nil || x.Allocated.Value < 32<<20 || x.Allocated.Value > 96<<20 {
			t.Errorf("allocated = %+v, want some 64 MiB", x.Allocated)
		}
		bad = ""
		if off := math.Abs(x.Allocated.Value - 64<<20); off > 8<<20 { // another goroutine tells what this one took meanwhile
			bad = fmt.Sprintf("allocated %.0f of %d; ", x.Allocated.Value, 64<<20)
		}
		for state, d := range took {
			got := stateTime(x, state)
			if state == api.StateRunning { // less what the kernel and Go's scheduler held back, more what the rest took
				if got < d/2 || x.CPU == nil {
					t.Errorf("running %v of %v", got, d)
				}
				continue
			}
			if off := (got - d).Abs(); off > max(2*time.Millisecond, d/50) {
				bad += state + ": " + got.String() + " of " + d.String() + "; "
			}
		}
		if bad == "" {
			return
		}
	}
	t.Errorf("beyond 2 ms or 2 %%: %s", bad)
}

// TestExplainedBySnapshots: mode watch says what its samples allow, and how far.
func TestExplainedBySnapshots(t *testing.T) {
	p := start(t, profiling.Options{SlowThreshold: 50 * time.Millisecond, Budget: 1})
	var x *api.Explanation
	for range 5 { // a busy machine leaves too few samples now and then
		h := p.Begin(request("watch"))
		var wg sync.WaitGroup
		wg.Go(func() { burnCPU(400 * time.Millisecond) }) // has its label, and is not its wall time
		waitOnDatabase(400 * time.Millisecond)
		wg.Wait()
		s := get(t, p, p.End(h, profiling.Finish{Route: "/r"}))
		checkSum(t, s)
		x = s.Explanation
		if got := stateTime(x, api.StateRunning); got > 60*time.Millisecond {
			t.Errorf("running %v: that was another goroutine", got)
		}
		if got := stateTime(x, api.StateSleep); strings.Contains(x.Source, "samples ±") && got > 250*time.Millisecond && got < 420*time.Millisecond {
			return
		}
	}
	t.Errorf("want some 350 ms of sleep by samples: %+v", x)
}

// TestRecorderTaken: where another library has the flight recorder the
// snapshots explain what they can, and it is said.
func TestRecorderTaken(t *testing.T) {
	fr := trace.NewFlightRecorder(trace.FlightRecorderConfig{})
	if err := fr.Start(); err != nil {
		t.Fatal(err)
	}
	defer fr.Stop()
	p := start(t, profiling.Options{Mode: profiling.ModeOn, SlowThreshold: 50 * time.Millisecond})
	eventually(t, "a note", func() bool { return strings.Contains(strings.Join(p.Stats().Notes, ""), "flight recorder") })
	patiently(t, func(wait time.Duration) string {
		h := p.Begin(request("t"))
		waitOnDatabase(150*time.Millisecond + wait)
		s := get(t, p, p.End(h, profiling.Finish{Route: "/r"}))
		if !strings.Contains(strings.Join(s.Explanation.Notes, ""), "another library of this process holds the flight recorder") || len(s.Explanation.States[0].Stacks) == 0 {
			return fmt.Sprintf("explanation = %+v", s.Explanation)
		}
		return ""
	})
}

// TestManyExplained: 64 slow requests at once in mode on are all explained.
func TestManyExplained(t *testing.T) {
	p := start(t, profiling.Options{Mode: profiling.ModeOn, SlowThreshold: 100 * time.Millisecond})
	eventually(t, "the flight recorder", func() bool { return p.Recording() })
	var wg sync.WaitGroup
	ids := make([]string, 64)
	for i := range ids {
		wg.Go(func() {
			h := p.Begin(request("t"))
			waitOnDatabase(time.Duration(300+i) * time.Millisecond)
			ids[i] = p.End(h, profiling.Finish{Route: "GET /reports/{id}"})
		})
	}
	wg.Wait()
	for i, id := range ids {
		s := get(t, p, id)
		if s.Explanation.Source != "exact (trace)" {
			t.Fatalf("%d: %+v", i, s.Explanation)
		}
		checkSum(t, s)
		if got, want := stateTime(s.Explanation, api.StateSleep).Seconds(), float64(300+i)/1e3; math.Abs(got-want) > 0.1 {
			t.Errorf("%d slept %v, want %v", i, got, want)
		}
	}
}

// TestLongRequest: one that outlasts the recorder's window is seen from its
// start, by the snapshots taken meanwhile.
func TestLongRequest(t *testing.T) {
	if testing.Short() || os.Getenv("CI") == "" {
		t.Skip("takes 16 s")
	}
	p := start(t, profiling.Options{Mode: profiling.ModeOn, SlowThreshold: time.Second})
	h := p.Begin(request("long"))
	time.Sleep(15 * time.Second)
	s := get(t, p, p.End(h, profiling.Finish{Route: "/long"}))
	checkSum(t, s)
	if got := stateTime(s.Explanation, api.StateSleep); got < 14*time.Second {
		t.Errorf("sleep %v of 15 s: %+v", got, s.Explanation.Notes)
	}
}
