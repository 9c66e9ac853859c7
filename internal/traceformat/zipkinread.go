package traceformat

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// ReadZipkin reads spans in Zipkin JSON v2 that a reporter sends: part of a
// trace, of which the other spans come in requests of their own.
func ReadZipkin(b []byte) (Data, error) {
	docs := documents{src: b}
	top, err := docs.next()
	if err != nil {
		return nil, err
	}
	if top == nil {
		top = &node{r: &reading{}}
	}
	g := newGrouper()
	if _, isList := top.v.([]any); !isList {
		top.fail("want a list of spans, got %s", top.kind())
	}
	readZipkin(top, g, false)
	if top.r.err != nil {
		return nil, top.r.err
	}
	if more, err := docs.next(); err != nil || more != nil {
		return nil, fmt.Errorf("%w: %s: something stands behind the list of spans", ErrFormat, position(b, docs.dec.InputOffset()))
	}
	return g.data, nil
}

// zipkinRead is a span on its way in.
type zipkinRead struct {
	span   otlp.Span
	res    otlp.Resource
	scope  otlp.Scope
	shared bool
}

// readZipkin reads a list of spans. whole says that there are no others of
// their traces.
func readZipkin(top *node, g *grouper, whole bool) {
	var all []zipkinRead
	for _, n := range top.items() {
		all = append(all, readZipkinSpan(n))
		if n.r.err != nil {
			return
		}
	}
	unshare(all, whole)
	for i := range all {
		z := &all[i]
		g.add(&z.res, &z.scope, z.span)
	}
}

// unshare gives the server's half of a span that both sides report under one
// id an id of its own, below the client's half; the spans that the server's
// service reports below it follow. It is made of the ids, so that it is the
// same whichever request a half comes in. A server's half whose client's half
// is not in a whole trace keeps its id.
func unshare(all []zipkinRead, whole bool) {
	type key struct {
		trace   [16]byte
		id      [8]byte
		service string
	}
	other := map[key]bool{} // halves that are not shared, service aside
	for i := range all {
		if z := &all[i]; !z.shared {
			other[key{z.span.TraceID, z.span.SpanID, ""}] = true
		}
	}
	moved := map[key][8]byte{}
	for i := range all {
		z := &all[i]
		if !z.shared || whole && !other[key{z.span.TraceID, z.span.SpanID, ""}] {
			continue
		}
		id := z.span.SpanID
		z.span.SpanID, z.span.ParentID = sharedID(z.span.TraceID, id), id
		moved[key{z.span.TraceID, id, z.res.Service}] = z.span.SpanID
	}
	for i := range all {
		z := &all[i]
		if to, found := moved[key{z.span.TraceID, z.span.ParentID, z.res.Service}]; found && to != z.span.SpanID {
			z.span.ParentID = to
		}
	}
}

func sharedID(trace [16]byte, id [8]byte) (out [8]byte) {
	h := fnv.New64a()
	h.Write(trace[:])
	h.Write(id[:])
	h.Write([]byte("server"))
	binary.BigEndian.PutUint64(out[:], h.Sum64()|1)
	return out
}

func readZipkinSpan(n *node) zipkinRead {
	n.object()
	z := zipkinRead{shared: n.field("shared").bool()}
	sp := &z.span
	looseID(n.field("traceId"), sp.TraceID[:], true)
	looseID(n.field("id"), sp.SpanID[:], true)
	looseID(n.field("parentId"), sp.ParentID[:], false)
	sp.Name = n.field("name").text()
	t := tagList{}
	for _, m := range n.field("tags").members() {
		t.tags = append(t.tags, text(m.name, textOf(untyped(m))))
	}
	readConventions(&t, sp, &z.scope, microsOf(n.field("timestamp")), microsOf(n.field("duration")))
	readZipkinKind(n.field("kind"), &t, sp)
	if flags, err := strconv.ParseUint(t.takeText(tagFlags), 10, 32); err == nil {
		sp.Flags = uint32(flags)
	}
	z.shared = z.shared && sp.Kind == 2
	sp.Links = t.takeLinks()
	sp.Events = readAnnotations(n.field("annotations"), t.takeJSON(tagEvents))
	z.res = readEndpoint(n.field("localEndpoint"), t.takeJSON(tagResource))
	sp.Attrs = append(t.attributes(plainText), endpointAttrs(n, t.tags)...)
	return z
}

func readZipkinKind(n *node, t *tagList, sp *otlp.Span) {
	word := strings.ToLower(n.text())
	if word == "" {
		word = strings.ToLower(t.takeText(tagKind))
	}
	sp.Kind = int32(max(slices.Index(kindTags[:], word), 0))
	if word != "" && sp.Kind == 0 && n.v != nil {
		n.fail("want CLIENT, SERVER, PRODUCER or CONSUMER, got %s", n.kind())
	}
}

// readEndpoint returns the resource of a local endpoint.
func readEndpoint(n, rest *node) (r otlp.Resource) {
	if rest != nil {
		if r = readResource(rest); rest.r.err != nil {
			r = otlp.Resource{}
		}
	}
	if name := n.field("serviceName").text(); name != "" {
		r.Service = name
		r.Attrs = append([]otlp.KeyValue{text(serviceName, name)}, r.Attrs...)
	}
	return r
}

// endpointAttrs returns the attributes for what endpoints tell beside the
// span's own service, unless a tag says it already.
func endpointAttrs(n *node, tags []otlp.KeyValue) (out []otlp.KeyValue) {
	add := func(key string, v otlp.Value) {
		if v.Str != "" || v.Num != 0 {
			if !slices.ContainsFunc(tags, func(t otlp.KeyValue) bool { return t.Key == key }) {
				out = append(out, otlp.KeyValue{Key: key, Value: v})
			}
		}
	}
	remote, local := n.field("remoteEndpoint"), n.field("localEndpoint")
	add(peerService, otlp.String(remote.field("serviceName").text()))
	add("network.peer.address", otlp.String(address(remote)))
	add("network.peer.port", otlp.Int(int64(remote.field("port").uint32())))
	add("network.local.address", otlp.String(address(local)))
	add("network.local.port", otlp.Int(int64(local.field("port").uint32())))
	return out
}

func address(endpoint *node) string {
	if ip := endpoint.field("ipv4").text(); ip != "" {
		return ip
	}
	return endpoint.field("ipv6").text()
}

// readAnnotations returns the events of annotations, as a tag of ours tells
// them if it is about the same.
func readAnnotations(list, told *node) (events []otlp.Event) {
	for _, n := range list.items() {
		n.object()
		events = append(events, otlp.Event{Time: microsOf(n.field("timestamp")) * 1000, Name: n.field("value").text()})
	}
	if told == nil {
		return events
	}
	exact := readEvents(told)
	if told.r.err == nil && slices.Equal(annotations(exact), annotations(events)) {
		return exact
	}
	return events
}
