// Command modes measures what profiling costs a service in each of its modes:
// the processor time of the whole process for a request, with a slow request
// each second beside the fast ones. Mode off is measured twice: what lies
// between the two is noise.
//
//	go run ./cmd/modes -rounds 8 -time 2s
package main

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
)

func main() {
	rounds := flag.Int("rounds", 8, "measurements of each mode")
	length := flag.Duration("time", 2*time.Second, "length of one")
	flag.Parse()
	if err := run(*rounds, *length); err != nil {
		fmt.Fprintln(os.Stderr, "modes:", err)
		os.Exit(1)
	}
}

// turn is a mode that is measured.
type turn struct {
	name string
	mode profiling.Mode
	took []float64 // nanoseconds of processor time a request, by round
}

func run(rounds int, length time.Duration) error {
	m, err := monitoring.New(monitoring.Options{Service: "modes"})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { m.Run(ctx) }) // it ends when ctx does
	mux := http.NewServeMux()
	mux.HandleFunc("GET /work", work)
	mux.HandleFunc("GET /slow", func(http.ResponseWriter, *http.Request) { time.Sleep(1200 * time.Millisecond) })
	m.Mount(mux)
	h := m.Middleware(mux)
	wg.Go(func() { slowOnes(ctx, h) })
	turns := []*turn{{name: "off", mode: profiling.ModeOff}, {name: "off again", mode: profiling.ModeOff}, {name: "watch", mode: profiling.ModeWatch}, {name: "on", mode: profiling.ModeOn}}
	for i := range rounds + 1 {
		for j := range turns {
			t := turns[(i+j)%len(turns)]
			if err := set(m.Profiles, t.mode); err != nil {
				return err
			}
			if took := measure(h, length); i > 0 { // the first round warms up
				t.took = append(t.took, took)
			}
		}
	}
	report(turns)
	return nil
}

func set(p *profiling.Profiler, mode profiling.Mode) error {
	if mode == profiling.ModeOn {
		p.Enable(0, 0)
		return nil
	}
	return p.Disable(mode)
}

// work is some 100 µs of processor time and a short wait.
func work(w http.ResponseWriter, _ *http.Request) {
	var sum [32]byte
	for range 1000 {
		sum = sha256.Sum256(sum[:])
	}
	time.Sleep(500 * time.Microsecond)
	fmt.Fprintf(w, "%x", sum)
}

func slowOnes(ctx context.Context, h http.Handler) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			wg.Go(func() { h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/slow", nil)) })
		}
	}
}

// measure returns the processor time of a request, from 8 callers at once.
func measure(h http.Handler, length time.Duration) float64 {
	var wg sync.WaitGroup
	var n atomic.Int64
	end, before := time.Now().Add(length), cpuTime()
	for range 8 {
		wg.Go(func() {
			r := httptest.NewRequest("GET", "/work", nil)
			for time.Now().Before(end) {
				h.ServeHTTP(httptest.NewRecorder(), r)
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(cpuTime()-before) / float64(n.Load())
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func report(turns []*turn) {
	base := median(turns[0].took)
	fmt.Println("| mode | processor time a request | over mode off | share |\n| --- | --- | --- | --- |")
	for _, t := range turns {
		took := median(t.took)
		fmt.Printf("| %s | %.1f µs | %+.2f µs | %+.1f %% |\n", t.name, took/1e3, (took-base)/1e3, 100*(took-base)/base)
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
