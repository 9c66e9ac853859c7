package hotspot

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
)

// merge adds sources up under tables of their own.
func merge(sources []*source) (*Profile, error) {
	types, period, err := agree(sources)
	if err != nil {
		return nil, err
	}
	m := &merger{
		e: newEncoder(), types: len(types), samples: map[string]int{},
		mappings: map[mappingKey]uint32{}, functions: map[functionKey]uint32{}, locations: map[string]uint32{},
	}
	for _, t := range types {
		m.e.valueType(1, t)
	}
	m.header(sources, types, period)
	for _, s := range sources {
		if m.add(s); len(m.bodies) > maxStacks {
			return nil, fmt.Errorf("%w: more than %d different stacks", ErrTooLarge, maxStacks)
		}
	}
	return parseProto(string(m.finish()), Limits{MaxRaw: math.MaxInt})
}

// merger collects samples of several profiles under tables of its own. What
// makes two entries one is what pprof goes by.
type merger struct {
	e     *encoder
	types int

	samples map[string]int // by stack and labels
	bodies  []string       // of a sample: its encoded stack and labels
	values  []int64

	mappings  map[mappingKey]uint32
	starts    []uint64
	functions map[functionKey]uint32
	locations map[string]uint32

	src          *Profile // what the numbers below belong to
	locNumber    []uint32 // 0 is not known yet
	funcNumber   []uint32
	mapNumber    []uint32
	key, scratch []byte
}

type functionKey struct {
	start              int64
	name, system, file string
}

type mappingKey struct {
	size, offset uint64
	name         string
}

// header writes what is not a table.
func (m *merger) header(sources []*source, types []ValueType, period ValueType) {
	var start, duration, length int64
	var chosen string
	for _, s := range sources {
		p := s.p
		if at := p.start(); start == 0 || at < start {
			start = at
		}
		duration += int64(p.Duration)
		factor, _ := scale(p.Period, p.PeriodType.Unit, period.Unit)
		length = max(length, int64(factor))
		name := p.DefaultSampleType
		if s.repicked() && !slices.ContainsFunc(types, func(t ValueType) bool { return t.Type == name }) {
			name = types[0].Type
		}
		if chosen == "" {
			chosen = name
		}
	}
	e, first := m.e, sources[0].p
	e.uint(7, e.str(first.dropFrames))
	e.uint(8, e.str(first.keepFrames))
	e.uint(9, uint64(start))
	e.uint(10, uint64(duration))
	e.valueType(11, period)
	e.uint(12, uint64(length))
	e.uint(14, e.str(chosen))
}

func (m *merger) add(s *source) {
	p := s.p
	m.src = p
	m.locNumber, m.funcNumber, m.mapNumber = make([]uint32, len(p.locations)), make([]uint32, len(p.functions)), make([]uint32, len(p.mappings))
	p.eachSample(true, func(_ int, x *sample) {
		values, ok := s.scaled(x.values)
		if !ok || !slices.ContainsFunc(values, func(v int64) bool { return v != 0 }) {
			return
		}
		m.key = m.key[:0]
		for _, l := range x.stack {
			m.key = binary.AppendUvarint(m.key, uint64(m.location(l)))
		}
		m.key = append(binary.AppendUvarint(nil, uint64(len(m.key))), m.key...)
		m.labels(x.labels, s.label)
		at, ok := m.samples[string(m.key)]
		if !ok {
			if at = len(m.bodies); at > maxStacks {
				return
			}
			body := string(m.key)
			m.samples[body] = at
			m.bodies = append(m.bodies, body)
			m.values = append(m.values, make([]int64, m.types)...)
		}
		for i, v := range values {
			m.values[at*m.types+i] += v
		}
	})
}

// labels appends the labels of a sample to the key, as encoded messages in the
// order of their keys; those of one key stay in their order.
func (m *merger) labels(labels []label, base bool) {
	p := m.src
	sorted := slices.Clone(labels)
	if base {
		sorted = slices.DeleteFunc(sorted, func(l label) bool { return l.str != 0 && p.strings[l.key] == baseLabel })
	}
	slices.SortStableFunc(sorted, func(a, b label) int {
		if (a.str == 0) != (b.str == 0) {
			if a.str != 0 {
				return -1
			}
			return 1
		}
		return strings.Compare(p.strings[a.key], p.strings[b.key])
	})
	kept := m.e.b
	m.e.b = m.key
	for _, l := range sorted {
		m.label(p.strings[l.key], p.strings[l.str], l.str != 0, l.num, p.strings[l.unit])
	}
	if base {
		m.label(baseLabel, "true", true, 0, "")
	}
	m.key, m.e.b = m.e.b, kept
}

func (m *merger) label(key, str string, isText bool, num int64, unit string) {
	e := m.e
	e.message(3, func() {
		e.uint(1, e.str(key))
		if isText {
			e.uint(2, e.str(str))
			return
		}
		e.uint(3, uint64(num))
		e.uint(4, e.str(unit))
	})
}

// location returns the number of a location in the result.
func (m *merger) location(l uint32) uint32 {
	if n := m.locNumber[l]; n != 0 {
		return n
	}
	p := m.src
	loc := p.locations[l]
	address, mapping, offset := loc.address, uint32(0), uint64(0)
	if loc.mapping >= 0 {
		mapping = m.mapping(uint32(loc.mapping))
		address += m.starts[mapping-1] - p.mappings[loc.mapping].start
		offset = m.starts[mapping-1]
	}
	var key []byte
	for _, v := range []uint64{address - offset, uint64(mapping), flag(loc.folded)} {
		key = binary.AppendUvarint(key, v)
	}
	for _, ln := range p.linesOf(l) {
		fn := uint32(0)
		if ln.function >= 0 {
			fn = m.function(uint32(ln.function))
		}
		for _, v := range []uint64{uint64(fn), uint64(ln.line), uint64(ln.column)} {
			key = binary.AppendUvarint(key, v)
		}
	}
	n, ok := m.locations[string(key)]
	if !ok {
		n = uint32(len(m.locations) + 1)
		m.locations[string(key)] = n
		e := m.e
		e.message(4, func() {
			e.uint(1, uint64(n))
			e.uint(2, uint64(mapping))
			e.uint(3, address)
			for _, ln := range p.linesOf(l) {
				e.message(4, func() {
					if ln.function >= 0 {
						e.uint(1, uint64(m.function(uint32(ln.function))))
					}
					e.uint(2, uint64(ln.line))
					e.uint(3, uint64(ln.column))
				})
			}
			e.uint(5, flag(loc.folded))
		})
	}
	m.locNumber[l] = n
	return n
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func (m *merger) function(f uint32) uint32 {
	if n := m.funcNumber[f]; n != 0 {
		return n
	}
	p, fn := m.src, m.src.functions[f]
	k := functionKey{fn.startLine, p.strings[fn.name], p.strings[fn.system], p.strings[fn.file]}
	n, ok := m.functions[k]
	if !ok {
		n = uint32(len(m.functions) + 1)
		m.functions[k] = n
		e := m.e
		e.message(5, func() {
			e.uint(1, uint64(n))
			e.uint(2, e.str(k.name))
			e.uint(3, e.str(k.system))
			e.uint(4, e.str(k.file))
			e.uint(5, uint64(k.start))
		})
	}
	m.funcNumber[f] = n
	return n
}

func (m *merger) mapping(i uint32) uint32 {
	if n := m.mapNumber[i]; n != 0 {
		return n
	}
	s := m.src.mappings[i]
	k := mappingKey{(s.limit - s.start + 0xfff) &^ 0xfff, s.offset, s.buildID}
	if k.name == "" {
		k.name = s.file
	}
	n, ok := m.mappings[k]
	if !ok {
		n = uint32(len(m.mappings) + 1)
		m.mappings[k] = n
		m.starts = append(m.starts, s.start)
		e := m.e
		e.message(3, func() {
			e.uint(1, uint64(n))
			e.uint(2, s.start)
			e.uint(3, s.limit)
			e.uint(4, s.offset)
			e.uint(5, e.str(s.file))
			e.uint(6, e.str(s.buildID))
		})
	}
	m.mapNumber[i] = n
	return n
}

// finish writes the samples that are left and returns the profile.
func (m *merger) finish() []byte {
	for i, body := range m.bodies {
		values := m.values[i*m.types : (i+1)*m.types]
		if !slices.ContainsFunc(values, func(v int64) bool { return v != 0 }) {
			continue
		}
		size, n := binary.Uvarint([]byte(body[:min(len(body), binary.MaxVarintLen64)]))
		e := m.e
		e.message(2, func() {
			e.bytes(1, body[n:n+int(size)])
			m.scratch = m.scratch[:0]
			for _, v := range values {
				m.scratch = binary.AppendUvarint(m.scratch, uint64(v))
			}
			e.bytes(2, string(m.scratch))
			e.b = append(e.b, body[n+int(size):]...)
		})
	}
	return m.e.finish()
}

// start returns when the profile was taken in nanoseconds, 0 if not told.
func (p *Profile) start() int64 {
	if p.Time.IsZero() {
		return 0
	}
	return p.Time.UnixNano()
}
