package otlp

import (
	"encoding/binary"
	"math/bits"
)

// KeySet says which keys of attributes are not among many, and nearly always
// which are: a Bloom filter of 1,024 bits, two a key. Of 60 keys it takes one in
// 80 that is not among them for one that is.
type KeySet [16]uint64

// Add adds a key.
func (k *KeySet) Add(key []byte) {
	a, b := keyBits(key)
	k[a>>6] |= 1 << (a & 63)
	k[b>>6] |= 1 << (b & 63)
}

// Has tells whether the key may have been added.
func (k *KeySet) Has(key string) bool {
	a, b := keyBits(alias(key))
	return k[a>>6]&(1<<(a&63)) != 0 && k[b>>6]&(1<<(b&63)) != 0
}

// Join adds all keys of another set; a nil one has every key.
func (k *KeySet) Join(other *KeySet) {
	for i := range k {
		if other == nil {
			k[i] = ^uint64(0)
		} else {
			k[i] |= other[i]
		}
	}
}

// keyBits mixes the length with both ends of a key, which tells the keys of a
// program apart.
func keyBits(key []byte) (a, b uint) {
	var head, tail uint64
	if n := len(key); n >= 8 {
		head, tail = binary.LittleEndian.Uint64(key), binary.LittleEndian.Uint64(key[n-8:])
	} else {
		for _, c := range key {
			head = head<<8 | uint64(c)
		}
	}
	h := (head ^ bits.RotateLeft64(tail, 23) ^ uint64(len(key))) * 0x9e3779b97f4a7c15
	return uint(h >> 54), uint(h >> 44 & 1023)
}

// SpanAttrs calls f for the attributes of an encoded Span whose keys are wanted,
// of its first most ones. Only these are decoded.
func SpanAttrs(span []byte, most int, wanted func(key []byte) bool, f func(KeyValue)) error {
	for i := 0; i < len(span) && most > 0; {
		num, wire, from, to, next := element(span, i)
		if next < 0 {
			return malformed(span, i, "span")
		}
		i = next
		if num != FieldAttrs || wire != wireBytes {
			continue
		}
		most--
		b := span[from:to]
		if key, _, ok := plainPair(b); ok && !wanted(key) {
			continue
		}
		kv, err := decodeKeyValue(b, 0)
		if err != nil {
			return err
		}
		if wanted(alias(kv.Key)) {
			f(kv)
		}
	}
	return nil
}

// plainPair returns the key and the encoded value of a KeyValue that has a key
// and then a value, and neither twice.
func plainPair(b []byte) (key, value []byte, ok bool) {
	if len(b) < 2 || b[0] != 1<<3|wireBytes || b[1] >= 0x80 || len(b)-2 < int(b[1]) {
		return nil, nil, false
	}
	key, b = b[2:2+b[1]], b[2+b[1]:]
	if len(b) == 0 || b[0] != 2<<3|wireBytes {
		return nil, nil, false
	}
	from, to := part(b, 1)
	if from < 0 || to != len(b) {
		return nil, nil, false
	}
	return key, b[from:], true
}
