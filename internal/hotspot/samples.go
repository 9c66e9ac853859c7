package hotspot

import (
	"encoding/binary"
	"math/bits"
)

// samples reads the samples of the profile message b, whose tables are known.
func (d *decoder) samples(b []byte) error {
	p := d.p
	p.sampleEnd = make([]uint32, 0, d.samplesSeen)
	p.values = make([]int64, 0, min(d.samplesSeen*len(p.SampleTypes), len(b))) // a value takes a byte at least
	m := message{b: b}
	for m.next() {
		if m.field != 2 {
			continue // its form was checked before
		}
		s, err := m.bytes()
		if err != nil {
			return err
		}
		if err := d.sample(s); err != nil {
			return err
		}
	}
	return m.err
}

func (d *decoder) sample(b []byte) error {
	p := d.p
	firstValue, labels := len(p.values), len(p.labels)
	m := message{b: b}
	for m.next() {
		var err error
		switch m.field {
		case 1:
			err = d.stack(&m)
		case 2:
			err = m.uints(func(v uint64) { p.values = append(p.values, int64(v)) })
		case 3:
			err = d.label(&m)
		}
		if err != nil {
			return err
		}
	}
	if m.err != nil {
		return m.err
	}
	if n := len(p.values) - firstValue; n != len(p.SampleTypes) {
		return bad("a sample has %d values for %d types", n, len(p.SampleTypes))
	}
	if len(p.labels) > labels && p.labelEnd == nil {
		p.labelEnd = make([]uint32, len(p.sampleEnd), d.samplesSeen)
	}
	if p.labelEnd != nil {
		p.labelEnd = append(p.labelEnd, uint32(len(p.labels)))
	}
	p.sampleEnd = append(p.sampleEnd, uint32(len(p.stacks)))
	return nil
}

// stack reads location ids, packed or one alone. It is the innermost loop of
// parsing, so the packed form is decoded here without a call per id.
func (d *decoder) stack(m *message) error {
	if m.wire == wireVarint {
		return d.push(m.value)
	}
	b, err := m.bytes()
	if err != nil {
		return err
	}
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
		if err := d.push(id); err != nil {
			return err
		}
	}
	return nil
}

// stackLength counts the location ids of a sample.
func stackLength(sample []byte) (n int) {
	m := message{b: sample}
	for m.next() {
		switch {
		case m.field != 1:
		case m.wire == wireBytes:
			n += countVarints(m.data)
		default:
			n++
		}
	}
	return n
}

// countVarints counts the bytes that end a number, eight at a time: a pass over
// 100 MB takes 20 ms, growing the stacks by append took 300 ms and twice the
// memory (BenchmarkTop800k).
func countVarints(b []byte) (n int) {
	for ; len(b) >= 8; b = b[8:] {
		n += bits.OnesCount64(^binary.LittleEndian.Uint64(b) & 0x8080808080808080)
	}
	for _, c := range b {
		if c < 0x80 {
			n++
		}
	}
	return n
}

func (d *decoder) push(id uint64) error {
	loc := d.locations.find(id)
	if loc < 0 {
		return bad("location %d is not in the table", id)
	}
	d.p.stacks = append(d.p.stacks, uint32(loc))
	return nil
}

func (d *decoder) label(m *message) error {
	var key, str, unit uint64
	var num int64
	err := m.message(func(f *message) error {
		switch f.field {
		case 1:
			return f.uint(&key)
		case 2:
			return f.uint(&str)
		case 3:
			return f.int(&num)
		case 4:
			return f.uint(&unit)
		}
		return nil
	})
	if err != nil || (str == 0 && num == 0 && unit == 0) {
		return err // pprof leaves out labels without a value
	}
	d.str(key, &err)
	d.str(str, &err)
	d.str(unit, &err)
	d.p.labels = append(d.p.labels, label{uint32(key), uint32(str), uint32(unit), num})
	return err
}
