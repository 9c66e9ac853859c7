package otlp

import (
	"bytes"
	"encoding/binary"
)

// Glance is what a store must know of a span that it keeps as it was sent.
type Glance struct {
	TraceID      [16]byte
	SpanID       [8]byte
	ParentID     [8]byte // zero for a root
	NameAt, Name int     // where the name begins in the message, and its length
	Kind         int32
	Status       int32
	Start, End   uint64 // Unix nanoseconds
	Own          bool   // it has an attribute whose key begins with OwnPrefix

	keys *KeySet // where the keys of its attributes go
}

// OwnPrefix is what the keys of attributes begin with by which this project's
// servers tell one another what OTLP has no place for.
const OwnPrefix = "pulsectl."

// Look reads a Span message in one pass that builds nothing. It is exact for
// what it takes; what is out of the ordinary (composite values, unknown
// fields, long numbers, ids of a wrong length) and all that is malformed it
// refuses, and then [Span.Decode] must look.
func (g *Glance) Look(src []byte) bool {
	*g = Glance{keys: g.keys}
	for i := 0; i < len(src); {
		switch tag := src[i]; tag {
		case 7<<3 | wireFixed64, 8<<3 | wireFixed64: // times
			if len(src)-i < 9 {
				return false
			}
			n := binary.LittleEndian.Uint64(src[i+1:])
			if tag == 7<<3|wireFixed64 {
				g.Start = n
			} else {
				g.End = n
			}
			i += 9
		case 6 << 3: // kind
			if len(src)-i < 2 || src[i+1] >= 0x80 {
				return false
			}
			g.Kind = int32(src[i+1])
			i += 2
		case 10 << 3, 12 << 3, 14 << 3: // counts of what the sender dropped
			if _, i = varint(src, i+1); i < 0 {
				return false
			}
		case 16<<3&0x7f | 0x80 | wireFixed32: // flags, whose tag has a second byte
			if len(src)-i < 6 || src[i+1] != 1 {
				return false
			}
			i += 6
		default:
			from, to := part(src, i+1)
			if from < 0 || !g.field(tag, src[from:to], from) {
				return false
			}
			i = to
		}
	}
	return true
}

// field reads a field that has a length, and begins at from.
func (g *Glance) field(tag byte, b []byte, from int) bool {
	switch tag {
	case 1<<3 | wireBytes:
		return copy(g.TraceID[:], b) == 16 && len(b) == 16
	case 2<<3 | wireBytes:
		return copy(g.SpanID[:], b) == 8 && len(b) == 8
	case 3<<3 | wireBytes: // trace state
		return true
	case 4<<3 | wireBytes:
		if len(b) == 0 {
			g.ParentID = [8]byte{}
			return true
		}
		return copy(g.ParentID[:], b) == 8 && len(b) == 8
	case 5<<3 | wireBytes:
		g.NameAt, g.Name = from, len(b)
		return true
	case 9<<3 | wireBytes:
		key, ok := plainAttr(b)
		if ok && g.keys != nil {
			g.keys.Add(key)
		}
		g.Own = g.Own || len(key) > 0 && key[0] == OwnPrefix[0] && bytes.HasPrefix(key, []byte(OwnPrefix))
		return ok
	case 11<<3 | wireBytes:
		return plainEvent(b)
	case 15<<3 | wireBytes:
		return g.status(b)
	default:
		return false
	}
}

// status reads a code and steps over a message.
func (g *Glance) status(b []byte) bool {
	for i := 0; i < len(b); {
		switch b[i] {
		case 3 << 3:
			if i+1 >= len(b) || b[i+1] >= 0x80 {
				return false
			}
			g.Status = int32(b[i+1])
			i += 2
		case 2<<3 | wireBytes:
			if _, i = part(b, i+1); i < 0 {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// plainEvent steps over an event with plain attributes.
func plainEvent(b []byte) bool {
	for i := 0; i < len(b); {
		switch b[i] {
		case 1<<3 | wireFixed64:
			if i += 9; i > len(b) {
				return false
			}
		case 2<<3 | wireBytes, 3<<3 | wireBytes:
			from, to := part(b, i+1)
			if from < 0 {
				return false
			}
			if b[i] == 3<<3|wireBytes {
				if _, ok := plainAttr(b[from:to]); !ok {
					return false
				}
			}
			i = to
		case 4 << 3:
			if _, i = varint(b, i+1); i < 0 {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// plainAttr returns the key of a KeyValue that has a key and a value that is a
// text, a number or a truth, in this order.
func plainAttr(b []byte) (key []byte, ok bool) {
	key, b, ok = plainPair(b)
	if !ok || len(b) == 0 {
		return nil, false
	}
	switch b[0] {
	case 1<<3 | wireBytes:
		from, to := part(b, 1)
		return key, from >= 0 && to == len(b)
	case 2 << 3, 3 << 3:
		_, end := varint(b, 1)
		return key, end == len(b)
	case 4<<3 | wireFixed64:
		return key, len(b) == 9
	default:
		return nil, false
	}
}

// part returns where a part lies whose length stands at i, and a negative from
// if there is none. Most lengths take one byte, and for those it is inlined:
// BenchmarkScan 123 ns a span without that, 97 ns with it.
func part(src []byte, i int) (from, to int) {
	if i < len(src) && src[i] < 0x80 && i+1+int(src[i]) <= len(src) {
		return i + 1, i + 1 + int(src[i])
	}
	return longPart(src, i)
}

func longPart(src []byte, i int) (from, to int) {
	n, from := varint(src, i)
	if from < 0 || n > uint64(len(src)-from) {
		return -1, -1
	}
	return from, from + int(n)
}
