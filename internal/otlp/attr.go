package otlp

import (
	"encoding/binary"
	"slices"
)

// The lengths in nearly every attribute fit in a byte each. Those are written
// here without working out how long a length is: BenchmarkAppendAttr takes 17
// ns an attribute by AppendAttr, 10 ns this way.

// AppendTextAttr is AppendAttr for text.
func AppendTextAttr(dst []byte, field int, key, v string) []byte {
	n := len(key) + len(v) + 6
	if n >= 1<<7 || key == "" || field > 15 {
		return AppendAttr(dst, field, KeyValue{key, String(v)})
	}
	dst, b := appendShortKey(dst, field, key, n)
	b[0], b[1], b[2], b[3] = 2<<3|2, byte(len(v)+2), 1<<3|2, byte(len(v))
	copy(b[4:], v)
	return dst
}

// AppendNumberAttr is AppendAttr for a KindBool, KindInt or KindFloat.
func AppendNumberAttr(dst []byte, field int, key string, kind Kind, num uint64) []byte {
	size := 9
	if kind != KindFloat {
		size = 1 + varintSize(num)
	}
	n := len(key) + size + 4
	if n >= 1<<7 || key == "" || field > 15 {
		return AppendAttr(dst, field, KeyValue{key, Value{Kind: kind, Num: num}})
	}
	dst, b := appendShortKey(dst, field, key, n)
	b[0], b[1] = 2<<3|2, byte(size)
	switch kind {
	case KindBool:
		b[2], b[3] = 2<<3, byte(num)
	case KindInt:
		b[2] = 3 << 3
		binary.PutUvarint(b[3:], num)
	default:
		b[2] = 4<<3 | 1
		binary.LittleEndian.PutUint64(b[3:], num)
	}
	return dst
}

// appendShortKey appends the head of a KeyValue of n bytes and its key, and
// returns what is left of it.
func appendShortKey(dst []byte, field int, key string, n int) (out, rest []byte) {
	at := len(dst)
	dst = slices.Grow(dst, n+2)[:at+n+2]
	b := dst[at:]
	b[0], b[1], b[2], b[3] = byte(field<<3|2), byte(n), 1<<3|2, byte(len(key))
	copy(b[4:], key)
	return dst, b[4+len(key):]
}
