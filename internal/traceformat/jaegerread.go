package traceformat

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// readJaeger reads an answer of Jaeger's query service, a trace or several of
// one.
func readJaeger(top *node, g *grouper) {
	traces := []*node{top}
	switch {
	case top.has("data"):
		traces = top.field("data").items()
	case !top.has("spans"):
		traces = top.items()
	}
	for _, t := range traces {
		t.object()
		processes := map[string]otlp.Resource{}
		for _, p := range t.field("processes").members() {
			processes[p.name] = readProcess(p)
		}
		for _, n := range t.field("spans").items() {
			res, known := processes[n.field("processID").text()]
			switch {
			case n.field("process").v != nil:
				res = readProcess(n.field("process"))
			case !known:
				n.field("processID").fail("there is no such process")
			}
			var scope otlp.Scope
			sp := readJaegerSpan(n, &scope)
			if n.r.err != nil {
				return
			}
			g.add(&res, &scope, sp)
		}
	}
}

func readProcess(n *node) otlp.Resource {
	n.object()
	t := tagList{readTags(n.field("tags"))}
	r := otlp.Resource{Dropped: t.takeCount(tagDroppedAttrs)}
	r.Attrs = t.attributes(jaegerPlain)
	if name := n.field("serviceName").text(); name != "" && name != noService {
		r.Service = name
		r.Attrs = append([]otlp.KeyValue{text(serviceName, name)}, r.Attrs...)
	}
	return r
}

func readJaegerSpan(n *node, scope *otlp.Scope) otlp.Span {
	n.object()
	sp := otlp.Span{Name: n.field("operationName").text(), Flags: n.field("flags").uint32()}
	looseID(n.field("traceID"), sp.TraceID[:], true)
	looseID(n.field("spanID"), sp.SpanID[:], true)
	t := tagList{readTags(n.field("tags"))}
	readConventions(&t, &sp, scope, microsOf(n.field("startTime")), microsOf(n.field("duration")))
	if kind, found := t.take(tagKind); found {
		sp.Kind = int32(max(slices.Index(kindTags[:], strings.ToLower(textOf(kind))), 0))
	}
	if flags, err := strconv.ParseUint(t.takeText(tagFlags), 10, 32); err == nil && uint32(flags)&1 == sp.Flags&1 {
		sp.Flags = uint32(flags)
	}
	readReferences(n, &sp, t.takeLinks())
	for _, l := range n.field("logs").items() {
		sp.Events = append(sp.Events, readLog(l))
	}
	sp.Attrs = t.attributes(jaegerPlain)
	return sp
}

// readReferences finds the parent among the references: the first CHILD_OF of
// the same trace or, where there is none, the first FOLLOWS_FROM of it, as Jaeger
// does. The others are links, with all that a tag of ours tells of them if it
// is about the same ones.
func readReferences(n *node, sp *otlp.Span, told []otlp.Link) {
	var others, all []otlp.Link
	parent := -1
	follows := []int{}
	for _, ref := range n.field("references").items() {
		var l otlp.Link
		looseID(ref.field("traceID"), l.TraceID[:], false)
		looseID(ref.field("spanID"), l.SpanID[:], false)
		isChild := ref.field("refType").text() != followsFrom
		if isChild && parent < 0 && l.TraceID == sp.TraceID && l.SpanID != [8]byte{} {
			parent = len(all)
			sp.ParentID = l.SpanID
		} else {
			others = append(others, l)
			if l.TraceID == sp.TraceID && !isChild {
				follows = append(follows, len(others)-1)
			}
		}
		all = append(all, l)
	}
	if old := n.field("parentSpanID"); parent < 0 && old.v != nil { // before references
		looseID(old, sp.ParentID[:], false)
	}
	sameLink := func(a, b otlp.Link) bool { return a.TraceID == b.TraceID && a.SpanID == b.SpanID }
	if len(told) > 0 && slices.EqualFunc(told, others, sameLink) {
		sp.Links = told
		return
	}
	if sp.ParentID == [8]byte{} && len(follows) > 0 {
		sp.ParentID = others[follows[0]].SpanID
		others = slices.Delete(others, follows[0], follows[0]+1)
	}
	sp.Links = others
}

func readLog(n *node) otlp.Event {
	n.object()
	t := tagList{readTags(n.field("fields"))}
	e := otlp.Event{Time: microsOf(n.field("timestamp")) * 1000}
	if name, found := t.take(fieldEvent); found {
		e.Name = textOf(name)
	} else {
		e.Name = t.takeText("message")
	}
	e.Dropped = t.takeCount(tagDroppedAttrs)
	if exact, err := strconv.ParseUint(t.takeText(tagTime), 10, 64); err == nil && exact/1000 == e.Time/1000 {
		e.Time = exact
	}
	e.Attrs = unique(t.attributes(jaegerPlain))
	return e
}

func readTags(list *node) (out []otlp.KeyValue) {
	for _, n := range list.items() {
		n.object()
		out = append(out, otlp.KeyValue{Key: n.field("key").text(), Value: readTag(n)})
	}
	return out
}

// readTag reads a tag's value as of the type that the tag claims.
func readTag(n *node) otlp.Value {
	v := n.field("value")
	kind := n.field("type").text()
	if kind == "" {
		return untyped(v)
	}
	switch kind {
	case "bool":
		return otlp.Bool(v.bool())
	case "int64":
		return otlp.Int(v.int64())
	case "float64":
		return otlp.Float(v.float())
	case "binary":
		return otlp.Bytes(string(v.base64()))
	}
	if s, ok := v.v.(string); ok {
		return otlp.String(s)
	}
	return plainText(untyped(v))
}

// untyped reads a value as JSON has it.
func untyped(n *node) otlp.Value { return native(n, 0) }

// native reads a value from plain JSON: a number with a point or an exponent is
// a float.
func native(n *node, depth int) otlp.Value {
	if depth >= otlp.MaxDepth {
		n.fail("nested deeper than %d", otlp.MaxDepth)
		return otlp.Value{}
	}
	switch v := n.v.(type) {
	case string:
		return otlp.String(v)
	case bool:
		return otlp.Bool(v)
	case json.Number:
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil && v != "-0" {
			return otlp.Int(i)
		}
		return otlp.Float(n.float())
	case []any:
		var items []otlp.Value
		for _, item := range n.items() {
			items = append(items, native(item, depth+1))
		}
		return otlp.Array(items...)
	case map[string]any:
		var pairs []otlp.KeyValue
		for _, m := range n.members() {
			pairs = append(pairs, otlp.KeyValue{Key: m.name, Value: native(m, depth+1)})
		}
		return otlp.Map(pairs...)
	}
	return otlp.Value{}
}
