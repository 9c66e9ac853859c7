package hotspot_test

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"

	"github.com/pulsectl/pulsectl/internal/hotspot"
)

func encoded(t testing.TB, p *profile.Profile) *hotspot.Profile {
	t.Helper()
	var b bytes.Buffer
	if err := p.WriteUncompressed(&b); err != nil {
		t.Fatal(err)
	}
	out, err := hotspot.Parse(b.Bytes(), hotspot.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func compare(t testing.TB, p, base *hotspot.Profile, o hotspot.CompareOptions) *hotspot.Comparison {
	t.Helper()
	c, err := hotspot.Compare(p, base, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCompare sets 60 s against 30 s: what took the same share in twice the time
// has not changed.
func TestCompare(t *testing.T) {
	before, after := newBuilder(), newBuilder()
	before.p.DurationNanos, after.p.DurationNanos = int64(30*time.Second), int64(60*time.Second)
	main, a, b, c, d := "main", "a", "b", "c", "d"
	stack := func(p *builder, n int64, names ...string) {
		var locs []*profile.Location
		for _, name := range names {
			locs = append(locs, p.loc(name))
		}
		p.sample(n, locs...)
	}
	stack(before, 500, a, main)
	stack(before, 400, b, main)
	stack(before, 100, c, main)
	stack(after, 1000, a, main)
	stack(after, 600, b, main)
	stack(after, 400, d, main)
	got := compare(t, encoded(t, after.p), encoded(t, before.p), hotspot.CompareOptions{FailOver: 0.05})
	var rows []string
	for _, r := range got.Rows {
		rows = append(rows, fmt.Sprintf("%s %.0f%% %.0f%% %+.0fpp %.0f/s", r.Function, r.BeforeRatio*100, r.AfterRatio*100, r.Delta*100, r.AfterPerSecond/1e7))
	}
	if want := "d 0% 20% +20pp 7/s, b 40% 30% -10pp 10/s, c 10% 0% -10pp 0/s, a 50% 50% +0pp 17/s"; strings.Join(rows, ", ") != want {
		t.Errorf("rows are %s\nwant %s", strings.Join(rows, ", "), want)
	}
	if got.Passed() || len(got.Over) != 1 || got.Over[0].Function != "d" {
		t.Errorf("over 5 points: %+v; want d alone", got.Over)
	}
	if n := got.New; n.Count != 1 || strings.Join(n.List[0].Functions, ";") != "main;d" || math.Abs(n.Ratio-0.2) > 1e-9 {
		t.Errorf("new stacks: %+v", n)
	}
	if g := got.Gone; g.Count != 1 || strings.Join(g.List[0].Functions, ";") != "main;c" || math.Abs(g.Ratio-0.1) > 1e-9 {
		t.Errorf("gone stacks: %+v", g)
	}
	if got.Before.Total != 1000*1e7 || got.After.Samples != 2000 || math.Abs(got.After.PerSecond-2000*1e7/60) > 1 || got.Swapped != "" || got.Note != "" {
		t.Errorf("before %+v, after %+v, swapped %q, note %q", got.Before, got.After, got.Swapped, got.Note)
	}
	if c := compare(t, encoded(t, after.p), encoded(t, before.p), hotspot.CompareOptions{FailOver: 0.2}); !c.Passed() {
		t.Errorf("20 points of growth are over 20 points: %+v", c.Over)
	}
	if c := compare(t, encoded(t, after.p), encoded(t, before.p), hotspot.CompareOptions{Cum: true, N: 1}); len(c.Rows) != 1 || c.Functions != 5 {
		t.Errorf("with callees: %d rows of %d", len(c.Rows), c.Functions)
	}
}

func TestCompareDoubts(t *testing.T) {
	at := func(p *profile.Profile, sec int64) *hotspot.Profile {
		p.TimeNanos = sec * 1e9
		return encoded(t, p)
	}
	for _, tt := range []struct {
		name, of      string
		p, base       *hotspot.Profile
		swapped, note string
	}{
		{"in order", "", at(plain(), 200), at(plain(), 100), "", "9 samples"},
		{"base is later", "", at(plain(), 100), at(plain(), 160), "1m0s after", "9 samples"},
		{"counter went down", "", at(halved(heap()), 0), at(heap(), 0), "only grows", ""},
		{"nothing before", "", at(plain(), 0), at(newBuilder().p, 0), "", "the base has no samples"},
		{"units differ", "cpu", at(otherUnit(), 0), at(plain(), 0), "", "5 samples"},
	} {
		c := compare(t, tt.p, tt.base, hotspot.CompareOptions{Selection: hotspot.Selection{SampleType: tt.of}})
		if !strings.Contains(c.Swapped, tt.swapped) || (tt.swapped == "") != (c.Swapped == "") || !strings.Contains(c.Note, tt.note) {
			t.Errorf("%s: swapped %q, note %q; want %q, %q", tt.name, c.Swapped, c.Note, tt.swapped, tt.note)
		}
	}
	if _, err := hotspot.Compare(encoded(t, heap()), encoded(t, plain()), hotspot.CompareOptions{}); err == nil || !strings.Contains(err.Error(), "alloc_space") || strings.Contains(err.Error(), "\n") {
		t.Errorf("heap against cpu: error %v, want one that names what is missing", err)
	}
	if _, err := hotspot.Diff(encoded(t, heap()), encoded(t, plain()), hotspot.DiffOptions{}); err == nil || !strings.Contains(err.Error(), "in common") {
		t.Errorf("heap minus cpu: error %v", err)
	}
}

// halved is p with half of each value.
func halved(p *profile.Profile) *profile.Profile {
	for _, s := range p.Sample {
		for i := range s.Value {
			s.Value[i] /= 2
		}
	}
	return p
}

// TestCompareReal states of real pairs that shares sum to what they must and
// that a profile does not differ from itself.
func TestCompareReal(t *testing.T) {
	dir := fixtures(t)
	if dir == "" {
		t.Skip("no folder of real profiles")
	}
	for _, pair := range [][2]string{{"dd-heap.after.pprof", "dd-heap.before.pprof"}, {"dd-block.after.pprof", "dd-block.before.pprof"}, {"gobench.cpu", "gobench.cpu"}} {
		p, base := read(t, filepath.Join(dir, pair[0])), read(t, filepath.Join(dir, pair[1]))
		c := compare(t, p, base, hotspot.CompareOptions{})
		var before, after float64
		for _, r := range c.Rows {
			before, after = before+r.BeforeRatio, after+r.AfterRatio
		}
		if math.Abs(before-1) > 1e-6 || math.Abs(after-1) > 1e-6 {
			t.Errorf("%v: shares sum to %v and %v", pair, before, after)
		}
		if pair[0] == pair[1] && (c.Rows[0].Delta != 0 || c.New.Count+c.Gone.Count != 0) {
			t.Errorf("%v differs from itself: %+v", pair, c.Rows[0])
		}
	}
}

// TestMerge states that a sum has the sums, and that one of itself doubles.
func TestMerge(t *testing.T) {
	for _, file := range append(realProfiles(t), generated(t)...) {
		p := read(t, file)
		sum, err := hotspot.Merge(p, p, p)
		if err != nil {
			t.Fatal(err)
		}
		flat := func(p *hotspot.Profile, times int64) []string {
			fns, _, err := hotspot.Functions(p, hotspot.TopOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var rows []string
			for _, f := range fns {
				rows = append(rows, fmt.Sprintf("%s %d %d", f.Name, f.Flat*times, f.Cum*times))
			}
			slices.Sort(rows)
			return rows
		}
		if got, want := flat(sum, 1), flat(p, 3); !slices.Equal(got, want) {
			t.Errorf("%s: three times %v is %v", file, want, got)
		}
	}
}
