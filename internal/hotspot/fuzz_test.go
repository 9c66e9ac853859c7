package hotspot_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/google/pprof/profile"

	"github.com/pulsectl/pulsectl/internal/hotspot"
)

// FuzzParse states that parsing never panics and that whatever pprof accepts
// as a profile with sample types is accepted too, with the same totals.
func FuzzParse(f *testing.F) {
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
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := hotspot.Parse(b, hotspot.Limits{MaxInput: 1 << 20, MaxRaw: 4 << 20})
		if err == nil {
			top, terr := hotspot.Top(p, hotspot.TopOptions{})
			if terr == nil && len(top.Rows) > top.Functions {
				t.Errorf("%d rows of %d functions", len(top.Rows), top.Functions)
			}
		}
		if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) || len(b) > 1<<20 {
			return
		}
		theirs, terr := profile.ParseUncompressed(b)
		if errors.Is(err, hotspot.ErrTooLarge) || terr != nil || theirs.CheckValid() != nil || len(theirs.SampleType) == 0 {
			return
		}
		if err != nil {
			t.Fatalf("pprof accepts what we refuse: %v", err)
		}
		_, sum, err := hotspot.Functions(p, hotspot.TopOptions{})
		if err != nil {
			return // its drop_frames is no pattern
		}
		at, err := theirs.SampleIndexByName("")
		if err != nil {
			t.Fatal(err)
		}
		var want, base int64
		for _, s := range theirs.Sample {
			v := max(s.Value[at], -s.Value[at])
			want += v
			if s.DiffBaseSample() {
				base += v
			}
		}
		if base > 0 {
			want = base
		}
		if sum.Total != want || p.Samples() != len(theirs.Sample) {
			t.Errorf("total %d of %d samples, pprof has %d of %d", sum.Total, p.Samples(), want, len(theirs.Sample))
		}
	})
}
