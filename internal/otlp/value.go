package otlp

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/VictoriaMetrics/easyproto"
)

// decode decodes an AnyValue; of several values in it the last counts.
// Composite values are walked to know that they are well formed.
func (v *Value) decode(src []byte, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("%w: attribute value nested deeper than %d", ErrMalformed, MaxDepth)
	}
	var fc easyproto.FieldContext
	var err error
	for len(src) > 0 && err == nil {
		if src, err = next(&fc, src, "value"); err != nil {
			break
		}
		ok := true
		switch fc.FieldNum {
		case 1:
			*v = Value{Kind: KindString}
			v.Str, ok = fc.String()
		case 2:
			*v = Value{Kind: KindBool}
			if v.Num, ok = fc.Uint64(); v.Num != 0 {
				v.Num = 1
			}
		case 3:
			*v = Value{Kind: KindInt}
			v.Num, ok = fc.Uint64()
		case 4:
			*v = Value{Kind: KindFloat}
			v.Num, ok = fc.Fixed64()
		case 5:
			*v = Value{Kind: KindArray}
			if v.Str, ok = fc.String(); ok {
				err = eachItem(v.Str, depth, func(Value) {})
			}
		case 6:
			*v = Value{Kind: KindMap}
			if v.Str, ok = fc.String(); ok {
				err = eachPair(v.Str, depth, func(KeyValue) {})
			}
		case 7:
			*v = Value{Kind: KindBytes}
			v.Str, ok = fc.String()
		}
		if !ok {
			return wrongType("value")
		}
	}
	return err
}

// eachItem calls f for each value of an encoded ArrayValue.
func eachItem(src string, depth int, f func(Value)) error {
	return fields(alias(src), "array", func(fc *easyproto.FieldContext) error {
		if fc.FieldNum != 1 {
			return nil
		}
		data, err := message(fc, "array value")
		if err != nil {
			return err
		}
		var item Value
		if err := item.decode(data, depth+1); err != nil {
			return err
		}
		f(item)
		return nil
	})
}

// eachPair calls f for each pair of an encoded KeyValueList.
func eachPair(src string, depth int, f func(KeyValue)) error {
	return fields(alias(src), "map", func(fc *easyproto.FieldContext) error {
		if fc.FieldNum != 1 {
			return nil
		}
		data, err := message(fc, "map entry")
		if err != nil {
			return err
		}
		kv, err := decodeKeyValue(data, depth+1)
		if err != nil {
			return err
		}
		f(kv)
		return nil
	})
}

// alias returns the bytes of s without copying them; nobody writes to them.
func alias(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// Int returns the integer that a KindInt holds.
func (v Value) Int() int64 { return int64(v.Num) }

// Float returns the number that a KindFloat holds.
func (v Value) Float() float64 { return math.Float64frombits(v.Num) }

// Bool returns the truth that a KindBool holds.
func (v Value) Bool() bool { return v.Num != 0 }

// Any returns the value in a form that encoding/json can write and that shares
// no memory with v: string, bool, int64, float64, []any, map[string]any or nil.
// NaN and the infinities become their names, bytes base64, and text that is not
// UTF-8 has its bad bytes replaced.
func (v Value) Any() any {
	switch v.Kind {
	case KindString:
		return Text(v.Str)
	case KindBool:
		return v.Bool()
	case KindInt:
		return v.Int()
	case KindFloat:
		if f := v.Float(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
		return v.Text()
	case KindArray:
		items := []any{}
		if err := eachItem(v.Str, 0, func(item Value) { items = append(items, item.Any()) }); err != nil {
			return err.Error()
		}
		return items
	case KindMap:
		m := map[string]any{}
		if err := eachPair(v.Str, 0, func(kv KeyValue) { m[Text(kv.Key)] = kv.Value.Any() }); err != nil {
			return err.Error()
		}
		return m
	case KindBytes:
		return v.Text()
	default:
		return nil
	}
}

// Text returns the value as a filter compares it: text as it is, numbers in
// decimal, bytes in base64, composites like Go prints them.
func (v Value) Text() string {
	switch v.Kind {
	case KindString:
		return Text(v.Str)
	case KindBool:
		return strconv.FormatBool(v.Bool())
	case KindInt:
		return strconv.FormatInt(v.Int(), 10)
	case KindFloat:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case KindBytes:
		return base64.StdEncoding.EncodeToString([]byte(v.Str))
	case KindArray, KindMap:
		return fmt.Sprint(v.Any())
	default:
		return ""
	}
}

// Text returns a copy of s as valid UTF-8.
func Text(s string) string {
	if !utf8.ValidString(s) {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.Clone(s)
}

// String returns a text value.
func String(s string) Value { return Value{Kind: KindString, Str: s} }

// Bytes returns a value of bytes.
func Bytes(s string) Value { return Value{Kind: KindBytes, Str: s} }

// Int returns an integer value.
func Int(n int64) Value { return Value{Kind: KindInt, Num: uint64(n)} }

// Float returns a number value.
func Float(f float64) Value { return Value{Kind: KindFloat, Num: math.Float64bits(f)} }

// Bool returns a truth value.
func Bool(b bool) Value {
	v := Value{Kind: KindBool}
	if b {
		v.Num = 1
	}
	return v
}
