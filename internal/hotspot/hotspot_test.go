package hotspot_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/hotspot"
)

func TestTopOfABurn(t *testing.T) {
	p, err := hotspot.Parse(burned(t), hotspot.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	top, err := hotspot.Top(p, hotspot.TopOptions{Cum: true, N: 10})
	if err != nil {
		t.Fatal(err)
	}
	if top.Type != "cpu" || top.SampleType != "cpu" || top.Unit != "nanoseconds" || top.Samples == 0 || top.Duration <= 0 {
		t.Errorf("header of the top is %+v", top)
	}
	for _, r := range top.Rows {
		if strings.HasSuffix(r.Function, "hotspot_test.burn") && r.CumRatio > 0.05 && strings.HasSuffix(r.File, "gen_test.go") {
			return
		}
	}
	t.Errorf("burn is not among the rows %+v", top.Rows)
}

func TestTopCutsAndSaysSo(t *testing.T) {
	var b bytes.Buffer
	if err := plain().Write(&b); err != nil {
		t.Fatal(err)
	}
	p, err := hotspot.Parse(b.Bytes(), hotspot.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	top, err := hotspot.Top(p, hotspot.TopOptions{N: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(top.Rows) != 1 || top.Functions != 3 || top.Total != 9e7 || top.Samples != 9 || top.Rows[0].Function != "main.other" {
		t.Errorf("top = %+v", top)
	}
	if _, err := hotspot.Top(p, hotspot.TopOptions{Selection: hotspot.Selection{SampleType: "space"}}); err == nil || !strings.Contains(err.Error(), "samples, cpu") {
		t.Errorf("unknown sample type: error %v, want one that lists what there is", err)
	}
	if top, err = hotspot.Top(p, hotspot.TopOptions{Selection: hotspot.Selection{Focus: regexp.MustCompile("nothing")}}); err != nil || len(top.Rows) != 0 || top.Total != 9e7 {
		t.Errorf("focus on nothing = %+v, %v; want no rows and the whole total", top, err)
	}
}

// TestFieldOrder moves the string table and the samples about: any order of
// fields is the same profile.
func TestFieldOrder(t *testing.T) {
	for name, p := range oddities() {
		var b bytes.Buffer
		if err := p.WriteUncompressed(&b); err != nil {
			t.Fatal(err)
		}
		want := topOf(t, b.Bytes())
		fields := split(t, b.Bytes())
		var samplesFirst, stringsFirst []byte
		for _, order := range [][]uint64{{2, 14, 12, 9, 10, 4, 5, 3, 11, 1, 7, 8, 6}, {6, 1, 11, 3, 5, 4, 2, 7, 8, 9, 10, 12, 14}} {
			var out []byte
			for _, f := range order {
				out = append(out, fields[f]...)
			}
			samplesFirst, stringsFirst = stringsFirst, out
		}
		for _, in := range [][]byte{samplesFirst, stringsFirst} {
			if got := topOf(t, in); got != want {
				t.Errorf("%s reordered:\n%s\nwant\n%s", name, got, want)
			}
		}
	}
}

func topOf(t *testing.T, b []byte) string {
	t.Helper()
	p, err := hotspot.Parse(b, hotspot.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	top, err := hotspot.Top(p, hotspot.TopOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var s strings.Builder
	for _, r := range top.Rows {
		s.WriteString(r.Function + "\t" + strings.Repeat("|", int(r.Flat/1e7)&63) + "\n")
	}
	return s.String()
}

// split returns the encoded fields of a message by their number.
func split(t *testing.T, b []byte) map[uint64][]byte {
	t.Helper()
	out := map[uint64][]byte{}
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		v, m := binary.Uvarint(b[n:])
		size := n + m
		if tag&7 == 2 {
			size += int(v)
		}
		out[tag>>3] = append(out[tag>>3], b[:size]...)
		b = b[size:]
	}
	return out
}

func TestUnpackedAndFunctionZero(t *testing.T) {
	b := []byte{}
	add := func(field byte, body ...byte) { b = append(append(b, field<<3|2, byte(len(body))), body...) }
	add(1, 8, 1, 16, 2)                               // sample type
	add(2, 8, 5, 8, 6, 16, 9)                         // sample: unpacked locations 5 and 6, value 9
	add(4, 8, 5)                                      // location 5 without lines
	add(4, 8, 6, 34, 2, 8, 0)                         // location 6: a line with function 0
	for _, s := range []string{"", "cpu", "weight"} { // string table last
		add(6, []byte(s)...)
	}
	p, err := hotspot.Parse(b, hotspot.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	top, err := hotspot.Top(p, hotspot.TopOptions{})
	if err != nil || len(top.Rows) != 1 || top.Rows[0].Function != "<unknown>" || top.Rows[0].Flat != 9 || top.Rows[0].Cum != 9 {
		t.Errorf("top = %+v, %v; want <unknown> once with 9", top, err)
	}
}

func TestNotAProfile(t *testing.T) {
	var bomb bytes.Buffer
	z, _ := gzip.NewWriterLevel(&bomb, gzip.BestSpeed)
	if _, err := z.Write(make([]byte, 8<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	whole := burnedOrPlain(t)
	for _, tt := range []struct {
		name string
		in   []byte
		want error
	}{
		{"empty", nil, hotspot.ErrFormat},
		{"text", []byte("hello world\n"), hotspot.ErrFormat},
		{"html", []byte("<html><body>404 page not found</body></html>"), hotspot.ErrFormat},
		{"json", []byte(`{"detail":"Not Found"}`), hotspot.ErrFormat},
		{"zeros", make([]byte, 100), hotspot.ErrFormat},
		{"only unknown fields", []byte{0xa0, 6, 1}, hotspot.ErrFormat},
		{"truncated", whole[:len(whole)/2], hotspot.ErrFormat},
		{"bad gzip", []byte{0x1f, 0x8b, 1, 2, 3}, hotspot.ErrFormat},
		{"bomb", bomb.Bytes(), hotspot.ErrTooLarge},
		{"too long", make([]byte, 2<<20), hotspot.ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := hotspot.Parse(tt.in, hotspot.Limits{MaxInput: 1 << 20, MaxRaw: 4 << 20})
			if !errors.Is(err, tt.want) {
				t.Fatalf("error = %v, want %v", err, tt.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error has several lines: %q", err)
			}
		})
	}
}

func burnedOrPlain(t *testing.T) []byte {
	var b bytes.Buffer
	if err := plain().WriteUncompressed(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFolded(t *testing.T) {
	p, err := hotspot.Parse([]byte("main;work (a.py:8);inner 421\nmain;work (a.py:8) 9\n\nmain 1"), hotspot.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	top, err := hotspot.Top(p, hotspot.TopOptions{Cum: true})
	if err != nil || top.Total != 431 || top.Samples != 431 || len(top.Rows) != 3 {
		t.Fatalf("top = %+v, %v", top, err)
	}
	if r := top.Rows[1]; r.Function != "work (a.py:8)" || r.Flat != 9 || r.Cum != 430 {
		t.Errorf("row 1 = %+v", r)
	}
	dir := fixtures(t)
	if dir == "" {
		return
	}
	for _, name := range []string{"perf-vertx-collapsed.txt", "pyspy-simple.txt"} {
		if n := read(t, filepath.Join(dir, name)).Samples(); n < 5 {
			t.Errorf("%s: %d stacks", name, n)
		}
	}
}

func TestTypes(t *testing.T) {
	if fixtures(t) == "" {
		t.Skip("no folder of real profiles")
	}
	for name, want := range map[string]string{
		"cppbench.cpu": "cpu", "gobench.cpu": "cpu", "java.heap": "heap", "java.contention": "block",
		"dd-heap.after.pprof": "heap", "dd-block.after.pprof": "block", "parca-alloc_objects.pb.gz": "allocs", "parca-labels.pb.gz": "cpu",
	} {
		if got := read(t, filepath.Join(fixtures(t), name)).Type(); got != want {
			t.Errorf("%s is of type %q, want %q", name, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct{ name, short, pkg string }{
		{"github.com/acme/pulse/engine.(*Rank).Score", "engine.(*Rank).Score", "github.com/acme/pulse/engine"},
		{"main.main", "main.main", "main"},
		{"a/b.F[go.shape.struct { x/y.Z }]", "b.F[go.shape.struct { x/y.Z }]", "a/b"},
		{"gopkg.in/yaml.v3.Unmarshal", "yaml.v3.Unmarshal", "gopkg.in/yaml"},
		{"memcpy", "memcpy", ""},
		{"[libc.so.6]", "[libc.so.6]", ""},
		{"std::vector<a/b>::x(int)", "b>::x(int)", ""},
	} {
		if got := hotspot.ShortName(tt.name); got != tt.short {
			t.Errorf("ShortName(%q) = %q, want %q", tt.name, got, tt.short)
		}
		if got := hotspot.PackageOf(tt.name); got != tt.pkg {
			t.Errorf("PackageOf(%q) = %q, want %q", tt.name, got, tt.pkg)
		}
	}
}

func BenchmarkTop800k(b *testing.B) {
	in := large(b, 800_000)
	if file := os.Getenv("HOTSPOT_WRITE"); file != "" { // for a run of go tool pprof beside
		if err := os.WriteFile(file, in, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		p, err := hotspot.Parse(in, hotspot.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := hotspot.Top(p, hotspot.TopOptions{N: 20}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestGzipped states that what other tools are handed has the same rows as what
// came in, whatever its form.
func TestGzipped(t *testing.T) {
	inputs := map[string][]byte{"raw": burnedOrPlain(t), "folded": []byte("a;b 3\na 4\n")}
	if dir := fixtures(t); dir != "" {
		b, err := os.ReadFile(filepath.Join(dir, "java.heap"))
		if err != nil {
			t.Fatal(err)
		}
		inputs["legacy"] = b
	}
	for name, in := range inputs {
		p, err := hotspot.Parse(in, hotspot.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		out, err := hotspot.Gzipped(in, p)
		if err != nil || !bytes.HasPrefix(out, []byte{0x1f, 0x8b}) {
			t.Fatalf("%s: %v", name, err)
		}
		if got, want := topOf(t, out), topOf(t, in); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
}
