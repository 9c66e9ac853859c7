package exectrace_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/trace"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// recorder is a flight recorder that runs until the test ends.
func recorder(t testing.TB, o trace.FlightRecorderConfig) *trace.FlightRecorder {
	t.Helper()
	fr := trace.NewFlightRecorder(o)
	if err := fr.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fr.Stop)
	return fr
}

func snapshot(t testing.TB, fr *trace.FlightRecorder) []byte {
	t.Helper()
	b, err := record(fr)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func record(fr *trace.FlightRecorder) ([]byte, error) {
	var b bytes.Buffer
	_, err := fr.WriteTo(&b)
	return b.Bytes(), err
}

// goid is the number of the goroutine that asks.
func goid() (id int64) {
	b := make([]byte, 64)
	fmt.Sscanf(string(b[:runtime.Stack(b, false)]), "goroutine %d ", &id)
	return id
}

// traffic keeps other goroutines busy until the test ends.
func traffic(t testing.TB) { t.Cleanup(startTraffic()) }

// startTraffic starts goroutines that talk over channels and make garbage, and
// returns what stops them.
func startTraffic() (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		a, b := make(chan []byte), make(chan []byte)
		wg.Go(func() {
			for m := range a {
				b <- append([]byte(nil), m...)
			}
			close(b)
		})
		wg.Go(func() {
			defer close(a)
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				case a <- make([]byte, 4096):
					<-b
				}
				if i%64 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	return func() { close(done); wg.Wait() }
}

// step is one thing that the test program did, as it saw it itself.
type step struct {
	state    string
	from, to time.Time
	function string
	atLeast  time.Duration // until the other side ended the wait; of processor time, what the host says
}

// program does known waits and work. It returns what it did.
type program struct {
	steps []step
	mu    sync.Mutex
	c     chan int
	conn  net.Conn
	pipe  [2]int
	url   string
}

const wait = 60 * time.Millisecond

func (p *program) run() {
	p.do(api.StateSleep, "sleeps", p.sleeps)
	p.do(api.StateMutex, "locks", p.locks)
	p.do(api.StateChannel, "receives", p.receives)
	p.do(api.StateChannel, "selects", p.selects)
	p.do(api.StateNetwork, "reads", p.reads)
	p.do(api.StateNetwork, "gets", p.gets)
	p.do(api.StateSyscall, "calls", p.calls)
	p.do(api.StateMutex, "waits", p.waits)
	p.do(api.StateRunning, "burns", p.burns)
	p.do(api.StateRunning, "allocates", p.allocates)
}

func (p *program) do(state, function string, f func(*step)) {
	s := step{state: state, function: "(*program)." + function, from: time.Now()}
	f(&s)
	s.to = time.Now()
	p.steps = append(p.steps, s)
}

func (p *program) sleeps(s *step) {
	time.Sleep(wait)
	s.atLeast = wait
}

func (p *program) locks(s *step) {
	p.mu.Lock()
	after(s, p.mu.Unlock)
	p.mu.Lock()
	defer p.mu.Unlock()
}

func (p *program) receives(s *step) {
	after(s, func() { p.c <- 1 })
	<-p.c
}

func (p *program) selects(s *step) {
	after(s, func() { p.c <- 1 })
	select {
	case <-p.c:
	case <-time.After(time.Minute):
	}
}

func (p *program) reads(s *step) {
	peer := p.conn.(*pair).peer
	after(s, func() { peer.Write([]byte("x")) })
	p.conn.Read(make([]byte, 1))
}

func (p *program) gets(s *step) {
	if r, err := http.Get(p.url); err == nil { // which a handler answers after a while
		r.Body.Close()
		s.atLeast = wait
	}
}

func (p *program) calls(s *step) {
	after(s, func() { syscall.Write(p.pipe[1], []byte("x")) })
	syscall.Read(p.pipe[0], make([]byte, 1))
}

func (p *program) waits(s *step) {
	var wg sync.WaitGroup
	wg.Add(1)
	after(s, wg.Done)
	wg.Wait()
}

func (p *program) burns(s *step) { s.atLeast = burn(2 * wait) }

func (p *program) allocates(*step) {
	var keep [][]byte
	for range allocation >> 14 {
		keep = append(keep, make([]byte, 1<<14))
	}
	sink.Store(&keep)
	sink.Store(nil)
}

const allocation = 32 << 20 // bytes

var sink atomic.Pointer[[][]byte]

// burn works for a while and returns how much processor time the host says it was.
func burn(d time.Duration) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begin := threadTime()
	work(d)
	return threadTime() - begin
}

// burnFully works until the host has given it d of a processor.
func burnFully(d time.Duration) (had time.Duration) {
	for had < d {
		had += burn(d - had)
	}
	return had
}

// work keeps a processor busy.
func work(d time.Duration) {
	for begin, n := time.Now(), 0; time.Since(begin) < d; {
		for i := range 1000 {
			n += i * n
		}
	}
}

// after does what ends a wait, and notes when.
func after(s *step, wake func()) {
	time.AfterFunc(wait, func() {
		s.atLeast = time.Since(s.from)
		wake()
	})
}

func threadTime() time.Duration  { return used(1) } // RUSAGE_THREAD
func processTime() time.Duration { return used(syscall.RUSAGE_SELF) }

func used(who int) time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(who, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

type pair struct {
	net.Conn
	peer net.Conn
}

func newProgram(t testing.TB) *program {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{c: make(chan int), conn: &pair{a, b}}
	if err := syscall.Pipe(p.pipe[:]); err != nil {
		t.Fatal(err)
	}
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(wait) }))
	p.url = slow.URL
	t.Cleanup(func() {
		slow.Close()
		a.Close()
		b.Close()
		syscall.Close(p.pipe[0])
		syscall.Close(p.pipe[1])
	})
	return p
}

func dump(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
