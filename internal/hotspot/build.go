package hotspot

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/pprof/profile"
	"github.com/klauspost/compress/gzip"
)

// Frame is one call of a stack.
type Frame struct {
	Function  string `json:"function"`
	File      string `json:"file,omitempty"`
	Line      int64  `json:"line,omitempty"`
	StartLine int64  `json:"start_line,omitempty"`
}

// Builder makes a profile out of stacks. It copies the strings it keeps.
type Builder struct {
	p       *profile.Profile
	locs    map[Frame]*profile.Location
	funcs   map[[2]string]*profile.Function
	samples map[string]*profile.Sample
	key     []byte
}

// NewBuilder returns a Builder of profiles with these sample types, the last of
// which is what one period measures.
func NewBuilder(types []ValueType, period int64) *Builder {
	b := &Builder{
		p:       &profile.Profile{Period: period},
		locs:    map[Frame]*profile.Location{},
		funcs:   map[[2]string]*profile.Function{},
		samples: map[string]*profile.Sample{},
	}
	for _, t := range types {
		b.p.SampleType = append(b.p.SampleType, &profile.ValueType{Type: t.Type, Unit: t.Unit})
		b.p.PeriodType = &profile.ValueType{Type: t.Type, Unit: t.Unit}
	}
	return b
}

// Add adds values to the sample with this stack, innermost call first.
func (b *Builder) Add(stack []Frame, values ...int64) {
	b.key = b.key[:0]
	for _, f := range stack {
		b.key = binary.AppendUvarint(b.key, b.location(f).ID)
	}
	s := b.samples[string(b.key)]
	if s == nil {
		s = &profile.Sample{Value: make([]int64, len(b.p.SampleType))}
		for _, f := range stack {
			s.Location = append(s.Location, b.location(f))
		}
		b.samples[string(b.key)] = s
		b.p.Sample = append(b.p.Sample, s)
	}
	for i, v := range values {
		s.Value[i] += v
	}
}

// Scale sets the last value of each sample to its first times period.
func (b *Builder) Scale(period int64) {
	b.p.Period = period
	for _, s := range b.p.Sample {
		s.Value[len(s.Value)-1] = s.Value[0] * period
	}
}

func (b *Builder) location(f Frame) *profile.Location {
	if l := b.locs[f]; l != nil {
		return l
	}
	f.Function, f.File = strings.Clone(f.Function), strings.Clone(f.File)
	fn := b.funcs[[2]string{f.Function, f.File}]
	if fn == nil {
		fn = &profile.Function{ID: uint64(len(b.p.Function) + 1), Name: f.Function, SystemName: f.Function, Filename: f.File, StartLine: f.StartLine}
		b.p.Function = append(b.p.Function, fn)
		b.funcs[[2]string{f.Function, f.File}] = fn
	}
	l := &profile.Location{ID: uint64(len(b.p.Location) + 1), Line: []profile.Line{{Function: fn, Line: f.Line}}}
	b.p.Location = append(b.p.Location, l)
	b.locs[f] = l
	return l
}

// Encode returns the profile in gzipped pprof form.
func (b *Builder) Encode(start time.Time, d time.Duration) ([]byte, error) {
	b.p.TimeNanos, b.p.DurationNanos = start.UnixNano(), int64(d)
	var out bytes.Buffer
	if err := b.p.Write(&out); err != nil {
		return nil, fmt.Errorf("encode profile: %w", err)
	}
	return out.Bytes(), nil
}

// Gzipped returns input, which [Parse] made p of, as gzipped pprof: what other
// tools read, whatever form it came in. It may return input itself.
func Gzipped(input []byte, p *Profile) ([]byte, error) {
	if bytes.HasPrefix(input, []byte{0x1f, 0x8b}) && p.form == formProto {
		return input, nil
	}
	var out bytes.Buffer
	err := p.WriteGzipped(&out)
	return out.Bytes(), err
}

// WriteGzipped writes p as gzipped pprof.
func (p *Profile) WriteGzipped(w io.Writer) error {
	z := gzip.NewWriter(w)
	if _, err := io.WriteString(z, p.raw); err != nil {
		return fmt.Errorf("gzip profile: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("gzip profile: %w", err)
	}
	return nil
}
