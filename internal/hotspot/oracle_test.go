package hotspot_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/internal/testkit"
)

// fixtures returns the folder of real profiles, or "".
func fixtures(t testing.TB) string {
	t.Helper()
	dir, ok := testkit.Fixtures(t)
	if !ok {
		return ""
	}
	return filepath.Join(dir, "profiles")
}

// realProfiles returns the profiles of the fixture folder and of ./testdata
// that pprof can read.
func realProfiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/profiles/*")
	if err != nil {
		t.Fatal(err)
	}
	if dir := fixtures(t); dir != "" {
		more, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	return slices.DeleteFunc(files, func(f string) bool {
		ext := filepath.Ext(f)
		return ext == ".txt" || ext == ".md"
	})
}

// generated writes small profiles with the oddities that parsers trip over.
func generated(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, name := range slices.Sorted(maps.Keys(oddities())) {
		files = append(files, writeOddity(t, name))
	}
	return files
}

func writeOddity(t *testing.T, name string) string {
	t.Helper()
	var b bytes.Buffer
	if err := oddities()[name].Write(&b); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", name, err))
	}
	file := filepath.Join(t.TempDir(), name+".pb.gz")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func read(t testing.TB, file string) *hotspot.Profile {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := hotspot.ParseReader(f, hotspot.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return p
}

// same compares rows. Rows that differ in nothing pprof sorts by, and only those,
// may stand in another order.
func same(t *testing.T, got, want []string) {
	t.Helper()
	key := func(row string) string { // what pprof sorts by
		f := strings.Split(strings.SplitN(row, "\n", 2)[0], "\t")
		return strings.Join([]string{f[0], f[len(f)-1]}, "\t")
	}
	if slices.Equal(got, want) {
		return
	}
	a, b := slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			t.Fatalf("%d rows, pprof has %d; the first that differs is\n %s\nof pprof\n %s", len(a), len(b), at(a, i), at(b, i))
		}
	}
	names := map[string]int{}
	for i := range got {
		names[key(want[i])]++
	}
	for i := range got {
		if got[i] != want[i] && key(got[i]) != key(want[i]) {
			t.Fatalf("row %d is\n %s, of pprof\n %s", i, got[i], want[i])
		}
	}
}

func at(rows []string, i int) string {
	if i < len(rows) {
		return rows[i]
	}
	return "none"
}

// variant is a selection in our words and in pprof's.
type variant struct {
	name string
	o    hotspot.TopOptions
	args []string
}

// variants returns selections that mean something for a profile: its patterns
// are names that the profile has.
func variants(t *testing.T, p *hotspot.Profile) []variant {
	t.Helper()
	hot, mid := names(t, p)
	re := regexp.MustCompile
	sel := func(name string, s hotspot.Selection, args ...string) variant {
		return variant{name, hotspot.TopOptions{Selection: s}, args}
	}
	either := hot + "|" + mid
	out := []variant{
		sel("flat", hotspot.Selection{}),
		{"cum", hotspot.TopOptions{Cum: true}, []string{"-cum"}},
		sel("focus", hotspot.Selection{Focus: re(mid)}, "-focus="+mid),
		sel("ignore", hotspot.Selection{Ignore: re(mid)}, "-ignore="+mid),
		sel("hide", hotspot.Selection{Hide: re(either)}, "-hide="+either),
		sel("show", hotspot.Selection{Show: re(either)}, "-show="+either),
		sel("show from", hotspot.Selection{ShowFrom: re(mid)}, "-show_from="+mid),
		sel("prune from", hotspot.Selection{PruneFrom: re(hot)}, "-prune_from="+hot),
		sel("all at once", hotspot.Selection{Focus: re(hot), Ignore: re("zzz"), Hide: re("[aeiou]b"), Show: re("[a-z]"), ShowFrom: re("m"), PruneFrom: re(mid)},
			"-focus="+hot, "-ignore=zzz", "-hide=[aeiou]b", "-show=[a-z]", "-show_from=m", "-prune_from="+mid),
		sel("relative", hotspot.Selection{Focus: re(mid), Relative: true}, "-focus="+mid, "-relative_percentages"),
		sel("noinlines", hotspot.Selection{NoInlines: true}, "-noinlines"),
		sel("filefunctions", hotspot.Selection{Granularity: hotspot.ByFileFunction}, "-filefunctions"),
		sel("files", hotspot.Selection{Granularity: hotspot.ByFile}, "-files"),
		sel("lines", hotspot.Selection{Granularity: hotspot.ByLine}, "-lines"),
		sel("addresses", hotspot.Selection{Granularity: hotspot.ByAddress}, "-addresses"),
		sel("addresses without inlines", hotspot.Selection{Granularity: hotspot.ByAddress, NoInlines: true}, "-addresses", "-noinlines"),
		sel("mean", hotspot.Selection{Mean: true}, "-mean"),
		sel("divided", hotspot.Selection{DivideBy: 3}, "-divide_by=3"),
		sel("positive", hotspot.Selection{DropNegative: true}, "-drop_negative"),
	}
	for i, st := range p.SampleTypes {
		name := st.Type
		if i == 0 {
			name = "0"
		}
		out = append(out, sel("type "+name, hotspot.Selection{SampleType: name}, "-sample_index="+name))
	}
	tags, err := hotspot.Tags(p, hotspot.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	if len(tags.Keys) == 0 {
		return append(out, sel("tagfocus nothing", hotspot.Selection{TagFocus: "nothing"}, "-tagfocus=nothing"))
	}
	for _, expr := range []string{"a|e", "bytes=16:64kb", "4096:", ":1kb", "bytes=32b", "route=/|thread", "route:,o"} {
		out = append(out, sel("tagfocus "+expr, hotspot.Selection{TagFocus: expr}, "-tagfocus="+expr),
			sel("tagignore "+expr, hotspot.Selection{TagIgnore: expr}, "-tagignore="+expr))
	}
	return out
}

// names returns patterns that match a hot function and one in the middle.
func names(t *testing.T, p *hotspot.Profile) (hot, mid string) {
	t.Helper()
	top, err := hotspot.Top(p, hotspot.TopOptions{Cum: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(top.Rows) == 0 {
		return "none", "nothing"
	}
	quote := func(s string) string {
		if strings.HasPrefix(s, "[") { // a binary's name stands in brackets, but is matched without
			s = strings.Trim(s, "[]")
		}
		return regexp.QuoteMeta(s)
	}
	return quote(top.Rows[0].Function), quote(top.Rows[len(top.Rows)/2].Function)
}

func unitOf(t *testing.T, p *hotspot.Profile, sampleType string) string {
	t.Helper()
	top, err := hotspot.Top(p, hotspot.TopOptions{Selection: hotspot.Selection{SampleType: sampleType}})
	if err != nil {
		t.Fatal(err)
	}
	return top.Unit
}

// everything compares every selection of every file and every pair, which takes
// a minute, instead of a third of them.
var everything = os.Getenv("HOTSPOT_EVERYTHING") != ""

// TestEqualsPprof compares every row of every report, in its order, with `go
// tool pprof`.
func TestEqualsPprof(t *testing.T) {
	if fixtures(t) == "" {
		t.Log("no folder of real profiles; only the ones generated here are compared")
	}
	part := 3
	if raceEnabled {
		part = 6
	}
	files := append(realProfiles(t), generated(t)...)
	for n, file := range files {
		p := read(t, file)
		for i, v := range variants(t, p) {
			if !everything && (i+n)%part != 0 { // each selection still meets some of the files
				continue
			}
			t.Run(filepath.Base(file)+"/"+v.name, func(t *testing.T) {
				t.Parallel()
				unit := unitOf(t, p, v.o.SampleType)
				same(t, topOfOurs(t, p, v.o), topOfPprof(t, runPprof(t, unit, append([]string{"-top"}, append(v.args, file)...)...)))
				if i%3 == 0 || everything {
					same(t, tagsOfOurs(t, p, v.o.Selection), tagsOfPprof(t, runPprof(t, unit, append([]string{"-tags", "-unit=minimum"}, append(v.args, file)...)...)))
				}
				if i%4 != 0 && !everything {
					return
				}
				o := hotspot.GraphOptions{Selection: v.o.Selection, Cum: v.o.Cum}
				tree, err := hotspot.Tree(p, o)
				if err != nil {
					t.Fatal(err)
				}
				same(t, graphOfOurs(tree), graphOfPprof(t, runPprof(t, unit, append([]string{"-tree"}, append(v.args, file)...)...)))
			})
		}
		hot, mid := names(t, p)
		unit := unitOf(t, p, "")
		if hot == "none" {
			continue
		}
		t.Run(filepath.Base(file)+"/peek", func(t *testing.T) {
			t.Parallel()
			for _, expr := range []string{hot + "|" + mid, "[aeiou]"} {
				g, err := hotspot.Peek(p, regexp.MustCompile(expr), hotspot.GraphOptions{})
				if err != nil {
					t.Fatal(err)
				}
				same(t, graphOfOurs(g), graphOfPprof(t, runPprof(t, unit, "-peek="+expr, file)))
			}
		})
		t.Run(filepath.Base(file)+"/trimmed tree", func(t *testing.T) {
			t.Parallel()
			for _, n := range []int{0, 7, 80} {
				g, err := hotspot.Tree(p, hotspot.GraphOptions{N: n, NodeFraction: 0.05, EdgeFraction: 0.02, Cum: n == 7})
				if err != nil {
					t.Fatal(err)
				}
				args := []string{"-tree", "-nodefraction=0.05", "-edgefraction=0.02", "-nodecount=" + strconv.Itoa(n), file}
				if n == 7 {
					args = append([]string{"-cum"}, args...)
				}
				same(t, graphOfOurs(g), graphOfPprof(t, runPprof(t, unit, args...)))
			}
		})
	}
}

// TestDiffEqualsPprof compares the difference of pairs with pprof's.
func TestDiffEqualsPprof(t *testing.T) {
	var pairs [][2]string
	if dir := fixtures(t); dir != "" {
		for _, pair := range [][2]string{
			{"dd-heap.after.pprof", "dd-heap.before.pprof"}, {"dd-block.after.pprof", "dd-block.before.pprof"},
			{"gdu-default.pgo", "speedscope-simple.prof"}, {"speedscope-simple.prof", "parca-labels.pb.gz"},
		} {
			pairs = append(pairs, [2]string{filepath.Join(dir, pair[0]), filepath.Join(dir, pair[1])})
		}
	}
	all := slices.Sorted(maps.Keys(oddities()))
	for i, name := range all {
		for j, other := range all {
			if everything || (i+j)%6 == 0 {
				pairs = append(pairs, [2]string{writeOddity(t, name), writeOddity(t, other)})
			}
		}
	}
	for _, pair := range pairs {
		p, base := read(t, pair[0]), read(t, pair[1])
		for _, v := range []struct {
			name string
			o    hotspot.DiffOptions
			args []string
		}{
			{"diff_base", hotspot.DiffOptions{}, []string{"-diff_base=" + pair[1]}},
			{"base", hotspot.DiffOptions{Subtract: true}, []string{"-base=" + pair[1]}},
			{"normalized", hotspot.DiffOptions{Normalize: true}, []string{"-normalize", "-diff_base=" + pair[1]}},
		} {
			t.Run(filepath.Base(pair[0])+"-"+filepath.Base(pair[1])+"/"+v.name, func(t *testing.T) {
				t.Parallel()
				d, err := hotspot.Diff(p, base, v.o)
				if err != nil {
					if out := pprofError(t, append(v.args, "-top", pair[0])...); out == "" {
						t.Fatalf("%v, but pprof compares them", err)
					}
					return
				}
				unit := unitOf(t, d, "")
				same(t, topOfOurs(t, d, hotspot.TopOptions{}), topOfPprof(t, runPprof(t, unit, append(v.args, "-top", pair[0])...)))
				if d.Samples() > 0 && !v.o.Normalize {
					same(t, tagsOfOurs(t, d, hotspot.Selection{}), tagsOfPprof(t, runPprof(t, unit, append(v.args, "-tags", "-unit=minimum", pair[0])...)))
				}
			})
		}
	}
}

// pprofError returns what pprof complains about, "" if it does not.
func pprofError(t *testing.T, args ...string) string {
	t.Helper()
	path, err := pprofPath()
	if err != nil {
		t.Skipf("no go tool pprof: %v", err)
	}
	cmd := exec.Command(path, append([]string{"-symbolize=none"}, args...)...)
	cmd.Env = append(os.Environ(), "PPROF_BINARY_PATH="+t.TempDir(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err == nil {
		return ""
	}
	return string(out)
}
