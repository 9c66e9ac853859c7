package traceformat

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"strconv"
	"strings"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// readChrome reads trace events. Those that this package wrote become the spans
// that they were. Of others the complete events (X) and the pairs of begin and
// end (B, E) become spans of one trace: a process is a service, and what
// encloses a span in its thread is its parent.
func readChrome(top *node, g *grouper) {
	events := top.items
	if top.has("traceEvents") {
		events = top.field("traceEvents").items
	}
	c := chromeReader{g: g, resources: map[string]otlp.Resource{}, open: map[string][]*chromeOpen{}}
	all := events()
	for _, n := range all {
		n.object()
		if n.field("ph").text() == "M" && n.field("name").text() == "process_name" {
			c.process(n)
		}
	}
	for _, n := range all {
		c.event(n)
		if n.r.err != nil {
			return
		}
	}
	c.finish()
}

type chromeReader struct {
	g         *grouper
	resources map[string]otlp.Resource // by pid
	open      map[string][]*chromeOpen // of others: by pid and tid, the innermost last
	others    []*chromeOpen
}

// chromeOpen is a span of somebody else's file.
type chromeOpen struct {
	span   otlp.Span
	pid    string
	parent *chromeOpen
}

func (c *chromeReader) process(n *node) {
	args := n.field("args")
	r := readResource(args.field("resource"))
	if name := args.field("name").text(); args.field("resource").v == nil && name != "" {
		r = otlp.Resource{Service: name, Attrs: []otlp.KeyValue{text(serviceName, name)}}
	}
	c.resources[textOf(untyped(n.field("pid")))] = r
}

func (c *chromeReader) event(n *node) {
	pid := textOf(untyped(n.field("pid")))
	switch ph := n.field("ph").text(); {
	case ph == "X" && n.field("args").has("otlp"):
		res := c.resources[pid]
		args := n.field("args")
		scope := readScope(args.field("scope"))
		sp := readChromeSpan(n, args)
		if n.r.err == nil {
			c.g.add(&res, &scope, sp)
		}
	case ph == "X" || ph == "B" || ph == "E":
		c.foreign(n, ph, pid)
	}
}

func readChromeSpan(n, args *node) otlp.Span {
	full := args.field("otlp")
	m, ok := full.v.(map[string]any)
	if !ok {
		full.object()
		return otlp.Span{}
	}
	m["traceId"], m["spanId"] = args.field("trace_id").v, args.field("span_id").v
	sp := readSpan(full)
	sp.Name = n.field("name").text()
	start, took := nanoseconds(n.field("ts")), nanoseconds(n.field("dur"))
	if sp.Start != start || max(sp.End, sp.Start)-sp.Start != took {
		sp.Start, sp.End = start, start+took
	}
	typed := map[string]otlp.Value{}
	for _, a := range sp.Attrs {
		typed[a.Key] = a.Value
	}
	sp.Attrs = nil
	for _, a := range args.field("attributes").members() {
		v := untyped(a)
		if exact, found := typed[a.name]; found {
			if back := inlined(string(nativeJSON(exact))); back != nil && untyped(back) == v {
				v = exact
			}
		}
		sp.Attrs = append(sp.Attrs, otlp.KeyValue{Key: a.name, Value: v})
	}
	return sp
}

// foreign takes an event that this package did not write.
func (c *chromeReader) foreign(n *node, ph, pid string) {
	thread := pid + "/" + textOf(untyped(n.field("tid")))
	at := nanoseconds(n.field("ts"))
	stack := c.open[thread]
	for len(stack) > 0 && stack[len(stack)-1].span.End != 0 && stack[len(stack)-1].span.End <= at { // X events that are over
		stack = stack[:len(stack)-1]
	}
	if ph == "E" {
		if len(stack) > 0 {
			stack[len(stack)-1].span.End = at
			stack = stack[:len(stack)-1]
		}
		c.open[thread] = stack
		return
	}
	o := &chromeOpen{pid: pid, span: otlp.Span{Name: n.field("name").text(), Kind: 1, Start: at}}
	if ph == "X" {
		o.span.End = at + nanoseconds(n.field("dur"))
	}
	if args := n.field("args"); args.v != nil {
		for _, a := range args.members() {
			o.span.Attrs = append(o.span.Attrs, otlp.KeyValue{Key: a.name, Value: untyped(a)})
		}
	}
	if len(stack) > 0 {
		o.parent = stack[len(stack)-1]
	}
	c.open[thread] = append(stack, o)
	c.others = append(c.others, o)
}

// finish gives the spans of somebody else's file ids that are made of what is
// in them, so that a file read twice is the same trace.
func (c *chromeReader) finish() {
	h := fnv.New128a()
	for _, o := range c.others {
		h.Write(binary.BigEndian.AppendUint64([]byte(o.span.Name), o.span.Start))
	}
	var trace [16]byte
	h.Sum(trace[:0])
	for i, o := range c.others {
		o.span.TraceID = trace
		copy(o.span.SpanID[:4], trace[:4])
		binary.BigEndian.PutUint32(o.span.SpanID[4:], uint32(i+1))
	}
	for _, o := range c.others {
		if o.parent != nil {
			o.span.ParentID = o.parent.span.SpanID
		}
		if o.span.End == 0 {
			o.span.End = o.span.Start // it never ended
		}
		res := c.resources[o.pid]
		if len(res.Attrs) == 0 {
			res = otlp.Resource{Service: "process " + o.pid, Attrs: []otlp.KeyValue{text(serviceName, "process "+o.pid)}}
		}
		c.g.add(&res, &otlp.Scope{}, o.span)
	}
}

// nanoseconds reads microseconds with decimals, exactly if there are at most
// three.
func nanoseconds(n *node) uint64 {
	whole, frac, _ := strings.Cut(n.number(), ".")
	if len(frac) <= 3 {
		v, err := strconv.ParseUint(whole+frac+strings.Repeat("0", 3-len(frac)), 10, 64)
		if err == nil {
			return v
		}
	}
	f := math.Round(n.float() * 1000)
	if !(f >= 0 && f < math.MaxInt64) {
		n.fail("want microseconds of 0 or more, got %s", n.kind())
		return 0
	}
	return uint64(f)
}
