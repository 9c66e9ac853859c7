package gotemplate

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// functions are those of text/template that make sense here, and json, join,
// upper and lower. and, or are evaluated elsewhere.
var functions = map[string]func([]any) (any, error){
	"and": nil, "or": nil,
	"not":     one(func(v any) (any, error) { return !truth(v), nil }),
	"len":     one(length),
	"index":   index,
	"slice":   slice,
	"print":   func(args []any) (any, error) { return fmt.Sprint(plainAll(args)...), nil },
	"println": func(args []any) (any, error) { return fmt.Sprintln(plainAll(args)...), nil },
	"printf":  printf,
	"eq":      equalAny,
	"ne":      two(func(a, b any) (any, error) { eq, err := equal(a, b); return !eq, err }),
	"lt":      order(func(c int) bool { return c < 0 }),
	"le":      order(func(c int) bool { return c <= 0 }),
	"gt":      order(func(c int) bool { return c > 0 }),
	"ge":      order(func(c int) bool { return c >= 0 }),
	"json":    one(toJSON),
	"join":    two(join),
	"upper":   one(func(v any) (any, error) { return strings.ToUpper(text(v)), nil }),
	"lower":   one(func(v any) (any, error) { return strings.ToLower(text(v)), nil }),
}

func one(f func(any) (any, error)) func([]any) (any, error) {
	return func(args []any) (any, error) {
		if len(args) != 1 {
			return nil, fmt.Errorf("want 1 argument, got %d", len(args))
		}
		return f(args[0])
	}
}

func two(f func(a, b any) (any, error)) func([]any) (any, error) {
	return func(args []any) (any, error) {
		if len(args) != 2 {
			return nil, fmt.Errorf("want 2 arguments, got %d", len(args))
		}
		return f(args[0], args[1])
	}
}

// truth is false for what is empty: nil, 0, "", false, a list or object of nothing.
func truth(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	n, _ := number(v)
	return n != 0
}

// number is a value as a number, and whether it is one.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, true
	case json.Number:
		n, err := v.Float64()
		return n, err == nil
	}
	return 0, false
}

// plain is a value for package fmt: its numbers are int or float64.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		n, _ := v.Float64()
		return n
	case []any:
		return plainAll(v)
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = plain(e)
		}
		return out
	}
	return v
}

func plainAll(all []any) []any {
	out := make([]any, len(all))
	for i := range all {
		out[i] = plain(all[i])
	}
	return out
}

func length(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return len(v), nil
	case []any:
		return len(v), nil
	case map[string]any:
		return len(v), nil
	}
	return nil, fmt.Errorf("len of %s", text(v))
}

func index(args []any) (any, error) {
	if len(args) == 0 {
		return nil, errors.New("want an argument")
	}
	v := args[0]
	for _, at := range args[1:] {
		switch of := v.(type) {
		case map[string]any:
			name, ok := at.(string)
			if !ok {
				return nil, fmt.Errorf("an object has names, not %s", text(at))
			}
			v = of[name]
		case []any:
			n, ok := number(at)
			if !ok || n != float64(int(n)) || n < 0 || int(n) >= len(of) {
				return nil, fmt.Errorf("index out of range: %s of %d", text(at), len(of))
			}
			v = of[int(n)]
		default:
			return nil, fmt.Errorf("can't index %s", text(v))
		}
	}
	return v, nil
}

func slice(args []any) (any, error) {
	if len(args) == 0 || len(args) > 3 {
		return nil, errors.New("want a value and at most two numbers")
	}
	size, err := length(args[0])
	if err != nil {
		return nil, err
	}
	from, to := 0, size.(int)
	for i, at := range args[1:] {
		n, ok := number(at)
		if !ok || n != float64(int(n)) || n < 0 || int(n) > size.(int) {
			return nil, fmt.Errorf("out of range: %s of %d", text(at), size)
		}
		if i == 0 {
			from = int(n)
		} else {
			to = int(n)
		}
	}
	if from > to {
		return nil, fmt.Errorf("out of range: %d > %d", from, to)
	}
	switch v := args[0].(type) {
	case string:
		return v[from:to], nil
	case []any:
		return v[from:to], nil
	}
	return nil, errors.New("can't slice an object")
}

func printf(args []any) (any, error) {
	if len(args) == 0 {
		return nil, errors.New("want a format")
	}
	format, ok := args[0].(string)
	if !ok {
		return nil, fmt.Errorf("format %s: want a string", text(args[0]))
	}
	return fmt.Sprintf(format, plainAll(args[1:])...), nil
}

// equal compares numbers as numbers and others with their kind.
func equal(a, b any) (bool, error) {
	x, isX := number(a)
	y, isY := number(b)
	switch {
	case isX && isY:
		return x == y, nil
	case a == nil || b == nil:
		return a == nil && b == nil, nil
	}
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			return a == b, nil
		}
	case bool:
		if b, ok := b.(bool); ok {
			return a == b, nil
		}
	}
	return false, errors.New("incompatible types for comparison")
}

func equalAny(args []any) (any, error) {
	if len(args) < 2 {
		return nil, errors.New("missing argument for comparison")
	}
	for _, other := range args[1:] {
		if eq, err := equal(args[0], other); eq || err != nil {
			return eq, err
		}
	}
	return false, nil
}

func order(is func(int) bool) func([]any) (any, error) {
	return two(func(a, b any) (any, error) {
		x, isX := number(a)
		y, isY := number(b)
		s, isS := a.(string)
		t, isT := b.(string)
		switch {
		case isX && isY && x < y:
			return is(-1), nil
		case isX && isY && x > y:
			return is(1), nil
		case isX && isY:
			return is(0), nil
		case isS && isT:
			return is(strings.Compare(s, t)), nil
		}
		return nil, errors.New("incompatible types for comparison")
	})
}

func toJSON(v any) (any, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

func join(list, by any) (any, error) {
	all, isList := list.([]any)
	sep, isString := by.(string)
	if !isList || !isString || !utf8.ValidString(sep) {
		return nil, errors.New("want a list and a string")
	}
	parts := make([]string, len(all))
	for i := range all {
		parts[i] = text(all[i])
	}
	return strings.Join(parts, sep), nil
}
