package hotspot

import "encoding/binary"

// The wire types of protocol buffers.
const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5
)

var (
	errVarint = bad("a number is cut off or too long")
	errWire   = bad("a field has another type than it should")
)

// message walks the fields of one protobuf message. After next returned true,
// field and wire say what stands there and value or data hold it.
type message struct {
	b     string
	field uint64
	wire  uint8
	value uint64 // of a varint
	data  string // of a length-delimited field
	err   error
}

// next reads the next field; false means the end, or err.
func (m *message) next() bool {
	if len(m.b) == 0 || m.err != nil {
		return false
	}
	tag, n := varint(m.b)
	if n == 0 {
		m.err = errVarint
		return false
	}
	m.b, m.field, m.wire = m.b[n:], tag>>3, uint8(tag&7)
	switch m.wire {
	case wireVarint:
		if m.value, n = varint(m.b); n == 0 {
			m.err = errVarint
			return false
		}
		m.b = m.b[n:]
	case wireBytes:
		size, n := varint(m.b)
		if n == 0 || size > uint64(len(m.b)-n) {
			m.err = bad("a field is cut off")
			return false
		}
		m.data, m.b = m.b[n:n+int(size)], m.b[n+int(size):]
	case wire64:
		m.skip(8)
	case wire32:
		m.skip(4)
	default:
		m.err = errWire
	}
	return m.err == nil
}

func (m *message) skip(n int) {
	if len(m.b) < n {
		m.err = bad("a field is cut off")
		return
	}
	m.b = m.b[n:]
}

func (m *message) bytes() (string, error) {
	if m.wire != wireBytes {
		return "", errWire
	}
	return m.data, nil
}

func (m *message) uint(to *uint64) error {
	if m.wire != wireVarint {
		return errWire
	}
	*to = m.value
	return nil
}

func (m *message) int(to *int64) error {
	if m.wire != wireVarint {
		return errWire
	}
	*to = int64(m.value)
	return nil
}

// uints reads a repeated number, packed or not.
func (m *message) uints(each func(uint64) error) error {
	if m.wire == wireVarint {
		return each(m.value)
	}
	b, err := m.bytes()
	if err != nil {
		return err
	}
	for len(b) > 0 {
		v, n := varint(b)
		if n == 0 {
			return errVarint
		}
		if err := each(v); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// message reads the fields of a message that is a field of m.
func (m *message) message(each func(*message) error) error {
	b, err := m.bytes()
	if err != nil {
		return err
	}
	f := message{b: b}
	for f.next() {
		if err := each(&f); err != nil {
			return err
		}
	}
	return f.err
}

// varint returns the number at the beginning of b and its length, 0 if it is
// cut off or longer than ten bytes. Bits beyond 64 are dropped, as pprof does.
func varint(b string) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	var v uint64
	for i := 0; i < len(b) && i < binary.MaxVarintLen64; i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}
