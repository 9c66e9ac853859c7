package hotspot_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/hotspot"
)

func parse(t testing.TB, text string) *hotspot.Profile {
	t.Helper()
	p, err := hotspot.Parse([]byte(text), hotspot.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func flame(t testing.TB, p *hotspot.Profile, o hotspot.FlameOptions) *hotspot.FlameGraph {
	t.Helper()
	g, err := hotspot.Flame(p, o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// outline writes a graph as a path a node, with its value and its own.
func outline(g *hotspot.FlameGraph) string {
	var b strings.Builder
	var walk func(n int32, path string)
	walk = func(n int32, path string) {
		path += g.Name(n)
		b.WriteString(path + " " + num(g.Nodes[n].Value) + " " + num(g.Nodes[n].Self) + "\n")
		from, to := g.Children(n)
		for c := from; c < to; c++ {
			walk(c, path+";")
		}
	}
	walk(0, "")
	return b.String()
}

func num(v int64) string {
	b, _ := json.Marshal(v)
	return string(b)
}

const calls = "main;serve;score 60\nmain;serve;score;sort 10\nmain;serve 5\nmain;gc 20\ngc;mark 10\nmain;serve;score;serve;sort 7\n"

func TestFlame(t *testing.T) {
	p := parse(t, calls)
	for _, tt := range []struct {
		name string
		o    hotspot.FlameOptions
		want string
	}{
		{"from the roots", hotspot.FlameOptions{}, `all 112 0
all;main 102 0
all;main;serve 82 5
all;main;serve;score 77 60
all;main;serve;score;sort 10 10
all;main;serve;score;serve 7 0
all;main;serve;score;serve;sort 7 7
all;main;gc 20 20
all;gc 10 0
all;gc;mark 10 10
`},
		{"callees of the outermost serve", hotspot.FlameOptions{Function: "serve"}, `all 82 0
all;serve 82 5
all;serve;score 77 60
all;serve;score;sort 10 10
all;serve;score;serve 7 0
all;serve;score;serve;sort 7 7
`},
		{"callers of sort", hotspot.FlameOptions{Function: "sort", Inverted: true}, `all 17 0
all;sort 17 0
all;sort;score 10 0
all;sort;score;serve 10 0
all;sort;score;serve;main 10 10
all;sort;serve 7 0
all;sort;serve;score 7 0
all;sort;serve;score;serve 7 0
all;sort;serve;score;serve;main 7 7
`},
		{"the largest nodes", hotspot.FlameOptions{MaxNodes: 4}, `all 112 0
all;main 102 0
all;main;serve 82 5
all;main;gc 20 20
all;gc 10 0
`},
		{"a selection", hotspot.FlameOptions{Selection: hotspot.Selection{Hide: regexp.MustCompile("^serve$"), Focus: regexp.MustCompile("sort")}}, `all 17 0
all;main 17 0
all;main;score 17 0
all;main;score;sort 17 17
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := flame(t, p, tt.o)
			if got := outline(g); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
			if cut := tt.o.MaxNodes > 0; cut != (g.Cut > 0) {
				t.Errorf("%d nodes are cut", g.Cut)
			}
		})
	}
}

// TestFlameSums states that every graph adds up, and to what top says: each
// node is its own value and its children's, the root is all, and what a function
// has outermost is its cum.
func TestFlameSums(t *testing.T) {
	for _, file := range append(realProfiles(t), generated(t)...) {
		p := read(t, file)
		g := flame(t, p, hotspot.FlameOptions{MaxNodes: -1})
		checkSums(t, file, g)
		top, err := hotspot.Top(p, hotspot.TopOptions{Cum: true})
		if err != nil {
			t.Fatal(err)
		}
		rows := map[string]int{}
		for _, r := range top.Rows {
			rows[r.Function]++
		}
		for i, r := range top.Rows {
			if i%(len(top.Rows)/5+1) != 0 || rows[r.Function] > 1 { // two binaries may print alike
				continue
			}
			for _, inverted := range []bool{false, true} {
				g := flame(t, p, hotspot.FlameOptions{Function: r.Function, Inverted: inverted, MaxNodes: -1})
				checkSums(t, file, g)
				if g.Nodes[0].Value != r.Cum {
					t.Errorf("%s: %s from itself on is %d, top says %d", file, r.Function, g.Nodes[0].Value, r.Cum)
				}
			}
		}
	}
}

func checkSums(t *testing.T, file string, g *hotspot.FlameGraph) {
	t.Helper()
	for i, n := range g.Nodes {
		sum, last := n.Self, int64(1)<<62
		from, to := g.Children(int32(i))
		for c := from; c < to; c++ {
			sum += g.Nodes[c].Value
			if g.Nodes[c].Parent != int32(i) || g.Nodes[c].Depth != n.Depth+1 || g.Nodes[c].Width > last {
				t.Fatalf("%s: child %+v of %d %+v", file, g.Nodes[c], i, n)
			}
			last = g.Nodes[c].Width
		}
		if sum != n.Value && !n.Cut {
			t.Fatalf("%s: node %d %s has %d, its parts %d", file, i, g.Name(int32(i)), n.Value, sum)
		}
	}
}

func TestSearch(t *testing.T) {
	g := flame(t, parse(t, calls), hotspot.FlameOptions{})
	matched, width := g.Search(regexp.MustCompile("^serve$|gc"))
	var names []string
	for i, m := range matched {
		if m {
			names = append(names, g.Name(int32(i)))
		}
	}
	slices.Sort(names)
	if width != 82+20+10 || strings.Join(names, " ") != "gc gc serve serve" {
		t.Errorf("%v with %d; want what is below a match counted once", names, width)
	}
}

func TestLayout(t *testing.T) {
	g := flame(t, parse(t, calls), hotspot.FlameOptions{})
	for _, width := range []int{1, 7, 60, 140, 12000} {
		rows := map[int32]int{}
		for _, b := range g.Layout(0, width, 0) {
			if b.X0 < rows[b.Depth] || b.X1 <= b.X0 || b.X1 > width {
				t.Errorf("%d cells: %s is at %+v after %d", width, g.Name(b.Node), b, rows[b.Depth])
			}
			rows[b.Depth] = b.X1
		}
	}
	var serve int32
	for i := range g.Nodes {
		if g.Name(int32(i)) == "serve" && serve == 0 {
			serve = int32(i)
		}
	}
	var got []string
	for _, b := range g.Layout(serve, 100, 4) {
		got = append(got, g.Name(b.Node)+" "+num(int64(b.X0))+"-"+num(int64(b.X1)))
	}
	if want := "all 0-100, main 0-100, serve 0-100, score 0-94"; strings.Join(got, ", ") != want {
		t.Errorf("zoomed to serve:\n%s, want\n%s", strings.Join(got, ", "), want)
	}
}

func TestWriteFolded(t *testing.T) {
	p := parse(t, "b;a 2\na 1\nb;a 3\nc 0\n")
	var out bytes.Buffer
	if err := p.WriteFolded(&out, hotspot.Selection{}); err != nil || out.String() != "b;a 5\na 1\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	for _, file := range append(realProfiles(t), generated(t)...) {
		p := read(t, file)
		out.Reset()
		if err := p.WriteFolded(&out, hotspot.Selection{}); err != nil {
			if !strings.Contains(err.Error(), "negative") {
				t.Error(err)
			}
			continue
		}
		if out.Len() == 0 {
			continue
		}
		flat := func(p *hotspot.Profile) map[string]int64 {
			top, err := hotspot.Top(p, hotspot.TopOptions{})
			if err != nil {
				t.Fatal(err)
			}
			sums := map[string]int64{}
			for _, r := range top.Rows {
				sums[strings.NewReplacer(";", ":").Replace(r.Function)] += r.Flat
			}
			maps.DeleteFunc(sums, func(_ string, v int64) bool { return v == 0 })
			return sums
		}
		if got, want := flat(parse(t, out.String())), flat(p); !maps.Equal(got, want) {
			t.Errorf("%s folded and read again has %v, want %v", file, got, want)
		}
	}
}

func TestWriteSpeedscope(t *testing.T) {
	var out bytes.Buffer
	if err := parse(t, calls).WriteSpeedscope(&out, "cpu <1>", hotspot.Selection{}); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Schema string `json:"$schema"`
		Shared struct {
			Frames []struct{ Name, File string }
		}
		Profiles []struct {
			Type, Name, Unit     string
			StartValue, EndValue int64
			Samples              [][]int
			Weights              []int64
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	p := got.Profiles[0]
	if !strings.HasSuffix(got.Schema, "file-format-schema.json") || p.Type != "sampled" || p.Unit != "none" || p.EndValue != 112 || len(p.Samples) != 6 || len(p.Weights) != 6 {
		t.Errorf("wrote %s", out.String())
	}
	var first []string
	for _, f := range p.Samples[1] {
		first = append(first, got.Shared.Frames[f].Name)
	}
	if strings.Join(first, ";") != "main;serve;score;sort" || p.Weights[1] != 10 {
		t.Errorf("second stack is %v with %d", first, p.Weights[1])
	}
}

func BenchmarkFlame250k(b *testing.B) {
	p, err := hotspot.Parse(large(b, 250_000), hotspot.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	for name, nodes := range map[string]int{"all nodes": -1, "a screen's": 0} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				g := flame(b, p, hotspot.FlameOptions{MaxNodes: nodes})
				b.ReportMetric(float64(len(g.Nodes)), "nodes")
			}
		})
	}
	g := flame(b, p, hotspot.FlameOptions{})
	b.Run("layout", func(b *testing.B) {
		for b.Loop() {
			g.Layout(0, 240, 60)
		}
	})
}
