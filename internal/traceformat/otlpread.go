package traceformat

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// readProtobuf reads an ExportTraceServiceRequest.
func readProtobuf(b []byte) (Data, error) {
	g := newGrouper()
	var d otlp.Decoder
	n := 0
	err := d.Split(b, func(r *otlp.Resource, scope *otlp.Scope, raw []byte) error {
		n++
		var sp otlp.Span // its own memory: it is kept
		if err := sp.Decode(raw); err != nil {
			return fmt.Errorf("span %d: %w", n, err)
		}
		if !sp.Valid() {
			return fmt.Errorf("span %d: its ids are missing or of the wrong length", n)
		}
		sp.Raw, sp.Attrs = nil, canonical(sp.Attrs)
		for i := range sp.Events {
			sp.Events[i].Attrs = unique(canonical(sp.Events[i].Attrs))
		}
		for i := range sp.Links {
			sp.Links[i].Attrs = unique(canonical(sp.Links[i].Attrs))
		}
		res := otlp.Resource{Service: r.Service, Attrs: canonical(r.Attrs), Dropped: r.Dropped}
		sc := otlp.Scope{Name: scope.Name, Version: scope.Version, Attrs: canonical(scope.Attrs), Dropped: scope.Dropped}
		g.add(&res, &sc, sp)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: neither JSON nor OTLP in protobuf: %w", ErrFormat, err)
	}
	return g.data, nil
}

// canonical returns a copy in which arrays and maps are encoded as this project
// does it, whatever their sender's order of fields was: equal values are equal.
func canonical(attrs []otlp.KeyValue) []otlp.KeyValue {
	out := slices.Clone(attrs)
	for i := range out {
		out[i].Value = canonicalValue(out[i].Value)
	}
	return out
}

func canonicalValue(v otlp.Value) otlp.Value {
	switch v.Kind {
	case otlp.KindArray:
		var items []otlp.Value
		for item := range v.Items() {
			items = append(items, canonicalValue(item))
		}
		return otlp.Array(items...)
	case otlp.KindMap:
		return otlp.Map(canonical(slices.Collect(v.Pairs()))...)
	default:
		return v
	}
}

// readOTLP reads OTLP/JSON, and what Tempo answers, which has it as "batches".
func readOTLP(top *node, g *grouper) {
	if !top.has("resourceSpans") && top.field("trace").v != nil {
		top = top.field("trace")
	}
	list := top.field("resourceSpans")
	if list.v == nil {
		list = top.field("batches")
	}
	for _, rs := range list.items() {
		rs.object()
		res := readResource(rs.field("resource"))
		scopes := rs.field("scopeSpans")
		if scopes.v == nil {
			scopes = rs.field("instrumentationLibrarySpans")
		}
		for _, ss := range scopes.items() {
			ss.object()
			scope := readScope(ss.field("scope"))
			for _, n := range ss.field("spans").items() {
				r, s := res, scope
				g.add(&r, &s, readSpan(n))
				if n.r.err != nil {
					return
				}
			}
		}
	}
}

func readResource(n *node) otlp.Resource {
	r := otlp.Resource{Attrs: readAttrs(n.field("attributes"), 0), Dropped: n.field("droppedAttributesCount").uint32()}
	for _, a := range r.Attrs {
		if a.Key == serviceName && a.Value.Kind == otlp.KindString {
			r.Service = a.Value.Str
		}
	}
	return r
}

const serviceName = "service.name"

func readScope(n *node) otlp.Scope {
	return otlp.Scope{
		Name: n.field("name").text(), Version: n.field("version").text(), Attrs: readAttrs(n.field("attributes"), 0),
		Dropped: n.field("droppedAttributesCount").uint32(),
	}
}

func readSpan(n *node) otlp.Span {
	n.object()
	sp := otlp.Span{
		TraceState: n.field("traceState").text(), Flags: n.field("flags").uint32(), Name: n.field("name").text(),
		Kind:  enum(n.field("kind"), "SPAN_KIND_", kindWords),
		Start: n.field("startTimeUnixNano").uint64(), End: n.field("endTimeUnixNano").uint64(), Attrs: readAttrs(n.field("attributes"), 0),
		DroppedAttrs: n.field("droppedAttributesCount").uint32(), DroppedEvents: n.field("droppedEventsCount").uint32(),
		DroppedLinks: n.field("droppedLinksCount").uint32(), Events: readEvents(n.field("events")), Links: readLinks(n.field("links")),
	}
	exactID(n.field("traceId"), sp.TraceID[:], true)
	exactID(n.field("spanId"), sp.SpanID[:], true)
	exactID(n.field("parentSpanId"), sp.ParentID[:], false)
	status := n.field("status")
	sp.Status, sp.StatusMessage = enum(status.field("code"), "STATUS_CODE_", []string{"UNSET", "OK", "ERROR"}), status.field("message").text()
	return sp
}

var kindWords = []string{"UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"}

// enum reads the number of an enum, or its name.
func enum(n *node, prefix string, words []string) int32 {
	if s, ok := n.v.(string); ok {
		if i := slices.Index(words, strings.TrimPrefix(s, prefix)); i >= 0 {
			return int32(i)
		}
	}
	v := n.int64()
	if v < 0 || v >= int64(len(words)) {
		n.fail("want 0 to %d or %s…, got %s", len(words)-1, prefix, n.kind())
	}
	return int32(v)
}

// exactID reads an id in hex, or in base64 as Tempo writes it, of just the
// length of dst.
func exactID(n *node, dst []byte, required bool) {
	s := n.text()
	if s == "" && !required {
		return
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(dst) {
		if b64, bad := base64.StdEncoding.DecodeString(s); bad == nil && len(b64) == len(dst) {
			b, err = b64, nil
		}
	}
	if err != nil || len(b) != len(dst) {
		n.fail("want %d hex digits, got %s", 2*len(dst), n.kind())
		return
	}
	copy(dst, b)
	if required && allZero(dst) {
		n.fail("want an id that is not all zeros")
	}
}

func allZero(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) }

func readEvents(list *node) (out []otlp.Event) {
	for _, n := range list.items() {
		n.object()
		out = append(out, otlp.Event{
			Time: n.field("timeUnixNano").uint64(), Name: n.field("name").text(), Attrs: unique(readAttrs(n.field("attributes"), 0)),
			Dropped: n.field("droppedAttributesCount").uint32(),
		})
	}
	return out
}

func readLinks(list *node) (out []otlp.Link) {
	for _, n := range list.items() {
		n.object()
		l := otlp.Link{
			TraceState: n.field("traceState").text(), Flags: n.field("flags").uint32(), Attrs: unique(readAttrs(n.field("attributes"), 0)),
			Dropped: n.field("droppedAttributesCount").uint32(),
		}
		exactID(n.field("traceId"), l.TraceID[:], false)
		exactID(n.field("spanId"), l.SpanID[:], false)
		out = append(out, l)
	}
	return out
}

func readAttrs(list *node, depth int) (out []otlp.KeyValue) {
	for _, n := range list.items() {
		n.object()
		out = append(out, otlp.KeyValue{Key: n.field("key").text(), Value: readValue(n.field("value"), depth)})
	}
	return out
}

// readValue reads an AnyValue.
func readValue(n *node, depth int) otlp.Value {
	if depth >= otlp.MaxDepth {
		n.fail("nested deeper than %d", otlp.MaxDepth)
		return otlp.Value{}
	}
	for _, m := range n.members() {
		if m.v == nil {
			continue
		}
		switch m.name {
		case "stringValue", "string_value":
			return otlp.String(m.text())
		case "boolValue", "bool_value":
			return otlp.Bool(m.bool())
		case "intValue", "int_value":
			return otlp.Int(m.int64())
		case "doubleValue", "double_value":
			return otlp.Float(m.float())
		case "bytesValue", "bytes_value":
			return otlp.Bytes(string(m.base64()))
		case "arrayValue", "array_value":
			var items []otlp.Value
			for _, item := range m.field("values").items() {
				items = append(items, readValue(item, depth+1))
			}
			return otlp.Array(items...)
		case "kvlistValue", "kvlist_value":
			return otlp.Map(readAttrs(m.field("values"), depth+1)...)
		}
	}
	return otlp.Value{}
}

func (n *node) base64() []byte {
	s := n.text()
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding} {
		if b, err := enc.DecodeString(s); err == nil {
			return b
		}
	}
	n.fail("want base64, got %s", n.kind())
	return nil
}
