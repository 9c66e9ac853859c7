package hotspot

import "fmt"

// What one sample may have at most, so that a pass needs little memory whatever
// the input: far more than any profiler writes.
const (
	maxDepth  = 1 << 20
	maxLabels = 1 << 16
)

// maxFrames bounds the calls in all stacks of a profile, the inlined ones too:
// few bytes can name a location of many lines very often, and each report looks
// at every one.
const maxFrames = 256 << 20

// maxStacks bounds the different stacks that a report keeps at once.
const maxStacks = 4 << 20

// sample is one stack record as a pass hands it out: until the next one.
type sample struct {
	stack  []uint32 // locations, leaf first
	values []int64
	labels []label
}

// checkSamples looks at every sample of the message once, so that later passes
// need not, and notes where it begins.
func (p *Profile) checkSamples(count int) error {
	p.sampleAt = make([]uint32, 0, count)
	var s sample
	m := message{b: p.raw}
	for at := 0; m.next(); at = len(p.raw) - len(m.b) {
		if m.field != 2 {
			continue // its form was checked before
		}
		body, err := m.bytes()
		if err != nil {
			return err
		}
		if err := p.decode(body, &s, true); err != nil {
			return err
		}
		_, tag := varint(p.raw[at:])
		p.sampleAt = append(p.sampleAt, uint32(at+tag))
		p.frames += len(s.stack)
	}
	if m.err != nil {
		return m.err
	}
	return p.checkFrames()
}

// checkFrames refuses a profile of more than maxFrames. It counts them only
// where there might be so many.
func (p *Profile) checkFrames() error {
	most := 1
	for l := range p.locations {
		most = max(most, len(p.linesOf(uint32(l))))
	}
	if p.frames <= maxFrames/most {
		return nil
	}
	frames := 0
	p.eachSample(false, func(_ int, s *sample) {
		for _, l := range s.stack {
			frames += max(len(p.linesOf(l)), 1)
		}
	})
	if frames > maxFrames {
		return fmt.Errorf("%w: %d calls in its stacks, want at most %d", ErrTooLarge, frames, maxFrames)
	}
	return nil
}

// eachSample calls f with every sample, its labels where asked for.
func (p *Profile) eachSample(labels bool, f func(i int, s *sample)) {
	var s sample
	for i := range p.sampleAt {
		p.sample(i, &s, labels)
		f(i, &s)
	}
}

// sample reads sample i, which was checked when the profile was parsed.
func (p *Profile) sample(i int, s *sample, labels bool) {
	b := p.raw[p.sampleAt[i]:]
	size, n := varint(b)
	if err := p.decode(b[n:n+int(size)], s, labels); err != nil {
		panic(err) // unreachable: the bytes are those that were checked
	}
}

// decode reads a sample into s, whose slices it uses again.
func (p *Profile) decode(b string, s *sample, labels bool) error {
	s.stack, s.values, s.labels = s.stack[:0], s.values[:0], s.labels[:0]
	m := message{b: b}
	for m.next() {
		var err error
		switch m.field {
		case 1:
			err = p.decodeStack(&m, s)
		case 2:
			err = p.decodeValues(&m, s)
		case 3:
			if labels {
				err = p.decodeLabel(&m, s)
			}
		}
		if err != nil {
			return err
		}
	}
	if m.err == nil && len(s.values) != len(p.SampleTypes) {
		return bad("a sample has %d values for %d types", len(s.values), len(p.SampleTypes))
	}
	return m.err
}

// decodeStack reads location ids, packed or one alone. It is the innermost loop
// of every pass, so the packed form is decoded here without a call per id.
func (p *Profile) decodeStack(m *message, s *sample) error {
	if m.wire == wireVarint {
		return p.push(m.value, s)
	}
	b, err := m.bytes()
	if err != nil {
		return err
	}
	dense := p.locationIDs.dense
	for len(b) > 0 {
		id := uint64(b[0])
		if id < 0x80 {
			b = b[1:]
		} else if len(b) > 1 && b[1] < 0x80 {
			id, b = id&0x7f|uint64(b[1])<<7, b[2:]
		} else {
			var n int
			if id, n = varint(b); n == 0 {
				return errVarint
			}
			b = b[n:]
		}
		if id < uint64(len(dense)) && dense[id] >= 0 && len(s.stack) < maxDepth {
			s.stack = append(s.stack, uint32(dense[id]))
		} else if err := p.push(id, s); err != nil {
			return err
		}
	}
	return nil
}

// decodeValues reads values, packed or one alone.
func (p *Profile) decodeValues(m *message, s *sample) error {
	b := ""
	if m.wire == wireVarint {
		s.values = append(s.values, int64(m.value))
	} else {
		var err error
		if b, err = m.bytes(); err != nil {
			return err
		}
	}
	for len(b) > 0 && len(s.values) <= len(p.SampleTypes) {
		v, n := varint(b)
		if n == 0 {
			return errVarint
		}
		s.values, b = append(s.values, int64(v)), b[n:]
	}
	if len(s.values) > len(p.SampleTypes) {
		return bad("a sample has more than %d values for as many types", len(p.SampleTypes))
	}
	return nil
}

func (p *Profile) push(id uint64, s *sample) error {
	loc := p.locationIDs.find(id)
	switch {
	case loc < 0:
		return bad("location %d is not in the table", id)
	case len(s.stack) >= maxDepth:
		return bad("a stack is deeper than %d", maxDepth)
	}
	s.stack = append(s.stack, uint32(loc))
	return nil
}

func (p *Profile) decodeLabel(m *message, s *sample) error {
	var key, str, unit uint64
	var num int64
	b, err := m.bytes()
	for f := (message{b: b}); err == nil; {
		if !f.next() {
			err = f.err
			break
		}
		switch f.field {
		case 1:
			err = f.uint(&key)
		case 2:
			err = f.uint(&str)
		case 3:
			err = f.int(&num)
		case 4:
			err = f.uint(&unit)
		}
	}
	if err != nil || (str == 0 && num == 0 && unit == 0) {
		return err // pprof leaves out labels without a value
	}
	if len(s.labels) == maxLabels {
		return bad("a sample has more than %d labels", maxLabels)
	}
	n := uint64(len(p.strings))
	if i := max(key, str, unit); i >= n {
		return bad("string %d of %d", i, n)
	}
	s.labels = append(s.labels, label{uint32(key), uint32(str), uint32(unit), num})
	return nil
}

// Samples returns the number of stack records.
func (p *Profile) Samples() int { return len(p.sampleAt) }

// Stack appends the frames of sample i to dst, innermost call first. Their
// strings belong to the profile: who keeps them keeps all of it.
func (p *Profile) Stack(dst []Frame, i int) []Frame {
	var s sample
	p.sample(i, &s, false)
	for _, l := range s.stack {
		for _, ln := range p.linesOf(l) {
			if ln.function < 0 {
				continue
			}
			f := p.functions[ln.function]
			dst = append(dst, Frame{p.strings[f.name], p.strings[f.file], ln.line, f.startLine})
		}
	}
	return dst
}

// Values returns the values of sample i, one for each sample type.
func (p *Profile) Values(i int) []int64 {
	var s sample
	p.sample(i, &s, false)
	return s.values
}

// Labels returns the labels of sample i.
func (p *Profile) Labels(i int) []Label {
	var s sample
	p.sample(i, &s, true)
	var out []Label
	for _, l := range s.labels {
		out = append(out, Label{p.strings[l.key], p.strings[l.str], l.num, p.strings[l.unit]})
	}
	return out
}

// EachLabelled calls each with every sample that has a text label of this key,
// and with the label's value.
func (p *Profile) EachLabelled(key string, each func(i int, value string)) {
	p.eachSample(true, func(i int, s *sample) {
		for _, l := range s.labels {
			if p.strings[l.key] == key {
				each(i, p.strings[l.str])
			}
		}
	})
}
