package exectrace_test

import (
	"bytes"
	"context"
	"net"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/exectrace"
	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

func stack(functions ...string) (fs []hotspot.Frame) {
	for i, f := range functions {
		fs = append(fs, hotspot.Frame{Function: f, File: "a.go", Line: int64(i + 1)})
	}
	return fs
}

func TestFromSamples(t *testing.T) {
	query := stack("runtime.gopark", "runtime.netpollblock", "internal/poll.runtime_pollWait", "net.(*conn).Read", "database/sql.(*Rows).Next", "example.com/shop.Load")
	hash := stack("crypto/sha256.block", "crypto/sha256.(*digest).Write", "example.com/shop.Sum")
	var samples []exectrace.Sample
	for i := range 10 { // at 1000, 1010 … 1090 ms
		s := exectrace.Sample{At: time.Second + time.Duration(i)*10*time.Millisecond, Stack: query}
		if i >= 6 {
			s.Stack = hash
		}
		samples = append(samples, s)
	}
	e := exectrace.FromSamples(samples, 1100*time.Millisecond)
	checkSums(t, e, 1100*time.Millisecond)
	if e.Source != "10 samples ±32 %" || len(e.Notes) != 2 || !strings.Contains(e.Notes[0], "before the first sample, 1s in") {
		t.Errorf("source %q, notes %q", e.Source, e.Notes)
	}
	want := []struct {
		state    string
		duration time.Duration
		count    api.Count
		percent  int
		function string
	}{
		{api.StateOther, time.Second, 0, 0, ""},
		{api.StateNetwork, 55 * time.Millisecond, 6, 41, "example.com/shop.Load"},
		{api.StateRunning, 45 * time.Millisecond, 4, 50, "example.com/shop.Sum"},
	}
	if len(e.States) != len(want) || len(e.Timeline) != len(want) {
		t.Fatalf("%s", dump(e))
	}
	for i, w := range want {
		s := e.States[i]
		function := ""
		if len(s.Stacks) > 0 {
			function = s.Stacks[0].Function
		}
		if s.State != w.state || s.Duration.Duration() != w.duration || s.Count != w.count || int(100*s.ErrorRatio) != w.percent || function != w.function {
			t.Errorf("state %s, want %v", dump(s), w)
		}
	}
	if f := e.States[1].Stacks[0].Frames; f[0] != "runtime.gopark a.go:1" || len(f) != 6 {
		t.Errorf("frames %q", f)
	}
}

// One sample that stands for most of the time is not worth ten.
func TestUnequalSamples(t *testing.T) {
	var samples []exectrace.Sample
	for i := range 10 {
		samples = append(samples, exectrace.Sample{At: time.Duration(i) * time.Millisecond, Stack: stack("time.Sleep", "main.a")})
	}
	e := exectrace.FromSamples(samples, time.Second)
	checkSums(t, e, time.Second)
	if e.Source != "10 samples ±99 %" || e.States[0].ErrorRatio < 0.99 {
		t.Errorf("source %q, state %s", e.Source, dump(e.States[0]))
	}
	if len(e.Notes) != 1 || strings.Contains(e.Notes[0], "before the first") {
		t.Errorf("notes %q", e.Notes)
	}
}

// A timeline has at most 512 stretches: what is short is drawn together, what
// is long stays where it was.
func TestTimeline(t *testing.T) {
	var samples []exectrace.Sample
	for i := range 6000 {
		s := exectrace.Sample{At: time.Duration(i) * time.Millisecond, Stack: stack("time.Sleep", "main.a")}
		if i%3 == 0 && (i < 2000 || i > 4000) {
			s.Stack = stack("main.b")
		}
		samples = append(samples, s)
	}
	e := exectrace.FromSamples(samples, 6*time.Second)
	checkSums(t, e, 6*time.Second)
	var longest api.ExplainedStretch
	for _, s := range e.Timeline {
		if s.Duration > longest.Duration {
			longest = s
		}
	}
	if longest.State != api.StateSleep || longest.Duration.Duration() < 1900*time.Millisecond {
		t.Errorf("%d stretches, the longest %s", len(e.Timeline), dump(longest))
	}
	if d := in(e, api.StateRunning, ""); (d - 4*time.Second/3).Abs() > 10*time.Millisecond {
		t.Errorf("%v running, want a third of 4 s", d)
	}
}

// Too few samples are said, not drawn.
func TestFewSamples(t *testing.T) {
	for n, note := range []string{"0 samples: too few", "1 sample: too few", "2 samples: too few"} {
		var samples []exectrace.Sample
		for i := range n {
			samples = append(samples, exectrace.Sample{At: time.Duration(i) * time.Millisecond, Stack: stack("time.Sleep", "example.com/shop.Load")})
		}
		e := exectrace.FromSamples(samples, time.Second)
		checkSums(t, e, time.Second)
		if len(e.States) != 1 || e.States[0].State != api.StateOther || len(e.Timeline) != 0 || len(e.Notes) != 1 || !strings.HasPrefix(e.Notes[0], note) {
			t.Errorf("%d samples: %s", n, dump(e))
		}
		if k := e.States[0].Stacks; n > 0 && (len(k) != 1 || k[0].Count != api.Count(n) || k[0].Function != "example.com/shop.Load") {
			t.Errorf("%d samples: stacks %s", n, dump(k))
		}
	}
}

// The function that a stack is named by is the service's own.
func TestFunction(t *testing.T) {
	for _, tt := range []struct {
		want  string
		stack []hotspot.Frame
	}{
		{"main.load", stack("runtime.gopark", "runtime.selectgo", "net/http.(*Transport).RoundTrip", "github.com/pulsectl/pulsectl/pkg/monitoring.(*transport).RoundTrip", "net/http.(*Client).Do", "main.load", "main.serve")},
		{"shop/internal/db.(*Pool[...]).Get", stack("sync.(*Mutex).Lock", "shop/internal/db.(*Pool[...]).Get", "main.load")},
		{"gopkg.in/yaml%2ev3.(*parser).parse", stack("io.ReadAll", "gopkg.in/yaml%2ev3.(*parser).parse")},
		{"net/http.(*conn).serve", stack("internal/poll.runtime_pollWait", "internal/poll.(*FD).Read", "net/http.(*conn).serve")},
		{"runtime.gcBgMarkWorker", stack("runtime.gcBgMarkWorker", "runtime.goexit")},
		{"iter.Pull[go.shape.int].func1", stack("iter.Pull[go.shape.int].func1")},
		{"github.com/a/b.Map[net/http.Header].Get", stack("strings.ToLower", "github.com/a/b.Map[net/http.Header].Get")},
	} {
		e := exectrace.FromSamples([]exectrace.Sample{{Stack: tt.stack}}, time.Second)
		if got := e.States[0].Stacks[0].Function; got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// Stacks of goroutines as the profile of this very Go version has them.
func TestStatesOfStacks(t *testing.T) {
	p := newProgram(t)
	var mu sync.Mutex
	mu.Lock()
	var wg sync.WaitGroup
	wg.Add(1)
	cond := sync.NewCond(&sync.Mutex{})
	stop := make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var ended sync.WaitGroup
	start := func(state string, f func()) {
		ended.Go(func() { pprof.Do(context.Background(), pprof.Labels("state", state), func(context.Context) { f() }) })
	}
	start(api.StateChannel, func() { <-stop })
	start(api.StateChannel, func() {
		select {
		case <-stop:
		case p.c <- 1:
		}
	})
	start(api.StateMutex, func() { mu.Lock(); defer mu.Unlock() })
	start(api.StateMutex, func() { wg.Wait() })
	start(api.StateMutex, func() { cond.L.Lock(); cond.Wait(); cond.L.Unlock() })
	start(api.StateNetwork, func() { l.Accept() })
	start(api.StateNetwork, func() { p.conn.Read(make([]byte, 1)) })
	start(api.StateNetwork, func() { p.gets(&step{}) })
	start(api.StateSleep, func() { time.Sleep(300 * time.Millisecond) })
	start(api.StateSyscall, func() { p.calls(&step{}) })
	start(api.StateRunning, func() { work(300 * time.Millisecond) })
	time.Sleep(wait / 2)
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 0); err != nil {
		t.Fatal(err)
	}
	close(stop)
	mu.Unlock()
	wg.Done()
	cond.Broadcast()
	l.Close()
	p.conn.Close()
	ended.Wait()
	parsed, err := hotspot.Parse(b.Bytes(), hotspot.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	parsed.EachLabelled("state", func(i int, state string) {
		if !slices.ContainsFunc(parsed.Stack(nil, i), func(f hotspot.Frame) bool { return strings.Contains(f.Function, "TestStatesOfStacks") }) {
			return // one that a client has started
		}
		samples := make([]exectrace.Sample, 5)
		for k := range samples {
			samples[k] = exectrace.Sample{At: time.Duration(k), Stack: parsed.Stack(nil, i)}
		}
		e := exectrace.FromSamples(samples, time.Second)
		if len(e.States) != 1 || e.States[0].State != state || !strings.Contains(e.States[0].Stacks[0].Function, "exectrace_test.") {
			t.Errorf("%s is taken for %s", state, dump(e.States))
		}
		seen += int(parsed.Values(i)[0])
	})
	if seen != 11 {
		t.Errorf("%d goroutines, want 11", seen)
	}
}
