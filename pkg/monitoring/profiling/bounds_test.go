package profiling_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
)

// standAt waits at the end of a call path of its own.
//
//go:noinline
func standAt(path, depth int, stop chan struct{}) {
	switch {
	case depth == 0:
		<-stop
	case path&1 == 0:
		standAt(path>>1, depth-1, stop)
	default:
		standAtOther(path>>1, depth-1, stop)
	}
}

//go:noinline
func standAtOther(path, depth int, stop chan struct{}) { standAt(path, depth, stop) }

// TestRoomForStacksComesBack: requests of many goroutines fill the room that all
// have for their stacks, and leave it to those that come later.
func TestRoomForStacksComesBack(t *testing.T) {
	p := start(t, profiling.Options{SlowThreshold: 10 * time.Millisecond, Budget: 1})
	if raceSlack > 0 {
		t.Skip("the race detector makes snapshots of so many stacks too rare")
	}
	const requests, goroutines = 24, 256
	stop := make(chan struct{})
	var all, within, begun sync.WaitGroup
	begun.Add(requests)
	ids := make([]string, requests)
	for i := range ids {
		all.Go(func() {
			h := p.Begin(request("many"))
			for path := range goroutines {
				within.Go(func() { standAt(i*goroutines+path, 100, stop) })
			}
			begun.Done()
			<-stop
			ids[i] = p.End(h, profiling.Finish{Route: "GET /many"})
		})
	}
	begun.Wait()
	time.Sleep(1500 * time.Millisecond)
	close(stop)
	all.Wait()
	within.Wait()
	full := slices.IndexFunc(ids, func(id string) bool { return strings.Contains(get(t, p, id).Note, "found no room") })
	if full < 0 {
		t.Errorf("none of %d lacked room: the test is too small", requests)
	}
	eventually(t, "a later request whose stacks find room", func() bool {
		h := p.Begin(request("later"))
		waitOnDatabase(200 * time.Millisecond)
		id := p.End(h, profiling.Finish{Route: "GET /later"})
		return id != "" && names(get(t, p, id), "waitOnDatabase")
	})
}

// TestLastWindow: what ended in the window that mode on ends with has its CPU
// profile, too, and not only when mode on comes again.
func TestLastWindow(t *testing.T) {
	p := start(t, profiling.Options{Mode: profiling.ModeOn, SlowThreshold: 20 * time.Millisecond, CPUWindow: 10 * time.Second})
	eventually(t, "the flight recorder", func() bool { return p.Recording() })
	h := p.Begin(request("t"))
	burnCPU(300 * time.Millisecond)
	if id := p.End(h, profiling.Finish{Route: "GET /burn"}); id == "" {
		t.Fatal("not caught")
	}
	if err := p.Disable(profiling.ModeWatch); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its CPU profile", func() bool { return len(p.List(profiling.Query{Type: "cpu", TraceID: "t"})) == 1 })
}

// TestUnreadableTrace: a trace that cannot be read, as one of a Go that is not
// known yet, is kept as it is, once a minute, and the profile says where.
func TestUnreadableTrace(t *testing.T) {
	p, err := profiling.New(profiling.Options{Mode: profiling.ModeOn, SlowThreshold: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	p.FailTraces(errors.New("unknown trace version 9.99"))
	run(t, p)
	eventually(t, "the flight recorder", func() bool { return p.Recording() })
	for i := range 2 {
		h := p.Begin(request("t"))
		waitOnDatabase(300 * time.Millisecond)
		s := get(t, p, p.End(h, profiling.Finish{Route: "GET /r"}))
		notes := strings.Join(s.Explanation.Notes, "; ")
		if !strings.Contains(notes, "the trace could not be read: unknown trace version 9.99") || s.Explanation.Source == "exact (trace)" {
			t.Errorf("notes = %s", notes)
		}
		kept := p.List(profiling.Query{Type: "trace"})
		if len(kept) != 1 {
			t.Fatalf("%d traces kept, want 1", len(kept))
		}
		raw, err := p.Data(kept[0].ProfileID)
		if err != nil || !bytes.HasPrefix(raw, []byte("go 1.")) || kept[0].TraceID != "t" {
			t.Errorf("kept %.20q, %v: %+v", raw, err, kept[0])
		}
		if said := strings.Contains(notes, "it is kept as "+kept[0].ProfileID); said != (i == 0) {
			t.Errorf("%d: notes = %s", i, notes)
		}
	}
}

// TestSummariesAreWeighed: what an explanation takes counts as much as data.
func TestSummariesAreWeighed(t *testing.T) {
	s := profiling.NewStore(profiling.StoreOptions{MaxBytes: 1 << 20})
	frame := strings.Repeat("f", 1000)
	frames := strings.Split(strings.Repeat(frame+" ", 64), " ")
	for range 100 {
		s.Add(api.Profile{ProfileID: profiling.NewID(), Explanation: &api.Explanation{States: []api.ExplainedState{{Stacks: []api.ExplainedStack{{Frames: frames}}}}}}, nil)
	}
	if n := len(s.List(profiling.Query{Limit: 100})); n < 10 || n > 16 {
		t.Errorf("%d profiles of 64 kB each are within 1 MiB", n)
	}
}

// TestLongNames: a function's name may be as long as an upload, which a summary
// and the rows of a top are not.
func TestLongNames(t *testing.T) {
	p := start(t, profiling.Options{})
	s, err := p.AddUpload([]byte("main;"+strings.Repeat("x", 1<<20)+" 7\n"), "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	top, err := p.Top(s.ProfileID, profiling.TopOptions{})
	if err != nil || len(top.Rows) != 2 || len(top.Rows[0].Function) > 4096 {
		t.Errorf("%d rows, %v", len(top.Rows), err)
	}
	for _, f := range s.TopFunctions {
		if len(f.FilenameFunction) > 9000 {
			t.Errorf("a function of %d bytes", len(f.FilenameFunction))
		}
	}
}
