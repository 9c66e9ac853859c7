package bench

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/pprof/profile"

	"github.com/pulsectl/pulsectl/internal/hotspot"
)

// BenchmarkProfilesTop reads a generated CPU profile in a process of its own,
// from start to end, as an operator does. max-rss-B is what the process held
// at most.
func BenchmarkProfilesTop(b *testing.B) {
	pulsectl := filepath.Join(b.TempDir(), "pulsectl")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", pulsectl, "./cmd/pulsectl")
	build.Dir = ".."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	pprof, err := exec.Command("go", "tool", "-n", "pprof").Output()
	if err != nil {
		b.Fatal(err)
	}
	sizes := []int{20_000}
	if *slow {
		sizes = append(sizes, 800_000)
	}
	for _, n := range sizes {
		file := filepath.Join(b.TempDir(), "cpu.pb.gz")
		writeProfile(b, file, n)
		b.Run(fmt.Sprintf("samples=%d/impl=pulsectl", n), process(pulsectl, "profiles", "top", "-n", "20", file))
		b.Run(fmt.Sprintf("samples=%d/impl=pprof", n), process(strings.TrimSpace(string(pprof)), "-top", "-nodecount=20", file))
	}
}

// BenchmarkFlameTree makes the call tree of a generated profile of 250,000
// different stacks, parsed before: whole, and as far as a screen shows it. The
// peer is a tree with a map a node, as tools have that are built on pprof's library.
func BenchmarkFlameTree(b *testing.B) {
	file := filepath.Join(b.TempDir(), "cpu.pb.gz")
	writeProfile(b, file, 250_000)
	data := must(os.ReadFile(file))
	parsed := must(hotspot.Parse(data, hotspot.Limits{}))
	for what, nodes := range map[string]int{"whole": -1, "screen": 0} {
		b.Run("nodes="+what+"/impl=pulsectl", func(b *testing.B) {
			defer track(b)()
			for b.Loop() {
				must(hotspot.Flame(parsed, hotspot.FlameOptions{MaxNodes: nodes}))
			}
		})
	}
	if !*slow {
		return
	}
	p := must(profile.ParseData(data))
	b.Run("nodes=whole/impl=maps", func(b *testing.B) {
		defer track(b)()
		for b.Loop() {
			root := &mapNode{}
			for _, s := range p.Sample {
				root.add(s)
			}
		}
	})
}

type mapNode struct {
	value    int64
	children map[string]*mapNode
}

func (n *mapNode) add(s *profile.Sample) {
	v := s.Value[len(s.Value)-1]
	n.value += v
	for _, l := range slices.Backward(s.Location) {
		for _, ln := range slices.Backward(l.Line) {
			c := n.children[ln.Function.Name]
			if c == nil {
				if n.children == nil {
					n.children = map[string]*mapNode{}
				}
				c = &mapNode{}
				n.children[ln.Function.Name] = c
			}
			c.value += v
			n = c
		}
	}
}

// process measures a command's own use, not that of the benchmark.
func process(name string, args ...string) func(*testing.B) {
	return func(b *testing.B) {
		var cpu time.Duration
		var rss int64
		forgetPeak()
		for b.Loop() {
			cmd := exec.Command(name, args...)
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
			cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			rss = max(rss, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss<<10) // Linux counts KiB
		}
		b.ReportMetric(float64(cpu)/float64(b.N), "cpu-ns/op")
		b.ReportMetric(float64(rss), "max-rss-B")
	}
}

// forgetPeak gives back what this process does not need and resets its peak:
// Linux counts the peak of the parent as that of a child it starts.
func forgetPeak() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // elsewhere the figure is too large
}

// writeProfile writes a CPU profile of n different stacks, 10 to 50 frames deep.
func writeProfile(tb testing.TB, file string, n int) {
	rnd := rand.New(rand.NewPCG(1, 2))
	p := &profile.Profile{
		SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}},
		PeriodType: &profile.ValueType{Type: "cpu", Unit: "nanoseconds"}, Period: 1e7, DurationNanos: 3e9,
	}
	fn := func(name string) *profile.Function {
		f := &profile.Function{ID: uint64(len(p.Function) + 1), Name: name, Filename: name + ".go"}
		p.Function = append(p.Function, f)
		return f
	}
	for i := range uint64(5000) {
		name := fmt.Sprintf("github.com/acme/pulse/pkg%d.(*T).Method%d", i%26, i)
		p.Location = append(p.Location, &profile.Location{ID: i + 1, Address: i * 16,
			Line: []profile.Line{{Function: fn(name), Line: 10}, {Function: fn(name + "Outer"), Line: 20}}})
	}
	for range n {
		stack := make([]*profile.Location, 10+rnd.IntN(40))
		for i := range stack {
			stack[i] = p.Location[min(rnd.IntN(len(p.Location)), rnd.IntN(len(p.Location)))]
		}
		hits := 1 + rnd.Int64N(3)
		p.Sample = append(p.Sample, &profile.Sample{Location: stack, Value: []int64{hits, hits * 1e7}})
	}
	f := must(os.Create(file))
	if err := p.Write(f); err != nil {
		tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
}
