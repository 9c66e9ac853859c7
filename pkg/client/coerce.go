package client

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// coerce writes b again with the scalars that out wants: Python is careless
// about "0.5" and 0.5, or a user's id that is a number. What cannot be made to
// fit stays, for the decoder to refuse.
func coerce(b []byte, out any) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // no digit is lost on the way
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(fitted(v, reflect.TypeOf(out)))
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// fitted is v with its scalars as the type t has them. Types that decode
// themselves know other spellings already.
func fitted(v any, t reflect.Type) any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(unmarshaler) {
		return v
	}
	switch v := v.(type) {
	case []any:
		if t.Kind() == reflect.Slice {
			for i := range v {
				v[i] = fitted(v[i], t.Elem())
			}
		}
	case map[string]any:
		fitMembers(v, t)
	case json.Number:
		if t.Kind() == reflect.String {
			return v.String()
		}
		return number(v.String(), t, v)
	case string:
		return number(v, t, v)
	}
	return v
}

func fitMembers(m map[string]any, t reflect.Type) {
	switch t.Kind() {
	case reflect.Map:
		for k := range m {
			m[k] = fitted(m[k], t.Elem())
		}
	case reflect.Struct:
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if v, ok := m[name]; ok {
				m[name] = fitted(v, f.Type)
			}
		}
	}
}

// number is the number that s writes, where t is one; else v.
func number(s string, t reflect.Type, v any) any {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	switch {
	case err != nil || f-f != 0: // or none that JSON can hold
		return v
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64 && f > -1<<53 && f < 1<<53:
		return int64(f)
	case t.Kind() == reflect.Float64 || t.Kind() == reflect.Float32:
		return f
	}
	return v
}
