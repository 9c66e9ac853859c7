package otlp

import "iter"

// Items returns the values of a KindArray, none of another kind.
func (v Value) Items() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		more := v.Kind == KindArray
		_ = eachItem(v.composite(), 0, func(item Value) { more = more && yield(item) }) // it was walked when it was decoded
	}
}

// Pairs returns the entries of a KindMap, none of another kind.
func (v Value) Pairs() iter.Seq[KeyValue] {
	return func(yield func(KeyValue) bool) {
		more := v.Kind == KindMap
		_ = eachPair(v.composite(), 0, func(kv KeyValue) { more = more && yield(kv) })
	}
}

func (v Value) composite() string {
	if v.Kind == KindArray || v.Kind == KindMap {
		return v.Str
	}
	return ""
}
