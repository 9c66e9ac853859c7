// Package bench measures pulsectl beside the Go libraries that do the same
// work, in one process, so that the ratios hold on any machine.
//
// Benchmarks are named Row/impl=library; benchstat -col /impl sets them side by
// side. Each reports cpu-ns/op, the processor time of the whole process per
// operation, the collector's included: on a shared machine the elapsed time
// measures the neighbours too.
package bench

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
)

var slow = flag.Bool("slow", false, "also read the profile of 800,000 samples, for which go tool pprof takes minutes")

// TestMain names the machine in benchstat's form; testing adds the processor.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.bench"); f != nil && f.Value.String() != "" {
		fmt.Printf("cores: %d\ngo: %s\n", runtime.NumCPU(), runtime.Version())
	}
	os.Exit(m.Run())
}

// impl is one way to do the work of a row.
type impl struct {
	name string
	make func(testing.TB) func(i int) // builds it, and returns one operation
}

// compare measures each impl as a sub-benchmark, in one goroutine.
func compare(b *testing.B, impls []impl) {
	for _, im := range impls {
		b.Run("impl="+im.name, func(b *testing.B) {
			op, i := warm(im.make(b))
			b.ReportAllocs()
			defer track(b)()
			for ; b.Loop(); i++ {
				op(i)
			}
		})
	}
}

// compareParallel does so from GOMAXPROCS goroutines at once.
func compareParallel(b *testing.B, impls []impl) {
	for _, im := range impls {
		b.Run("impl="+im.name, func(b *testing.B) {
			op, _ := warm(im.make(b))
			b.ReportAllocs()
			b.ResetTimer()
			defer track(b)()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					op(i)
				}
			})
		})
	}
}

// warm does the operation for a while, so that pools and stores are as full as
// in a service that runs for long. It returns how often it did.
func warm(op func(int)) (func(int), int) {
	i := 0
	for start := time.Now(); time.Since(start) < 80*time.Millisecond; i++ {
		op(i)
	}
	return op, i
}

// track begins to measure; what it returns reports cpu-ns/op.
func track(b *testing.B) func() {
	start := cpuTime(syscall.RUSAGE_SELF)
	return func() { b.ReportMetric(float64(cpuTime(syscall.RUSAGE_SELF)-start)/float64(b.N), "cpu-ns/op") }
}

// cpuTime returns the user and system time that who has used so far.
func cpuTime(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		panic(err) // only a who that does not exist fails
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
