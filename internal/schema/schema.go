// Package schema writes the JSON Schema (2020-12) of pulsectl's envelopes from
// the Go types of their items, by the rules of encoding/json.
//
// Members may be added to what a schema describes, so none forbids others.
package schema

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Object is a schema, or a part of one.
type Object = map[string]any

// Types are the schemas of types that encode themselves.
type Types map[reflect.Type]Object

// Envelope returns the schema of the envelope of a kind, whose items encode as
// the type does. It panics for a type that no JSON is made of.
func Envelope(kind string, item reflect.Type, own Types) Object {
	g := &generator{own: own, defs: Object{}, names: map[reflect.Type]string{}}
	of := g.of(item)
	return Object{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   kind,
		"type":    "object",
		"properties": Object{
			"apiVersion": Object{"const": "pulsectl/v1"},
			"kind":       Object{"const": kind},
			"context":    Object{"type": "string", "description": "of the configuration; empty without one"},
			"unit":       Object{"type": "string", "description": "of the values, where they have one"},
			"observedAt": Object{"type": "string", "format": "date-time"},
			"items": Object{"type": "array", "items": Object{"allOf": []any{
				Object{"type": "object", "properties": Object{"instance": Object{"type": "string", "description": "who answered"}}, "required": []string{"instance"}}, of,
			}}},
			"leftOut": Object{"type": "integer", "description": "items that --limit cut off"},
			"errors": Object{"type": "array", "items": Object{
				"type":       "object",
				"properties": Object{"instance": Object{"type": "string"}, "status": Object{"type": "integer", "description": "HTTP status; 0 where no answer came"}, "detail": Object{"type": "string"}},
				"required":   []string{"instance", "status", "detail"},
			}},
			"retention": Object{"type": "object", "description": "what the server keeps and lost, where that limits the items"},
		},
		"required": []string{"apiVersion", "kind", "context", "observedAt", "items", "errors"},
		"$defs":    g.defs,
	}
}

type generator struct {
	own   Types
	defs  Object
	names map[reflect.Type]string
}

func (g *generator) of(t reflect.Type) Object {
	if s, ok := g.own[t]; ok {
		return s
	}
	switch t.Kind() {
	case reflect.Pointer:
		return nullable(g.of(t.Elem()))
	case reflect.Struct:
		return g.ref(t)
	case reflect.Slice:
		return Object{"type": []string{"array", "null"}, "items": g.of(t.Elem())}
	case reflect.Array:
		return Object{"type": "array", "items": g.of(t.Elem())}
	case reflect.Map:
		return Object{"type": []string{"object", "null"}, "additionalProperties": g.of(t.Elem())}
	case reflect.Bool:
		return Object{"type": "boolean"}
	case reflect.String:
		return Object{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return Object{"type": "number"}
	case reflect.Interface:
		return Object{}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return Object{"type": "integer"}
	}
	panic(fmt.Sprintf("schema: there is no JSON of %s", t))
}

// nullable also lets a schema's value be null.
func nullable(s Object) Object {
	if len(s) == 0 {
		return s
	}
	if one, ok := s["type"].(string); ok {
		out := maps.Clone(s)
		out["type"] = []string{one, "null"}
		return out
	}
	return Object{"anyOf": []any{s, Object{"type": "null"}}}
}

// ref defines a struct once and refers to it.
func (g *generator) ref(t reflect.Type) Object {
	if t == reflect.TypeFor[time.Time]() {
		return Object{"type": "string", "format": "date-time"}
	}
	name, known := g.names[t]
	if !known {
		name = t.Name()
		for n := 2; g.defs[name] != nil || name == ""; n++ {
			name = fmt.Sprintf("%s%d", t.Name(), n)
		}
		g.names[t], g.defs[name] = name, Object{}
		properties, required := Object{}, []string{}
		g.fields(t, properties, &required)
		slices.Sort(required)
		g.defs[name] = Object{"type": "object", "properties": properties, "required": required}
	}
	return Object{"$ref": "#/$defs/" + name}
}

// fields adds a struct's members, those of embedded structs where nothing outer
// has their name.
func (g *generator) fields(t reflect.Type, properties Object, required *[]string) {
	var embedded []reflect.Type
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case tag == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case f.Anonymous && tag == "" && f.Type.Kind() == reflect.Struct:
			embedded = append(embedded, f.Type)
			continue
		case f.Anonymous && tag == "" && f.Type.Kind() == reflect.Pointer && f.Type.Elem().Kind() == reflect.Struct:
			embedded = append(embedded, f.Type.Elem())
			continue
		case tag == "":
			tag = f.Name
		}
		if _, outer := properties[tag]; outer {
			continue
		}
		properties[tag] = g.of(f.Type)
		if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
			*required = append(*required, tag)
		}
	}
	for _, e := range embedded {
		g.fields(e, properties, required)
	}
}
