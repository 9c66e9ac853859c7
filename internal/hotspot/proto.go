package hotspot

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// maxSampleTypes is far above what profilers write, which is at most six.
const maxSampleTypes = 256

// parseProto reads an uncompressed profile.proto. It goes over the message
// twice: first all but the samples, then the samples, whose ids so are checked
// wherever the tables stand in the message.
func parseProto(raw string, lim Limits) (*Profile, error) {
	if uint64(len(raw)) > math.MaxUint32 { // offsets are 32 bits
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(raw))
	}
	d := decoder{p: &Profile{raw: raw}}
	if err := d.grow(lim); err != nil {
		return nil, err
	}
	if err := d.tables(); err != nil {
		return nil, err
	}
	if err := d.resolve(); err != nil {
		return nil, err
	}
	if err := d.p.checkSamples(d.samplesSeen); err != nil {
		return nil, err
	}
	return d.p, nil
}

// decoder holds what a profile's tables say before their ids are resolved.
type decoder struct {
	p *Profile

	sampleTypes []valueType
	periodType  valueType
	defaultType uint64
	drop, keep  uint64
	timeNanos   int64
	duration    int64

	functionIDs []uint64
	mappingIDs  []uint64
	mappings    []rawMapping
	locationIDs []uint64
	locMappings []uint64
	lineFuncs   []uint64

	samplesSeen int
	maxLines    int
}

type valueType struct{ typ, unit uint64 }

type rawMapping struct{ start, limit, offset, file, buildID uint64 }

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// maxTable bounds the entries of each table by the size of the message that is
// allowed: hostile ones take four bytes there and a hundred here.
const maxTable = 128

// grow makes room for the tables, so that they are not copied as they grow, and
// bounds them.
func (d *decoder) grow(lim Limits) error {
	var count [7]int
	m := message{b: d.p.raw}
	for m.next() {
		if m.field < uint64(len(count)) && m.wire == wireBytes {
			count[m.field]++
		}
	}
	if count[1] > maxSampleTypes {
		return fmt.Errorf("%w: %d sample types, want at most %d", ErrTooLarge, count[1], maxSampleTypes)
	}
	most := cmp.Or(lim.MaxRaw, 512<<20) / maxTable
	for field, what := range map[int]string{3: "mappings", 4: "locations", 5: "functions", 6: "strings"} {
		if count[field] > most {
			return fmt.Errorf("%w: %d %s, want at most %d", ErrTooLarge, count[field], what, most)
		}
	}
	d.samplesSeen, d.maxLines = count[2], most
	p := d.p
	d.locationIDs, d.locMappings = make([]uint64, 0, count[4]), make([]uint64, 0, count[4])
	p.locations = make([]location, 0, count[4])
	d.lineFuncs, p.lines = make([]uint64, 0, count[4]), make([]line, 0, count[4]) // one each at least, as a rule
	d.functionIDs, p.functions = make([]uint64, 0, count[5]), make([]function, 0, count[5])
	p.strings = make([]string, 0, count[6])
	return nil
}

// tables reads every field of the profile message but the samples.
func (d *decoder) tables() error {
	m := message{b: d.p.raw}
	for m.next() {
		var err error
		switch m.field {
		case 1:
			var v valueType
			v, err = readValueType(&m)
			d.sampleTypes = append(d.sampleTypes, v)
		case 2:
			_, err = m.bytes()
		case 3:
			err = d.mapping(&m)
		case 4:
			err = d.location(&m)
		case 5:
			err = d.function(&m)
		case 6:
			var s string
			s, err = m.bytes()
			d.p.strings = append(d.p.strings, s)
		default:
			err = d.header(&m)
		}
		if err != nil {
			return err
		}
	}
	return m.err
}

// header reads one of the scalar fields.
func (d *decoder) header(m *message) error {
	switch m.field {
	case 7:
		return m.uint(&d.drop)
	case 8:
		return m.uint(&d.keep)
	case 9:
		if d.timeNanos != 0 {
			return bad("several profiles one after another")
		}
		return m.int(&d.timeNanos)
	case 10:
		return m.int(&d.duration)
	case 11:
		var err error
		d.periodType, err = readValueType(m)
		return err
	case 12:
		return m.int(&d.p.Period)
	case 13: // comments
		return m.uints(func(uint64) error { return nil })
	case 14:
		return m.uint(&d.defaultType)
	}
	return nil
}

func readValueType(m *message) (v valueType, err error) {
	err = m.message(func(f *message) error {
		switch f.field {
		case 1:
			return f.uint(&v.typ)
		case 2:
			return f.uint(&v.unit)
		}
		return nil
	})
	return v, err
}

func (d *decoder) mapping(m *message) error {
	var id uint64
	var r rawMapping
	err := m.message(func(f *message) error {
		switch f.field {
		case 1:
			return f.uint(&id)
		case 2:
			return f.uint(&r.start)
		case 3:
			return f.uint(&r.limit)
		case 4:
			return f.uint(&r.offset)
		case 5:
			return f.uint(&r.file)
		case 6:
			return f.uint(&r.buildID)
		}
		return nil
	})
	if err == nil && id == 0 {
		return bad("a mapping has the reserved id 0")
	}
	d.mappingIDs, d.mappings = append(d.mappingIDs, id), append(d.mappings, r)
	return err
}

func (d *decoder) function(m *message) error {
	var id, name, system, file, start uint64
	err := m.message(func(f *message) error {
		switch f.field {
		case 1:
			return f.uint(&id)
		case 2:
			return f.uint(&name)
		case 3:
			return f.uint(&system)
		case 4:
			return f.uint(&file)
		case 5:
			return f.uint(&start)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if id == 0 {
		return bad("a function has the reserved id 0")
	}
	if n := max(name, system, file); n > math.MaxUint32 {
		return bad("string %d of %d", n, len(d.p.strings))
	}
	d.functionIDs = append(d.functionIDs, id)
	d.p.functions = append(d.p.functions, function{uint32(name), uint32(system), uint32(file), int64(start)})
	return nil
}

func (d *decoder) location(m *message) error {
	var id, mapping, address, folded uint64
	err := m.message(func(f *message) error {
		switch f.field {
		case 1:
			return f.uint(&id)
		case 2:
			return f.uint(&mapping)
		case 3:
			return f.uint(&address)
		case 4:
			return d.line(f)
		case 5:
			return f.uint(&folded)
		}
		return nil
	})
	if err == nil && id == 0 {
		return bad("a location has the reserved id 0")
	}
	d.locationIDs, d.locMappings = append(d.locationIDs, id), append(d.locMappings, mapping)
	d.p.locations = append(d.p.locations, location{address: address, folded: folded != 0, lineEnd: uint32(len(d.p.lines))})
	return err
}

func (d *decoder) line(m *message) error {
	var fn uint64
	var number, column int64
	err := m.message(func(f *message) error {
		switch f.field {
		case 1:
			return f.uint(&fn)
		case 2:
			return f.int(&number)
		case 3:
			return f.int(&column)
		}
		return nil
	})
	if len(d.lineFuncs) == d.maxLines {
		return fmt.Errorf("%w: more than %d lines", ErrTooLarge, d.maxLines)
	}
	d.lineFuncs = append(d.lineFuncs, fn)
	d.p.lines = append(d.p.lines, line{function: -1, line: number, column: column})
	return err
}

// resolve turns ids into indices and string numbers into strings.
func (d *decoder) resolve() error {
	p := d.p
	switch {
	case len(p.strings) == 0:
		return bad("it has no string table")
	case p.strings[0] != "":
		return bad("string 0 is %.20q, want \"\"", p.strings[0])
	case len(d.sampleTypes) == 0:
		return bad("it has no sample type")
	}
	if err := d.resolveHeader(); err != nil {
		return err
	}
	if err := d.resolveFunctions(); err != nil {
		return err
	}
	return d.resolveLocations()
}

func (d *decoder) str(i uint64, err *error) string {
	if i >= uint64(len(d.p.strings)) {
		if *err == nil {
			*err = bad("string %d of %d", i, len(d.p.strings))
		}
		return ""
	}
	return d.p.strings[i]
}

func (d *decoder) resolveHeader() (err error) {
	p := d.p
	for _, v := range d.sampleTypes {
		p.SampleTypes = append(p.SampleTypes, ValueType{strings.Clone(d.str(v.typ, &err)), strings.Clone(d.str(v.unit, &err))}) // who keeps them keeps no profile
	}
	p.PeriodType = ValueType{strings.Clone(d.str(d.periodType.typ, &err)), strings.Clone(d.str(d.periodType.unit, &err))}
	p.DefaultSampleType = strings.Clone(d.str(d.defaultType, &err))
	p.dropFrames, p.keepFrames = d.str(d.drop, &err), d.str(d.keep, &err)
	if d.timeNanos != 0 {
		p.Time = time.Unix(0, d.timeNanos).UTC()
	}
	p.Duration = time.Duration(d.duration)
	p.hasBase = slices.Contains(p.strings, baseLabel)
	return err
}

func (d *decoder) resolveFunctions() (err error) {
	for _, f := range d.p.functions {
		d.str(uint64(max(f.name, f.system, f.file)), &err)
	}
	for _, m := range d.mappings {
		d.p.mappings = append(d.p.mappings, mapping{m.start, m.limit, m.offset, d.str(m.file, &err), d.str(m.buildID, &err)})
	}
	return err
}

func (d *decoder) resolveLocations() error {
	functions, err := newIndex("function", d.functionIDs)
	if err != nil {
		return err
	}
	mappings, err := newIndex("mapping", d.mappingIDs)
	if err != nil {
		return err
	}
	if d.p.locationIDs, err = newIndex("location", d.locationIDs); err != nil {
		return err
	}
	for i, id := range d.lineFuncs {
		fn := functions.find(id)
		if fn < 0 && id != 0 {
			return bad("function %d is not in the table", id)
		}
		d.p.lines[i].function = fn
	}
	for i, id := range d.locMappings {
		d.p.locations[i].mapping = mappings.find(id)
	}
	return nil
}

// index finds the place of an id in its table. Ids that count from 1, as
// nearly all do, need no map.
type index struct {
	dense  []int32
	sparse map[uint64]int32
}

func newIndex(what string, ids []uint64) (index, error) {
	x := index{dense: make([]int32, len(ids)+1)}
	for i := range x.dense {
		x.dense[i] = -1
	}
	for i, id := range ids {
		switch {
		case x.find(id) >= 0:
			return x, bad("two %ss have the id %d", what, id)
		case id < uint64(len(x.dense)):
			x.dense[id] = int32(i)
		default:
			if x.sparse == nil {
				x.sparse = make(map[uint64]int32)
			}
			x.sparse[id] = int32(i)
		}
	}
	return x, nil
}

// find returns where id stands, or -1.
func (x *index) find(id uint64) int32 {
	if id < uint64(len(x.dense)) {
		return x.dense[id]
	}
	if i, ok := x.sparse[id]; ok {
		return i
	}
	return -1
}
