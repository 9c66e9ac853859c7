package otlp

import (
	"encoding/binary"
	"fmt"
)

// Wire types of protobuf.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireGroup   = 3 // start of a group; 4 is its end
	wireEnd     = 4
	wireFixed32 = 5
)

// varint reads a varint of at most 64 bits at src[i:] and returns where it
// ends, or a negative end if there is none.
func varint(src []byte, i int) (n uint64, end int) {
	if i < len(src) && src[i] < 0x80 {
		return uint64(src[i]), i + 1
	}
	n, size := binary.Uvarint(src[min(i, len(src)):])
	if size <= 0 {
		return 0, -1
	}
	return n, i + size
}

// element reads the field at src[i:]: its number, its wire type, where its
// contents lie and where the next field begins. A negative next means that
// there is no well-formed field. A group, which OTLP has none of but old
// protobuf had, is one field without a number, so that nobody reads it.
func element(src []byte, i int) (num uint32, wire byte, from, to, next int) {
	tag, i := varint(src, i)
	if i < 0 || tag>>3 == 0 || tag>>3 > maxFieldNum {
		return 0, 0, 0, 0, -1
	}
	num, wire, from = uint32(tag>>3), byte(tag&7), i
	switch wire {
	case wireVarint:
		_, to = varint(src, i)
	case wireFixed64:
		to = i + 8
	case wireFixed32:
		to = i + 4
	case wireBytes:
		var n uint64
		if n, from = varint(src, i); from < 0 || n > uint64(len(src)-from) {
			return 0, 0, 0, 0, -1
		}
		to = from + int(n)
	case wireGroup:
		to, num = groupEnd(src, i, num, 0), 0
	default:
		to = -1
	}
	if to < 0 || to > len(src) {
		return 0, 0, 0, 0, -1
	}
	return num, wire, from, to, to
}

// groupEnd returns where the group that began before i ends, behind its end
// mark, or a negative number.
func groupEnd(src []byte, i int, num uint32, depth int) int {
	for depth < MaxDepth && i >= 0 && i < len(src) {
		tag, body := varint(src, i)
		if body < 0 {
			return -1
		}
		switch tag & 7 {
		case wireEnd:
			if uint32(tag>>3) != num {
				return -1
			}
			return body
		case wireGroup:
			i = groupEnd(src, body, uint32(tag>>3), depth+1)
		default:
			_, _, _, _, i = element(src, i)
		}
	}
	return -1
}

// malformed is the error about the field at src[i:] of the message called what.
func malformed(src []byte, i int, what string) error {
	return fmt.Errorf("%w: %s: no field at byte %d of %d", ErrMalformed, what, i, len(src))
}
