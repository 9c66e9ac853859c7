package hotspot_test

import (
	"bytes"
	"errors"
	"net/url"
	"os"
	"regexp"
	"testing"

	"github.com/google/pprof/profile"

	"github.com/pulsectl/pulsectl/internal/hotspot"
)

var fuzzLimits = hotspot.Limits{MaxInput: 1 << 20, MaxRaw: 4 << 20}

func seed(f *testing.F) {
	for _, p := range oddities() {
		var b bytes.Buffer
		if err := p.WriteUncompressed(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	for _, file := range realProfiles(f) {
		if b, err := os.ReadFile(file); err == nil && len(b) < 30<<10 {
			f.Add(b)
		}
	}
	f.Add([]byte("a;b 3\na 4\n"))
}

// accepted returns what pprof's library makes of b; nil if it refuses it.
func accepted(b []byte) *profile.Profile {
	if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) || len(b) > 1<<20 {
		return nil
	}
	p, err := profile.ParseUncompressed(b)
	if err != nil || p.CheckValid() != nil || len(p.SampleType) == 0 {
		return nil
	}
	return p
}

// FuzzParse states that parsing never panics and that whatever pprof accepts
// as a profile with sample types is accepted too, with the same totals.
func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := hotspot.Parse(b, fuzzLimits)
		theirs := accepted(b)
		if theirs == nil || errors.Is(err, hotspot.ErrTooLarge) {
			return
		}
		if err != nil {
			t.Fatalf("pprof accepts what we refuse: %v", err)
		}
		_, sum, err := hotspot.Functions(p, hotspot.TopOptions{})
		if err != nil {
			return // its drop_frames is too long
		}
		if want := total(theirs); sum.Total != want || p.Samples() != len(theirs.Sample) {
			t.Errorf("total %d of %d samples, pprof has %d of %d", sum.Total, p.Samples(), want, len(theirs.Sample))
		}
	})
}

// total is what pprof's percentages are of.
func total(p *profile.Profile) int64 {
	at, err := p.SampleIndexByName("")
	if err != nil {
		return 0
	}
	var sum, base int64
	for _, s := range p.Sample {
		v := max(s.Value[at], -s.Value[at])
		sum += v
		if s.DiffBaseSample() {
			base += v
		}
	}
	if base > 0 {
		return base
	}
	return sum
}

// FuzzReports states that every report of whatever is a profile adds up: what is
// selected is what pprof's library selects, a flame graph has the values of top
// and a tree its own, a sum with itself is twice as much, and the difference nothing.
func FuzzReports(f *testing.F) {
	seed(f)
	some := hotspot.Selection{
		Focus: regexp.MustCompile("[a-m]"), Ignore: regexp.MustCompile("never|z.a"), Hide: regexp.MustCompile("ea|middle"),
		Show: regexp.MustCompile("[a-zA-Z]"), ShowFrom: regexp.MustCompile("in|b"), Relative: true,
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := hotspot.Parse(b, fuzzLimits)
		if err != nil {
			return
		}
		top, err := hotspot.Top(p, hotspot.TopOptions{})
		if err != nil {
			return
		}
		if len(top.Rows) > top.Functions {
			t.Errorf("%d rows of %d functions", len(top.Rows), top.Functions)
		}
		var flat int64
		for _, r := range top.Rows {
			flat += r.Flat
		}
		g, err := hotspot.Flame(p, hotspot.FlameOptions{MaxNodes: -1})
		if err != nil {
			t.Fatal(err)
		}
		checkSums(t, "fuzzed", g)
		if own := g.Nodes[0].Value - g.Nodes[0].Self; own != flat {
			t.Errorf("top has %d, the flame graph %d", flat, own)
		}
		tree, err := hotspot.Tree(p, hotspot.GraphOptions{})
		if err != nil || len(tree.Entries) != top.Functions {
			t.Errorf("a tree of %d, a top of %d: %v", len(tree.Entries), top.Functions, err)
		}
		if _, err := hotspot.Tags(p, hotspot.Selection{}); err != nil {
			t.Error(err)
		}
		nothing, err := hotspot.Diff(p, p, hotspot.DiffOptions{Subtract: true})
		if err != nil {
			t.Fatalf("a profile less itself: %v", err)
		}
		if n := nothing.Samples(); n != 0 && exact(p) {
			t.Errorf("a profile less itself has %d samples", n)
		}
		theirs := accepted(b)
		if theirs == nil {
			return
		}
		twice, err := hotspot.Merge(p, p)
		want, werr := profile.Merge([]*profile.Profile{theirs, theirs.Copy()})
		if err != nil || werr != nil {
			t.Fatalf("twice the profile: %v, of pprof %v", err, werr)
		}
		if twice.Samples() != len(want.Sample) {
			t.Errorf("twice it has %d samples, of pprof %d", twice.Samples(), len(want.Sample))
		}
		part, err := hotspot.Top(p, hotspot.TopOptions{Selection: some})
		if err != nil {
			t.Fatal(err)
		}
		_ = theirs.RemoveUninteresting() // as pprof does: a pattern that is none drops nothing
		for _, m := range theirs.Mapping {
			if u, err := url.Parse(m.File); m.BuildID == "" && err == nil && u.IsAbs() {
				m.File = ""
			}
		}
		theirs.FilterSamplesByName(some.Focus, some.Ignore, some.Hide, some.Show)
		theirs.ShowFrom(some.ShowFrom)
		if want := total(theirs); part.Total != want {
			t.Errorf("selected %d, pprof selects %d", part.Total, want)
		}
	})
}

// exact tells whether all values survive being floating-point numbers, which is
// how pprof scales them, and we.
func exact(p *hotspot.Profile) bool {
	for i := range p.Samples() {
		for _, v := range p.Values(i) {
			if v > 1<<53 || v < -1<<53 {
				return false
			}
		}
	}
	return true
}
