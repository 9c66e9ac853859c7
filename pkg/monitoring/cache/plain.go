package cache

import (
	"reflect"
	"sync"
	"time"
)

// plainTypes remembers what isPlain found, by type.
var plainTypes sync.Map // reflect.Type to bool

var timeType = reflect.TypeFor[time.Time]()

// isPlain tells whether two holders of a value of t can never change it for
// each other: numbers, text, times, and structs and arrays of these.
func isPlain(t reflect.Type) bool {
	if known, ok := plainTypes.Load(t); ok {
		return known.(bool)
	}
	plain := t == timeType || t.Kind() == reflect.String || t.Kind() >= reflect.Bool && t.Kind() <= reflect.Complex128
	switch t.Kind() {
	case reflect.Array:
		plain = isPlain(t.Elem())
	case reflect.Struct:
		if !plain {
			plain = true
			for i := range t.NumField() {
				plain = plain && isPlain(t.Field(i).Type)
			}
		}
	}
	plainTypes.Store(t, plain)
	return plain
}

// plainSize is how many bytes a plain value takes, its texts included.
func plainSize(v any) int64 {
	switch v := v.(type) {
	case string:
		return int64(len(v)) + 16
	case int, int64, uint64, float64, bool:
		return 8
	}
	rv := reflect.ValueOf(v)
	return int64(rv.Type().Size()) + textSize(rv)
}

func textSize(v reflect.Value) (n int64) {
	switch v.Kind() {
	case reflect.String:
		return int64(v.Len())
	case reflect.Struct:
		for i := range v.NumField() {
			n += textSize(v.Field(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			n += textSize(v.Index(i))
		}
	}
	return n
}
