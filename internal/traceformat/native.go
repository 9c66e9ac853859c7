package traceformat

import (
	"strings"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// readNative reads this project's own JSON: a trace or a list of the API, with
// or without the envelope of `pulsectl traces show -o json`. It has no bytes, no
// scopes beside their names and the resource of the root alone, so it is the
// poorest of the forms.
func readNative(top *node, g *grouper) {
	switch {
	case top.has("items"):
		readNativeTraces(top.field("items").items(), g)
	case top.has("traces"):
		readNativeTraces(top.field("traces").items(), g)
	case top.has("trace"):
		readNativeTraces([]*node{top.field("trace")}, g)
	case top.has("trace_id"):
		readNativeTraces([]*node{top}, g)
	default:
		readNativeTraces(top.items(), g)
	}
}

func readNativeTraces(traces []*node, g *grouper) {
	for _, t := range traces {
		t.object()
		if t.field("spans").v == nil {
			t.fail("a summary without spans cannot be imported: list with --spans, or show the trace")
		}
		var id [16]byte
		exactID(t.field("trace_id"), id[:], true)
		for i, n := range t.field("spans").items() {
			sp := readNativeSpan(n)
			sp.TraceID = id
			if i == 0 {
				sp.Attrs = append(sp.Attrs, traceTags(t)...)
			}
			if n.r.err != nil {
				return
			}
			res := otlp.Resource{Service: n.field("service").text()}
			if res.Service != "" {
				res.Attrs = []otlp.KeyValue{text(serviceName, res.Service)}
			}
			g.add(&res, &otlp.Scope{Name: n.field("scope").text()}, sp)
		}
	}
}

// traceTags are the tags in which an export carries what the API says of a trace
// as a whole.
func traceTags(t *node) (out []otlp.KeyValue) {
	if id := t.field("request_id").text(); id != "" {
		out = append(out, text("pulsectl.request_id", id))
	}
	if user := t.field("user_id").text(); user != "" {
		out = append(out, text("pulsectl.user_id", user))
	}
	if v := native(t.field("metadata"), 0); v.Kind == otlp.KindMap && v.Str != "" {
		out = append(out, otlp.KeyValue{Key: "pulsectl.metadata", Value: v})
	}
	return out
}

func readNativeSpan(n *node) otlp.Span {
	n.object()
	sp := otlp.Span{
		Name: n.field("operation_name").text(), Start: n.field("start_unix_nano").uint64(), StatusMessage: n.field("status_message").text(),
		DroppedAttrs: n.field("dropped").uint32(),
	}
	if sp.Start == 0 {
		sp.Start = seconds(n.field("start_time"))
	}
	if n.field("end_time").v != nil {
		sp.End = sp.Start + seconds(n.field("duration"))
	}
	exactID(n.field("span_id"), sp.SpanID[:], true)
	exactID(n.field("parent_span_id"), sp.ParentID[:], false)
	for k, word := range kindTags {
		if word == n.field("kind").text() {
			sp.Kind = int32(k)
		}
	}
	for _, a := range n.field("tags").members() {
		sp.Attrs = append(sp.Attrs, otlp.KeyValue{Key: a.name, Value: untyped(a)})
	}
	switch status := n.field("status").text(); status {
	case "ok", "":
	case "error":
		sp.Status = 2
	default:
		sp.Status = 2
		sp.Attrs = append(sp.Attrs, text("pulsectl.status", status))
	}
	readNativeRest(n, &sp)
	return sp
}

func readNativeRest(n *node, sp *otlp.Span) {
	for _, l := range n.field("logs").items() {
		e := otlp.Event{Time: seconds(l.field("timestamp")), Name: l.field("message").text()}
		for _, f := range l.members() {
			switch {
			case f.name == "timestamp" || f.name == "message":
			case f.name == "attribute.timestamp" || f.name == "attribute.message" || f.name == "attribute.level": // see api.SpanLog
				e.Attrs = append(e.Attrs, otlp.KeyValue{Key: strings.TrimPrefix(f.name, "attribute."), Value: untyped(f)})
			case f.name == "level" && (f.v == "info" || f.v == "error" && e.Name == "exception"): // what the API says where nothing does
			default:
				e.Attrs = append(e.Attrs, otlp.KeyValue{Key: f.name, Value: untyped(f)})
			}
		}
		sp.Events = append(sp.Events, e)
	}
	for _, l := range n.field("links").items() {
		var link otlp.Link
		exactID(l.field("trace_id"), link.TraceID[:], false)
		exactID(l.field("span_id"), link.SpanID[:], false)
		for _, a := range l.field("tags").members() {
			link.Attrs = append(link.Attrs, otlp.KeyValue{Key: a.name, Value: untyped(a)})
		}
		sp.Links = append(sp.Links, link)
	}
}

// seconds reads Unix seconds or a duration as nanoseconds, exactly.
func seconds(n *node) uint64 {
	whole, frac, _ := strings.Cut(n.number(), ".")
	frac = (frac + "000000000")[:9]
	return (&node{r: n.r, up: n.up, name: n.name, v: strings.TrimLeft(whole+frac, "0")}).uint64()
}
