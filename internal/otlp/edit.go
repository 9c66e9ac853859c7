package otlp

import "encoding/binary"

// The functions here look into what AppendAttr and its kin wrote: fields with a
// length, one behind the other, attributes with their key first.

// FindAttr returns where the attribute of this key lies in buf: from its tag to
// its end. Without one both are 0.
func FindAttr(buf []byte, key string) (from, to int) {
	for at := 0; at < len(buf); at = to {
		field, body, end := fieldAt(buf, at)
		if to = end; field == FieldAttrs && string(keyOf(body)) == key {
			return at, to
		}
	}
	return 0, 0
}

// FindField returns where the first field of this number lies in buf. Without
// one both are 0.
func FindField(buf []byte, number int) (from, to int) {
	for at := 0; at < len(buf); at = to {
		field, _, end := fieldAt(buf, at)
		if to = end; field == number {
			return at, to
		}
	}
	return 0, 0
}

// fieldAt returns the field that begins at buf[at] and where it ends.
func fieldAt(buf []byte, at int) (number int, body []byte, end int) {
	tag, n := binary.Uvarint(buf[at:])
	size, m := binary.Uvarint(buf[at+n:])
	begin := at + n + m
	end = begin + int(size)
	return int(tag >> 3), buf[begin:end], end
}

// keyOf returns the key of an encoded KeyValue.
func keyOf(kv []byte) []byte {
	if len(kv) == 0 || kv[0] != 1<<3|2 {
		return nil
	}
	size, n := binary.Uvarint(kv[1:])
	return kv[1+n : 1+n+int(size)]
}
