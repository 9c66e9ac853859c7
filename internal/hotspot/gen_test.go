package hotspot_test

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"runtime/pprof"
	"syscall"
	"testing"
	"time"

	"github.com/google/pprof/profile"
)

// oddities returns valid profiles that each hold one thing worth a test.
func oddities() map[string]*profile.Profile {
	return map[string]*profile.Profile{
		"plain":      plain(),
		"sparse-ids": sparse(),
		"inlined":    inlined(),
		"recursion":  recursion(),
		"negative":   negative(),
		"unnamed":    unnamed(),
		"dropped":    dropping(),
		"base":       based(),
		"labels":     labelled(),
		"paths":      paths(),
		"heap":       heap(),
		"contention": contention(),
		"empty":      newBuilder().p,
		"zeros":      zeros(),
		"moved":      moved(),
		"other-unit": otherUnit(),
	}
}

// labelled has text and numbers under the same keys, with and without units.
func labelled() *profile.Profile {
	b := newBuilder()
	main := b.loc("main.main")
	s := b.sample(3, b.loc("l.a"), main)
	s.Label = map[string][]string{"route": {"/a", "/b"}, "thread": {"one"}}
	s.NumLabel, s.NumUnit = map[string][]int64{"bytes": {1024}, "latency": {1500}}, map[string][]string{"latency": {"microseconds"}}
	s = b.sample(4, b.loc("l.b"), main)
	s.Label = map[string][]string{"route": {"/b"}}
	s.NumLabel, s.NumUnit = map[string][]int64{"bytes": {1025, 48}, "request": {4096}}, map[string][]string{"bytes": {"", "bytes"}}
	s = b.sample(-2, b.loc("l.c"), main)
	s.NumLabel, s.NumUnit = map[string][]int64{"bytes": {32}, "latency": {-7}, "alignment": {8}}, map[string][]string{"latency": {"nanoseconds"}}
	s = b.sample(5, b.loc("l.a"), main)
	s.Label = map[string][]string{"route": {"/a", "/b"}, "thread": {"one"}}
	s.NumLabel, s.NumUnit = map[string][]int64{"bytes": {1024}, "latency": {1500}}, map[string][]string{"latency": {"microseconds"}}
	b.sample(0, b.loc("l.d"), main).Label = map[string][]string{"route": {"/never"}}
	return b.p
}

// paths has file names that pprof shortens, kernel names with tabs, columns,
// lines of zero and a mapping that is named by the address of its server.
func paths() *profile.Profile {
	b := newBuilder()
	kernel := &profile.Mapping{ID: 1, Start: 0xffffffff80000000, Limit: 0xffffffffff000000, File: "[kernel.kallsyms]_text"}
	remote := &profile.Mapping{ID: 2, Start: 0x400000, Limit: 0x800000, File: "http://10.0.0.1:6060/debug/pprof/profile"}
	b.p.Mapping = []*profile.Mapping{kernel, remote}
	sys, cwd, dots := b.loc("do_syscall_64\t[kernel.kallsyms]"), b.loc("cwd"), b.loc("dots", "dots2")
	sys.Mapping, sys.Address = kernel, 0xffffffff81000010
	cwd.Line[0].Function.Filename = "/proc/self/cwd/./src/cwd.cc"
	dots.Line[0].Function.Filename, dots.Line[1].Function.Filename = "/proc/self/cwd/a/../b//dots.cc", "./x/./y.cc"
	dots.Line[0].Column, dots.Line[1].Line, dots.Line[1].Column = 5, 0, 3
	bare := &profile.Location{ID: 77, Mapping: remote, Address: 0x400123}
	high := &profile.Location{ID: 78, Mapping: kernel, Address: 0xffffffff81000999}
	b.p.Location = append(b.p.Location, bare, high)
	cpp := b.loc("ns::(anonymous namespace)::Obj::operator()(int) const", ".ns::f(std::vector<int>)")
	b.sample(1, sys, cwd, b.loc("main"))
	b.sample(2, dots, cwd, b.loc("main"))
	b.sample(3, bare, high, cpp, b.loc("main"))
	b.sample(4, cpp, dots, dots, b.loc("main"))
	b.p.DropFrames = "ns::f"
	return b.p
}

func heap() *profile.Profile {
	b := newBuilder()
	b.p.SampleType = []*profile.ValueType{{Type: "alloc_objects", Unit: "count"}, {Type: "alloc_space", Unit: "bytes"}, {Type: "inuse_objects", Unit: "count"}, {Type: "inuse_space", Unit: "bytes"}}
	b.p.PeriodType, b.p.Period = &profile.ValueType{Type: "space", Unit: "bytes"}, 512<<10
	b.p.DefaultSampleType, b.p.DurationNanos = "alloc_space", 0
	for i, v := range [][]int64{{10, 10 << 10, 3, 3 << 10}, {7, 7 << 20, 0, 0}, {1, 64, 1, 64}} {
		s := b.sample(0, b.loc("heap.make"+string(rune('A'+i))), b.loc("heap.new"), b.loc("main.main"))
		s.Value = v
		s.NumLabel = map[string][]int64{"bytes": {v[1] / v[0]}}
	}
	return b.p
}

func contention() *profile.Profile {
	b := newBuilder()
	b.p.SampleType = []*profile.ValueType{{Type: "contentions", Unit: "count"}, {Type: "delay", Unit: "nanoseconds"}}
	b.p.PeriodType, b.p.Period = &profile.ValueType{Type: "contentions", Unit: "count"}, 1
	b.sample(1, b.loc("sync.(*Mutex).Lock"), b.loc("main.a"))
	b.sample(3, b.loc("sync.(*Mutex).Lock"), b.loc("main.b")).Value = []int64{3, 17}
	return b.p
}

// zeros has samples whose values sum to nothing, and nodes that do.
func zeros() *profile.Profile {
	b := newBuilder()
	b.sample(2, b.loc("z.a"), b.loc("z.c"), b.loc("main.main"))
	b.sample(-2, b.loc("z.b"), b.loc("z.c"), b.loc("main.main"))
	b.sample(0, b.loc("z.d"))
	return b.p
}

// moved is the same program at another address, with functions that differ in
// what no report shows.
func moved() *profile.Profile {
	b := newBuilder()
	m := &profile.Mapping{ID: 3, Start: 0x7000, Limit: 0x8000, File: "/usr/lib/libz.so.1"}
	b.p.Mapping = []*profile.Mapping{m}
	one := b.loc()
	one.Mapping, one.Address = m, 0x7010
	b.sample(4, one, b.loc("main.main"))
	leaf := b.loc("main.leaf")
	leaf.Line[0].Function.SystemName = "main.leaf.abi0"
	b.sample(5, leaf, b.loc("main.main"))
	b.sample(2, b.loc("n.a"), b.loc("main.main"))
	folded := b.loc("n.b")
	folded.IsFolded = true
	b.sample(2, folded, b.loc("main.main"))
	return b.p
}

// otherUnit measures in milliseconds, has its types the other way round and one
// more.
func otherUnit() *profile.Profile {
	b := newBuilder()
	b.p.SampleType = []*profile.ValueType{{Type: "cpu", Unit: "milliseconds"}, {Type: "samples", Unit: "count"}, {Type: "extra", Unit: "count"}}
	b.p.PeriodType, b.p.Period = &profile.ValueType{Type: "cpu", Unit: "milliseconds"}, 10
	b.sample(0, b.loc("main.leaf"), b.loc("main.main")).Value = []int64{50, 5, 1}
	b.sample(0, b.loc("main.more"), b.loc("main.main")).Value = []int64{0, 0, 9}
	return b.p
}

// builder makes profiles by function names.
type builder struct {
	p    *profile.Profile
	locs map[string]*profile.Location
}

func newBuilder() *builder {
	return &builder{&profile.Profile{
		SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}},
		PeriodType: &profile.ValueType{Type: "cpu", Unit: "nanoseconds"}, Period: 1e7,
		TimeNanos: 1e18, DurationNanos: 3e9,
	}, map[string]*profile.Location{}}
}

func (b *builder) fn(name string) *profile.Function {
	f := &profile.Function{ID: uint64(len(b.p.Function) + 1), Name: name, Filename: name + ".go", StartLine: 7}
	b.p.Function = append(b.p.Function, f)
	return f
}

func (b *builder) loc(names ...string) *profile.Location {
	key := ""
	for _, n := range names {
		key += n + ";"
	}
	if l := b.locs[key]; l != nil {
		return l
	}
	l := &profile.Location{ID: uint64(len(b.p.Location) + 1), Address: uint64(len(b.p.Location)) * 16}
	for i, n := range names {
		l.Line = append(l.Line, profile.Line{Function: b.fn(n), Line: int64(10 + i)})
	}
	b.locs[key] = l
	b.p.Location = append(b.p.Location, l)
	return l
}

func (b *builder) sample(n int64, locs ...*profile.Location) *profile.Sample {
	s := &profile.Sample{Location: locs, Value: []int64{n, n * 1e7}}
	b.p.Sample = append(b.p.Sample, s)
	return s
}

func plain() *profile.Profile {
	b := newBuilder()
	b.sample(3, b.loc("main.leaf"), b.loc("main.main"))
	b.sample(5, b.loc("main.other"), b.loc("main.main"))
	b.sample(0, b.loc("main.never"), b.loc("main.main"))
	b.sample(1)
	return b.p
}

func sparse() *profile.Profile {
	p := plain()
	for i, f := range p.Function {
		f.ID = 1<<63 + uint64(i)*977
	}
	for i, l := range p.Location {
		l.ID = 1<<40 - uint64(i)*3
	}
	return p
}

func inlined() *profile.Profile {
	b := newBuilder()
	b.sample(4, b.loc("a.inner", "a.middle", "a.outer"), b.loc("main.main"))
	b.sample(2, b.loc("a.outer"), b.loc("a.middle", "a.outer"), b.loc("main.main"))
	return b.p
}

func recursion() *profile.Profile {
	b := newBuilder()
	f, g := b.loc("r.f"), b.loc("r.g")
	b.sample(4, f, g, f, f, g, b.loc("main.main"))
	b.sample(1, g, g, g)
	return b.p
}

func negative() *profile.Profile {
	b := newBuilder()
	b.sample(-4, b.loc("n.a"), b.loc("main.main"))
	b.sample(7, b.loc("n.b"), b.loc("main.main"))
	b.sample(-3, b.loc("n.b"), b.loc("main.main"))
	return b.p
}

func unnamed() *profile.Profile {
	b := newBuilder()
	m1 := &profile.Mapping{ID: 7, Start: 0x1000, Limit: 0x2000, File: "/usr/lib/libz.so.1"}
	m2 := &profile.Mapping{ID: 1 << 50, Start: 0x3000, Limit: 0x4000, File: "/opt/lib/libz.so.1"}
	b.p.Mapping = []*profile.Mapping{m1, m2}
	one := b.loc()
	b.loc() // stays unused
	none := b.loc("x")
	b.locs = map[string]*profile.Location{}
	two := &profile.Location{ID: 90, Mapping: m2, Address: 0x3001}
	b.p.Location = append(b.p.Location, two)
	one.Mapping = m1
	none.Line[0].Function.Name = ""
	b.sample(5, one, two)
	b.sample(6, two, none)
	b.sample(7, none)
	return b.p
}

func dropping() *profile.Profile {
	b := newBuilder()
	b.p.DropFrames, b.p.KeepFrames = `lib\.alloc.*|skip`, `lib\.allocKeep`
	b.sample(1, b.loc("deep"), b.loc("lib.allocate(int)"), b.loc("main.main"))
	b.sample(2, b.loc("deep"), b.loc("lib.allocKeep"), b.loc("main.main"))
	b.sample(4, b.loc("in", "skip", "user"), b.loc("main.main"))
	b.sample(8, b.loc("deep"), b.loc("skip"))
	return b.p
}

func based() *profile.Profile {
	p := negative()
	p.Sample[0].Label = map[string][]string{"pprof::base": {"true"}}
	return p
}

// burned returns a CPU profile that the runtime took of a real burn.
func burned(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := pprof.StartCPUProfile(&b); err != nil {
		t.Skipf("no CPU profile: %v", err)
	}
	for end := cpuTime(t) + 300*time.Millisecond; cpuTime(t) < end; { // a busy machine gives it that later
		burn()
	}
	pprof.StopCPUProfile()
	return b.Bytes()
}

func cpuTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

//go:noinline
func burn() {
	var sum [32]byte
	for range 1000 {
		sum = sha256.Sum256(sum[:])
	}
}

// large returns the bytes of a generated profile with n samples, gzipped.
func large(t testing.TB, n int) []byte {
	t.Helper()
	b, rnd := newBuilder(), rand.New(rand.NewPCG(1, 2))
	var locs []*profile.Location
	for i := range 5000 {
		name := "github.com/acme/pulse/pkg" + string(rune('a'+i%26)) + ".(*T)." + string(rune('A'+i%23)) + "Method" + string(rune('0'+i%10)) + string(rune('a'+i/500))
		locs = append(locs, b.loc(name, name+"Outer")) // every location with an inlined call
	}
	for range n {
		stack := make([]*profile.Location, 10+rnd.IntN(40))
		for i := range stack {
			stack[i] = locs[min(rnd.IntN(len(locs)), rnd.IntN(len(locs)))]
		}
		s := b.sample(1+rnd.Int64N(3), stack...)
		if rnd.IntN(4) == 0 {
			s.Label = map[string][]string{"route": {"/r"}}
		}
	}
	var out bytes.Buffer
	if err := b.p.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
