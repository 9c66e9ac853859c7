package tracing

import (
	"math"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// Attr is an attribute under a key that a store has prepared. The zero Attr is
// none.
type Attr struct {
	key  *key
	text string
	num  uint64
}

// TextKey is the name of a text attribute, prepared by [Store.TextKey]. Keep it:
// to set several attributes at once under keys takes half of what it takes under
// names. It serves spans of other stores too, as quickly as a name does.
type TextKey struct{ key *key }

// IntKey is as [TextKey] for numbers.
type IntKey struct{ key *key }

// FloatKey is as [TextKey] for numbers that are not whole.
type FloatKey struct{ key *key }

// BoolKey is as [TextKey] for what is true or not.
type BoolKey struct{ key *key }

// key is what a store knows of a name.
type key struct {
	store   *Store
	name    string
	bit     uint64   // see slot.room
	encoded otlp.Key // nil for a long name
	kind    otlp.Kind
	plain   bool // neither masked nor searched for secrets
}

// TextKey prepares the name of a text attribute.
func (s *Store) TextKey(name string) TextKey { return TextKey{s.key(name, otlp.KindString)} }

// IntKey prepares the name of a number.
func (s *Store) IntKey(name string) IntKey { return IntKey{s.key(name, otlp.KindInt)} }

// FloatKey prepares the name of a number that is not whole.
func (s *Store) FloatKey(name string) FloatKey { return FloatKey{s.key(name, otlp.KindFloat)} }

// BoolKey prepares the name of what is true or not.
func (s *Store) BoolKey(name string) BoolKey { return BoolKey{s.key(name, otlp.KindBool)} }

func (s *Store) key(name string, kind otlp.Kind) *key {
	name = clip(name, maxName)
	return &key{s, name, keyBit(name), otlp.NewKey(name), kind, s.masker.lookup(name).plain()}
}

// Of returns the attribute of this value.
func (k TextKey) Of(v string) Attr { return Attr{key: k.key, text: v} }

// Of returns the attribute of this value.
func (k IntKey) Of(v int64) Attr { return Attr{key: k.key, num: uint64(v)} }

// Of returns the attribute of this value. What JSON has no number for is read
// back as text.
func (k FloatKey) Of(v float64) Attr { return Attr{key: k.key, num: math.Float64bits(v)} }

// Of returns the attribute of this value.
func (k BoolKey) Of(v bool) Attr { return Attr{key: k.key, num: truth(v)} }

// Set sets several attributes at once; of several under one key the last counts.
func (h Span) Set(attrs ...Attr) {
	if h.sp != nil && h.sp.lock() {
		for i := range attrs {
			h.sp.slot.setPrepared(&attrs[i])
		}
		h.sp.a.unlock()
	}
}

// setPrepared adds an attribute under a prepared key.
func (sl *slot) setPrepared(a *Attr) {
	k, s := a.key, sl.a.store
	switch {
	case k == nil:
	case k.encoded == nil || k.store != s:
		sl.setUnprepared(a)
	case k.kind == otlp.KindString:
		v := a.text
		if !k.plain || len(v) > s.opts.MaxValueBytes {
			v = s.text(k.name, v)
		}
		old, ok := sl.roomAt(k.name, k.bit)
		if !ok {
			return
		}
		longer, short := k.encoded.AppendText(sl.buf, otlp.FieldAttrs, v)
		if !short {
			longer = otlp.AppendTextAttr(sl.buf, otlp.FieldAttrs, k.name, v)
		}
		sl.added(longer, old)
	default:
		if old, ok := sl.roomAt(k.name, k.bit); ok {
			sl.added(k.encoded.AppendNumber(sl.buf, otlp.FieldAttrs, k.kind, a.num), old)
		}
	}
}

func (sl *slot) setUnprepared(a *Attr) {
	if a.key.kind == otlp.KindString {
		sl.setText(a.key.name, sl.a.store.text(a.key.name, a.text))
		return
	}
	sl.setNumber(a.key.name, a.key.kind, a.num)
}

// appendFact appends an attribute as a note has it.
func (s *Store) appendFact(dst []byte, a *Attr) []byte {
	k := a.key
	if k.kind != otlp.KindString {
		return otlp.AppendNumberAttr(dst, noteMetadata, k.name, k.kind, a.num)
	}
	v := a.text
	if !k.plain || k.store != s || len(v) > s.opts.MaxValueBytes {
		v = s.text(k.name, v)
	}
	if longer, short := k.encoded.AppendText(dst, noteMetadata, v); short {
		return longer
	}
	return otlp.AppendTextAttr(dst, noteMetadata, k.name, v)
}
