package traceformat

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// Tags that OpenTelemetry's conventions for Jaeger and Zipkin give to what
// these have no field for.
const (
	tagKind          = "span.kind"
	tagError         = "error"
	tagStatus        = "otel.status_code"
	tagDescription   = "otel.status_description"
	tagScopeName     = "otel.scope.name"
	tagScopeVersion  = "otel.scope.version"
	tagLibraryName   = "otel.library.name" // before 1.11 of the specification
	tagLibVersion    = "otel.library.version"
	tagTraceState    = "w3c.tracestate"
	tagDroppedAttrs  = "otel.dropped_attributes_count"
	tagDroppedEvents = "otel.dropped_events_count"
	tagDroppedLinks  = "otel.dropped_links_count"
)

// Tags of our own for what there is no convention for. Values are decimals, or
// OTLP/JSON.
const (
	ownTags       = "pulsectl.otlp."
	tagStart      = ownTags + "start_unix_nano"
	tagEnd        = ownTags + "end_unix_nano"
	tagTime       = ownTags + "time_unix_nano" // of an event
	tagFlags      = ownTags + "flags"
	tagTypes      = ownTags + "types"      // values of the tags whose type the format has not
	tagAttributes = ownTags + "attributes" // attributes under a name that is one of these tags
	tagEvents     = ownTags + "events"
	tagLinks      = ownTags + "links"
	tagScope      = ownTags + "scope"    // attributes of the scope
	tagResource   = ownTags + "resource" // without service.name
)

// conventional are the names that an attribute must not have as a tag, for a
// reader would take it for something else.
var conventional = []string{
	tagKind, tagError, tagStatus, tagDescription, tagScopeName, tagScopeVersion, tagLibraryName, tagLibVersion, tagTraceState,
	tagDroppedAttrs, tagDroppedEvents, tagDroppedLinks,
}

func reserved(key string) bool {
	return slices.Contains(conventional, key) || strings.HasPrefix(key, ownTags)
}

// flatten returns attributes as tags whose values are plain, that is, of the
// types that the format has, and tags of our own for what that loses.
func flatten(attrs []otlp.KeyValue, plain func(otlp.Value) otlp.Value) []otlp.KeyValue {
	tags := make([]otlp.KeyValue, 0, len(attrs)+4)
	var hidden []jsonKeyValue
	typed := map[string]jsonValue{}
	for _, a := range attrs {
		if reserved(a.Key) {
			hidden = append(hidden, jsonKeyValue{a.Key, jsonValue{a.Value}})
			continue
		}
		p := plain(a.Value)
		tags = append(tags, otlp.KeyValue{Key: a.Key, Value: p})
		if p != a.Value {
			typed[a.Key] = jsonValue{a.Value}
		}
	}
	if len(typed) > 0 {
		tags = append(tags, text(tagTypes, inline(typed)))
	}
	if len(hidden) > 0 {
		tags = append(tags, text(tagAttributes, inline(hidden)))
	}
	return tags
}

func text(key, value string) otlp.KeyValue { return otlp.KeyValue{Key: key, Value: otlp.String(value)} }

// plainText is what a format has that knows text alone.
func plainText(v otlp.Value) otlp.Value { return otlp.String(textOf(v)) }

// textOf writes a value as text: composite ones as JSON.
func textOf(v otlp.Value) string {
	switch v.Kind {
	case otlp.KindArray, otlp.KindMap:
		return inline(v.Any())
	case otlp.KindBytes:
		return base64.StdEncoding.EncodeToString([]byte(v.Str))
	case otlp.KindString:
		return v.Str
	default:
		return v.Text()
	}
}

// tagList are tags that a reader takes what it knows from. The rest are
// attributes.
type tagList struct{ tags []otlp.KeyValue }

// take removes the first tag of this name.
func (t *tagList) take(key string) (otlp.Value, bool) {
	i := slices.IndexFunc(t.tags, func(a otlp.KeyValue) bool { return a.Key == key })
	if i < 0 {
		return otlp.Value{}, false
	}
	v := t.tags[i].Value
	t.tags = slices.Delete(t.tags, i, i+1)
	return v, true
}

func (t *tagList) takeText(key string) string {
	v, _ := t.take(key)
	return textOf(v)
}

func (t *tagList) takeCount(key string) uint32 {
	n, _ := strconv.ParseUint(t.takeText(key), 10, 32) // somebody else's tag counts nothing
	return uint32(n)
}

// takeJSON returns the document in a tag of ours, nil if there is none.
func (t *tagList) takeJSON(key string) *node {
	v, found := t.take(key)
	if !found {
		return nil
	}
	return inlined(textOf(v))
}

// attributes undoes flatten.
func (t *tagList) attributes(plain func(otlp.Value) otlp.Value) []otlp.KeyValue {
	typed, hidden := t.takeJSON(tagTypes), t.takeJSON(tagAttributes)
	if typed != nil {
		for i := range t.tags {
			a := &t.tags[i]
			if !typed.has(a.Key) {
				continue
			}
			if v := readValue(&node{r: typed.r, up: typed, name: a.Key, v: typed.v.(map[string]any)[a.Key]}, 0); plain(v) == a.Value {
				a.Value = v
			}
		}
	}
	attrs := t.tags
	if hidden != nil {
		if more := readAttrs(hidden, 0); hidden.r.err == nil {
			attrs = append(attrs, more...)
		}
	}
	if len(attrs) == 0 {
		return nil
	}
	return attrs
}

// conventions returns the tags for what Jaeger and Zipkin both have no field
// for.
func conventions(s *otlp.Span, scope *otlp.Scope) (tags []otlp.KeyValue) {
	add := func(key, value string) {
		if value != "" {
			tags = append(tags, text(key, value))
		}
	}
	add(tagStatus, [...]string{"", "OK", "ERROR"}[s.Status])
	add(tagDescription, s.StatusMessage)
	add(tagScopeName, scope.Name)
	add(tagScopeVersion, scope.Version)
	add(tagTraceState, s.TraceState)
	for _, c := range []struct {
		key string
		n   uint32
	}{{tagDroppedAttrs, s.DroppedAttrs}, {tagDroppedEvents, s.DroppedEvents}, {tagDroppedLinks, s.DroppedLinks}} {
		if c.n > 0 {
			tags = append(tags, otlp.KeyValue{Key: c.key, Value: otlp.Int(int64(c.n))})
		}
	}
	if len(scope.Attrs) > 0 || scope.Dropped > 0 {
		add(tagScope, inline(jsonScope{Attributes: keyValues(scope.Attrs), Dropped: scope.Dropped}))
	}
	if len(s.Links) > 0 {
		add(tagLinks, inline(otlpLinks(s)))
	}
	if start, took := micros(s.Start, s.End); start*1000 != s.Start || s.Start+took*1000 != s.End {
		add(tagStart, strconv.FormatUint(s.Start, 10))
		add(tagEnd, strconv.FormatUint(s.End, 10))
	}
	return tags
}

// readConventions takes them from the tags. start and took are the span's in
// microseconds.
func readConventions(t *tagList, s *otlp.Span, scope *otlp.Scope, start, took uint64) {
	readStatus(t, s)
	scope.Name, scope.Version = t.takeText(tagScopeName), t.takeText(tagScopeVersion)
	if name, version := t.takeText(tagLibraryName), t.takeText(tagLibVersion); scope.Name == "" {
		scope.Name, scope.Version = name, version
	}
	s.TraceState = t.takeText(tagTraceState)
	s.DroppedAttrs, s.DroppedEvents, s.DroppedLinks = t.takeCount(tagDroppedAttrs), t.takeCount(tagDroppedEvents), t.takeCount(tagDroppedLinks)
	if n := t.takeJSON(tagScope); n != nil {
		if more := readScope(n); n.r.err == nil {
			scope.Attrs, scope.Dropped = more.Attrs, more.Dropped
		}
	}
	s.Start, s.End = start*1000, min(start+took, maxMicros)*1000
	from, err := strconv.ParseUint(t.takeText(tagStart), 10, 64)
	to, bad := strconv.ParseUint(t.takeText(tagEnd), 10, 64)
	if sameStart, sameTook := micros(from, to); err == nil && bad == nil && sameStart == start && sameTook == took {
		s.Start, s.End = from, to
	}
}

// readStatus reads OpenTelemetry's tags, or OpenTracing's alone.
func readStatus(t *tagList, s *otlp.Span) {
	code := t.takeText(tagStatus)
	s.StatusMessage = t.takeText(tagDescription)
	switch strings.ToUpper(code) {
	case "OK", "1":
		s.Status = 1
		return
	case "ERROR", "2":
		s.Status = 2
	}
	v, found := t.take(tagError)
	if !found {
		return
	}
	if said := textOf(v); said == "false" && s.Status == 0 {
		t.tags = append(t.tags, otlp.KeyValue{Key: tagError, Value: v})
	} else if s.Status = 2; said != "true" && said != "false" && s.StatusMessage == "" {
		s.StatusMessage = said
	}
}

// micros returns a start and a duration in whole microseconds.
func micros(start, end uint64) (from, took uint64) {
	if end > start {
		took = (end - start) / 1000
	}
	return start / 1000, took
}

// maxMicros is the largest that is still nanoseconds in 64 bits.
const maxMicros = math.MaxUint64 / 1000

// microsOf reads a time in microseconds.
func microsOf(n *node) uint64 {
	v := n.uint64()
	if v > maxMicros {
		n.fail("want microseconds, got %s", n.kind())
		return 0
	}
	return v
}

// looseID reads an id that may have lost its leading zeros, as Jaeger's and
// Zipkin's of 64 bits have.
func looseID(n *node, dst []byte, required bool) {
	s := n.text()
	if s == "" && !required {
		return
	}
	if len(s) == 0 || len(s) > 2*len(dst) {
		n.fail("want 1 to %d hex digits, got %s", 2*len(dst), n.kind())
		return
	}
	padded := strings.Repeat("0", 2*len(dst)-len(s)) + s
	if _, err := hex.Decode(dst, []byte(padded)); err != nil {
		clear(dst)
		n.fail("want hex digits, got %s", n.kind())
		return
	}
	if required && allZero(dst) {
		n.fail("want an id that is not all zeros")
	}
}

// takeLinks returns the links in their own tag, nil if there is none.
func (t *tagList) takeLinks() []otlp.Link {
	n := t.takeJSON(tagLinks)
	if n == nil {
		return nil
	}
	links := readLinks(n)
	if n.r.err != nil {
		return nil
	}
	return links
}
