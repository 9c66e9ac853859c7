package client

import (
	"bytes"
	"encoding/json"
	"errors"
)

// decode reads JSON, and what Python writes for numbers that JSON cannot hold:
// NaN, Infinity and -Infinity count as null, so that one of them never hides
// all the rest of an answer. Nor does a scalar of another type.
func decode(b []byte, out any) error {
	err := json.Unmarshal(b, out)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		plain, found := withoutNaN(b)
		if !found {
			return err
		}
		b, err = plain, json.Unmarshal(plain, out)
	}
	var mismatch *json.UnmarshalTypeError
	if !errors.As(err, &mismatch) {
		return err
	}
	fit, bad := coerce(b, out)
	if bad != nil || json.Unmarshal(fit, out) != nil {
		return err
	}
	return nil
}

var notNumbers = [][]byte{[]byte("NaN"), []byte("Infinity"), []byte("-Infinity")}

// withoutNaN returns b with null for Python's tokens outside of texts, and
// whether there was one.
func withoutNaN(b []byte) (out []byte, found bool) {
	for i := 0; i < len(b); {
		if b[i] == '"' {
			n := textLength(b[i:])
			out, i = append(out, b[i:i+n]...), i+n
			continue
		}
		n := 0
		for _, token := range notNumbers {
			if bytes.HasPrefix(b[i:], token) {
				n = len(token)
			}
		}
		if n > 0 {
			out, i, found = append(out, "null"...), i+n, true
			continue
		}
		out, i = append(out, b[i]), i+1
	}
	return out, found
}

// textLength is how many bytes the JSON text that b begins with takes.
func textLength(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}
