package hotspot

import (
	"encoding/binary"
)

// encoder writes profile.proto.
type encoder struct {
	b       []byte
	strings map[string]uint64
	table   []string
}

func newEncoder() *encoder {
	return &encoder{strings: map[string]uint64{"": 0}, table: []string{""}}
}

// str returns the number of a string, whose text the caller keeps.
func (e *encoder) str(s string) uint64 {
	n, ok := e.strings[s]
	if !ok {
		n = uint64(len(e.table))
		e.strings[s] = n
		e.table = append(e.table, s)
	}
	return n
}

// uint writes a number, unless it is the default.
func (e *encoder) uint(field int, v uint64) {
	if v != 0 {
		e.b = binary.AppendUvarint(e.b, uint64(field)<<3|wireVarint)
		e.b = binary.AppendUvarint(e.b, v)
	}
}

func (e *encoder) bytes(field int, s string) {
	e.b = binary.AppendUvarint(e.b, uint64(field)<<3|wireBytes)
	e.b = binary.AppendUvarint(e.b, uint64(len(s)))
	e.b = append(e.b, s...)
}

// message writes what fill writes as a message of its own.
func (e *encoder) message(field int, fill func()) {
	e.b = binary.AppendUvarint(e.b, uint64(field)<<3|wireBytes)
	at := len(e.b)
	fill()
	var size [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(size[:], uint64(len(e.b)-at))
	e.b = append(e.b, size[:n]...)
	copy(e.b[at+n:], e.b[at:len(e.b)-n])
	copy(e.b[at:], size[:n])
}

func (e *encoder) valueType(field int, t ValueType) {
	e.message(field, func() {
		e.uint(1, e.str(t.Type))
		e.uint(2, e.str(t.Unit))
	})
}

// finish writes the string table and returns the message.
func (e *encoder) finish() []byte {
	for _, s := range e.table {
		e.bytes(6, s)
	}
	return e.b
}
