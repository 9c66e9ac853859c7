package otlp

import (
	"encoding/binary"
	"slices"
)

// Key is an attribute's encoding up to its value: what [AppendTextAttr] writes
// of a key each time, written once. 10 ns an attribute that way, 6 ns this way
// (BenchmarkAppendAttr).
type Key []byte

// NewKey prepares a key; nil for one that has no short form.
func NewKey(name string) Key {
	if name == "" || len(name) > 64 {
		return nil
	}
	return append(append(Key{0, 0, 1<<3 | 2, byte(len(name))}, name...), 2<<3|2)
}

// AppendText is [AppendTextAttr] under the key. It says whether the attribute is
// short enough for it.
func (k Key) AppendText(dst []byte, field int, v string) ([]byte, bool) {
	n := len(k) + len(v) + 1
	if k == nil || n >= 1<<7 {
		return dst, false
	}
	dst, b := k.append(dst, field, n)
	b[0], b[1], b[2] = byte(len(v)+2), 1<<3|2, byte(len(v))
	copy(b[3:], v)
	return dst, true
}

// AppendNumber is [AppendNumberAttr] under the key, which may be any but nil.
func (k Key) AppendNumber(dst []byte, field int, kind Kind, num uint64) []byte {
	size := 9
	if kind != KindFloat {
		size = 1 + varintSize(num)
	}
	dst, b := k.append(dst, field, len(k)-1+size)
	b[0] = byte(size)
	switch kind {
	case KindBool:
		b[1], b[2] = 2<<3, byte(num)
	case KindInt:
		b[1] = 3 << 3
		binary.PutUvarint(b[2:], num)
	default:
		b[1] = 4<<3 | 1
		binary.LittleEndian.PutUint64(b[2:], num)
	}
	return dst
}

// append appends the head of a KeyValue of n bytes and the key, and returns what
// is left of it: from the length of the value on.
func (k Key) append(dst []byte, field, n int) (out, rest []byte) {
	at := len(dst)
	dst = slices.Grow(dst, n+2)[:at+n+2]
	b := dst[at:]
	copy(b, k)
	b[0], b[1] = byte(field<<3|2), byte(n)
	return dst, b[len(k):]
}
