package exectrace_test

import (
	"context"
	"runtime/trace"
	"sync"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/exectrace"
)

// window is ten seconds of a busy process, and 64 requests of its last second
// and a half.
var window = sync.OnceValues(func() ([]byte, []exectrace.Request) {
	fr := trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: 10 * time.Second, MaxBytes: 48 << 20})
	if err := fr.Start(); err != nil {
		panic(err)
	}
	defer fr.Stop()
	stop := startTraffic()
	defer stop()
	time.Sleep(8 * time.Second)
	rs := make([]exectrace.Request, 64)
	var wg sync.WaitGroup
	for i := range rs {
		wg.Go(func() {
			rs[i] = exectrace.Request{Goroutines: []int64{goid()}, From: time.Now()}
			for time.Since(rs[i].From) < 1500*time.Millisecond {
				time.Sleep(5 * time.Millisecond)
				work(50 * time.Microsecond)
			}
			rs[i].To = time.Now()
		})
	}
	wg.Wait()
	b, err := record(fr)
	if err != nil {
		panic(err)
	}
	return b, rs
})

// Processor time is what counts: a window is read beside the service.
func BenchmarkExplain(b *testing.B) {
	data, rs := window()
	long := rs[0]
	long.From = long.To.Add(-9 * time.Second)
	for _, bm := range []struct {
		name string
		rs   []exectrace.Request
	}{{"1.5s", rs[:1]}, {"1.5s-64-requests", rs}, {"9s", []exectrace.Request{long}}} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			begin := processTime()
			for b.Loop() {
				out, err := exectrace.ExplainAll(context.Background(), [][]byte{data}, bm.rs, exectrace.Options{})
				if err != nil || out[0].Err != nil {
					b.Fatal(err, out[0].Err)
				}
			}
			b.ReportMetric(float64((processTime()-begin).Microseconds())/1000/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(len(data))/(1<<20), "MiB")
		})
	}
}
