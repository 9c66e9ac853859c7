package exectrace_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"math"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/exectrace"
	"github.com/pulsectl/pulsectl/pkg/api"
)

var window10s = trace.FlightRecorderConfig{MinAge: 10 * time.Second, MaxBytes: 48 << 20}

// A program that waits and works in known ways, amid others, is told what it
// did: each wait within 2 ms or 2 % of what it measured itself. The machine may
// take the processor away between two readings of the clock, so it may try
// again.
func TestKnownWaits(t *testing.T) {
	traffic(t)
	var complaints []string
	for range 4 {
		if complaints = knownWaits(t); len(complaints) == 0 {
			return
		}
	}
	t.Error(strings.Join(complaints, "\n"))
}

func knownWaits(t *testing.T) (complaints []string) {
	fr := recorder(t, window10s)
	defer fr.Stop()
	p := newProgram(t)
	done := make(chan exectrace.Request)
	go func() {
		r := exectrace.Request{Goroutines: []int64{goid()}, From: time.Now()}
		p.run()
		r.To = time.Now()
		done <- r
	}()
	time.Sleep(5 * wait / 2) // the threshold
	first := snapshot(t, fr)
	r := <-done
	e := explain(t, [][]byte{first, snapshot(t, fr)}, r, exectrace.Options{})
	if e.Source != "exact (trace)" || len(e.Notes) != 0 {
		t.Errorf("source %q, notes %q", e.Source, e.Notes)
	}
	for _, s := range p.steps {
		complaints = append(complaints, s.check(e)...)
	}
	if e.Allocated == nil || math.Abs(e.Allocated.Value-allocation)/allocation > 0.05 {
		complaints = append(complaints, "allocated "+dump(e.Allocated))
	}
	return complaints
}

// check compares a step with what is said of its function.
func (s *step) check(e *api.Explanation) (complaints []string) {
	took, said := s.to.Sub(s.from), in(e, s.state, s.function)
	if s.state == api.StateRunning {
		// Stacks of what runs need samples; the sum is above what the host
		// has accounted and below what the steps leave.
		said = in(e, s.state, "")
	}
	tolerance := max(2*time.Millisecond, took/50)
	if said < s.atLeast-tolerance || s.state != api.StateRunning && said > took+tolerance/10 {
		complaints = append(complaints, s.function+": "+said.String()+" "+s.state+" of "+took.String()+", at least "+s.atLeast.String())
	}
	for _, other := range e.States {
		if d := in(e, other.State, s.function); isWait(other.State) && isWait(s.state) && other.State != s.state && d > 2*time.Millisecond {
			complaints = append(complaints, s.function+": "+d.String()+" "+other.State)
		}
	}
	return complaints
}

func isWait(state string) bool {
	switch state {
	case api.StateRunning, api.StateRunnable, api.StateGC, api.StateOther:
		return false
	}
	return true
}

// in returns the time in a state, or that which a function has of it.
func in(e *api.Explanation, state, function string) (d time.Duration) {
	for _, s := range e.States {
		if s.State != state {
			continue
		}
		if function == "" {
			return s.Duration.Duration()
		}
		for _, k := range s.Stacks {
			if strings.HasSuffix(k.Function, function) {
				d += k.Duration.Duration()
			}
		}
	}
	return d
}

func explain(t testing.TB, snapshots [][]byte, r exectrace.Request, o exectrace.Options) *api.Explanation {
	t.Helper()
	e, err := exectrace.Explain(context.Background(), snapshots, r, o)
	if err != nil {
		t.Fatal(err)
	}
	checkSums(t, e, r.To.Sub(r.From))
	return e
}

// checkSums checks what is true of every explanation.
func checkSums(t testing.TB, e *api.Explanation, wall time.Duration) {
	t.Helper()
	var sum, line time.Duration
	for i, s := range e.States {
		sum += s.Duration.Duration()
		if s.Duration <= 0 || math.Abs(s.Ratio-float64(s.Duration)/float64(e.Wall)) > 1e-9 || s.Count < 0 {
			t.Errorf("state %s", dump(s))
		}
		if i > 0 && s.Duration > e.States[i-1].Duration {
			t.Errorf("%s is longer than %s before it", s.State, e.States[i-1].State)
		}
		var stacks time.Duration
		for _, k := range s.Stacks {
			stacks += k.Duration.Duration()
			if k.Function == "" || len(k.Frames) == 0 || len(k.Frames) > 64 {
				t.Errorf("stack %s of %s", dump(k), s.State)
			}
		}
		if stacks > s.Duration.Duration() || len(s.Stacks) > 8 {
			t.Errorf("%d stacks with %v of %v %s", len(s.Stacks), stacks, s.Duration.Duration(), s.State)
		}
	}
	for i, s := range e.Timeline {
		if s.Start.Duration() != line || s.Duration <= 0 || i > 0 && e.Timeline[i-1].State == s.State {
			t.Errorf("stretch %d %s, want it to start at %v", i, dump(s), line)
		}
		line += s.Duration.Duration()
	}
	if e.Wall.Duration() != wall || sum != wall || len(e.Timeline) > 512 || e.Timeline != nil && line != wall {
		t.Errorf("wall %v: states sum to %v, %d stretches to %v; want %v", e.Wall.Duration(), sum, len(e.Timeline), line, wall)
	}
}

// serve runs f as a request in a goroutine of its own.
func serve(f func()) exectrace.Request {
	done := make(chan exectrace.Request)
	go func() {
		r := exectrace.Request{Goroutines: []int64{goid()}, From: time.Now()}
		f()
		r.To = time.Now()
		done <- r
	}()
	return <-done
}

// Many requests that the same snapshots show are explained in one go, with the
// processor time of the goroutines that each has started, and theirs alone.
func TestExplainAll(t *testing.T) {
	fr := recorder(t, window10s)
	traffic(t)
	rs := make([]exectrace.Request, 64)
	children := make([]time.Duration, len(rs))
	var wg sync.WaitGroup
	for i := range rs {
		wg.Go(func() {
			rs[i] = serve(func() {
				time.Sleep(20 * time.Millisecond)
				if i%16 == 0 {
					var c sync.WaitGroup
					c.Go(func() { c.Go(func() { children[i] = burn(30 * time.Millisecond) }) })
					c.Wait()
				}
			})
		})
	}
	wg.Wait()
	out, err := exectrace.ExplainAll(context.Background(), [][]byte{snapshot(t, fr)}, rs, exectrace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	long := 0
	for i, r := range out {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		checkSums(t, r.Explanation, rs[i].To.Sub(rs[i].From))
		if d := in(r.Explanation, api.StateSleep, ""); d < 19*time.Millisecond {
			t.Errorf("request %d slept %v", i, d)
		}
		cpu, running := time.Duration(r.Explanation.CPU.Value*1e9), in(r.Explanation, api.StateRunning, "")
		if cpu < children[i]-2*time.Millisecond {
			t.Errorf("request %d: cpu %v, its children had %v", i, cpu, children[i])
		}
		if i%16 != 0 && cpu > 15*time.Millisecond || running > 15*time.Millisecond {
			long++ // others' children, or its own were taken for it; or the host has paused it
		}
	}
	if long > 8 {
		t.Errorf("%d of %d requests ran, which only slept and waited", long, len(rs))
	}
}

// With the CPU profiler on, cpu is what the samples stand for, and agrees with
// what the host has accounted.
func TestSamples(t *testing.T) {
	fr := recorder(t, window10s)
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		t.Fatal(err)
	}
	defer pprof.StopCPUProfile()
	var had time.Duration
	r := serve(func() { had = burnFully(300 * time.Millisecond) })
	data := [][]byte{snapshot(t, fr)}
	e := explain(t, data, r, exectrace.Options{Sampled: []exectrace.Window{{From: r.From, To: r.To}}})
	if diff := math.Abs(e.CPU.Value - had.Seconds()); diff > 4*e.CPU.ErrorRatio*e.CPU.Value+0.02 {
		t.Errorf("cpu %s, the host says %v", dump(e.CPU), had)
	}
	if !strings.HasSuffix(e.CPU.Source, " %") || !strings.Contains(e.CPU.Source, " samples ±") {
		t.Errorf("source %q", e.CPU.Source)
	}
	if d := in(e, api.StateRunning, "exectrace_test.work"); d < had*9/10 {
		t.Errorf("%v running in work, the host says %v; %s", d, had, dump(e.States))
	}
	if running := in(e, api.StateRunning, ""); e.Withheld != nil && math.Abs(e.Withheld.Value-(running-had).Seconds()) > 4*e.Withheld.ErrorRatio*e.Withheld.Value+0.02 {
		t.Errorf("withheld %s of %v running, the host gave %v", dump(e.Withheld), running, had)
	}
	e = explain(t, data, r, exectrace.Options{})
	if e.CPU.Source != "exact (trace)" || e.Withheld != nil {
		t.Errorf("nothing was sampled: cpu %s, withheld %s", dump(e.CPU), dump(e.Withheld))
	}
}

// What ran without giving samples was not on a processor of the host, if there
// is enough of it.
func TestWithheld(t *testing.T) {
	fr := recorder(t, window10s) // and no profiler, which looks like a host that gives nothing
	long := serve(func() { burn(120 * time.Millisecond) })
	short := serve(func() { burn(10 * time.Millisecond) })
	out, err := exectrace.ExplainAll(context.Background(), [][]byte{snapshot(t, fr)}, []exectrace.Request{long, short},
		exectrace.Options{Sampled: []exectrace.Window{{From: long.From, To: short.To}}})
	if err != nil {
		t.Fatal(err)
	}
	e := out[0].Explanation
	if running := in(e, api.StateRunning, ""); e.Withheld == nil || math.Abs(e.Withheld.Value-running.Seconds()) > 0.01 {
		t.Errorf("withheld %s of %v", dump(e.Withheld), running)
	}
	if len(e.Notes) != 1 || !strings.Contains(e.Notes[0], "too few") || e.CPU != nil {
		t.Errorf("notes %q, cpu %s; want no cpu and one note that samples are too few", e.Notes, dump(e.CPU))
	}
	// Unless the host has in fact paused it.
	if e := out[1].Explanation; e.Withheld != nil && in(e, api.StateRunning, "") < 35*time.Millisecond {
		t.Errorf("withheld %s of a request that ran for less than a few samples", dump(e.Withheld))
	}
}

// What no snapshot covers is other, and said.
func TestUncovered(t *testing.T) {
	fr := recorder(t, window10s)
	var threshold []byte
	r := serve(func() {
		time.Sleep(30 * time.Millisecond)
		threshold = snapshot(t, fr)
		time.Sleep(50 * time.Millisecond)
	})
	e := explain(t, [][]byte{threshold}, r, exectrace.Options{})
	if d := in(e, api.StateOther, ""); d < 49*time.Millisecond {
		t.Errorf("%v other, want what is after the snapshot", d)
	}
	if d := in(e, api.StateSleep, ""); d < 29*time.Millisecond || d > r.To.Sub(r.From)-49*time.Millisecond {
		t.Errorf("slept %v", d)
	}
	if len(e.Notes) != 1 || !strings.HasPrefix(e.Notes[0], "no snapshot covers ") {
		t.Errorf("notes %q", e.Notes)
	}
	if last := e.Timeline[len(e.Timeline)-1]; last.State != api.StateOther {
		t.Errorf("last stretch %s", dump(last))
	}
}

// A wait that the recorder did not see begin is told by its stack.
func TestBeganBefore(t *testing.T) {
	var c = make(chan int)
	requests := make(chan exectrace.Request)
	go func() { requests <- serve(func() { <-c }) }()
	time.Sleep(20 * time.Millisecond)
	fr := recorder(t, window10s)
	time.Sleep(20 * time.Millisecond)
	first := snapshot(t, fr)
	time.Sleep(20 * time.Millisecond)
	c <- 1
	r := <-requests
	e := explain(t, [][]byte{first, snapshot(t, fr)}, r, exectrace.Options{})
	other, waited := in(e, api.StateOther, ""), in(e, api.StateChannel, "TestBeganBefore.func1.1")
	if waited < 39*time.Millisecond || other < 18*time.Millisecond || other > r.To.Sub(r.From)-waited {
		t.Errorf("%v channel, %v other: %s", waited, other, dump(e))
	}
}

// A coroutine works for the request that waits for it.
func TestCoroutine(t *testing.T) {
	fr := recorder(t, window10s)
	var had time.Duration
	r := serve(func() {
		next, stop := iter.Pull(func(yield func(int) bool) {
			had = burn(30 * time.Millisecond)
			yield(1)
		})
		defer stop()
		next()
	})
	e := explain(t, [][]byte{snapshot(t, fr)}, r, exectrace.Options{})
	if d := in(e, api.StateOther, "iter.Pull"); d < 29*time.Millisecond || e.CPU.Value < had.Seconds()-0.002 || len(e.Notes) != 0 {
		t.Errorf("%v in a coroutine, which had %v: %s", d, had, dump(e))
	}
}

// The order of snapshots, and how often one is given, makes no difference.
func TestSnapshotsOverlap(t *testing.T) {
	fr := recorder(t, window10s)
	var a, b []byte
	r := serve(func() {
		time.Sleep(20 * time.Millisecond)
		a = snapshot(t, fr)
		burn(20 * time.Millisecond)
		b = snapshot(t, fr)
		time.Sleep(20 * time.Millisecond)
	})
	c := snapshot(t, fr)
	want := dump(explain(t, [][]byte{c}, r, exectrace.Options{}))
	for _, in := range [][][]byte{{a, c}, {c, a}, {a, b, c}, {c, b, a, c, b, a}} {
		if got := dump(explain(t, in, r, exectrace.Options{})); got != want {
			t.Errorf("%d snapshots: %s\nwant %s", len(in), got, want)
		}
	}
}

// The recorder forgets: what one snapshot has lost is in the one before it.
func TestSnapshotsInARow(t *testing.T) {
	fr := recorder(t, trace.FlightRecorderConfig{MinAge: 40 * time.Millisecond, MaxBytes: 48 << 20})
	var row [][]byte
	c := make(chan int)
	r := serve(func() {
		go func() {
			defer close(c)
			for range 8 {
				time.Sleep(15 * time.Millisecond)
				row = append(row, snapshot(t, fr))
				c <- 1 // ends a wait that began in the generation before
			}
		}()
		for range c {
		}
	})
	row = append(row, snapshot(t, fr))
	last := explain(t, row[len(row)-1:], r, exectrace.Options{})
	if d := in(last, api.StateOther, ""); d < 19*time.Millisecond {
		t.Fatalf("the last snapshot has lost %v: this shows nothing", d)
	}
	for range 2 {
		e := explain(t, row, r, exectrace.Options{})
		if d := in(e, api.StateChannel, "TestSnapshotsInARow.func1"); d < 115*time.Millisecond || len(e.Notes) != 0 {
			t.Errorf("%v channel: %s", d, dump(e))
		}
		slices.Reverse(row)
	}
}

// Between two recordings nothing is known.
func TestGap(t *testing.T) {
	fr := recorder(t, window10s)
	var before []byte
	c := make(chan int)
	r := serve(func() {
		go func() {
			time.Sleep(20 * time.Millisecond)
			before = snapshot(t, fr)
			fr.Stop()
			time.Sleep(20 * time.Millisecond)
			if err := fr.Start(); err != nil {
				t.Error(err)
			}
			time.Sleep(20 * time.Millisecond)
			snapshot(t, fr)
			close(c)
		}()
		<-c
	})
	e := explain(t, [][]byte{before, snapshot(t, fr)}, r, exectrace.Options{})
	if o, d := in(e, api.StateOther, ""), in(e, api.StateChannel, "TestGap.func1"); o < 19*time.Millisecond || d < 39*time.Millisecond || o+d > r.To.Sub(r.From) {
		t.Errorf("%v other, %v channel: %s", o, d, dump(e))
	}
}

// A connection's goroutine serves one request after the other. What the first
// has left running is not the second's.
func TestOneAfterTheOther(t *testing.T) {
	fr := recorder(t, window10s)
	for try := range 4 { // the host may pause it
		if e := twoInARow(t, fr); e.CPU.Value < 0.005 && in(e, api.StateSleep, "") >= 39*time.Millisecond {
			return
		} else if try == 3 {
			t.Errorf("cpu %s of a request that slept: %s", dump(e.CPU), dump(e.States))
		}
	}
}

func twoInARow(t *testing.T, fr *trace.FlightRecorder) *api.Explanation {
	var left sync.WaitGroup
	first, second := exectrace.Request{}, exectrace.Request{}
	serve(func() {
		first = exectrace.Request{Goroutines: []int64{goid()}, From: time.Now()}
		left.Go(func() { burn(60 * time.Millisecond) })
		first.To = time.Now()
		second = exectrace.Request{Goroutines: first.Goroutines, From: time.Now()}
		time.Sleep(40 * time.Millisecond)
		second.To = time.Now()
	})
	left.Wait()
	return explain(t, [][]byte{snapshot(t, fr)}, second, exectrace.Options{})
}

func TestRefuses(t *testing.T) {
	fr := recorder(t, window10s)
	r := serve(func() { time.Sleep(10 * time.Millisecond) })
	data := snapshot(t, fr)
	later := r
	later.From, later.To = r.From.Add(-time.Hour), r.To.Add(-time.Hour)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for _, tt := range []struct {
		name string
		ctx  context.Context
		in   [][]byte
		r    exectrace.Request
		o    exectrace.Options
		want error
		text string
	}{
		{"nothing", nil, nil, r, exectrace.Options{}, exectrace.ErrFormat, "it is empty"},
		{"text", nil, [][]byte{[]byte("hello")}, r, exectrace.Options{}, exectrace.ErrFormat, "no header"},
		{"header alone", nil, [][]byte{data[:16]}, r, exectrace.Options{}, exectrace.ErrFormat, "it is empty"},
		{"old", nil, [][]byte{append([]byte("go 1.22 trace\x00\x00\x00"), data[16:]...)}, r, exectrace.Options{}, exectrace.ErrVersion, "go 1.22, want 1.25 or newer"},
		{"new", nil, [][]byte{append([]byte("go 1.99 trace\x00\x00\x00"), data[16:]...)}, r, exectrace.Options{}, exectrace.ErrVersion, "go 1.99"},
		{"large", nil, [][]byte{data}, r, exectrace.Options{MaxBytes: 100}, exectrace.ErrTooLarge, "want at most 100"},
		{"garbage", nil, [][]byte{append(bytes.Clone(data[:16]), bytes.Repeat([]byte{7}, 100)...)}, r, exectrace.Options{}, exectrace.ErrBroken, "byte 16"},
		{"cancelled", cancelled, [][]byte{data}, r, exectrace.Options{}, context.Canceled, "read trace"},
		{"no such goroutine", nil, [][]byte{data}, exectrace.Request{Goroutines: []int64{1 << 40}, From: r.From, To: r.To}, exectrace.Options{}, exectrace.ErrUnseen, "1099511627776"},
		{"no goroutine", nil, [][]byte{data}, exectrace.Request{From: r.From, To: r.To}, exectrace.Options{}, exectrace.ErrUnseen, "is named"},
		{"another time", nil, [][]byte{data}, later, exectrace.Options{}, exectrace.ErrUnseen, "while it ran"},
		{"ends first", nil, [][]byte{data}, exectrace.Request{Goroutines: r.Goroutines, From: r.To, To: r.From}, exectrace.Options{}, exectrace.ErrUnseen, "it took -"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := exectrace.Explain(cmp.Or(tt.ctx, context.Background()), tt.in, tt.r, tt.o)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("explanation %s, error %v, want %v with %q", dump(e), err, tt.want, tt.text)
			}
		})
	}
}

// A trace that is cut off or damaged says what it can, or why it cannot.
func TestDamaged(t *testing.T) {
	fr := recorder(t, window10s)
	var first []byte
	r := serve(func() {
		time.Sleep(10 * time.Millisecond)
		first = snapshot(t, fr) // so that there are several generations
		time.Sleep(10 * time.Millisecond)
	})
	data := snapshot(t, fr)
	told, broken := 0, 0
	check := func(in []byte) {
		e, err := exectrace.Explain(context.Background(), [][]byte{in}, r, exectrace.Options{})
		if err == nil {
			told++
			if len(e.Notes) > 0 && strings.HasPrefix(e.Notes[0], "generation ") {
				broken++
			}
			checkSums(t, e, r.To.Sub(r.From))
		} else if strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
			t.Errorf("error %q", err)
		}
	}
	step := max(1, len(data)/150)
	for i := 0; i < len(data); i += step {
		check(data[:i])
		flipped := bytes.Clone(data)
		flipped[i] ^= 0x15
		check(flipped)
	}
	if told < 20 || broken == 0 {
		t.Errorf("%d of 300 damaged traces told anything, %d of them that a generation is broken", told, broken)
	}
	// What is whole beside what is not stands.
	e := explain(t, [][]byte{first, data[:len(data)-5]}, r, exectrace.Options{})
	if d := in(e, api.StateSleep, ""); d < 9*time.Millisecond || len(e.Notes) == 0 {
		t.Errorf("slept %v, notes %q", d, e.Notes)
	}
}
