package api

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// Attributes are what a span, an event or a link says of itself, by key. Whole
// numbers that are read from JSON become int64, which holds the 64-bit ids that
// a float64 would round; beyond int64 they stay a json.Number.
type Attributes map[string]any

// UnmarshalJSON reads an object.
func (a *Attributes) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return err
	}
	for k, v := range m {
		m[k] = exact(v)
	}
	*a = m
	return nil
}

// exact gives the numbers in v, which it may change, their types.
func exact(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil && bytes.ContainsAny([]byte(v), ".eE") {
			return f
		}
	case []any:
		for i := range v {
			v[i] = exact(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = exact(v[k])
		}
	}
	return v
}
