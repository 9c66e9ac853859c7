// Package traceformat writes traces in the forms that other tools read, and
// reads those back: OTLP in JSON and in protobuf, the JSON of Jaeger's query
// API, Zipkin JSON v2, and Chrome trace events.
//
// Between any two stands [Data], spans as OTLP has them, grouped by resource
// and scope. Each form uses the tags that convention gives it for what it has
// no field for (otel.status_code, span.kind, w3c.tracestate, …). What no
// convention covers, such as nanoseconds where the form has microseconds, or an
// array where it has text, is written once more in tags named pulsectl.otlp.*;
// a reader takes those only where they agree with the rest of the span, so a
// file that somebody has edited reads as edited. So what is written reads back
// equal, but for the order of attributes.
package traceformat

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// ErrFormat is in the chain of each error about input that is in no known form,
// or not rightly in its own.
var ErrFormat = errors.New("trace file")

// MaxBytes is how large an input may be, inflated.
const MaxBytes = 256 << 20

// Format is a form of traces in a file.
type Format string

// The formats.
const (
	OTLP     Format = "otlp"          // OTLP/JSON: an ExportTraceServiceRequest
	Protobuf Format = "otlp-protobuf" // the same in protobuf
	Jaeger   Format = "jaeger"        // {"data":[…]} of Jaeger's query API
	Zipkin   Format = "zipkin"        // Zipkin JSON v2: [{"traceId":…},…]
	Chrome   Format = "chrome"        // Chrome trace events: {"traceEvents":[…]}
	Native   Format = "json"          // the JSON of this project's API; only read, as it has not all that OTLP has
)

// Written are the formats that Write knows.
var Written = []Format{OTLP, Protobuf, Jaeger, Zipkin, Chrome}

// ContentType returns the media type of a format.
func (f Format) ContentType() string {
	if f == Protobuf {
		return "application/x-protobuf"
	}
	return "application/json"
}

// Batch is spans of one resource and scope.
type Batch struct {
	Resource otlp.Resource
	Scope    otlp.Scope
	Spans    []otlp.Span
}

// Data is spans of any number of traces.
type Data []Batch

// Spans counts the spans.
func (d Data) Spans() int {
	n := 0
	for i := range d {
		n += len(d[i].Spans)
	}
	return n
}

// TraceIDs returns the ids of the traces in the order of their appearance.
func (d Data) TraceIDs() [][16]byte {
	var ids [][16]byte
	seen := map[[16]byte]bool{}
	for i := range d {
		for j := range d[i].Spans {
			if id := d[i].Spans[j].TraceID; !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// Write returns d in a format.
func Write(f Format, d Data) ([]byte, error) {
	switch f {
	case OTLP:
		return encode(otlpJSON(d))
	case Protobuf:
		return protobuf(d), nil
	case Jaeger:
		return encode(JaegerAnswer{Data: JaegerTraces(d)})
	case Zipkin:
		return encode(zipkinSpans(d))
	case Chrome:
		return encode(chromeFile(d))
	default:
		return nil, fmt.Errorf("format %q: want one of %s", f, names(Written))
	}
}

func names(all []Format) string {
	var out []string
	for _, f := range all {
		out = append(out, string(f))
	}
	return strings.Join(out, ", ")
}

// Read reads traces in any format, gzipped or not. JSON documents may follow one
// another, as a Collector's file exporter writes them, a line each.
func Read(b []byte) (Data, Format, error) {
	if len(b) > 2 && b[0] == 0x1f && b[1] == 0x8b {
		plain, err := gunzip(b)
		if err != nil {
			return nil, "", err
		}
		b = plain
	}
	if len(b) > MaxBytes {
		return nil, "", fmt.Errorf("%w: larger than %d MiB", ErrFormat, MaxBytes>>20)
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	if len(b) > 0 && b[0] == '\n' { // so begins protobuf; one of 91 or 123 bytes goes on like JSON
		if d, err := readProtobuf(b); err == nil && d.Spans() > 0 {
			return d, Protobuf, nil
		}
	}
	switch first := bytes.TrimLeft(b, " \t\r\n"); {
	case len(first) == 0:
		return nil, "", fmt.Errorf("%w: it is empty", ErrFormat)
	case first[0] == '{' || first[0] == '[':
		d, f, err := readJSON(b)
		return d, f, err
	}
	d, err := readProtobuf(b)
	return d, Protobuf, err
}

func gunzip(b []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: gzip: %w", ErrFormat, err)
	}
	plain, err := io.ReadAll(io.LimitReader(z, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%w: gzip: %w", ErrFormat, err)
	}
	return plain, nil
}

// readJSON reads all documents of an input, which must be of one format.
func readJSON(b []byte) (out Data, format Format, err error) {
	docs := documents{src: b}
	g := newGrouper()
	for {
		top, err := docs.next()
		switch {
		case err != nil:
			return nil, "", err
		case top == nil:
			return g.data, format, nil
		}
		f := formatOf(top)
		if f == "" {
			return nil, "", fmt.Errorf("%w: JSON, but neither OTLP (resourceSpans), Jaeger (data), Zipkin ([{traceId, id}]), Chrome (traceEvents) nor this project's own", ErrFormat)
		}
		if format != "" && f != format {
			return nil, "", fmt.Errorf("%w: %s after %s in one file", ErrFormat, f, format)
		}
		format = f
		readers[f](top, g)
		if top.r.err != nil {
			return nil, format, top.r.err
		}
	}
}

var readers = map[Format]func(*node, *grouper){
	OTLP: readOTLP, Jaeger: readJaeger, Chrome: readChrome, Native: readNative,
	Zipkin: func(n *node, g *grouper) { readZipkin(n, g, true) },
}

// formatOf tells the format of a document by its members.
func formatOf(top *node) Format {
	list, isList := top.v.([]any)
	switch {
	case isList && len(list) == 0:
		return Zipkin // no spans, in any language
	case isList:
		return formatOfItem(top.items()[0])
	}
	for _, known := range []struct {
		member string
		format Format
	}{
		{"resourceSpans", OTLP}, {"resource_spans", OTLP}, {"batches", OTLP}, {"traceEvents", Chrome}, {"data", Jaeger}, {"processes", Jaeger},
		{"traces", Native}, {"trace_id", Native}, {"apiVersion", Native}, {"operation_name", Native},
	} {
		if top.has(known.member) {
			return known.format
		}
	}
	if trace := top.field("trace"); trace.has("resourceSpans") || trace.has("batches") {
		return OTLP
	} else if trace.has("trace_id") {
		return Native
	}
	if m, ok := top.v.(map[string]any); ok && len(m) == 0 {
		return OTLP // a request without spans
	}
	return ""
}

func formatOfItem(first *node) Format {
	switch {
	case first.has("traceId") && first.has("id"):
		return Zipkin
	case first.has("ph"):
		return Chrome
	case first.has("trace_id"):
		return Native
	case first.has("traceID") && first.has("spans"):
		return Jaeger
	}
	return ""
}

// grouper puts spans that come one by one into batches.
type grouper struct {
	data  Data
	index map[string]int // by the encoded resource and scope
}

func newGrouper() *grouper { return &grouper{index: map[string]int{}} }

// add appends a span to the batch of its resource and scope.
func (g *grouper) add(res *otlp.Resource, scope *otlp.Scope, sp otlp.Span) {
	sp.Attrs = unique(sp.Attrs)
	if sp.Kind < 0 || sp.Kind > 5 {
		sp.Kind = 0 // of a later version of the protocol: unspecified
	}
	if sp.Status < 0 || sp.Status > 2 {
		sp.Status = 0
	}
	b := g.batch(res, scope)
	b.Spans = append(b.Spans, sp)
}

func (g *grouper) batch(res *otlp.Resource, scope *otlp.Scope) *Batch {
	res.Attrs, scope.Attrs = unique(res.Attrs), unique(scope.Attrs)
	key := otlp.AppendResource(nil, res)
	key = otlp.AppendResourceSpans(key, nil, scope)
	i, found := g.index[string(key)]
	if !found {
		i = len(g.data)
		g.index[string(key)] = i
		g.data = append(g.data, Batch{Resource: *res, Scope: *scope})
	}
	return &g.data[i]
}

// unique leaves the last of the attributes of each key.
func unique(attrs []otlp.KeyValue) []otlp.KeyValue {
	if len(attrs) < 2 {
		return attrs
	}
	last := make(map[string]int, len(attrs))
	for i := range attrs {
		last[attrs[i].Key] = i
	}
	if len(last) == len(attrs) {
		return attrs
	}
	kept := make([]otlp.KeyValue, 0, len(last))
	for i := range attrs {
		if last[attrs[i].Key] == i {
			kept = append(kept, attrs[i])
		}
	}
	return kept
}

// spanOf is a span with what it came from.
type spanOf struct {
	*otlp.Span
	batch    *Batch
	resource string // the batch's, encoded: equal ones are one process
}

// byTrace returns the spans of each trace, in the order of their starts; those
// that start together the longest first.
func (d Data) byTrace() [][]spanOf {
	place := map[[16]byte]int{}
	var out [][]spanOf
	for i := range d {
		resource := string(otlp.AppendResource(nil, &d[i].Resource))
		for j := range d[i].Spans {
			sp := &d[i].Spans[j]
			at, found := place[sp.TraceID]
			if !found {
				at = len(out)
				place[sp.TraceID] = at
				out = append(out, nil)
			}
			out[at] = append(out[at], spanOf{sp, &d[i], resource})
		}
	}
	for _, spans := range out {
		slices.SortStableFunc(spans, func(a, b spanOf) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(b.End, a.End)) })
	}
	return out
}
